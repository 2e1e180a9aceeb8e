"""Checkpoints with their own heads: what their releases state, and what we measure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..published import rows
from .cells import Measured, Printed, difference, stated
from .grid import Grid
from .measure import measured, subjects
from .rows import majority_rates, only_metric, protocol_notes, provenance_notes, weights_labels
from .table import Table, TableRequest, TableSpec
from .vtab import vtab_table

if TYPE_CHECKING:
    import pandas as pd

OTHER_RUN = "°"
VTAB_RUN = r"(vtab-run\d)-"  # in the tags of BiT's files of single VTAB-1k tasks
COLUMNS = {  # of the table of releases: with which `show` each stands there
    "ours": ("ours", "both"),
    "published": ("published", "both"),
    "difference": ("both", "delta"),
    "timm": ("published", "both"),
}


def released(request: TableRequest) -> list[Table]:
    """A row a released file with a stated accuracy: ImageNet top-1 as stated, as measured here, and as timm has it."""
    show = request.show
    ours = _of_imagenet(request.frame)
    columns = [name for name, shows in COLUMNS.items() if show in shows]
    lines: list[tuple[str, ...]] = []
    letters: dict[str, str] = {}  # where a number is stated: its note
    for one in request.facts.releases:
        top1, cell = one["published_top1"], ours.pop((one["model"], one["tag"]), None)
        if (show in ("ours", "delta") and cell is None) or (top1, one["timm_top1"], cell) == (None, None, None):
            continue
        letter = ""
        if top1 is not None:
            letter = letters.setdefault(one["published_top1_basis"], f"({chr(ord('a') + len(letters))})")
        texts = _texts(one, cell)
        lines.append((one["model"], one["tag"], texts["px"], *(texts[name] for name in columns), letter))
    for (model, weights), cell in ours.items() if show in ("ours", "both") else ():
        lines.append((model, weights, "", *(cell.shown(2) if name == "ours" else "" for name in columns), ""))
    notes = [
        "Stated: by the release or its paper for this configuration, not always for this very file.",
        *(f"{letter} {basis}." for basis, letter in letters.items()),
    ]
    if show != "ours":
        notes.append("timm: measured by timm on its copy of the file, at the size in brackets.")
    return [
        Table(
            title="Released checkpoints: ImageNet top-1, percent",
            columns=("model", "weights", "px", *columns, "note"),
            rows=tuple(lines),
            labels=2,
            notes=tuple(notes),
        )
    ]


def _texts(one: Mapping[str, Any], cell: Measured | None) -> dict[str, str]:
    """What is stated and measured of a released file, by column."""
    texts = dict.fromkeys(COLUMNS, "") | {"px": one["resolution_as_stated"]}
    if one["timm_top1"] is not None:
        texts["timm"] = f"{one['timm_top1']:g} ({one['timm_resolution']})"
    if one["published_top1"] is not None:
        texts["published"] = f"{one['published_top1']:g}"
    if cell is not None:
        texts["ours"] = cell.shown(2)
        if texts["published"] and cell.value is not None:
            texts["difference"] = difference(cell.value, stated(texts["published"]), 2)
    return texts


def _of_imagenet(frame: pd.DataFrame | None) -> dict[tuple[str, str], Measured]:
    found = {}
    for one in [] if frame is None else subjects(only_metric(frame[frame["task"] == "ImageNet"], "top1")):
        cell = measured(one.frame)
        plain = one.label.split(" (")[0] == one.model
        if cell is not None:
            found[one.model if plain else one.label, one.weights] = cell
    return found


def classify(request: TableRequest) -> list[Table]:
    """Checkpoints with their own heads; BiT's files of single VTAB-1k tasks in a table of their own, a row a run."""
    frame = request.frame
    if frame is None:
        return released(request)
    of_vtab = frame["weights"].astype(str).str.match(VTAB_RUN)
    made = [] if of_vtab.all() else [_own_heads(request, frame[~of_vtab])]
    return [*made, *([_vtab_runs(frame[of_vtab])] if of_vtab.any() else [])]


def _vtab_runs(frame: pd.DataFrame) -> Table:
    """The files of one model and run as if they were one model: a column a task, means where no task is missing."""
    runs = frame["weights"].astype(str).str.extract(VTAB_RUN, expand=False)
    table = vtab_table(frame.assign(suite="vtab", weights=runs))
    readme = [row for row in rows("table9_vtab_tasks") if row["table"] == "BiT code release README"]
    means = ", ".join(f"{row['value']} of {row['model']}" for row in readme if row["group"] == "All")
    return replace(
        table,
        title="BiT's released files of single VTAB-1k tasks, with their own heads: top-1, percent",
        notes=(*table.notes, f"The release states as mean of 19 tasks: {means}.", *_head_notes(frame)[1:]),
    )


def _own_heads(request: TableRequest, frame: pd.DataFrame) -> Table:
    """A row a model and its weights, a column a task and metric, top-1 with its interval; stated top-1 beside ours."""
    grid = Grid(title="Checkpoints with their own heads, percent", label_names=("model", "weights"))
    releases = {(one["model"], one["tag"]): one for one in request.facts.releases if one["published_top1"] is not None}
    rates = majority_rates(frame)
    chosen = frame[frame["metric"] != "majority_rate"]
    shown = weights_labels(list(dict.fromkeys(map(str, frame["weights"]))))
    for one in subjects(chosen):
        row = (one.label.split(" (")[0] if not one.variant else one.label, shown[one.weights])
        for (task, metric), part in one.frame.groupby(["task", "metric"], sort=False):
            cell = measured(part, rates.get(str(task)) if metric == "top1" else None)
            if cell is None:
                continue
            grid.measured[grid.add(row, f"{task} {metric or 'top1'}")] = cell
            if metric == "top1" and (interval := _interval(cell)) is not None:
                grid.measured[grid.add(row, f"{task} 95 %")] = interval
        release = releases.get((one.model, one.weights)) if not one.variant else None
        place = (row, "ImageNet top1")
        if release is not None and place in grid.measured:
            mark = "" if release["top1_of"] == "file" else OTHER_RUN
            text = release["published_top1_as_stated"]
            grid.printed[place] = Printed(value=release["published_top1"], text=text, mark=mark)
    grid.notes += [*protocol_notes(chosen), *provenance_notes(chosen), *_head_notes(chosen)]
    if request.show != "ours" and any(one.mark for one in grid.printed.values()):
        grid.notes.append(f"{OTHER_RUN} Stated of the configuration, from another training run than this file's.")
    return grid.table(request)


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


CLASSIFY = TableSpec(
    name="classify",
    summary="checkpoints with their own heads, by task and metric",
    suites=("classify",),
    build=classify,
    needs_facts=True,
)
CHECKPOINTS = TableSpec(
    name="checkpoints",
    summary="released files: stated ImageNet top-1 beside ours",
    suites=("classify",),
    build=released,
    needs_facts=True,
)
