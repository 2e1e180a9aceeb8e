"""Training from the first step, or the last checkpoint, to the end."""

from __future__ import annotations

import copy
import hashlib
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
from ..images.features import weights_digest
from . import micro_batch
from .checkpoint import Checkpoint, Checkpoints
from .contract import Batches, Compute, Trained, TrainingError, Watch
from .curves import MetricLogger, StepMetrics
from .parallel import ProcessGroup, numerics
from .recipe import Recipe
from .step import StepOutcome, TrainState, out_of_memory


def train(
    network: Any, data: Batches, recipe: Recipe, *, seed: int, compute: Compute, watch: Watch | None = None
) -> Trained:
    """`network` trained in place on `data`, from its weights or from the newest checkpoint of the same run.

    A checkpoint is of the same run where recipe, seed, data, precision and the network's first weights are. Every
    process of a launched run calls this with the same arguments (each with its own device). At the end a last
    checkpoint is written, so calling it again trains nothing; who needs it no more removes the folder `watch.work`.

    SIGINT and SIGTERM end the step, or give it up, write a checkpoint and take effect then; a second one takes effect
    at once. Raises TrainingError where the loss is NaN or inf, where not even one image fits into the memory, and where
    a checkpoint cannot be written.
    """
    watch = watch or Watch()
    run = _identity(network, data, recipe, seed, compute)
    checkpoints = None if watch.work is None else Checkpoints(folder=watch.work, run=run, say=watch.say)
    with numerics(compute), closing(_Interrupts()) as interrupts:
        processes = ProcessGroup(compute)
        found = _found(checkpoints, processes)
        if found is not None and compute.device.type == "cpu":
            compute = replace(compute, threads=int(found.facts["threads"]))
            torch.set_num_threads(compute.threads or 1)
        plain = copy.deepcopy(network).to("meta") if processes.fsdp else network
        state = TrainState(network, data, recipe, seed=seed, compute=compute, processes=processes)
        trained = _Loop(state, watch, checkpoints, interrupts).run(found)
        if processes.fsdp:  # in one piece on every process, of the weights that are spread over them
            plain.load_state_dict(state.state()["network"], assign=True)
            trained = replace(trained, network=plain.to(compute.device).eval())
        return trained


class _Loop:
    """One call of `train`."""

    def __init__(
        self, state: TrainState, watch: Watch, checkpoints: Checkpoints | None, interrupts: _Interrupts
    ) -> None:
        self._state, self._watch, self._checkpoints, self._interrupts = state, watch, checkpoints, interrupts
        self._compute, self._processes, self._recipe = state.compute, state.processes, state.recipe
        self._saved = time.monotonic()
        self._micro_batch = 0
        self._notes: list[str] = []

    def run(self, found: Checkpoint | None) -> Trained:
        first = 0 if found is None else self._go_on_from(found)
        if self._state.has_batch_norm:
            self._note("BatchNorm: each micro-batch is normalised by itself, so micro_batch changes results")
        self._micro_batch = self._micro_batch or self._find_micro_batch()
        options: dict[str, Any] = {"scaled": self._compute.precision == "fp16", "leads": self._processes.leads}
        with closing(MetricLogger(self._watch, self._recipe, first=first, **options)) as metrics:
            metrics.loss = metrics.loss if found is None else float(found.facts["loss"])
            step = first
            while step < self._recipe.steps:
                step = self._step(step, metrics)
        self._state.finish()
        return Trained(
            network=self._state.network,
            micro_batch=self._micro_batch,
            processes=self._processes.size,
            loss=metrics.loss,
            resumed_at=None if found is None else first,
            notes=tuple(self._notes),
        )

    def _step(self, step: int, metrics: MetricLogger) -> int:
        """The number of steps done after this one was, or was given up."""
        outcome = self._state.accumulate(step, self._micro_batch, self._interrupts.came)
        # Processes agree before anything is sent: one that is out of memory or interrupted leaves nobody waiting.
        given_up, no_memory, stop, due = map(
            bool,
            self._processes.most(
                outcome == "interrupted",
                outcome == "out of memory",
                self._interrupts.came() or outcome == "interrupted",
                self._due(step + 1),
            ),
        )
        if no_memory:
            self._halve(step, outcome)
            return step
        if not given_up:
            loss, norm = self._state.apply(step)
            metrics.put(StepMetrics(step, self._recipe.learning_rate(step), loss, norm))
            step += 1
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

    def _go_on_from(self, found: Checkpoint) -> int:
        """Take over a checkpoint's state. Returns the number of steps done."""
        self._state.restore(found.state)
        self._micro_batch, self._notes = int(found.facts["micro_batch"]), list(found.facts["notes"])
        if found.facts["processes"] != self._processes.size:
            self._note(
                f"the checkpoint of step {found.step} is of {found.facts['processes']} processes, and these are "
                f"{self._processes.size}: the weights will differ by rounding from those of a run without interruption"
            )
        if self._processes.leads:
            steps = self._recipe.steps
            self._watch.say(f"going on from the checkpoint of step {found.step} of {steps}")
            self._watch.advance(self._recipe.batch * found.step, f"step {found.step}/{steps}")
        return found.step

    def _find_micro_batch(self) -> int:
        most = -(-self._recipe.batch // self._processes.size)
        found = self._compute.micro_batch
        if found is None:
            try:
                found = micro_batch.find(self._state, most, self._processes.beside)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                found = 1  # not even two images pass; the first step says whether one does
        return -int(self._processes.most(-min(found, most))[0])  # the fewest of any process

    def _halve(self, step: int, outcome: StepOutcome) -> None:
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


class _Interrupts:
    """Ctrl-C and SIGTERM, kept back until the state is that of a whole number of steps; on the main thread alone."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def _note(self, number: int, _: Any) -> None:
        if self._number is not None:
            raise KeyboardInterrupt
        self._number = number

    def came(self) -> bool:
        return self._number is not None

    def close(self) -> None:
        """Let them take effect at once again."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def deliver(self) -> None:
        """What was kept back takes effect, as if it came now."""
        self.close()
        if self._number is not None and self._number != signal.SIGINT:
            os.kill(os.getpid(), self._number)
        raise KeyboardInterrupt


def _identity(network: nn.Module, data: Batches, recipe: Recipe, seed: int, compute: Compute) -> dict[str, Any]:
    """What a checkpoint belongs to."""
    about = {
        "recipe": recipe.describe(),
        "seed": seed,
        "data": dict(data.describe()),
        "labels": hashlib.sha256(data.labels.astype("<i8").tobytes()).hexdigest(),
        "weights": weights_digest(network.state_dict()),
        "precision": compute.precision,
    }
    canonical(about)  # here, where the traceback names the culprit, and not at the first checkpoint
    return about


def _found(checkpoints: Checkpoints | None, processes: ProcessGroup) -> Checkpoint | None:
    """The checkpoint to go on from; the first process decides, so that all go on from the same."""
    if checkpoints is None:
        return None
    found = checkpoints.newest() if processes.leads else None
    step = processes.gather(found and found.step)[0]
    if not processes.leads and step is not None:
        found = replace(checkpoints, say=lambda _: None).newest()
        if found is None or found.step != step:
            where = f"by all processes in {checkpoints.folder}"
            raise TrainingError(f"the checkpoint of step {step} is not to be read {where}")
    return found
