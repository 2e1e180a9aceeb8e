"""Figures 3, 4 and 5: accuracy against the pre-training set, its size, and the compute of pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from .. import published
from ..tables import row_labels
from ..tables.table import FINE_TUNED, PRETRAINED
from . import records, style
from .crossing import statements
from .records import MEAN_OF_PROBES, Point, caveats, choose_task, of_shots, points, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SETS: tuple[str, ...] = ("ImageNet", "ImageNet-21k", "JFT-300M")
SUITES = (FINE_TUNED, "classify")
# The five data sets of "Average-5", by our names. ImageNet ReaL is not among them.
AVERAGE5 = ("ImageNet", "CIFAR-10", "CIFAR-100-full", "Oxford-IIIT Pets", "Oxford Flowers-102")
IN_TABLE5 = {"CIFAR-100-full": "CIFAR-100"}  # our name: the table's, where they differ
FAMILIES = {"ViT": "Transformer (ViT)", "BiT": "ResNet (BiT)", "R+ViT": "Hybrid"}
WIDTH = style.COLUMN * 1.15
Spot = tuple[str, float, float, str]  # family, exaFLOPs, accuracy, label


def draw3(request: FigureRequest) -> Drawing:
    """Fine-tuned accuracy by pre-training set; the ResNets' range is shaded, as the paper draws it."""
    notes: list[str] = []
    task, ours = "ImageNet", []
    if request.ours:
        frame = relevant(request, FIGURE3, "top1")
        task = choose_task(frame, request, task)
        measured = points(frame[frame["task"] == task], request)
        ours = [point for point in measured if point.row["pretrain"]]
        notes += _left_out_note(
            measured, ours, "it is not known what their weights were pre-trained on (a sidecar file says it)"
        )
        notes += caveats(frame)
    elif request.task:
        task = _published_task(request.task)
    lines = _lines3(task) if request.published else {}
    if request.published and not lines:
        notes.append(f"Nothing is published for {task} here.")
    _refuse_empty(FIGURE3, ours, lines, notes)
    sets = list(SETS) if lines else []
    sets += [name for name in dict.fromkeys(p.row["pretrain"] for p in ours) if name not in sets]
    styles = style.SeriesStyles()
    canvas = style.canvas(WIDTH, 2.7)
    axes = canvas.subplots()
    if lines and task == "ImageNet":
        styles.others.append(_shade_bit(axes, sets))
        notes.append("ViT-H/14 on JFT-300M is drawn at 88.28 as in the paper's graphics; its Table 5 prints 88.04.")
    for name, values in lines.items():
        line_points = sorted((sets.index(place), value) for place, value in values.items())
        axes.plot([x for x, _ in line_points], [y for _, y in line_points], **styles.hollow(name))
    _plot_ours(axes, styles, [(point, sets.index(point.row["pretrain"])) for point in ours])
    axes.set_xticks(range(len(sets)), sets)
    axes.set_xlim(-0.3, len(sets) - 0.7)
    axes.set_xlabel("pre-training set")
    axes.set_ylabel(f"{task} top-1 (%)")
    style.legend(canvas, styles, columns=2 if ours else 3, ours=bool(ours), published=bool(lines))
    return Drawing(title=f"Figure 3: {task} accuracy by pre-training set", canvas=canvas, notes=notes)


def _lines3(task: str) -> dict[str, dict[str, float]]:
    if task == "ImageNet":
        drawn = published.drawn("ViT Figure 3")
        rows = [(row["series"], row["x"], row["y"]) for row in drawn if not row["series"].startswith("BiT")]
    else:
        table = published.rows("table5_transfer")
        dataset = IN_TABLE5.get(task, task)
        rows = [(row["model"], row["pretrain"], row["value"]) for row in table if row["dataset"] == dataset]
    by_model: dict[str, dict[str, float]] = {}
    for name, place, value in rows:
        by_model.setdefault(name, {})[place] = float(value)
    return by_model


def _shade_bit(axes: Axes, places: list[str]) -> Any:
    x = [places.index(place) for place in SETS]
    drawn = {(row["series"], row["x"]): float(row["y"]) for row in published.drawn("ViT Figure 3")}
    low, high = ([drawn[f"BiT ({edge} edge marker)", place] for place in SETS] for edge in ("lower", "upper"))
    for values in (low, high):
        axes.plot(x, values, color="#888888", linewidth=0.7, linestyle=":", zorder=1)
    label = "BiT, R50x1 to R152x4"
    return axes.fill_between(
        x, low, high, facecolor="#eeeeee", edgecolor="#cccccc", hatch="///", linewidth=0, label=label
    )


