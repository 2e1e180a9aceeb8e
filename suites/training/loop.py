"""The training loop: from the first step, or from the newest checkpoint, to the last."""

from __future__ import annotations

import copy
import hashlib
import math
import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ...stable import canonical
from ..images.features import fetch, weights_digest
from . import micro_batch
from .augment import TrainingImages
from .checkpoint import Checkpoint, Checkpoints
from .contract import Compute, Trained, TrainingError, Watch
from .curves import MetricLogger, StepMetrics
from .parallel import TrainingProcesses, numerics
from .recipe import Recipe
from .step import StepOutcome, TrainState, out_of_memory

KEPT = 0.05  # share of the first weights in averaged ones, above which a run says so


def train(
    network: Any, data: TrainingImages, recipe: Recipe, *, seed: int, compute: Compute, watch: Watch | None = None
) -> Trained:
    """Train `network` in place on `data`, or resume from the newest checkpoint of the same run.

    Runs are the same if recipe, seed, data, precision and the network's initial weights are. Every process of a
    launched run calls this with the same arguments, apart from its device. The last step writes a checkpoint, too, so a
    second call trains nothing; the caller deletes the folder `watch.work`.

    After SIGINT or SIGTERM the loop finishes or drops the step, writes a checkpoint, and lets the signal take effect. A
    second signal takes effect at once. Raises TrainingError if the loss is NaN or inf, if not even one image fits into
    memory, and if a checkpoint cannot be written.
    """
    watch = watch or Watch()
    run = _identity(network, data, recipe, seed, compute)
    checkpoints = None if watch.work is None else Checkpoints(folder=watch.work, run=run, say=watch.say)
    with numerics(compute), closing(_Interrupts()) as interrupts:
        processes = TrainingProcesses(compute)
        checkpoint = _newest_checkpoint(checkpoints, processes)
        if checkpoint is not None and compute.device.type == "cpu":
            compute = replace(compute, threads=int(checkpoint.facts["threads"]))
            torch.set_num_threads(compute.threads or 1)
        unsharded = _without_weights(network) if processes.fsdp else network
        state = TrainState(network, data, recipe, seed=seed, compute=compute, processes=processes)
        trained = _Loop(state, watch, checkpoints, interrupts).run(checkpoint)
        if processes.fsdp:  # gather the sharded weights on every process
            unsharded.load_state_dict(state.state()["network"], assign=True)
            trained = replace(trained, network=unsharded.to(compute.device).eval())
        return trained


