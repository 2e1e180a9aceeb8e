"""Pre-training images that need no download: `task=fractals:CLASSES`, drawn when they are read.

A class is an iterated function system, an image one variation of it (miniature/iterated_functions.py). Image i of a
split is of class i modulo CLASSES, so the first images of a split are balanced, and of more images a class the first
ones are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from ...registry import UsageError
from ...stable import sha
from ..protocol import Split, Task
from .miniature import iterated_functions

PREFIX, WHITE = "fractals:", ":white"
TRAIN, HELD_OUT, SIDE = 100, 10, 64  # images of each class in train, and in val and in test; pixels
AT_ONCE = 64  # images drawn together


@dataclass(frozen=True, kw_only=True)
class FractalsTask(Task):
    """A task of drawn fractals; see `fractals_task`."""

    side: int
    white: bool


def fractals_task(word: str) -> FractalsTask:
    """The task of a word, `fractals:CLASSES`, `fractals:CLASSES:IMAGES` or `fractals:CLASSES:IMAGES:SIDE`.

    IMAGES are those of each class in train, 100 unless typed; val and test have 10. SIDE is in pixels, 64 unless typed.
    With `:white` at the end, points are white on black, in the place of random colours. Raises UsageError for any other
    word.
    """
    plain = word.removesuffix(WHITE)
    numbers = plain.removeprefix(PREFIX).split(":")
    typed = [int(number) for number in numbers if number.isdecimal() and number.isascii()]
    given = len(typed) == len(numbers) <= 3
    classes, images, side = [*typed, *(0, TRAIN, SIDE)[len(typed) :]] if given else (0, 0, 0)
    if not (classes >= 2 and images >= 1 and 16 <= side <= 512):
        raise UsageError(
            f"task={word}: type fractals:CLASSES, fractals:CLASSES:IMAGES or fractals:CLASSES:IMAGES:SIDE in whole "
            f"numbers: at least 2 classes, images of each class to train on ({TRAIN} unless typed), and the images' "
            f"side in pixels, 16 to 512 ({SIDE} unless typed); {WHITE} at the end for white on black"
        )
    look = WHITE if plain != word else ""
    name = ":".join(map(str, (classes, images, side)[: 1 + max(images != TRAIN, 2 * (side != SIDE))])) + look
    return FractalsTask(
        name=f"{PREFIX}{name}",
        collection="fractals",
        group="fractals",
        image_set=f"{PREFIX}{classes}:{images}:{side}{look}",
        num_classes=classes,
        splits={"train": classes * images, "val": classes * HELD_OUT, "test": classes * HELD_OUT},
        label="which iterated function system the image is a variation of",
        revision=f"version {iterated_functions.VERSION}",
        majority=100 / classes,
        small=side < 96,
        side=side,
        white=bool(look),
    )


class Drawn(Sequence[np.ndarray]):
    """The images of a split, drawn on access."""

    concurrent = True

    def __init__(self, task: FractalsTask, split: str) -> None:
        self._task, self._split = task, split

    def __len__(self) -> int:
        return self._task.splits[self._split]

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        rows = range(len(self))[index]
        if isinstance(rows, int):
            return self._draw([rows])[0]
        starts = range(0, len(rows), AT_ONCE)
        none = np.empty((0, self._task.side, self._task.side, 3), dtype=np.uint8)
        return list(np.concatenate([none, *(self._draw(rows[start : start + AT_ONCE]) for start in starts)]))

    def _draw(self, rows: Sequence[int]) -> np.ndarray:
        classes = self._task.num_classes
        images = [(row % classes, self._split, row // classes) for row in rows]
        return iterated_functions.draw(images, self._task.side, white=self._task.white)


class Fractals:
    """The source of `fractals:` tasks. Its digests stand for the pixels, which are a function of what they are of."""

    name = "fractals"

    def locate(self, task: Task, root: Path) -> str | None:  # noqa: ARG002
        """ "drawn" for a task of fractals, for any data folder; None for other tasks."""
        return "drawn" if isinstance(task, FractalsTask) else None

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:  # noqa: ARG002
        """Always "": every image can be drawn."""
        return ""

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:  # noqa: ARG002
        """The split, its images drawn on access."""
        assert isinstance(task, FractalsTask)
        images = Drawn(task, split)
        drawn = [PREFIX, iterated_functions.VERSION, task.num_classes, task.side, split, len(images)]
        digest = sha([*drawn, WHITE] if task.white else drawn)
        return Split(images=images, labels=np.arange(len(images), dtype=np.int64) % task.num_classes, digest=digest)
