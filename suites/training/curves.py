"""What a run tells while it goes on: its loss curve in a file, a note for the progress bar, TensorBoard."""

from __future__ import annotations

import csv
import io
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...registry import UsageError
from ...stable import replacing
from .contract import TrainingError, Watch

COLUMNS: tuple[str, ...] = ("phase", "lr", "seed", "step", "loss", "learning_rate", "grad_norm", "images_per_second")
ROWS = 1000  # of one run in the file, at most about so many


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """One step's numbers on their way from the device."""

    step: int
    learning_rate: float
    numbers: Tensor  # (2,) loss and gradient norm
    arrived: Any = None

    @classmethod
    def of(cls, step: int, learning_rate: float, loss: Tensor, norm: Tensor) -> Stepped:
        numbers = torch.stack([loss.detach().float(), norm.detach().float()])
        arrived = None
        if numbers.device.type == "cuda":
            there, numbers = numbers, torch.empty(2, pin_memory=True)
            numbers.copy_(there, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        return cls(step=step, learning_rate=learning_rate, numbers=numbers, arrived=arrived)

    def wait(self) -> tuple[float, float]:
        if self.arrived is not None:
            self.arrived.synchronize()
        loss, norm = self.numbers.tolist()
        return loss, norm


class Ledger:
    """Looks at every step's loss, one step late on a GPU so that it never waits, and writes some of them down."""

    def __init__(self, watch: Watch, steps: int, batch: int, *, first: int, scaled: bool, leads: bool) -> None:
        """`first`: the step a run begins at or goes on from; rows from there on are written anew. `scaled`: gradients
        may be inf for a step that is then left out (fp16), so the norm is not looked at."""
        self.loss = math.nan
        self._watch, self._steps, self._batch, self._scaled = watch, steps, batch, scaled
        self._every = max(1, steps // ROWS)
        self._waiting: deque[Stepped] = deque()
        self._leads = leads
        self._recent: deque[tuple[int, float]] = deque([(first, time.monotonic())], maxlen=20)
        self._row = (first, time.monotonic())
        self._board: Any = None
        if leads:
            _cut(watch, first)
            self._board = _tensorboard(watch, first)

    def put(self, stepped: Stepped) -> None:
        """Raises TrainingError where an earlier step's loss was NaN or inf."""
        self._waiting.append(stepped)
        while len(self._waiting) > (stepped.arrived is not None):
            self._take(self._waiting.popleft())

    def flush(self) -> None:
        while self._waiting:
            self._take(self._waiting.popleft())

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _take(self, stepped: Stepped) -> None:
        loss, norm = stepped.wait()
        step, rate = stepped.step, stepped.learning_rate
        if not (math.isfinite(loss) and (self._scaled or math.isfinite(norm))):
            raise TrainingError(
                f"step {step + 1} of {self._steps}: the loss is {loss:g} at learning rate {rate:g} (gradient norm "
                f"{norm:g}). Type a smaller suite.lr, a longer suite.warmup or suite.clip_norm=1"
            )
        self.loss = loss
        now = time.monotonic()
        self._recent.append((step + 1, now))
        (begun, then), (ended, _) = self._recent[0], self._recent[-1]
        speed = self._batch * (ended - begun) / max(now - then, 1e-9)
        left = (self._steps - step - 1) * self._batch / max(speed, 1e-9)
        if self._leads and ((step + 1) % self._every == 0 or step + 1 == self._steps):
            since, at = self._row
            row = self._batch * (step + 1 - since) / max(now - at, 1e-9)
            self._row = (step + 1, now)
            self._write(step, (loss, rate, norm, row))
        self._watch.advance(
            self._batch,
            f"step {step + 1}/{self._steps} loss {loss:.3g} lr {rate:.2g} {speed:.0f} im/s {_eta(left)} left",
        )

    def _write(self, step: int, numbers: tuple[float, float, float, float]) -> None:
        loss, rate, norm, speed = numbers
        if self._watch.curves is not None:
            line = io.StringIO()
            labels = [self._watch.labels.get(name, "") for name in COLUMNS[:3]]
            csv.writer(line, lineterminator="\n").writerow(
                [*labels, step + 1, f"{loss:.8g}", f"{rate:.8g}", f"{norm:.8g}", f"{speed:.1f}"]
            )
            with self._watch.curves.open("a", encoding="utf-8") as file:
                file.write(line.getvalue())
        if self._board is not None:
            for name, number in zip(COLUMNS[4:], numbers, strict=True):
                self._board.add_scalar(name, number, step + 1)


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
