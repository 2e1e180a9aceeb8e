"""Checkpoints with their own heads: the accuracies that releases state and that we measure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..published import rows
from .cells import Measured, Printed, difference, stated
from .grid import Grid
from .measure import measured, subjects
from .rows import majority_rates, only_metric, protocol_notes, provenance_notes
from .table import VTAB, Table, TableRequest, TableSpec
from .vtab import vtab_table

if TYPE_CHECKING:
    import pandas as pd

OTHER_RUN = "°"
VTAB_RUN = r"(vtab-run\d)-"  # in the tags of BiT's files for single VTAB-1k tasks
COLUMNS = {  # columns of the table of releases, and for which `show` each is there
    "ours": ("ours", "both"),
    "published": ("published", "both"),
    "difference": ("both", "delta"),
    "timm": ("published", "both"),
}


def released(request: TableRequest) -> list[Table]:
    """A row a released file: ImageNet top-1 as stated by the release, as measured here, and as stated by timm."""
    show = request.show
    ours = _imagenet_cells(request.frame)
    columns = [name for name, shows in COLUMNS.items() if show in shows]
    lines: list[tuple[str, ...]] = []
    letters: dict[str, str] = {}  # the basis of a stated number: the letter of its note
    for release in request.facts.releases:
        if release["finetune"] not in ("", "ImageNet"):
            continue
        top1, cell = release["published_top1"], ours.pop((release["model"], release["tag"]), None)
        if (show in ("ours", "delta") and cell is None) or (top1, release["timm_top1"], cell) == (None, None, None):
            continue
        letter = ""
        if top1 is not None:
            letter = letters.setdefault(release["published_top1_basis"], f"({chr(ord('a') + len(letters))})")
        texts = _texts(release, cell)
        lines.append((release["model"], release["tag"], texts["px"], *(texts[name] for name in columns), letter))
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


def _texts(release: Mapping[str, Any], cell: Measured | None) -> dict[str, str]:
    """The cells of a released file by column."""
    texts = dict.fromkeys(COLUMNS, "") | {"px": release["resolution_as_stated"]}
    if release["timm_top1"] is not None:
        texts["timm"] = f"{release['timm_top1']:g} ({release['timm_resolution']})"
    if release["published_top1"] is not None:
        texts["published"] = f"{release['published_top1']:g}"
    if cell is not None:
        texts["ours"] = cell.shown(2)
        if texts["published"] and cell.value is not None:
            texts["difference"] = difference(cell.value, stated(texts["published"]), 2)
    return texts


def _imagenet_cells(frame: pd.DataFrame | None) -> dict[tuple[str, str], Measured]:
    cells = {}
    for subject in [] if frame is None else subjects(only_metric(frame[frame["task"] == "ImageNet"], "top1")):
        cell = measured(subject.frame)
        if cell is not None:
            cells[subject.label_without_weights, subject.weights] = cell
    return cells


def classify(request: TableRequest) -> list[Table]:
    """Checkpoints with their own heads. BiT's files for single VTAB-1k tasks have a table of their own, a row a run."""
    frame = request.frame
    if frame is None:
        return released(request)
    of_vtab = frame["weights"].astype(str).str.match(VTAB_RUN)
    tables = [] if of_vtab.all() else [_own_heads(request, frame[~of_vtab])]
    return [*tables, *([_vtab_runs(frame[of_vtab])] if of_vtab.any() else [])]


def _vtab_runs(frame: pd.DataFrame) -> Table:
    """A row a model and run, as if its files for single tasks were one model; means if no task is missing."""
    runs = frame["weights"].astype(str).str.extract(VTAB_RUN, expand=False)
    table = vtab_table(frame.assign(suite=VTAB, weights=runs))
    readme = [row for row in rows("table9_vtab_tasks") if row["table"] == "BiT code release README"]
    means = ", ".join(f"{row['value']} of {row['model']}" for row in readme if row["group"] == "All")
    return replace(
        table,
        title="BiT's released files of single VTAB-1k tasks, with their own heads: top-1, percent",
        notes=(*table.notes, f"The release states as mean of 19 tasks: {means}.", *_head_notes(frame)[1:]),
    )


def _own_heads(request: TableRequest, frame: pd.DataFrame) -> Table:
    """A row a model and weights, a column a task and metric, with intervals of top-1; stated top-1 for comparison."""
    grid = Grid(title="Checkpoints with their own heads, percent", label_names=("model", "weights"))
    releases = {
        (subject["model"], subject["tag"]): subject
        for subject in request.facts.releases
        if subject["published_top1"] is not None
    }
    rates = majority_rates(frame)
    shown_records = frame[frame["metric"] != "majority_rate"]
    for subject in subjects(shown_records):
        row = (subject.label_without_weights, subject.short_weights)
        for (task, metric), part in subject.frame.groupby(["task", "metric"], sort=False):
            cell = measured(part, rates.get(str(task)) if metric == "top1" else None)
            if cell is None:
                continue
            grid.measured[grid.add(row, f"{task} {metric or 'top1'}")] = cell
            if metric == "top1" and (interval := _interval(cell)) is not None:
                grid.measured[grid.add(row, f"{task} 95 %")] = interval
        release = releases.get((subject.model, subject.weights)) if not subject.variant else None
        place = (row, f"{'' if release is None else release['finetune']} top1")
        if release is not None and place in grid.measured:
            mark = "" if release["top1_of"] == "file" else OTHER_RUN
            text = release["published_top1_as_stated"]
            grid.printed[place] = Printed(value=release["published_top1"], text=text, mark=mark)
    grid.notes += [*protocol_notes(shown_records), *provenance_notes(shown_records), *_head_notes(shown_records)]
    if request.show != "ours" and any(subject.mark for subject in grid.printed.values()):
        grid.notes.append(f"{OTHER_RUN} Stated of the configuration, from another training run than this file's.")
    return grid.table(request)


def _interval(cell: Measured) -> Measured | None:
    """Wilson's interval of an accuracy as text; None for a mean of several records or if `n_test` is unknown."""
    from ..statistics import wilson

    if len(cell.records) != 1 or cell.value is None:
        return None
    count = cell.records[0].get("n_test")
    if not isinstance(count, int | float) or not count >= 1:
        return None
    low, high = wilson(cell.value / 100 * count, int(count))
    return Measured(words=f"{low:.2f}-{high:.2f}")


def _head_notes(frame: pd.DataFrame) -> list[str]:
    """Notes on heads, intervals, label order and suspect numbers."""
    ok = frame[frame["status"] == "ok"]
    notes = (
        ["95 %: Wilson's interval of top-1 over test images, taken as independent of each other."] if len(ok) else []
    )
    treatments = [json.loads(text or "{}") for text in dict.fromkeys(ok["treatment"])]
    heads = dict.fromkeys(treatment["head"] for treatment in treatments if treatment.get("head"))
    if heads:
        notes.append(f"Heads: {'; '.join(heads)}.")
    if any("tried on no released file" in treatment.get("label_order", "") for treatment in treatments):
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
