"""What records and cells say of a job besides its numbers: origin of the weights, settings, files read."""

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
    """The origin of a job's weights, as fields of a Record: `pretrain`, and everything else in `provenance`."""
    known = {name: value for name, value in asdict(job.weights.provenance()).items() if value is not None}
    return {"pretrain": known.pop("pretrain", ""), "provenance": known}


def settings_of(cell: Cell) -> Mapping[str, Any]:
    """All settings of the suite, from the cell's identity."""
    settings = cell.identity.get("settings")
    return settings if isinstance(settings, Mapping) else {}


def files_read(cell: Cell) -> list[str]:
    """A line for each file that was read: path, size, whether it has changed since, and digest."""
    return [_file(item) for item in cell.inputs]


def _file(item: Mapping[str, Any]) -> str:
    path = Path(item["path"])
    state = "gone" if not path.exists() else "CHANGED since" if changed([item]) else "unchanged"
    return f"{path}  {item['size']:,} bytes, {state}, sha256 {str(item['sha256'])[:16]}"
