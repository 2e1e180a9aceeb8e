"""CIFAR-10 and CIFAR-100: photographs of 32 x 32 pixels, in pickled arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..formats import TorchvisionArrays
from ..image_set import Download, ImageSet

FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
FILES_100 = ("train", "test", "meta")


def _arrays(folder: Path, published: str) -> tuple[Any, Any]:
    from torchvision.datasets import CIFAR10

    cifar = CIFAR10(folder.parent, train=published == "train")
    return cifar.data, cifar.targets


def _arrays_100(folder: Path, published: str) -> tuple[Any, Any]:
    from torchvision.datasets import CIFAR100

    cifar = CIFAR100(folder.parent, train=published == "train")
    return cifar.data, cifar.targets


CIFAR_10 = ImageSet(
    name="CIFAR-10",
    downloads=(
        Download(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            digest="c58f30108f718f92721af3b95e74349a",
            into="",
        ),
    ),
    torchvision=TorchvisionArrays(
        folders=("cifar-10-batches-py",), needs={"train": FILES, "test": FILES}, arrays=_arrays
    ),
)
CIFAR_100 = ImageSet(
    name="CIFAR-100",
    downloads=(
        Download(
            url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            digest="eb9058c3a382ffc7106e4002c42a8d85",
            into="",
        ),
    ),
    torchvision=TorchvisionArrays(
        folders=("cifar-100-python",), needs={"train": FILES_100, "test": FILES_100}, arrays=_arrays_100
    ),
)