def _without_weights(network: nn.Module) -> nn.Module:
    """A copy whose weights are on the meta device. Buffers that are in no state dict stay what they are."""

    def empty(tensor: torch.Tensor) -> torch.Tensor:
        like = torch.empty_like(tensor, device="meta")
        return nn.Parameter(like, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else like

    weights = network.state_dict(keep_vars=True).values()
    return copy.deepcopy(network, {id(tensor): empty(tensor) for tensor in weights})


class _Loop:
    """One call of `train`."""

    def __init__(
        self, state: TrainState, watch: Watch, checkpoints: Checkpoints | None, interrupts: _Interrupts
    ) -> None:
        self._state, self._watch, self._checkpoints, self._interrupts = state, watch, checkpoints, interrupts
        self._compute, self._processes, self._recipe = state.compute, state.processes, state.recipe
        self._saved = self._since = time.monotonic()
        self._before = 0.0  # seconds of training until `_since`
        self._micro_batch = 0
        self._notes: list[str] = []

    def run(self, checkpoint: Checkpoint | None) -> Trained:
        first = 0 if checkpoint is None else self._resume(checkpoint)
        if self._state.has_batch_norm:
            self._note("BatchNorm: each micro-batch is normalised by itself, so micro_batch changes results")
        if note := kept_by_averaging(self._recipe):
            self._note(note)
        self._micro_batch = self._micro_batch or self._find_micro_batch()
        self._since = time.monotonic()
        logger = MetricLogger(self._watch, self._recipe, self._compute, first=first, leads=self._processes.leads)
        with closing(logger) as metrics:
            metrics.loss = metrics.loss if checkpoint is None else float(checkpoint.facts["loss"])
            step = first
            enough = self._enough()
            while step < self._recipe.steps and not enough:
                before, step = step, self._step(step, metrics)
                enough = before < step in self._watch.visits and self._enough()
        self._state.finish()
        return Trained(
            network=self._state.network,
            micro_batch=self._micro_batch,
            processes=self._processes.size,
            loss=metrics.loss,
            resumed_at=None if checkpoint is None else first,
            notes=tuple(self._notes),
        )

    @property
    def _seconds(self) -> float:
        """How long the steps so far took, without visits. A step that was done again after a kill counts once."""
        return self._before + time.monotonic() - self._since

    def _enough(self) -> bool:
        """Whether the first process, which writes the records, has seen enough."""
        return bool(self._processes.maximum(self._processes.leads and self._watch.enough())[0])

    def _step(self, step: int, metrics: MetricLogger) -> int:
        """Do one step. Returns the number of steps done: the same as before if the step was dropped."""
        outcome = self._state.accumulate(step, self._micro_batch, self._interrupts.pending)
        # Processes agree before they send gradients, so none waits for one that is out of memory or interrupted.
        dropped, no_memory, stop, due = map(
            bool,
            self._processes.maximum(
                outcome == "interrupted",
                outcome == "out of memory",
                self._interrupts.pending() or outcome == "interrupted",
                self._due(step + 1),
            ),
        )
        if no_memory:
            self._halve_micro_batch(step, outcome)
            return step
        if not dropped:
            loss, norm = self._state.apply(step)
            numbers = fetch(torch.stack([loss.detach().float(), norm.detach().float()]))
            metrics.put(StepMetrics(step, self._recipe.learning_rate(step), numbers))
            step += 1
            if step in self._watch.visits:
                metrics.flush()
                self._before = self._seconds
                with self._state.evaluating() as network:
                    found = self._watch.visit(step, network, self._before)
                self._since = time.monotonic()
                metrics.visited(found)
        if due or stop or step == self._recipe.steps:
            metrics.flush()
            self._save(step, metrics.loss)
        if stop:
            self._interrupts.deliver()
        return step

    def _due(self, step: int) -> bool:
        if not self._processes.leads or self._checkpoints is None:
            return False
        every, minutes = self._watch.every_steps, self._watch.every_minutes
        in_time = minutes is not None and time.monotonic() - self._saved >= 60 * minutes
        return in_time or (every is not None and step % every == 0)

    def _save(self, step: int, loss: float) -> None:
        if self._checkpoints is None:
            return
        state, problem = self._state.state(), ""
        facts = {
            "micro_batch": self._micro_batch,
            "processes": self._processes.size,
            "threads": torch.get_num_threads(),
            "seed": self._state.seed,
            "seconds": self._seconds,
            "loss": loss,
            "notes": self._notes,
        }
        if self._processes.leads:
            try:
                self._checkpoints.save(step, state, facts)
            except TrainingError as error:
                if self._processes.size == 1:
                    raise
                problem = str(error)
        if problem := self._processes.gather(problem)[0]:
            raise TrainingError(problem)
        self._saved = time.monotonic()

    def _resume(self, checkpoint: Checkpoint) -> int:
        """Restore a checkpoint's state. Returns the number of steps done."""
        self._state.restore(checkpoint.state)
        self._micro_batch, self._notes = int(checkpoint.facts["micro_batch"]), list(checkpoint.facts["notes"])
        self._before, self._since = float(checkpoint.facts["seconds"]), time.monotonic()
        before = checkpoint.facts["processes"]
        if before != self._processes.size:
            self._note(
                f"the checkpoint of step {checkpoint.step} is of {before} processes, and these are "
                f"{self._processes.size}: the weights will differ by rounding from those of a run without interruption"
            )
        if self._processes.leads:
            steps = self._recipe.steps
            self._watch.say(f"going on from the checkpoint of step {checkpoint.step} of {steps}")
            note = f"step {checkpoint.step:,}/{steps:,}"
            self._watch.advance(self._recipe.batch * checkpoint.step, note, found=True)
        return checkpoint.step

    def _find_micro_batch(self) -> int:
        largest = -(-self._recipe.batch // self._processes.size)
        size = self._compute.micro_batch
        if size is None:
            try:
                size = micro_batch.find(self._state, largest, self._processes.on_this_machine)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                size = 1  # not even two images fit; the first step shows whether one does
        return -int(self._processes.maximum(-min(size, largest))[0])  # the smallest of all processes

    def _halve_micro_batch(self, step: int, outcome: StepOutcome) -> None:
        if self._micro_batch == 1 or (self._processes.averages and self._processes.size > 1):
            own = "" if outcome == "out of memory" else " in another process"
            advice = "Type a smaller suite.image_size, suite.precision=bf16 on a GPU, or choose a smaller model"
            if self._micro_batch > 1:
                advice = f"Type suite.micro_batch={self._micro_batch // 2}"
            raise TrainingError(
                f"step {step + 1}: out of memory{own} with a micro-batch of {self._micro_batch} images. {advice}"
            )
        if self._compute.device.type == "cuda":
            torch.cuda.empty_cache()
        before, self._micro_batch = self._micro_batch, self._micro_batch // 2
        self._note(
            f"step {step + 1}: out of memory; micro-batches of {self._micro_batch} images from here on instead of "
            f"{before}, which changes weights by rounding only"
        )

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)
            if self._processes.leads:
                self._watch.say(text)


def kept_by_averaging(recipe: Recipe) -> str:
    """A warning where the averaged weights keep much of the first ones, as they do in a run that is too short; else "".

    After n steps the average, which starts at the first weights, holds factor ** n of them.
    """
    kept = recipe.polyak**recipe.steps
    if kept <= KEPT:
        return ""
    factor = math.floor(1e5 * KEPT ** (1 / recipe.steps)) / 1e5
    return (
        f"polyak={recipe.polyak:g}: after {recipe.steps} steps the averaged weights are still {100 * kept:.0f} % the "
        f"first weights; up to {factor:g} they would be {100 * KEPT:.0f} %"
    )


class _Interrupts:
    """Holds Ctrl-C and SIGTERM back until a step is complete. Active on the main thread only."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._handlers: dict[int, Any] = {}  # those to restore
        if threading.current_thread() is threading.main_thread():
            self._handlers = {
                number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)
            }

    def _receive(self, number: int, _: Any) -> None:
        if self._number is not None:
            raise KeyboardInterrupt
        self._number = number

    def pending(self) -> bool:
        return self._number is not None

    def close(self) -> None:
        """Restore the handlers from before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def deliver(self) -> None:
        """Let the held signal take effect now."""
        self.close()
        if self._number is not None and self._number != signal.SIGINT:
            os.kill(os.getpid(), self._number)
        raise KeyboardInterrupt


def _identity(network: nn.Module, data: TrainingImages, recipe: Recipe, seed: int, compute: Compute) -> dict[str, Any]:
    """The run that a checkpoint belongs to, as JSON data."""
    run = {
        "recipe": recipe.describe(),
        "seed": seed,
        "data": dict(data.describe()),
        "labels": hashlib.sha256(data.labels.astype("<i8").tobytes()).hexdigest(),
        "weights": weights_digest(network.state_dict()),
        "precision": compute.precision,
    }
    if data.label_sets is not None:
        run["label_sets"] = hashlib.sha256(
            canonical([list(classes) for classes in data.label_sets]).encode()
        ).hexdigest()
    canonical(run)  # fails now, not at the first checkpoint, if something is no JSON data
    return run


def _newest_checkpoint(checkpoints: Checkpoints | None, processes: TrainingProcesses) -> Checkpoint | None:
    """The checkpoint to resume from. The first process chooses it for all."""
    if checkpoints is None:
        return None
    checkpoint = checkpoints.newest() if processes.leads else None
    step = processes.gather(checkpoint and checkpoint.step)[0]
    if not processes.leads and step is not None:
        checkpoint = replace(checkpoints, say=lambda _: None).newest()
        if checkpoint is None or checkpoint.step != step:
            raise TrainingError(f"not every process can read the checkpoint of step {step} in {checkpoints.folder}")
    return checkpoint
