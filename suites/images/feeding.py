"""The images of a task's splits that are fed to a network, their preprocessing, and the labels of the results.

The engine runs the network and caches its results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..protocol import Features, Precision, Split, Task
from .decoded import chosen_rows
from .features import Extraction
from .transforms import Resize, Transform, View

if TYPE_CHECKING:
    from ...models.spec import Input

ComputeFeatures = Callable[[Split], np.ndarray]  # (N, D) features or logits of the N images of a split


def check_split(split: Split, task: Task, name: str, skipped: int = 0) -> None:
    """Raise ValueError unless the split has the images, apart from skipped ones, and labels that the task declares."""
    total = len(split) + skipped
    if total not in task.sizes(name) or len(split.images) != len(split):
        raise ValueError(f"{task.name}: the {name} split holds {total} images; its definition says {task.splits[name]}")
    if len(split) and not 0 <= int(split.labels.min()) <= int(split.labels.max()) < task.num_classes:
        raise ValueError(f"{task.name}: the {name} split has labels outside 0 to {task.num_classes - 1}")


def extraction(
    model: Input, resize: Resize, image_size: int | None, *, precision: Precision, batch_size: int
) -> Extraction:
    """The settings of a probe's pass: images of the model's own size, or squares of `image_size` pixels."""
    transform = Transform.for_input(model, resize, None if image_size is None else (image_size, image_size))
    return Extraction(transform=transform, precision=precision, batch_size=batch_size)


def features_of(parts: Sequence[Split], treatment: Mapping[str, Any], compute: ComputeFeatures) -> Features:
    """The features of these splits, one after the other."""
    return Features(
        x=np.concatenate([compute(part) for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        digests=tuple(part.digest for part in parts),
        treatment=treatment,
        label_sets=_label_sets(parts),
    )


def logits_of(
    split: Split, rows: np.ndarray | None, treatment: Mapping[str, Any], compute: ComputeFeatures
) -> Features:
    """The logits of a split, or of these rows of it. Those of a part of a larger split are computed with that."""
    read, part = split, None
    if rows is not None:
        split = read = chosen_rows(split, rows)
    elif split.part_of is not None:
        read, part = split.part_of.whole, split.part_of.rows
    logits = compute(read)
    return Features(
        x=logits if part is None else logits[part],
        labels=split.labels,
        digests=(split.digest,),
        treatment=treatment,
        label_sets=split.label_sets,
    )


def own_head_transform(
    model: Input, view: View, tested: Mapping[str, Any], trained_at: Callable[[], int | None]
) -> Transform:
    """The preprocessing for the weights' own head: that of the view, where it leaves something open the library's.

    `tested` are the library's own evaluation settings, as fields of a View. Where neither has an image size, it is
    `trained_at()`, the side in pixels of the weights' position embeddings, or else the model's own.
    """
    of_library = View(**tested)
    if view.resize is not None:
        of_library = replace(of_library, crop_pct=None)  # the library's crop belongs to its own resize
    if view.image_size is None and of_library.resize is None:
        of_library = replace(of_library, image_size=trained_at())
    return Transform.of_view(model, view.over(of_library))


def first_images(split: Split, count: int | None) -> Split:
    """A split of the first `count` images; the whole split where `count` is None."""
    if count is None or count >= len(split):
        return split
    clusters = None if split.clusters is None else split.clusters[:count]
    return replace(split, labels=split.labels[:count], digest=f"{split.digest}[:{count}]", clusters=clusters)


def paired_test_arrays(test: Split) -> dict[str, np.ndarray]:
    """The right classes and the cluster of each test image, in order, which paired tests on predictions need."""
    arrays: dict[str, np.ndarray] = {"labels": test.labels.astype(np.int32)}
    if test.label_sets is not None:
        sizes = [len(labels) for labels in test.label_sets]
        values = [label for labels in test.label_sets for label in labels]
        arrays["label_sets.values"] = np.array(values, dtype=np.int32)
        arrays["label_sets.starts"] = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
    return arrays if test.clusters is None else arrays | {"clusters": test.clusters}


def _label_sets(parts: Sequence[Split]) -> tuple[tuple[int, ...], ...] | None:
    """The sets of right classes of all images; None where no split has them."""
    if all(part.label_sets is None for part in parts):
        return None
    return tuple(labels for part in parts for labels in part.label_sets or [(label,) for label in part.labels.tolist()])
