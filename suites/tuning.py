"""The settings that fine-tuning has in every suite, and the recipes they leave to choose from."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..registry import UsageError
from . import recipes
from .augment import Crop
from .protocol import Suite, Task, Work
from .recipe import Optimizer, Schedule
from .recipes import Settings
from .transforms import Resize

if TYPE_CHECKING:
    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice

Table3 = Literal["scratch", "scratch-in21k", "scratch-jft"]
RecipeName = Literal[
    "auto", "vit", "vit-code", "big-vision", "table2", "bit", "bit-code", "vtab", "vtab-sweep", Table3, "short"
]
SCRATCH = {"scratch": "ImageNet", "scratch-in21k": "ImageNet-21k", "scratch-jft": "JFT-300M"}  # rows of Table 3
# What a run is done with, and not what it does: no part of the treatment.
INCIDENTAL = frozenset({"micro_batch", "checkpoint_minutes", "tensorboard"})  # no result depends on them
NOT_TREATMENT = {"recipe", "seed", "save", "compile", "channels_last", "parallel", *INCIDENTAL}


@dataclass(frozen=True, kw_only=True)
class FineTuning(Suite):
    """The settings that fine-tuning has in every suite. Those left empty are the recipe's."""

    incidental: ClassVar[frozenset[str]] = INCIDENTAL

    recipe: RecipeName = "auto"
    lr: tuple[float, ...] = ()  # learning rates to choose from
    steps: int | None = None
    warmup: int | None = None  # steps
    batch: int | None = None  # images a step
    optimizer: Optimizer | None = None  # sgd with momentum 0.9; adam with decoupled weight decay
    schedule: Schedule | None = None  # after warm-up: cosine, linear, constant, or steps: a tenth at 30, 60, 90 %
    weight_decay: float | None = None
    clip_norm: float | None = None  # of the whole batch's gradient; 0: no clipping
    mixup: float | None = None  # alpha; 0: none
    polyak: float | None = None  # factor of the averaged weights, 0.9999 in the ViT paper's Table 2; 0: none
    image_size: int | None = None  # pixels
    resize: int | None = None  # pixels before a random crop; of crop=bit alone
    crop: Crop | None = None  # bit, inception, none; where a task's label forbids cropping, none whatever is said
    flip: bool | None = None  # mirror half of the images; where a task's label forbids it, never
    # Of test images: square; resize_crop, shorter_crop: and the centre cut out, where the task's label allows it.
    test_resize: Resize | None = None
    seed: tuple[int, ...] = ()
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    micro_batch: int | None = None  # images that pass at once; None: what fits. Changes no result beyond rounding
    compile: bool = False  # torch.compile: minutes at first, faster steps on a GPU
    channels_last: bool = False  # memory format; faster for ResNets in bf16 on a GPU
    parallel: Literal["sum", "ddp"] = "sum"  # of several processes: suites/training/contract.py
    checkpoint_minutes: float = 10.0
    tensorboard: bool = False  # write TensorBoard's files to kept/<key>/tensorboard of the run directory
    save: Literal["nothing", "weights"] = "nothing"  # weights: each seed's, in kept/<key>/ of the run directory

    def check(self) -> None:
        for name in ("steps", "batch", "image_size", "resize", "micro_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"suite.{name}={value}: training needs at least 1")
        if self.warmup is not None and self.warmup < 0:
            raise UsageError(f"suite.warmup={self.warmup}: a number of steps from 0 up")
        if any(not 0 < lr < float("inf") for lr in self.lr):
            raise UsageError(f"suite.lr={','.join(f'{lr:g}' for lr in self.lr)}: learning rates are numbers above 0")
        for name, limit in (("weight_decay", float("inf")), ("clip_norm", float("inf")), ("mixup", float("inf"))):
            value = getattr(self, name)
            if value is not None and not 0 <= value < limit:
                raise UsageError(f"suite.{name}={value:g}: type 0 for none, or a number above it")
        if self.polyak is not None and not 0 <= self.polyak < 1:
            raise UsageError(f"suite.polyak={self.polyak:g}: type 0 for none, or a factor below 1, such as 0.9999")
        if self.steps is not None and self.warmup is not None and self.warmup > self.steps:
            raise UsageError(f"suite.warmup={self.warmup}: of suite.steps={self.steps}, no more can be warm-up")
        if any(seed < 0 for seed in self.seed) or len(set(self.seed)) < len(self.seed):
            raise UsageError(f"suite.seed={','.join(map(str, self.seed))}: seeds are different whole numbers from 0 up")
        if not self.checkpoint_minutes > 0:
            raise UsageError(f"suite.checkpoint_minutes={self.checkpoint_minutes:g}: a number above 0")

    def size(self, model: Model, weights: WeightsChoice) -> tuple[int, int]:
        (_, settings), *_ = self.candidates(model, weights, None, 1000, model.input.size)
        return model.input.size if settings.image_size is None else (settings.image_size, settings.image_size)

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:
        train, val, test = (task.splits.get(split, 0) for split in ("train", "val", "test"))
        found = self.candidates(model, weights, task, train + val, model.input.size)
        runs = [(settings, lr) for _, settings in found for lr in settings.lr]
        seeds = len(found[0][1].seed)
        choosing = runs if len(runs) > 1 else []
        trained = sum(settings.steps * settings.batch for settings, _ in choosing)
        longest = max(settings.steps * settings.batch for settings, _ in runs)  # which one wins is not known
        return Work(images=seeds * (len(choosing) * val + test), trained=seeds * (trained + longest))

    def candidates(
        self, model: Model, weights: WeightsChoice, task: Task | None, images: int, size: tuple[int, int]
    ) -> list[tuple[str, Settings]]:
        """The recipes to choose from, by name, with what was typed in place of their own.

        `images` are those of the final run, `size` the images' height and width (BiT's rule looks at both).
        """
        return [(name, self._typed(settings)) for name, settings in self._recipes(model, weights, task, images, size)]

    def _recipes(
        self, model: Model, weights: WeightsChoice, task: Task | None, images: int, size: tuple[int, int]
    ) -> list[tuple[str, Settings]]:
        name = "" if task is None else task.name
        wanted = self.recipe
        if wanted == "auto":
            wanted = self.own_recipe(model, untrained=weights.random)
        if wanted == "vtab-sweep":
            sweep = {self.steps or one.steps: one for one in recipes.vtab_sweep()}  # typed steps leave one schedule
            return [(f"vtab-sweep {steps}", one) for steps, one in sweep.items()]
        largest = model.name == "BiT-R152x4"
        made = {
            "vit": lambda: recipes.vit(name, images, resnet=has_resnet(model)),
            "vit-code": lambda: recipes.vit_as("vision_transformer", name, images, resnet=has_resnet(model)),
            "big-vision": lambda: recipes.vit_as("big_vision", name, images, resnet=has_resnet(model)),
            "table2": lambda: recipes.imagenet_table2(model.name, images, task=name or "ImageNet"),
            "bit": lambda: recipes.bit(images, size, largest=largest),
            "bit-code": lambda: recipes.bit(images, size, largest=largest, source="code"),
            "vtab": recipes.vtab,
            "short": lambda: recipes.short(size),
            **{
                scratch: lambda row=row: recipes.from_scratch(model.name, images, pretrain=row, steps=self.steps)
                for scratch, row in SCRATCH.items()
            },
        }
        return [(one, made[one]()) for one in wanted.split("+")]

    def own_recipe(self, model: Model, *, untrained: bool) -> str:
        """What recipe=auto stands for; of several, joined by +, the best on the validation images is taken."""
        if untrained:
            return "short" if model.small else "scratch"
        return "vit+bit" if has_resnet(model) else "vit"

    def typed(self) -> dict[str, Any]:
        """What of the treatment was typed, as plain data."""
        found = {
            item.name: getattr(self, item.name)
            for item in fields(FineTuning)
            if item.name not in NOT_TREATMENT and getattr(self, item.name) != item.default
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in sorted(found.items())}

    def _typed(self, settings: Settings) -> Settings:
        """A recipe's settings, with those that were typed in their place."""
        steps = self.steps or settings.steps
        schedule = self.schedule or settings.schedule
        decay_at = tuple(at * steps // settings.steps for at in settings.decay_at)
        if schedule == "steps" and not decay_at:
            decay_at = recipes.decays(steps)
        warmup = settings.warmup if settings.warmup < steps else steps // 10
        typed = {
            name: getattr(self, name)
            for name in (
                "optimizer",
                "weight_decay",
                "mixup",
                "crop",
                "flip",
                "batch",
                "image_size",
                "resize",
                "test_resize",
            )
            if getattr(self, name) is not None
        }
        if self.image_size and not self.resize:
            typed["resize"] = None
        self._check_resize(settings)
        for name in ("clip_norm", "polyak"):
            if getattr(self, name) is not None:
                typed[name] = getattr(self, name) or None
        if self.warmup is not None and settings.tanh_layer:
            typed["note"] = ""  # which is about the recipe's own warm-up
        return replace(
            settings,
            steps=steps,
            schedule=schedule,
            decay_at=decay_at if schedule == "steps" else (),
            warmup=warmup if self.warmup is None else self.warmup,
            lr=tuple(sorted(set(self.lr))) or settings.lr,
            seed=self.seed or settings.seed,
            **typed,
        )

    def _check_resize(self, settings: Settings) -> None:
        """Raise UsageError where a typed resize would change nothing."""
        crop, side = self.crop or settings.crop, self.image_size or settings.image_size
        if self.resize is not None and crop != "bit":
            raise UsageError(
                f"suite.resize={self.resize} is of a random crop that images are resized for, crop=bit, and changes "
                f"nothing with crop={crop}; leave it out"
            )
        if self.resize is not None and side is not None and self.resize < side:
            raise UsageError(
                f"suite.resize={self.resize}: images are resized before {side} pixels are cut out of them; type "
                f"suite.resize={round(side * 448 / 384)}, or a smaller suite.image_size"
            )


def has_resnet(model: Model) -> bool:
    """Whether the ViT paper tries BiT's set-up beside its own: its ResNets and hybrids (Appendix B.1.1)."""
    return model.architecture.has_resnet
