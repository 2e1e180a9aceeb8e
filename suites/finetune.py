"""Fine-tuning: the whole network trained on a task, by the papers' recipes, and scored once on its test images.

A job is one model on one task:

1. Where the recipe leaves a choice (learning rates; for ResNets and hybrids also the recipe, the ViT paper's or BiT's),
   every candidate is trained on the training images and scored on the validation images, once a seed. The best mean
   over seeds wins; ties go to the smaller learning rate. The test images have no part in it.
2. The winner is trained on training and validation images together, once a seed, and scored once on every test image.

The head is replaced by a linear layer of zeros (a tanh layer before it goes, too), position embeddings are resized to
the image size; both are recorded. From random weights the same loop trains from scratch; a seed then draws the order of
the images and their augmentation, while the first weights are those that `weights=random:N` names.

`recipe=auto` is, with trained weights, the ViT paper's Table 4 (for ResNets and hybrids also the BiT-HyperRule); from
scratch `short` for small models and the paper's Table 3, ImageNet row, for others. Settings that are typed win.

Every training run leaves checkpoints, and its result, in the job's folder: a run that is killed goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..registry import UsageError
from ..stable import replacing, sha
from . import recipes
from .augment import Augmentation, Crop, TrainingImages
from .features import fingerprint
from .fewshot import task_question
from .metrics import accuracies, majority_rate, top1
from .protocol import Context, Features, Measurement, Split, Suite, Task, Work
from .recipes import Settings
from .ridge import Ridge
from .scorer import Scorer
from .support import Labelled
from .transforms import Transform
from .vtab_probe import choose_l2

if TYPE_CHECKING:
    from ..models.spec import Model

RecipeName = Literal["auto", "vit", "table2", "bit", "bit-code", "vtab", "vtab-sweep", "scratch", "short"]
PROBE_L2 = tuple(2.0**power for power in range(-10, 21, 3))


@dataclass(frozen=True, kw_only=True)
class FineTuning(Suite):
    """The settings that fine-tuning has in every suite. Those left empty are the recipe's."""

    recipe: RecipeName = "auto"
    lr: tuple[float, ...] = ()  # learning rates to choose from
    steps: int | None = None
    warmup: int | None = None  # steps
    batch: int | None = None  # images a step
    image_size: int | None = None  # pixels
    crop: Crop | None = None  # bit, inception, none; where a task's label forbids cropping, none whatever is said
    seed: tuple[int, ...] = ()
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    micro_batch: int | None = None  # images that pass at once; None: what fits. Changes no result beyond rounding
    compile: bool = False  # torch.compile: minutes at first, faster steps on a GPU
    checkpoint_minutes: float = 10.0
    save: Literal["nothing", "weights"] = "nothing"  # weights: each seed's, in kept/<key>/ of the run directory

    def check(self) -> None:
        for name in ("steps", "batch", "image_size", "micro_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"suite.{name}={value}: training needs at least 1")
        if self.warmup is not None and self.warmup < 0:
            raise UsageError(f"suite.warmup={self.warmup}: a number of steps from 0 up")
        if any(not 0 < lr < float("inf") for lr in self.lr):
            raise UsageError(f"suite.lr={','.join(f'{lr:g}' for lr in self.lr)}: learning rates are numbers above 0")
        if any(seed < 0 for seed in self.seed) or len(set(self.seed)) < len(self.seed):
            raise UsageError(f"suite.seed={','.join(map(str, self.seed))}: seeds are different whole numbers from 0 up")
        if not self.checkpoint_minutes > 0:
            raise UsageError(f"suite.checkpoint_minutes={self.checkpoint_minutes:g}: a number above 0")

    def size(self, model: Model, weights: str = "random") -> tuple[int, int]:
        (_, settings), *_ = self.candidates(model, weights, None, 1000, model.input.size)
        return model.input.size if settings.image_size is None else (settings.image_size, settings.image_size)

    def estimate(self, model: Model, task: Task, weights: str) -> Work:
        train, val, test = (task.splits.get(split, 0) for split in ("train", "val", "test"))
        found = self.candidates(model, weights, task, train + val, model.input.size)
        runs = [(settings, lr) for _, settings in found for lr in settings.lr]
        seeds = len(found[0][1].seed)
        choosing = runs if len(runs) > 1 else []
        trained = sum(settings.steps * settings.batch for settings, _ in choosing)
        longest = max(settings.steps * settings.batch for settings, _ in runs)  # which one wins is not known
        return Work(images=seeds * (len(choosing) * val + test), trained=seeds * (trained + longest))

    def candidates(
        self, model: Model, weights: str, task: Task | None, images: int, size: tuple[int, int]
    ) -> list[tuple[str, Settings]]:
        """The recipes to choose from, by name, with what was typed in place of their own.

        `images` are those of the final run, `size` the images' height and width (BiT's rule looks at both).
        """
        return [(name, self._typed(settings)) for name, settings in self._recipes(model, weights, task, images, size)]

    def _recipes(
        self, model: Model, weights: str, task: Task | None, images: int, size: tuple[int, int]
    ) -> list[tuple[str, Settings]]:
        name = "" if task is None else task.name
        resnet = model.family in ("bit", "hybrid")
        largest = model.name == "BiT-R152x4"
        untrained = weights.split(":")[0] == "random"
        wanted = self.recipe
        if wanted == "auto":
            wanted = self.own_recipe(model, untrained)
        table4, _ = recipes.vit(name, images, resnet=resnet)
        rule = recipes.bit(images, size, largest=largest)
        if wanted == "vit+bit":
            return [("vit", table4), ("bit", rule)]
        if wanted == "vtab-sweep":
            return [(f"vtab-sweep {one.steps}", one) for one in recipes.vtab_sweep()]
        if wanted == "table2":
            return [("table2", recipes.imagenet_table2(model.name, images))]
        found = {"vit": table4, "bit": rule, "vtab": recipes.vtab(), "short": recipes.short()}
        found["bit-code"] = recipes.bit(images, size, largest=largest, source="code")
        found["scratch"] = recipes.from_scratch(model.name, images)
        return [(wanted, found[wanted])]

    def own_recipe(self, model: Model, untrained: bool) -> str:
        """What recipe=auto stands for."""
        if untrained:
            return "short" if model.small else "scratch"
        return "vit+bit" if model.family in ("bit", "hybrid") else "vit"

    def _typed(self, settings: Settings) -> Settings:
        steps = self.steps or settings.steps
        warmup = settings.warmup if settings.warmup < steps else steps // 10
        return replace(
            settings,
            steps=steps,
            decay_at=tuple(at * steps // settings.steps for at in settings.decay_at),
            warmup=warmup if self.warmup is None else self.warmup,
            lr=tuple(sorted(set(self.lr))) or settings.lr,
            batch=self.batch or settings.batch,
            image_size=self.image_size or settings.image_size,
            resize=None if self.image_size else settings.resize,
            crop=self.crop or settings.crop,
            seed=self.seed or settings.seed,
        )


@dataclass(frozen=True, kw_only=True)
class FineTune(FineTuning):
    """Fine-tuning (ViT paper, Table 4; the BiT-HyperRule), or training from scratch, on the whole training set."""

    name: ClassVar[str] = "finetune"
    version: ClassVar[int] = 1
    inner: ClassVar[tuple[str, ...]] = ("lr", "seed")
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini", "BiT-mini", "R+ViT-mini")
    default_tasks: ClassVar[str] = "vtab-mini"
    data_parallel: ClassVar[bool] = True

    def run(self, context: Context) -> Iterator[Measurement]:
        yield from finetune(self, context)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run of a job: a candidate, a seed, and the images it is given."""

    phase: Literal["choose", "final"]
    recipe: str
    settings: Settings
    lr: float
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.phase}-{sha({'recipe': self.recipe, 'lr': self.lr})[:8]}-seed{self.seed}"


def finetune(suite: FineTuning, context: Context) -> Iterator[Measurement]:
    """The measurements of one job; see the module's head. Raises UsageError where there is nothing to choose on."""
    task = context.task
    if task.num_classes < 2:
        raise UsageError(f"{task.name} has {task.num_classes} class; there is nothing to tell apart")
    train, test = context.images(task, "train"), context.images(task, "test")
    val = context.images(task, "val") if task.splits.get("val") else None
    count = len(train) + (0 if val is None else len(val))
    first = np.asarray(train.images[0]).shape[:2]
    found = suite.candidates(context.model, context.weights, task, count, (int(first[0]), int(first[1])))
    choices = [(name, settings, lr) for name, settings in found for lr in settings.lr]
    seeds = found[0][1].seed
    job = _Job(suite, context, train, val, test)
    if len(choices) > 1 and val is None:
        raise UsageError(
            f"{task.name} has no validation images to choose a learning rate on: type one, suite.lr={choices[0][2]:g}"
        )
    chosen, tried = choices[0], []
    if len(choices) > 1:
        scored: dict[int, list[float]] = {}
        for place, (name, settings, lr) in enumerate(choices):
            for seed in seeds:
                done = job.go(Run(phase="choose", recipe=name, settings=settings, lr=lr, seed=seed))
                assert val is not None
                value = top1(done.predictions, val.labels, val.label_sets)
                scored.setdefault(place, []).append(value)
                tried.append((name, lr, seed, value))
        best = max(scored, key=lambda place: (np.mean(scored[place]), -choices[place][2], -place))
        chosen = choices[best]
        context.say(f"chose {chosen[0]}, learning rate {chosen[2]:g}: {np.mean(scored[best]):.2f} % on validation")

    name, settings, lr = chosen
    parts = [train, test] if val is None else [train, val, test]
    question = {
        **task_question(task),
        "protocol": f"{suite.name}, fine-tuning",
        **fingerprint(*map(_as_features, parts)),
        "budget": f"{count} images",
        "select_on": "the validation images" if len(choices) > 1 else "nothing: one setting",
    }
    for name_tried, lr_tried, seed, value in tried:
        yield Measurement(
            metric="top1_val",
            value=value,
            unit="percent",
            n_train=len(train),
            at={"seed": seed, "lr": lr_tried, "recipe": name_tried},
            question=question | {"metric": "top1 on the validation images"},
        )
    for seed in seeds:
        done = job.go(Run(phase="final", recipe=name, settings=settings, lr=lr, seed=seed))
        for metric, value in accuracies(done.predictions, test.labels, test.label_sets):
            yield Measurement(
                metric=metric,
                value=value,
                unit="percent",
                n_test=len(test),
                n_train=count,
                at={"seed": seed},
                question=question | {"metric": metric},
                treatment=job.treatment(name, settings, lr) | done.facts,
                predictions=done.predictions if metric == "top1" else None,
            )
    if context.weights.split(":")[0] == "random" and val is not None:
        value = _probe(context, suite)
        probe = "ridge probe on the untrained network's features, l2 on the validation images"
        yield Measurement(
            metric="top1_untrained_probe",
            value=value,
            unit="percent",
            n_test=len(test),
            n_train=count,
            question=question | {"metric": "top1", "protocol": probe},
        )
    yield Measurement(
        metric="majority_rate",
        value=majority_rate(test.labels, test.label_sets),
        unit="percent",
        n_test=len(test),
        question=question | {"metric": "majority_rate"},
    )


@dataclass(frozen=True)
class Done:
    """What is kept of a training run: the predictions on what it was scored on, and what a record says of it."""

    predictions: np.ndarray
    facts: dict[str, Any]


class _Job:
    """The training runs of one job, each done once."""

    def __init__(self, suite: FineTuning, context: Context, train: Split, val: Split | None, test: Split) -> None:
        self._suite, self._context = suite, context
        self._train, self._val, self._test = train, val, test
        self._untrained = context.weights.split(":")[0] == "random"
        self._done = {path.parent.name: path for path in context.work.glob("*/done.npz")}  # before any process goes on

    def treatment(self, name: str, settings: Settings, lr: float) -> dict[str, Any]:
        """How the model was fed and tuned. What a rule makes of the task is in `recipe`: it makes no other row."""
        own = {item.name for item in fields(FineTuning)} - {"recipe", "seed", "save", "checkpoint_minutes", "compile"}
        typed = {item: getattr(self._suite, item) for item in sorted(own) if getattr(self._suite, item)}
        augmentation, transform = self._views(settings)
        return {
            "head": "linear, from zero",
            "recipe_asked": self._suite.recipe,
            "typed": {key: list(value) if isinstance(value, tuple) else value for key, value in typed.items()},
            "precision": self._suite.precision,
            "recipe": {
                "name": name,
                **settings.recipe(lr).describe(),
                "lr_choices": list(settings.lr),
                "augmentation": augmentation.describe(),
                "test": transform.describe(),
            },
        }

    def go(self, run: Run) -> Done:
        """The result of a training run: found, gone on with, or made."""
        from .training import Place, Watch, predict, train

        context, suite = self._context, self._suite
        folder = context.work / run.folder
        if run.folder in self._done:
            context.advance(run.settings.steps * run.settings.batch)
            return _read(self._done[run.folder])
        parts, scored = [self._train], self._test
        if run.phase == "choose":
            assert self._val is not None
            scored = self._val
        elif self._val is not None:
            parts.append(self._val)
        augmentation, transform = self._views(run.settings)
        network = _network(context, augmentation.size)
        notes = [*getattr(network, "notes", ()), *_new_head(network, trained=not self._untrained)]
        device = context.device
        place = Place(
            device=device,
            precision=suite.precision,
            micro_batch=suite.micro_batch,
            free_memory=context.free_memory,
            compile=suite.compile,
        )
        watch = Watch(
            work=folder,
            every_minutes=suite.checkpoint_minutes,
            curves=context.curves if context.rank == 0 else None,
            labels={"phase": run.phase, "lr": run.lr, "seed": run.seed},
            say=context.say,
            advance=context.advance,
        )
        data = TrainingImages(parts, augmentation, network.spec.input)
        try:
            trained = train(network, data, run.settings.recipe(run.lr), seed=run.seed, place=place, watch=watch)
        finally:
            data.close()
        logits = predict(trained.network, scored.images, transform, place=place, advance=context.advance)
        if logits.shape[1] != context.task.num_classes:
            raise UsageError(
                f"{context.model.name} gives {logits.shape[1]} numbers for {context.task.num_classes} classes: "
                "fine-tuning needs a model that takes num_classes"
            )
        facts = {
            "micro_batch": trained.micro_batch,
            "processes": trained.processes,
            "weights_notes": [*notes, *trained.notes],
        }
        done = Done(logits.argmax(axis=1), facts)
        if context.rank == 0:
            if suite.save == "weights" and run.phase == "final":
                _keep(trained.network, context.keep / f"seed{run.seed}.safetensors")
            _write(folder, done)
        return done

    def _views(self, settings: Settings) -> tuple[Augmentation, Transform]:
        model = self._context.model
        side = settings.image_size
        size = model.input.size if side is None else (side, side)
        augmentation = Augmentation.of(self._context.task, size, crop=settings.crop, resize=settings.resize)
        return augmentation, Transform.for_input(model.input, "square", size)


def _network(context: Context, size: tuple[int, int]) -> Any:
    return context.build(num_classes=context.task.num_classes, image_size=size)


def _new_head(network: Any, *, trained: bool) -> list[str]:
    """Put zeros in the head and take away what pre-training had before it. Returns what was done, in words."""
    from torch import nn

    head = getattr(network, "head", None)
    if not isinstance(head, nn.Linear):
        return ["the head is as its library draws it"]
    said = []
    layer = getattr(network, "pre_logits", None)
    if isinstance(layer, nn.Linear) and trained:
        network.pre_logits = None
        network.head = head = nn.Linear(layer.in_features, head.out_features, device=head.weight.device)
        network.num_features = layer.in_features
        said.append("the tanh layer before the head was removed")
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return [*said, "the head is new: a linear layer of zeros"]


def _keep(network: Any, path: Path) -> None:
    from safetensors.torch import save_file

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(state, temporary)


def _write(folder: Path, done: Done) -> None:
    """Keep a run's result; its checkpoints have done their service."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with replacing(folder / "done.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, predictions=done.predictions, facts=np.array(json.dumps(done.facts)))


def _read(path: Path) -> Done:
    with np.load(path, allow_pickle=False) as arrays:
        return Done(arrays["predictions"], json.loads(str(arrays["facts"])))


def _as_features(split: Split) -> Features:
    return Features(
        x=np.empty((0, 0)),
        labels=split.labels,
        digests=(split.digest,),
        treatment={},
        label_sets=split.label_sets,
    )


def _probe(context: Context, suite: FineTuning) -> float:
    """Top-1 of the closed-form probe on the network as it is before training, as suites.vtab asks it."""
    options: dict[str, Any] = {"resize": "square", "image_size": suite.image_size}
    parts = [context.features(context.task, (split,), **options) for split in ("train", "val", "test")]
    train, val, test = (Labelled(part.x, part.labels) for part in parts)
    l2 = choose_l2(train, val, context.task.num_classes, PROBE_L2)
    ridge = Ridge(np.concatenate([train.x, val.x]), np.concatenate([train.y, val.y]), context.task.num_classes)
    (predictions,) = Scorer(test.x, train.x).predict([ridge.solution(l2)])
    return top1(predictions, test.y, parts[2].label_sets)


FINETUNE = FineTune()
