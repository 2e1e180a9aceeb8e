"""CIFAR-10 and CIFAR-100: photographs of 32 x 32 pixels, in pickled arrays."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ..formats import TorchvisionArrays
from ..image_set import ImageSet, downloads

FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
FILES_100 = ("train", "test", "meta")


def _arrays(name: str, folder: Path, published: str) -> tuple[Any, Any]:
    """Images and labels, read by torchvision's class of this name."""
    from torchvision import datasets

    cifar = getattr(datasets, name)(folder.parent, train=published == "train")
    return cifar.data, cifar.targets


CIFAR_10 = ImageSet(
    name="CIFAR-10",
    downloads=downloads("CIFAR-10"),
    torchvision=TorchvisionArrays(
        folders=("cifar-10-batches-py",), needs={"train": FILES, "test": FILES}, arrays=partial(_arrays, "CIFAR10")
    ),
)
CIFAR_100 = ImageSet(
    name="CIFAR-100",
    downloads=downloads("CIFAR-100"),
    torchvision=TorchvisionArrays(
        folders=("cifar-100-python",),
        needs={"train": FILES_100, "test": FILES_100},
        arrays=partial(_arrays, "CIFAR100"),
    ),
)
