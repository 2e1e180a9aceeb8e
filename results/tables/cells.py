"""The cells of tables: published numbers as printed, and numbers from our records, both with footnote marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..published import is_reproducible
from .rows import with_std

SUPERSCRIPT = str.maketrans("0123456789", "\N{SUPERSCRIPT ZERO}¹²³⁴⁵⁶⁷⁸⁹")
NOT_RELEASED, UNTRAINED, RESAVED, MINIATURE, BELOW, TIED, FROM_SCRATCH = "†", "‡", "§", "¶", "*", "≈", "‖"
TIMES_STD = " x published std"
FOOTNOTES = {
    NOT_RELEASED: "Weights never released: this number cannot be reproduced.",
    UNTRAINED: "Random weights: an untrained network, of which only architecture and initialisation show.",
    FROM_SCRATCH: "Trained from random weights, on this task's images alone: no pre-training.",
    RESAVED: "Images of the community's re-saved JPEGs (vtab-1k), not the published files.",
    MINIATURE: "A built-in miniature task, not comparable with any published number.",
    BELOW: "Below the majority rate: always guessing the test set's most frequent class scores more.",
    TIED: "Among our models tied for the best: no significant difference seen (5 %, Holm).",
}
Position = tuple[tuple[str, ...], str]  # row labels, column


class Footnotes:
    """The remarks on the cells of a table, numbered as they appear; those on all cells are notes without a number."""

    def __init__(self, cells: Iterable[tuple[str, ...]]) -> None:
        """`cells` are the remarks of every cell with a number."""
        first, *others = [*cells] or [()]
        self._of_all = [remark for remark in first if all(remark in other for other in others)]
        self._numbers: dict[str, int] = {}

    def mark(self, remarks: Iterable[str]) -> str:
        """The numbers of a cell's remarks, to follow its text."""
        own = [remark for remark in remarks if remark not in self._of_all]
        numbers = [self._numbers.setdefault(remark, len(self._numbers) + 1) for remark in own]
        return ",".join(str(number).translate(SUPERSCRIPT) for number in sorted(numbers))

    def notes(self) -> list[str]:
        numbered = (f"{str(number).translate(SUPERSCRIPT)} {remark}" for remark, number in self._numbers.items())
        return [*(f"All numbers: {remark}" for remark in self._of_all), *numbered]


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A published number, as printed."""

    value: float
    text: str
    std: str = ""
    mark: str = ""

    @property
    def shown(self) -> str:
        return f"{self.text}{f' ± {self.std}' if self.std else ''}{self.mark}"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A cell of our records: a mean over seeds, or in words why there is none."""

    value: float | None = None
    std: float | None = None
    words: str = ""  # "failed", "skipped", "17/19"
    marks: str = ""
    remarks: tuple[str, ...] = ()  # on what is unusual about its records
    records: tuple[Mapping[str, Any], ...] = ()  # one a seed; empty for a mean over tasks
    of_tasks: tuple[str, ...] = ()  # the measurements of a mean over tasks

    @property
    def measurements(self) -> tuple[str, ...]:
        """The measurements that the cell was computed from."""
        return tuple(str(record["measurement"]) for record in self.records if record["measurement"]) or self.of_tasks

    def shown(self, decimals: int, marks: str | None = None) -> str:
        """The cell's text with its marks, or only with those in `marks`."""
        shown_marks = "".join(mark for mark in self.marks if marks is None or mark in marks)
        if self.value is None:
            return self.words + shown_marks
        return with_std(self.value, self.std, decimals) + shown_marks


def difference(ours: float, printed: Printed, decimals: int) -> str:
    """Ours minus the published number as text, also as a multiple of the published std if that is above 0."""
    delta = ours - printed.value
    std = float(printed.std or 0)
    return f"{delta:+.{decimals}f}" + (f" ({delta / std:+.1f}{TIMES_STD})" if std else "")


def stated(text: str, mark: str = "", value: float | None = None) -> Printed:
    """A published number from its text. `value` overrides the number that the text gives."""
    return Printed(value=float(text) if value is None else value, text=text, mark=mark)


def printed(row: Mapping[str, str]) -> Printed:
    """The published number of a row of results/published, marked where its weights were never released."""
    mark = "" if is_reproducible(row["model"], row["pretrain"]) else NOT_RELEASED
    return Printed(value=float(row["value"]), text=row["value"], std=row.get("std", ""), mark=mark)
