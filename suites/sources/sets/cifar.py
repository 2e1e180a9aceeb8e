"""CIFAR-10 and CIFAR-100: photographs of 32 x 32 pixels, in pickled arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..formats import TorchvisionArrays
from ..image_set import Download, ImageSet

TEN = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
HUNDRED = ("train", "test", "meta")


def _ten(folder: Path, original: str) -> tuple[Any, Any]:
    from torchvision.datasets import CIFAR10

    made = CIFAR10(folder.parent, train=original == "train")
    return made.data, made.targets


def _hundred(folder: Path, original: str) -> tuple[Any, Any]:
    from torchvision.datasets import CIFAR100

    made = CIFAR100(folder.parent, train=original == "train")
    return made.data, made.targets


CIFAR_10 = ImageSet(
    name="CIFAR-10",
    downloads=(
        Download(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            digest="c58f30108f718f92721af3b95e74349a",
            into="",
        ),
    ),
    torchvision=TorchvisionArrays(folders=("cifar-10-batches-py",), needs={"train": TEN, "test": TEN}, arrays=_ten),
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
        folders=("cifar-100-python",), needs={"train": HUNDRED, "test": HUNDRED}, arrays=_hundred
    ),
)
