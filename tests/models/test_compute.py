"""The closed forms of grids and multiply-accumulates, against torch's counter on the networks themselves."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from vit_bench.models import Model, catalog
from vit_bench.models.build import empty_network
from vit_bench.registry import UsageError

CASES: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
    ("ViT-mini", {}, (64, 64)),
    ("ViT-mini", {"pool": "gap", "mlp_dim": 200}, (32, 96)),
    ("ViT-mini", {"pre_logits": 77}, (48, 16)),
    ("ViT-Ti/16", {}, (224, 224)),
    ("ViT-S/32-gap", {}, (64, 96)),
    ("ViT-H/14", {"depth": 2}, (28, 42)),
    ("BiT-mini", {}, (64, 64)),
    ("BiT-mini", {"units": (2, 1, 1, 3)}, (37, 50)),
    ("BiT-mini", {}, (1, 3)),
    ("BiT-R50x1", {}, (65, 97)),
    ("BiT-R50x3", {"units": (1, 1)}, (33, 64)),
    ("R+ViT-mini", {}, (64, 64)),
    ("R+ViT-mini", {}, (61, 35)),
    ("R+ViT-mini", {"pool": "gap", "units": (1, 2, 1, 1)}, (65, 40)),
    ("R+ViT-Ti/16", {}, (62, 96)),
    ("R50+ViT-B/16", {}, (97, 64)),
]


def counted(row: Model, size: tuple[int, int]) -> int:
    network = empty_network(row, None, size)
    with FlopCounterMode(display=False) as counter:
        network.features(torch.empty(1, 3, *size, device="meta"))
    return counter.get_total_flops()


@pytest.mark.parametrize(("name", "changes", "size"), CASES)
def test_macs_are_half_of_what_torch_counts(name: str, changes: dict[str, Any], size: tuple[int, int]) -> None:
    row = catalog()[name].derive(**changes)
    macs = row.architecture.macs(size)
    assert macs is not None
    assert 2 * macs == counted(row, size)


def test_macs_of_a_row_are_at_its_own_size() -> None:
    row = catalog()["ViT-B/16"]
    assert row.macs == row.architecture.macs((224, 224)) == 17_563_060_224


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (
            "ViT-B/16",
            (225, 224),
            "patches of 16x16 do not divide an image of 225x224 pixels. Multiples of 16 fit: .*=224x",
        ),
        ("ViT-H/14", (224, 10), "do not divide .*224x10 pixels. Multiples of 14 fit: image_size=224x14"),
        (
            "R+ViT-Ti/16",
            (60, 64),
            "8x8 do not divide the 15x16 feature map of .* Multiples of 32 fit: image_size=64x64",
        ),
    ],
)
def test_a_patch_that_does_not_fit(name: str, size: tuple[int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        catalog()[name].architecture.macs(size)
    with pytest.raises(UsageError, match=message):
        empty_network(catalog()[name], None, size)


def test_grids() -> None:
    assert catalog()["ViT-B/16"].architecture.grid((224, 384)) == (14, 24)
    assert catalog()["R50+ViT-B/16"].architecture.grid((224, 225)) == (14, 15)
    assert catalog()["R50+ViT-L/32"].architecture.grid((224, 224)) == (7, 7)
    assert catalog()["R+ViT-Ti/16"].architecture.grid((224, 224)) == (7, 7)  # whatever its name says
