"""The types that suites, tasks, sources and the engine share: Task, Split, Source, Measurement, Context, Suite.

A protocol is how a question is asked: which images are fitted on, how a setting is chosen, what is scored once. A suite
is one protocol, or a few of which its setting `protocol` chooses. Records name it, and `protocol_sha` is the digest of
the whole question. (`typing.Protocol` marks Source and Context as interfaces: that is Python's word.)

No torch here, so that suites and tasks are listed and planned without importing it.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np

from ..registry import UsageError, plain_word
from ..stable import canonical, sha

if TYPE_CHECKING:
    import torch

    from ..models.spec import Backbone, Input, Model
    from ..models.weights_choice import WeightsChoice
    from .images.transforms import Resize, View

Precision = Literal["fp32", "bf16"]  # of a forward pass
NumberFormat = Literal["fp32", "tf32", "bf16", "fp16"]  # of training and of timing


@dataclass(frozen=True, kw_only=True)
class Task:
    """One row of suites/tasks: a classification problem on a set of images, wherever they are stored."""

    in_globs: ClassVar[bool] = True
    published: ClassVar[bool] = True  # False: the user's own images, which nobody's evaluator was written for

    name: str
    collection: str  # "vtab", "vtab-mini", "transfer", …
    group: str  # "natural", "specialized" or "structured"; outside VTAB the collection
    image_set: str  # its name; tasks on the same one share a pass over the images
    target: str = "class"  # which of the image set's annotations is the label
    num_classes: int  # of the definition, not of the labels in the data
    splits: Mapping[str, int]  # images in "train", "val" and "test"; VTAB-1k: train800, val200 and the test set
    label: str  # the label rule, in words
    other_sizes: Mapping[str, int] = field(default_factory=dict)  # split -> accepted size of a copy in circulation
    rule: Callable[[Any], int] | None = None  # the label rule as code, on a file's annotation (suites/tasks/labels.py)
    published_splits: Mapping[str, int] = field(default_factory=dict)  # images in each split that TFDS publishes
    recipe: Mapping[str, str] = field(default_factory=dict)  # split -> slices of those, "train[:800]"; see splits.py
    larger_split: Mapping[str, str] = field(default_factory=dict)  # split -> published split that contains it
    revision: str = ""  # of the images, where name and recipe do not tell
    metric: str = "top1"  # the metric that tables show
    crop: bool = True  # whether training may crop images; False where it would change the label
    flip: bool = True  # whether training may mirror images (BiT paper, Appendix F; the official ViT configuration)
    cluster: str = ""  # images that are not independent share a "video", "patient", "instance" or "scene"; "": none do
    builder: str = ""  # the TFDS data set that the recipe slices
    head: str = ""  # the data set with the same classes in the same order, as released heads name it: "ImageNet"
    small: bool = False  # whether images are below 96 x 96 pixels, which decides how BiT's releases preprocess them
    unproven: str = ""  # what could not be checked against anything published
    left_out: str = ""  # files beside its images that are not read, in words
    mirrors: str = ""  # the published task it stands in for, and what it does not test
    classes: tuple[str, ...] = ()  # names, where there are any
    majority: float | None = None  # percent of the test split in its most frequent class, where known
    histogram: tuple[int, ...] = ()  # images of each class of the test split, where known
    present: Mapping[str, int] = field(default_factory=dict)  # split -> number of classes that occur in it, where known
    aliases: tuple[str, ...] = ()

    def sizes(self, split: str) -> tuple[int, ...]:
        """The accepted sizes of a split: the published one, and that of a copy in circulation."""
        return (self.splits[split], *([self.other_sizes[split]] if split in self.other_sizes else []))

    def class_of(self, annotation: Any) -> int:
        """The class of an annotation by the task's rule. Raises ValueError for one that no published file has."""
        assert self.rule is not None
        return self.rule(annotation)


