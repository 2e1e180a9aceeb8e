"""The training runs of one job: build a network, train or resume, score it, keep the result."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tokenize
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ...models.spec import Input, Model
from ...registry import UsageError, plain_word
from ...stable import replacing, sha
from ..heads.calibration import by_image
from ..images.decode import DAMAGED
from ..images.transforms import VIT_RELEASE, Transform, followed
from ..protocol import Context, Split, Task
from .augment import Augmentation, TrainingImages
from .contract import Compute, Watch
from .recipe import Recipe

Phase = Literal["choose", "final"]  # runs of all candidates to choose one; runs of the best for the result
STEP = 3  # forward passes that an image of a step counts as, for the progress display (`Work.passes`)


@dataclass(frozen=True)
class Candidate:
    """A named recipe and one of its learning rates."""

    name: str
    recipe: Recipe
    lr: float
    place: str = field(default="", compare=False)  # among all: "2 of 3"

    @classmethod
    def of(cls, recipes: Sequence[tuple[str, Recipe]]) -> list[Candidate]:
        """Every learning rate of these named recipes."""
        found = [(name, recipe, lr) for name, recipe in recipes for lr in recipe.lr]
        return [cls(*one, f"{number} of {len(found)}") for number, one in enumerate(found, 1)]

    def __str__(self) -> str:
        return f"{self.name}, lr {self.lr:g}"


@dataclass(frozen=True)
class TrainingRunResult:
    """The result of a training run: predictions on the scored split, and facts for the record."""

    predictions: np.ndarray  # (N,) classes; none of a run with visits, which have measured what counts
    facts: dict[str, Any]
    calibration: Mapping[str, np.ndarray] = field(default_factory=dict)  # `by_image`, where the loss is of a softmax

    @classmethod
    def read(cls, path: Path) -> TrainingRunResult | None:
        """The result in a file; None where it is damaged, so that the run is done again."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found = dict(arrays)
            return cls(found.pop("predictions"), json.loads(str(found.pop("facts"))), found)
        except (*DAMAGED, RuntimeError, zipfile.BadZipFile, tokenize.TokenError):
            return None

    def write(self, folder: Path) -> None:
        """Write it to the run's folder, and delete the checkpoints there."""
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "done.npz") as temporary, temporary.open("wb") as file:
            arrays: dict[str, Any] = {"predictions": self.predictions, **self.calibration}
            np.savez_compressed(file, facts=np.array(json.dumps(self.facts)), **arrays)
        for path in [path for path in folder.iterdir() if path.name != "done.npz"]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@dataclass(frozen=True, kw_only=True)
class Visits:
    """Looks at a network in training: the weights of the visit with the best score are kept."""

    steps: frozenset[int]  # after which there is a visit
    # What is measured of the network and its logits on the scored split: JSON data with a "score".
    measure: Callable[[Any, np.ndarray], dict[str, Any]]
    enough: Callable[[Mapping[str, Any]], bool]  # whether nothing is to be trained after a visit that found this
    # Without labels: makes what is trained in the place of a network without a head, which is its attribute `network`.
    self_supervised: Callable[[Any], Any] | None
    provenance: Callable[[Mapping[str, Any]], Mapping[str, Any]]  # fields of the kept weights' sidecar, from a visit


