"""A finished table as text: for the terminal (rich), or as GitHub Markdown, LaTeX, CSV or HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from .tables import Table

if TYPE_CHECKING:
    from rich.console import Console

Format = Literal["terminal", "github", "latex", "csv", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)


def render(table: Table, style: Format) -> str:
    """The table in a file format, its notes below it (CSV is data alone)."""
    import pandas as pd
    from tabulate import tabulate

    frame = pd.DataFrame(list(table.rows), columns=list(table.columns))
    if style == "csv":
        return frame.to_csv(index=False)
    if style == "html":
        notes = "".join(f"<li>{html.escape(note)}</li>\n" for note in table.notes)
        body = frame.to_html(index=False, justify="left", border=0)
        return f"<h2>{html.escape(table.title)}</h2>\n{body}\n<ul>\n{notes}</ul>\n"
    layout = {
        "headers": table.columns,
        "colalign": ["left"] * table.labels + ["right"] * (len(table.columns) - table.labels),
        "disable_numparse": True,
    }
    if style == "latex":
        comments = "".join(f"% {line}\n" for line in (table.title, *table.notes))
        return f"{comments}{tabulate(table.rows, tablefmt='latex_booktabs', **layout)}\n"
    if style == "github":
        rows = [[_markdown(cell) for cell in row] for row in table.rows]
        notes = "".join(f"- {_markdown(note)}\n" for note in table.notes)
        return f"**{table.title}**\n\n{tabulate(rows, tablefmt='github', **layout)}\n\n{notes}"
    raise ValueError(f"no such format: {style}")


def show(table: Table, console: Console) -> None:
    """Print the table to a terminal; one that is too wide for it is turned on its side."""
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table as RichTable
    from rich.text import Text

    def build(columns: Sequence[str], rows: Sequence[Sequence[str]], rules: frozenset[int], labels: int) -> RichTable:
        made = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for i, name in enumerate(columns):
            heading = name if i < labels else _broken(name)
            made.add_column(Text(heading), justify="left" if i < labels else "right", no_wrap=True)
        for i, row in enumerate(rows):
            made.add_row(*map(Text, row), end_section=i + 1 in rules)  # Text: "[depth=2]" is no markup
        return made

    made = build(table.columns, table.rows, table.rules, table.labels)
    wide = Measurement.get(console, console.options.update(width=10_000), made).maximum
    if console.is_terminal and wide > console.width and table.labels == 1:
        turned = list(zip(table.columns, *table.rows, strict=True))
        made = build(turned[0], turned[1:], frozenset(), 1)
        wide = Measurement.get(console, console.options.update(width=10_000), made).maximum
    if wide > console.width:  # better broken by the terminal than cut
        console = type(console)(file=console.file, width=wide, force_terminal=console.is_terminal)
    console.print(made)
    for note in table.notes:
        console.print(note, style="dim", markup=False, emoji=False, highlight=False, soft_wrap=True)


def _broken(heading: str) -> str:
    """A heading on several lines, so that a column is hardly wider than its numbers."""
    return {"specialized": "special-\nized", "structured": "struc-\ntured"}.get(
        heading, heading.replace("-", "-\n").replace(" ", "\n")
    )


def _markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
