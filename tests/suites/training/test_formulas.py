"""Twenty steps of pre-training, and of fine-tuning with dropout, against the papers' formulas in float64.

The reference is written from the formulas, with none of this project's code but its random draws: the order of the
images, the lambda of MixUp, and the seeds of the dropout masks.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from vit_bench import create_model
from vit_bench.models import catalog
from vit_bench.suites.training import order
from vit_bench.suites.training import paper_recipes as recipes
from vit_bench.suites.training.contract import Watch
from vit_bench.suites.training.loop import train
from vit_bench.suites.training.recipe import Recipe
from vit_bench.suites.training.runs import new_head

from .toys import CPU

SEED, SIDE, WIDTH, HEADS, DEPTH, CLASSES = 3, 8, 16, 2, 2, 5
KERNELS = ("embedding.", "qkv.", "out.", "expand.", "contract.", "pre_logits.", "head.")  # their weights
SETS = ((0,), (1, 3), (), (2, 4, 0), (4,), (3,), (1,), (0, 2), (2,))  # the classes of nine images


class Images:
    """Nine images, each with the classes of SETS, or with one class."""

    def __init__(self, *, several: bool) -> None:
        draw = np.random.default_rng(0)
        self.labels = draw.integers(0, CLASSES, len(SETS))
        self.label_sets = SETS if several else None
        self.pixels = draw.normal(size=(len(SETS), 3, SIDE, SIDE)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: np.ndarray, part: np.ndarray, generator: Any, device: Any) -> Tensor:  # noqa: ARG002
        return torch.from_numpy(self.pixels[indices[part]])

    def ahead(self, indices: np.ndarray) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"images": "drawn"}

    def targets(self) -> Tensor:
        """(N, K) 1 for each class that an image has."""
        found = torch.zeros(len(self), CLASSES, dtype=torch.float64)
        for row, classes in enumerate(self.label_sets or self.labels[:, None].tolist()):
            found[row, list(classes)] = 1
        return found


@dataclass
class Reference:
    """A ViT in float64: `weights` by their names, and the masks of one pass drawn one after the other."""

    weights: dict[str, Tensor]
    dropout: float

    def drop(self, x: Tensor) -> Tensor:
        return x * F.dropout(torch.ones(x.shape), self.dropout).double() if self.dropout else x

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, name: str, x: Tensor) -> Tensor:
        count, tokens, _ = x.shape
        q, k, v = self.linear(f"{name}.qkv", x).chunk(3, dim=-1)
        q, k, v = (part.reshape(count, tokens, HEADS, -1).transpose(1, 2) for part in (q, k, v))
        mixed = (q @ k.transpose(-2, -1) / math.sqrt(WIDTH // HEADS)).softmax(-1) @ v
        return self.linear(f"{name}.out", mixed.transpose(1, 2).reshape(count, tokens, WIDTH))

    def mlp(self, name: str, x: Tensor) -> Tensor:
        """Dropout after each dense layer of the MLP; after the first one behind its GELU."""
        x = self.linear(f"{name}.expand", x)
        x = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return self.drop(self.linear(f"{name}.contract", self.drop(x)))

    def logits(self, images: Tensor) -> Tensor:
        """Dropout directly after the position embeddings are added, and after every dense layer but queries', keys'
        and values' and those of the head."""
        w = self.weights
        patch = w["embedding.weight"].shape[-1]
        cut = F.unfold(images, patch, stride=patch).transpose(1, 2)  # B N 3*P*P
        x = cut @ w["embedding.weight"].flatten(1).T + w["embedding.bias"] + w["position.grid"].reshape(1, -1, WIDTH)
        token = (w["class_token"] + w["position.token"]).expand(len(x), 1, WIDTH)
        x = self.drop(torch.cat([token, x], dim=1))
        for name in (f"blocks.{layer}" for layer in range(DEPTH)):
            x = x + self.drop(self.attention(f"{name}.attention", self.norm(f"{name}.norm1", x)))
            x = x + self.mlp(f"{name}.mlp", self.norm(f"{name}.norm2", x))
        x = self.norm("norm", x)[:, 0]
        return self.linear("head", torch.tanh(self.linear("pre_logits", x)) if "pre_logits.weight" in w else x)


def loss_of(logits: Tensor, targets: Tensor, loss: str) -> Tensor:
    if loss == "softmax":
        return -(targets * logits.log_softmax(1)).sum(1).mean()
    right, wrong = logits.sigmoid().log(), (1 - logits.sigmoid()).log()
    return -(targets * right + (1 - targets) * wrong).sum(1).mean()


def rate(how: Recipe, step: int) -> float:
    (lr,) = how.lr
    if step < how.warmup:
        return lr * step / how.warmup
    done = (step - how.warmup) / (how.steps - how.warmup)
    return lr * ((1 + math.cos(math.pi * done)) / 2 if how.schedule == "cosine" else 1 - done)


