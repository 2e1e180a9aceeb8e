"""Figures 12 and 13, and accuracy against measured speed with its Pareto front."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from .. import published
from ..tables.rows import model_label
from . import style
from .records import Point, caveats, choose_task, compute_of, need, points, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SIZES = (64, 128, 224, 384, 512)
SPEED, BATCH = "images_per_second", "largest_batch"
FASTEST = "images_per_second_fastest"  # of the batches that were searched
ACCURACY_SUITES = ("finetune", "classify", "fewshot")
Spot = tuple[str, float, float]  # label, place on the horizontal axis, accuracy


def draw12(asked: FigureRequest) -> Drawing:
    """The fastest of the batch sizes tried, and the largest batch that fits, against the side of the image."""
    notes: list[str] = []
    fastest: dict[str, list[tuple[float, float]]] = {}
    largest: dict[str, list[tuple[float, float]]] = {}
    if asked.ours:
        frame = relevant(asked, FIGURE12, SPEED, FASTEST, BATCH)
        need(frame, FIGURE12, "image_size")
        frame = _inference(frame)
        fastest, largest = (_by_size(frame[frame["metric"].isin(names)]) for names in ([SPEED, FASTEST], [BATCH]))
        notes.append(f"Ours: {_devices(frame)}; of each model and size the fastest batch{_ways(frame)}.")
        notes += _suspect(frame)
    looks = style.Looks()
    canvas = style.canvas(style.PAGE, 3.0)
    left, right = canvas.subplots(1, 2)
    for axes, panel, ours in ((left, "left", fastest), (right, "right", largest)):
        if asked.published:
            style.series(axes, looks, published.digitized("ViT Figure 12", panel), published.model_name)
        for name, at in ours.items():
            x, y = zip(*sorted(at), strict=True)
            axes.plot(x, y, **looks.filled(name))
        sizes = {x for at in ours.values() for x, _ in at} | (set(SIZES) if asked.published else set())
        style.plain_log(axes, "x", sorted(sizes))
        style.plain_log(axes, "y", [2**k for k in range(15)] if panel == "right" else None)
        axes.set_xlabel("input size (px)")
    _apart(right)
    per_core = "" if asked.ours else " per core"
    left.set_ylabel(f"peak inference speed (images/s{per_core})")
    right.set_ylabel(f"largest batch{per_core} (images)")
    if asked.published:
        notes.append("Published: TPUv3, per core (ViT paper, Figure 12); the sweep of batches ends at 1024.")
    if asked.published or largest:
        notes.append("Right: lines that would cover each other are drawn a little apart.")
    if asked.ours and not largest:
        notes.append(f"No {BATCH} is in these records.")
        right.set_visible(asked.published)
    what = "published (TPUv3, per core)"
    style.legend(canvas, looks, columns=5, ours=asked.ours, published=asked.published, what=what)
    return Drawing(title="Figure 12: speed and largest batch by input size", canvas=canvas, notes=tuple(notes))


def draw13(asked: FigureRequest) -> Drawing:
    """5-shot accuracy against pre-training compute, and against speed."""
    notes: list[str] = []
    ours: dict[str, list[Spot]] = {"left": [], "right": []}
    task = "ImageNet"
    if asked.ours:
        accuracy, task = _accuracies(asked, FIGURE13, ("fewshot",), shots=5)
        notes += caveats(relevant(asked, FIGURE13, "top1"))
        known = [(point, compute_of(point, asked)) for point in accuracy]
        ours["left"] = [(point.label, compute, point.mean) for point, compute in known if compute]
        ours["right"] = _with_speed(asked, FIGURE13, accuracy)
        if not any(ours.values()):
            raise UsageError(
                "figure 13 needs, beside 5-shot accuracies, what is known of the pre-training (a sidecar file with "
                "images and epochs), or records of suite=throughput of the same models; these runs have neither"
            )
        if not ours["left"]:
            notes.append("Compute: images and epochs of our models' pre-training are not known (a sidecar file).")
    beside = asked.published and (task == "ImageNet" or not asked.ours)
    looks = style.Looks(lines=False)
    panels = [name for name in ours if ours[name] or beside]
    canvas = style.canvas(style.PAGE if len(panels) > 1 else style.COLUMN * 1.15, 2.7)
    for axes, panel in zip(canvas.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        drawn = published.digitized("ViT Figure 13", panel).to_dict("records") if beside else []
        theirs = [(_name13(row["series"]), row["x"], 100 * row["y"]) for row in drawn]
        for name, x, y in theirs:
            axes.plot(x, y, **looks.hollow(name))
        for name, x, y in ours[panel]:
            axes.plot(x, y, **looks.filled(name))
        style.plain_log(axes, "x")
        axes.margins(0.2, 0.12)
        axes.set_xlabel("pre-training compute (exaFLOPs)" if panel == "left" else "inference speed (images/s)")
        axes.set_ylabel(f"{task} linear 5-shot top-1 (%)")
        style.annotate(axes, [(x, y, name) for name, x, y in [*theirs, *ours[panel]]])
    if beside:
        notes.append("Published: speed on a TPUv3 core (ViT paper, Figure 13).")
    style.legend(canvas, style.Looks(), columns=2, ours=asked.ours, published=beside)
    axial = beside or any("axial" in name.lower() for spots in ours.values() for name, _, _ in spots)
    title = "Figure 13: axial attention" if axial else "As Figure 13: few-shot accuracy by compute and speed"
    return Drawing(title=title, canvas=canvas, notes=tuple(notes))


def _name13(series: str) -> str:
    return series if series.startswith("Axial") else published.model_name(series)


def draw_pareto(asked: FigureRequest) -> Drawing:
    """Accuracy against measured images a second, with the models that no other beats in both joined to a front.

    Speeds of two machines never share a panel.
    """
    notes: list[str] = []
    panels: list[tuple[str, str, list[Spot], bool]] = []
    if asked.ours:
        accuracy, task = _accuracies(asked, PARETO, ACCURACY_SUITES, shots=None)
        fast = _with_speed(asked, PARETO, accuracy)
        if not fast:
            raise UsageError(
                "figure pareto needs accuracies and speeds of the same models: name a run of suite=throughput beside "
                "one of suite=fewshot, finetune or classify"
            )
        frame = relevant(asked, PARETO, SPEED, FASTEST)
        notes += _suspect(frame)
        panels.append((f"measured here: {_devices(frame)}", f"{task} top-1 (%)", fast, True))
        missing = sorted({point.label for point in accuracy} - {label for label, _, _ in fast})
        if missing:
            notes.append(f"Left out for want of a speed: {', '.join(missing)}.")
        notes += caveats(relevant(asked, PARETO, "top1"))
    if asked.published:
        panels.append(("published: AugReg, V100 (timm)", "ImageNet top-1 (%)", _augreg(), False))
        notes.append(
            "Published: AugReg Table 3, ImageNet-21k 300 epochs; of each model 384 px (the slower) and 224 px."
        )
    looks, theirs = style.Looks(lines=False), style.Looks(lines=False)
    canvas = style.canvas(style.PAGE if len(panels) > 1 else style.COLUMN * 1.35, 3.1)
    for axes, (title, what, found, measured) in zip(
        canvas.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        front = pareto_front([(x, y) for _, x, y in found])
        axes.step([x for x, _ in front], [y for _, y in front], where="pre", color="#666666", linewidth=1.0, zorder=1)
        for name, x, y in found:
            axes.plot(x, y, **(looks.filled(name) if measured else theirs.hollow(name)))
        style.plain_log(axes, "x")
        axes.margins(0.14, 0.1)
        axes.set_title(title)
        axes.set_xlabel("images per second")
        axes.set_ylabel(what)
        if measured:
            style.annotate(axes, [(x, y, name) for name, x, y in found])
    style.legend(canvas, theirs, columns=5 if len(panels) > 1 else 4, ours=False)
    notes.append("The line joins the Pareto front: no other model shown is both faster and more accurate.")
    return Drawing(title="Accuracy against speed", canvas=canvas, notes=tuple(notes))


def _apart(axes: Axes) -> None:
    """Draw the lines a little above or below each other: largest batches are powers of two, which models share."""
    from matplotlib.transforms import ScaledTranslation

    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.15, high * 1.25)
    for i, line in enumerate(axes.get_lines()):
        up = ScaledTranslation(0, 1.4 * (i % 8 - 3.5) / 72, axes.figure.dpi_scale_trans)  # pyright: ignore
        line.set_transform(axes.transData + up)


def pareto_front(found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (speed, accuracy) pairs those that no other equals or beats in both, slowest first; equal pairs count once."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(found), reverse=True):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front[::-1]


def _augreg() -> list[Spot]:
    """The models of AugReg's Table 3 at 224 pixels, then at 384: ImageNet-21k for 300 epochs."""
    table = {(row["resolution"], row["column"], row["model"]): row for row in published.rows("augreg_table3_imagenet")}
    return [
        (published.model_name(model), float(table[size, "img/sec", model]["value"]), float(row["value"]))
        for side in ("224", "384")
        for (size, column, model), row in table.items()
        if (size, column) == (side, "i21k_300")
    ]


