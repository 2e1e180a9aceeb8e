"""Replays published accuracies as ordinary runs, and looks for the reason where one differs.

suite=classify scores each file, all into one run directory, so that a stopped command resumes. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...models import catalog
from ...models.released import table as releases
from ...models.weights_choice import Released
from ...results.comparison.agreement import Stated
from ...results.store import Store
from ...stable import replacing
from ...suites import suites
from ...suites.protocol import Task
from ...suites.sources.sets.imagenet import ImageNet
from .. import config
from ..config import Config
from ..console import Screen
from ..distributed import process_group
from ..environment import pick_device
from ..job import Job
from ..plan import Plan, make_plan
from ..progress import Progress
from ..run import execute
from ..select.tasks import AvailableData
from ..words import at_least, option, option_of
from .published import Anchor

if TYPE_CHECKING:
    from .diagnose import Diagnosis


PASSED = ("data", "source", "include", "device", "batch_size", "precision")  # passed on to the runs that measure


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """The options of `verify`; those of a run are passed on to the runs that measure."""

    task: tuple[str, ...] = option((), "of these tasks alone", shown="NAME[,NAME]")
    of: Literal["file", "configuration", "copy"] | None = option(
        None, "numbers of this kind alone: of this very file, of its configuration, of timm's copy"
    )
    tolerance: float = option(
        0.0, "percentage points more on either side of what agrees", check=at_least(0, "percentage points from 0 up")
    )
    sample: int = option(
        2000, "images a diagnosis scores each change on", check=at_least(50, "a diagnosis needs at least 50 images")
    )
    diagnose: bool = option(True, "look for no reason where a number differs")
    out: Path = option(Path("runs/verify"), "the run directory, and verify.csv in it", shown="DIR")
    precision: Literal["fp32", "bf16"] = option("fp32", "of the forward pass; bf16 is autocast")
    data: Path | None = option_of(Config, "data")
    source: str | None = option_of(Config, "source")
    include: tuple[Path, ...] = option_of(Config, "include")
    device: str = option_of(Config, "device")
    batch_size: int = option_of(Config, "batch_size")
    format: Literal["terminal", "json"] = option("terminal", "how it is printed")
    passed: tuple[str, ...] = ()  # the words of PASSED, as typed


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

    @property
    def stated(self) -> Stated:
        return Stated(text=self.anchor.stated, n=self.task.splits["test"], same=self.anchor.binding)


def check_available(anchors: Sequence[Anchor], options: VerifyOptions) -> list[Check]:
    """A check for each anchor, with the weights and images that are not on this machine."""
    data = AvailableData(config.read([*options.passed, "suite=classify"]))
    checks = []
    for anchor in anchors:
        task, release, lacks = data.tasks[anchor.task], anchor.release, []
        if releases.locate(release) is None:
            name, place = f"{release.model}:{release.tag}", releases.possible_places(release)[0]
            lacks.append(f"weights {name}: place {place}, or `weights download {name}`")
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


def plans(checks: Sequence[Check], options: VerifyOptions) -> Iterator[tuple[Plan, list[Check]]]:
    """The runs that measure these checks: one for each file and its settings, with all its tasks."""
    runs: dict[tuple[str, str, tuple[str, ...]], list[Check]] = {}
    for check in checks:
        if not check.lacks:
            release = check.anchor.release
            runs.setdefault((release.model, release.tag, check.anchor.settings), []).append(check)
    for (model, tag, words), members in runs.items():
        names = ",".join(dict.fromkeys(check.task.name for check in members))
        run = ["suite=classify", f"model={model}", f"weights={tag}", f"task={names}", f"out={options.out}"]
        yield make_plan(config.read([*run, *words, *options.passed])), members


def needs(checks: Sequence[Check], options: VerifyOptions) -> tuple[int, float | None]:
    """Images and TFLOP of the runs that are possible here and not done; None where a model's TFLOP are not known."""
    works = [plan.work() for plan, _ in plans(checks, options)]
    known = [macs for _, macs in works if macs is not None]
    return sum(work.images for work, _ in works), 2 * sum(known) / 1e12 if len(known) == len(works) else None


