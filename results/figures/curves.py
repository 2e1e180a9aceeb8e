"""Learning curves: loss, learning rate, gradient norm and speed over the steps of training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ..tables import row_labels
from . import style
from .records import SeveralTasks, caveats, relevant
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
SMOOTH = 0.02  # of the steps of a curve: the width of the running median of the loss
MOST = 24  # lines that a panel can show


def draw(asked: FigureRequest) -> Drawing:
    """A panel a quantity, a line a model: the median over seeds, their range shaded; of final runs, if there are."""
    frame = relevant(asked, CURVES)
    folders = [Path(folder) for folder in (asked.frame.attrs if asked.frame is not None else {}).get("folders", ())]
    trained = [_file(str(name), folders) is not None for name in frame["measurement"]]  # probes leave no curves
    frame = frame[trained] if any(trained) else frame
    tasks = list(dict.fromkeys(frame["task"]))
    if asked.task is not None:
        frame = frame[frame["task"].str.lower() == asked.task.lower()]
        if frame.empty:
            raise UsageError(f"task={asked.task}: these records are of {', '.join(tasks)}")
        tasks = list(dict.fromkeys(frame["task"]))
    lines = len(frame.drop_duplicates(["model", "variant", "weights", "task"]))
    if lines > MOST and len(tasks) > 1:
        raise SeveralTasks(
            f"{lines} learning curves are too many to tell apart: type task=NAME, one of {', '.join(tasks)}", tasks
        )
    looks = style.Looks()
    canvas = style.canvas(style.PAGE, 3.9)
    panels = dict(zip(PANELS, canvas.subplots(2, 2, sharex=True).flat, strict=True))
    phases: set[str] = set()
    for task in tasks:
        for label, part in row_labels(frame[frame["task"] == task]):
            name = label if len(tasks) == 1 else f"{label}, {task}"
            curves = _curves(part, folders)
            if curves is None:
                continue
            chosen, phase = _final(curves)
            phases.add(phase)
            _lines(panels, chosen, looks[name])
    if not looks.names:
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
    style.legend(canvas, looks)
    notes = [
        f"Lines: median over seeds of the {' and '.join(sorted(phases))} runs; shaded: their range. The loss is a "
        f"running median over {100 * SMOOTH:g} % of the steps.",
        *caveats(frame),
    ]
    return Drawing(title=f"Learning curves: {', '.join(tasks)}", canvas=canvas, notes=tuple(notes))


def read_curves(path: Path) -> pd.DataFrame:
    """A cell's learning curves. Raises UsageError naming file, row and column for what is missing or no number."""
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no file of learning curves: {error}") from error
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
    """The curves of all cells of a row."""
    import pandas as pd

    found = []
    for key in dict.fromkeys(str(name).partition("/")[0] for name in part["measurement"]):
        path = _file(key, folders)
        if path is not None:
            found.append(read_curves(path).assign(cell=key))
    return pd.concat(found, ignore_index=True) if found else None


def _file(measurement: str, folders: list[Path]) -> Path | None:
    """The curves of the cell of a measurement, where one of the run directories has them."""
    name = f"{measurement.partition('/')[0]}.curves.csv"
    return next((file for folder in folders if (file := folder / "cells" / name).is_file()), None)


def _final(curves: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The runs that gave the result, where runs to choose a learning rate are beside them."""
    phases = list(dict.fromkeys(curves["phase"]))
    last = "final" if "final" in phases else phases[-1]
    return curves[curves["phase"] == last], str(last) or "training"


def _smoothed(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves, each run's loss as its running median."""
    width = max(1, round(SMOOTH * curves["step"].nunique()))
    runs = curves.sort_values("step").groupby(["cell", "lr", "seed"], dropna=False, sort=False)["loss"]
    return curves.assign(loss=runs.transform(lambda one: one.rolling(width, min_periods=1).median()))


def _lines(panels: dict[str, Any], curves: pd.DataFrame, look: dict[str, Any]) -> None:
    for name, axes in panels.items():
        if curves[name].isna().all():
            continue
        values = curves
        if name == "loss":
            values = _smoothed(curves)
        by_step = values.groupby("step")[name]
        middle = by_step.median()
        axes.plot(middle.index, middle, markevery=max(1, len(middle) // 8), **{**look, "markersize": 3.5})
        if by_step.count().max() > 1:
            axes.fill_between(middle.index, by_step.min(), by_step.max(), color=look["color"], alpha=0.15, linewidth=0)


CURVES = Figure(
    name="curves",
    summary="learning curves: loss, learning rate, gradient norm and images a second by step",
    suites=("finetune", "vtab", "vtab-mini"),
    measured_by="suite=finetune",
    draw=draw,
    published=False,
)