@dataclass(frozen=True, kw_only=True)
class Split:
    """The images of one split in their official order, decoded on access, with the labels of one task."""

    images: Sequence[np.ndarray] | np.ndarray  # each (H, W, 3) uint8 RGB
    labels: np.ndarray  # (N,) int64
    digest: str  # of the decoded pixels in order; see `digest_images`
    clusters: np.ndarray | None = None  # (N,) int or str: the video, patient, … of each image (`Task.cluster`)
    # N sets of right classes, where an image may have several or none; suite.loss=sigmoid trains on all of them.
    label_sets: tuple[tuple[int, ...], ...] | None = None
    files: tuple[Path, ...] = ()  # files and folders of images that were read, to notice later changes
    part_of: PartOf | None = None  # the larger split with these images, for one pass over both

    @property
    def digests(self) -> tuple[str, ...]:
        return (self.digest,)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class PartOf:
    """The position of a split's images in a larger split."""

    whole: Split
    rows: np.ndarray  # (N,) positions


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number and all that is needed to trust it. Suites yield these; the engine turns them into records.

    `question` is what was measured (task, label rule, metric, budget, selection rule): numbers with different questions
    never share a table or a mean. `treatment` is how this model was fed and tuned: it may differ between models.
    """

    metric: str  # "top1", "mean_per_class", …; what varies within a job is in `at`, not in the name
    value: float | None  # None: see `error`
    unit: str  # accuracies are in "percent"
    n_test: int | None = None  # images scored, all of the test split; None where it is not used
    n_train: int | None = None
    n_skipped: int = 0
    at: Mapping[str, Any] = field(default_factory=dict)  # columns that vary within a job: seed, shots, …
    question: Mapping[str, Any] = field(default_factory=dict)
    treatment: Mapping[str, Any] = field(default_factory=dict)
    predictions: np.ndarray | None = None  # (n_test,) predicted classes, kept for paired tests
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)  # other arrays to store, by name
    verdict: str = ""  # "valid", "suspect: " and why, or "not reached": not tried, as `error` says
    error: str = ""  # why this part of the job has no number; other parts may have theirs


class Source(Protocol):
    """A place to read the images of tasks from: a folder layout on disk, or the package itself."""

    @property
    def name(self) -> str: ...

    def locate(self, task: Task, root: Path) -> str | None:
        """The place of the task below the data folder `root`, for people, or None where this source does not have it.

        Fast: it looks at file names and reads no image.
        """
        ...

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        """What is missing of these splits of a task that `locate` finds, for people; "" where nothing is."""
        ...

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split. `cache` is a folder for anything that is costly to compute again."""
        ...


@dataclass(frozen=True)
class Labelled:
    """Features and classes of N images."""

    x: np.ndarray  # (N, D)
    labels: np.ndarray  # (N,) class numbers

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Features(Labelled):
    """The features, float32, or logits, of a frozen model for some splits of a task, concatenated."""

    digests: tuple[str, ...]  # of the images of each split
    treatment: Mapping[str, Any]  # transform, tap, precision
    label_sets: tuple[tuple[int, ...], ...] | None = None  # N sets of right classes, where an image may have several


