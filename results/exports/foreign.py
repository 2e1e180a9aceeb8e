"""What the formats share: which records can be told, and how a number of another project becomes a cell of ours."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ...stable import file_sha, sha
from ..record import Cell, Record, short

if TYPE_CHECKING:
    import pandas as pd


def cells_of(path: Path, kind: str, found: Iterable[Record]) -> list[Cell]:
    """A cell for each model, weights and task of a file. `kind` is the format; the source column says so.

    `found` are its numbers. Their protocol is in the other project's words and enters the question, so that they never
    mix with what was measured here. Raises UsageError, naming the file, where two of them claim the same place.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for one in found:
        groups.setdefault((one.suite, one.protocol, one.model, one.weights, one.task), []).append(one)
    if not groups:
        raise UsageError(f"{path} holds no number of the format {kind}")
    digest = file_sha(path)[:16]
    stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    cells = []
    for number, (place, group) in enumerate(groups.items()):
        _refuse_twice(path, group)
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
                    replace(_published(one, kind, path), measurement=f"{key}/{i}", **base)
                    for i, one in enumerate(group)
                ),
            )
        )
    return cells


def _refuse_twice(path: Path, group: Sequence[Record]) -> None:
    seen: set[str] = set()
    for one in group:
        where = json.dumps([one.metric, one.seed, dict(one.at), dict(one.treatment)], sort_keys=True)
        if where in seen:
            raise UsageError(
                f"{path}: {one.metric} of {one.model} {one.task} stands there twice, with the same settings"
            )
        seen.add(where)


def _published(one: Record, kind: str, path: Path) -> Record:
    question = {
        "protocol": one.protocol,
        "published_by": kind,
        "file": path.name,
        "task": one.task,
        "metric": one.metric,
    }
    return replace(
        one,
        weights=one.weights or "published",
        question=question,
        protocol_sha=short(question),
        treatment_sha=short(one.treatment),
    )


def left_out(frame: pd.DataFrame, why: str) -> list[str]:
    """A line for each kind of record that a format cannot express, with how many there are."""
    lines = []
    columns = ["suite", "metric", "status"]
    for (suite, metric, status), part in frame.groupby(columns, sort=False, dropna=False):
        what = f"{status} " if status != "ok" else ""
        models = list(dict.fromkeys(part["model"]))
        who = ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")
        lines.append(f"{len(part)} {what}records of {metric or 'no metric'} (suite {suite}; {who}): {why}")
    return lines


def number(value: Any, path: Path, row: str, column: str) -> float:
    """A finite number, or a UsageError that names file, row and column."""
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: {row}, column {column}: '{value}' is no number") from error
    if not math.isfinite(found):
        raise UsageError(f"{path}: {row}, column {column}: {value} is no finite number")
    return found


def read_json(path: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object with at least these keys. Raises UsageError, naming the file and the key."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} is no JSON file: {error}") from error
    missing = [name for name in needed if not isinstance(body, dict) or name not in body]
    if missing:
        raise UsageError(f"{path} has no key '{missing[0]}': it needs {', '.join(needed)}")
    return body


def label(row: Mapping[Any, Any]) -> str:
    """The model as a foreign table can name it: with its variant."""
    return f"{row['model']}[{row['variant']}]" if row["variant"] else str(row["model"])


def name_of_file(text: str) -> str:
    """The text without signs that a file's name may not have."""
    return re.sub(r"[^\w.+=\[\]-]", "_", text)


def share(value: Any, path: Path, row: str, column: str, whole: float = 1) -> float:
    """A number from 0 to `whole`, which is 1 for a fraction and 100 for a percentage, or a UsageError."""
    found = number(value, path, row, column)
    if not 0 <= found <= whole:
        kind = "fraction" if whole == 1 else "percentage"
        raise UsageError(f"{path}: {row}, column {column}: {found:g} is no {kind}")
    return found
