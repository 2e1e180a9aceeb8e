"""Files that a page holds for whoever wants to keep them: compressed, and given out by page.js."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, replace

from ..figures import Drawing
from ..tables import Table
from ..tables.render import render


@dataclass(frozen=True)
class EmbeddedFile:
    """A file by its name, and its bytes, compressed by zlib and written in base64."""

    name: str
    word: str  # on its button
    data: str


def compressed(data: bytes) -> str:
    """Bytes as text of a page; page.js reads it back."""
    return base64.b64encode(zlib.compress(data, 9)).decode()


def of_table(name: str, table: Table) -> list[EmbeddedFile]:
    """The table as CSV and as LaTeX."""
    table = replace(table, sources={})  # which take time where the table is divided
    texts = {"csv": ("CSV", render(table, "csv")), "tex": ("LaTeX", render(table, "latex"))}
    return [EmbeddedFile(f"{name}.{end}", word, compressed(text.encode())) for end, (word, text) in texts.items()]


def of_figure(name: str, drawing: Drawing, svg: bytes) -> list[EmbeddedFile]:
    """The figure as SVG and as PDF."""
    files = {"svg": svg, "pdf": drawing.render("pdf")}
    return [EmbeddedFile(f"{name}.{end}", end.upper(), compressed(data)) for end, data in files.items()]
