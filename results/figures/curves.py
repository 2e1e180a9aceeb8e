"""Learning curves: loss, learning rate, gradient norm and speed over the steps of training or pre-training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ..cell_file import curves_bytes
from ..checks import read_csv
from ..tables import row_labels
from ..tables.pretrainings import visits
from ..tables.table import FINE_TUNED, MINIATURE, PRETRAINED, VTAB
from . import style
from .figures_3_4_5_pretraining import short_count
from .records import SeveralTasks, caveats, of_task, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("phase", "lr", "seed", "step", "loss", "learning_rate", "grad_norm", "images_per_second")
PANELS = {
    "loss": "training loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
    "images_per_second": "images per second",
}
SMOOTH = 0.02  # width of the running median of the loss, as a fraction of the steps
MOST_LINES = 24  # in a panel


def draw(request: FigureRequest) -> Drawing:
    """A panel a quantity, a line a model: the median over seeds, their range shaded; final runs alone, if any.

    Of a pre-training the candidate that was chosen; each number of images is a line.
    """
    frame = _trained(relevant(request, CURVES, "top1", "top1_val_visit", "loss_val_visit"))
    folders = [Path(folder) for folder in (request.frame.attrs if request.frame is not None else {}).get("folders", ())]
    trained = [_curves_file(str(name), folders) is not None for name in frame["measurement"]]  # probes have no curves
    frame = frame[trained] if any(trained) else frame
    frame = of_task(frame, request)
    tasks = list(dict.fromkeys(frame["task"]))
    several_sizes = frame["images"].nunique() > 1
    lines = len(frame.drop_duplicates(["model", "variant", "weights", "task", "images"]))
    if lines > MOST_LINES and len(tasks) > 1:
        raise SeveralTasks(
            f"{lines} learning curves are too many to tell apart: type task=NAME, one of {', '.join(tasks)}", tasks
        )
    styles = style.SeriesStyles()
    canvas = style.canvas(style.PAGE, 3.9)
    panels = dict(zip(PANELS, canvas.subplots(2, 2, sharex=True).flat, strict=True))
    phases: set[str] = set()
    for keys, of_size in frame.groupby(["task", "images"], sort=False):
        task, images = str(keys[0]), float(str(keys[1]))
        for label, part in row_labels(of_size):
            of_set = f"{short_count(images)} images" if several_sizes and images else ""
            name = ", ".join(filter(None, (label, task if len(tasks) > 1 else "", of_set)))
            curves = _curves(part, folders)
            if curves is None:
                continue
            chosen, phase = _final_phase(curves)
            phases.add(phase)
            _plot_lines(panels, chosen, styles[name], len(styles.names))
    if not styles.names:
        where = ", ".join(map(str, folders)) or "a CSV file: name the run directory"
        raise UsageError(
            f"no learning curve (cells/<key>.curves.csv) of these records is in {where}. "
            f"`python -m bench run {CURVES.measured_by}` writes them while it trains"
        )
    for name, axes in panels.items():
        axes.set_ylabel(PANELS[name])
        if name in ("loss", "grad_norm"):
            style.plain_log(axes, "y")
    from matplotlib.ticker import MaxNLocator

    for axes in (panels["grad_norm"], panels["images_per_second"]):
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend(canvas, styles)
    notes = [
        f"Lines: median over seeds of the {' and '.join(sorted(phases))} runs; shaded: their range. The loss is a "
        f"running median over {100 * SMOOTH:g} % of the steps.",
        *caveats(frame),
    ]
    return Drawing(title=f"Learning curves: {', '.join(tasks)}", canvas=canvas, notes=notes)


def _trained(frame: pd.DataFrame) -> pd.DataFrame:
    """The records of trained networks, with the images that they were pre-trained on here, or 0, in column `images`.

    Of a pre-training the one of each seed whose weights were kept.
    """
    import pandas as pd

    tuned = frame[frame["suite"].ne(PRETRAINED) & frame["metric"].eq("top1")]  # others are of no network, or another
    if not frame["suite"].eq(PRETRAINED).any():
        return tuned.assign(images=0.0)
    kept = visits(frame)[1]
    places = {model: place for place, model in enumerate(dict.fromkeys(frame["model"]))}
    kept = kept.assign(images=kept["images"].astype(float), place=kept["model"].map(places))
    return pd.concat([tuned.assign(images=0.0), kept.sort_values(["images", "place", "seed"])], ignore_index=True)


def read_curves(path: Path) -> pd.DataFrame:
    """A cell's learning curves. Raises UsageError, naming file, line and column, for missing and non-numeric values."""
    import pandas as pd

    curves_bytes(path)  # raises where they are damaged
    table = read_csv(path, "file of learning curves")
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise UsageError(f"{path} has no column {', '.join(missing)}")
    if table.empty:
        raise UsageError(f"{path} holds no step")
    for name in [name for name in COLUMNS if name != "phase"]:
        numbers = pd.to_numeric(table[name], errors="coerce")
        bad = numbers.isna() & (table[name].ne("") if name not in ("step", "loss") else True)
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise UsageError(f"{path}, line {row + 2}: {name} is '{table[name].iloc[row]}', which is no number")
        table[name] = numbers
    return table


