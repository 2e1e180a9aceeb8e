"""Figures 3, 4 and 5: accuracy against the pre-training set, its size, and the compute of pre-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from .. import published
from ..published import SET_IMAGES
from ..tables.pretrainings import MEAN_OF_PROBES, with_probes
from ..tables.rows import mean_and_std
from ..tables.table import FINE_TUNED, PRETRAINED
from . import records, style
from .crossing import IMAGES, Axis, statements
from .records import Point, caveats, choose_task, of_shots, points, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TRANSFERRED = (FINE_TUNED, "classify")  # suites whose top-1 is that of a network trained on the task
PROBED = ("fewshot", PRETRAINED)
SHOTS = 5
# The five data sets of "Average-5", by our names. ImageNet ReaL is not among them.
AVERAGE5 = ("ImageNet", "CIFAR-10", "CIFAR-100-full", "Oxford-IIIT Pets", "Oxford Flowers-102")
IN_TABLE5 = {"CIFAR-100-full": "CIFAR-100"}  # our name: the table's, where they differ
FAMILIES = {"ViT": "Transformer (ViT)", "BiT": "ResNet (BiT)", "R+ViT": "Hybrid"}
RULES = {  # suite=pretrain's rule=: how regularisation is set
    "fixed": "the same regularisation for every number of images",
    "regularised": "regularisation chosen for each number of images",
}
PREFIXES = {"exa": 1.0, "peta": 1e3, "tera": 1e6, "giga": 1e9}  # in an exaFLOP
UNKNOWN = "it is not known how many images their weights were pre-trained on, if any (a sidecar file says it)"
BRACKETS = (
    "In brackets: between the nearest places on either side where the 95 % interval of the difference, over seeds of "
    "pre-training, excludes 0 (…: nowhere that was run)."
)
WIDTH = style.COLUMN * 1.15
Placed = Sequence[tuple[Point, float]]  # points and their place on the horizontal axis


def draw3(request: FigureRequest) -> Drawing:
    """Fine-tuned accuracy by the size of the pre-training set; the ResNets' range is shaded, as the paper draws it.

    Where nothing of known pre-training was fine-tuned, the few-shot probe.
    """
    notes: list[str] = []
    task, ours, probed = "ImageNet", [], False
    if request.ours:
        frame, probed = _accuracies(request, FIGURE3, "regularised", notes)
        task = choose_task(frame, request, MEAN_OF_PROBES if probed and MEAN_OF_PROBES in set(frame["task"]) else task)
        measured = [(point, _set_images(point.row)) for point in points(frame[frame["task"] == task], request)]
        ours = _placed_by_images(measured, request, notes)
    elif request.task:
        task = _published_task(request.task)
    lines = _lines3(task) if request.published and not probed else {}
    if request.published and not lines:
        notes.append(f"Nothing is published for {task} here.")
    _refuse_empty(FIGURE3, ours, lines, notes)
    styles = style.SeriesStyles()
    canvas = style.canvas(WIDTH, 2.7)
    axes = canvas.subplots()
    if lines and task == "ImageNet":
        styles.others.append(_shade_bit(axes))
        notes.append("ViT-H/14 on JFT-300M is drawn at 88.28 as in the paper's graphics; its Table 5 prints 88.04.")
    for name, values in lines.items():
        line_points = sorted((SET_IMAGES[place], value) for place, value in values.items())
        axes.plot([x for x, _ in line_points], [y for _, y in line_points], **styles.hollow(name))
    _plot_ours(axes, styles, ours)
    named = bool(lines) and all(x in SET_IMAGES.values() for _, x in ours)
    _image_axis(axes, named=named)
    if lines and not named:
        sets = (f"{name} ({short_count(images)} images)" for name, images in SET_IMAGES.items())
        notes.append(f"Published: {', '.join(sets)}.")
    axes.set_ylabel(_accuracy_label(task, probed))
    style.legend(canvas, styles, columns=2 if ours else 3, ours=bool(ours), published=bool(lines))
    title = f"Figure 3: {task} accuracy by pre-training set"
    return Drawing(title=f"{title}, few-shot probe" if probed else title, canvas=canvas, notes=notes)


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


def _shade_bit(axes: Axes) -> Any:
    drawn = {(row["series"], row["x"]): float(row["y"]) for row in published.drawn("ViT Figure 3")}
    low, high = ([drawn[f"BiT ({edge} edge marker)", place] for place in SET_IMAGES] for edge in ("lower", "upper"))
    x = list(SET_IMAGES.values())
    for values in (low, high):
        axes.plot(x, values, color="#888888", linewidth=0.7, linestyle=":", zorder=1)
    label = "BiT, R50x1 to R152x4"
    return axes.fill_between(
        x, low, high, facecolor="#eeeeee", edgecolor="#cccccc", hatch="///", linewidth=0, label=label
    )


def _accuracies(request: FigureRequest, figure: Figure, rule: str, notes: list[str]) -> tuple[pd.DataFrame, bool]:
    """Fine-tuned accuracies, or where none is of weights of known pre-training, 5-shot probes; and whether probes.

    Adds notes on what is drawn.
    """
    frame = relevant(_with_probes(request), figure, "top1")
    probes = frame[frame["suite"].isin(PROBED)]
    tuned = frame[frame["suite"].isin(TRANSFERRED)]
    probed = len(probes) > 0 and not any(_set_images(row) for row in tuned.to_dict("records"))
    if probed:
        records.need(probes, figure, "shots")
        probes = of_shots(probes, figure, SHOTS)
        notes.append("No weights of known pre-training were fine-tuned: closed-form 5-shot probes stand here.")
    elif len(probes):
        notes.append("Probes of these records are left out: the paper fine-tunes here.")
    return _prepared(probes if probed else tuned, figure, rule, notes), probed


def _with_probes(request: FigureRequest) -> FigureRequest:
    assert request.frame is not None
    return replace(request, frame=with_probes(request.frame))


def _prepared(frame: pd.DataFrame, figure: Figure, rule: str, notes: list[str]) -> pd.DataFrame:
    """The records whose pre-training has this rule, or else another; the sizes of one set as one row. Adds notes."""
    notes += caveats(frame)
    found = sorted(set(frame["rule"]) - {""})
    if found:
        shown = rule if rule in found else found[0]
        frame = frame[frame["rule"].isin(["", shown])]
        notes += [f"Left out: pre-trainings with {RULES[other]}." for other in found if other != shown]
        if shown != rule:
            notes.append(f"Ours: {RULES[shown]}; the paper's Figure {figure.name}: {RULES[rule]} (suite.rule={rule}).")
    return frame.assign(weights=frame["pretrain"].where(frame["file"].notna(), frame["weights"]))


def _set_images(row: dict[Any, Any]) -> float | None:
    """How many images a record's weights were pre-trained on; of the papers' sets also by name."""
    images = row.get("pretrain.images")
    return float(images) if images == images and images else SET_IMAGES.get(str(row["pretrain"]))


def _placed_by_images(
    measured: Sequence[tuple[Point, float | None]], request: FigureRequest, notes: list[str]
) -> Placed:
    """The points at their number of images, with notes on those left out, on the intervals, and where lines cross."""
    placed = [(point, images) for point, images in measured if images]
    if left_out := [point.label for point, images in measured if not images]:
        notes.append(f"Left out: {', '.join(dict.fromkeys(left_out))}: {UNKNOWN}.")
    notes += _crossings(placed, request)
    return placed


def _crossings(placed: Placed, request: FigureRequest, axis: Axis = IMAGES) -> list[str]:
    """What the error bars are, and where the lines of models that were pre-trained here cross.

    Raises UsageError, unless `request.mix`, for two pre-trainings of a line at one place.
    """
    series: dict[str, dict[float, Mapping[float, float]]] = {}
    keys: dict[tuple[str, float], str] = {}
    for point, x in placed:
        key = str(point.row.get("pretraining") or "")
        other = keys.setdefault((point.label, x), key)
        if other != key and not request.mix:
            raise UsageError(
                f"two pre-trainings of {point.label} stand at {x:{axis.digits}} {axis.unit}: kept/{other} and "
                f"kept/{key}. Name the run that counts, or type mix=true"
            )
        if point.draws:
            series.setdefault(point.label, {})[x] = point.draws
    counts = sorted({len(draws) for values in series.values() for draws in values.values()} - {1})
    bars = [f"Bars: std (ddof 1) over {' or '.join(map(str, counts))} seeds of pre-training."] if counts else []
    crossings = statements(series, axis)
    explained = [BRACKETS] if any("[" in sentence for sentence in crossings) else []
    return bars + crossings + explained


def _plot_ours(axes: Axes, styles: style.SeriesStyles, placed: Placed) -> None:
    """Plot a line a model through its points, given with their x, with the std over seeds."""
    for name in dict.fromkeys(point.label for point, _ in placed):
        line_points = sorted((x, point.mean, point.std or 0) for point, x in placed if point.label == name)
        x, y, error = zip(*line_points, strict=True)
        axes.errorbar(x, y, yerr=error if any(error) else None, **styles.filled(name))


def _image_axis(axes: Axes, *, named: bool) -> None:
    """A logarithmic axis of numbers of images; with `named`, ticks at the papers' sets alone, with their names."""
    from matplotlib.ticker import FuncFormatter

    style.plain_log(axes, "x", list(SET_IMAGES.values()) if named else None)
    names = {images: name for name, images in SET_IMAGES.items()} if named else {}
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: f"{names[x]}\n{short_count(x)}" if x in names else short_count(x))
    )
    axes.set_xlabel("pre-training set, images" if named else "images pre-trained on")


