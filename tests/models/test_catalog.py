"""Contracts over every row of the catalog."""

import subprocess
import sys

import pytest
from vit_bench.models import Input, Model, catalog, count_parameters, list_models
from vit_bench.models.external.rows import ExternalBuilder
from vit_bench.registry import UsageError

pytestmark = pytest.mark.contract

ROWS = list(catalog().values())

RELEASED = {  # parameters of the released files with a 1000-class head at 224 pixels
    "ViT-Ti/16": 5_717_416,
    "ViT-S/16": 22_050_664,
    "ViT-B/16": 86_567_656,
    "ViT-L/16": 304_326_632,
    "ViT-H/14": 632_045_800,
    "ViT-S/16-gap": 22_049_896,
    "ViT-B/16-gap": 86_566_120,
    "ViT-B/8": 86_576_872,
    "ViT-S/32": 22_878_952,
    "ViT-B/32": 88_224_232,
    "ViT-L/32": 306_535_400,
    "ViT-S/32-gap": 22_878_184,
    "ViT-B/32-gap": 88_222_696,
    "R+ViT-Ti/16": 6_337_704,
    "R50+ViT-B/16": 98_659_112,
    "R26+ViT-B/32": 101_383_976,
    "R26+ViT-S/32": 36_431_912,
    "R50+ViT-L/32": 328_994_856,
    "BiT-R50x1": 25_549_352,
    "BiT-R50x3": 217_319_080,
    "BiT-R101x1": 44_541_480,
    "BiT-R101x3": 387_934_888,
    "BiT-R152x2": 236_335_208,
    "BiT-R152x4": 936_533_224,
}

TABLE_1 = {  # ViT paper, Table 1, and AugReg paper, Tables 1 and 2: layers, width, MLP, heads, millions of parameters
    "ViT-B/16": (12, 768, 3072, 12, 86),
    "ViT-L/16": (24, 1024, 4096, 16, 307),
    "ViT-H/14": (32, 1280, 5120, 16, 632),
    "ViT-Ti/16": (12, 192, 768, 3, 5.8),
    "ViT-S/16": (12, 384, 1536, 6, 22.2),
    "R+ViT-Ti/16": (12, 192, 768, 3, 6.4),
    "R26+ViT-S/32": (12, 384, 1536, 6, 36.6),
    "R50+ViT-L/32": (24, 1024, 4096, 16, 330.0),
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_parameter_count_is_the_pinned_one(row: Model) -> None:
    assert row.params
    assert count_parameters(row) == row.params


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_is_complete(row: Model) -> None:
    external = isinstance(row.architecture, ExternalBuilder)
    assert row.family in (("timm", "torchvision") if external else ("ViT", "BiT", "R+ViT"))
    assert external or row.macs
    assert row.aliases
    assert row.small == row.name.endswith("-mini")
    assert external or row.input == Input(size=(64, 64) if row.small else (224, 224))
    assert row.in_globs == (not row.small and not external)
    assert not row.variant


def test_released_counts_are_in_the_catalog() -> None:
    assert {name: catalog()[name].params for name in RELEASED} == RELEASED


def test_rows_without_a_release_follow_from_their_siblings() -> None:
    def params(name: str) -> int:
        return catalog()[name].params or 0

    embedding = 2048 + 1  # the 1x1 patch embedding of a stage-4 map, a column of the width
    resnet = params("R50+ViT-L/32") - params("ViT-L/16") + (16 * 16 * 3 + 1 + 196 - 49) * 1024 - embedding * 1024
    base = params("ViT-B/16") - (16 * 16 * 3 + 1 + 196 - 49) * 768
    assert params("R50+ViT-B/32") == resnet + embedding * 768 + base
    resnet = params("R50+ViT-B/16") - params("ViT-B/16") + (16 * 16 * 3 - 1024) * 768
    assert params("R50+ViT-L/16") == resnet + params("ViT-L/16") - (16 * 16 * 3 - 1024) * 1024


@pytest.mark.parametrize("name", TABLE_1)
def test_sizes_are_those_of_the_papers(name: str) -> None:
    layers, width, mlp, heads, millions = TABLE_1[name]
    row = catalog()[name]
    vit = row.architecture
    assert (vit.depth, vit.width, vit.mlp_dim or 4 * vit.width, vit.heads) == (layers, width, mlp, heads)
    assert (row.params or 0) / 1e6 == pytest.approx(millions, rel=0.015)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("vit_b16", "ViT-B/16"),
        ("ViT-B_16", "ViT-B/16"),
        ("vit-b/16", "ViT-B/16"),
        ("B/16", "ViT-B/16"),
        ("vit_b16_gap", "ViT-B/16-gap"),
        ("ViT-S_16-gap-norep", "ViT-S/16-gap"),
        ("bit_r50x1", "BiT-R50x1"),
        ("R50x1", "BiT-R50x1"),
        ("ResNet50x1", "BiT-R50x1"),
        ("ResNet-152x4", "BiT-R152x4"),
        ("BiT-L (ResNet152x4)", "BiT-R152x4"),
        ("BiT-L (R152x4)", "BiT-R152x4"),
        ("r50_vit_b16", "R50+ViT-B/16"),
        ("R50+ViT-B_16", "R50+ViT-B/16"),
        ("R50x1+ViT-B/32", "R50+ViT-B/32"),
        ("R26+S/32", "R26+ViT-S/32"),
        ("R+Ti/16", "R+ViT-Ti/16"),
        ("vit_mini", "ViT-mini"),
        ("r_vit_mini", "R+ViT-mini"),
        ("Noisy Student (EfficientNet-L2)", "Noisy Student (EfficientNet-L2)"),  # as the ViT paper's Table 2 has it
        ("EfficientNet-L2", "Noisy Student (EfficientNet-L2)"),
        ("tf_efficientnet_l2.ns_jft_in1k", "Noisy Student (EfficientNet-L2)"),
    ],
)
def test_aliases(word: str, name: str) -> None:
    assert list_models(word) == [name]


def test_globs_pass_over_small_rows() -> None:
    assert list_models("ViT-*/32") == ["ViT-S/32", "ViT-B/32", "ViT-L/32"]
    assert not [name for name in list_models("*") if name.endswith("-mini")]
    assert {"ViT-mini", "BiT-mini", "R+ViT-mini"} < set(list_models())


def test_globs_pass_over_rows_that_need_another_library() -> None:
    assert "Noisy Student (EfficientNet-L2)" in list_models()
    assert "Noisy Student (EfficientNet-L2)" not in list_models("*")
    with pytest.raises(UsageError, match="no model matches 'Noisy"):
        list_models("Noisy*")


def test_a_model_named_with_its_weights_is_its_row() -> None:
    assert list_models("BiT-M-R50x1") == ["BiT-R50x1"]
    assert list_models("vit_base_patch16_224.augreg_in21k") == ["ViT-B/16"]
    with pytest.raises(UsageError, match=r"(?i)there is no model 'BiT-L-R50x1'. Did you mean .*BiT-R50x1"):
        list_models("BiT-L-R50x1")


def test_listing_and_naming_load_no_torch() -> None:
    code = (
        "import sys, vit_bench.models as m; m.list_models(); m.catalog()['ViT-B/16'].macs; m.catalog()\n"
        "import vit_bench.models.own.rows, vit_bench.models.released.download; m.catalog()['ViT-B/16'].known_weights\n"
        "m.list_models('timm:resnetv2_50x*.*'); m.list_models('torchvision:*')\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'loaded'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
