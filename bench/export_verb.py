"""`export` and `import`: records out in other projects' formats, and theirs in, marked as published."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..registry import UsageError
from .console import stderr
from .words import Help, both, is_on_disk, read_runs, read_words

Words = Annotated[list[str] | None, typer.Argument(metavar="RUN... [KEY=VALUE]...", show_default=False)]
Files = Annotated[list[str] | None, typer.Argument(metavar="FILE... out=RUN", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="timm|clip_benchmark|mteb|bundle", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Where the files go, and what is printed besides."""

    out: Annotated[Path, Help("the folder for the files; a bundle may be named: `out=FILE.zip`", shown="DIR")] = Path()
    trailer: Annotated[bool, Help("print timm's `--result` and JSON for its bulk runner")] = False


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Where the records go."""

    out: Annotated[Path | None, Help("the run directory; it must be named", shown="RUN")] = None


def export_verb(name: Name, words: Words = None) -> None:
    """Write records as others do: `export timm|clip_benchmark|mteb|bundle RUN... [out=DIR] [trailer=true]`.

    RUN is a run directory or a results CSV. What a format cannot express is named.
    """
    from ..results.exports import formats
    from ..results.record import load
    from ..stable import replacing

    row, (paths, options) = both(lambda: formats()[name], lambda: read_runs(words or [], ExportOptions, "export"))
    if not paths:
        raise UsageError(f"say what to export: `export {row.name} runs/vtab-mini`")
    if options.trailer and row.name != "timm":
        raise UsageError("trailer=true belongs to `export timm`")
    frame = load(*paths)
    done = row.write(frame)
    screen = stderr()
    for line in done.left_out:
        screen.say(f"left out: {line}")
    if not done.files:
        raise UsageError(f"none of these records can be told in the format {row.name}; nothing is written")
    out = options.out
    single = len(done.files) == 1 and out.suffix in (".zip", ".csv", ".json")
    for inside, data in done.files.items():
        path = out if single else out / inside
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise UsageError(f"out={out} cannot be written ({error.strerror or error}). Type another out=") from error
        if len(done.files) <= 10:
            screen.say(f"wrote {path}")
    if len(done.files) > 10:
        screen.say(f"wrote {len(done.files)} files to {out}")
    if options.trailer:
        from ..results.exports.timm import trailer

        sys.stdout.write(trailer(frame))


def import_verb(name: Name, words: Files = None) -> None:
    """Read others' numbers into a run directory: `import timm|clip_benchmark|mteb|bundle FILE... out=RUN`.

    Their source column says `imported:FORMAT` and their question names the protocol and file, so that no table mixes
    them with what was measured here. The cells of a bundle are measurements and stay as they are.
    """
    from ..results.exports import formats
    from ..results.record import Store

    row, (paths, options) = both(
        lambda: formats()[name],
        lambda: read_words(words or [], ImportOptions, "import", name=_file, paths=True),
    )
    if not paths or options.out is None:
        raise UsageError(f"say which files, and where to: `import {row.name} FILE... out=runs/published`")
    incoming = [row.read(path) for path in paths]  # all of it before any is written
    store = Store(options.out)
    count = 0
    for found in incoming:
        for cell in found.cells:
            store.put(cell, found.arrays.get(cell.key), found.curves.get(cell.key))
            count += len(cell.records)
    path = store.write_results()
    stderr().say(f"{count} records of {len(paths)} files: {path}")


def _file(word: str) -> Path:
    if not is_on_disk(word):
        raise UsageError(f"there is no file or run directory at {word}")
    return Path(word)
