"""Progress of a training run: the loss curve in a CSV file, a note for the progress display, TensorBoard."""

from __future__ import annotations

import csv
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...registry import UsageError
from ...stable import naming, replacing
from .contract import Compute, TrainingError, Watch
from .recipe import Recipe

LABELS = ("phase", "lr", "seed", "recipe")
NUMBERS = ("loss", "learning_rate", "grad_norm", "images_per_second")
COLUMNS: tuple[str, ...] = (*LABELS[:3], "step", *NUMBERS, "recipe", "top1_val", "images")  # top1_val: at visits alone
ROWS = 1000  # of one run in the file, about, at most


@dataclass(frozen=True)
class StepMetrics:
    """Loss and gradient norm of a step, which `numbers` waits for: they are being copied from the device."""

    step: int
    learning_rate: float
    numbers: Callable[[], np.ndarray]


class MetricLogger:
    """Checks every step's loss and logs about a thousand of them. On a GPU it is one step late, so it never waits."""

    def __init__(self, watch: Watch, recipe: Recipe, compute: Compute, *, first: int, leads: bool) -> None:
        """`first`: the step at which the run starts or resumes; later rows of the file are deleted."""
        self.loss = math.nan
        self._watch, self._steps, self._batch = watch, recipe.steps, recipe.batch
        self._scaled = compute.precision == "fp16"  # the scaler skips steps with infinite gradients
        self._late, self._leads = compute.device.type == "cuda", leads
        self._waiting: deque[StepMetrics] = deque()
        self._recent: deque[tuple[int, float]] = deque([(first, time.monotonic())], maxlen=20)
        self._row = self._recent[0]  # steps and time at the last row
        self._last: tuple[int, dict[str, float]] = (first, {})  # step and numbers
        self._board: Any = None
        if leads:
            _trim_file(watch, first)
            self._board = _tensorboard(watch, first)

    def put(self, metrics: StepMetrics) -> None:
        """Add a step. Raises TrainingError if an earlier step's loss is NaN or inf."""
        self._waiting.append(metrics)
        if len(self._waiting) > 1 or not self._late:
            self._log(self._waiting.popleft())

    def flush(self) -> None:
        while self._waiting:
            self._log(self._waiting.popleft())

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _log(self, metrics: StepMetrics) -> None:
        self.loss, norm = metrics.numbers().tolist()
        done, rate = metrics.step + 1, metrics.learning_rate
        if not (math.isfinite(self.loss) and (self._scaled or math.isfinite(norm))):
            raise TrainingError(
                f"step {done} of {self._steps}: the loss is {self.loss:g} at learning rate {rate:g} (gradient norm "
                f"{norm:g}). Type a smaller suite.lr, a longer suite.warmup or suite.clip_norm=1"
            )
        now = (done, time.monotonic())
        self._recent.append(now)
        speed = self._speed(self._recent[0], now)
        numbers = dict(zip(NUMBERS, (self.loss, rate, norm, self._speed(self._row, now)), strict=True))
        self._last = done, numbers | {"images": done * self._batch}
        if done in self._watch.visits:
            pass  # `visited` writes its row
        elif done % max(1, self._steps // ROWS) == 0 or done == self._steps:
            self._row = now
            self._write(*self._last)
        note = f"step {done:,}/{self._steps:,}, loss {self.loss:.3g}, {speed:,.0f} images/s, lr {rate:.2g}"
        self._watch.advance(self._batch, note)

    def visited(self, accuracy: float | None) -> None:
        """Log the last step, after which a visit found this accuracy. No step's speed counts the visit's time."""
        step, numbers = self._last
        self._write(step, numbers if accuracy is None else numbers | {"top1_val": accuracy})
        self._row = (step, time.monotonic())
        self._recent.clear()
        self._recent.append(self._row)

    def _speed(self, since: tuple[int, float], now: tuple[int, float]) -> float:
        """Images a second between two (steps, time)."""
        return self._batch * (now[0] - since[0]) / max(now[1] - since[1], 1e-9)

    def _write(self, step: int, numbers: dict[str, float]) -> None:
        if not self._leads:
            return
        if self._watch.curves is not None:
            row = {**_labels(self._watch), "step": step, **{name: f"{value:.8g}" for name, value in numbers.items()}}
            row |= {"images": numbers["images"], "images_per_second": f"{numbers['images_per_second']:.1f}"}
            with naming(self._watch.curves), self._watch.curves.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(name, number, step)


def _labels(watch: Watch) -> dict[str, str]:
    return {name: str(watch.labels.get(name, "")) for name in LABELS}


def _trim_file(watch: Watch, first: int) -> None:
    """Create the curves file, or delete this run's rows after step `first`."""
    path = watch.curves
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    if path.exists():
        with path.open(encoding="utf-8", errors="replace", newline="") as file, suppress(csv.Error):
            rows = [row for row in csv.DictReader(file, COLUMNS) if _whole(row)]
    labels = _labels(watch)
    kept = [row for row in rows if {name: row[name] for name in labels} != labels or int(row["step"]) <= first]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)


def _whole(row: dict[str, str]) -> bool:
    """Whether a row is as it was written; the line of names, one that a kill cut short or a damaged one is not."""
    try:
        accuracy = [float(row["top1_val"])] if row["top1_val"] else []
        numbers = [int(row["step"]), int(row["images"]), *(float(row[name]) for name in NUMBERS), *accuracy]
        return row.keys() == set(COLUMNS) and bool(numbers)
    except (KeyError, ValueError, TypeError):
        return False


def _tensorboard(watch: Watch, first: int) -> Any:
    if watch.tensorboard is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "suite.tensorboard=true: the package tensorboard is not installed. Type: pip install tensorboard"
        ) from error
    return SummaryWriter(str(watch.tensorboard), purge_step=first + 1)