class Trainer:
    """Does the training runs of one job. Results of an earlier process of the job are read, not computed again."""

    def __init__(
        self, context: Context, compute: Compute, *, checkpoint_minutes: float, tensorboard: bool, save_weights: bool
    ) -> None:
        self._context, self._compute = context, compute
        self._minutes, self._tensorboard, self._save_weights = checkpoint_minutes, tensorboard, save_weights
        self._done: dict[str, TrainingRunResult] = {}
        for path in sorted(context.work.glob("*/done.npz")):  # read before any process writes one
            if (done := TrainingRunResult.read(path)) is not None:
                self._done[path.parent.name] = done
            else:
                context.say(f"{path} is damaged; the run is done again")

    def run(
        self,
        phase: Phase,
        candidate: Candidate,
        seed: int,
        fitted: Sequence[Split],
        scored: Split,
        visits: Visits | None = None,
    ) -> TrainingRunResult:
        """The result of a run trained on `fitted` and scored on `scored`: read, resumed, or computed.

        With `visits`, the fact "visits" has what they measured, in order, and the best one's weights are in
        `kept(candidate, seed, step)`.
        """
        from .loop import train

        context, compute, recipe, leads = self._context, self._compute, candidate.recipe, self._context.rank == 0
        name = _run_name(phase, candidate, seed)
        where = _where(phase, candidate, seed)
        if name in self._done:
            context.advance(STEP * recipe.steps * recipe.batch + len(scored), f"{where}done before", found=True)
            return self._done[name]
        augmentation, transform = fed_by(context, recipe)
        changes, classes = changes_in_training(context, recipe), context.task.num_classes
        classes = None if visits and visits.self_supervised else classes
        network: Any = context.build(classes, augmentation.size, changes, seed)
        head = new_head(network, trained=not context.weights.random, bias=recipe.head_bias)
        notes = [*getattr(network, "notes", ()), *head]
        predicted, visited, looks = partial(self._predict, scored, transform, classes, where), None, {}
        save = partial(_save, transform=transform, variant=context.model.variant)
        if visits:
            kept = partial(self.kept, candidate, seed) if leads else None
            visited = _Visited(visits, context.work / name / "visits.json", context.task, predicted, save, kept)
            visited.resume(context.say)
            looks: dict[str, Any] = {"visits": visits.steps, "visit": visited.visit, "enough": visited.enough}
        watch = Watch(
            work=context.work / name,
            **looks,
            every_minutes=self._minutes,
            curves=context.curves if leads else None,
            labels={"phase": phase, "lr": candidate.lr, "seed": seed, "recipe": candidate.name},
            tensorboard=context.keep / "tensorboard" / name if self._tensorboard and leads else None,
            say=context.say,
            advance=lambda images, note, **how: context.advance(STEP * images, f"{where}{note}", **how),
        )
        trained_as = visits.self_supervised(network) if visits and visits.self_supervised else network
        with closing(TrainingImages(fitted, augmentation, network.spec.input)) as data:
            trained = train(trained_as, data, recipe.at(candidate.lr), seed=seed, compute=compute, watch=watch)
        logits = np.empty((0, 1)) if visited else predicted("scoring", trained.network)
        softmax = recipe.loss == "softmax" and not visited
        facts = {"micro_batch": trained.micro_batch, "processes": trained.processes}
        facts |= {"visits": visited.all()} if visited else {}
        facts |= {"weights_notes": [*notes, *trained.notes]}
        calibration = by_image(logits, scored.labels, scored.label_sets) if softmax else {}
        result = TrainingRunResult(logits.argmax(axis=1), facts, calibration)
        if leads:
            if self._save_weights and phase == "final":
                save(self._final(seed), trained.network, context.task)
            result.write(context.work / name)
        return result

    def _predict(  # the first four are fixed for a run
        self, scored: Split, transform: Transform, classes: int | None, where: str, note: str, network: Any
    ) -> np.ndarray:
        """(N, K) the logits of a network on a split. Raises UsageError where they are not of its `classes`.

        `where` and `note` are what the progress display says.
        """
        from .evaluate import predict

        context = self._context
        context.advance(0, f"{where}{note}")
        logits = predict(network, scored.images, transform, compute=self._compute, advance=context.advance)
        if classes is not None and logits.shape[1] != classes:
            raise UsageError(
                f"{context.model.name} gives {logits.shape[1]} numbers for {classes} classes: "
                "fine-tuning needs a model that takes num_classes"
            )
        return logits

    kept_files: ClassVar[str] = "choose-*-step*"  # what `kept` names, in the job's folder

    def kept(self, candidate: Candidate, seed: int, step: int) -> Path:
        """Where the weights of the best visit of a run are, which was after this step."""
        return self._context.keep / f"{_run_name('choose', candidate, seed)}-step{step}.safetensors"

    def _final(self, seed: int) -> Path:
        """Where the weights of a final run are kept."""
        name = _file_name(self._context.model, self._context.task)
        return self._context.keep / f"{name}-seed{seed}.safetensors"