def _accuracies(
    asked: FigureRequest, figure: Figure, suites: tuple[str, ...], shots: int | None
) -> tuple[list[Point], str]:
    """Accuracies of one suite on one task, in the order of `suites` the first that is there."""
    frame = relevant(asked, figure, "top1")
    suite = next(name for name in suites if (frame["suite"] == name).any())
    part = frame[frame["suite"] == suite]
    task = choose_task(part, asked, "ImageNet")
    part = part[part["task"] == task]
    if suite == "fewshot":
        need(part, figure, "shots")
        most = shots or int(part["shots"].max())
        part = part[part["shots"] == most]
        if part.empty:
            raise UsageError(f"figure {figure.name} shows {most}-shot accuracies; type shots={most} in the run")
        task = f"{task} {most}-shot" if shots is None else task
    return points(part, asked), task


def _with_speed(asked: FigureRequest, figure: Figure, accuracy: list[Point]) -> list[Spot]:
    """The models whose speed is among the records, at the fastest images a second measured."""
    assert asked.frame is not None
    if not (asked.frame["suite"] == "throughput").any():
        return []
    frame = _inference(relevant(asked, figure, SPEED, FASTEST))
    if frame["device"].nunique() > 1 and not asked.mix:
        devices = " and ".join(sorted(set(frame["device"])))
        raise UsageError(f"the speeds in these records are of {devices}: name runs of one device, or type mix=true")
    found = []
    for point in accuracy:
        own = frame[(frame["model"] == point.model) & (frame["variant"] == point.variant)]
        size = json.loads(point.row.get("treatment") or "{}").get("size")  # that the accuracy was measured on
        if "image_size" in own and isinstance(size, list) and size:
            own = own[own["image_size"].astype(float) == float(size[0])]
        if len(own):
            found.append((point.label, float(own["value"].max()), point.mean))
    return found


