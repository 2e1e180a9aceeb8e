"""Accuracy against images seen while pre-training: on the minival, and of the few-shot probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ..tables.pretrainings import MEAN_OF_PROBES, visits
from ..tables.rows import mean_and_std, row_labels
from ..tables.table import PRETRAINED
from . import style
from .crossing import Axis, statements
from .figures_3_4_5_pretraining import BRACKETS, short_count
from .records import relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd

SEEN = Axis(places="numbers of images seen", unit="images seen")
MINIVAL, MASKED = "the minival", "masked patches of the minival"
YLABELS = {MINIVAL: "top-1 (%)", MASKED: "loss (nats)"}
Runs = dict[tuple[str, float], "pd.DataFrame"]  # by label and number of images: the visits, one a number seen and seed


def draw(request: FigureRequest) -> Drawing:
    """A line a model and number of images, through its visits: the mean over seeds, with their std."""
    frame = relevant(request, IMAGES_SEEN, "top1_val_visit", "top1_probe_visit", "loss_val_visit")
    shown, _ = visits(frame)
    sets = list(dict.fromkeys(shown["task"].astype(str)))
    if len(sets) > 1:
        raise UsageError(f"these runs were trained on {' and '.join(sets)}: name runs of one of them")
    losses = shown[shown["metric"] == "loss_val_visit"]
    masked = shown["pretraining"].isin(losses["pretraining"])
    accuracies = shown[(shown["metric"] == "top1_val_visit") & ~masked]
    panels = {MINIVAL: _runs(accuracies, request)} if len(accuracies) else {}
    if len(losses):
        panels[MASKED] = _runs(losses, request)
    probes = shown[shown["metric"] == "top1_probe_visit"]
    names = list(dict.fromkeys(probes["probe"])) if len(probes) else []
    if request.task and request.task.lower() not in [name.lower() for name in names]:
        raise UsageError(f"task={request.task}: the probes of these records are {', '.join(names) or 'none'}")
    if names:
        chosen = [name for name in names if not request.task or name.lower() == request.task.lower()]
        name = chosen[0] if len(chosen) == 1 else f"{MEAN_OF_PROBES} ({', '.join(chosen)})"
        panels[name] = _runs(probes[probes["probe"].isin(chosen)], request)
    styles = style.SeriesStyles()
    canvas = style.canvas(style.PAGE if len(panels) > 1 else style.COLUMN * 1.15, 2.7)
    notes: list[str] = []
    several = False  # sizes of training set
    for axes, (name, runs) in zip(canvas.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        several = several or len({images for _, images in runs}) > 1
        for (label, _), run in runs.items():
            by_seen = {seen: mean_and_std(values) for seen, values in run.groupby("samples")["value"]}
            x, y = list(by_seen), [mean for mean, _ in by_seen.values()]
            error = [std or 0 for _, std in by_seen.values()]
            axes.errorbar(x, y, yerr=error if any(error) else None, **styles.filled(label, markersize=3.5))
        style.plain_log(axes, "x")
        axes.xaxis.set_major_formatter(lambda value, _: short_count(value))
        axes.margins(x=0.1)
        if several:
            style.annotate(axes, _size_texts(runs))
        axes.set_title(name)
        axes.set_xlabel("images seen")
        axes.set_ylabel(YLABELS.get(name, "linear few-shot top-1 (%)"))
        notes += _crossings(name, runs) if name != MASKED else []
    style.legend(canvas, styles)
    seeds = shown["seed"].nunique()
    first = ["Lines: visits of the candidate that was chosen on the minival, also those after the one that was kept."]
    first.insert(0, f"Trained on {sets[0]}.")
    first += [f"Bars: std (ddof 1) over {seeds} seeds of pre-training."] if seeds > 1 else []
    if several:
        first.append(
            "Lines stand in groups, one a size of training set, which is written beside the highest line of each."
        )
    notes += [BRACKETS] if any("[" in note for note in notes) else []
    return Drawing(title="Accuracy by images seen while pre-training", canvas=canvas, notes=first + notes)


def _runs(frame: pd.DataFrame, request: FigureRequest) -> Runs:
    """The visits by label and number of images, with the mean over probes as value.

    Raises UsageError for answers to different questions, and for two pre-trainings of a model on as many images.
    """
    from .records import check_question

    runs: Runs = {}
    for images, of_number in frame.groupby("images"):
        check_question(of_number.assign(**{"pretrain.images": images, "shots": of_number.get("probe", "")}), request)
        for label, part in row_labels(of_number):
            if part["pretraining"].nunique() > 1:
                keys = " and ".join(f"cells/{key}.json" for key in part["pretraining"].unique())
                raise UsageError(
                    f"two pre-trainings of {label} on {images:,.0f} images: {keys}. Name the run that counts"
                )
            runs[label, float(str(images))] = part.groupby(["samples", "seed"])[["value"]].mean().reset_index()
    return runs


def _size_texts(runs: Runs) -> list[tuple[float, float, str]]:
    """The size of each training set, for beside the end of the highest of its lines."""
    ends: dict[float, tuple[float, float]] = {}
    for (_, images), run in runs.items():
        last = run["samples"].max()
        end = float(run[run["samples"] == last]["value"].mean()), float(last)
        ends[images] = max(end, ends.get(images, end))
    return [(seen, value, f"{short_count(images)} images") for images, (value, seen) in ends.items()]


def _crossings(panel: str, runs: Mapping[tuple[str, float], Any]) -> list[str]:
    """Where lines of the largest training set that several models share cross."""
    sizes = [images for _, images in runs]
    shared = max((images for images in sizes if sizes.count(images) > 1), default=None)
    series = {
        label: {
            float(str(seen)): dict(zip(visit["seed"].astype(float), visit["value"], strict=True))
            for seen, visit in run.groupby("samples")
        }
        for (label, images), run in runs.items()
        if images == shared
    }
    return [f"On {panel}, trained on {shared:,.0f} images: {sentence}" for sentence in statements(series, SEEN)]


IMAGES_SEEN = Figure(
    name="seen",
    summary="accuracy by images seen while pre-training: on held-out images, and of few-shot probes",
    suites=(PRETRAINED,),
    measured_by="suite=pretrain suite.images=1000,10000 suite.visits=8",
    draw=draw,
    published=False,
)
