"""Figures 12 and 13, and accuracy against measured speed with its Pareto front."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from .. import published
from ..tables import GROUP_SIZES, row_labels
from ..tables.names import names, thing_of
from ..tables.rows import mean_and_std
from ..tables.table import FINE_TUNED, MINIATURE, TIMED, VTAB
from . import style
from .records import (
    FIVE_SHOT_RUN,
    Point,
    caveats,
    choose_task,
    compute_of,
    need,
    of_shots,
    of_task,
    points,
    relevant,
)
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SIZES = (64, 128, 224, 384, 512)
SPEED, BATCH = "images_per_second", "largest_batch"
FASTEST = "images_per_second_fastest"  # at the fastest batch of a search
ACCURACY_SUITES = (FINE_TUNED, "classify", VTAB, MINIATURE, "fewshot")  # the first with records is drawn
FADED = 0.35  # the opacity of suspect speeds
Spot = tuple[str, float, float]  # label, place on the horizontal axis, accuracy


def draw12(request: FigureRequest) -> Drawing:
    """The speed at the fastest batch size, and the largest batch that fits, against the image size."""
    notes: list[str] = []
    fastest: dict[str, list[tuple[float, float]]] = {}
    largest: dict[str, list[tuple[float, float]]] = {}
    if request.ours:
        frame = relevant(request, FIGURE12, SPEED, FASTEST, BATCH)
        need(frame, FIGURE12, "image_size")
        frame = _inference(frame)
        fastest, largest = (_by_size(frame[frame["metric"].isin(names)]) for names in ([SPEED, FASTEST], [BATCH]))
        notes.append(f"Ours: {_devices(frame)}; of each model and size the fastest batch{_timing_settings(frame)}.")
        notes += _suspect_notes(frame)
    styles = style.SeriesStyles()
    canvas = style.canvas(style.PAGE, 3.0)
    left, right = canvas.subplots(1, 2)
    for axes, panel, ours in ((left, "left", fastest), (right, "right", largest)):
        if request.published:
            style.series(axes, styles, published.digitized("ViT Figure 12", panel), published.model_name)
        for name, by_size in ours.items():
            x, y = zip(*sorted(by_size), strict=True)
            axes.plot(x, y, **styles.filled(name))
        sizes = {x for by_size in ours.values() for x, _ in by_size} | (set(SIZES) if request.published else set())
        style.plain_log(axes, "x", sorted(sizes))
        style.plain_log(axes, "y", [2**k for k in range(15)] if panel == "right" else None)
        axes.set_xlabel("input size (px)")
    _separate_lines(right)
    per_core = "" if request.ours else " per core"
    left.set_ylabel(f"peak inference speed (images/s{per_core})")
    right.set_ylabel(f"largest batch{per_core} (images)")
    if request.published:
        notes.append("Published: TPUv3, per core (ViT paper, Figure 12); the sweep of batches ends at 1024.")
    if request.published or largest:
        notes.append("Right: lines that would cover each other are drawn a little apart.")
    if request.ours and not largest:
        notes.append(f"No {BATCH} is in these records.")
        right.set_visible(request.published)
    what = "published (TPUv3, per core)"
    style.legend(canvas, styles, columns=5, ours=request.ours, published=request.published, what=what)
    return Drawing(title="Figure 12: speed and largest batch by input size", canvas=canvas, notes=notes)


def draw13(request: FigureRequest) -> Drawing:
    """5-shot accuracy against pre-training compute, and against speed."""
    notes: list[str] = []
    ours: dict[str, list[Spot]] = {"left": [], "right": []}
    task = "ImageNet"
    if request.ours:
        accuracy, task = _accuracies(request, FIGURE13, ("fewshot",), shots=5)
        notes += caveats(relevant(request, FIGURE13, "top1"))
        known = [(point, compute_of(point, request)) for point in accuracy]
        ours["left"] = [(point.label, compute, point.mean) for point, compute in known if compute]
        timed = _with_speed(request, FIGURE13, accuracy)
        ours["right"] = [(point.label, float(row["value"]), point.mean) for point, row in timed]
        if not any(ours.values()):
            raise UsageError(
                "figure 13 needs, beside 5-shot accuracies, what is known of the pre-training (a sidecar file with "
                "images and epochs), or records of suite=throughput of the same models; these runs have neither"
            )
        if not ours["left"]:
            notes.append("Compute: images and epochs of our models' pre-training are not known (a sidecar file).")
    show_published = request.published and (task == "ImageNet" or not request.ours)
    styles = style.SeriesStyles(lines=False)
    panels = [name for name in ours if ours[name] or show_published]
    canvas = style.canvas(style.PAGE if len(panels) > 1 else style.COLUMN * 1.15, 2.7)
    for axes, panel in zip(canvas.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        published_rows = published.digitized("ViT Figure 13", panel).to_dict("records") if show_published else []
        published_spots = [(published.model_name(row["series"]), row["x"], 100 * row["y"]) for row in published_rows]
        for name, x, y in published_spots:
            axes.plot(x, y, **styles.hollow(name))
        for name, x, y in ours[panel]:
            axes.plot(x, y, **styles.filled(name))
        style.plain_log(axes, "x")
        axes.margins(0.2, 0.12)
        axes.set_xlabel("pre-training compute (exaFLOPs)" if panel == "left" else "inference speed (images/s)")
        axes.set_ylabel(f"{task} linear 5-shot top-1 (%)")
        style.annotate(axes, [(x, y, name) for name, x, y in [*published_spots, *ours[panel]]])
    if show_published:
        notes.append("Published: speed on a TPUv3 core (ViT paper, Figure 13).")
    style.legend(canvas, style.SeriesStyles(), columns=2, ours=request.ours, published=show_published)
    axial = show_published or any("axial" in name.lower() for spots in ours.values() for name, _, _ in spots)
    title = "Figure 13: axial attention" if axial else "As Figure 13: few-shot accuracy by compute and speed"
    return Drawing(title=title, canvas=canvas, notes=notes)


def draw_pareto(request: FigureRequest) -> Drawing:
    """Accuracy against measured images a second, with the Pareto front as a line: ours left, published right.

    A model has one colour and marker in both panels.
    """
    notes: list[str] = []
    styles = style.SeriesStyles(lines=False)
    timed: list[tuple[Point, dict[str, Any]]] = []
    task = ""
    if request.ours:
        accuracy, task = _accuracies(request, PARETO, ACCURACY_SUITES, shots=None)
        timed = _with_speed(request, PARETO, accuracy)
        if not timed:
            first, size = accuracy[0], _size(accuracy[0])
            raise UsageError(
                "figure pareto needs accuracies and speeds of the same models at one image size: name a run of "
                f"suite=throughput beside one of suite={', '.join(ACCURACY_SUITES[:-1])} or {ACCURACY_SUITES[-1]}"
                + (f". The accuracy of {first.label} is at {size:g} pixels: suite.image_size={size:g}" if size else "")
            )
        notes += _how_measured(timed)
        faded = [point.label for point, row in timed if _is_suspect(row)]
        notes += [f"Faded, and not on the front: speeds that are suspect by their own verdict, of {', '.join(faded)}."
                  ] if faded else []  # fmt: skip
        missing = sorted({point.label for point in accuracy} - {point.label for point, _ in timed})
        if missing:
            notes.append(f"Left out, since their speed at the size of the accuracy is unknown: {', '.join(missing)}.")
        found = relevant(request, PARETO, "top1")
        others = [suite for suite in ACCURACY_SUITES if suite in set(found["suite"]) - {accuracy[0].row["suite"]}]
        notes += [f"Left out: accuracies of suite {' and '.join(others)}; draw them apart."] if others else []
        notes += caveats(found)
    canvas = style.canvas(style.PAGE if timed and request.published else style.COLUMN * 1.35, 3.1)
    panels = list(canvas.subplots(1, bool(timed) + request.published, squeeze=False)[0])
    if timed:
        _pareto_of_ours(panels[0], styles, timed)
        panels[0].set_title(f"measured here: {', '.join(sorted({str(row['device']) for _, row in timed}))}")
        panels[0].set_ylabel(f"{task} top-1 (%)")
        style.annotate(panels[0], [(float(row["value"]), point.mean, point.label) for point, row in timed])
        if any(_is_suspect(row) for _, row in timed):
            styles.others.append(_suspect_handle())
    if request.published:
        spots = _augreg()
        for name, x, y in spots:
            panels[-1].plot(x, y, **styles.hollow(name))
        _finish_pareto(panels[-1], [(x, y) for _, x, y in spots])
        panels[-1].set_title("published: AugReg, V100 (timm)")
        panels[-1].set_ylabel("ImageNet top-1 (%)")
        notes.append(
            "Published: AugReg Table 3, ImageNet-21k 300 epochs; of each model 384 px (the slower) and 224 px."
        )
    columns = 5 if len(panels) > 1 else 4
    style.legend(canvas, styles, columns=columns, ours=bool(timed), published=request.published)
    notes.append("The line joins the Pareto front: no other model shown is both faster and more accurate.")
    return Drawing(title="Accuracy against speed", canvas=canvas, notes=notes)


def _pareto_of_ours(axes: Axes, styles: style.SeriesStyles, timed: Sequence[tuple[Point, dict[str, Any]]]) -> None:
    """The points with the std over seeds, faded where the speed is suspect, and the front of the others."""
    for point, row in timed:
        faded = {"alpha": FADED} if _is_suspect(row) else {}
        axes.errorbar(float(row["value"]), point.mean, yerr=point.std or None, **styles.filled(point.model, **faded))
    trusted = [(float(row["value"]), point.mean) for point, row in timed if not _is_suspect(row)]
    _finish_pareto(axes, trusted)


def _finish_pareto(axes: Axes, spots: Sequence[tuple[float, float]]) -> None:
    if front := pareto_front(spots):
        axes.step([x for x, _ in front], [y for _, y in front], where="pre", color="#666666", linewidth=1.0, zorder=1)
    axes.margins(0.14, 0.1)
    style.plain_log(axes, "x")
    axes.set_xlabel("images per second")


def _suspect_handle() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], label="suspect speed", color="#444444", marker="o", linestyle="none", alpha=FADED)


def _is_suspect(row: dict[str, Any]) -> bool:
    return str(row.get("verdict") or "").startswith("suspect")


def _how_measured(timed: Sequence[tuple[Point, dict[str, Any]]]) -> list[str]:
    """How the accuracies and the speeds that are drawn were measured: protocol, size, batch, device."""
    protocols = dict.fromkeys(str(point.row["protocol"]) for point, _ in timed)
    parts = [f"accuracy: {', '.join(protocols)}"]
    for name, words in {"image_size": "{} pixels", "batch_size": "batch {}", "precision": "{}", "device": "{}"}.items():
        values = dict.fromkeys(row[name] for _, row in timed if row.get(name) == row.get(name) and row.get(name))
        texts = [f"{value:g}" if isinstance(value, int | float) else str(value) for value in values]
        parts += [words.format(" or ".join(texts))] if texts else []
    bars = any(point.std for point, _ in timed)
    return [f"Ours: {'; speed: '.join([parts[0], ', '.join(parts[1:])])}."] + ["Bars: std over seeds."] * bars


def _separate_lines(axes: Axes) -> None:
    """Shift lines a little up or down: largest batches are powers of two, so lines of several models coincide."""
    from matplotlib.transforms import ScaledTranslation

    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.15, high * 1.25)
    for i, line in enumerate(axes.get_lines()):
        up = ScaledTranslation(0, 1.4 * (i % 8 - 3.5) / 72, axes.figure.dpi_scale_trans)  # pyright: ignore
        line.set_transform(axes.transData + up)


def pareto_front(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (speed, accuracy) pairs that no other pair equals or beats in both, slowest first, without duplicates."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(pairs), reverse=True):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front[::-1]


def _augreg() -> list[Spot]:
    """AugReg's Table 3, ImageNet-21k for 300 epochs: its models at 224 pixels, then at 384."""
    table = {(row["resolution"], row["column"], row["model"]): row for row in published.rows("augreg_table3_imagenet")}
    return [
        (published.model_name(model), float(table[size, "img/sec", model]["value"]), float(row["value"]))
        for side in ("224", "384")
        for (size, column, model), row in table.items()
        if (size, column) == (side, "i21k_300")
    ]


