"""SVHN: house numbers cut from street views, in MATLAB files that torchvision's class reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..formats import TorchvisionArrays
from ..image_set import ImageSet, downloads


def _arrays(folder: Path, published: str) -> tuple[Any, Any]:
    from torchvision.datasets import SVHN as Svhn

    svhn = Svhn(folder, split=published)
    return svhn.data.transpose(0, 2, 3, 1), svhn.labels  # torchvision has replaced 10 by 0


SVHN = ImageSet(
    name="SVHN",
    downloads=downloads("SVHN"),
    torchvision=TorchvisionArrays(
        folders=("", "svhn"), needs={"train": ("train_32x32.mat",), "test": ("test_32x32.mat",)}, arrays=_arrays
    ),
)
