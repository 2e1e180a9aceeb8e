"""A finished table as text: for the terminal (rich), or as GitHub Markdown, LaTeX, CSV or HTML."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ...registry import UsageError
from ..choices import Format
from .table import Table

if TYPE_CHECKING:
    from rich.console import Console

FORMATS: tuple[Format, ...] = get_args(Format)
ENDINGS: dict[str, Format] = {
    ".txt": "terminal",
    ".md": "github",
    ".tex": "latex",
    ".html": "html",
    ".csv": "csv",
    ".json": "json",
}
TEXT_WIDTH = 345.0  # points: of LaTeX's class article on A4 at 10 pt
VERDICTS = {"better": "green", "worse": "red", "mixed": "yellow", "suspect": "yellow", "failed": "red"}  # colours
SMALLEST = 0.6  # the least scale of a LaTeX table
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


def style_of(path: Path) -> Format:
    """The format that a file's ending says. Raises UsageError for one that says none."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"out={path}: add format=, or one of the endings {', '.join(ENDINGS)}")
    return ENDINGS[ending]


def render(table: Table, style: Format) -> str:
    """The table as text in a format, with its notes below it, except in CSV."""
    if style == "csv":
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([table.columns, *table.rows])
        return file.getvalue()
    if style == "json":
        return render_json([table])
    writers = {"html": _html, "latex": _latex, "github": _github}
    if style not in writers:
        raise ValueError(f"no such format: {style}")
    return writers[style](table)


def render_json(tables: Sequence[Table]) -> str:
    """A list of tables as JSON, each with title, columns, rows (a list of cells a row) and notes.

    A cell that is a number alone is a number; one with a mark or a spread stays text; an empty one is null.
    """
    return (
        json.dumps(
            [
                {
                    "title": table.title,
                    "columns": table.columns,
                    "rows": [[plain(cell) for cell in row] for row in table.rows],
                    "notes": table.notes,
                }
                for table in tables
            ],
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


def plain(cell: str) -> str | float | int | None:
    """The number that a cell is, None for an empty cell, and any other text unchanged."""
    if re.fullmatch(r"[+\N{MINUS SIGN}-]?(0|[1-9]\d{0,2}(,\d{3})+|[1-9]\d*)(\.\d+)?(e[+-]?\d{1,2})?", cell):
        return json.loads(cell.replace("\N{MINUS SIGN}", "-").removeprefix("+").replace(",", ""))
    return cell or None


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
    """A LaTeX table environment, or several, that need the packages booktabs and, where scaled, graphicx.

    A table wider than the text is transposed if that is narrower, then scaled; what would have to be scaled to less
    than SMALLEST is split into parts. The width is reckoned from the number of characters.
    """
    widest = TEXT_WIDTH / SMALLEST
    layouts = [_split(whole, lambda part: _points(part) <= widest) for whole in (table, _transposed(table))]
    parts = min(layouts, key=lambda pieces: (len(pieces), max(max(map(_points, pieces)), TEXT_WIDTH)))
    scaled = any(_points(part) > TEXT_WIDTH for part in parts)
    needs = r"% needs \usepackage{booktabs}" + (r" and \usepackage{graphicx}" if scaled else "") + "\n"
    return needs + "".join(_latex_part(part, last=part is parts[-1], first=part is parts[0]) for part in parts)


def _latex_part(table: Table, *, first: bool, last: bool) -> str:
    lines = [" & ".join(row) + r" \\" for row in _marked(table, _tex, r"\textbf{{}}")]
    for i in sorted(table.rules, reverse=True):
        lines.insert(i, r"\midrule")
    layout = "l" * table.labels + "r" * (len(table.columns) - table.labels)
    notes = [rf"{_tex(note)}\\" for note in table.notes] if last else []
    below = [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize", *notes, r"\end{minipage}"]
    scale = _points(table) > TEXT_WIDTH
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.title)}}}",
            *([rf"\label{{{table.latex_label}}}"] if table.latex_label and first else ()),
            *([r"\resizebox{\linewidth}{!}{%"] if scale else ()),
            rf"\begin{{tabular}}{{{layout}}}",
            r"\toprule",
            " & ".join(map(_tex_heading, _headings(table, hyphen="-"))) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}" + ("}" if scale else ""),
            *(below if notes else ()),
            r"\end{table}",
            "",
        ]
    )


