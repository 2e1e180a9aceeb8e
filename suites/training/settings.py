"""The settings that fine-tuning has in every suite, and the recipes they leave to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...registry import UsageError
from ..protocol import Suite, Task, Work
from . import paper_recipes as recipes
from .recipe import Recipe, RecipeSettings

if TYPE_CHECKING:
    from ...models.spec import Model
    from ...models.weights_choice import WeightsChoice

Table3 = Literal["scratch", "scratch-in21k", "scratch-jft"]
RecipeName = Literal[
    "auto", "vit", "vit-code", "big-vision", "table2", "bit", "bit-code", "vtab", "vtab-sweep", Table3, "short"
]
SCRATCH = {"scratch": "ImageNet", "scratch-in21k": "ImageNet-21k", "scratch-jft": "JFT-300M"}  # rows of Table 3
# What a run is done with, and not what it does: no part of the treatment.
INCIDENTAL = frozenset({"micro_batch", "checkpoint_minutes", "tensorboard"})  # no result depends on them
NOT_TREATMENT = {"recipe", "seed", "save", "compile", "channels_last", "parallel", *INCIDENTAL}


@dataclass(frozen=True, kw_only=True)
class FineTuning(RecipeSettings, Suite):
    """The settings that fine-tuning has in every suite: a recipe's name, what is typed in place of its own, and how."""

    incidental: ClassVar[frozenset[str]] = INCIDENTAL

    recipe: RecipeName = "auto"
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    micro_batch: int | None = None  # images that pass at once; None: what fits. Changes no result beyond rounding
    compile: bool = False  # torch.compile: minutes at first, faster steps on a GPU
    channels_last: bool = False  # memory format; faster for ResNets in bf16 on a GPU
    parallel: Literal["sum", "ddp"] = "sum"  # of several processes: suites/training/contract.py
    checkpoint_minutes: float = 10.0
    tensorboard: bool = False  # write TensorBoard's files to kept/<key>/tensorboard of the run directory
    save: Literal["nothing", "weights"] = "nothing"  # weights: each seed's, in kept/<key>/ of the run directory

    def check(self) -> None:
        self.check_said()
        if self.micro_batch is not None and self.micro_batch < 1:
            raise UsageError(f"suite.micro_batch={self.micro_batch}: training needs at least 1")
        if not self.checkpoint_minutes > 0:
            raise UsageError(f"suite.checkpoint_minutes={self.checkpoint_minutes:g}: a number above 0")

    def resolved(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:  # noqa: ARG002
        """What training may do to the task's images."""
        return {"crop": task.crop, "flip": task.flip}

    def size(self, model: Model, weights: WeightsChoice) -> tuple[int, int]:
        (_, recipe), *_ = self.candidates(model, weights, None, 1000, model.input.size)
        return model.input.size if recipe.image_size is None else (recipe.image_size, recipe.image_size)

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:
        train, val, test = (task.splits.get(split, 0) for split in ("train", "val", "test"))
        found = self.candidates(model, weights, task, train + val, model.input.size)
        runs = [recipe for _, recipe in found for _ in recipe.lr]
        seeds = len(found[0][1].seed)
        choosing = runs if len(runs) > 1 else []
        trained = sum(recipe.steps * recipe.batch for recipe in choosing)
        longest = max(recipe.steps * recipe.batch for recipe in runs)  # which one wins is not known
        return Work(images=seeds * (len(choosing) * val + test), trained=seeds * (trained + longest))

    def candidates(
        self, model: Model, weights: WeightsChoice, task: Task | None, images: int, size: tuple[int, int]
    ) -> list[tuple[str, Recipe]]:
        """The recipes to choose from, by name, with what was typed in place of their own.

        `images` are those of the final run, `size` the images' height and width (BiT's rule looks at both).
        """
        return [(name, self._typed(recipe)) for name, recipe in self._recipes(model, weights, task, images, size)]

    def _recipes(
        self, model: Model, weights: WeightsChoice, task: Task | None, images: int, size: tuple[int, int]
    ) -> list[tuple[str, Recipe]]:
        name = "" if task is None else task.name
        wanted = self.recipe
        if wanted == "auto":
            wanted = self.own_recipe(model, untrained=weights.random)
        if wanted == "vtab-sweep":
            sweep = {self.steps or one.steps: one for one in recipes.vtab_sweep()}  # typed steps leave one schedule
            return [(f"vtab-sweep {steps}", one) for steps, one in sweep.items()]
        largest, resnet = model.name == "BiT-R152x4", model.architecture.has_resnet
        made = {
            "vit": lambda: recipes.vit(name, images, resnet=resnet),
            "vit-code": lambda: recipes.vit_as("vision_transformer", name, images, resnet=resnet),
            "big-vision": lambda: recipes.vit_as("big_vision", name, images, resnet=resnet),
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
        return "vit+bit" if model.architecture.has_resnet else "vit"

    def typed(self) -> dict[str, Any]:
        """What of the treatment was typed, as plain data."""
        found = {
            item.name: getattr(self, item.name)
            for item in fields(FineTuning)
            if item.name not in NOT_TREATMENT and getattr(self, item.name) != item.default
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in sorted(found.items())}

    def _typed(self, recipe: Recipe) -> Recipe:
        """A recipe, with what was typed in place of its own."""
        said = self.said()
        steps, schedule = said.get("steps", recipe.steps), said.get("schedule", recipe.schedule)
        decay_at = tuple(at * steps // recipe.steps for at in recipe.decay_at) or recipes.decays(steps)
        follows: dict[str, Any] = {
            "decay_at": decay_at if schedule == "steps" else (),
            "warmup": recipe.warmup if recipe.warmup < steps else steps // 10,
        }
        if self.lr:
            said["lr"] = tuple(sorted(set(self.lr)))
        if "image_size" in said:
            follows["resize"] = None
        if "warmup" in said and recipe.tanh_layer:
            follows["note"] = ""  # which is about the recipe's own warm-up
        found = replace(recipe, **follows | said)
        self._check_resize(found)
        return found

    def _check_resize(self, recipe: Recipe) -> None:
        """Raise UsageError where a typed resize changes nothing in the recipe with what was typed."""
        if self.resize is not None and recipe.crop != "bit":
            raise UsageError(
                f"suite.resize={self.resize} is of a random crop that images are resized for, crop=bit, and changes "
                f"nothing with crop={recipe.crop}; leave it out"
            )
        side = recipe.image_size
        if self.resize is not None and side is not None and self.resize < side:
            raise UsageError(
                f"suite.resize={self.resize}: images are resized before {side} pixels are cut out of them; type "
                f"suite.resize={round(side * 448 / 384)}, or a smaller suite.image_size"
            )
