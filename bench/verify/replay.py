"""Replays published accuracies as ordinary runs, and looks for the reason where one differs.

suite=classify scores each file, all into one run directory, so that a stopped command resumes. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...models import catalog
from ...models.released import table as releases
from ...models.weights_choice import Released
from ...results.comparison.agreement import Stated
from ...results.record import Store
from ...stable import replacing
from ...suites.protocol import Task
from ...suites.sources.sets.imagenet import ImageNet
from ...suites.tasks import tasks
from .. import config
from ..config import data_folder
from ..job import Job
from ..plan import Plan, make_plan
from ..select.tasks import AvailableData
from .published import Anchor

if TYPE_CHECKING:
    from ...models.released.table import Release
    from ..progress import Progress
    from .diagnose import Diagnosis

TABLE = "verify.csv"


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """The settings of a `verify` command: words for the runs, and its own."""

    words: tuple[str, ...]  # data=, source=, device=, batch_size=, precision=, include=
    out: Path
    tolerance: float  # percentage points
    sample: int  # number of images that a diagnosis scores every change on
    diagnose: bool


@dataclass(frozen=True, kw_only=True)
class Check:
    """One published accuracy, with what it lacks on this machine or with what was measured."""

    anchor: Anchor
    task: Task
    lacks: tuple[str, ...] = ()  # weights and images that are not here, and where to put them
    measured: float | None = None
    error: str = ""
    interval: tuple[float, float] = (0.0, 0.0)
    verdict: str = "not here"  # "agrees", "differs", "failed"
    diagnosis: Diagnosis | None = None
    job: Job | None = field(default=None, compare=False, repr=False)

    @property
    def stated(self) -> Stated:
        return Stated(text=self.anchor.stated, n=self.task.splits["test"])


def check_available(anchors: Sequence[Anchor], settings: ReplaySettings) -> list[Check]:
    """A check for each anchor, with the weights and images that are not on this machine."""
    typed = config.read([*settings.words, "suite=classify"])
    data = AvailableData(data_folder(typed), tasks(), typed.include, typed.source)
    checks = []
    for anchor in anchors:
        task = data.tasks[anchor.task]
        lacks = []
        if releases.locate(anchor.release) is None:
            lacks.append(_describe_missing_weights(anchor.release))
        if data.source(task, ("test",)) is None:
            lacks.append(_describe_missing_images(task, data))
        checks.append(Check(anchor=anchor, task=task, lacks=tuple(lacks)))
    return checks


def _describe_missing_images(task: Task, data: AvailableData) -> str:
    why = data.lacks(task, ("test",))
    if not why and task.image_set == "ImageNet":
        why = ImageNet().missing(task, data.root, ("test",))
    why = why or f"nothing of it is in {data.root}"
    return f"images of {task.name}: {why}; `data prepare '{task.name}'` says how to get them"


def _describe_missing_weights(release: Release) -> str:
    place = releases.possible_places(release)[0]
    return f"weights {release.model}:{release.tag}: place {place}, or `weights download {release.model}:{release.tag}`"


def plans(checks: Sequence[Check], settings: ReplaySettings) -> Iterator[tuple[Plan, list[Check]]]:
    """The runs that measure these checks: one for each file and its settings, with all its tasks."""

    def same_run(check: Check) -> tuple[str, str, tuple[str, ...]]:
        return check.anchor.release.model, check.anchor.release.tag, check.anchor.settings

    here = [check for check in checks if not check.lacks]
    order = {key: i for i, key in enumerate(dict.fromkeys(map(same_run, here)))}
    for (model, tag, words), group in groupby(sorted(here, key=lambda check: order[same_run(check)]), key=same_run):
        members = list(group)
        names = ",".join(dict.fromkeys(check.task.name for check in members))
        run = ["suite=classify", f"model={model}", f"weights={tag}", f"task={names}", f"out={settings.out}"]
        yield make_plan(config.read([*run, *words, *settings.words])), members


def needs(checks: Sequence[Check], settings: ReplaySettings) -> tuple[int, float | None]:
    """Images and TFLOP of the runs that are possible here and not done; None where a model's TFLOP are not known."""
    works = [plan.work() for plan, _ in plans(checks, settings)]
    known = [macs for _, macs in works if macs is not None]
    return sum(work.images for work, _ in works), 2 * sum(known) / 1e12 if len(known) == len(works) else None


