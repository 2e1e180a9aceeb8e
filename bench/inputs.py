"""What a job was made of besides its model and task: the settings of its suite, and the files it read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..results.record import Cell


def settings_of(cell: Cell) -> Mapping[str, Any]:
    """Every setting of the suite, as the cell's identity states it."""
    found = cell.identity.get("settings")
    return found if isinstance(found, Mapping) else {}


def files_read(cell: Cell) -> list[str]:
    """A line a file that was read: its size, its digest and whether it is still what it was."""
    return [_file(item) for item in cell.inputs]


def _file(item: Mapping[str, Any]) -> str:
    from .identity import changed

    path = Path(item["path"])
    state = "gone" if not path.exists() else "CHANGED since" if changed([item]) else "unchanged"
    return f"{path}  {item['size']:,} bytes, {state}, sha256 {str(item['sha256'])[:16]}"
