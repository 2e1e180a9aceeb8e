"""Fine-tuning: the whole network is trained on a task by the papers' recipes and scored once on the test images.

A job is one model on one task:

1. Where the recipe leaves a choice (learning rates; for ResNets and hybrids also between the ViT paper's recipe and
   BiT's), every candidate is trained on the training images and scored on the validation images, once per seed. The
   best mean over seeds wins; ties go to the smaller learning rate. Test images are not used.
2. The winner is trained on training and validation images together and scored on every test image, once per seed:
   top-1, and with softmax its calibration (suites/heads/calibration.py).

The head is replaced by a linear layer of zeros (a tanh layer before it is removed), and position embeddings are resized
to the image size; both are recorded. From random weights the same loop trains from scratch. The seed determines the
order of the images, their augmentation, and with `weights=random` the initial weights; `weights=random:5` uses the
same initial weights for all seeds.

`recipe=auto` is the ViT paper's Table 4 for trained weights (for ResNets and hybrids also the BiT-HyperRule); from
scratch it is `short` for small models and the ImageNet row of the paper's Table 3 for others. Typed settings override
the recipe. docs/training_recipes.md says of every recipe what the papers say, what the released code does, and what is
done here.

Every training run writes checkpoints and its result to the job's folder, so a killed run resumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..registry import UsageError
from .heads.calibration import calibration_measurements
from .images.decoded import usual_size
from .images.resize import ANTIALIASED
from .images.transforms import VIT_RELEASE, followed
from .metrics import accuracy_measurements, majority_measurement, top1
from .probes.ridge import L2, classify_by_ridge
from .protocol import Context, Measurement, Split, Suite, Task, Work, fingerprint, task_question
from .training import paper_recipes
from .training.augment import RESIZED_BEFORE
from .training.bit_hyperrule import decays
from .training.contract import Compute, ComputeSettings
from .training.recipe import ADDED, Recipe, RecipeSettings
from .training.runs import Candidate, Trainer, changes_in_training, fed_by

if TYPE_CHECKING:
    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice

Table3 = Literal["scratch", "scratch-in21k", "scratch-jft"]
BigVision = Literal["big-vision-i1k", "big-vision-i21k"]
Fitted = Literal["vit", "vit-code", "big-vision", "table2", "bit", "bit-code", "vtab", "vtab-sweep"]
RecipeName = Literal["auto", Fitted, Table3, BigVision, "short"]
SCRATCH = {"scratch": "ImageNet", "scratch-in21k": "ImageNet-21k", "scratch-jft": "JFT-300M"}  # rows of Table 3
INCIDENTAL = frozenset({"micro_batch", "checkpoint_minutes", "tensorboard"})  # settings no result depends on
# Settings that the treatment does not list: they are recorded elsewhere, or change the way of computing alone.
NOT_TREATMENT = {"recipe", "seed", "save", "compile", "channels_last", "parallel", *INCIDENTAL}


@dataclass(frozen=True, kw_only=True)
class FineTune(ComputeSettings, RecipeSettings, Suite):
    """Fine-tuning (ViT paper, Table 4; the BiT-HyperRule), or training from scratch, on the whole training set."""

    name: ClassVar[str] = "finetune"
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini", "BiT-mini", "R+ViT-mini")
    default_tasks: ClassVar[str] = "vtab-mini"
    data_parallel: ClassVar[bool] = True
    incidental: ClassVar[frozenset[str]] = INCIDENTAL
    added: ClassVar[frozenset[str]] = ADDED

    recipe: RecipeName = "auto"  # whose settings; auto: by model, weights and suite
    checkpoint_minutes: float = 10.0  # between checkpoints, from which a killed run goes on
    tensorboard: bool = False  # write TensorBoard's files to kept/<key>/tensorboard of the run directory
    save: Literal["nothing", "weights"] = "nothing"  # weights: those of each seed, in kept/<key>/ of the run directory

    def check(self) -> None:
        self.check_given()
        self.refuse("micro_batch", self.micro_batch is not None and self.micro_batch < 1, ": training needs at least 1")
        self.refuse("checkpoint_minutes", not self.checkpoint_minutes > 0, ": a number above 0")

    def resolved(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:  # noqa: ARG002
        """Whether training may crop and flip the task's images, and the dropout of the row that a recipe asks for."""
        dropout = {"dropout": model.tuned_with_dropout} if model.tuned_with_dropout else {}
        return {"crop": task.crop, "flip": task.flip, **dropout}

    def fed(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:
        """How the recipes resize, each as the code that it follows. Our own, `short`, does as ever."""
        library, fed = model.architecture.resizes_by_pillow, {}
        count = max(1, sum(task.splits.values()))  # the kernel does not depend on it
        for name, recipe in self.candidates(model, weights, task, count, model.input.size):
            how = followed(recipe.typed_resize, VIT_RELEASE, model.input, library=library).resizing(model)
            if recipe.crop == "inception":
                how |= {"sampler": "TensorFlow's"}
                how |= {"crop": recipe.inception_interpolation} if recipe.inception_interpolation else {}
            fed |= {name: how} if how else {}
        return fed

    def size(self, model: Model, weights: WeightsChoice) -> tuple[int, int]:
        (_, recipe), *_ = self.candidates(model, weights, None, 1000, model.input.size)
        return model.input.size if recipe.image_size is None else (recipe.image_size, recipe.image_size)

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:
        train, val, test = (task.splits.get(split, 0) for split in ("train", "val", "test"))
        candidates = self.candidates(model, weights, task, train + val, model.input.size)
        runs = [recipe.steps * recipe.batch for _, recipe in candidates for _ in recipe.lr]  # images of each run
        seeds, choosing = len(candidates[0][1].seed), runs if len(runs) > 1 else []
        trained = sum(choosing) + max(runs)  # the final run is at most the longest
        weights_bytes = self._weights_bytes(model, task)
        return Work(
            images=seeds * (len(choosing) * val + test),
            trained=seeds * trained,
            kept=seeds * weights_bytes if self.save == "weights" else 0,
            scratch=weights_bytes * max(recipe.copies for _, recipe in candidates),
        )

    def _weights_bytes(self, model: Model, task: Task) -> int:
        """The bytes of a network with a head for the task, in float32; 0 where its parameters are not known."""
        width = model.architecture.num_features()
        of_1000 = model.params  # with a head for 1000 classes
        return 0 if of_1000 is None or width is None else 4 * (of_1000 + (task.num_classes - 1000) * (width + 1))

    def choices(self, model: Model, weights: WeightsChoice, task: Task) -> str:
        count = max(1, sum(task.splits.values()))
        recipes = self.candidates(model, weights, task, count, model.input.size)
        number, seeds = len(Candidate.of(recipes)), len(recipes[0][1].seed)
        each = [f"{name} at lr {', '.join(f'{lr:g}' for lr in recipe.lr)}" for name, recipe in recipes]
        shown = "; ".join([*each[:3], *["…"] * (len(each) > 3)])
        runs = f"{seeds} seed{'' if seeds == 1 else 's'} each, and held-out images choose"
        return "" if number == 1 else f"{number} candidates ({shown}), {runs}"

    def candidates(
        self, model: Model, weights: WeightsChoice, task: Task | None, images: int, size: tuple[int, int]
    ) -> list[tuple[str, Recipe]]:
        """The names and recipes to choose from; typed settings override those of the recipes.

        `images` is the number of training images of the final run, `size` their usual height and width (BiT's rule
        needs both).
        """
        no_dropout = bool(self.dropout) and "dropout" not in model.settable()
        self.refuse("dropout", no_dropout, f": {model.name} has none to set; leave it out, or select transformers only")
        names = self.auto_recipe(model, untrained=weights.random) if self.recipe == "auto" else self.recipe
        if names == "vtab-sweep":  # with typed steps all schedules are one
            by_name = {f"vtab-sweep {self.steps or recipe.steps}": recipe for recipe in paper_recipes.vtab_sweep()}
        else:
            by_name = {name: self._recipe(name, model, task, images, size) for name in names.split("+")}
        return [(name, self._override(recipe)) for name, recipe in by_name.items()]

    def _recipe(self, name: str, model: Model, task: Task | None, images: int, size: tuple[int, int]) -> Recipe:
        """The recipe of a name that `recipe=` takes."""
        task_name, resnet = "" if task is None else task.name, model.architecture.has_resnet
        if name in SCRATCH:
            return paper_recipes.from_scratch(model.name, images, pretrain=SCRATCH[name], steps=self.steps)
        if name in paper_recipes.BIG_VISION:
            return paper_recipes.big_vision(name, images, steps=self.steps)
        make = {
            "vit": lambda: paper_recipes.vit(task_name, images, resnet=resnet),
            "vit-code": lambda: replace(
                paper_recipes.vit_as("vision_transformer", task_name, images, resnet=resnet),
                dropout=model.tuned_with_dropout,
            ),
            "big-vision": lambda: paper_recipes.vit_as("big_vision", task_name, images, resnet=resnet),
            "table2": lambda: paper_recipes.imagenet_table2(model.name, images, task=task_name or "ImageNet"),
            "bit": lambda: paper_recipes.bit(images, size, model=model.name),
            "bit-code": lambda: paper_recipes.bit(images, size, model=model.name, source="code"),
            "vtab": paper_recipes.vtab,
            "short": lambda: paper_recipes.short(size),
        }
        return make[name]()

    def auto_recipe(self, model: Model, *, untrained: bool) -> str:
        """The recipe that recipe=auto stands for, or several joined by +, of which validation images choose."""
        if untrained:
            return "short" if model.small else "scratch"
        return "vit+bit" if model.architecture.has_resnet else "vit"

    def typed_settings(self) -> dict[str, Any]:
        """The typed settings that are part of the treatment, as plain data."""
        typed = {
            item.name: getattr(self, item.name)
            for item in fields(FineTune)
            if item.name not in NOT_TREATMENT and getattr(self, item.name) != item.default
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in sorted(typed.items())}

    def _override(self, recipe: Recipe) -> Recipe:
        """The recipe with the typed settings. Raises UsageError where a typed setting has no effect."""
        typed = self.given()
        steps, schedule = typed.get("steps", recipe.steps), typed.get("schedule", recipe.schedule)
        decay_at = tuple(at * steps // recipe.steps for at in recipe.decay_at) or decays(steps)
        derived: dict[str, Any] = {
            "decay_at": decay_at if schedule == "steps" else (),
            "warmup": recipe.warmup if recipe.warmup < steps else steps // 10,
            "resize": None if "image_size" in typed else recipe.resize,
            "antialias": recipe.antialias if typed.get("interpolation") in (None, *ANTIALIASED) else None,
            "inception_interpolation": None if "interpolation" in typed else recipe.inception_interpolation,
            "test_crop_pct": None if "test_resize" in typed else recipe.test_crop_pct,
            # The note of a recipe from scratch describes its own warm-up.
            "note": "" if "warmup" in typed and recipe.choices else recipe.note,
        }
        if self.lr:
            typed["lr"] = tuple(sorted(set(self.lr)))
        if self.loss == "softmax":  # a bias that is the same for all classes changes no softmax
            derived["head_bias"] = 0.0
        derived["choices"] = tuple((name, why) for name, why in recipe.choices if name not in derived | typed)
        recipe = replace(recipe, **derived | typed)
        no_decay, more = recipe.weight_decay == 0, "without weight decay; type suite.weight_decay=0.1, or leave it out"
        self.refuse("decay_on", self.decay_on is not None and no_decay, f" changes nothing {more}")
        no_bias, more = bool(self.head_bias) and recipe.loss == "softmax", "with loss=softmax; type suite.loss=sigmoid"
        self.refuse("head_bias", no_bias, f" is the same for all classes and changes nothing {more}, or leave it out")
        resize, side = self.resize, recipe.image_size or 0
        if resize is not None and side and recipe.test_crop_pct is not None:  # tests are cut as training is
            recipe = replace(recipe, test_crop_pct=side / resize)
        if resize is not None:
            what = f"changes nothing with crop={recipe.crop}; leave it out"
            crops = " or ".join(f"crop={name}" for name in RESIZED_BEFORE)
            no_crop = recipe.crop not in RESIZED_BEFORE
            self.refuse("resize", no_crop, f" is of a random crop that images are resized for, {crops}, and {what}")
            larger = f"type suite.resize={round(side * 448 / 384)}, or a smaller suite.image_size"
            why = f": images are resized before {recipe.image_size} pixels are cut out of them; {larger}"
            self.refuse("resize", resize < side, why)
        return recipe

    def run(self, context: Context) -> Iterator[Measurement]:
        """Raises UsageError where there are no validation images to choose a candidate on."""
        task = context.task
        if task.num_classes < 2:
            raise UsageError(f"{task.name} has {task.num_classes} class; there is nothing to tell apart")
        train, test = context.images(task, "train"), context.images(task, "test")
        val = context.images(task, "val") if task.splits.get("val") else None
        fitted = [train] if val is None else [train, val]  # in the final runs
        count, size = sum(map(len, fitted)), usual_size(train.images)
        recipes = self.candidates(context.model, context.weights, task, count, size)
        for note in dict.fromkeys(recipe.note for _, recipe in recipes if recipe.note):
            context.say(note)
        candidates = Candidate.of(recipes)
        trainer = self.trainer(context)
        seeds, best = candidates[0].recipe.seed, candidates[0]
        scores: dict[Candidate, list[float]] = {}  # for each seed, percent of the validation images
        if len(candidates) > 1:
            if val is None:
                lr = f"suite.lr={best.lr:g}"
                raise UsageError(f"{task.name} has no validation images to choose a learning rate on: type one, {lr}")
            for candidate in candidates:
                results = [trainer.run("choose", candidate, seed, [train], val) for seed in seeds]
                scores[candidate] = [top1(result.predictions, val.labels, val.label_sets) for result in results]
            best = max(scores, key=lambda candidate: (np.mean(scores[candidate]), -candidate.lr))
            context.say(f"chose {best.name}, learning rate {best.lr:g}: {np.mean(scores[best]):.2f} % on validation")

        question = self._question(task, [*fitted, test], count)
        for candidate, seed in product(scores, seeds):
            yield Measurement(
                metric="top1_val",
                value=scores[candidate][seeds.index(seed)],
                unit="percent",
                n_train=len(train),
                at={"seed": seed, "lr": candidate.lr, "recipe": candidate.name},
                question=question | {"metric": "top1 on the validation images"},
                treatment=self._treatment(context, candidate, candidates),
            )
        calibration: list[Measurement] = []
        for seed in seeds:
            final = trainer.run("final", best, seed, fitted, test)
            treatment = self._treatment(context, best, candidates) | final.facts
            at = {"seed": seed}
            of_seed = [*accuracy_measurements(final.predictions, test, question, treatment, n_train=count, at=at)]
            yield from of_seed
            calibration += calibration_measurements(final.calibration, final.predictions, test, of_seed[0])
        if context.weights.random and val is not None:
            probe = _untrained_probe(context, best.recipe, question)
            yield replace(probe, n_test=len(test), n_train=count)
        yield majority_measurement(test, question)
        yield from calibration

    def trainer(self, context: Context) -> Trainer:
        """What does the training runs of a job."""
        compute = {item.name: getattr(self, item.name) for item in fields(ComputeSettings)}
        return Trainer(
            context,
            Compute(device=context.device, free_memory=context.free_memory, **compute),
            checkpoint_minutes=self.checkpoint_minutes,
            tensorboard=self.tensorboard,
            save_weights=self.save == "weights",
        )

    def _question(self, task: Task, parts: Sequence[Split], count: int) -> dict[str, Any]:
        """The question of a job on these splits, the test split last; `count` images are trained on.

        The data that candidates are chosen on is part of the question. The number of candidates is treatment: on VTAB a
        ViT has one, a ResNet two, and the paper compares them.
        """
        return {
            **task_question(task),
            "protocol": f"{self.name}, fine-tuning",
            **fingerprint(*parts),
            "budget": f"{count} images",
            "select_on": "the validation images" if len(parts) > 2 else "nothing: there are no validation images",
        }

    def _treatment(self, context: Context, candidate: Candidate, candidates: Sequence[Candidate]) -> dict[str, Any]:
        """How the model was fed and tuned. What depends on the task is in `recipe`, by which tables split no rows."""
        recipe = candidate.recipe
        augmentation, transform = fed_by(context, recipe)
        changed = changes_in_training(context, recipe)
        return {
            "head": "a tanh layer, then linear from zero" if "pre_logits" in changed else "linear, from zero",
            "recipe_asked": self.recipe,
            "typed": self.typed_settings(),
            "precision": self.precision,
            "recipe": {
                "name": candidate.name,
                **recipe.at(candidate.lr).describe(),
                **changed,
                "lr_choices": list(recipe.lr),
                "candidates": list(map(str, candidates)),
                "augmentation": augmentation.describe(),
                "test": transform.describe(),
                **({"note": recipe.note} if recipe.note else {}),
                **({"choices": dict(recipe.choices)} if recipe.choices else {}),
            },
        }


def _untrained_probe(context: Context, recipe: Recipe, question: Mapping[str, Any]) -> Measurement:
    """Top-1 of the closed-form probe of suites.vtab before training, at the image size and by the kernel of training.

    It is measured on one network, with the weights that `weights=` names, whatever the seeds of the training runs.
    """
    view = replace(recipe.typed_resize, image_size=recipe.image_size)
    predictions, (*_, test), treatment = classify_by_ridge(context, L2, view)
    protocol = "ridge probe on the untrained network's features, l2 on the validation images"
    return Measurement(
        metric="top1_untrained_probe",
        value=top1(predictions, test.labels, test.label_sets),
        unit="percent",
        question={**question, "metric": "top1", "protocol": protocol},
        treatment=treatment,
    )


FINETUNE = FineTune()
