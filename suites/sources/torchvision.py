"""The layouts on disk of torchvision's data sets, as their classes make them with download=True.

The classes are used for what they read well. Corrected is what they lack for these tasks: the official splits, the
order of files where they list a folder as the file system gives it (SUN397), and Caltech101's class 4,
background_google, which torchvision leaves out. CLEVR and KITTI are read as the raw archives are: torchvision has CLEVR
with the raw count as its label, and KITTI listed as the file system does, both without VTAB's splits; KITTI's
development kit, which names the videos, it does not fetch.
"""

from __future__ import annotations

from . import folders, packed
from .published import AsPublished
from .raw.clevr import Clevr
from .raw.kitti import Kitti

TORCHVISION = AsPublished(
    "torchvision",
    (
        folders.Caltech101(),
        packed.Cifar(name="CIFAR10", images="CIFAR-10", folders=("cifar-10-batches-py",)),
        packed.Cifar(name="CIFAR100", images="CIFAR-100", folders=("cifar-100-python",)),
        folders.Dtd(),
        folders.Flowers102(),
        folders.Pets(),
        folders.Sun397(),
        packed.Svhn(),
        packed.Pcam(),
        folders.EuroSat(),
        Clevr(folders=("clevr/CLEVR_v1.0",)),
        Kitti(folders=("Kitti/raw",)),
    ),
)