def _accuracies(
    request: FigureRequest, figure: Figure, suites: tuple[str, ...], shots: int | None
) -> tuple[list[Point], str]:
    """The points of one task, from the first of `suites` with records, and the task's name."""
    frame = relevant(request, figure, "top1")
    asked = frame[frame["suite"].isin(suites)] if request.task is None else of_task(frame, request)
    suite = next(name for name in suites if (asked["suite"] == name).any())
    part = frame[frame["suite"] == suite]
    if suite in GROUP_SIZES and request.task is None:
        return _means_of_tasks(part, request), f"{suite}, mean of {part['task'].nunique()} tasks,"
    task = choose_task(part, request, "ImageNet")
    part = part[part["task"] == task]
    if suite == "fewshot":
        need(part, figure, "shots")
        count = shots or int(part["shots"].max())
        part = of_shots(part, figure, count)
        task = f"{task} {count}-shot" if shots is None else task
    return points(part, request), task


def _means_of_tasks(frame: pd.DataFrame, request: FigureRequest) -> list[Point]:
    """A point a model: its mean over all tasks, with the std over seeds where all tasks have the same.

    Raises UsageError where a model lacks a task that another has.
    """
    by_label: dict[str, list[Point]] = {}
    for _, part in frame.groupby("task", sort=False):
        for point in points(part, request):
            by_label.setdefault(point.label, []).append(point)
    count = frame["task"].nunique()
    if partial := [f"{label} {len(own)}" for label, own in by_label.items() if len(own) < count]:
        raise UsageError(
            f"a mean needs the same tasks of every model, {count} here; {', '.join(partial)}: type task=NAME"
        )
    found = []
    for label, part in row_labels(frame):
        by_seed = part.pivot_table(index="seed", columns="task", values="value").dropna().mean(axis=1)
        std = mean_and_std(by_seed)[1] if len(by_seed) else None
        found.append(replace(by_label[label][0], mean=fmean(point.mean for point in by_label[label]), std=std))
    return found


