"""A small ImageNet in its own layout, and official files of ViT-mini with heads that were fitted to pictures like it.

Pictures of a class are one smooth random field of its own under noise, so that a head on the features of an untrained
network is right most of the time, and wrong more often when the pictures reach it otherwise than it was fitted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from vit_bench.models import create_model
from vit_bench.models.weights.convert import convert
from vit_bench.suites.images.features import extract
from vit_bench.suites.images.transforms import Transform, View
from vit_bench.suites.metrics import top1
from vit_bench.suites.protocol import Task
from vit_bench.suites.tasks import tasks as every_task

CLASSES, EACH = 8, 20
SIZE = (60, 90)  # height, width of a picture
WNIDS = tuple(f"n{i:08d}" for i in range(100, 100 + CLASSES))
LEFT_OUT = 10  # validation images without a right class in ReaL
OFFICIAL = View(resize="square", antialias=False, image_size=64)


def pictures(each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, H, W, 3) uint8 pictures and their classes, `each` of every class, in no order."""
    fields = np.random.default_rng(7).uniform(0, 1, (CLASSES, 5, 6, 3))
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(CLASSES), each))
    made = []
    for label in labels:
        small = Image.fromarray((255 * fields[label]).astype(np.uint8))
        smooth = np.asarray(small.resize(SIZE[::-1], Image.Resampling.BICUBIC)).astype(float)
        made.append(smooth + random.normal(0, 110, (*SIZE, 3)))
    return np.clip(np.stack(made), 0, 255).astype(np.uint8), labels


@dataclass(frozen=True)
class Toy:
    """Where the pictures and the files are, and what the files should score."""

    data: Path
    weights: Path
    images: np.ndarray  # of the validation set, in the order of their names
    labels: np.ndarray

    def write_pictures(self) -> None:
        for number, (image, label) in enumerate(zip(self.images, self.labels, strict=True), start=1):
            path = self.data / "imagenet" / "val" / WNIDS[label] / f"ILSVRC2012_val_{number:08d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        right: list[list[int]] = [[int(label), (int(label) + 1) % CLASSES] for label in self.labels]
        right[:LEFT_OUT] = [[] for _ in range(LEFT_OUT)]
        (self.data / "real.json").write_text(json.dumps(right))

    def write_file(self, name: str, view: View = OFFICIAL, *, order: Any = None, blind: bool = False) -> float:
        """An official file whose head was fitted to pictures fed by the view. Returns its accuracy when fed so.

        `order`: the class that each of the head's is; `blind`: a head of random numbers.
        """
        network, transform = fitted(view, *pictures(40, seed=1), CLASSES)
        if blind:
            torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(3))
            torch.nn.init.zeros_(network.head.bias)
        order = np.arange(CLASSES) if order is None else np.asarray(order)
        with torch.no_grad():
            network.head.weight.copy_(network.head.weight[order].clone())
            network.head.bias.copy_(network.head.bias[order].clone())
        logits = extract(Logits(network), self.images, transform, batch_size=64)
        self.save(network, name)
        return top1(order[logits.argmax(1)], self.labels)

    def save(self, network: Any, name: str) -> None:
        from safetensors.torch import save_file

        ours = self.weights / f"{name}.safetensors"
        self.weights.mkdir(exist_ok=True)
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, ours)
        convert(ours, self.weights / f"{name}.npz")
        ours.unlink()


def fitted(view: View, x: Any, y: np.ndarray, classes: int) -> tuple[Any, Transform]:
    """ViT-mini with a head fitted to images that are fed by the view, and how they are."""
    network: Any = create_model("ViT-mini", num_classes=classes, image_size=view.image_size or 64)
    transform = Transform.of_view(network.spec.input, view)
    features = extract(network, x, transform, batch_size=64)
    mean, std = features.mean(0), features.std(0) + 1e-6
    z = (features - mean) / std
    solved = np.linalg.solve(z.T @ z + 30 * np.eye(z.shape[1]), z.T @ np.eye(classes)[y]) / std[:, None]
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(solved.T))
        network.head.bias.copy_(torch.from_numpy(np.eye(classes)[y].mean(0) - mean @ solved))
    return network, transform


class Logits:
    """A network whose features are its logits."""

    def __init__(self, network: Any) -> None:
        self.spec, self.features, self.state_dict = network.spec, network, network.state_dict


def small_tasks() -> list[Task]:
    """The tasks that there are, with ImageNet and ReaL as small as the toy."""
    number = CLASSES * EACH
    originals = {"train": 16, "validation": number, "real": number - LEFT_OUT}
    changed = {}
    for name, test in (("ImageNet", "validation"), ("ImageNet ReaL", "real")):
        row = every_task()[name]
        recipe = {"train": "train[:12]", "val": "train[12:]", "test": test}
        splits = {"train": 12, "val": 4, "test": originals[test]}
        changed[name] = replace(row, num_classes=CLASSES, published_splits=originals, recipe=recipe, splits=splits)
    return [changed.get(row.name, row) for row in every_task().values()]


def make(folder: Path) -> Toy:
    images, labels = pictures(EACH, seed=2)
    return Toy(folder / "data", folder / "weights", images, labels)
