"""The papers' fine-tuning settings, each threshold."""

from __future__ import annotations

import pytest
from vit_bench.registry import UsageError
from vit_bench.suites.training import paper_recipes as recipes


@pytest.mark.parametrize(
    ("images", "steps", "decay", "mixup"),
    [
        (19_999, 500, (150, 300, 450), 0.0),
        (20_000, 10_000, (3000, 6000, 9000), 0.1),
        (499_999, 10_000, (3000, 6000, 9000), 0.1),
        (500_000, 20_000, (6000, 12000, 18000), 0.1),
    ],
)
def test_bits_schedule_follows_the_number_of_images(images, steps, decay, mixup) -> None:
    rule = recipes.bit(images, (32, 32))
    assert (rule.steps, rule.decay_at, rule.mixup, rule.warmup) == (steps, decay, mixup, 0)


def test_bits_resolution_follows_the_area_and_the_released_code_differs() -> None:
    assert [recipes.bit(100, size).image_size for size in ((96, 95), (96, 96))] == [128, 384]
    assert recipes.bit(100, (300, 300), model="BiT-R152x4").image_size == 480
    code = recipes.bit(100, (300, 300), source="code")
    assert (code.image_size, code.resize, code.warmup, code.decay_at) == (480, 512, 100, (200, 300, 400))
    assert recipes.bit(20_000, (300, 300), source="code").warmup == 500


def test_vits_table_4_and_the_nearest_row_for_others() -> None:
    assert recipes.vit("ImageNet", 1_281_167).lr == (0.003, 0.01, 0.03)
    assert recipes.vit("ImageNet", 1_281_167, resnet=True).lr[-1] == 0.06
    pets = recipes.vit("Oxford-IIIT Pets", 3680)
    assert (pets.steps, pets.warmup, pets.note) == (500, 100, "")
    other = recipes.vit("mine", 20_000)
    assert other.steps == 10_000
    assert other.note == "mine has no row in the ViT paper's Table 4: CIFAR-10's, by the size of 20000 images"
    assert (recipes.vtab().steps, recipes.vtab().lr, recipes.vtab().warmup) == (2500, (0.01,), 200)


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(UsageError, match="for 0 training images: there is nothing to train on"):
        recipes.bit(0, (32, 32))


def test_table_2_has_its_own_resolutions_and_averaging() -> None:
    found = [recipes.imagenet_table2(name, 1_281_167) for name in ("ViT-L/16", "ViT-H/14")]
    assert [(one.image_size, one.polyak, one.steps) for one in found] == [(512, 0.9999, 20_000), (518, 0.9999, 20_000)]
    assert [one.note for one in found] == ["", ""]
    other = recipes.imagenet_table2("ViT-L/16", 50_000, task="CIFAR-10")
    assert other.note == "the settings that the ViT paper's Table 2 has for ImageNet, on CIFAR-10"
    with pytest.raises(UsageError, match="for ViT-L/16 and ViT-H/14, not for ViT-B/16"):
        recipes.imagenet_table2("ViT-B/16", 1_281_167)


def test_the_short_recipe_feeds_tiny_images_small() -> None:
    assert [recipes.short(size).image_size for size in ((8, 8), (32, 32), (33, 32), (64, 64))] == [32, 32, None, None]


def test_pre_training_has_dropout_and_a_tanh_layer_and_says_where_its_warm_up_is_shorter() -> None:
    dropout = {row: recipes.from_scratch("ViT-B/16", 1_281_167, pretrain=row).dropout for row in ("ImageNet-21k",)}
    assert dropout == {"ImageNet-21k": 0.1}
    jft = recipes.from_scratch("ViT-B/16", 303_000_000, pretrain="JFT-300M")
    assert (jft.dropout, jft.tanh_layer, jft.warmup, jft.note) == (0.0, True, 10_000, "")
    short = recipes.from_scratch("ViT-B/16", 1000)
    assert (short.steps, short.warmup, short.dropout) == (73, 7, 0.1)
    assert short.note == "7 steps of warm-up: Table 3's 10000 are of longer runs"


@pytest.mark.parametrize(
    ("name", "bias", "tanh_layer"), [("big-vision-i1k", -6.9, True), ("big-vision-i21k", -10.0, False)]
)
def test_big_visions_own_pre_training(name: str, bias: float, tanh_layer: bool) -> None:
    found = recipes.big_vision(name, 1_281_167)
    assert (found.steps, found.warmup, found.lr, found.schedule) == (93_835, 10_000, (1e-3,), "cosine")
    assert (found.optimizer, found.clip_norm, found.dropout, found.mixup) == ("adam", 1.0, 0.0, 0.0)
    assert found.weight_decay * found.lr[0] == pytest.approx(1e-4)  # their wd, a step
    assert (found.decay_on, found.loss, found.head_bias, found.tanh_layer) == ("kernels", "sigmoid", bias, tanh_layer)
    assert "RandAugment" in dict(found.choices)["mixup"]
    assert (found.crop, found.inception_interpolation) == ("inception", "bilinear")
    assert (found.test_resize, found.interpolation, found.rounding) == ("resmall_crop", "area", "truncate")


@pytest.mark.parametrize(
    ("pretrain", "images", "bias", "config"),
    [
        ("ImageNet", 1_281_167, -6.9, "vit_i1k"),
        ("ImageNet-21k", 14_200_000, -10.0, "vit_i21k"),
        ("JFT-300M", 303_000_000, -10.0, "vit_i21k"),
    ],
)
def test_what_the_paper_leaves_open_is_big_visions_and_says_so(pretrain, images, bias, config) -> None:
    found = recipes.from_scratch("ViT-B/16", images, pretrain=pretrain)
    assert (found.loss, found.head_bias, found.decay_on) == ("sigmoid", bias, "kernels")
    why = f"not said by the ViT paper; as big_vision's {config}"
    assert dict(found.choices) == {"loss": why, "head_bias": why, "decay_on": why}
    assert (found.warmup, found.note) == (10_000, "")


@pytest.mark.parametrize(("steps", "warmup"), [(89_999, 8_999), (90_000, 10_000), (400_000, 10_000), (9, 0)])
def test_runs_as_long_as_the_papers_warm_up_as_long(steps: int, warmup: int) -> None:
    assert recipes.from_scratch("ViT-B/16", 1000, steps=steps).warmup == warmup
    assert recipes.big_vision("big-vision-i1k", 1000, steps=steps).warmup == warmup


def test_the_authors_codes_feed_images_in_ways_of_their_own() -> None:
    paper = recipes.vit("CIFAR-10", 50_000)
    codes = [recipes.vit_as(code, "CIFAR-10", 50_000) for code in ("vision_transformer", "big_vision")]
    assert [(one.crop, one.test_resize, one.test_crop_pct) for one in (paper, *codes)] == [
        ("bit", "square", None),
        ("inception", "square", None),
        ("resmall_crop", "resmall_crop", 384 / 448),
    ]
    assert [(one.interpolation, one.antialias, one.rounding) for one in (paper, *codes)] == [
        (None, None, None),
        (None, None, None),
        ("area", None, "truncate"),
    ]
    assert {(one.steps, one.lr, one.image_size) for one in (paper, *codes)} == {(10_000, paper.lr, 384)}
