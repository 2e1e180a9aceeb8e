"""Recipes: all settings that decide what a training run computes, as plain data. Does not import torch."""

# ruff: noqa: RUF009  # `setting` makes a field

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from ...registry import UsageError
from ..images.resize import Kernel
from ..images.transforms import Resize, ResizeSettings
from ..protocol import Settings
from .augment import Crop
from .contract import CHECKPOINTS


def setting(default: Any = None, *, unset: Any = None, **words: Any) -> Any:
    """A field of RecipeSettings. `default` is its value in a Recipe that does not set it; `unset` means "not set".

    `words` may be typed instead of a value: none=0.0. The word "recipe" always means "not set".
    """
    return field(default=unset, metadata={"default": default, "words": {"recipe": unset, **words}})


@dataclass(frozen=True, kw_only=True)
class RecipeSettings(ResizeSettings, Settings):
    """The settings of a recipe that users can type. None or an empty tuple: not set.

    In a `Recipe`, a setting that is not set gets its default; in a suite (`FineTune`), its recipe's value. None never
    means "no clipping": that is 0, or the word `none` on the command line.
    """

    lr: tuple[float, ...] = setting(unset=())  # at the end of warm-up; the best of several is chosen
    steps: int = setting()  # optimizer steps of a training run
    warmup: int = setting(0, none=0)  # steps
    batch: int = setting(512)  # images a step, over all processes and micro-batches
    optimizer: Literal["sgd", "adam"] = setting("sgd")  # sgd with momentum; adam with decoupled weight decay
    # After warm-up. linear: to 0 (the ViT release's: to 1e-5). steps: multiply by `decay_factor` at `decay_at`.
    schedule: Literal["cosine", "linear", "steps", "constant"] = setting("cosine")
    # sgd: coupled, added to the gradient (L2; BiT's pre-training). adam: decoupled, times the learning rate.
    weight_decay: float = setting(0.0, none=0.0)
    # kernels: the matrices of linear layers and convolutions alone, big_vision's default; all: also biases, norms,
    # position embeddings and the class token.
    decay_on: Literal["all", "kernels"] = setting("all")
    # softmax: the cross-entropy of one class an image. sigmoid: the sum of the classes' binary cross-entropies, for
    # images with any number of classes (`Split.label_sets`).
    loss: Literal["softmax", "sigmoid"] = setting("softmax")
    head_bias: float = setting(0.0, none=0.0)  # of every class, before the first step; for loss=sigmoid
    # Of a transformer, while training; a rate that is typed for the model itself, `model.dropout=`, goes before it.
    dropout: float = setting(0.0, none=0.0)
    clip_norm: float = setting(1.0, none=0.0)  # global norm of the batch's gradient; 0: no clipping
    # Alpha of the Beta distribution; one lambda per batch (BiT paper, Section 3.3); 0: none.
    mixup: float = setting(0.0, none=0.0)
    # Factor of the averaged weights, which start at the first ones; 0.9999 in the ViT paper's Table 2; 0: none.
    polyak: float = setting(0.0, none=0.0)
    image_size: int | None = setting()  # pixels; None in a Recipe: the model's size
    # Pixels before the random crop of crop=bit or resmall_crop; None in a Recipe: 448/384 of image_size.
    resize: int | None = setting()
    # See augment.py. Always none for a task whose label forbids cropping.
    crop: Crop = setting("bit", none="none")
    flip: bool = setting(True, none=False)  # flip half of the images; never if the task's label forbids it
    # Of test images. square: no crop, as in both papers; resize_crop, shorter_crop, resmall_crop: then a centre crop,
    # if the task's label allows it.
    test_resize: Resize = setting("square")
    seed: tuple[int, ...] = setting((0, 1, 2), unset=())  # of images' order, augmentation and random weights

    def given(self) -> dict[str, Any]:
        """The settings that are set, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(RecipeSettings)}
        return {name: value for name, value in values.items() if value is not None and value != ()}

    def check_given(self) -> None:
        """Raise UsageError for invalid settings, alone or together."""
        self.check_resize()
        given, endless = self.given(), float("inf")
        for name in ("steps", "batch", "image_size", "resize"):
            self.refuse(name, given.get(name, 1) < 1, ": training needs at least 1")
        invalid = any(not 0 < lr < endless for lr in self.lr)
        self.refuse("lr", invalid, ": learning rates are numbers above 0, such as suite.lr=0.01")
        for name in ("weight_decay", "clip_norm", "mixup"):
            self.refuse(name, not 0 <= given.get(name, 0) < endless, ": type 0 for none, or a number above it")
        self.refuse("head_bias", not math.isfinite(given.get("head_bias", 0)), ": a finite number, such as -10")
        share = 0 <= given.get("dropout", 0) < 1
        self.refuse("dropout", not share, ": type 0 for none, or a rate below 1, such as 0.1")
        share = 0 <= given.get("polyak", 0) < 1
        self.refuse("polyak", not share, ": type 0 for none, or a factor below 1, such as 0.9999")
        warmup, steps = given.get("warmup", 0), given.get("steps", endless)
        self.refuse("warmup", warmup < 0, ": a number of steps from 0 up")
        more = f"type suite.warmup={steps // 10}, or more suite.steps"
        self.refuse("warmup", warmup > steps, f": of suite.steps={steps}, no more can be warm-up; {more}")
        invalid = any(seed < 0 for seed in self.seed) or len(set(self.seed)) < len(self.seed)
        self.refuse("seed", invalid, ": seeds are different whole numbers from 0 up")


# Settings that came after first results. A job's identity leaves them out where they are not set, and a record where
# they have their default.
ADDED = frozenset({"dropout", "decay_on", "loss", "head_bias"})
# Records state the effect of these elsewhere: on images in `augmentation` and `test`, on the network in its variant.
RECORDED_ELSEWHERE = frozenset(
    {
        "image_size",
        "resize",
        "crop",
        "flip",
        "test_resize",
        "test_crop_pct",
        "seed",
        "dropout",
        "tanh_layer",
        "note",
        "choices",
    }
    | {"interpolation", "antialias", "rounding", "inception_interpolation"}
)


@dataclass(frozen=True, kw_only=True)
class Recipe(RecipeSettings):
    """A complete training recipe. Defaults are those of the ViT paper's fine-tuning (Table 4).

    Raises TypeError without `steps` or `lr`, and UsageError for invalid values.
    """

    # Of sgd. Moments are float32; the public codes keep this one, and big_vision the first of adam, in bfloat16.
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)  # of adam
    decay_at: tuple[int, ...] = ()  # for schedule="steps": the last step before each decay
    decay_factor: float = 0.1
    label_smoothing: float = 0.0
    test_crop_pct: float | None = None  # share of a side that a test crop keeps; None: 7/8
    inception_interpolation: Kernel | None = None  # of an Inception crop, where test images have another kernel
    tanh_layer: bool = False  # before the head, for a transformer trained from scratch
    note: str = ""  # what the protocol does not define for a task, and what is used instead
    choices: tuple[tuple[str, str], ...] = ()  # settings that the paper leaves open, and whose these are

    def __post_init__(self) -> None:
        given = self.given()
        if "lr" not in given or "steps" not in given:
            raise TypeError("a recipe needs learning rates, lr=(0.01,), and steps")
        for item in fields(RecipeSettings):
            if item.name not in given:
                object.__setattr__(self, item.name, item.metadata.get("default"))
        self.check_given()
        if self.decay_at and self.schedule != "steps":
            raise UsageError(
                f"suite.decay_at is a setting of schedule=steps and changes nothing in schedule={self.schedule}"
            )
        self.refuse("label_smoothing", bool(self.label_smoothing) and self.loss != "softmax", " is of loss=softmax")
        shares = (("momentum", self.momentum), ("label_smoothing", self.label_smoothing))
        for name, value in (*shares, *(("betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise UsageError(f"suite.{name}={value:g} is not in [0, 1)")

    def at(self, lr: float) -> Self:
        """The recipe with this learning rate only, as a training run needs it."""
        return replace(self, lr=(lr,))

    @property
    def copies(self) -> int:
        """How often a run has its weights on disk, at most: two checkpoints, and one that is being written."""
        moments = 2 if self.optimizer == "adam" else 1
        return (CHECKPOINTS + 1) * (1 + moments + bool(self.polyak))

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0, as in both official codes.

        In the warm-up it is lr * step / warmup, so the first step changes nothing. Then, with p = (step - warmup) /
        (steps - warmup): cosine lr (1 + cos(pi p)) / 2; linear lr (1 - p) (the ViT release ends at 1e-5 instead of 0);
        constant lr; steps: lr times decay_factor for every entry of decay_at below `step` (big_transfer's `s < step`).
        """
        (lr,) = self.lr
        if self.warmup and step < self.warmup:
            # The ViT release clips p to 0 here, so its decay begins after the warm-up, too.
            return lr * step / self.warmup
        progress = min(max((step - self.warmup) / max(self.steps - self.warmup, 1), 0.0), 1.0)
        scale = {
            "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
            "linear": 1 - progress,
            "steps": self.decay_factor ** sum(at < step for at in self.decay_at),
            "constant": 1.0,
        }
        return lr * scale[self.schedule]

    def describe(self) -> dict[str, Any]:
        """The settings of a run as JSON data, for records and for checkpoints."""
        (lr,) = self.lr
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        default = {item.name: item.metadata["default"] for item in fields(RecipeSettings) if item.name in ADDED}
        unsaid = {"polyak", *RECORDED_ELSEWHERE, *(name for name, value in default.items() if plain[name] == value)}
        recorded = {key: value for key, value in plain.items() if key not in unsaid}
        # Records of all versions call averaging "ema", and have null, not 0, without averaging and clipping. Tables
        # compare treatments as text, so this must not change.
        return recorded | {"lr": lr, "clip_norm": self.clip_norm or None, "ema": self.polyak or None}
