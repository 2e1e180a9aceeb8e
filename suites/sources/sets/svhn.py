"""SVHN: house numbers cut from street views, in MATLAB files that torchvision's class reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..formats import TorchvisionArrays
from ..image_set import Download, ImageSet

URL = "http://ufldl.stanford.edu/housenumbers"


def _arrays(folder: Path, published: str) -> tuple[Any, Any]:
    from torchvision.datasets import SVHN as Svhn

    svhn = Svhn(folder, split=published)
    return svhn.data.transpose(0, 2, 3, 1), svhn.labels  # torchvision has replaced 10 by 0


SVHN = ImageSet(
    name="SVHN",
    downloads=(
        Download(
            url=f"{URL}/train_32x32.mat",
            size=182040794,
            digest="435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            into="svhn",
            unpack=False,
        ),
        Download(
            url=f"{URL}/test_32x32.mat",
            size=64275384,
            digest="cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            into="svhn",
            unpack=False,
        ),
    ),
    torchvision=TorchvisionArrays(
        folders=("", "svhn"), needs={"train": ("train_32x32.mat",), "test": ("test_32x32.mat",)}, arrays=_arrays
    ),
)
