"""What is fed to a network, and what comes of it: the images of a task's splits, their order, and how they are resized.

The engine looks features up in its cache and calls networks; which images those are and how they are shown is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...stable import sha
from ..protocol import Features, Precision, Split, Task
from .decoded import Decoded
from .features import Extraction
from .transforms import Resize, Transform, View

if TYPE_CHECKING:
    from ...models.spec import Input

Look = Callable[[Split], np.ndarray]  # (N, D) of the N images of a split


def check_split(found: Split, task: Task, split: str, skipped: int = 0) -> None:
    """Raises ValueError unless a split has the images and labels that the task's row promises, but for skipped ones."""
    whole = len(found) + skipped
    if whole not in task.sizes(split) or len(found.images) != len(found):
        raise ValueError(
            f"{task.name}: the {split} split holds {whole} images; its definition says {task.splits[split]}"
        )
    if len(found) and not 0 <= int(found.labels.min()) <= int(found.labels.max()) < task.num_classes:
        raise ValueError(f"{task.name}: the {split} split has labels outside 0 to {task.num_classes - 1}")


def extraction(
    model: Input, resize: Resize, image_size: int | None, *, precision: Precision, batch_size: int
) -> Extraction:
    """How a probe shows images to a model: resized to its own size, or to a square of `image_size` pixels."""
    transform = Transform.for_input(model, resize, None if image_size is None else (image_size, image_size))
    return Extraction(transform=transform, precision=precision, batch_size=batch_size)


def features_of(parts: Sequence[Split], treatment: Mapping[str, Any], look: Look) -> Features:
    """What `look` makes of these splits, one after the other."""
    return Features(
        x=np.concatenate([look(part) for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        digests=tuple(part.digest for part in parts),
        treatment=treatment,
        label_sets=_joined(parts),
    )


def logits_of(found: Split, rows: np.ndarray | None, treatment: Mapping[str, Any], look: Look) -> Features:
    """What `look` makes of a split, or of these rows of it. A split that is part of a larger one is cut from that."""
    read, at = found, None
    if rows is not None:
        found = read = chosen_rows(found, rows)
    elif found.part_of is not None:
        read, at = found.part_of.whole, found.part_of.rows
    said = look(read)
    return Features(
        x=said if at is None else said[at],
        labels=found.labels,
        digests=(found.digest,),
        treatment=treatment,
        label_sets=found.label_sets,
    )


def own_head_transform(
    model: Input, view: View, tested: Mapping[str, Any], trained_at: Callable[[], int | None]
) -> Transform:
    """How images are fed to the head that weights brought: as the view says, else as the library tests it.

    `tested` is what a library says of its own evaluation. Where neither says a size, it is the side in pixels that the
    weights' position embeddings are of, `trained_at`, or the model's own.
    """
    of_library = View(**tested)
    if view.resize is not None:
        of_library = replace(of_library, crop_pct=None)  # the library's cut is of its own way to resize
    if view.image_size is None and of_library.resize is None:
        of_library = replace(of_library, image_size=trained_at())
    return Transform.of_view(model, view.over(of_library))


def first_images(split: Split, count: int | None) -> Split:
    """The split, or so many of its first images as a split of its own."""
    if count is None or count >= len(split):
        return split
    clusters = None if split.clusters is None else split.clusters[:count]
    return replace(split, labels=split.labels[:count], digest=f"{split.digest}[:{count}]", clusters=clusters)


def chosen_rows(split: Split, rows: np.ndarray) -> Split:
    """These images of a split, as a split of its own."""
    chosen, images = [int(row) for row in rows], split.images
    some = images[chosen] if isinstance(images, np.ndarray) else Decoded(lambda i: images[chosen[i]], len(chosen))
    return replace(
        split,
        images=some,
        labels=split.labels[chosen],
        digest=f"{split.digest}[{sha(chosen)}]",
        clusters=None if split.clusters is None else split.clusters[chosen],
        label_sets=None if split.label_sets is None else tuple(split.label_sets[row] for row in chosen),
        part_of=None,
    )


def paired_facts(test: Split) -> dict[str, np.ndarray]:
    """The right classes of each test image and its group, in order: what turns predictions into paired tests."""
    found: dict[str, np.ndarray] = {"labels": test.labels.astype(np.int32)}
    if test.label_sets is not None:
        sizes = [len(labels) for labels in test.label_sets]
        found["label_sets.values"] = np.array([label for labels in test.label_sets for label in labels], dtype=np.int32)
        found["label_sets.starts"] = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
    return found if test.clusters is None else found | {"clusters": test.clusters}


def _joined(parts: Sequence[Split]) -> tuple[tuple[int, ...], ...] | None:
    """The right classes of every image, where any of the splits has several for one."""
    if all(part.label_sets is None for part in parts):
        return None
    return tuple(labels for part in parts for labels in part.label_sets or [(label,) for label in part.labels.tolist()])