def cost(check: Check) -> tuple[int, float | None]:
    """Images and TFLOP of one check alone, whether it is possible here or not."""
    release = check.anchor.release
    suite = config.apply(config.read(["suite=classify", *check.anchor.settings]), [suites()["classify"]])[0]
    model, weights = catalog()[release.model], Released(release)
    images = suite.estimate(model, check.task, weights).images
    macs = model.architecture.macs(suite.size(model, weights))
    return images, None if macs is None else 2 * macs * images / 1e12


def replay(checks: Sequence[Check], options: VerifyOptions, screen: Screen) -> list[Check]:
    """The checks in their order, with what was measured. Those that lack something are returned as they are.

    Raises KeyboardInterrupt after Ctrl-C; what was measured is in the run directory.
    """
    done: dict[Anchor, Check] = {check.anchor: check for check in checks}
    for plan, members in plans(checks, options):
        outcome = execute(plan, Progress(screen))
        if outcome.interrupted:
            raise KeyboardInterrupt
        if not outcome.leads:
            continue
        for check in members:
            job = next(job for job in plan.jobs if job.task.name == check.task.name)
            done[check.anchor] = scored = _judge(check, job, plan.out, options)
            if scored.verdict == "differs" and options.diagnose and process_group().size > 1:
                screen.say(f"{job.model.name} {job.weights} on {job.task.name}: repeat it in one process to hear why")
            elif scored.verdict == "differs" and options.diagnose:
                screen.say(f"{job.model.name} {job.weights} on {job.task.name}: looking for the reason")
                reason = find_reason(scored.stated, job, plan, sample=options.sample, screen=screen)
                done[check.anchor] = replace(scored, diagnosis=reason)
    return [done[check.anchor] for check in checks]


def _judge(check: Check, job: Job, out: Path, options: VerifyOptions) -> Check:
    cell = Store(out).get(job.key)
    records = () if cell is None else cell.records
    error = next((record.error for record in records if record.error), "")
    value = next((record.value for record in records if record.metric == "top1" and record.status == "ok"), None)
    if value is None:
        return replace(check, verdict="failed", error=error or "no record")
    return replace(
        check,
        measured=value,
        interval=check.stated.interval(tolerance=options.tolerance),
        verdict=check.stated.verdict(value, tolerance=options.tolerance),
    )


def find_reason(stated: Stated, job: Job, plan: Plan, *, sample: int, screen: Screen) -> Diagnosis:
    """Why a finished job of suite=classify does not score what is stated, looked for on `sample` images."""
    from ..context import Folders, JobContext
    from ..loaded_model import LoadedModel
    from .diagnose import Diagnosis, diagnose, most_images

    suite: Any = job.suite
    loaded = LoadedModel(job.model, job.weights, pick_device(plan.config.device))
    view = suite.view(job.model, job.weights)
    with closing(Progress(screen)) as progress:
        context = JobContext(job, loaded, Folders.of(plan), progress, batch_size=plan.config.batch_size)
        progress.open([0.0])
        progress.begin(f"looking for the reason: {job.model.name} {job.task.name}", total=most_images(job, sample))
        try:
            return diagnose(context, view, stated, sample=sample, precision=suite.precision)
        except (ValueError, RuntimeError, MemoryError, OSError) as error:  # the measurement stays valid
            return Diagnosis(link="", words=f"the search broke off: {type(error).__name__}: {error}")


def write(checks: Sequence[Check], out: Path) -> Path:
    """Write the checks as a CSV file in the run directory, one row each."""
    import pandas as pd

    path = out / "verify.csv"
    with replacing(path) as temporary:
        pd.DataFrame(map(described, checks)).to_csv(temporary, index=False, lineterminator="\n")
    return path


def described(check: Check) -> dict[str, Any]:
    """A check as plain data."""
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
        "test": "same images" if anchor.binding else "other weights",
        "low": low,
        "high": high,
        "measured": check.measured if known else "",
        "images_apart": "" if check.measured is None else check.stated.images_apart(check.measured),
        "verdict": check.verdict,
        "suspect": diagnosis.link if diagnosis else "",
        "because": diagnosis.words if diagnosis else check.error or "; ".join(check.lacks),
    }