def cost(check: Check) -> tuple[int, float | None]:
    """Images and TFLOP of one check alone, whether it is possible here or not."""
    from ...suites import suites

    release = check.anchor.release
    suite = config.apply(config.read(["suite=classify", *check.anchor.settings]), [suites()["classify"]])[0]
    model, weights = catalog()[release.model], Released(release)
    images = suite.estimate(model, check.task, weights).images
    macs = model.architecture.macs(suite.size(model, weights))
    return images, None if macs is None else 2 * macs * images / 1e12


def replay(
    checks: Sequence[Check], settings: ReplaySettings, progress: Callable[[], Progress], say: Callable[[str], None]
) -> list[Check]:
    """The checks in their order, with what was measured. Those that lack something are returned as they are.

    Raises KeyboardInterrupt after Ctrl-C; what was measured is in the run directory.
    """
    from ..distributed import process_group
    from ..run import execute

    done: dict[Anchor, Check] = {check.anchor: check for check in checks}
    for plan, members in plans(checks, settings):
        outcome = execute(plan, progress())
        if outcome.interrupted:
            raise KeyboardInterrupt
        if not outcome.leads:
            continue
        for check in members:
            job = next(job for job in plan.jobs if job.task.name == check.task.name)
            done[check.anchor] = scored = _judge(check, job, plan.out, settings)
            if scored.verdict == "differs" and settings.diagnose and process_group().size > 1:
                say(f"{job.model.name} {job.weights} on {job.task.name}: repeat it in one process to hear why")
            elif scored.verdict == "differs" and settings.diagnose:
                say(f"{job.model.name} {job.weights} on {job.task.name}: looking for the reason")
                done[check.anchor] = replace(scored, diagnosis=_diagnosis(scored, job, plan, settings))
    return [done[check.anchor] for check in checks]


def _judge(check: Check, job: Job, out: Path, settings: ReplaySettings) -> Check:
    cell = Store(out).get(job.key)
    records = () if cell is None else cell.records
    error = next((record.error for record in records if record.error), "")
    value = next((record.value for record in records if record.metric == "top1" and record.status == "ok"), None)
    if value is None:
        return replace(check, verdict="failed", error=error or "no record", job=job)
    return replace(
        check,
        measured=value,
        interval=check.stated.interval(tolerance=settings.tolerance),
        verdict=check.stated.verdict(value, tolerance=settings.tolerance),
        job=job,
    )


def _diagnosis(check: Check, job: Job, plan: Plan, settings: ReplaySettings) -> Diagnosis:
    from ..context import Folders, JobContext
    from ..environment import pick_device
    from ..loaded_model import LoadedModel
    from ..progress import Progress
    from .diagnose import Diagnosis, diagnose

    suite: Any = job.suite
    loaded = LoadedModel(job, pick_device(plan.config.device))
    context = JobContext(job, loaded, Folders.of(plan), Progress(None), batch_size=plan.config.batch_size)
    view = suite.view(job.model, job.weights)
    try:
        return diagnose(context, view, check.stated, sample=settings.sample, precision=suite.precision)
    except (ValueError, RuntimeError, MemoryError, OSError) as error:  # the measurement stays valid
        return Diagnosis(link="", words=f"the search broke off: {type(error).__name__}: {error}", changes=())


def write(checks: Sequence[Check], out: Path) -> Path:
    """Write the checks as a CSV file in the run directory, one row each."""
    import pandas as pd

    path = out / TABLE
    with replacing(path) as temporary:
        pd.DataFrame(map(_row, checks)).to_csv(temporary, index=False, lineterminator="\n")
    return path


def _row(check: Check) -> dict[str, Any]:
    anchor, known, diagnosis = check.anchor, check.measured is not None, check.diagnosis
    low, high = check.interval if known else ("", "")
    return {
        "model": anchor.release.model,
        "weights": anchor.release.tag,
        "file": anchor.release.file_name,
        "task": check.task.name,
        "published": anchor.stated,
        "of": anchor.of,
        "basis": anchor.basis,
        "n_test": check.stated.n,
        "low": low,
        "high": high,
        "measured": check.measured if known else "",
        "verdict": check.verdict,
        "suspect": diagnosis.link if diagnosis else "",
        "because": diagnosis.words if diagnosis else check.error or "; ".join(check.lacks),
    }
