"""Checkpoints with their own heads: what their releases state, and what we measure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from ..published import rows
from .cells import Measured, Printed, difference
from .grid import Grid
from .measure import measured, subjects
from .rows import majority_rates, protocol_notes, provenance_notes, weights_labels
from .table import Request, Table
from .transfer import folders
from .vtab import vtab_table

if TYPE_CHECKING:
    import pandas as pd


OTHER_RUN = "°"
VTAB_RUN = r"(vtab-run\d)-"  # in the tags of BiT's files of single VTAB-1k tasks


def released(request: Request) -> list[Table]:
    """A row a released file with a stated accuracy: ImageNet top-1 as stated, as measured here, and as timm has it."""
    ours = _of_imagenet(request.frame)
    lines: list[tuple[str, ...]] = []
    letters: dict[str, str] = {}  # where a number is stated: its note
    for one in request.facts.releases:
        key = (one["model"], one["tag"])
        stated, cell = one["published_top1"], ours.pop(key, None)
        if stated is None and one["timm_top1"] is None and cell is None:
            continue
        if request.show in ("ours", "delta") and cell is None:
            continue
        letter = ""
        if stated is not None:
            letter = letters.setdefault(one["published_top1_basis"], f"({chr(ord('a') + len(letters))})")
        lines.append((*_line(request.show, one, cell), letter))
    if request.show in ("ours", "both"):
        lines += [
            (model, weights, *_shown(request.show, "", _text(cell), "", ""), "")
            for (model, weights), cell in ours.items()
        ]
    notes = [
        "Stated: by the release or its paper for this configuration, not always for this very file.",
        *(f"{letter} {basis}." for basis, letter in letters.items()),
    ]
    if request.show != "ours":
        notes.append("timm: measured by timm on its copy of the file, at the size in brackets.")
    names = ("px", *(name for name, show in _COLUMNS.items() if request.show in show), "note")
    return [
        Table(
            title="Released checkpoints: ImageNet top-1, percent",
            columns=("model", "weights", *names),
            rows=tuple(lines),
            labels=2,
            notes=tuple(notes),
        )
    ]


_COLUMNS = {
    "ours": ("ours", "both"),
    "published": ("published", "both"),
    "difference": ("both", "delta"),
    "timm": ("published", "both"),
}


def _line(show: str, one, cell: Measured | None) -> tuple[str, ...]:
    stated = "" if one["published_top1"] is None else f"{one['published_top1']:g}"
    timm = "" if one["timm_top1"] is None else f"{one['timm_top1']:g} ({one['timm_resolution']})"
    away = ""
    if stated and cell is not None and cell.value is not None:
        away = difference(cell.value, Printed(value=float(stated), text=stated), 2)
    texts = _shown(show, one["resolution_as_stated"], _text(cell), stated, away, timm)
    return (one["model"], one["tag"], *texts)


def _shown(show: str, size: str, ours: str, stated: str, away: str, timm: str = "") -> tuple[str, ...]:
    texts = dict(zip(_COLUMNS, (ours, stated, away, timm), strict=True))
    return (size, *(text for name, text in texts.items() if show in _COLUMNS[name]))


def _text(cell: Measured | None) -> str:
    return "" if cell is None else cell.shown(2)


def _of_imagenet(frame: pd.DataFrame | None) -> dict[tuple[str, str], Measured]:
    if frame is None:
        return {}
    chosen = frame[(frame["task"] == "ImageNet") & (frame["metric"].eq("top1") | frame["status"].ne("ok"))]
    found = {}
    for one in subjects(chosen):
        cell = measured(one.frame)
        plain = one.label.split(" (")[0] == one.model
        if cell is not None:
            found[one.model if plain else one.label, one.weights] = cell
    return found


def classify(request: Request) -> list[Table]:
    """Checkpoints with their own heads; BiT's files of single VTAB-1k tasks in a table of their own, a row a run."""
    frame = request.frame
    if frame is None:
        return released(request)
    of_vtab = frame["weights"].astype(str).str.match(VTAB_RUN)
    made = [] if of_vtab.all() else [_own_heads(replace(request, frame=frame[~of_vtab]))]
    return [*made, *([_vtab_runs(frame[of_vtab])] if of_vtab.any() else [])]


