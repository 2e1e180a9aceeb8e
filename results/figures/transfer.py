"""Figures 3, 4 and 5: accuracy against what models were pre-trained on, how much of it, and at what compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from .. import published
from . import style
from .records import Point, caveats, choose_task, compute_of, fact, need, points, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SETS: tuple[str, ...] = ("ImageNet", "ImageNet-21k", "JFT-300M")
FINE_TUNED = ("finetune", "classify")
# The five of "Average-5" by the names of our tasks and of Table 6: ReaL is not among them.
AVERAGE5 = ("ImageNet", "CIFAR-10", "CIFAR-100-full", "Oxford-IIIT Pets", "Oxford Flowers-102")
IN_TABLE5 = {"CIFAR-100-full": "CIFAR-100"}  # of our names those that differ from the table's
FAMILIES = {"ViT": "Transformer (ViT)", "BiT": "ResNet (BiT)", "R+ViT": "Hybrid"}
WIDTH = style.COLUMN * 1.15
Spot = tuple[str, float, float, str]  # family, exaFLOPs, accuracy, label


def draw3(asked: FigureRequest) -> Drawing:
    """Fine-tuned accuracy by pre-training set; the ResNets' range is shaded, as the paper draws it."""
    notes: list[str] = []
    task, ours = "ImageNet", []
    if asked.ours:
        frame = relevant(asked, FIGURE3, "top1")
        task = choose_task(frame, asked, task)
        found = points(frame[frame["task"] == task], asked)
        ours = [point for point in found if point.row["pretrain"]]
        notes += _left_out(
            found, ours, "it is not known what their weights were pre-trained on (a sidecar file says it)"
        )
        notes += caveats(frame)
    elif asked.task:
        task = _published_task(asked.task)
    lines = _lines3(task) if asked.published else {}
    if asked.published and not lines:
        notes.append(f"Nothing is published for {task} here.")
    _refuse_empty(FIGURE3, ours, lines, notes)
    places = list(SETS) if lines else []
    places += [name for name in dict.fromkeys(p.row["pretrain"] for p in ours) if name not in places]
    looks = style.Looks()
    canvas = style.canvas(WIDTH, 2.7)
    axes = canvas.subplots()
    if lines and task == "ImageNet":
        looks.others.append(_shade_bit(axes, places))
        notes.append("ViT-H/14 on JFT-300M is drawn at 88.28 as in the paper's graphics; its Table 5 prints 88.04.")
    for name, values in lines.items():
        at = sorted((places.index(place), value) for place, value in values.items())
        axes.plot([x for x, _ in at], [y for _, y in at], **looks.hollow(name))
    _plot_ours(axes, looks, [(point, places.index(point.row["pretrain"])) for point in ours])
    axes.set_xticks(range(len(places)), places)
    axes.set_xlim(-0.3, len(places) - 0.7)
    axes.set_xlabel("pre-training set")
    axes.set_ylabel(f"{task} top-1 (%)")
    style.legend(canvas, looks, columns=2 if ours else 3, ours=bool(ours), published=bool(lines))
    return Drawing(title=f"Figure 3: {task} accuracy by pre-training set", canvas=canvas, notes=tuple(notes))


def _lines3(task: str) -> dict[str, dict[str, float]]:
    if task == "ImageNet":
        drawn = published.drawn("ViT Figure 3")
        rows = [(row["series"], row["x"], row["y"]) for row in drawn if not row["series"].startswith("BiT")]
    else:
        table = published.rows("table5_transfer")
        dataset = IN_TABLE5.get(task, task)
        rows = [(row["model"], row["pretrain"], row["value"]) for row in table if row["dataset"] == dataset]
    found: dict[str, dict[str, float]] = {}
    for name, place, value in rows:
        found.setdefault(name, {})[place] = float(value)
    return found


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


def _plot_ours(axes: Axes, looks: style.Looks, placed: Sequence[tuple[Point, float]]) -> None:
    """A line a model through its points, each at its place on the horizontal axis, with the std over seeds."""
    for name in dict.fromkeys(point.label for point, _ in placed):
        at = sorted((x, point.mean, point.std or 0) for point, x in placed if point.label == name)
        x, y, error = zip(*at, strict=True)
        axes.errorbar(x, y, yerr=error if any(error) else None, **looks.filled(name))


