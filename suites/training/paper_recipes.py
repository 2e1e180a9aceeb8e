"""The papers' recipes of fine-tuning and pre-training as pure functions of task, model and size of the data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from ...registry import UsageError
from .bit_hyperrule import LARGEST, decays, image_sizes, is_small, schedule_length
from .recipe import Recipe

Source = Literal["paper", "code"]
Code = Literal["vision_transformer", "big_vision"]  # public code of the ViT paper's authors
SHORT_SIDE = 32  # pixels
TABLE4: Mapping[str, tuple[int, tuple[float, ...], int]] = {  # ViT paper: steps, learning rates, warm-up
    "ImageNet": (20_000, (0.003, 0.01, 0.03), 500),
    "CIFAR-100-full": (10_000, (0.001, 0.003, 0.01, 0.03), 500),
    "CIFAR-10": (10_000, (0.001, 0.003, 0.01, 0.03), 500),
    "Oxford-IIIT Pets": (500, (0.001, 0.003, 0.01, 0.03), 100),
    "Oxford Flowers-102": (500, (0.001, 0.003, 0.01, 0.03), 100),
}
TABLE3_LR = {  # ViT paper, on JFT-300M; 8e-4 for all other models
    "ViT-L/32": 6e-4,
    "ViT-L/16": 4e-4,
    "ViT-H/14": 3e-4,
    "BiT-R50x1": 1e-3,
    "BiT-R50x2": 1e-3,
    "BiT-R152x1": 6e-4,
    "BiT-R152x2": 6e-4,
    "R50+ViT-L/32": 2e-4,
    "R50+ViT-L/16": 4e-4,
}

# The file of big_vision with a row's loss, and the bias of its head before the first step. -6.9 is -log(1000).
# big_vision has no configuration for JFT-300M; its one for JFT-3B (train_vit_g) has the bias of ImageNet-21k.
HEAD_BIAS = {"ImageNet": ("vit_i1k", -6.9), "ImageNet-21k": ("vit_i21k", -10.0), "JFT-300M": ("vit_i21k", -10.0)}
BIG_VISION = {"big-vision-i1k": ("ImageNet", True), "big-vision-i21k": ("ImageNet-21k", False)}  # has a tanh layer
# 300 epochs of ImageNet, less 1 % that some runs keep for validation, and some room for how images are counted.
SHORTEST_PRETRAINING = 90_000


def vit(task: str, images: int, *, resnet: bool = False) -> Recipe:
    """ViT paper, Table 4, with the public code's warm-up.

    `images` is the number of training images. A task without a row in the table gets that of a task of similar size, by
    BiT's thresholds, and a note. The table has 0.06 for ImageNet; the text says only ResNets and hybrids (`resnet`) do.
    There is no dropout: the table does not say whether there was any.
    """
    _check(images)
    by_size = {500: "Oxford-IIIT Pets", 10_000: "CIFAR-10", 20_000: "ImageNet"}
    row = task if task in TABLE4 else by_size[schedule_length(images)]
    note = f"{task} has no row in the ViT paper's Table 4: {row}'s, by the size of {images} images"
    steps, lr, warmup = TABLE4[row]
    lr += (0.06,) if row == "ImageNet" and resnet else ()
    return Recipe(steps=steps, lr=lr, warmup=warmup, image_size=384, note="" if row == task else note)


def vit_as(code: Code, task: str, images: int, *, resnet: bool = False) -> Recipe:
    """`vit` with the preprocessing of the authors' public code; the paper itself refers to BiT's.

    vision_transformer: Inception crops; test images resized to a square. It fine-tunes four models with dropout, which
    their rows know (`Model.tuned_with_dropout`) and this function does not. big_vision (its transfer configuration):
    the shorter side is resized to 448, by area and to 8 bits, and a part of 384 pixels is cut out of that: a random
    one to train, the central one to test. The Inception crop that it also takes (crop=inception) is resized bilinearly.
    """
    recipe = vit(task, images, resnet=resnet)
    if code == "vision_transformer":
        return replace(recipe, crop="inception")
    resized: dict[str, Any] = {"interpolation": "area", "rounding": "truncate", "inception_interpolation": "bilinear"}
    test: dict[str, Any] = {"test_resize": "resmall_crop", "test_crop_pct": 384 / 448}
    return replace(recipe, crop="resmall_crop", resize=448, **resized, **test)


def imagenet_table2(model: str, images: int, *, task: str = "ImageNet") -> Recipe:
    """The ViT paper's Table 2 for ImageNet: 512 pixels for ViT-L/16, 518 for ViT-H/14, Polyak averaging of 0.9999.

    Sources disagree whether L/16 was averaged; replace `polyak` by 0 for a run without. Another task gets the same
    settings and a note.
    """
    sides = {"ViT-L/16": 512, "ViT-H/14": 518}
    if model not in sides:
        raise UsageError(f"the ViT paper's Table 2 has settings for {' and '.join(sides)}, not for {model}")
    note = "" if task == "ImageNet" else f"the settings that the ViT paper's Table 2 has for ImageNet, on {task}"
    return replace(vit("ImageNet", images), image_size=sides[model], polyak=0.9999, note=note)


def vtab() -> Recipe:
    """VTAB-1k for ViT: lr and steps of the ViT paper's Table 4; warm-up and resizing of the official later code."""
    return Recipe(steps=2500, lr=(0.01,), warmup=200, image_size=384, resize=448)