def _points(table: Table) -> float:
    """About how wide LaTeX sets the table at 10 pt, in points."""
    columns = zip(_headings(table, hyphen="-"), *table.rows, strict=True)
    return sum(5.0 * max(len(line) for cell in column for line in cell.split("\n")) + 12 for column in columns)


def _headings(table: Table, hyphen: str = "-\n") -> list[str]:
    """The headings as they are set above numbers: in several lines."""
    return [name if i < table.labels else _broken_heading(name, hyphen) for i, name in enumerate(table.columns)]


def _tex_heading(heading: str) -> str:
    lines = [_tex(line) for line in heading.split("\n")]
    return lines[0] if len(lines) == 1 else r"\shortstack[r]{" + r"\\".join(lines) + "}"


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
    """Print the table. One that is too wide for a terminal, or for COLUMNS, is transposed or split into parts.

    Its title and notes are wrapped between words, elsewhere at the width of the table.
    """
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table as RichTable
    from rich.text import Text

    def build(part: Table) -> RichTable:
        made = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for i, heading in enumerate(_headings(part)):
            made.add_column(Text(heading), justify="left" if i < part.labels else "right", no_wrap=True)
        for i, row in enumerate(part.rows):
            # Text, so that "[depth=2]" is not read as markup
            cells = [Text(cell, style=_style(part, i, j)) for j, cell in enumerate(row)]
            made.add_row(*cells, end_section=i + 1 in part.rules)
        return made

    def width(part: Table) -> int:
        return Measurement.get(console, console.options.update(width=10_000), build(part)).maximum

    def wrapped(text: str, style: str) -> None:
        for line in textwrap.wrap(text, across, break_long_words=False, break_on_hyphens=False):
            console.print(line, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)

    parts, across = [table], console.width
    if width(table) > across and not (console.is_terminal or os.environ.get("COLUMNS")):
        across = width(table)
    elif width(table) > across:
        layouts = [_split(part, lambda piece: width(piece) <= console.width) for part in (_transposed(table), table)]
        parts = min(layouts, key=len)
    for piece in parts:
        wide = width(piece)
        if wide > console.width:  # let the terminal break the lines instead of cutting them
            new, shown = type(console), console.is_terminal
            console = new(file=console.file, width=wide, force_terminal=shown, force_jupyter=False)
        wrapped(piece.title, "table.title")
        console.print(build(piece))
    for note in table.notes:
        wrapped(note, "dim")


def _style(table: Table, row: int, column: int) -> str:
    """How a terminal shows a cell: bold as the table says, verdicts in colour."""
    words = table.rows[row][column].split()
    is_verdict = "verdict" in (table.columns[column], table.rows[row][0])  # of a transposed table, too
    colour = VERDICTS.get(words[0], "") if is_verdict and words else ""
    return f"{'bold' if (row, column) in table.bold else ''} {colour}".strip()


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
        title = table.title if not parts else f"{table.title} (continued)"
        return replace(table.part([*range(table.labels), *columns]), title=title)

    for column in range(table.labels, len(table.columns)):
        if fitting and not fits(part([*fitting, column])):
            parts.append(part(fitting))
            fitting = []
        fitting.append(column)
    return [*parts, part(fitting)]


def _broken_heading(heading: str, hyphen: str) -> str:
    """A heading broken into several lines, so that a column is not much wider than its numbers."""
    if ", " in heading:  # a model and what it was pre-trained on
        return heading.replace(", ", "\n").replace(" (", "\n(").replace(" + ", "\n+ ")
    return {"specialized": "special-\nized", "structured": "struc-\ntured"}.get(
        heading, heading.replace("-", hyphen).replace(" ", "\n")
    )


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*_<>`\[\]])", r"\\\1", text)


def _tex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)