def _with_speed(request: FigureRequest, figure: Figure, accuracy: list[Point]) -> list[tuple[Point, dict[str, Any]]]:
    """Each accuracy whose model has a speed in the records, and the record of its highest images a second."""
    assert request.frame is not None
    if not (request.frame["suite"] == TIMED).any():
        return []
    frame = _inference(relevant(request, figure, SPEED, FASTEST))
    if frame["device"].nunique() > 1 and not request.mix:
        devices = " and ".join(sorted(set(frame["device"])))
        raise UsageError(f"the speeds in these records are of {devices}: name runs of one device, or type mix=true")
    timed = []
    for point in accuracy:
        own = frame[(frame["model"] == point.model) & (frame["variant"] == point.variant)]
        if "image_size" in own and (size := _size(point)):
            own = own[own["image_size"].astype(float) == size]
        if len(own):
            fastest = own.sort_values("value", kind="stable").iloc[-1]
            timed.append((point, {str(name): value for name, value in fastest.items()}))
    return timed


def _size(point: Point) -> float | None:
    """The image size, in pixels, of an accuracy; None where its record does not say it."""
    size = json.loads(point.row.get("treatment") or "{}").get("size")
    return float(size[0]) if isinstance(size, list) and size else None


def _inference(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["mode"].isin(["inference", ""]) | frame["mode"].isna()] if "mode" in frame else frame


