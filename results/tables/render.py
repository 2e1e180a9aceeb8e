"""A finished table as text: for the terminal (rich), or as GitHub Markdown, LaTeX, CSV or HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from ..choices import Format
from .table import Table

if TYPE_CHECKING:
    from rich.console import Console

FORMATS: tuple[Format, ...] = get_args(Format)
LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{sign: f"$^{digit}$" for digit, sign in enumerate("\N{SUPERSCRIPT ZERO}¹²³⁴⁵⁶⁷⁸⁹")},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "‖": r"\textbardbl{}",
    "…": r"\dots{}",
    "·": r"$\cdot$",
}


def render(table: Table, style: Format) -> str:
    """The table as text in a format, with its notes below it, except in CSV."""
    if style == "csv":
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([table.columns, *table.rows])
        return file.getvalue()
    writers = {"html": _html, "latex": _latex, "github": _github}
    if style not in writers:
        raise ValueError(f"no such format: {style}")
    return writers[style](table)


def _marked(table: Table, escape, strong: str) -> list[list[str]]:
    """The escaped cells; bold cells are inserted at {} in `strong`."""
    return [
        [strong.replace("{}", escape(cell)) if (i, j) in table.bold else escape(cell) for j, cell in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]


def _github(table: Table) -> str:
    from tabulate import tabulate

    notes = "".join(f"- {_markdown(note)}\n" for note in table.notes)
    body = tabulate(
        _marked(table, _markdown, "**{}**"),
        headers=[_markdown(name) for name in table.columns],
        tablefmt="github",
        colalign=["left"] * table.labels + ["right"] * (len(table.columns) - table.labels),
        disable_numparse=True,
    )
    return f"**{_markdown(table.title)}**\n\n{body}\n\n{notes}"


def _latex(table: Table) -> str:
    """A LaTeX table environment that needs the package booktabs."""
    lines = [" & ".join(row) + r" \\" for row in _marked(table, _tex, r"\textbf{{}}")]
    for i in sorted(table.rules, reverse=True):
        lines.insert(i, r"\midrule")
    layout = "l" * table.labels + "r" * (len(table.columns) - table.labels)
    notes = [rf"{_tex(note)}\\" for note in table.notes]
    below = [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize", *notes, r"\end{minipage}"]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.title)}}}",
            rf"\begin{{tabular}}{{{layout}}}",
            r"\toprule",
            " & ".join(map(_tex, table.columns)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *(below if notes else ()),
            r"\end{table}",
            "",
        ]
    )


def _html(table: Table) -> str:
    def line(cells: Sequence[str], tag: str, mark: str = "") -> str:
        scope = ' scope="col"' if tag == "th" else ""
        return f"<tr{mark}>" + "".join(f"<{tag}{scope}>{cell}</{tag}>" for cell in cells) + "</tr>\n"

    rows = _marked(table, html.escape, "<strong>{}</strong>")
    body = "".join(line(row, "td", ' class="rule"' if i in table.rules else "") for i, row in enumerate(rows))
    notes = "".join(f"<li>{html.escape(note)}</li>\n" for note in table.notes)
    return (
        f"<table>\n<caption>{html.escape(table.title)}</caption>\n"
        f"<thead>\n{line([html.escape(name) for name in table.columns], 'th')}</thead>\n"
        f"<tbody>\n{body}</tbody>\n</table>\n" + (f"<ul>\n{notes}</ul>\n" if notes else "")
    )


def show_table(table: Table, console: Console) -> None:
    """Print the table to a terminal. A table that is too wide is transposed or split into parts."""
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table as RichTable
    from rich.text import Text

    def build(part: Table) -> RichTable:
        made = RichTable(title=part.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for i, name in enumerate(part.columns):
            heading = name if i < part.labels else _broken_heading(name)
            made.add_column(Text(heading), justify="left" if i < part.labels else "right", no_wrap=True)
        for i, row in enumerate(part.rows):
            # Text, so that "[depth=2]" is not read as markup
            cells = [Text(cell, style="bold" if (i, j) in part.bold else "") for j, cell in enumerate(row)]
            made.add_row(*cells, end_section=i + 1 in part.rules)
        return made

    def width(part: Table) -> int:
        return Measurement.get(console, console.options.update(width=10_000), build(part)).maximum

    parts = [table]
    if console.is_terminal and width(table) > console.width:
        layouts = [_split(part, lambda piece: width(piece) <= console.width) for part in (_transposed(table), table)]
        parts = min(layouts, key=len)
    for piece in parts:
        wide = width(piece)
        if wide > console.width:  # let the terminal break the lines instead of cutting them
            console = type(console)(file=console.file, width=wide, force_terminal=console.is_terminal)
        console.print(build(piece))
    for note in table.notes:
        console.print(note, style="dim", markup=False, emoji=False, highlight=False, soft_wrap=True)


def _transposed(table: Table) -> Table:
    """The table transposed. The labels of a row become one heading."""
    headings = [", ".join(filter(None, row[: table.labels])) for row in table.rows]
    lines = list(zip(table.columns[table.labels :], *(row[table.labels :] for row in table.rows), strict=True))
    bold = frozenset((column - table.labels, row + 1) for row, column in table.bold)
    columns = (table.columns[0], *headings)
    return replace(table, columns=columns, rows=tuple(lines), labels=1, rules=frozenset(), bold=bold)


def _split(table: Table, fits) -> list[Table]:
    """The table in parts that fit, each with the label columns and as many others as possible."""
    parts: list[Table] = []
    fitting: list[int] = []

    def part(columns: Sequence[int]) -> Table:
        shown = [*range(table.labels), *columns]
        return replace(
            table,
            title=table.title if not parts else f"{table.title} (continued)",
            columns=tuple(table.columns[i] for i in shown),
            rows=tuple(tuple(row[i] for i in shown) for row in table.rows),
            bold=frozenset((row, shown.index(i)) for row, i in table.bold if i in shown),
        )

    for column in range(table.labels, len(table.columns)):
        if fitting and not fits(part([*fitting, column])):
            parts.append(part(fitting))
            fitting = []
        fitting.append(column)
    return [*parts, part(fitting)]


def _broken_heading(heading: str) -> str:
    """A heading broken into several lines, so that a column is not much wider than its numbers."""
    if ", " in heading:  # a model and what it was pre-trained on
        return heading.replace(", ", "\n").replace(" (", "\n(").replace(" + ", "\n+ ")
    return {"specialized": "special-\nized", "structured": "struc-\ntured"}.get(
        heading, heading.replace("-", "-\n").replace(" ", "\n")
    )


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*_<>`\[\]])", r"\\\1", text)


def _tex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)