def vtab_sweep() -> tuple[Recipe, ...]:
    """The VTAB paper's lightweight sweep: two learning rates by two schedules, images resized to 224 pixels.

    Its public code neither crops nor flips, and resizes as TensorFlow 1 did. From a secondary source, without warm-up
    and decay: those are `vtab`'s.
    """
    grid = {"lr": (0.01, 0.1), "image_size": 224, "resize": None, "interpolation": "legacy"}
    grid |= {"crop": "none", "flip": False}
    return tuple(replace(vtab(), **grid, steps=steps) for steps in (2500, 10_000))


def from_scratch(model: str, images: int, *, pretrain: str = "ImageNet", steps: int | None = None) -> Recipe:
    """The pre-training recipe of the ViT paper's Table 3, for a data set of this many images.

    `pretrain` is the row: JFT-300M, ImageNet-21k or ImageNet. Without `steps`, the row's epochs are converted at batch
    4096. A model without a learning rate in the table gets ViT-B's. A run that is shorter than any of the paper's has a
    tenth of its steps as warm-up, and a note. `choices` says what the paper leaves open and whose answer is used.
    """
    rows: dict[str, tuple[int, float, float, float]] = {  # epochs, lr, weight decay, clipping
        "JFT-300M": (14 if model == "ViT-H/14" else 7, TABLE3_LR.get(model, 8e-4), 0.1, 0.0),
        "ImageNet-21k": (90, 1e-3, 0.03, 0.0),
        "ImageNet": (300, 3e-3, 0.3, 1.0),
    }
    if pretrain not in rows:
        raise UsageError(f"the ViT paper's Table 3 has rows for {', '.join(rows)}, and none for {pretrain}")
    _check(images)
    epochs, lr, decay, clip = rows[pretrain]
    steps = steps or _steps(epochs, images)
    config, bias = HEAD_BIAS[pretrain]
    theirs = f"not said by the ViT paper; as big_vision's {config}"
    return Recipe(
        steps=steps,
        lr=(lr,),
        warmup=_warmup(steps),
        schedule="cosine" if pretrain == "ImageNet" else "linear",
        clip_norm=clip,
        batch=4096,
        crop="inception",
        optimizer="adam",
        weight_decay=decay,
        decay_on="kernels",
        loss="sigmoid",
        head_bias=bias,
        seed=(0,),
        dropout=0.0 if pretrain == "JFT-300M" else 0.1,
        tanh_layer=True,
        note=_warmup_note(steps),
        choices=(("loss", theirs), ("head_bias", theirs), ("decay_on", theirs)),
    )


