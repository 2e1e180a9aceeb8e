"""`plan measure=true`: the seconds of jobs from a few batches of each network and a few images of each image set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from ...meter import telling
from ...models.weights_choice import Random
from ...stable import cache_folder
from ...suites.images.decoded import BadImages
from ...suites.images.features import exact_convolutions
from .. import environment
from ..config import data_folder
from ..job import Job
from ..loaded_model import LoadedModel
from ..plan import Plan
from .seconds import Seconds, assumed
from .speeds import CORE

SPAN = 2.0  # seconds that a rate is measured for
BATCH = {"cpu": 8}  # images of a batch; on other devices
ON_A_GPU = 64
READ_AT_ONCE = 64  # images
MEASURED = "as measured"  # a basis


class _EnoughRead(Exception):
    """As many images were read as a rate needs."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Images a second through a network, forward and in a training step; None where no job trains."""

    forward: float
    trained: float | None


def measured(plan: Plan, say: Callable[[str], None]) -> list[Seconds]:
    """The seconds of each pending job, in the order of a run. What was measured is said.

    A job passes its images through its network while it reads them, at best; at worst it first reads them all.
    """
    device = environment.pick_device(plan.config.device)
    works, reading = plan.work_of_jobs(), dict[str, float]()
    networks: dict[tuple[Any, ...], Rates] = {}
    seconds: list[Seconds] = []
    for job in plan.pending:
        work, macs = works[job.key]
        if not job.work.all:
            seconds.append(assumed(job, plan.config.device, work, macs, threads=environment.threads()))
            continue
        size = job.suite.size(job.model, job.weights)
        kind = (job.group, size, job.work.trained > 0, getattr(job.suite, "precision", "fp32"))
        if kind not in networks:
            networks[kind] = rates = _rates(job, size, device)
            step = "" if rates.trained is None else f", {rates.trained:,.0f} images/s in a training step"
            say(f"{job.model.name} at {size[0]} px on {device}: {rates.forward:,.0f} images/s forward{step}")
        if job.task.image_set not in reading:
            reading[job.task.image_set] = rate = _reading(job, plan)
            say(f"{job.task.name}: {rate:,.0f} images/s read" + ("" if job.source else ", assumed: no data"))
        rates = networks[kind]
        passing = work.images / rates.forward + (work.trained / rates.trained if rates.trained else 0.0)
        read = work.all / reading[job.task.image_set]
        seconds.append(Seconds(low=max(passing, read), high=passing + read, basis=MEASURED))
    return seconds


def _rates(job: Job, size: tuple[int, int], device: torch.device) -> Rates:
    """Weights are random, which are as fast and need no download; a network of one's own has those that it brings."""
    weights = job.weights if job.model.family == "own" else Random()
    network: Any = LoadedModel(job.model, weights, device).resized(size)
    images = torch.randn(BATCH.get(device.type, ON_A_GPU), 3, *size, device=device)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(getattr(job.suite, "precision", "fp32")))
    cast = nullcontext() if half is None else torch.autocast(device.type, dtype=half)

    def forward() -> None:
        with torch.inference_mode(), exact_convolutions(device), cast:
            network.features(images)

    def step() -> None:
        network.zero_grad()
        with cast:
            loss = network.features(images).float().square().mean()
        loss.backward()

    def rate(pass_once: Callable[[], None]) -> float:
        pass_once()  # warms up
        _wait(device)
        begun, passes = time.monotonic(), 0
        while time.monotonic() - begun < SPAN:
            pass_once()
            passes += 1
            _wait(device)
        return passes * len(images) / (time.monotonic() - begun)

    forwards = rate(forward)
    network.train()
    return Rates(forward=forwards, trained=rate(step) if job.work.trained else None)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reading(job: Job, plan: Plan) -> float:
    """Images of a job's task read a second; assumed where they are not here.

    A source that reads every image for a digest of them is stopped when a rate is known.
    """
    if job.source is None:
        return CORE.images * environment.threads()
    begun, read = time.monotonic(), 0

    def told(what: str, done: int, total: int | None) -> None:  # noqa: ARG001
        nonlocal read
        read = done
        if time.monotonic() - begun > SPAN:
            raise _EnoughRead

    try:
        with telling(told):
            split = job.source.load(job.task, job.suite.splits[0], data_folder(plan.config), cache_folder())
    except BadImages as error:
        if not job.skip_bad:
            raise
        split = error.readable
    except _EnoughRead:
        return read / (time.monotonic() - begun)
    begun, read = time.monotonic(), 0
    for part in _parts(split.images):
        read += len(part)
        if time.monotonic() - begun > SPAN:
            break
    return read / max(time.monotonic() - begun, 1e-3)


def _parts(images: Any) -> Iterator[Any]:
    for start in range(0, len(images), READ_AT_ONCE):
        yield images[start : start + READ_AT_ONCE]