class Context(Protocol):
    """The engine's interface to a suite for one job: one model, one task."""

    model: Model
    weights: WeightsChoice
    task: Task  # NO_TASK for a suite that needs none
    beside: Mapping[str, tuple[Task, Source]]  # the tasks of `Suite.tasks_beside` by name, with their images
    rank: int  # of this process among the `processes` of the job (Suite.data_parallel)
    processes: int

    @property
    def device(self) -> torch.device: ...

    @property
    def input(self) -> Input:
        """The images that the network takes: the row's, or where that does not say, those of the network as built."""
        ...

    @property
    def commit(self) -> str:
        """The code that runs: its commit, or without a checkout its version and the job's key, a digest of the code."""
        ...

    @property
    def work(self) -> Path:
        """The job's folder for checkpoints and the like, to resume after a kill. Deleted when the job is done."""
        ...

    @property
    def keep(self) -> Path:
        """The job's folder for what the user asked to keep, such as fine-tuned weights."""
        ...

    @property
    def curves(self) -> Path:
        """The CSV file in `work` for the job's training curves; it is stored beside the job's record."""
        ...

    def free_memory(self) -> int | None:
        """Bytes of available main memory, or None where the system does not say."""
        ...

    def say(self, text: str) -> None:
        """Print one line for the user and write it to the log, before the job is done."""
        ...

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None:
        """Count work as done, in the units of `Work.passes`, or of `Suite.seconds` where there are no images.

        The progress display shows the note: what is done, in words between commas, the most needed first. `found`: an
        earlier process did this work.
        """
        ...

    def enter(self, at: Mapping[str, Any]) -> bool:
        """Begin a part of the job. False: skip it, because an earlier process of this job finished it or died in it."""
        ...

    def build(
        self,
        num_classes: int | None = None,
        image_size: tuple[int, int] | None = None,
        changes: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Backbone:
        """A fresh copy of the job's model with the job's weights, on the CPU, in evaluation mode.

        `changes` are fields of its architecture that the suite's recipe sets: {"dropout": 0.1}. `seed` is that of the
        random weights for `weights=random`; `weights=random:5` has its own.
        """
        ...

    def other(self, name: str, num_classes: int, image_size: tuple[int, int]) -> Backbone:
        """Another model, named as in `other_name`, with random weights, on the CPU, in evaluation mode."""
        ...

    def other_name(self, name: str) -> str:
        """The full name of another model: any name that `model=` takes, or `timm` for timm's network of this row.

        Raises UsageError where timm has none.
        """
        ...

    def images(self, task: Task, split: str) -> Split:
        """The split, or an error where it does not have the number of images that the task declares."""
        ...

    def features(  # noqa: PLR0913  # suites of users call it
        self,
        task: Task,
        splits: tuple[str, ...],
        *,
        resize: Resize | View,
        image_size: int | None = None,
        follows: View | None = None,
        precision: Precision = "fp32",
        first: int | None = None,
    ) -> Features:
        """The model's features of the splits in order, computed once per set of images and cached.

        `resize` is how images are resized, or a View that says more. What it leaves open is as in the code that
        `follows` describes (suites/images/transforms.py); None: antialiased, and not rounded. With `first`, only of the
        first images of each split.
        """
        ...

    def logits(
        self, task: Task, split: str, view: View, *, precision: Precision = "fp32", rows: np.ndarray | None = None
    ) -> Features:
        """The logits, `x` (N, K), of the head that the model's weights brought. Cached as features are.

        What the view leaves open is as in the evaluation of the network's library, or else a square resize. With
        `rows`, only of these images. Raises UsageError where the network has no head of its own.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Work:
    """The size of a job, in images, and the disk that it takes in the run directory, where that is known."""

    images: int = 0  # forward passes
    trained: int = 0  # forward and backward passes
    kept: int = 0  # bytes of what stays
    scratch: int = 0  # bytes beside them while it runs, at most

    @property
    def all(self) -> int:
        return self.images + self.trained

    @property
    def passes(self) -> int:
        """Forward passes; a backward pass costs two."""
        return self.images + 3 * self.trained


class Settings:
    """A class whose fields users can type as `suite.NAME=VALUE`."""

    def refuse(self, name: str, invalid: bool, why: str) -> None:
        """Raise UsageError where a setting's value is `invalid`. The message is `suite.NAME=VALUE`, then `why`."""
        if invalid:
            raise UsageError(f"suite.{name}={plain_word(getattr(self, name))}{why}")


@dataclass(frozen=True, kw_only=True)
class Suite(Settings, ABC):
    """One protocol or a few: the fields are its settings, and `run` measures one job. It writes no file and no record.

    Subclasses are frozen dataclasses. Each module of this package that defines one also has an instance with the
    default settings, which the registry finds.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raised by hand when the protocol itself, not only its code, changes
    aliases: ClassVar[tuple[str, ...]] = ()
    in_globs: ClassVar[bool] = True
    needs: ClassVar[frozenset[Literal["task", "weights"]]] = frozenset({"task", "weights"})
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")  # the splits that a job reads
    default_models: ClassVar[tuple[str, ...]]
    default_tasks: ClassVar[str]  # a collection, or one task
    only_default_tasks: ClassVar[bool] = False
    fallback: ClassVar[str] = ""  # the suite to run instead where no task is typed and no data is found
    how_to_get_data: ClassVar[str] = ""  # of the default tasks
    data_parallel: ClassVar[bool] = False  # whether all processes of a distributed run share each job
    reads_larger_split: ClassVar[bool] = False  # read a split from a pass over the larger one it is part of
    isolated: ClassVar[bool] = False  # run each job in a process of its own: a crash ends one part of it
    incidental: ClassVar[frozenset[str]] = frozenset()  # settings that no number depends on, and a job's key leaves out
    in_fed: ClassVar[frozenset[str]] = frozenset()  # settings that `fed` stands for in a job's key and slot
    added: ClassVar[frozenset[str]] = frozenset()  # settings that a job's identity leaves out where they are not set
    by_device: ClassVar[bool] = False  # whether the device, driver and libraries are part of a job's identity

    def check(self) -> None:  # few suites refuse anything
        """Raise UsageError for invalid settings, alone or together."""

    def require_positive(self, *names: str) -> None:
        """Raise UsageError for a setting that is, or contains, a number not above 0. None is accepted."""
        for name in names:
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            invalid = not all(0 < number < float("inf") for number in values)
            self.refuse(name, invalid, f": {self.name} needs finite numbers above 0")

    def for_device(self, device: str) -> Self:  # noqa: ARG002
        """The suite with the defaults of a kind of device: "cpu", "cuda" or "mps"."""
        return self

    def modules(self) -> tuple[str, ...]:
        """This package's modules, such as "suites.probes.ridge", that the numbers depend on, with all they import.

        A job's key has the digest of their code, and of the suite's own file without its imports. The default is the
        suite's module with all that it imports.
        """
        return (type(self).__module__.split(".", 1)[1],)

    def tasks_beside(self) -> tuple[str, ...]:
        """The tasks, as `task=` takes them, of which a job reads images beside its own (`Context.beside`)."""
        return ()

    def other_models(self) -> tuple[str, ...]:
        """The names of other models that a job builds beside its own, as `Context.other_name` takes them."""
        return ()

    def resolved(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:  # noqa: ARG002
        """What the numbers depend on beside a job's settings: facts of the task, the model's row and the weights."""
        return {}

    def size(self, model: Model, weights: WeightsChoice) -> tuple[int, int]:  # noqa: ARG002
        """Height and width in pixels of this model's input, as far as they are known before the run."""
        side = getattr(self, "image_size", None)
        return (side, side) if side else model.input.size

    def fed(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:  # noqa: ARG002
        """How images are resized, typed or by default, for a job's identity; empty where they are antialiased floats.

        All were, before there were settings for it. So jobs of then and of now are the same where their pixels are.
        """
        return {}

    def unfit(self, model: Model, weights: WeightsChoice, task: Task) -> str:  # noqa: ARG002
        """Why this model with these weights cannot do the task, as far as it is known before the run; "" where it can.

        A command plans only the combinations that can.
        """
        return ""

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:  # noqa: ARG002
        """The most that a job on this model and task has to do, for plans and progress bars."""
        return Work(images=sum(task.splits.get(split, 0) for split in self.splits))

    def passes_beside(self, model: Model, task: Task, weights: WeightsChoice) -> int:  # noqa: ARG002
        """How often a job passes the images of each task of `tasks_beside` through its network."""
        return 0

    def choices(self, model: Model, weights: WeightsChoice, task: Task) -> str:  # noqa: ARG002
        """What a job tries on held-out images, of which the best counts, in words for plans; "" where nothing."""
        return ""

    def seconds(self, model: Model, on_gpu: bool) -> tuple[float, float] | None:  # noqa: ARG002
        """Estimates of the least and the most seconds of a job whose settings fix its time; None for all other jobs."""
        return None

    @abstractmethod
    def run(self, context: Context) -> Iterator[Measurement]:
        """Ask the question of one job."""


def task_question(task: Task) -> dict[str, object]:
    """The part of the question that all accuracies on a task share."""
    return {"task": task.name, "label": task.label, "num_classes": task.num_classes, "skipped": 0}


def fingerprint(*parts: Features | Split) -> dict[str, str]:
    """Digests of the images, in order, and of the labels: the part of a question that identifies the data."""
    return {
        "split": sha([digest for part in parts for digest in part.digests]),
        "labels": hashlib.sha256(b"".join(map(_label_bytes, parts))).hexdigest()[:16],
    }


def _label_bytes(part: Features | Split) -> bytes:
    sets = b"" if part.label_sets is None else canonical([list(classes) for classes in part.label_sets]).encode()
    return part.labels.astype("<i8").tobytes() + sets


# The task of suites that need none.
NO_TASK = Task(name="", collection="", group="", image_set="", target="", num_classes=0, splits={}, label="")