def _file_name(model: Model, task: Task) -> str:
    """What weights that fine-tuning keeps are called: model and task, in characters that every file may have."""
    own, folder = model.family == "own", not task.published
    words = (model.name.rpartition(":")[2] if own else model.name, Path(task.name).name if folder else task.name)
    return "-".join(re.sub(r"[^\w.+-]+", "-", word, flags=re.ASCII).strip("-.")[:60] for word in words)


def _where(phase: Phase, candidate: Candidate, seed: int) -> str:
    """Which of a job's runs this is, before the progress of it: "candidate 2/3, seed 1/3, "; "" where there is one."""
    seeds, place = candidate.recipe.seed, candidate.place.replace(" of ", "/")
    which = f"candidate {place}, " if phase == "choose" else "final run, "
    one_seed = len(seeds) == 1
    return ("" if place == "1/1" else which) + ("" if one_seed else f"seed {seeds.index(seed) + 1}/{len(seeds)}, ")


def _run_name(phase: Phase, candidate: Candidate, seed: int) -> str:
    return f"{phase}-{sha({'recipe': candidate.name, 'lr': candidate.lr})[:8]}-seed{seed}"


class _Visited:
    """What the visits of a run measured, and when, in a file of its work folder; the best one's weights are kept.

    A run that goes on after a kill takes the visits of before as they were: their numbers are those of the weights that
    were kept then. On a GPU, where the same steps give other roundings, a second visit might find other numbers.
    """

    def __init__(
        self,
        visits: Visits,
        path: Path,
        task: Task,
        predict: Callable[[str, Any], np.ndarray],
        save: Callable[[Path, Any, Task | None, Mapping[str, Any]], None],
        kept: Callable[[int], Path] | None,
    ) -> None:
        """`kept`: where the weights after a step are kept; None in all processes but the first."""
        self._visits, self._path, self._task, self._predict = visits, path, task, predict
        self._save, self._kept = save, kept
        self._found: dict[int, dict[str, Any]] = {}

    def resume(self, say: Callable[[str], None]) -> None:
        """Read what an earlier process measured. Where that is damaged or gone, the run's checkpoints go, too."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            stored = json.loads(self._path.read_text("utf-8"))
            if stored["sha256"] == _digest(stored["visits"]):
                self._found = {visit["step"]: visit for visit in stored["visits"]}
                return
        if self._kept is None:
            return
        if self._path.parent.exists():
            say(f"{self._path} is damaged or gone; the run starts again")
            shutil.rmtree(self._path.parent)
        self._write()  # before the first checkpoint

    def all(self) -> list[dict[str, Any]]:
        return [self._found[step] for step in sorted(self._found)]

    def enough(self) -> bool:
        """Whether a visit found what there was to reach."""
        return any(map(self._visits.enough, self._found.values()))

    def visit(self, step: int, network: Any, seconds: float) -> float | None:
        """Measure a network after a step, and keep its weights where its score is above those of all earlier visits.

        `seconds` are those of training alone. Returns its accuracy.
        """
        if step not in self._found:
            self._measure(step, network, seconds)
        return self._found[step].get("top1")

    def _measure(self, step: int, network: Any, seconds: float) -> None:
        note = f"visit {sorted(self._visits.steps).index(step) + 1}/{len(self._visits.steps)}"
        visit = {
            "step": step,
            **self._visits.measure(network, self._predict(note, network)),
            "seconds": round(seconds, 3),
        }
        earlier = [before for before in self.all() if before["step"] < step]
        self._found = {one["step"]: one for one in (*earlier, visit)}
        if self._kept is None:
            return
        best = all(visit["score"] > one["score"] for one in earlier)
        if best:
            without_head = bool(self._visits.self_supervised)
            trained, task = (network.network, None) if without_head else (network, self._task)
            self._save(self._kept(step), trained, task, self._visits.provenance(visit))
        self._write()
        for path in [self._kept(one["step"]) for one in earlier if best]:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.yaml").unlink(missing_ok=True)

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps({"visits": self.all(), "sha256": _digest(self.all())}), "utf-8")


def _digest(visits: Sequence[Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(visits).encode()).hexdigest()


def fed_by(context: Context, recipe: Recipe) -> tuple[Augmentation, Transform]:
    """`feeding` of a job's model and task."""
    return feeding(context.input, context.task, recipe, library=context.model.architecture.resizes_by_pillow)


