"""The words that suites, tasks, sources and the engine share: Task, Split, Source, Measurement, Context, Suite.

No torch here: what can be asked is listed and planned without importing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np

from ..registry import UsageError

if TYPE_CHECKING:
    import torch

    from ..models.spec import Backbone, Model
    from ..models.weights_choice import WeightsChoice
    from .images.transforms import Resize, View

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One row of suites/tasks: a labelled question about a set of images. Where the images are, it does not know."""

    in_globs: ClassVar[bool] = True

    name: str
    collection: str  # "vtab", "vtab-mini", "transfer", …: the family of tasks it belongs to
    group: str  # "natural", "specialized" or "structured"; of others their collection
    images: str  # the image set; tasks that share it share one pass over the images
    target: str  # which of the image set's annotations is the label
    num_classes: int  # from the definition, never from the labels seen
    splits: Mapping[str, int]  # images in "train", "val" and "test"; VTAB-1k: train800, val200 and the test set
    label: str  # the label rule, in words
    also: Mapping[str, int] = field(default_factory=dict)  # another size in which a split circulates, and is accepted
    rule: Callable[[Any], int] | None = None  # the label rule itself, on what the files hold (suites/tasks/labels.py)
    originals: Mapping[str, int] = field(default_factory=dict)  # images in the published (TFDS) splits
    recipe: Mapping[str, str] = field(default_factory=dict)  # split -> slices of those, "train[:800]"; see splits.py
    within: Mapping[str, str] = field(
        default_factory=dict
    )  # split -> the published split that has its images, and more
    revision: str = ""  # which state of the images, where name and recipe do not say it
    metric: str = "top1"  # what the task is scored by
    crop: bool = True  # whether training may cut a part out of an image, and mirror it: False where that would
    flip: bool = True  # change the label (BiT paper, Appendix F; the official ViT configuration)
    cluster: str = ""  # what makes images dependent: "video", "patient", "instance", "scene"; "": each is by itself
    builder: str = ""  # the TFDS data set whose splits the recipe cuts
    head: str = ""  # the data set whose classes, in this order, are the task's, as released heads name it: "ImageNet"
    small: bool = False  # whether images are below 96 x 96 pixels, which decides how BiT's releases feed them
    unproven: str = ""  # what could not be checked against anything published
    mirrors: str = ""  # what it stands in for, and what it does not test
    classes: tuple[str, ...] = ()  # names, where they have some
    majority: float | None = None  # share of the most frequent class of the test split, percent, as far as it is known
    histogram: tuple[int, ...] = ()  # images of each class of the test split, as far as they are known
    present: Mapping[str, int] = field(default_factory=dict)  # split -> classes that occur in it, where that is known
    aliases: tuple[str, ...] = ()

    def sizes(self, split: str) -> tuple[int, ...]:
        """How many images a split may have: what it was published with, and what else is known to go round."""
        return (self.splits[split], *([self.also[split]] if split in self.also else []))


@dataclass(frozen=True, kw_only=True)
class Split:
    """The images of one split in their official order, decoded on access, with the labels of one task."""

    images: Sequence[np.ndarray] | np.ndarray  # each (H, W, 3) uint8 RGB
    labels: np.ndarray  # (N,) int64
    digest: str  # of the decoded pixels in order; see `digest_images`
    clusters: np.ndarray | None = None  # (N,) int or str: the group of each image, in the sense of the task's `cluster`
    label_sets: tuple[tuple[int, ...], ...] | None = None  # N sets of right classes, where an image may have several
    files: tuple[Path, ...] = ()  # what was read, so that a later change is noticed
    part_of: PartOf | None = None  # the larger split that holds these images, for one pass over both

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class PartOf:
    """Where the images of a split stand in a larger one."""

    whole: Split
    rows: np.ndarray  # (N,) positions


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number, with what is needed to trust it. Suites yield these; the engine turns them into records.

    `question` says what was asked (task, label rule, metric, budget, selection rule): numbers with different questions
    never share a table or a mean. `treatment` says how this model was fed and tuned: it may differ between models.
    """

    metric: str  # plain: "top1", "mean_per_class", …; what varies inside a job goes to `at`, never into the name
    value: float | None  # None: there is none, and `error` says why
    unit: str  # accuracies are in "percent"
    n_test: int | None = None  # images scored, all of the test split; None where nothing is scored on it
    n_train: int | None = None
    n_skipped: int = 0
    at: Mapping[str, Any] = field(default_factory=dict)
    question: Mapping[str, Any] = field(default_factory=dict)
    treatment: Mapping[str, Any] = field(default_factory=dict)
    predictions: np.ndarray | None = None  # (n_test,) predicted classes, kept for paired tests
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)  # what else is kept of it, by plain names
    verdict: str = ""  # "valid", or "suspect: " and why
    error: str = ""  # why there is no number for this part of the job, whose other parts may have theirs


class Source(Protocol):
    """One way to get the images of tasks: a folder layout on disk, or the package itself."""

    @property
    def name(self) -> str: ...

    def locate(self, task: Task, root: Path) -> str | None:
        """Where this source has the task below the data folder `root`, in words, or None where it does not.

        Quick: it looks at names, and reads no image.
        """
        ...

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        """What of these splits is not there although `locate` finds the task, in words; "" where nothing is missing."""
        ...

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split. `cache` is a folder for anything that is costly to make twice."""
        ...


