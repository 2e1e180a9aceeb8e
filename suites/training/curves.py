"""What a run tells while it goes on: its loss curve in a file, a note for the progress bar, TensorBoard."""

from __future__ import annotations

import csv
import math
import time
from collections import deque
from typing import Any

import torch
from torch import Tensor

from ...registry import UsageError
from ...stable import replacing
from .contract import TrainingError, Watch
from .recipe import Recipe

COLUMNS: tuple[str, ...] = ("phase", "lr", "seed", "step", "loss", "learning_rate", "grad_norm", "images_per_second")
ROWS = 1000  # of one run in the file, at most about so many


class StepMetrics:
    """One step's numbers on their way from the device."""

    def __init__(self, step: int, learning_rate: float, loss: Tensor, norm: Tensor) -> None:
        self.step, self.learning_rate = step, learning_rate
        self.arrives: Any = None
        self._numbers = torch.stack([loss.detach().float(), norm.detach().float()])
        if self._numbers.device.type == "cuda":
            there, self._numbers = self._numbers, torch.empty(2, pin_memory=True)
            self._numbers.copy_(there, non_blocking=True)
            self.arrives = torch.cuda.Event()
            self.arrives.record()

    def wait(self) -> tuple[float, float]:
        """The loss and the norm of the gradient."""
        if self.arrives is not None:
            self.arrives.synchronize()
        loss, norm = self._numbers.tolist()
        return loss, norm


class MetricLogger:
    """Looks at every step's loss, one step late on a GPU so that it never waits, and writes some of them down."""

    def __init__(self, watch: Watch, recipe: Recipe, *, first: int, scaled: bool, leads: bool) -> None:
        """`first`: the step a run begins at or goes on from; rows from there on are written anew. `scaled`: gradients
        may be inf for a step that is then left out (fp16), so the norm is not looked at."""
        self.loss = math.nan
        self._watch, self._steps, self._batch = watch, recipe.steps, recipe.batch
        self._scaled, self._leads = scaled, leads
        self._waiting: deque[StepMetrics] = deque()
        self._recent: deque[tuple[int, float]] = deque([(first, time.monotonic())], maxlen=20)
        self._row = self._recent[0]  # steps and time at the last row
        self._board: Any = None
        if leads:
            _cut(watch, first)
            self._board = _tensorboard(watch, first)

    def put(self, metrics: StepMetrics) -> None:
        """Raises TrainingError where an earlier step's loss was NaN or inf."""
        self._waiting.append(metrics)
        if len(self._waiting) > 1 or metrics.arrives is None:
            self._take(self._waiting.popleft())

    def flush(self) -> None:
        while self._waiting:
            self._take(self._waiting.popleft())

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _take(self, metrics: StepMetrics) -> None:
        self.loss, norm = metrics.wait()
        done, rate = metrics.step + 1, metrics.learning_rate
        if not (math.isfinite(self.loss) and (self._scaled or math.isfinite(norm))):
            raise TrainingError(
                f"step {done} of {self._steps}: the loss is {self.loss:g} at learning rate {rate:g} (gradient norm "
                f"{norm:g}). Type a smaller suite.lr, a longer suite.warmup or suite.clip_norm=1"
            )
        now = (done, time.monotonic())
        self._recent.append(now)
        speed = self._speed(self._recent[0], now)
        if self._leads and (done % max(1, self._steps // ROWS) == 0 or done == self._steps):
            row, self._row = self._row, now
            self._write(done, (self.loss, rate, norm, self._speed(row, now)))
        left = _eta((self._steps - done) * self._batch / max(speed, 1e-9))
        note = f"step {done}/{self._steps} loss {self.loss:.3g} lr {rate:.2g} {speed:.0f} im/s {left} left"
        self._watch.advance(self._batch, note)

    def _speed(self, since: tuple[int, float], now: tuple[int, float]) -> float:
        """Images a second between two (steps, time)."""
        return self._batch * (now[0] - since[0]) / max(now[1] - since[1], 1e-9)

    def _write(self, step: int, numbers: tuple[float, float, float, float]) -> None:
        if self._watch.curves is not None:
            labels = [self._watch.labels.get(name, "") for name in COLUMNS[:3]]
            *exact, speed = numbers
            with self._watch.curves.open("a", encoding="utf-8", newline="") as file:
                row = [*labels, step, *(f"{number:.8g}" for number in exact), f"{speed:.1f}"]
                csv.writer(file, lineterminator="\n").writerow(row)
        if self._board is not None:
            for name, number in zip(COLUMNS[4:], numbers, strict=True):
                self._board.add_scalar(name, number, step)


def _eta(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _cut(watch: Watch, first: int) -> None:
    """Begin the file, or take out what an interrupted run wrote after its checkpoint, or before it began anew."""
    path = watch.curves
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
    mine = {name: str(watch.labels.get(name, "")) for name in COLUMNS[:3]}
    kept = [row for row in rows if {name: row[name] for name in mine} != mine or int(row["step"]) <= first]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)


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
