"""The screens that commands print on: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


class Screen(Console):
    """A rich Console that prints texts without markup, on a terminal or elsewhere.

    Messages on standard error that nobody can read, since its disk is full or its pipe closed, end nothing.
    """

    def say(self, text: str, style: str | None = None) -> None:
        """Print a text without markup and without breaking its lines."""
        self.print(text, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def print(self, *objects: Any, **how: Any) -> None:
        with suppress(OSError) if self.stderr else nullcontext():
            super().print(*objects, **how)

    def on_broken_pipe(self) -> None:
        raise  # the error that rich is handling, for `say` or the command line

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        whole: Container[str] = (),
        padding: tuple[int, int, int, int] = (0, 1, 0, 1),
    ) -> None:
        """Print rows of texts below the names of their columns. `whole` names the columns that are not broken."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=padding)
        for name in columns:
            table.add_column(name, no_wrap=name in whole, overflow="ellipsis" if name in whole else "fold")
        for row in rows:
            table.add_row(*map(Text, row))  # Text: "[depth=2]" is no markup
        self.print(table)


def stdout() -> Screen:
    return Screen(file=sys.stdout)


def stderr(*, quiet: bool = False) -> Screen:
    return Screen(stderr=True, quiet=quiet)
