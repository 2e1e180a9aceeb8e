"""Masked patch prediction against a reference in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from vit_bench.models import create_model
from vit_bench.suites.training.masked_patches import MaskedPatches, colour_classes, draw_corruption, summary

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)


class Embedded(nn.Module):
    """Gives the same patch embeddings for any images."""

    def __init__(self, patches: np.ndarray) -> None:  # B D rows columns
        super().__init__()
        self.patches = torch.from_numpy(patches)

    def forward(self, _: Tensor) -> Tensor:
        return self.patches


def reference(masked: MaskedPatches, images: Tensor, random: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The losses of the images, and the true classes of their corrupted patches."""
    network = masked.network
    embedded = network.embedding(images).detach().numpy()  # B D 4 4
    rows, columns = embedded.shape[2:]
    count, side = rows * columns, 64 // rows
    flat = embedded.reshape(len(images), -1, count)
    corrupted, truth, chosen = flat.copy(), [], []
    for i in range(len(images)):
        order = np.argsort(-random[0, i], kind="stable")[: count // 2]
        chosen.append(order)
        for patch in order:
            row, column = divmod(int(patch), columns)
            part = IMAGES[i, row * side : (row + 1) * side, column * side : (column + 1) * side].reshape(-1, 3)
            red, green, blue = np.floor(part.mean(axis=0) / 255 * 8).clip(0, 7).astype(int)
            truth.append(64 * red + 8 * green + blue)
            if random[1, i, patch] < 0.8:
                corrupted[i, :, patch] = masked.mask.detach().numpy()
            elif random[1, i, patch] < 0.9:
                other = (patch + 1 + int(random[2, i, patch] * np.float32(count - 1))) % count
                corrupted[i, :, patch] = flat[i, :, other]
    own, network.embedding = network.embedding, Embedded(corrupted.reshape(embedded.shape))
    with torch.no_grad():
        encoded = network.patch_features(images).double().numpy()
    network.embedding = own
    weight, bias = masked.colours.weight.detach().double().numpy(), masked.colours.bias.detach().double().numpy()
    classes, losses = np.array(truth).reshape(len(images), -1), []
    for i, order in enumerate(chosen):
        logits = encoded[i, order] @ weight.T + bias
        log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses.append(-log[np.arange(len(order)), classes[i]].mean())
    return np.array(losses), classes


def test_losses_are_those_of_the_reference() -> None:
    torch.manual_seed(0)
    masked = MaskedPatches(create_model("ViT-mini")).train()
    for parameter in (masked.mask, masked.colours.weight, masked.colours.bias):
        nn.init.normal_(parameter, std=0.3)
    images = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 127.5 - 1
    torch.manual_seed(1)
    random = torch.rand((3, 4, 16)).numpy()
    expected, classes = reference(masked, images, random)
    torch.manual_seed(1)
    losses = masked(images)
    assert losses.detach().numpy() == pytest.approx(expected, rel=1e-5)
    losses.sum().backward()
    assert masked.mask.grad is not None
    drawn = draw_corruption(torch.from_numpy(random))
    mean = std = (0.5, 0.5, 0.5)
    found = colour_classes(images, mean, std, (4, 4), 16).gather(1, drawn.chosen)
    assert found.tolist() == classes.tolist()


def test_half_are_corrupted_and_of_these_the_shares_of_the_paper() -> None:
    drawn = draw_corruption(torch.rand((3, 2000, 64), generator=torch.Generator().manual_seed(0)))
    assert drawn.chosen.shape == (2000, 32)
    assert all(len(set(row)) == 32 for row in drawn.chosen.tolist()[:50])
    assert drawn.masked.float().mean().item() == pytest.approx(0.8, abs=0.01)
    assert drawn.exchanged.float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert not (drawn.masked & drawn.exchanged).any()
    assert (drawn.other != drawn.chosen).all()
    assert torch.bincount((drawn.other - drawn.chosen).flatten() % 64)[1:].float().std() < 50


def test_the_entropy_is_the_loss_of_who_knows_only_how_often_each_colour_is() -> None:
    masked = MaskedPatches(create_model("ViT-mini")).eval()
    images = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        outputs = masked(images)
        counts = outputs[:, 2:].sum(dim=0)
        masked.colours.bias.copy_((counts / counts.sum()).log().clamp(min=-100))
        found = summary(masked(images).numpy())
    assert counts.sum() == 4 * 8
    assert found["loss"] == pytest.approx(found["entropy"], abs=1e-5)
    assert found["top1"] == pytest.approx(100 * counts.max().item() / 32)