def _inference(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["mode"].isin(["inference", ""]) | frame["mode"].isna()] if "mode" in frame else frame


def _devices(frame: pd.DataFrame) -> str:
    return ", ".join(sorted({str(name) for name in frame["device"]}))


def _suspect(frame: pd.DataFrame) -> list[str]:
    """What is said of speeds whose measurement does not vouch for itself."""
    doubted = frame[frame["verdict"].str.startswith("suspect")]
    if doubted.empty:
        return []
    models = ", ".join(sorted(set(doubted["model"])))
    return [f"SUSPECT by their own verdict, and drawn all the same: {len(doubted)} of {len(frame)} rows, of {models}."]


def _by_size(frame: pd.DataFrame) -> dict[str, list[tuple[float, float]]]:
    """The largest value of each model by image size."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _, part in frame.groupby(["model", "variant"], sort=False):
        best: dict[Any, Any] = part.groupby(part["image_size"].astype(float))["value"].max().to_dict()
        found[model_label(part.iloc[0])] = list(best.items())
    return found


def _ways(frame: pd.DataFrame) -> str:
    said = []
    for name in ("precision", "compile"):
        values = sorted({str(value) for value in frame[name].dropna()}) if name in frame else []
        said += [f"{name} {' or '.join(values)}"] if values else []
    return f" ({', '.join(said)})" if said else ""


FIGURE12 = Figure(
    name="12",
    summary="peak inference speed and largest batch by input size",
    suites=("throughput",),
    measured_by="suite=throughput image_size=64,128,224,384,512 find=largest,fastest",
    draw=draw12,
)
FIGURE13 = Figure(
    name="13",
    summary="5-shot accuracy by pre-training compute and by speed, with axial attention",
    suites=("fewshot", "throughput"),
    measured_by="suite=fewshot task=ImageNet shots=5 pool=65000",
    draw=draw13,
)
PARETO = Figure(
    name="pareto",
    summary="accuracy by measured images a second, with the Pareto front",
    suites=(*ACCURACY_SUITES, "throughput"),
    measured_by="suite=fewshot` and `python -m bench run suite=throughput",
    draw=draw_pareto,
)
