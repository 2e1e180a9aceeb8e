"""From a task's split to an array of features: which images are fed, how, and what the cache keeps of it.

`Feeder.images` has a source read a split, and holds it against its task. `Feeder.features` and `Feeder.logits` look for
the split's outputs in the cache (feature_cache.py), pass the images that are missing through the network (features.py),
and add labels and treatment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ...models.spec import Backbone, Input, Model
from ..protocol import Features, Precision, Source, Split, Task
from .decoded import BadImages, chosen_rows
from .feature_cache import FeatureShards, feature_cache, limit_bytes
from .features import Extraction, extract_spans
from .transforms import Resize, Transform, View, followed

OWN_HEAD = "the weights' own head"  # as a treatment says it


def check_split(split: Split, task: Task, name: str, skipped: int = 0) -> None:
    """Raise ValueError unless the split has the images, apart from skipped ones, and labels that the task declares."""
    total = len(split) + skipped
    if total not in task.sizes(name) or len(split.images) != len(split):
        raise ValueError(f"{task.name}: the {name} split holds {total} images; its definition says {task.splits[name]}")
    if not np.issubdtype(split.labels.dtype, np.integer):
        raise ValueError(f"{task.name}: labels are {split.labels.dtype}; expected whole class numbers")
    given = {*split.labels.tolist(), *chain.from_iterable(split.label_sets or ())}
    if given and not 0 <= min(given) <= max(given) < task.num_classes:
        raise ValueError(f"{task.name}: the {name} split has labels outside 0 to {task.num_classes - 1}")


def first_images(split: Split, count: int | None) -> Split:
    """A split of the first `count` images; the whole split where `count` is None."""
    if count is None or count >= len(split):
        return split
    clusters, sets = (None if part is None else part[:count] for part in (split.clusters, split.label_sets))
    digest = f"{split.digest}[:{count}]"
    return replace(split, labels=split.labels[:count], digest=digest, clusters=clusters, label_sets=sets)


def paired_test_arrays(test: Split) -> dict[str, np.ndarray]:
    """The right classes and the cluster of each test image, in order, which paired tests on predictions need."""
    arrays: dict[str, np.ndarray] = {"labels": test.labels.astype(np.int32)}
    if test.label_sets is not None:
        sizes = [len(labels) for labels in test.label_sets]
        values = [label for labels in test.label_sets for label in labels]
        arrays["label_sets.values"] = np.array(values, dtype=np.int32)
        arrays["label_sets.starts"] = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
    return arrays if test.clusters is None else arrays | {"clusters": test.clusters}


class Feeder(ABC):
    """Feeds the images of splits to a job's network; outputs are cached, and divided among the processes of a run.

    The engine's context is one. It sets what is declared here, and says in `output_key` what the network is.
    """

    model: Model
    task: Task
    source: Source | None
    beside: Mapping[str, tuple[Task, Source]]  # other tasks by name, with their images (`Suite.tasks_beside`)
    skip_bad: bool  # leave out images that cannot be read
    data: Path  # the folder of data sets
    cache: Path
    batch_size: int
    rank: int
    processes: int
    advance: Callable[..., None]  # `Context.advance`
    head: Callable[[Backbone], Any]  # makes a network whose features are the logits of its own head
    _loaded: Any  # the network of the weights (`backbone`) and for other image sizes (`resized`): bench/loaded_model.py

    # What `images` notes.
    files: dict[Path, None]  # that were read
    skipped: dict[str, int]  # split -> number of unreadable images that were left out
    test_arrays: dict[str, np.ndarray]  # of the test split, saved beside the predictions

    @abstractmethod
    def output_key(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """All that outputs depend on beside images and treatment, and names of what its digests stand for."""

    @property
    def input(self) -> Input:
        known = self.model.architecture.input_is_known
        return self.model.input if known else self._loaded.backbone.spec.input

    def images(self, task: Task, split: str) -> Split:
        source = self.beside[task.name][1] if task.name in self.beside else self.source
        assert source is not None  # a job without data is skipped
        try:
            loaded = source.load(task, split, self.data, self.cache)
        except BadImages as error:
            if not self.skip_bad:
                raise
            loaded = error.readable
            self.skipped[split] = len(error.bad)
        check_split(loaded, task, split, self.skipped.get(split, 0))
        self.files |= dict.fromkeys(loaded.files)
        if split == "test" and task is self.task:
            self.test_arrays = paired_test_arrays(loaded)
        return loaded

    def has(self, task: Task, split: str) -> bool:
        """Whether the job's source has all of this split on this machine."""
        missing = getattr(self.source, "missing", None)
        return missing is not None and not missing(task, self.data, (split,))

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
        network = self._loaded.backbone  # a user's network says only once it is built which input it takes
        view = resize if isinstance(resize, View) else View(resize=resize, image_size=image_size)
        if follows is not None:
            # A library's model is resized and cropped as the library tests it, unless a resize is named.
            view = view.over(self._tested) if view.resize is None and self._of_library else view
            view = followed(view, follows, network.spec.input, library=self._of_library)
        transform = Transform.of_view(network.spec.input, view)
        tap = getattr(network, "tap", None) or "features"
        return self._fed([first_images(self.images(task, split), first) for split in splits], transform, precision, tap)

    def logits(
        self, task: Task, split: str, view: View, *, precision: Precision = "fp32", rows: np.ndarray | None = None
    ) -> Features:
        transform, images = self.transform(view), self.images(task, split)
        images = images if rows is None else chosen_rows(images, rows)
        return self._fed([images], transform, precision, OWN_HEAD)

    def transform(self, view: View) -> Transform:
        """The preprocessing for the network's own head: that of the view, where it leaves something open the library's.

        Where neither has an image size, it is the side in pixels of the weights' position embeddings, or else the
        model's own.
        """
        model, of_library = self._loaded.backbone.spec.input, self._tested
        if view.resize is not None:
            of_library = replace(of_library, crop_pct=None)  # the library's crop belongs to its own resize
        if view.image_size is None and of_library.resize is None:
            of_library = replace(of_library, image_size=self._loaded.trained_at)
        return Transform.of_view(model, followed(view, of_library, model, library=self._of_library))

    @property
    def _of_library(self) -> bool:
        return self.model.architecture.resizes_by_pillow

    @property
    def _tested(self) -> View:
        """How the network's library resizes in its own evaluation."""
        return View(**getattr(self._loaded.backbone, "tested", {}))

    def network_for(self, view: View) -> tuple[Backbone, Transform]:
        """The network on its device, built for the image size of a view, and the view's transform."""
        transform = self.transform(view)
        return self._loaded.resized(transform.size), transform

    def _fed(self, parts: Sequence[Split], transform: Transform, precision: Precision, tap: str) -> Features:
        """The outputs of the network, or its logits, for these splits, one after the other.

        The logits of a part of a larger split are computed with that.
        """
        treatment = {**transform.describe(), "tap": tap, "precision": precision}
        if notes := getattr(self._loaded.resized(transform.size), "notes", ()):
            treatment["weights_notes"] = list(notes)  # how the file was adapted, and which part of it was read
        how = Extraction(transform=transform, precision=precision, batch_size=self.batch_size)
        outputs = []
        for part in parts:
            larger = part.part_of if tap == OWN_HEAD else None
            passed = self._outputs(larger.whole if larger else part, how, treatment)
            outputs.append(passed[larger.rows] if larger else passed)
        return Features(
            x=np.concatenate(outputs),
            labels=np.concatenate([part.labels for part in parts]),
            digests=tuple(part.digest for part in parts),
            treatment=treatment,
            label_sets=_label_sets(parts),
        )

    def _outputs(self, split: Split, how: Extraction, treatment: Mapping[str, Any]) -> np.ndarray:
        """The outputs (N, D) of the network for one split: cached, or computed and cached."""
        cached, (key, about) = feature_cache(self.cache), self.output_key()
        shards = cached.shards({**key, "treatment": treatment, "split": split.digest}, len(split), about)
        parts = {number: shards.get(number) for number in range(len(shards.spans))}
        self.advance(sum(len(part) for part in parts.values() if part is not None), found=True)
        missing = [number for number, part in parts.items() if part is None]
        mine = [number for number in missing if number % self.processes == self.rank]
        agree = self._loaded.processes.agree
        try:
            if mine:
                network = self._loaded.resized(how.transform.size)
                network = self.head(network) if treatment["tap"] == OWN_HEAD else network
                parts |= self._compute(network, split, how, shards, mine)
        except Exception as error:
            agree(f"{type(error).__name__}: {error}")
            raise
        agree()
        parts |= {number: shards.get(number) for number in missing if parts[number] is None}
        complete = [part for part in parts.values() if part is not None]
        if len(complete) < len(parts):
            raise ValueError(
                f"features that another process wrote are not in {shards.folder}: all processes of a run need the same "
                "cache folder (BENCH_CACHE), and nobody who clears it meanwhile"
            )
        if len({part.shape[1] for part in complete}) > 1:
            raise ValueError(f"{about['model']} gives features of different widths for images of one split")
        if missing:
            cached.trim(limit_bytes())
        return np.concatenate(complete)

    def _compute(
        self, network: Backbone, split: Split, how: Extraction, shards: FeatureShards, numbers: list[int]
    ) -> dict[int, np.ndarray]:
        """These shards of the outputs for a split; each is cached as soon as it is complete."""
        ends = {shards.spans[number].stop: number for number in numbers}
        computed: dict[int, np.ndarray] = {}
        batches: list[np.ndarray] = []
        spans, done = [shards.spans[number] for number in numbers], 0
        for span, features in extract_spans(network, split.images, how, spans):
            batches.append(features)
            done += len(features)
            self.advance(len(features), f"images {done:,}/{sum(map(len, spans)):,}")
            if span.stop in ends:
                computed[ends[span.stop]] = shard = np.concatenate(batches)
                shards.put(ends[span.stop], shard)
                batches = []
        return computed


def _label_sets(parts: Sequence[Split]) -> tuple[tuple[int, ...], ...] | None:
    """The sets of right classes of all images; None where no split has them."""
    if all(part.label_sets is None for part in parts):
        return None
    return tuple(labels for part in parts for labels in part.label_sets or [(label,) for label in part.labels.tolist()])