def feeding(model: Input, task: Task, recipe: Recipe, *, library: bool = False) -> tuple[Augmentation, Transform]:
    """The preprocessing of a task's training images and of its test images, by a recipe for a model.

    What the recipe leaves open is as in the ViT and BiT releases, of a library's model (`library`) as that resizes. A
    task whose training images must not be cropped has no crop of test images either.
    """
    size = model.size if recipe.image_size is None else (recipe.image_size, recipe.image_size)
    kernel = followed(recipe.typed_resize, replace(VIT_RELEASE, resize=None), model, library=library).given()
    resize, share = (recipe.test_resize, recipe.test_crop_pct) if task.crop else ("square", None)
    transform = Transform.for_input(model, resize, size).changed(crop_pct=share, **kernel)
    augmentation = Augmentation.of(task, size, crop=recipe.crop, resize=recipe.resize, flip=recipe.flip)
    if augmentation.crop == "inception" and recipe.inception_interpolation:
        kernel["interpolation"] = recipe.inception_interpolation
    return replace(augmentation, **kernel), transform


def changes_in_training(context: Context, recipe: Recipe) -> Mapping[str, Any]:
    """The fields of the architecture that a recipe sets, unless the user did: a tanh layer from scratch only."""
    model, tanh_layer = context.model, recipe.tanh_layer and context.weights.random
    changes = model.architecture.in_training(dropout=recipe.dropout, tanh_layer=tanh_layer)
    return {name: value for name, value in changes.items() if name not in model.kept_empty}


def new_head(network: Any, *, trained: bool, bias: float = 0.0) -> list[str]:
    """Set the head to zeros, its bias to `bias`, and remove the tanh layer of pre-training before it.

    Returns notes for the record.
    """
    from torch import nn

    head, layer = getattr(network, "head", None), getattr(network, "pre_logits", None)
    if not isinstance(head, nn.Linear):
        return ["the head is as its library draws it" + (f", without a bias of {bias:g}" if bias else "")]
    notes = []
    if isinstance(layer, nn.Linear) and trained:
        network.pre_logits = None
        network.head = head = nn.Linear(layer.in_features, head.out_features, device=head.weight.device)
        network.num_features = layer.in_features
        notes.append("the tanh layer before the head was removed")
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, bias)
    return [*notes, "the head is new: a linear layer of zeros" + (f" with a bias of {bias:g}" if bias else "")]


def _save(  # a sidecar's fields
    path: Path,
    network: Any,
    task: Task | None,
    provenance: Mapping[str, Any] | None = None,
    *,
    transform: Transform,
    variant: Sequence[tuple[str, Any]] = (),
) -> None:
    """Write a network's weights and their sidecar (models/weights/sidecar.py): the head's task and preprocessing.

    Without a head `task` is None.
    """
    import yaml
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors))
    sidecar = {**(provenance or {}), "model": network.spec.name}
    sidecar |= {"variant": [f"{name}={plain_word(value)}" for name, value in variant]} if variant else {}
    if task is not None:
        how = {"interpolation": transform.interpolation, "antialias": transform.antialias}
        sidecar |= {"head": task.name, "image_size": transform.size[0], **how}
        sidecar |= {"classes": list(task.classes)} if task.classes else {}
        sidecar |= {"listing": task.revision} if task.collection == "folder" else {}
        sidecar |= {"resize": transform.resize} if transform.resize != "square" else {}
        sidecar |= {"crop_pct": transform.crop_pct} if transform.crop_pct else {}
        sidecar |= {"rounding": transform.rounding} if transform.rounding != "none" else {}
        sidecar |= {"tap": tap} if (tap := getattr(network, "feature", None)) else {}  # of a user's own model
        sidecar |= {"pool": pool} if (pool := getattr(network, "head_tap", None)) else {}  # of a library's model
    with replacing(path.with_name(f"{path.name}.yaml")) as temporary:
        temporary.write_text(yaml.safe_dump(sidecar, sort_keys=False), encoding="utf-8")
