"""Fine-tuning: the whole network trained on a task, by the papers' recipes, and scored once on its test images.

A job is one model on one task:

1. Where the recipe leaves a choice (learning rates; for ResNets and hybrids also the recipe, the ViT paper's or BiT's),
   every candidate is trained on the training images and scored on the validation images, once a seed. The best mean
   over seeds wins; ties go to the smaller learning rate. The test images have no part in it.
2. The winner is trained on training and validation images together, once a seed, and scored once on every test image.

The head is replaced by a linear layer of zeros (a tanh layer before it goes, too), position embeddings are resized to
the image size; both are recorded. From random weights the same loop trains from scratch. A seed draws the order of the
images, their augmentation, and with `weights=random` the first weights, too; `weights=random:5` are those of all seeds.

`recipe=auto` is, with trained weights, the ViT paper's Table 4 (for ResNets and hybrids also the BiT-HyperRule); from
scratch `short` for small models and the paper's Table 3, ImageNet row, for others. Settings that are typed win.

Every training run leaves checkpoints, and its result, in the job's folder: a run that is killed goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ..registry import UsageError
from ..stable import replacing, sha
from .images.features import fingerprint
from .images.transforms import Transform
from .metrics import accuracies, majority_rate, top1
from .probes.support import Labelled
from .protocol import Context, Features, Measurement, Split, task_question
from .training.augment import Augmentation, TrainingImages
from .training.recipe import Recipe
from .training.settings import FineTuning
from .vtab_probe import L2, classify_by_ridge


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
    name: str  # of the recipe
    recipe: Recipe
    lr: float  # of the recipe's
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.phase}-{sha({'recipe': self.name, 'lr': self.lr})[:8]}-seed{self.seed}"


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
    choices = [(name, recipe, lr) for name, recipe in found for lr in recipe.lr]
    seeds = found[0][1].seed
    job = _Job(suite, context, train, val, test)
    job.candidates = [f"{name}, lr {lr:g}" for name, _, lr in choices]
    for note in dict.fromkeys(recipe.note for _, recipe in found if recipe.note):
        context.say(note)
    if len(choices) > 1 and val is None:
        raise UsageError(
            f"{task.name} has no validation images to choose a learning rate on: type one, suite.lr={choices[0][2]:g}"
        )
    chosen, tried = choices[0], []
    if len(choices) > 1:
        scored: dict[int, list[float]] = {}
        for place, (name, recipe, lr) in enumerate(choices):
            for seed in seeds:
                done = job.go(Run(phase="choose", name=name, recipe=recipe, lr=lr, seed=seed))
                assert val is not None
                value = top1(done.predictions, val.labels, val.label_sets)
                scored.setdefault(place, []).append(value)
                tried.append((name, lr, seed, value))
        best = max(scored, key=lambda place: (np.mean(scored[place]), -choices[place][2], -place))
        chosen = choices[best]
        context.say(f"chose {chosen[0]}, learning rate {chosen[2]:g}: {np.mean(scored[best]):.2f} % on validation")

    name, recipe, lr = chosen
    parts = [train, test] if val is None else [train, val, test]
    question = {
        **task_question(task),
        "protocol": f"{suite.name}, fine-tuning",
        **fingerprint(*map(_as_features, parts)),
        "budget": f"{count} images",
        # What a choice may look at. How many candidates a model's recipes leave is treatment: on VTAB one for ViT, two
        # for a ResNet, and the paper sets these side by side.
        "select_on": "nothing: there are no validation images" if val is None else "the validation images",
    }
    for name_tried, lr_tried, seed, value in tried:
        yield Measurement(
            metric="top1_val",
            value=value,
            unit="percent",
            n_train=len(train),
            at={"seed": seed, "lr": lr_tried, "recipe": name_tried},
            question=question | {"metric": "top1 on the validation images"},
            treatment=job.treatment(name_tried, dict(found)[name_tried], lr_tried),
        )
    for seed in seeds:
        done = job.go(Run(phase="final", name=name, recipe=recipe, lr=lr, seed=seed))
        for metric, value in accuracies(done.predictions, test.labels, test.label_sets):
            yield Measurement(
                metric=metric,
                value=value,
                unit="percent",
                n_test=len(test),
                n_train=count,
                at={"seed": seed},
                question=question | {"metric": metric},
                treatment=job.treatment(name, recipe, lr) | done.facts,
                predictions=done.predictions if metric == "top1" else None,
            )
    if context.weights.random and val is not None:
        value, treatment = _probe(context, recipe.image_size)
        probe = "ridge probe on the untrained network's features, l2 on the validation images"
        yield Measurement(
            metric="top1_untrained_probe",
            value=value,
            unit="percent",
            n_test=len(test),
            n_train=count,
            question=question | {"metric": "top1", "protocol": probe},
            treatment=treatment,
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
        self._untrained = context.weights.random
        self.candidates: list[str] = []  # that the final run's setting was chosen from, or is alone
        self._done = {path.parent.name: path for path in context.work.glob("*/done.npz")}  # before any process goes on

    def treatment(self, name: str, recipe: Recipe, lr: float) -> dict[str, Any]:
        """How the model was fed and tuned. What a rule makes of the task is in `recipe`: it makes no other row."""
        augmentation, transform = self._views(recipe)
        changed = self._changes(recipe)
        return {
            "head": "a tanh layer, then linear from zero" if "pre_logits" in changed else "linear, from zero",
            "recipe_asked": self._suite.recipe,
            "typed": self._suite.typed(),
            "precision": self._suite.precision,
            "recipe": {
                "name": name,
                **recipe.at(lr).describe(),
                **changed,
                "lr_choices": list(recipe.lr),
                "candidates": self.candidates,
                "augmentation": augmentation.describe(),
                "test": transform.describe(),
                **({"note": recipe.note} if recipe.note else {}),
            },
        }

    def go(self, run: Run) -> Done:
        """The result of a training run: found, gone on with, or made."""
        from .training import Place, Watch, predict, train

        context, suite = self._context, self._suite
        folder = context.work / run.folder
        if run.folder in self._done:
            context.advance(run.recipe.steps * run.recipe.batch)
            return _read(self._done[run.folder])
        parts, scored = [self._train], self._test
        if run.phase == "choose":
            assert self._val is not None
            scored = self._val
        elif self._val is not None:
            parts.append(self._val)
        augmentation, transform = self._views(run.recipe)
        changes = self._changes(run.recipe)
        network: Any = context.build(context.task.num_classes, augmentation.size, changes, run.seed)
        notes = [*getattr(network, "notes", ()), *_new_head(network, trained=not self._untrained)]
        device = context.device
        place = Place(
            device=device,
            precision=suite.precision,
            micro_batch=suite.micro_batch,
            free_memory=context.free_memory,
            compile=suite.compile,
            channels_last=suite.channels_last,
            parallel=suite.parallel,
        )
        watch = Watch(
            work=folder,
            every_minutes=suite.checkpoint_minutes,
            curves=context.curves if context.rank == 0 else None,
            labels={"phase": run.phase, "lr": run.lr, "seed": run.seed},
            tensorboard=context.keep / "tensorboard" / run.folder if suite.tensorboard and context.rank == 0 else None,
            say=context.say,
            advance=context.advance,
        )
        data = TrainingImages(parts, augmentation, network.spec.input)
        try:
            trained = train(network, data, run.recipe.at(run.lr), seed=run.seed, place=place, watch=watch)
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
                _tell(context, transform, context.keep / f"seed{run.seed}.safetensors.yaml")
            _write(folder, done)
        return done

    def _changes(self, recipe: Recipe) -> Mapping[str, Any]:
        """What a recipe from scratch changes of the architecture, where the user did not."""
        if not self._untrained:
            return {}
        architecture = self._context.model.architecture
        return architecture.from_scratch(dropout=recipe.dropout, tanh_layer=recipe.tanh_layer)

    def _views(self, recipe: Recipe) -> tuple[Augmentation, Transform]:
        model = self._context.model
        side = recipe.image_size
        size = model.input.size if side is None else (side, side)
        augmentation = Augmentation.of(
            self._context.task, size, crop=recipe.crop, resize=recipe.resize, flip=recipe.flip
        )
        if not self._context.task.crop:  # a label that no training image is cut for bears no cut of a test image
            return augmentation, Transform.for_input(model.input, "square", size)
        transform = Transform.for_input(model.input, recipe.test_resize, size)
        return augmentation, replace(transform, crop_pct=recipe.test_crop_pct)


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


def _tell(context: Context, transform: Transform, path: Path) -> None:
    """The sidecar of kept weights (models/weights/sidecar.py): what their head answers, and how it was fed."""
    said = {"head": context.task.name, "image_size": transform.size[0], "antialias": transform.antialias}
    said |= {"resize": transform.resize} if transform.resize != "square" else {}
    said |= {"crop_pct": transform.crop_pct} if transform.crop_pct else {}
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in said.items()), "utf-8")


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


def _probe(context: Context, image_size: int | None) -> tuple[float, dict[str, Any]]:
    """Top-1 of the closed-form probe, as suites.vtab asks it, before training at the image size of training; and how.

    One network is asked, the one that `weights=` names, whatever the seeds that are trained.
    """
    options: dict[str, Any] = {"resize": "square", "image_size": image_size}
    parts = [context.features(context.task, (split,), **options) for split in ("train", "val", "test")]
    train, val, test = (Labelled(part.x, part.labels) for part in parts)
    predictions, l2 = classify_by_ridge(train, val, test, context.task.num_classes, L2)
    treatment = {**parts[2].treatment, "head": "ridge to {-1, 1}^K", "l2": l2, "l2_choices": list(L2)}
    return top1(predictions, test.y, parts[2].label_sets), treatment


FINETUNE = FineTune()
