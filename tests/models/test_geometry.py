"""The closed forms of grids and multiply-accumulates, against torch's counter on the networks themselves."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from vit_bench.models import Model, ViT, catalog
from vit_bench.models.build_native import empty_network
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
        ("ViT-B/16", (224, 15), "a patch of 16x16 does not fit an image of 224x15 pixels. The smallest side is 16"),
        ("ViT-H/14", (13, 14), "a patch of 14x14 does not fit an image of 13x14 pixels"),
        ("R+ViT-Ti/16", (28, 64), "8x8 does not fit the 7x16 feature map of .* 28x64 pixels. The smallest side is 29"),
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


@pytest.mark.parametrize(
    ("name", "size", "grid", "left_out"),
    [
        ("ViT-B/16", (224, 224), (14, 14), None),
        ("ViT-B/16", (225, 239), (14, 14), "the last 1 rows and 15 columns of the image are in no patch"),
        ("R+ViT-Ti/16", (225, 221), (7, 7), "the last 1 rows and 0 columns of the feature map are in no patch"),
        ("R50+ViT-B/16", (225, 97), (15, 7), None),
    ],
)
def test_patches_leave_out_what_is_over_as_the_released_code_does(
    name: str, size: tuple[int, int], grid: tuple[int, int], left_out: str | None
) -> None:
    architecture = catalog()[name].architecture
    assert isinstance(architecture, ViT)
    assert architecture.grid(size) == grid
    said = architecture.uncovered(size)
    assert said is None if left_out is None else said is not None and said.startswith(left_out)
