"""A table for any suite: a row a model and setting, a column a task and metric.

`run` and reports show it for suites that no other table shows, such as a user's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..questions import at_columns
from .cells import Footnotes
from .rows import mean_and_std, measurements, protocol_notes, provenance_notes, remarks, row_labels, with_std
from .table import EVERY_SUITE, Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import pandas as pd


def plain_table(request: TableRequest) -> list[Table]:
    """The mean and std (ddof 1) over seeds of each metric on each task, for one suite and protocol."""
    frame = request.frame
    assert frame is not None
    suite, protocol = frame[["suite", "protocol"]].iloc[0]
    varying = [name for name in at_columns(frame) if frame[name].nunique(dropna=False) > 1]
    columns: dict[str, None] = {}
    rows: dict[tuple[str, ...], dict[str, pd.DataFrame]] = {}
    for task, metric, unit in frame[["task", "metric", "unit"]].drop_duplicates().itertuples(index=False, name=None):
        columns[_heading(task, metric, unit)] = None
    # A metric at a time: a job may also measure a probe, which is fed in another way than what is trained.
    labelled = [pair for _, of_metric in frame.groupby("metric", sort=False) for pair in row_labels(of_metric)]
    for label, of_model in labelled:
        for keys, part in of_model.groupby([*varying, "task", "metric", "unit"], sort=False, dropna=False):
            *settings, task, metric, unit = keys
            heading = _heading(*map(str, (task, metric, unit)))
            labels = (label, *("" if value != value else str(value) for value in settings))
            rows.setdefault(labels, {})[heading] = part
    footnotes = Footnotes(remarks(cell) for cells in rows.values() for cell in cells.values())
    lines = [(*labels, *(_text(cells.get(name), footnotes) for name in columns)) for labels, cells in rows.items()]
    sources = {
        (i, j): names
        for i, (labels, cells) in enumerate(rows.items())
        for j, heading in enumerate(columns, start=len(labels))
        if heading in cells and (names := measurements(cells[heading]))
    }
    protocol_label = f" ({protocol})" if protocol not in ("", suite) else ""
    return [
        Table(
            title=f"{suite}{protocol_label}: every measurement",
            columns=("model", *varying, *columns),
            rows=tuple(lines),
            labels=1 + len(varying),
            notes=(*protocol_notes(frame), *_notes(frame), *footnotes.notes()),
            sources=sources,
        )
    ]


def _notes(frame: pd.DataFrame) -> list[str]:
    """The notes on each metric's records, with its name where they are not true of all."""
    by_metric = {str(metric): provenance_notes(part) for metric, part in frame.groupby("metric", sort=False)}
    notes = list(dict.fromkeys(note for told in by_metric.values() for note in told))
    of = {note: [metric for metric, told in by_metric.items() if note in told] for note in notes}
    return [note if len(of[note]) == len(by_metric) else f"{', '.join(of[note])}: {note}" for note in notes]


def _heading(task: str, metric: str, unit: str) -> str:
    heading = " ".join(filter(None, (str(task), str(metric))))
    return heading if unit in ("", "percent") else f"{heading} ({unit})"


def _text(cell: pd.DataFrame | None, footnotes: Footnotes) -> str:
    """The cell's text: mean and std over seeds, with one decimal, or four for means below 1; "failed" or "skipped"."""
    if cell is None:
        return ""
    ok = cell[cell["status"] == "ok"]["value"]
    if ok.empty:
        return str(cell["status"].iloc[0])
    mean, std = mean_and_std(ok)
    return with_std(mean, std, 1 if abs(mean) >= 1 or not mean else 4) + footnotes.mark(remarks(cell))


MEASUREMENTS = TableSpec(
    name="measurements",
    summary="of any suite: a row a model and setting, a column a task and metric",
    suites=(EVERY_SUITE,),
    by_protocol=True,
    published=False,
    build=plain_table,
)