@dataclass(frozen=True, kw_only=True)
class Features:
    """What a frozen model makes of some splits of a task, one after the other."""

    x: np.ndarray  # (N, D) float32
    labels: np.ndarray  # (N,) int64
    digests: tuple[str, ...]  # of the images of each split
    treatment: Mapping[str, Any]  # how the images were fed: transform, tap, precision
    label_sets: tuple[tuple[int, ...], ...] | None = None  # all right classes of each, where an image may have several


class Context(Protocol):
    """What the engine hands to a suite for one job: one model, one task."""

    model: Model
    weights: WeightsChoice
    task: Task  # NO_TASK for a suite that needs none
    rank: int  # of this process among `processes`, where all take part in a job (Suite.data_parallel)
    processes: int

    @property
    def device(self) -> torch.device: ...

    @property
    def work(self) -> Path:
        """A folder of the job's own for what must survive a kill, checkpoints above all; gone when the job is done."""
        ...

    @property
    def keep(self) -> Path:
        """A folder of the job's own for what the user asked to keep, such as fine-tuned weights."""
        ...

    @property
    def curves(self) -> Path:
        """Where the job writes its training curves, a CSV file in `work`; it is kept beside the job's record."""
        ...

    def free_memory(self) -> int | None:
        """Bytes of main memory that can be had, or None where the system does not say."""
        ...

    def say(self, text: str) -> None:
        """One line for the user and the log: what they should know before the job's record is there."""
        ...

    def advance(self, images: int, note: str = "") -> None:
        """So many more images are done, as `Suite.estimate` counts them; the note is for the progress bar."""
        ...

    def enter(self, at: Mapping[str, Any]) -> bool:
        """Begin a part of the job. False: an earlier process of this job finished it or did not survive it."""
        ...

    def build(
        self,
        num_classes: int | None = None,
        image_size: tuple[int, int] | None = None,
        changes: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Backbone:
        """A fresh copy of the job's model with the job's weights, on the CPU, in evaluation mode.

        `changes` are fields of its architecture that a suite's recipe sets: {"dropout": 0.1}. `seed` is of random
        weights where the job's are called "random" and no more.
        """
        ...

    def other(self, name: str, num_classes: int, image_size: tuple[int, int]) -> Backbone:
        """Another model, by any name that `other_name` takes, with random weights, on the CPU, in evaluation mode."""
        ...

    def other_name(self, name: str) -> str:
        """The name in full of another model: any that `model=` takes, or `timm` for the library's network of this row.

        Raises UsageError where the library has none.
        """
        ...

    def images(self, task: Task, split: str) -> Split:
        """The split, as many images as the task's row promises, or an error."""
        ...

    def features(
        self,
        task: Task,
        splits: tuple[str, ...],
        *,
        resize: Resize,
        image_size: int | None = None,
        precision: Precision = "fp32",
        first: int | None = None,
    ) -> Features:
        """The model's features of the splits in order, computed once per set of images whoever asks, or cached.

        With `first`, of so many images of each split alone.
        """
        ...

    def logits(
        self, task: Task, split: str, view: View, *, precision: Precision = "fp32", rows: np.ndarray | None = None
    ) -> Features:
        """What the head of the model's own weights says of a split: `x` is (N, K). Kept as features are.

        What the view leaves open is as the network was tested by its library, where it is one's, and a square resize.
        With `rows`, of these images alone. Raises UsageError where the network has no head of its own.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much a job has to do, in images."""

    images: int = 0  # that pass forward through the network
    trained: int = 0  # that pass forward and backward, each time they do

    @property
    def all(self) -> int:
        return self.images + self.trained


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A protocol: its fields are its settings, `run` asks one job's question. It knows no file, no flag, no record.

    Subclasses are frozen dataclasses; each module of this package that defines one also makes the instance with the
    default settings, which the registry finds.
    """

    name: ClassVar[str]
    version: ClassVar[int]  # raised by hand when the protocol itself, not only its code, changes
    aliases: ClassVar[tuple[str, ...]] = ()
    in_globs: ClassVar[bool] = True
    needs: ClassVar[frozenset[Literal["task", "weights"]]] = frozenset({"task", "weights"})
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")  # what a job reads
    default_models: ClassVar[tuple[str, ...]]
    default_tasks: ClassVar[str]  # a collection, or one task
    only_default_tasks: ClassVar[bool] = False
    fallback: ClassVar[str] = ""  # the suite that runs where this one is typed alone and has no data here
    how_to_get_data: ClassVar[str] = ""  # of the default tasks
    data_parallel: ClassVar[bool] = False  # every process of a launched run takes part in a job; else the first alone
    shares_larger: ClassVar[bool] = False  # a split that is part of a larger one is served by a pass over that
    isolated: ClassVar[bool] = False  # each job in a process of its own: what kills it ends one part of it only
    incidental: ClassVar[frozenset[str]] = frozenset()  # settings no number depends on: a job goes on under others
    by_device: ClassVar[bool] = False  # numbers are of one machine: its device, driver and libraries are part of a job

    def check(self) -> None:
        """Raise UsageError for settings that make no sense, alone or together."""

    def refuse(self, name: str, broken: bool, why: str) -> None:
        """Raise UsageError where a setting's value is `broken`; `why` goes on behind the setting as it is typed."""
        if broken:
            raise UsageError(f"suite.{name}={typed(getattr(self, name))}{why}")

    def require_positive(self, *names: str) -> None:
        """Raise UsageError for a setting that is, or holds, a number which is not above 0; None is nothing said."""
        for name in names:
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            wrong = not all(0 < each < float("inf") for each in values)
            self.refuse(name, wrong, f": {self.name} needs finite numbers above 0")

    def settled(self, device: str) -> Self:  # noqa: ARG002  # for those whose defaults are of a machine
        """The suite with what was left open chosen for a kind of device: "cpu", "cuda" or "mps"."""
        return self

    def modules(self) -> tuple[str, ...]:
        """Modules of ours whose code is behind the numbers, with all that they import: "suites.probes.ridge".

        The suite's own file counts besides, whatever is said here; without this, with all that it imports.
        """
        return (type(self).__module__.split(".", 1)[1],)

    def others(self) -> tuple[str, ...]:
        """The names of other models that a job builds beside its own, as `Context.other_name` takes them."""
        return ()

    def resolved(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:  # noqa: ARG002
        """What of the rows and of what is known of the weights decides numbers, beyond what a job's identity states."""
        return {}

    def size(self, model: Model, weights: WeightsChoice) -> tuple[int, int]:  # noqa: ARG002
        """Height and width in pixels that the suite feeds this model, as far as it is known beforehand."""
        side = getattr(self, "image_size", None)
        return (side, side) if side else model.input.size

    def unfit(self, model: Model, weights: WeightsChoice, task: Task) -> str:  # noqa: ARG002
        """Why this model with these weights cannot be asked about the task, as far as it is known; "" where it can.

        Of the combinations of a command, those that can be asked are its jobs.
        """
        return ""

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:  # noqa: ARG002  # other suites' work does
        """What a job on this model and task comes to, at most, for plans and progress bars."""
        return Work(images=sum(task.splits.get(split, 0) for split in self.splits))

    def seconds(self, model: Model, on_gpu: bool) -> tuple[float, float] | None:  # noqa: ARG002
        """About the least and the most seconds of a job, where it is bound by time and not by work; else None."""
        return None

    def run(self, context: Context) -> Iterator[Measurement]:
        raise NotImplementedError


def task_question(task: Task) -> dict[str, object]:
    """What every accuracy on a task has in common, whatever the model."""
    return {"task": task.name, "label": task.label, "num_classes": task.num_classes, "skipped": 0}


def typed(value: Any) -> str:
    """A setting's value as one types it."""
    if isinstance(value, tuple):
        return ",".join(map(typed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


# What a suite that needs no task asks about.
NO_TASK = Task(name="", collection="", group="", images="", target="", num_classes=0, splits={}, label="")