def big_vision(name: str, images: int, *, steps: int | None = None) -> Recipe:
    """big_vision's configuration for pre-training on ImageNet (vit_i1k) or ImageNet-21k (vit_i21k): 300 epochs.

    Without its RandAugment, which this project does not have, and without the MixUp that goes with it: vit_i1k calls
    that aug=none. Its `wd` is per step and not multiplied by the base learning rate: 1e-4 is 0.1 times 1e-3 here. Test
    images: the shorter side resized to 256 by area, the centre of 224; all pixels are cut to 8 bits.
    """
    _check(images)
    pretrain, tanh_layer = BIG_VISION[name]
    config, bias = HEAD_BIAS[pretrain]
    steps = steps or _steps(300, images)
    return Recipe(
        steps=steps,
        lr=(1e-3,),
        warmup=_warmup(steps),
        batch=4096,
        crop="inception",
        test_resize="resmall_crop",
        interpolation="area",
        rounding="truncate",
        inception_interpolation="bilinear",
        optimizer="adam",
        weight_decay=0.1,
        decay_on="kernels",
        loss="sigmoid",
        head_bias=bias,
        seed=(0,),
        tanh_layer=tanh_layer,
        note=_warmup_note(steps),
        choices=(("mixup", f"none: {config} without RandAugment and MixUp"),),
    )


def _steps(epochs: int, images: int) -> int:
    return max(1, round(epochs * images / 4096))


def _warmup(steps: int) -> int:
    """10 000 steps (ViT paper, Appendix B.1), in a run that is shorter than any of the paper's a tenth of it."""
    return 10_000 if steps >= SHORTEST_PRETRAINING else steps // 10


def _warmup_note(steps: int) -> str:
    return "" if _warmup(steps) == 10_000 else f"{_warmup(steps)} steps of warm-up: Table 3's 10000 are of longer runs"


def short(size: tuple[int, int]) -> Recipe:
    """Our own recipe: a small network from scratch on a thousand small images, in seconds on a CPU.

    `size` is the images' height and width. Images of at most 32 x 32 pixels are resized to 32, others to the model's
    size. The values were chosen by the accuracy on the 200 validation images of `digits`, seed 0.
    """
    tiny = max(size) <= SHORT_SIDE
    return Recipe(
        steps=400,
        lr=(1e-3,),
        warmup=40,
        batch=32,
        image_size=SHORT_SIDE if tiny else None,
        resize=34 if tiny else None,
        antialias=True,
        rounding="none",
        optimizer="adam",
        weight_decay=0.03,
        seed=(0, 1),
    )


def short_pretraining(images: int, *, steps: int | None = None) -> Recipe:
    """Our own recipe: pre-training of a small network, ten epochs unless `steps` are given, three learning rates."""
    _check(images)
    steps = steps or max(1, round(10 * images / 128))
    return Recipe(
        steps=steps,
        lr=(3e-4, 1e-3, 3e-3),
        warmup=steps // 10,
        batch=128,
        crop="none",
        antialias=True,
        rounding="none",
        optimizer="adam",
        weight_decay=0.1,
        decay_on="kernels",
        seed=(0,),
    )


def bit(images: int, size: tuple[int, int], *, model: str = "", source: Source = "paper") -> Recipe:
    """The BiT-HyperRule (training/bit_hyperrule.py), of the paper or of the released code.

    `size` is the usual height and width of the data set's images. The code uses the largest image size for all models,
    warms up over 100 or 500 steps, and decays the short schedule at steps 200, 300 and 400.
    """
    _check(images)
    steps = schedule_length(images)
    resize, crop = image_sizes(model if source == "paper" else LARGEST, small=is_small(*size))
    return Recipe(
        steps=steps,
        lr=(0.003,),
        warmup=0 if source == "paper" else 100 if steps == 500 else 500,
        schedule="steps",
        decay_at=(200, 300, 400) if source == "code" and steps == 500 else decays(steps),
        clip_norm=0.0,
        image_size=crop,
        resize=resize,
        mixup=0.0 if steps == 500 else 0.1,
    )


def _check(images: int) -> None:
    if images < 1:
        raise UsageError(f"a recipe for {images} training images: there is nothing to train on")
