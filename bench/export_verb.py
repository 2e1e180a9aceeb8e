"""`export` and `import`: records out in other projects' formats, and theirs in, marked as published."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..registry import UsageError, suggest

PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
Words = Annotated[list[str] | None, typer.Argument(metavar="RUN... [out=DIR]", show_default=False)]
Files = Annotated[list[str] | None, typer.Argument(metavar="FILE... out=RUN", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="timm|clip_benchmark|mteb|bundle", show_default=False)]


def export_verb(name: Name, words: Words = None) -> None:
    """Write records as others do: `export timm|clip_benchmark|mteb|bundle RUN... [out=DIR] [trailer=true]`.

    RUN is a run directory or a results CSV. Files go to `out` (default: the working folder; a bundle may be named:
    `out=FILE.zip`). What a format cannot express is named. `trailer=true` prints timm's `--result` and JSON for its
    bulk runner.
    """
    from ..results.exports import formats
    from ..results.record import load
    from ..stable import replacing
    from .config import read_value

    row = formats()[name]
    paths, options = _read(words or [], ("out", "trailer"), "export")
    if not paths:
        raise UsageError(f"say what to export: `export {row.name} runs/vtab-mini`")
    frame = load(*paths)
    done = row.write(frame)
    say = Console(stderr=True)
    for line in done.left_out:
        say.print(f"left out: {line}", **PLAIN)
    if not done.files:
        raise UsageError(f"none of these records can be told in the format {row.name}; nothing is written")
    out = Path(options.get("out", "."))
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
            say.print(f"wrote {path}", **PLAIN)
    if len(done.files) > 10:
        say.print(f"wrote {len(done.files)} files to {out}", **PLAIN)
    if read_value("trailer", options.get("trailer", "false"), bool):
        from ..results.exports.timm import trailer

        if row.name != "timm":
            raise UsageError("trailer=true belongs to `export timm`")
        sys.stdout.write(trailer(frame))


def import_verb(name: Name, words: Files = None) -> None:
    """Read others' numbers into a run directory: `import timm|clip_benchmark|mteb|bundle FILE... out=RUN`.

    Their source column says `imported:FORMAT` and their question names the protocol and file, so that no table mixes
    them with what was measured here. The cells of a bundle are measurements and stay as they are.
    """
    from ..results.exports import formats
    from ..results.record import Store

    row = formats()[name]
    paths, options = _read(words or [], ("out",), "import")
    if not paths or "out" not in options:
        raise UsageError(f"say which files, and where to: `import {row.name} FILE... out=runs/published`")
    incoming = [row.read(path) for path in paths]  # all of it before any is written
    store = Store(Path(options["out"]))
    count = 0
    for found in incoming:
        for cell in found.cells:
            store.put(cell, found.arrays.get(cell.key))
            count += len(cell.records)
    path = store.write_results()
    Console(stderr=True).print(f"{count} records of {len(paths)} files: {path}", **PLAIN)


def _read(words: list[str], known: tuple[str, ...], verb: str) -> tuple[list[Path], dict[str, str]]:
    options = dict(word.split("=", 1) for word in words if "=" in word and not Path(word).exists())
    for key in options:
        if key not in known:
            raise UsageError(f"{verb} has no setting '{key}'. {suggest(key, known)}")
    paths = [Path(word) for word in words if "=" not in word or Path(word).exists()]
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no file or run directory at {path}")
    return paths, options
