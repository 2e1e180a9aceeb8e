"""From a Config to the list of jobs: pure, printable, and without a look at any image or weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..models import catalog
from ..models.parse_weights import in_natural_order
from ..models.released import table as releases
from ..models.released.table import Release
from ..models.spec import Model
from ..models.weights_choice import WeightsChoice
from ..registry import UsageError, suggest
from ..results.record import Store
from ..suites import suites
from ..suites.protocol import NO_TASK, Source, Suite, Task, Work
from ..suites.tasks import tasks
from . import config as settings
from .config import Config, data_folder
from .fingerprint import changed
from .job import Job
from .select.models import choose_models
from .select.tasks import FOLDER, Shelf, choose_tasks
from .select.weights import choose_weights
from .verbs.words import Mistakes, each

State = Literal["done", "reuse", "to do", "stale", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a command comes to: the jobs in table order, and how each stands in the run directory."""

    config: Config
    out: Path
    jobs: tuple[Job, ...]
    states: tuple[State, ...]
    notes: tuple[str, ...] = ()  # what a user must be told before anything else

    def with_state(self, *states: State) -> list[Job]:
        return [job for job, state in zip(self.jobs, self.states, strict=True) if state in states]

    @property
    def pending(self) -> list[Job]:
        """What a run would compute, jobs that share a network and images side by side."""
        todo = self.with_state("to do", "stale", "failed")
        groups = {group: i for i, group in enumerate(dict.fromkeys(job.group for job in todo))}
        images = {name: i for i, name in enumerate(dict.fromkeys(job.task.images for job in todo))}
        return sorted(todo, key=lambda job: (groups[job.group], images[job.task.images]))

    def downloads(self) -> list[Release]:
        """The released files that a run needs and that are not on this machine."""
        needed = dict.fromkeys(job.release for job in self.pending)
        return [release for release in needed if release is not None and releases.locate(release) is None]

    def work(self) -> tuple[Work, int | None]:
        """Images to pass through networks, and multiply-accumulates of that; None where a model's are not known.

        Tasks on the same images share a pass; features that are cached already are not known here, and counted. A
        backward pass costs two forward passes.
        """
        passes: dict[tuple[Any, ...], tuple[Work, int | None]] = {}
        for job in self.pending:
            work, size = job.work, job.suite.size(job.model, job.weights)
            each = job.model.architecture.macs(size) if work.all else 0
            shared, own = (job.task.within if job.suite.reads_larger_split else {}), job.task.recipe
            parts = tuple(shared.get(split) or own.get(split, split) for split in job.suite.splits)  # tests differ
            key = (job.group, job.task.images, parts, size, getattr(job.suite, "resize", "square"))
            key = (job.key,) if work.trained else key  # training is shared by nobody
            passes[key] = (work, None if each is None else (work.images + 3 * work.trained) * each)
        works = [work for work, _ in passes.values()]
        counted = [macs for _, macs in passes.values() if macs is not None]
        total = Work(images=sum(work.images for work in works), trained=sum(work.trained for work in works))
        return total, sum(counted) if len(counted) == len(passes) else None

    def seconds(self) -> tuple[float, float] | None:
        """About the least and the most seconds of the pending jobs that are bound by time; None where none is."""
        found = [job.suite.seconds(job.model, job.machine.get("device") != "cpu") for job in self.pending]
        known = [one for one in found if one is not None]
        return (sum(low for low, _ in known), sum(high for _, high in known)) if known else None