def _accuracy_label(task: str, probed: bool) -> str:
    return f"{task}, linear 5-shot top-1 (%)" if probed else f"{task} top-1 (%)"


def draw4(request: FigureRequest) -> Drawing:
    """Linear 5-shot accuracy against the number of images pre-trained on."""
    notes: list[str] = []
    task, ours = "ImageNet", []
    if request.ours:
        frame = relevant(_with_probes(request), FIGURE4, "top1")
        records.need(frame, FIGURE4, "shots")
        task = choose_task(frame, request, MEAN_OF_PROBES if MEAN_OF_PROBES in set(frame["task"]) else task)
        frame = of_shots(frame[frame["task"] == task], FIGURE4, SHOTS)
        measured = points(_prepared(frame, FIGURE4, "fixed", notes), request)
        ours = _placed_by_images([(point, point.images) for point in measured], request, notes)
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
    _plot_ours(axes, styles, ours)
    _image_axis(axes, named=False)
    if printed is not None and not ours:
        style.plain_log(axes, "x", [1e7, 3e7, 1e8, 3e8])
        axes.xaxis.set_major_formatter(lambda x, _: short_count(x))
        axes.set_xlabel("images pre-trained on (subsets of JFT-300M)")
    axes.set_ylabel(_accuracy_label(task, True))
    style.legend(canvas, styles, columns=3, ours=bool(ours), published=printed is not None)
    return Drawing(title=f"Figure 4: {task} 5-shot accuracy by pre-training size", canvas=canvas, notes=notes)