def _vtab_runs(frame: pd.DataFrame) -> Table:
    """The files of one model and run as if they were one model: a column a task, means where no task is missing."""
    runs = frame["weights"].astype(str).str.extract(VTAB_RUN, expand=False)
    table = vtab_table(frame.assign(suite="vtab", weights=runs))
    stated = [row for row in rows("table9_vtab_tasks") if row["table"] == "BiT code release README"]
    means = ", ".join(f"{row['value']} of {row['model']}" for row in stated if row["group"] == "All")
    return replace(
        table,
        title="BiT's released files of single VTAB-1k tasks, with their own heads: top-1, percent",
        notes=(*table.notes, f"The release states as mean of 19 tasks: {means}.", *_head_notes(frame)[1:]),
    )


def _own_heads(request: Request) -> Table:
    """A row a model and its weights, a column a task and metric, top-1 with its interval; stated top-1 beside ours."""
    grid = Grid(
        title="Checkpoints with their own heads, percent", label_names=("model", "weights"), columns=[], decimals=2
    )
    stated = {(one["model"], one["tag"]): one for one in request.facts.releases if one["published_top1"] is not None}
    frame = request.frame
    assert frame is not None
    rates = majority_rates(frame, ["task"])
    chosen = frame[frame["metric"] != "majority_rate"]
    shown = weights_labels(list(dict.fromkeys(map(str, frame["weights"]))))
    for one in subjects(chosen):
        row = (one.label.split(" (")[0] if not one.variant else one.label, shown[one.weights])
        for (task, metric), part in one.frame.groupby(["task", "metric"], sort=False):
            cell = measured(part, rates.get((str(task),)) if metric == "top1" else None)
            if cell is None:
                continue
            grid.measured[grid.add(row, f"{task} {metric or 'top1'}")] = cell
            if metric == "top1" and (interval := _interval(cell)) is not None:
                grid.measured[grid.add(row, f"{task} 95 %")] = interval
        release = stated.get((one.model, one.weights)) if not one.variant else None
        place = (row, "ImageNet top1")
        if release is not None and place in grid.measured:
            mark = "" if release["top1_of"] == "file" else OTHER_RUN
            text = release["published_top1_as_stated"]
            grid.printed[place] = Printed(value=release["published_top1"], text=text, mark=mark)
    grid.notes += [*protocol_notes(chosen), *provenance_notes(chosen), *_head_notes(chosen)]
    if request.show != "ours" and any(one.mark for one in grid.printed.values()):
        grid.notes.append(f"{OTHER_RUN} Stated of the configuration, from another training run than this file's.")
    return grid.table(request.show, folders(frame))


def _interval(cell: Measured) -> Measured | None:
    """Wilson's interval of an accuracy, as text; None for a mean of several records or of an unknown number."""
    from ..statistics import wilson

    if len(cell.records) != 1 or cell.value is None:
        return None
    count = cell.records[0].get("n_test")
    if not isinstance(count, int | float) or not count >= 1:
        return None
    low, high = wilson(cell.value / 100 * count, int(count))
    return Measured(words=f"{low:.2f}-{high:.2f}")


def _head_notes(frame: pd.DataFrame) -> list[str]:
    """What a reader must know of heads and intervals, and which numbers are suspect."""
    ok = frame[frame["status"] == "ok"]
    notes = (
        ["95 %: Wilson's interval of top-1 over test images, taken as independent of each other."] if len(ok) else []
    )
    treatments = [json.loads(text or "{}") for text in dict.fromkeys(ok["treatment"])]
    heads = dict.fromkeys(one["head"] for one in treatments if one.get("head"))
    if heads:
        notes.append(f"Heads: {'; '.join(heads)}.")
    if any("tried on no released file" in one.get("label_order", "") for one in treatments):
        notes.append(
            "The label order of BiT's VTAB-1k heads is taken to be TFDS's; nobody here could try a released file."
        )
    suspect = ok[ok["verdict"].astype(str).str.startswith("suspect") & ok["metric"].eq("top1")]
    return notes + [f"{row['model']} on {row['task']}: {row['verdict']}." for row in suspect.to_dict("records")]
