"""What the formats share: which records can be told, and how a number of another project becomes a cell of ours."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ...stable import file_sha, sha
from ..record import Cell, Record, short

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Published:
    """One number as another project states it, before it is a record of ours."""

    suite: str
    protocol: str  # theirs, in words: it enters the question, so that it never mixes with what was measured here
    model: str
    metric: str
    value: float
    unit: str
    weights: str = ""
    task: str = ""
    seed: int | None = None
    device: str = ""  # as they name the machine, where they do
    at: Mapping[str, Any] = field(default_factory=dict)
    treatment: Mapping[str, Any] = field(default_factory=dict)


def cells_of(path: Path, kind: str, found: Iterable[Published]) -> list[Cell]:
    """A cell for each model, weights and task of a file. `kind` is the format; the source column says so.

    Raises UsageError, naming the file, where two numbers of it claim the same place.
    """
    groups: dict[tuple[str, ...], list[Published]] = {}
    for one in found:
        groups.setdefault((one.suite, one.protocol, one.model, one.weights, one.task), []).append(one)
    digest = file_sha(path)[:16]
    stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    cells = []
    for number, (place, group) in enumerate(groups.items()):
        identity = {"imported": kind, "source": f"imported:{kind}", "file": path.name, "place": list(place)}
        key = sha(identity | {"sha256": digest})
        records = []
        seen: set[str] = set()
        for one in group:
            question = {
                "protocol": one.protocol,
                "published_by": kind,
                "file": path.name,
                "task": one.task,
                "metric": one.metric,
            }
            where = json.dumps([one.metric, one.seed, dict(one.at), dict(one.treatment)], sort_keys=True)
            if where in seen:
                raise UsageError(
                    f"{path}: {one.metric} of {one.model} {one.task} stands there twice, with the same settings"
                )
            seen.add(where)
            records.append(
                Record(
                    suite=one.suite,
                    protocol=one.protocol,
                    model=one.model,
                    weights=one.weights or "published",
                    task=one.task,
                    source=f"imported:{kind}",
                    seed=one.seed,
                    metric=one.metric,
                    value=one.value,
                    unit=one.unit,
                    device=one.device,
                    verdict="published",
                    measurement=f"{key}/{len(records)}",
                    protocol_sha=short(question),
                    treatment_sha=short(one.treatment),
                    started_at=stamp,
                    at=one.at,
                    question=question,
                    treatment=one.treatment,
                    env={"imported_from": path.name, "imported_sha256": digest},
                )
            )
        cells.append(
            Cell(
                key=key,
                slot=sha(identity),
                order=("imported", kind, path.name, number),
                identity=identity,
                status="ok",
                started_at=stamp,
                records=tuple(records),
            )
        )
    if not cells:
        raise UsageError(f"{path} holds no number of the format {kind}")
    return cells


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
    """The model as a foreign table can name it: with its variant, and with its weights as timm writes a tag."""
    variant = f"[{row['variant']}]" if row["variant"] else ""
    return f"{row['model']}{variant}.{row['weights']}" if row["weights"] else f"{row['model']}{variant}"
