"""Replays of published numbers that people sent: a CSV file each, as `verify real NAME by=YOU` leaves it.

A file is a results CSV, which `table` reads. Its columns `env.replay`, `env.replay.by`, `env.replay.published`, … say
which replay it was, by whom, and how it ended.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from ..tables.table import Table

FOLDER = Path(__file__).parent
COLUMNS = {  # columns of a file: headings of the table
    "env.replay": "replay",
    "env.replay.by": "by",
    "started_at": "when",
    "device": "on",
    "env.replay.published": "published",
    "env.replay.measured": "measured",
    "env.replay.verdict": "verdict",
    "env.commit": "commit",
}


def sent(folder: Path = FOLDER) -> list[Mapping[str, str]]:
    """The first row of each file, the oldest replay first."""
    rows = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows += islice(csv.DictReader(file), 1)
    return sorted(rows, key=lambda row: row["started_at"])


def replayed_table(folder: Path = FOLDER) -> Table:
    """What has been replayed, by whom, when."""
    lines = [tuple(row.get(name, "") for name in COLUMNS) for row in sent(folder)]
    return Table(
        title="What has been replayed, by whom, when",
        columns=tuple(COLUMNS.values()),
        rows=tuple((name, by, when[:10], *rest[:-1], rest[-1][:10]) for name, by, when, *rest in lines),
        labels=4,
        notes=() if lines else ("Nothing yet: no number of a released file was measured by this project.",),
    )