def draw5(request: FigureRequest) -> Drawing:
    """Transfer accuracy against pre-training compute: the mean of the paper's five sets and ImageNet, or of ours."""
    notes: list[str] = []
    panels: dict[str, Sequence[str]] = {"Average-5": AVERAGE5, "ImageNet": ("ImageNet",)}
    ours: dict[str, Placed] = {panel: [] for panel in panels}
    printed = {panel: published.digitized("ViT Figure 5", panel) for panel in panels} if request.published else {}
    probed = False
    if request.ours:
        frame, probed = _accuracies(request, FIGURE5, "fixed", notes)
        if probed or request.task or not set(frame["task"]) & set(AVERAGE5):
            panels, printed = _panel_of_ours(frame, request, notes), {}
            notes.append("Published points are of ImageNet and five transfer sets; they cannot stand beside these.")
        for panel, tasks in panels.items():
            ours[panel] = _placed_by_compute(frame, request, tasks, notes)
    drawn = [point for panel in panels for point, _ in ours[panel]]
    _refuse_empty(FIGURE5, drawn, printed, notes)
    prefix = "exa" if printed else _prefix([x for panel in panels for _, x in ours[panel]])
    names = _families(drawn, request, apart=not printed)
    styles = style.SeriesStyles(lines=False)
    for name in [*FAMILIES.values(), *names.values()]:
        if printed or name in names.values():
            styles[name]  # adds the name, so that the legend has this order
    canvas = style.canvas(style.PAGE if len(panels) > 1 else WIDTH, 2.6)
    for axes, panel in zip(canvas.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        placed = [(point, x * PREFIXES[prefix]) for point, x in ours[panel]]
        for row in printed[panel].to_dict("records") if panel in printed else []:
            axes.plot(row["x"], row["y"], **styles.hollow(row["series"]))
        for label in dict.fromkeys(point.label for point, _ in placed):
            line = sorted((x, point.mean, point.std or 0) for point, x in placed if point.label == label)
            x, y, error = zip(*line, strict=True)
            joined = {"linestyle": "-" if len(line) > 1 else "none", "linewidth": 0.8}
            axes.errorbar(x, y, yerr=error if any(error) else None, **styles.filled(names[label], **joined))
        style.plain_log(axes, "x")
        axes.margins(x=0.12)
        texts = _texts(placed, names)
        style.annotate(axes, [text[1:] for text in texts], [styles[text[0]]["color"] for text in texts])
        axes.set_title(panel)
        axes.set_xlabel(f"pre-training compute ({prefix}FLOPs)")
        axes.set_ylabel("linear 5-shot top-1 (%)" if probed else f"{_mean_or_task(panel)} (%)")
        notes += [note for note in _crossings(placed, request, _compute(prefix)) if note not in notes]
    if printed:
        notes.append("Average-5: ImageNet, CIFAR-10, CIFAR-100, Pets and Flowers (ViT paper, Figure 5 and Table 6).")
    style.legend(canvas, styles, columns=5, ours=bool(drawn), published=bool(printed))
    return Drawing(title="Figure 5: accuracy by pre-training compute", canvas=canvas, notes=notes)


def _compute(prefix: str) -> Axis:
    return Axis(places="amounts of compute", unit=f"{prefix}FLOPs", digits=".3g", between=True)


def _panel_of_ours(frame: pd.DataFrame, request: FigureRequest, notes: list[str]) -> dict[str, Sequence[str]]:
    """The panel of the requested task, or of the mean of all, and the tasks in it."""
    tasks = [task for task in dict.fromkeys(records.of_task(frame, request)["task"]) if task != MEAN_OF_PROBES]
    if len(tasks) > 1:
        notes.append(f"Mean of {', '.join(tasks)}.")
    return {tasks[0] if len(tasks) == 1 else f"mean of {len(tasks)} tasks": tasks}


def _prefix(computes: Sequence[float]) -> str:
    """The largest unit in which the largest number is at least 1."""
    largest = max(computes, default=1.0)
    return next((prefix for prefix, count in PREFIXES.items() if largest * count >= 1), "giga")


def _mean_or_task(panel: str) -> str:
    return f"{panel} top-1" if panel == "ImageNet" else "transfer accuracy"


def _families(drawn: Sequence[Point], request: FigureRequest, *, apart: bool) -> dict[str, str]:
    """The name in the legend of each label: its family; with `apart` its own where it is alone in its family."""
    families = {point.label: str(records.model_value(point, request, "family") or "other") for point in drawn}
    alone = {label for label, family in families.items() if apart and [*families.values()].count(family) == 1}
    return {label: label if label in alone else FAMILIES.get(family, family) for label, family in families.items()}


def _texts(placed: Placed, names: dict[str, str]) -> list[tuple[str, float, float, str]]:
    """The legend's name, the place and the text of each point.

    The text is what tells it from the others of its model, and at the most compute the model, unless the legend has it.
    """
    texts = []
    for label in dict.fromkeys(point.label for point, _ in placed):
        own = [(point, x) for point, x in placed if point.label == label]
        sizes = {point.images for point, _ in own}
        last = max(own, key=lambda pair: pair[1])[0]
        for point, x in own:
            parts = [label] * (point is last and names[label] != label) + [_told(point, len(sizes))] * (len(own) > 1)
            texts.append((names[label], x, point.mean, ", ".join(filter(None, parts))))
    return texts


def _told(point: Point, sizes: int) -> str:
    """The size of a point's training set, where there are several, else its epochs, if they are known."""
    epochs = point.row.get("pretrain.epochs")
    if sizes > 1:
        return short_count(point.images or 0)
    return f"{epochs:.3g} epochs" if epochs is not None and epochs == epochs else ""


def _placed_by_compute(
    frame: pd.DataFrame, request: FigureRequest, tasks: Sequence[str], notes: list[str]
) -> list[tuple[Point, float]]:
    """The mean over the tasks of each pre-training that has them all, at its compute. Adds notes on those left out."""
    by_pretraining: dict[Any, list[Point]] = {}
    for task in tasks:
        for point in points(frame[frame["task"] == task], request):
            place = (point.label, point.row.get("pretraining"), point.images, point.row["pretrain"])
            by_pretraining.setdefault(place, []).append(point)
    placed, partial, unknown = [], [], []
    for own in by_pretraining.values():
        compute = records.compute_of(own[0], request)
        if len(own) < len(tasks):
            partial.append(f"{own[0].label} ({len(own)}/{len(tasks)})")
        elif not compute:
            unknown.append(own[0].label)
        else:
            placed.append((_mean_of(own), compute))
    if partial:
        which = "Average-5 without all five" if tuple(tasks) == AVERAGE5 else "mean without all tasks"
        notes.append(f"No {which}: {', '.join(dict.fromkeys(partial))}.")
    if unknown:
        left_out = (
            f"Left out: {', '.join(dict.fromkeys(unknown))}, of which images and epochs of pre-training (a sidecar "
            "file says them) or the compute of a forward pass are not known."
        )
        notes += [left_out] if left_out not in notes else []
    return placed


def _mean_of(own: Sequence[Point]) -> Point:
    """The mean of one pre-training's points, one a task, seed by seed where all tasks have the same seeds."""
    if len(own) == 1:
        return own[0]
    draws = [point.draws for point in own]
    seeds = list(draws[0]) if len({frozenset(values) for values in draws}) == 1 else []
    means = {seed: fmean(values[seed] for values in draws) for seed in seeds}
    mean = fmean(point.mean for point in own)
    import pandas as pd

    std = mean_and_std(pd.Series(means))[1] if len(means) > 1 else None
    return replace(own[0], mean=mean, std=std, draws=means or ({0.0: mean} if any(draws) else {}))


def _published_task(task: str) -> str:
    known = sorted({row["dataset"] for row in published.rows("table5_transfer")})
    same = [name for name in [*known, *IN_TABLE5] if name.lower() == task.lower()]
    if not same:
        raise UsageError(f"task={task}: nothing is published for it. There is something for {', '.join(known)}")
    return same[0]


def _refuse_empty(figure: Figure, ours: Any, theirs: Any, notes: list[str]) -> None:
    if not ours and (theirs is None or not len(theirs)):
        raise UsageError(f"figure {figure.name} has nothing to draw. {' '.join(notes)}".strip())


def short_count(value: float) -> str:
    """A number of images as 300, 14k or 1.3M."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


FIGURE3 = Figure(
    name="3",
    summary="fine-tuned accuracy by pre-training set and its size (without fine-tuning: few-shot probes)",
    suites=(*TRANSFERRED, *PROBED),
    measured_by="suite=finetune task=ImageNet",
    draw=draw3,
)
FIGURE4 = Figure(
    name="4",
    summary="linear 5-shot accuracy by the number of images pre-trained on",
    suites=PROBED,
    measured_by=records.FIVE_SHOT_RUN,
    draw=draw4,
)
FIGURE5 = Figure(
    name="5",
    summary="transfer accuracy by pre-training compute: mean of the paper's five sets and ImageNet, or of your tasks",
    suites=(*TRANSFERRED, *PROBED),
    measured_by="suite=finetune task=ImageNet,CIFAR-10,CIFAR-100-full,'Oxford-IIIT Pets','Oxford Flowers-102'",
    draw=draw5,
)