def make_plan(config: Config, given: Mapping[str, Model] | None = None) -> Plan:
    """The plan of a command. `given` are models passed from Python, by the name that `config.model` has for them.

    Pure: nothing is written and no image or weight is read. Raises UsageError, which says what to type instead, for
    names that do not exist, settings that nothing uses, and data or weights that are not on this machine.
    """
    if not config.suite:
        raise UsageError(f"say what to run: suite={', suite='.join(suites().names())}")
    root = data_folder(config)
    shelf = Shelf(root, tasks(), config.include, config.source)
    selected = [suite for found in each(shelf.suites.select, config.suite) for suite in found]
    selected = list({suite.name: suite for suite in selected}.values())
    selected, notes = _or_fallback(config, selected, shelf)
    asked = _choose(config, selected, shelf, given or {})
    jobs = [job for one in asked for job in _jobs(one, config, shelf)]
    jobs = sorted({job.key: job for job in jobs}.values(), key=lambda job: [(isinstance(p, str), p) for p in job.order])
    out = config.out or Path("runs") / ",".join(dict.fromkeys(suite.name for suite in selected))
    jobs = _with_finished_elsewhere(jobs, out, shelf.sources)
    if any(job.release for job in jobs):
        releases.weights_folder()  # a folder that is not there is an error before a long download
    return Plan(
        config=config,
        out=out,
        jobs=tuple(jobs),
        states=tuple(_state(job, out) for job in jobs),
        notes=notes,
    )


@dataclass(frozen=True, kw_only=True)
class SelectedSuite:
    """One suite with its settings, and what it is to ask of whom."""

    suite: Suite
    tasks: Sequence[Task]
    models: Sequence[tuple[Model, WeightsChoice]]
    machine: Mapping[str, str]


def _choose(config: Config, selected: Sequence[Suite], shelf: Shelf, given: Mapping[str, Model]) -> list[SelectedSuite]:
    """What the words of a command select, a suite and setting at a time. Raises UsageError with all their mistakes."""
    mistakes = Mistakes()
    divided = [word for word in ("division", "division_seed") if word in config.origin]
    if divided and not any(word.startswith(FOLDER) for word in config.task):
        mistakes.note(f"{divided[0]} says how to divide a folder of images, and no task=folder:PATH is named")
    variants = list(selected)
    with mistakes:
        variants = settings.apply(config, selected)
    for suite in variants:
        with mistakes:
            suite.check()
    if config.task and not any("task" in suite.needs for suite in variants):
        mistakes.note(f"task={','.join(config.task)}: suite={','.join(config.suite)} asks about no task; leave it out")
    machine: Mapping[str, str] = {}
    with mistakes:
        variants, machine = _settled(config, variants)

    asked, names = [], set[str]()
    used, chosen_all = set[str](), True
    for suite in variants:
        found: Sequence[Task] = ()
        models: list[tuple[Model, WeightsChoice]] = []
        with mistakes:
            found = choose_tasks(suite, config, shelf)
        with mistakes:
            chosen_all = False
            rows = choose_models(suite, config, given, used)
            chosen_all = True
            names |= {name for row in rows for name in row.model.settable()}
            models = list(choose_weights(suite, rows, config.weights))
        asked.append(SelectedSuite(suite=suite, tasks=found, models=models, machine=machine if suite.by_device else {}))
    for word in sorted(set(config.model_settings) - used) if chosen_all else ():
        mistakes.note(f"no selected model has a setting '{word}'. {suggest(word, sorted(names))}")
    mistakes.tell()
    return asked


def _settled(config: Config, variants: Sequence[Suite]) -> tuple[list[Suite], Mapping[str, str]]:
    """The suites with what was left open chosen for the device, and what tells this machine from others."""
    if not any(suite.by_device for suite in variants):
        return list(variants), {}
    from . import environment

    if "batch_size" in config.origin and all(suite.by_device for suite in variants):
        raise UsageError(
            f"batch_size={config.batch_size} is how other suites pass images, and changes no result of theirs. "
            f"What suite={variants[0].name} measures is suite.batch_size={config.batch_size}"
        )
    machine = environment.machine(config.device)
    kind = environment.pick_device(config.device).type
    return [suite.for_device(kind) for suite in variants], machine


