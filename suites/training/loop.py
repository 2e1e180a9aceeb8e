"""Training from the first step, or the last checkpoint, to the end."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from ...stable import canonical
from ..images.features import weights_digest
from . import micro_batch
from .checkpoint import Checkpoint, Checkpoints
from .contract import Batches, Place, Trained, TrainingError, Watch
from .curves import Ledger, Stepped
from .parallel import Team, numerics
from .recipe import Recipe
from .step import Outcome, Stepper


def train(
    network: Any, data: Batches, recipe: Recipe, *, seed: int, place: Place, watch: Watch | None = None
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
    run = _run(network, data, recipe, seed, place)
    checkpoints = None if watch.work is None else Checkpoints(folder=watch.work, run=run, say=watch.say)
    with numerics(place), _Interrupts() as interrupts:
        team = Team(place)
        found = _found(checkpoints, team)
        if found is not None:
            place = _as_before(found, place)
            torch.set_num_threads(place.threads or torch.get_num_threads())
        plain = copy.deepcopy(network).to("meta") if team.fsdp else network
        stepper = Stepper(network, data, recipe, seed=seed, place=place, team=team)
        trained = _Run(stepper, place, watch, checkpoints, interrupts).go(found)
        return replace(trained, network=_plain(plain, stepper) if team.fsdp else trained.network)


class _Run:
    """One call of `train`."""

    def __init__(
        self, stepper: Stepper, place: Place, watch: Watch, checkpoints: Checkpoints | None, interrupts: _Interrupts
    ) -> None:
        self._stepper, self._place, self._watch = stepper, place, watch
        self._checkpoints, self._interrupts = checkpoints, interrupts
        self._team, self._recipe = stepper.team, stepper.recipe
        self._saved = time.monotonic()
        self._micro_batch = 0
        self._notes: list[str] = []

    def go(self, found: Checkpoint | None) -> Trained:
        begun, first = time.monotonic(), 0
        if found is not None:
            first = self._go_on_from(found)
        if self._stepper.has_batch_norm:
            self._note("BatchNorm: each micro-batch is normalised by itself, so micro_batch changes results")
        steps = self._recipe.steps
        if not self._micro_batch:
            self._micro_batch = self._find()
        scaled = self._place.precision == "fp16"
        options: dict[str, Any] = {"first": first, "scaled": scaled, "leads": self._team.leads}
        ledger = Ledger(self._watch, steps, self._recipe.batch, **options)
        if found is not None:
            ledger.loss = float(found.facts["loss"])
        try:
            step = first
            while step < steps:
                step = self._step(step, ledger)
        finally:
            ledger.close()
        self._stepper.finish()
        seconds = time.monotonic() - begun
        return Trained(
            network=self._stepper.network,
            micro_batch=self._micro_batch,
            processes=self._team.size,
            loss=ledger.loss,
            seconds=seconds,
            images_per_second=self._recipe.batch * (steps - first) / seconds,
            resumed_at=None if found is None else first,
            notes=tuple(self._notes),
        )

    def _step(self, step: int, ledger: Ledger) -> int:
        """The number of steps done after this one was, or was given up."""
        outcome = self._stepper.accumulate(step, self._micro_batch, self._interrupts.came)
        # Processes agree before anything is sent: one that is out of memory or interrupted leaves nobody waiting.
        given_up, no_memory, stop, due = (
            bool(number)
            for number in self._team.most(
                outcome == "interrupted",
                outcome == "out of memory",
                self._interrupts.came() or outcome == "interrupted",
                self._due(step + 1),
            )
        )
        if no_memory:
            self._halve(step, outcome)
            return step
        if not given_up:
            loss, norm = self._stepper.apply(step)
            ledger.put(Stepped.of(step, self._recipe.learning_rate(step), loss, norm))
            step += 1
        if due or stop or step == self._recipe.steps:
            ledger.flush()
            self._save(step, ledger.loss)
        if stop:
            self._interrupts.deliver()
        return step

    def _due(self, step: int) -> bool:
        if not self._team.leads or self._checkpoints is None:
            return False
        every, minutes = self._watch.every_steps, self._watch.every_minutes
        return (every is not None and step % every == 0) or (
            minutes is not None and time.monotonic() - self._saved >= 60 * minutes
        )

    def _save(self, step: int, loss: float) -> None:
        if self._checkpoints is None:
            return
        state, problem = self._stepper.state(), ""
        if self._team.leads:
            facts = {
                "micro_batch": self._micro_batch,
                "processes": self._team.size,
                "threads": torch.get_num_threads(),
                "seed": self._stepper.seed,
                "loss": loss,
                "notes": self._notes,
            }
            try:
                self._checkpoints.save(step, state, facts)
            except TrainingError as error:
                if self._team.size == 1:
                    raise
                problem = str(error)
        if problem := self._team.gather(problem)[0]:
            raise TrainingError(problem)
        self._saved = time.monotonic()

    def _go_on_from(self, found: Checkpoint) -> int:
        facts = found.facts
        self._stepper.restore(found.state)
        self._micro_batch = int(facts["micro_batch"])
        self._notes = list(facts["notes"])
        if facts["processes"] != self._team.size:
            self._note(
                f"the checkpoint of step {found.step} is of {facts['processes']} processes, and these are "
                f"{self._team.size}: the weights will differ by rounding from those of a run without interruption"
            )
        if self._team.leads:
            self._watch.say(f"going on from the checkpoint of step {found.step} of {self._recipe.steps}")
            self._watch.advance(self._recipe.batch * found.step, f"step {found.step}/{self._recipe.steps}")
        return found.step

    def _find(self) -> int:
        most = -(-self._recipe.batch // self._team.size)
        found = self._place.micro_batch
        while found is None:
            try:
                found = micro_batch.find(
                    self._stepper.network, self._stepper.passes, most, self._place, self._team.beside
                )
            except (RuntimeError, MemoryError) as error:
                from .step import out_of_memory

                if not out_of_memory(error):
                    raise
                found = 1  # not even two images pass; the first step says whether one does
        found = min(found, most)
        return -int(self._team.most(-found)[0])  # the fewest of any process

    def _halve(self, step: int, outcome: Outcome) -> None:
        if self._micro_batch == 1 or (self._team.averages and self._team.size > 1):
            own = "" if outcome == "out of memory" else " in another process"
            advice = "Type a smaller suite.image_size, suite.precision=bf16 on a GPU, or choose a smaller model"
            if self._micro_batch > 1:
                advice = f"Type suite.micro_batch={self._micro_batch // 2}"
            raise TrainingError(
                f"step {step + 1}: out of memory{own} with a micro-batch of {self._micro_batch} images. {advice}"
            )
        if self._place.device.type == "cuda":
            torch.cuda.empty_cache()
        before, self._micro_batch = self._micro_batch, self._micro_batch // 2
        self._note(
            f"step {step + 1}: out of memory; micro-batches of {self._micro_batch} images from here on instead of "
            f"{before}, which changes weights by rounding only"
        )

    def _note(self, text: str) -> None:
        if text in self._notes:
            return
        self._notes.append(text)
        if self._team.leads:
            self._watch.say(text)


class _Interrupts:
    """Ctrl-C and SIGTERM, kept back until the state is that of a whole number of steps; on the main thread alone."""

    def __init__(self) -> None:
        self._came: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _: Any) -> None:
        if self._came is not None:
            raise KeyboardInterrupt
        self._came = number

    def came(self) -> bool:
        return self._came is not None

    def deliver(self) -> None:
        """What was kept back takes effect, as if it came now."""
        self.__exit__()
        if self._came is not None and self._came != signal.SIGINT:
            os.kill(os.getpid(), self._came)
        raise KeyboardInterrupt


def _run(network: nn.Module, data: Batches, recipe: Recipe, seed: int, place: Place) -> dict[str, Any]:
    """What a checkpoint belongs to."""
    import hashlib

    about = {
        "recipe": recipe.describe(),
        "seed": seed,
        "data": dict(data.describe()),
        "labels": hashlib.sha256(data.labels.astype("<i8").tobytes()).hexdigest(),
        "weights": weights_digest(network.state_dict()),
        "precision": place.precision,
    }
    canonical(about)  # here, where the traceback names the culprit, and not at the first checkpoint
    return about


def _found(checkpoints: Checkpoints | None, team: Team) -> Checkpoint | None:
    """The checkpoint to go on from; the first process decides, so that all go on from the same."""
    if checkpoints is None:
        return None
    if team.leads:
        found = checkpoints.newest()
        team.gather(None if found is None else found.step)
        return found
    step = team.gather(None)[0]
    if step is None:
        return None
    found = replace(checkpoints, say=lambda _: None).newest()
    if found is None or found.step != step:
        raise TrainingError(f"the checkpoint of step {step} is not to be read by all processes in {checkpoints.folder}")
    return found


def _as_before(found: Checkpoint, place: Place) -> Place:
    return replace(place, threads=int(found.facts["threads"])) if place.device.type == "cpu" else place


def _plain(network: nn.Module, stepper: Stepper) -> nn.Module:
    """The network in one piece on every process, of the weights that are spread over them."""
    state = cast(Mapping[str, torch.Tensor], stepper.state()["network"])
    network.load_state_dict(dict(state), assign=True)
    return network.to(stepper.place.device).eval()
