"""Write records as others do: `export FORMAT RUN... [out=DIR] [trailer=true]`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...registry import UsageError
from ...results.checks import writable
from ...results.exports import formats
from ...results.store import load
from ...stable import replacing
from ..console import stderr
from ..words import option
from .command import both, listed, read_runs, single

Words = Annotated[list[str] | None, typer.Argument(metavar="RUN... [KEY=VALUE]...", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="FORMAT", help="`list formats` shows them", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Where the files go, and what else is printed."""

    out: Path = option(Path(), "the folder for the files; a bundle may be named: `out=FILE.zip`", shown="DIR")
    trailer: bool = option(False, "print what the format's bulk runner looks for, as timm's `--result`")


def export_verb(name: Name, words: Words = None) -> None:
    """RUN is a run directory or a results CSV. What a format cannot express is named."""
    row, (paths, options) = both(lambda: formats()[name], lambda: read_runs(words or [], ExportOptions, "export"))
    if not paths:
        raise UsageError(f"say what to export: `export {row.name} runs/vtab-mini`")
    if options.trailer and row.trailer is None:
        able = [f"`export {other.name}`" for other in formats().values() if other.trailer is not None]
        raise UsageError(f"trailer=true belongs to {' and '.join(able)}")
    frame = load(*paths)
    written = row.write(frame)
    screen = stderr()
    for line in written.left_out:
        screen.say(f"left out: {line}")
    if not written.files:
        raise UsageError(f"none of these records can be expressed in the format {row.name}; nothing is written")
    out = options.out
    one_file = len(written.files) == 1 and out.suffix in (".zip", ".csv", ".json")
    for inside, data in written.files.items():
        path = out if one_file else out / inside
        with writable(f"out={out}", "Type another out="):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        if len(written.files) <= 10:
            screen.say(f"wrote {path}")
    if len(written.files) > 10:
        screen.say(f"wrote {len(written.files)} files to {out}")
    if options.trailer and row.trailer is not None:
        sys.stdout.write(row.trailer(frame))


app = single(export_verb, listed(ExportOptions))