def _jobs(asked: SelectedSuite, config: Config, shelf: Shelf) -> list[Job]:
    """The jobs of one suite: of its models and tasks, those that fit. Raises UsageError where a named one fits none."""
    suite, jobs = asked.suite, []
    for model, weights in asked.models:
        model.architecture.grid(suite.size(model, weights))  # a size that the patches do not fit is an error now
        fitting = [task for task in asked.tasks if not suite.unfit(model, weights, task)]
        if not fitting:
            raise UsageError(suite.unfit(model, weights, asked.tasks[0]))
        made = [_job(suite, model, weights, task, shelf, skip_bad=config.skip_bad) for task in fitting]
        jobs += [replace(job, machine=asked.machine) for job in made]
    for task in asked.tasks if config.task else ():
        if all(job.task.name != task.name for job in jobs):
            raise UsageError(next(suite.unfit(job.model, job.weights, task) for job in jobs))
    return jobs


def _or_fallback(config: Config, selected: Sequence[Suite], shelf: Shelf) -> tuple[Sequence[Suite], tuple[str, ...]]:
    """The selected suites; or, of a suite that was typed alone and has no data here, its fallback and a note."""
    suite = selected[0]
    bare = {key for key, where in config.origin.items() if where == "command"} - {"out"} == {"suite"}
    own = shelf.collection(suite.default_tasks)
    if not (bare and suite.fallback and len(selected) == 1) or any(shelf.source(task, suite.splits) for task in own):
        return selected, ()
    note = (
        f"None of {suite.name.upper()}'s {len(own)} data sets is on this machine (looked in {shelf.root}; data=DIR or "
        f"BENCH_DATA change that). {suite.how_to_get_data} Running the built-in miniature instead "
        f"(suite={suite.fallback})."
    )
    return [suites()[suite.fallback]], (note,)


def _job(suite: Suite, model: Model, weights: WeightsChoice, task: Task, shelf: Shelf, *, skip_bad: bool) -> Job:
    source = None if task is NO_TASK else shelf.source(task, suite.splits)
    rows, questions = catalog().names(), shelf.tasks.names()
    return Job(
        suite=suite,
        model=model,
        weights=weights,
        task=task,
        source=source.name if source else "",
        order=(
            shelf.suites.names().index(suite.name),
            rows.index(model.name) if model.name in rows else model.name,
            " ".join(f"{name}={value}" for name, value in model.variant),
            in_natural_order(str(weights)),
            questions.index(task.name) if task.name in questions else task.name,
        ),
        missing="" if source or task is NO_TASK else shelf.lacks(task, suite.splits) or f"no data in {shelf.root}",
        skip_bad=skip_bad,
        provider=source,
    )


def _with_finished_elsewhere(jobs: Sequence[Job], out: Path, sources: Sequence[Source]) -> list[Job]:
    """The jobs, where one whose data is gone was finished when they were there, as that finished one."""
    if not any(job.missing for job in jobs):
        return list(jobs)
    finished = {cell.key for cell in Store(out).cells() if cell.status == "ok"}
    found = []
    for job in jobs:
        then = [replace(job, source=one.name, provider=one, missing="") for one in sources if job.missing]
        found.append(next((other for other in then if other.key in finished), job))
    return found


def _state(job: Job, out: Path) -> State:
    if job.missing:
        return "skipped"
    try:
        cell = Store(out).get(job.key)
    except UsageError:  # damaged; a run sets it aside
        cell = None
    if cell is not None and cell.status == "ok":
        return "stale" if changed(cell.inputs) else "done"
    if sibling(job, out) is not None:
        return "reuse"
    return "failed" if cell is not None and cell.status == "failed" else "to do"


def sibling(job: Job, out: Path) -> Store | None:
    """A run directory beside `out` that has the finished, unchanged cell of a job."""
    try:
        beside = sorted(out.resolve().parent.glob(f"*/cells/{job.key}.json"))
    except OSError:
        return None
    for path in beside:
        store = Store(path.parent.parent)
        try:
            cell = store.get(job.key)
        except UsageError:
            continue
        if store.folder.name != out.resolve().name and cell and cell.status == "ok" and not changed(cell.inputs):
            return store
    return None
