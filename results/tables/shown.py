"""Finished tables as Python hands them out: they show themselves, and become a DataFrame, a text or a file."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from ...registry import UsageError
from ...stable import replacing
from ..checks import writable
from ..choices import Format
from .arrange import Arrangement
from .render import FORMATS, plain, render, render_json, show_table, style_of
from .table import Table

if TYPE_CHECKING:
    import pandas as pd

WIDE = 10_000  # characters: no table is broken, and no note


class Tables(Sequence["Tables"]):
    """One table or several. A notebook shows them as HTML with their notes, `print` as the command line does.

    An item is a `Tables` of one: `for one in tables: one.title, one.frame`.
    """

    def __init__(self, tables: Iterable[Table], arrangement: Arrangement | None = None) -> None:
        """Raises UsageError where the tables do not have what the arrangement names."""
        self._tables = (arrangement or Arrangement()).of(tables)

    def of(self, style: Format) -> Sequence[Table]:  # noqa: ARG002  # a comparison asks
        """The tables that stand for these in a format."""
        return self._tables

    def __len__(self) -> int:
        return len(self.of("html"))

    @overload
    def __getitem__(self, place: int) -> Tables: ...
    @overload
    def __getitem__(self, place: slice) -> Tables: ...
    def __getitem__(self, place: int | slice) -> Tables:
        found = self.of("html")[place]
        return Tables([found] if isinstance(found, Table) else found)

    @property
    def title(self) -> str:
        """The title of the table. Raises UsageError where there are several."""
        return self._only(self.of("html")).title

    @property
    def notes(self) -> tuple[str, ...]:
        """The footnotes of all tables."""
        return tuple(note for table in self.of("html") for note in table.notes)

    @property
    def frame(self) -> pd.DataFrame:
        """The table as a DataFrame. A cell that is a number alone is that number, as rounded as it is shown; a cell
        with a mark or a spread is its text; an empty one is None. Raises UsageError where there are several tables.
        """
        import pandas as pd

        table = self._only(self.of("csv"))
        return pd.DataFrame([[plain(cell) for cell in row] for row in table.rows], columns=list(table.columns))

    @staticmethod
    def _only(tables: Sequence[Table]) -> Table:
        if len(tables) != 1:
            raise UsageError(
                f"here are {len(tables)} tables: {'; '.join(table.title for table in tables)}. Take one: tables[0]"
            )
        return tables[0]

    def to(self, format: Format) -> str:
        """The text in a format: terminal, github (Markdown), latex, html, csv or json.

        The notes stand below the tables, except in CSV. Raises UsageError for another format.
        """
        if format not in FORMATS:
            raise UsageError(f"format={format}: there is {', '.join(FORMATS)}")
        if format == "terminal":
            return self._text(WIDE)
        return render_json(self.of(format)) if format == "json" else "".join(render(t, format) for t in self.of(format))

    def save(self, path: str | Path, format: Format | None = None) -> None:
        """Write the text to a file, whole or not at all; without `format` in that of its ending (.tex, .md, …).

        Raises UsageError for an ending that says no format, and for a file that cannot be written.
        """
        text = self.to(format or style_of(Path(path)))
        with writable(f"out={path}", "Type another out="), replacing(Path(path)) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _text(self, width: int, *, terminal: bool = False) -> str:
        from rich.console import Console

        file = io.StringIO()
        console = Console(file=file, width=width, force_terminal=terminal, force_jupyter=False, color_system=None)
        for table in self.of("terminal"):
            show_table(table, console)
        return file.getvalue()

    def __str__(self) -> str:
        """As the command line prints it here."""
        return self._text(shutil.get_terminal_size().columns, terminal=sys.stdout.isatty())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.to("html")
