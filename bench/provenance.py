"""What records say of a job beside its numbers: where its weights come from, its settings, and the files it read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fingerprint import changed

if TYPE_CHECKING:
    from ..results.record import Cell
    from .job import Job


def provenance_columns(job: Job) -> dict[str, Any]:
    """Where a job's weights come from, as fields of a Record: `pretrain`, and what else is known in `provenance`."""
    known = {name: value for name, value in asdict(job.weights.provenance()).items() if value is not None}
    return {"pretrain": known.pop("pretrain", ""), "provenance": known}


def settings_of(cell: Cell) -> Mapping[str, Any]:
    """Every setting of the suite, as the cell's identity states it."""
    found = cell.identity.get("settings")
    return found if isinstance(found, Mapping) else {}


def files_read(cell: Cell) -> list[str]:
    """A line a file that was read: its size, its digest and whether it is still what it was."""
    return [_file(item) for item in cell.inputs]


def _file(item: Mapping[str, Any]) -> str:
    path = Path(item["path"])
    state = "gone" if not path.exists() else "CHANGED since" if changed([item]) else "unchanged"
    return f"{path}  {item['size']:,} bytes, {state}, sha256 {str(item['sha256'])[:16]}"