def _plot_ours(axes: Axes, styles: style.SeriesStyles, placed: Sequence[tuple[Point, float]]) -> None:
    """Plot a line a model through its points, given with their x, with the std over seeds."""
    for name in dict.fromkeys(point.label for point, _ in placed):
        line_points = sorted((x, point.mean, point.std or 0) for point, x in placed if point.label == name)
        x, y, error = zip(*line_points, strict=True)
        axes.errorbar(x, y, yerr=error if any(error) else None, **styles.filled(name))


def draw4(request: FigureRequest) -> Drawing:
    """Linear 5-shot accuracy against the number of images pre-trained on."""
    notes: list[str] = []
    task, ours = "ImageNet", []
    if request.ours:
        request = records.with_probes(request)
        frame = relevant(request, FIGURE4, "top1")
        records.need(frame, FIGURE4, "shots")
        task = choose_task(frame, request, MEAN_OF_PROBES if MEAN_OF_PROBES in set(frame["task"]) else task)
        of_task = of_shots(frame[frame["task"] == task], FIGURE4, 5)
        measured, crossings = _points4(of_task, request)
        notes += crossings
        ours = [point for point in measured if float(point.row.get("pretrain.images") or 0) > 0]
        notes += _left_out_note(
            measured, ours, "it is not known how many images their weights were pre-trained on (a sidecar file says it)"
        )
        notes += caveats(frame)
    printed = published.digitized("ViT Figure 4") if request.published and task == "ImageNet" else None
    if request.published and printed is None:
        notes.append(f"Published points are of ImageNet and cannot stand beside {task}.")
    _refuse_empty(FIGURE4, ours, printed, notes)
    styles = style.SeriesStyles()
    canvas = style.canvas(WIDTH, 2.7)
    axes = canvas.subplots()
    if printed is not None:
        style.series(axes, styles, printed.assign(x=printed["x"] * 1e6), published.model_name)
        notes.append("Published: subsets of JFT-300M; ViT-b/32 has half the width of ViT-B/32 (ViT paper, Figure 4).")
    _plot_ours(axes, styles, [(point, float(point.row["pretrain.images"])) for point in ours])
    published_only = printed is not None and not ours
    style.plain_log(axes, "x", [1e7, 3e7, 1e8, 3e8] if published_only else None)
    from matplotlib.ticker import FuncFormatter

    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _images(value)))
    axes.set_xlabel("images pre-trained on" + (" (subsets of JFT-300M)" if published_only else ""))
    axes.set_ylabel(f"{task} linear 5-shot top-1 (%)")
    style.legend(canvas, styles, columns=3, ours=bool(ours), published=printed is not None)
    return Drawing(title=f"Figure 4: {task} 5-shot accuracy by pre-training size", canvas=canvas, notes=notes)


def _points4(frame: pd.DataFrame, request: FigureRequest) -> tuple[list[Point], list[str]]:
    """The points of kept weights, one a file, and of probes of pre-training; where the latters' models cross."""
    here = frame["suite"] == PRETRAINED
    measured = [] if here.all() else points(frame[~here], request)
    by_model: dict[str, dict[float, list[float]]] = {}
    for (images,), of_number in frame[here].groupby(["pretrain.images"]) if here.any() else ():
        for point, (label, part) in zip(points(of_number, request), row_labels(of_number), strict=True):
            measured.append(point)
            by_model.setdefault(label, {})[float(str(images))] = part["value"].tolist()
    return measured, statements(by_model)