def _curves(part: pd.DataFrame, folders: list[Path]) -> pd.DataFrame | None:
    """The learning curves of all cells of these records; None if there are none."""
    import pandas as pd

    keys = dict.fromkeys(str(name).partition("/")[0] for name in part["measurement"])
    files = {key: file for key in keys if (file := _curves_file(key, folders)) is not None}
    tables = [read_curves(file).assign(cell=key) for key, file in files.items()]
    if not tables:
        return None
    curves = pd.concat(tables, ignore_index=True)
    if part["suite"].eq(PRETRAINED).all():  # of several candidates the one that was chosen
        curves = curves[curves["lr"].isin(part["lr"].astype(float)) & curves["recipe"].isin(part["recipe"])]
    return curves


def _curves_file(measurement: str, folders: list[Path]) -> Path | None:
    """The file with the learning curves of a measurement's cell, or None."""
    name = f"{measurement.partition('/')[0]}.curves.csv"
    return next((file for folder in folders if (file := folder / "cells" / name).is_file()), None)


def _final_phase(curves: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The curves of the phase `final`, else of the last phase (no search of a learning rate), and its name."""
    phases = list(dict.fromkeys(curves["phase"]))
    last = "final" if "final" in phases else phases[-1]
    return curves[curves["phase"] == last], str(last) or "training"


def _smoothed(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves with each run's loss replaced by its running median."""
    width = max(1, round(SMOOTH * curves["step"].nunique()))
    runs = curves.sort_values("step").groupby(["cell", "lr", "seed"], dropna=False, sort=False)["loss"]
    return curves.assign(loss=runs.transform(lambda loss: loss.rolling(width, min_periods=1).median()))


def _plot_lines(panels: dict[str, Any], curves: pd.DataFrame, line_style: dict[str, Any], number: int) -> None:
    """Plot a line in each panel. Markers of lines that coincide stand apart, by the line's `number`."""
    for name, axes in panels.items():
        if curves[name].isna().all():
            continue
        values = _smoothed(curves) if name == "loss" else curves
        by_step = values.groupby("step")[name]
        middle = by_step.median()
        every = max(1, len(middle) // 8)
        axes.plot(middle.index, middle, markevery=(2 * number % every, every), **{**line_style, "markersize": 3.5})
        if by_step.count().max() > 1:
            shade = {"color": line_style["color"], "alpha": 0.15, "linewidth": 0}
            axes.fill_between(middle.index, by_step.min(), by_step.max(), **shade)


CURVES = Figure(
    name="curves",
    summary="learning curves: loss, learning rate, gradient norm and images a second by step",
    suites=(FINE_TUNED, VTAB, MINIATURE, PRETRAINED),
    measured_by="suite=finetune",
    draw=draw,
    published=False,
)