def draw4(asked: FigureRequest) -> Drawing:
    """Linear 5-shot accuracy against the number of images pre-trained on."""
    notes: list[str] = []
    task, ours = "ImageNet", []
    if asked.ours:
        frame = relevant(asked, FIGURE4, "top1")
        need(frame, FIGURE4, "shots")
        task = choose_task(frame, asked, task)
        found = points(_five_shot(frame, FIGURE4, task), asked)
        ours = [point for point in found if _known(point.row.get("pretrain.images"))]
        notes += _left_out(
            found, ours, "it is not known how many images their weights were pre-trained on (a sidecar file says it)"
        )
        notes += caveats(frame)
    drawn = published.digitized("ViT Figure 4") if asked.published and task == "ImageNet" else None
    if asked.published and drawn is None:
        notes.append(f"Published points are of ImageNet and cannot stand beside {task}.")
    _refuse_empty(FIGURE4, ours, drawn, notes)
    looks = style.Looks()
    canvas = style.canvas(WIDTH, 2.7)
    axes = canvas.subplots()
    if drawn is not None:
        style.series(axes, looks, drawn.assign(x=drawn["x"] * 1e6), published.model_name)
        notes.append("Published: subsets of JFT-300M; ViT-b/32 has half the width of ViT-B/32 (ViT paper, Figure 4).")
    _plot_ours(axes, looks, [(point, float(point.row["pretrain.images"])) for point in ours])
    alone = drawn is not None and not ours
    style.plain_log(axes, "x", [1e7, 3e7, 1e8, 3e8] if alone else None)
    from matplotlib.ticker import FuncFormatter

    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _images(value)))
    axes.set_xlabel("images pre-trained on" + (" (subsets of JFT-300M)" if alone else ""))
    axes.set_ylabel(f"{task} linear 5-shot top-1 (%)")
    style.legend(canvas, looks, columns=3, ours=bool(ours), published=drawn is not None)
    return Drawing(title=f"Figure 4: {task} 5-shot accuracy by pre-training size", canvas=canvas, notes=tuple(notes))