def _devices(frame: pd.DataFrame) -> str:
    return ", ".join(sorted({str(name) for name in frame["device"]}))


def _suspect_notes(frame: pd.DataFrame) -> list[str]:
    """A note on speeds with the verdict suspect; [] if there are none."""
    suspect = frame[frame["verdict"].str.startswith("suspect")]
    if suspect.empty:
        return []
    models = ", ".join(sorted(set(suspect["model"])))
    return [f"SUSPECT by their own verdict, and drawn all the same: {len(suspect)} of {len(frame)} rows, of {models}."]


def _by_size(frame: pd.DataFrame) -> dict[str, list[tuple[float, float]]]:
    """The largest value of each model by image size."""
    by_model: dict[str, list[tuple[float, float]]] = {}
    named = names(frame)
    for _, part in frame.groupby(["model", "variant"], sort=False):
        best: dict[Any, Any] = part.groupby(part["image_size"].astype(float))["value"].max().to_dict()
        by_model[named[thing_of(part.iloc[0])].model] = list(best.items())
    return by_model


def _timing_settings(frame: pd.DataFrame) -> str:
    parts = []
    for name in ("precision", "compile"):
        values = sorted({str(value) for value in frame[name].dropna()}) if name in frame else []
        parts += [f"{name} {' or '.join(values)}"] if values else []
    return f" ({', '.join(parts)})" if parts else ""


FIGURE12 = Figure(
    name="12",
    summary="peak inference speed and largest batch by input size",
    suites=(TIMED,),
    measured_by="suite=throughput image_size=64,128,224,384,512 find=largest,fastest",
    draw=draw12,
)
FIGURE13 = Figure(
    name="13",
    summary="5-shot accuracy by pre-training compute and by speed, with axial attention",
    suites=("fewshot", TIMED),
    measured_by=FIVE_SHOT_RUN,
    draw=draw13,
)
PARETO = Figure(
    name="pareto",
    summary="accuracy by measured images a second, with the Pareto front",
    suites=(*ACCURACY_SUITES, TIMED),
    measured_by="suite=fewshot` and `python -m bench run suite=throughput",
    draw=draw_pareto,
)
