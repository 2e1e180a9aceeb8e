"""Read others' numbers into a run directory: `import FORMAT FILE... out=RUN`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...registry import UsageError
from ...results.exports import formats
from ...results.store import Store
from ..console import stderr
from ..words import option
from .command import both, listed, path_on_disk, read_words, single
from .export import Name

Files = Annotated[list[str] | None, typer.Argument(metavar="FILE... out=RUN", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The run directory for the records."""

    out: Path | None = option(None, "the run directory; it must be named", shown="RUN")


def import_verb(name: Name, words: Files = None) -> None:
    """Their source column says `imported:FORMAT` and their question names the protocol and file, so that no table mixes
    them with what was measured here. The cells of a bundle are measurements and stay as they are.
    """
    row, (paths, options) = both(
        lambda: formats()[name],
        lambda: read_words(words or [], ImportOptions, "import", name=_file, paths=True),
    )
    if not paths or options.out is None:
        raise UsageError(f"say which files, and where to: `import {row.name} FILE... out=runs/published`")
    incoming = [row.read(path) for path in paths]  # all files are read before any record is written
    store = Store(options.out)
    count = 0
    for imported in incoming:
        for cell in imported.cells:
            store.put(cell, imported.arrays.get(cell.key), imported.curves.get(cell.key))
            count += len(cell.records)
    path = store.write_results()
    stderr().say(f"{count} records of {len(paths)} files: {path}")


def _file(word: str) -> Path:
    return path_on_disk(word, "file or run directory")


app = single(import_verb, listed(ImportOptions))