def draw5(asked: FigureRequest) -> Drawing:
    """Accuracy after fine-tuning against pre-training compute: the mean of five sets, and ImageNet."""
    notes: list[str] = []
    panels: dict[str, list[Spot]] = {"Average-5": [], "ImageNet": []}
    drawn = {panel: published.digitized("ViT Figure 5", panel) for panel in panels} if asked.published else {}
    if asked.ours:
        frame = relevant(asked, FIGURE5, "top1")
        if not set(frame["task"]) & set(AVERAGE5):
            alone = choose_task(frame, asked, "ImageNet")
            panels, drawn = {alone: []}, {}
            notes.append(f"Published points are of ImageNet and five transfer sets; they cannot stand beside {alone}.")
        for panel in panels:
            panels[panel], said = _panel5(frame, asked, panel)
            notes += [one for one in said if one not in notes]
        notes += caveats(frame)
    _refuse_empty(FIGURE5, [spot for found in panels.values() for spot in found], drawn, notes)
    looks = style.Looks(lines=False)
    families = {family for found in panels.values() for family, *_ in found}
    for name in [*FAMILIES.values(), *sorted(families - {*FAMILIES.values()})]:
        if drawn or name in families:
            looks[name]  # in this order in the legend
    canvas = style.canvas(style.PAGE if len(panels) > 1 else WIDTH, 2.6)
    for axes, (panel, ours) in zip(canvas.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for row in drawn[panel].to_dict("records") if panel in drawn else []:
            axes.plot(row["x"], row["y"], **looks.hollow(row["series"]))
        for family, x, y, _ in ours:
            axes.plot(x, y, **looks.filled(family))
        style.plain_log(axes, "x")
        style.annotate(axes, [(x, y, label) for _, x, y, label in ours])
        axes.set_title(panel)
        axes.set_xlabel("pre-training compute (exaFLOPs)")
        axes.set_ylabel("transfer accuracy (%)" if panel == "Average-5" else f"{panel} top-1 (%)")
    if drawn:
        notes.append("Average-5: ImageNet, CIFAR-10, CIFAR-100, Pets and Flowers (ViT paper, Figure 5 and Table 6).")
    style.legend(canvas, looks, columns=5, ours=any(panels.values()), published=bool(drawn))
    return Drawing(title="Figure 5: accuracy by pre-training compute", canvas=canvas, notes=tuple(notes))


def _panel5(frame: pd.DataFrame, asked: FigureRequest, panel: str) -> tuple[list[Spot], list[str]]:
    """A spot for each of our models, and who was left out."""
    tasks = AVERAGE5 if panel == "Average-5" else (panel,)
    by_label: dict[str, list[Point]] = {}
    for task in tasks:
        for point in points(frame[frame["task"] == task], asked):
            by_label.setdefault(point.label, []).append(point)
    drawn, partial, unknown = [], [], []
    for label, own in by_label.items():
        compute = compute_of(own[0], asked)
        if len(own) < len(tasks):
            partial.append(f"{label} ({len(own)}/{len(tasks)})")
        elif not compute:
            unknown.append(label)
        else:
            family = str(fact(own[0], asked, "family") or "")
            mean = sum(point.mean for point in own) / len(own)
            drawn.append((FAMILIES.get(family, family or "other"), compute, mean, label))
    notes = []
    if partial:
        notes.append(f"No Average-5 without all five: {', '.join(partial)}.")
    if unknown:
        notes.append(
            f"Left out: {', '.join(unknown)}, of which images and epochs of pre-training (a sidecar file says them) or "
            "the compute of a forward pass are not known."
        )
    return drawn, notes


def _five_shot(frame: pd.DataFrame, figure: Figure, task: str) -> pd.DataFrame:
    part = frame[(frame["task"] == task) & (frame["shots"] == 5)]
    if part.empty:
        there = ", ".join(f"{shots:g}" for shots in sorted(frame["shots"].dropna().unique()))
        raise UsageError(
            f"figure {figure.name} shows 5-shot accuracies; these records of {task} are of {there} images a class. "
            "Type shots=5 in the run"
        )
    return part


def _published_task(task: str) -> str:
    there = sorted({row["dataset"] for row in published.rows("table5_transfer")})
    near = [name for name in [*there, *IN_TABLE5] if name.lower() == task.lower()]
    if not near:
        raise UsageError(f"task={task}: nothing is published for it. There is something for {', '.join(there)}")
    return near[0]


def _refuse_empty(figure: Figure, ours: Any, theirs: Any, notes: list[str]) -> None:
    if not ours and (theirs is None or not len(theirs)):
        raise UsageError(f"figure {figure.name} has nothing to draw. {' '.join(notes)}".strip())


def _left_out(found: list[Point], kept: list[Point], why: str) -> list[str]:
    names = [point.label for point in found if point not in kept]
    return [f"Left out: {', '.join(names)}: {why}."] if names else []


def _known(value: Any) -> bool:
    return value is not None and value == value and value != "" and float(value) > 0


def _images(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


FIGURE3 = Figure(
    name="3",
    summary="fine-tuned accuracy by pre-training set",
    suites=FINE_TUNED,
    measured_by="suite=finetune task=ImageNet",
    draw=draw3,
)
FIGURE4 = Figure(
    name="4",
    summary="linear 5-shot accuracy by the number of images pre-trained on",
    suites=("fewshot",),
    measured_by="suite=fewshot task=ImageNet shots=5 pool=65000",
    draw=draw4,
)
FIGURE5 = Figure(
    name="5",
    summary="fine-tuned accuracy by pre-training compute: mean of five sets, and ImageNet",
    suites=FINE_TUNED,
    measured_by="suite=finetune task=ImageNet,CIFAR-10,CIFAR-100-full,'Oxford-IIIT Pets','Oxford Flowers-102'",
    draw=draw5,
)
