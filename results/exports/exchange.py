"""The registry row of a format, its exports and imports, and what formats share: cells, checked numbers, notes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ...stable import file_sha, sha
from ..record import Cell, Record, short

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Written:
    """An export: the bytes of files by path below `out`, and a line for each kind of record that the format lacks.

    Raises UsageError for a path that leads out of `out`, since paths contain names from records.
    """

    files: Mapping[str, bytes]
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.files:
            path = PureWindowsPath(name)  # splits at / and at \
            if path.anchor or ".." in path.parts:
                raise UsageError(
                    f"these records would be written to '{name}', outside of out=. One of them has a path as its "
                    "model, weights, task or setting: correct that"
                )


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """An import, already checked: cells, and their arrays and curves by the cell's key."""

    cells: Sequence[Cell]
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)  # predictions and other arrays
    curves: Mapping[str, bytes] = field(default_factory=dict)  # training curves, as CSV


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One row of the registry of formats. `write` exports records, `read` imports a file."""

    name: str
    summary: str
    write: Callable[[pd.DataFrame], Written]
    read: Callable[[Path], Incoming]
    trailer: Callable[[pd.DataFrame], str] | None = None  # text that its bulk runner reads at the end of the output
    aliases: tuple[str, ...] = ()
    in_globs: bool = True


def cells_of(path: Path, kind: str, records: Iterable[Record]) -> list[Cell]:
    """A cell for each model, weights and task of an imported file. `kind` is the format, which the column source names.

    The protocol of `records` is in the other project's words and part of the question, so that they never mix with
    records measured here. Raises UsageError, naming the file, for no records and for duplicates.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((record.suite, record.protocol, record.model, record.weights, record.task), []).append(record)
    if not groups:
        raise UsageError(f"{path} holds no number of the format {kind}")
    digest = file_sha(path)[:16]
    stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    cells = []
    for number, (place, group) in enumerate(groups.items()):
        _refuse_duplicates(path, group)
        identity = {"imported": kind, "source": f"imported:{kind}", "file": path.name, "place": list(place)}
        key = sha(identity | {"sha256": digest})
        base = {
            "source": f"imported:{kind}",
            "verdict": "published",
            "started_at": stamp,
            "env": {"imported_from": path.name, "imported_sha256": digest},
        }
        cells.append(
            Cell(
                key=key,
                slot=sha(identity),
                order=("imported", kind, path.name, number),
                identity=identity,
                status="ok",
                started_at=stamp,
                records=tuple(
                    replace(_published(record, kind, path), measurement=f"{key}/{i}", **base)
                    for i, record in enumerate(group)
                ),
            )
        )
    return cells


def _refuse_duplicates(path: Path, group: Sequence[Record]) -> None:
    seen: set[str] = set()
    for record in group:
        settings = json.dumps([record.metric, record.seed, dict(record.at), dict(record.treatment)], sort_keys=True)
        if settings in seen:
            raise UsageError(
                f"{path}: {record.metric} of {record.model} {record.task} is in it twice, with the same settings"
            )
        seen.add(settings)


def _published(record: Record, kind: str, path: Path) -> Record:
    question = {
        "protocol": record.protocol,
        "published_by": kind,
        "file": path.name,
        "task": record.task,
        "metric": record.metric,
    }
    return replace(
        record,
        weights=record.weights or "published",
        question=question,
        protocol_sha=short(question),
        treatment_sha=short(record.treatment),
    )


def left_out(frame: pd.DataFrame, why: str) -> list[str]:
    """A line for each kind of record that a format cannot express: their number, what they are, and `why`."""
    lines = []
    columns = ["suite", "metric", "status"]
    for (suite, metric, status), part in frame.groupby(columns, sort=False, dropna=False):
        what = f"{status} " if status != "ok" else ""
        models = list(dict.fromkeys(part["model"]))
        who = ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")
        lines.append(f"{len(part)} {what}records of {metric or 'no metric'} (suite {suite}; {who}): {why}")
    return lines


def number(value: Any, path: Path, row: str, column: str) -> float:
    """The value as a float. Raises UsageError, naming file, row and column, if it is not a finite number."""
    try:
        parsed = float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: {row}, column {column}: '{value}' is no number") from error
    if not math.isfinite(parsed):
        raise UsageError(f"{path}: {row}, column {column}: {value} is no finite number")
    return parsed


def read_json(path: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    """A file's JSON object. Raises UsageError, naming the file, for other content and missing keys."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} is no JSON file: {error}") from error
    missing = [name for name in needed if not isinstance(body, dict) or name not in body]
    if missing:
        raise UsageError(f"{path} has no key '{missing[0]}': it needs {', '.join(needed)}")
    return body


def label(row: Mapping[Any, Any]) -> str:
    """The model with its variant, as exported files name it."""
    return f"{row['model']}[{row['variant']}]" if row["variant"] else str(row["model"])


def name_of_file(text: str) -> str:
    """The text with characters that are unsafe in file names replaced by underscores."""
    return re.sub(r"[^\w.+=\[\]-]", "_", text)


def share(value: Any, path: Path, row: str, column: str, whole: float = 1) -> float:
    """`number` from 0 to `whole` (1: a fraction, 100: a percentage). Raises UsageError outside of that."""
    parsed = number(value, path, row, column)
    if not 0 <= parsed <= whole:
        kind = "fraction" if whole == 1 else "percentage"
        raise UsageError(f"{path}: {row}, column {column}: {parsed:g} is no {kind}")
    return parsed
