"""Checkpoints with their own heads: what their releases state, and what we measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .grid import Grid, Measured, Printed, difference
from .table import Request, Table
from .transfer import folders

if TYPE_CHECKING:
    import pandas as pd


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
    from .measure import measured, subjects

    chosen = frame[(frame["task"] == "ImageNet") & (frame["metric"].eq("top1") | frame["status"].ne("ok"))]
    found = {}
    for one in subjects(chosen):
        cell = measured(one.frame)
        plain = one.label.split(" (")[0] == one.model
        if cell is not None:
            found[one.model if plain else one.label, one.weights] = cell
    return found


def classify(request: Request) -> list[Table]:
    """A row a model and its weights, a column a task and metric; stated ImageNet top-1 beside ours."""
    grid = Grid(
        title="Checkpoints with their own heads, percent", label_names=("model", "weights"), columns=[], decimals=2
    )
    stated = {(one["model"], one["tag"]): one for one in request.facts.releases if one["published_top1"] is not None}
    frame = request.frame
    if frame is None:
        return released(request)
    from .measure import measured, subjects
    from .rows import majority_rates, protocol_notes, provenance_notes

    rates = majority_rates(frame, ["task"])
    chosen = frame[frame["metric"] != "majority_rate"]
    for one in subjects(chosen):
        row = (one.label.split(" (")[0] if not one.variant else one.label, one.weights)
        for (task, metric), part in one.frame.groupby(["task", "metric"], sort=False):
            cell = measured(part, rates.get((str(task),)) if metric == "top1" else None)
            if cell is not None:
                grid.measured[grid.add(row, f"{task} {metric or 'top1'}")] = cell
        release = stated.get((one.model, one.weights)) if not one.variant else None
        place = (row, "ImageNet top1")
        if release is not None and place in grid.measured:
            grid.printed[place] = Printed(value=release["published_top1"], text=f"{release['published_top1']:g}")
    grid.notes += [*protocol_notes(chosen), *provenance_notes(chosen)]
    return [grid.table(request.show, folders(frame))]