def update(how: Recipe, step: int, weights: dict[str, Tensor], memory: dict[str, list[Tensor]]) -> None:
    """Clip the gradient by its global norm, then Adam with decoupled decay (arXiv 1711.05101), or momentum."""
    gradients = {name: weight.grad for name, weight in weights.items()}
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values() if gradient is not None))
    scale = min(1.0, how.clip_norm / norm) if how.clip_norm else 1.0
    lr = rate(how, step)
    for name, weight in weights.items():
        gradient = gradients[name]
        assert gradient is not None
        first, second = memory.setdefault(name, [torch.zeros_like(weight), torch.zeros_like(weight)])
        gradient = gradient * scale
        if how.optimizer == "sgd":
            first.mul_(0.9).add_(gradient)
            moved = first
        else:
            first.mul_(0.9).add_(0.1 * gradient)
            second.mul_(0.999).add_(0.001 * gradient.square())
            moved = (first / (1 - 0.9 ** (step + 1))) / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
            kernel = name.endswith(".weight") and name.rsplit(".", 2)[-2] + "." in KERNELS
            if how.decay_on == "all" or kernel:
                moved = moved + how.weight_decay * weight.detach()
        weight.data.sub_(lr * moved)
        weight.grad = None


def reference_losses(how: Recipe, data: Images, start: dict[str, Tensor]) -> list[float]:
    """The loss of every step."""
    weights = {name: weight.double().clone().requires_grad_() for name, weight in start.items()}
    network, memory, losses = Reference(weights, how.dropout), {}, []
    for step in range(how.steps):
        chosen = order.indices(len(data), how.batch, SEED, step)
        images, targets = torch.from_numpy(data.pixels[chosen]).double(), data.targets()[chosen]
        share = order.mixing(how.mixup, SEED, step)
        images, targets = (share * part + (1 - share) * part.roll(1, 0) for part in (images, targets))
        torch.manual_seed(order.stream(SEED, order.DROPOUT, step, 0))
        loss = loss_of(network.logits(images), targets, how.loss)
        loss.backward()
        losses.append(loss.item())
        update(how, step, weights, memory)
    return losses


def network_of(how: Recipe) -> Any:
    row = catalog()["ViT-mini"].derive(width=WIDTH, heads=HEADS, depth=DEPTH, patch_size=4)
    changes = row.architecture.in_training(dropout=how.dropout, tanh_layer=how.tanh_layer)
    network = create_model(row.derive(**changes), num_classes=CLASSES, image_size=SIDE)
    new_head(network, trained=False, bias=how.head_bias)
    return network


def losses_of(how: Recipe, data: Any, tmp_path: Path) -> list[float]:
    """The loss of every step of our own training."""
    curves = tmp_path / "curves.csv"
    train(network_of(how), data, how, seed=SEED, compute=CPU, watch=Watch(curves=curves))
    with curves.open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def twenty(how: Recipe, **changes: Any) -> Recipe:
    """The recipe in twenty steps of eight images, at a rate by which the loss moves far."""
    return replace(how, **{"steps": 20, "warmup": 4, "batch": 8, "lr": (0.02,), "seed": (0,), **changes})


IMAGENET = recipes.from_scratch("ViT-B/16", 1_281_167)
RECIPES = {
    "scratch": twenty(IMAGENET),
    "scratch-in21k": twenty(recipes.from_scratch("ViT-B/16", 14_200_000, pretrain="ImageNet-21k")),
    "scratch-jft": twenty(recipes.from_scratch("ViT-B/16", 303_000_000, pretrain="JFT-300M")),
    "big-vision-i1k": twenty(recipes.big_vision("big-vision-i1k", 1_281_167)),
    "big-vision-i21k": twenty(recipes.big_vision("big-vision-i21k", 14_200_000)),
    "mixup": twenty(IMAGENET, mixup=0.5),
    "decay on all": twenty(IMAGENET, decay_on="all"),
    "vit-code": twenty(recipes.vit_as("vision_transformer", "CIFAR-10", 50_000), dropout=0.1),
}


@pytest.mark.parametrize("name", list(RECIPES))
def test_twenty_steps_are_those_of_the_formulas(name: str, tmp_path: Path) -> None:
    how = RECIPES[name]
    data = Images(several=how.loss == "sigmoid")
    start = {key: value.detach().clone() for key, value in network_of(how).named_parameters()}
    found, expected = losses_of(how, data, tmp_path), reference_losses(how, data, start)
    assert len(found) == 20
    assert abs(expected[-1] - expected[0]) > 0.1
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 1e-4


@pytest.mark.parametrize(
    "change",
    [{"decay_on": "all"}, {"weight_decay": 0.0}, {"dropout": 0.0}, {"clip_norm": 0.0}, {"schedule": "linear"}],
    ids=str,
)
def test_the_formulas_tell_a_recipe_from_its_neighbours(change: dict[str, Any]) -> None:
    how, data = RECIPES["scratch"], Images(several=True)
    start = {key: value.detach().clone() for key, value in network_of(how).named_parameters()}
    losses = [reference_losses(one, data, start) for one in (how, replace(how, **change))]
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) > 1e-3


@pytest.mark.parametrize(("name", "bias"), [("scratch", -6.9), ("scratch-in21k", -10.0), ("big-vision-i1k", -6.9)])
def test_the_first_loss_is_that_of_a_head_that_says_no_to_every_class(name: str, bias: float, tmp_path: Path) -> None:
    how = replace(RECIPES[name], steps=1, warmup=0)
    data = Images(several=False)
    (found,) = losses_of(how, data, tmp_path)
    assert found == pytest.approx(-bias + CLASSES * math.log1p(math.exp(bias)), rel=1e-5)
