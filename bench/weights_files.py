"""`weights inspect FILE` and `weights convert FILE OUT`: what a weights file holds, and the same in another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from .console import stdout

if TYPE_CHECKING:
    from ..models.weights.inspect import Report

FILE = Annotated[
    str, typer.Argument(help="A weights file, a folder of the hub's kind, or FILE:PART.", show_default=False)
]
OUT = Annotated[Path, typer.Argument(help="The file to write: .npz or .safetensors.", show_default=False)]


def inspect_verb(file: FILE) -> None:
    """Say what a weights file holds: whose names, which row it fits, its head, its resolution, and what is wrong."""
    from ..models.weights.inspect import inspect

    report = inspect(file)
    table = Table.grid(padding=(0, 2))
    for name, text in _lines(report):
        table.add_row(*map(Text, (name, text)))
    stdout().print(table)


def convert_verb(file: FILE, out: OUT) -> None:
    """Write a weights file in another format: .npz with the official names, .safetensors with ours.

    Official files come back bit for bit. timm's state dicts and ours become either. Nothing is written over.
    """
    from ..models.weights.convert import convert

    screen = stdout()
    for note in convert(file, out):
        screen.say(note)
    screen.say(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


def _lines(report: Report) -> list[tuple[str, str]]:
    """The report's facts, each with its name; what does not apply is left out."""
    convention = {
        "official": "the official release's",
        "timm": "timm's",
        "ours": "this project's",
        "unknown": "unknown: fits one's own model only",
    }[report.convention]
    lines = [
        ("file", str(report.path)),
        ("names", convention),
        ("part", report.part or ""),
        ("row", " or ".join(report.candidates)),
        ("parameters", f"{report.parameters:,} in {report.tensors} tensors"),
        ("types", ", ".join(f"{kind} ({count})" for kind, count in report.dtypes)),
        ("head", f"{report.classes} classes" if report.classes is not None else "none"),
        ("pre-logits", f"tanh layer of width {report.pre_logits}" if report.pre_logits else ""),
        ("grid", _grid(report)),
        *(("note", note) for note in report.notes),
        *_provenance(report),
        *(("problem", problem) for problem in report.problems),
    ]
    return [(name, text) for name, text in lines if text]


def _grid(report: Report) -> str:
    if report.grid is None:
        return ""
    tokens = f"{report.grid[0]}x{report.grid[1]} position embeddings"
    if report.image_size is None:
        return tokens
    return f"{tokens}, of images of {report.image_size[0]}x{report.image_size[1]} pixels"


def _provenance(report: Report) -> list[tuple[str, str]]:
    known = report.provenance
    if known is None:
        return []
    return [
        ("pre-trained on", known.pretrain or ""),
        ("images", f"{known.images:,}" if known.images is not None else ""),
        ("epochs", f"{known.epochs:g}" if known.epochs is not None else ""),
        ("core-days", f"{known.core_days:g}" if known.core_days is not None else ""),
    ]