def draw5(request: FigureRequest) -> Drawing:
    """Accuracy after fine-tuning against pre-training compute: the mean of five sets, and ImageNet."""
    notes: list[str] = []
    panels: dict[str, list[Spot]] = {"Average-5": [], "ImageNet": []}
    printed = {panel: published.digitized("ViT Figure 5", panel) for panel in panels} if request.published else {}
    if request.ours:
        frame = relevant(request, FIGURE5, "top1")
        if not set(frame["task"]) & set(AVERAGE5):
            task = choose_task(frame, request, "ImageNet")
            panels, printed = {task: []}, {}
            notes.append(f"Published points are of ImageNet and five transfer sets; they cannot stand beside {task}.")
        for panel in panels:
            panels[panel], panel_notes = _panel5(frame, request, panel)
            notes += [note for note in panel_notes if note not in notes]
        notes += caveats(frame)
    _refuse_empty(FIGURE5, [spot for spots in panels.values() for spot in spots], printed, notes)
    styles = style.SeriesStyles(lines=False)
    families = {family for spots in panels.values() for family, *_ in spots}
    for name in [*FAMILIES.values(), *sorted(families - {*FAMILIES.values()})]:
        if printed or name in families:
            styles[name]  # adds the name, so that the legend has this order
    canvas = style.canvas(style.PAGE if len(panels) > 1 else WIDTH, 2.6)
    for axes, (panel, ours) in zip(canvas.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for row in printed[panel].to_dict("records") if panel in printed else []:
            axes.plot(row["x"], row["y"], **styles.hollow(row["series"]))
        for family, x, y, _ in ours:
            axes.plot(x, y, **styles.filled(family))
        style.plain_log(axes, "x")
        style.annotate(axes, [(x, y, label) for _, x, y, label in ours])
        axes.set_title(panel)
        axes.set_xlabel("pre-training compute (exaFLOPs)")
        axes.set_ylabel("transfer accuracy (%)" if panel == "Average-5" else f"{panel} top-1 (%)")
    if printed:
        notes.append("Average-5: ImageNet, CIFAR-10, CIFAR-100, Pets and Flowers (ViT paper, Figure 5 and Table 6).")
    style.legend(canvas, styles, columns=5, ours=any(panels.values()), published=bool(printed))
    return Drawing(title="Figure 5: accuracy by pre-training compute", canvas=canvas, notes=notes)


def _panel5(frame: pd.DataFrame, request: FigureRequest, panel: str) -> tuple[list[Spot], list[str]]:
    """A spot for each of our models, and notes on those left out."""
    tasks = AVERAGE5 if panel == "Average-5" else (panel,)
    by_label: dict[str, list[Point]] = {}
    for task in tasks:
        for point in points(frame[frame["task"] == task], request):
            by_label.setdefault(point.label, []).append(point)
    spots, partial, unknown = [], [], []
    for label, own in by_label.items():
        compute = records.compute_of(own[0], request)
        if len(own) < len(tasks):
            partial.append(f"{label} ({len(own)}/{len(tasks)})")
        elif not compute:
            unknown.append(label)
        else:
            family = str(records.model_value(own[0], request, "family") or "")
            mean = sum(point.mean for point in own) / len(own)
            spots.append((FAMILIES.get(family, family or "other"), compute, mean, label))
    notes = []
    if partial:
        notes.append(f"No Average-5 without all five: {', '.join(partial)}.")
    if unknown:
        notes.append(
            f"Left out: {', '.join(unknown)}, of which images and epochs of pre-training (a sidecar file says them) or "
            "the compute of a forward pass are not known."
        )
    return spots, notes


def _published_task(task: str) -> str:
    known = sorted({row["dataset"] for row in published.rows("table5_transfer")})
    same = [name for name in [*known, *IN_TABLE5] if name.lower() == task.lower()]
    if not same:
        raise UsageError(f"task={task}: nothing is published for it. There is something for {', '.join(known)}")
    return same[0]


def _refuse_empty(figure: Figure, ours: Any, theirs: Any, notes: list[str]) -> None:
    if not ours and (theirs is None or not len(theirs)):
        raise UsageError(f"figure {figure.name} has nothing to draw. {' '.join(notes)}".strip())


def _left_out_note(measured: list[Point], drawn: list[Point], why: str) -> list[str]:
    names = [point.label for point in measured if point not in drawn]
    return [f"Left out: {', '.join(names)}: {why}."] if names else []


def _images(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


FIGURE3 = Figure(
    name="3",
    summary="fine-tuned accuracy by pre-training set",
    suites=SUITES,
    measured_by="suite=finetune task=ImageNet",
    draw=draw3,
)
FIGURE4 = Figure(
    name="4",
    summary="linear 5-shot accuracy by the number of images pre-trained on",
    suites=("fewshot", PRETRAINED),
    measured_by=records.FIVE_SHOT_RUN,
    draw=draw4,
)
FIGURE5 = Figure(
    name="5",
    summary="fine-tuned accuracy by pre-training compute: mean of five sets, and ImageNet",
    suites=SUITES,
    measured_by="suite=finetune task=ImageNet,CIFAR-10,CIFAR-100-full,'Oxford-IIIT Pets','Oxford Flowers-102'",
    draw=draw5,
)
