"""Makes the list of jobs from a Config. It reads no image and no weights, and writes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ..models import catalog
from ..models.parse_weights import in_natural_order
from ..models.released import table as releases
from ..models.released.table import Release
from ..models.spec import Model
from ..models.weights_choice import WeightsChoice
from ..registry import Registry, UsageError, plain_word, suggest
from ..results.cell_index import Entry
from ..results.store import Store
from ..suites import suites
from ..suites.protocol import NO_TASK, Source, Suite, Task, Work
from . import config as settings
from . import environment
from .config import Config
from .engines import workers
from .fingerprint import Stamp, changed, stamp_of
from .job import Job, other_rows
from .select.models import check_labels, choose_models, choose_weights
from .select.tasks import DIVIDED, AvailableData, choose_tasks
from .shard import of_shard
from .words import Mistakes, as_typed, each

State = Literal["done", "reuse", "to do", "stale", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The jobs of a command in table order, and the state of each in the run directory."""

    config: Config
    out: Path
    jobs: tuple[Job, ...]
    states: tuple[State, ...]
    notes: tuple[str, ...] = ()  # printed before anything else

    def with_state(self, *states: State) -> list[Job]:
        return [job for job, state in zip(self.jobs, self.states, strict=True) if state in states]

    @property
    def pending(self) -> list[Job]:
        """The jobs that a run would compute. Those that share a network and images are adjacent."""
        todo = self.with_state("to do", "stale", "failed")
        groups = {group: i for i, group in enumerate(dict.fromkeys(job.group for job in todo))}
        images = {name: i for i, name in enumerate(dict.fromkeys(job.task.image_set for job in todo))}
        return sorted(todo, key=lambda job: (groups[job.group], images[job.task.image_set]))

    @property
    def on_workers(self) -> list[Job]:
        """The pending jobs that workers compute. What is timed is not: beside others it would be slower."""
        return [job for job in self.pending if not job.suite.by_device] if self.config.on_ray else []

    @property
    def in_this_process(self) -> list[Job]:
        """The pending jobs that this process computes, after those of the workers."""
        return [job for job in self.pending if job.suite.by_device or not self.config.on_ray]

    def downloads(self) -> list[Release]:
        """The released files that a run needs and that are not on this machine."""
        needed = dict.fromkeys(job.release for job in self.pending)
        return [release for release in needed if release is not None and releases.locate(release) is None]

    def work_of_jobs(self) -> dict[str, tuple[Work, int | None]]:
        """Of each pending job, by its key, the images to pass through its network and the multiply-accumulates.

        Tasks on the same images share a pass, which counts for the first of them. Cached features are counted as if
        they had to be computed. A backward pass costs two forward passes. None: those of the model are not known.
        """
        pending = self.pending
        works: dict[str, tuple[Work, int | None]] = dict.fromkeys((job.key for job in pending), (Work(), 0))
        firsts: dict[tuple[Any, ...], str] = {}
        for job in pending:
            work, size = job.work, job.suite.size(job.model, job.weights)
            macs = job.model.architecture.macs(size) if work.all else 0
            shared, own = (job.task.larger_split if job.suite.reads_larger_split else {}), job.task.recipe
            parts = tuple(shared.get(split) or own.get(split, split) for split in job.suite.splits)
            resize = getattr(job.suite, "resize", None) or job.suite.name  # what the suite follows
            key = (job.group, job.task.image_set, parts, size, resize, str(job.identity.get("fed")))
            key = (job.key,) if work.trained else key  # no other job shares a training
            works[firsts.setdefault(key, job.key)] = (work, None if macs is None else work.passes * macs)
        return works

    def work(self) -> tuple[Work, int | None]:
        """The work of all pending jobs, and its multiply-accumulates; None where those of a model are not known."""
        each = self.work_of_jobs().values()
        works = [work for work, _ in each]
        known = [macs for _, macs in each if macs is not None]
        total = Work(
            images=sum(work.images for work in works),
            trained=sum(work.trained for work in works),
            kept=sum(work.kept for work in works),
            scratch=max((work.scratch for work in works), default=0),
        )
        return total, sum(known) if len(known) == len(each) else None

    def seconds(self) -> tuple[float, float] | None:
        """The estimated least and most seconds of the pending jobs that measure durations; None where none does."""
        estimates = [job.suite.seconds(job.model, job.machine.get("device") != "cpu") for job in self.pending]
        known = [estimate for estimate in estimates if estimate is not None]
        return (sum(low for low, _ in known), sum(high for _, high in known)) if known else None


def make_plan(config: Config, given: Mapping[str, Model] | None = None, *, data_needed: bool = True) -> Plan:
    """The plan of a command. `given`: models passed from Python, by their names in `config.model`.

    Without `data_needed` tasks without data are planned all the same: such jobs are skipped.
    Nothing is written but the index of a large run directory, and no image or weights file is read; but where data is
    needed, data sets of the Hub are downloaded. Raises UsageError, which says what to type instead, for names that do
    not exist, settings that nothing uses, and data or weights that are not on this machine.
    """
    workers.check(config)
    if not config.suite:
        raise UsageError(f"say what to run: suite={', suite='.join(suites().names())}")
    data = AvailableData(config)
    selected = [suite for suites_of_word in each(data.suites.select, config.suite) for suite in suites_of_word]
    selected = list({suite.name: suite for suite in selected}.values())
    selected, notes = _with_fallback(selected, data)
    choices = _choose(selected, data, given or {}, data_needed)
    swept = _swept([suite for suite, *_ in choices])
    pairs = zip(choices, swept, strict=True)
    jobs = [replace(job, swept=words) for choice, words in pairs for job in _jobs(*choice, data)]
    jobs = sorted({job.key: job for job in jobs}.values(), key=lambda job: [(isinstance(p, str), p) for p in job.order])
    if config.shard:
        whole, jobs = jobs, of_shard(jobs, config.shard)
        notes = (*notes, f"Shard {config.shard}: {len(jobs)} of {len(whole)} jobs.")
    out = config.out or Path("runs") / ",".join(dict.fromkeys(suite.name for suite in selected))
    jobs = _with_finished_elsewhere(jobs, out, data.sources)
    if any(job.release for job in jobs):
        releases.weights_folder()  # a missing folder is an error before a long download
    stamp, store, beside = cache(stamp_of), Store(out), siblings(out)  # many jobs read the same files
    states: tuple[State, ...] = tuple(_state(job, store, beside, stamp) for job in jobs)
    store.index.write()
    return Plan(config=config, out=out, jobs=tuple(jobs), states=states, notes=notes)


def _swept(variants: Sequence[Suite]) -> list[str]:
    """For each suite the settings that tell it from the others of its name: "images=1000"."""
    found: list[str] = []
    for suite in variants:
        same = [other for other in variants if type(other) is type(suite)]
        names = [item.name for item in fields(suite) if len({repr(getattr(one, item.name)) for one in same}) > 1]
        found.append(" ".join(f"{name}={plain_word(getattr(suite, name))}" for name in names))
    return found


Choice = tuple[Suite, Sequence[Task], Sequence[tuple[Model, WeightsChoice]], Mapping[str, str]]


def _choose(
    selected: Sequence[Suite], data: AvailableData, given: Mapping[str, Model], data_needed: bool
) -> list[Choice]:
    """The suites of a command, one for each value of a swept setting, each with its tasks, models and machine.

    Raises UsageError with all mistakes at once.
    """
    config, mistakes = data.config, Mistakes()
    divided = [word for word in ("division", "division_seed", "range") if word in config.origin]
    if divided and not any(word.startswith(DIVIDED) for word in config.task):
        what = "read" if divided[0] == "range" else "divide"
        mistakes.note(f"{divided[0]} says how to {what} a folder of images, and no task=folder:PATH is named")
    if "project" in config.origin and config.tracker is None:
        mistakes.note("project= is the project of a tracker: type tracker=trackio or tracker=wandb, too")
    for key in [key for key in settings.TOP_LEVEL if key in config.origin]:
        if owners := [suite.name for suite in selected if hasattr(suite, key)]:
            text = f"{key}={as_typed(getattr(config, key))}"
            others = [f"suite={suite.name}" for suite in selected if suite.name not in owners]
            mistakes.note(
                f"{text} has two meanings here: type suite.{text} for what suite={' and '.join(owners)} asks"
                + (f", or run {' and '.join(others)} by itself" if others else "")
            )
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
        variants, machine = _fit_device(config, variants)

    choices, names = [], set[str]()
    used, chosen_all = set[str](), True
    for suite in variants:
        chosen: Sequence[Task] = ()
        models: list[tuple[Model, WeightsChoice]] = []
        of_models = Mistakes()
        with of_models:
            chosen_all = False
            rows = choose_models(suite, config, given, used)
            chosen_all = True
            names |= {name for selected in rows for name in selected.row.settable()}
            models = choose_weights(suite, rows, config.weights)
            check_labels(config.label, models)
        data.fetch = data_needed and not mistakes and not of_models  # nothing is downloaded for a command that fails
        with mistakes:
            chosen = choose_tasks(suite, data, data_needed=data_needed)
        with mistakes:
            of_models.tell()
        choices.append((suite, chosen, models, machine if suite.by_device else {}))
    for word in sorted(set(config.model_settings) - used) if chosen_all else ():
        mistakes.note(f"no selected model has a setting '{word}'. {suggest(word, sorted(names))}")
    mistakes.tell()
    return choices


def _fit_device(config: Config, variants: Sequence[Suite]) -> tuple[list[Suite], Mapping[str, str]]:
    """The suites with the defaults that depend on the device, and the machine where a suite's numbers depend on it."""
    if not any(suite.by_device for suite in variants):
        return list(variants), {}
    machine = environment.machine(config.device)
    kind = environment.pick_device(config.device).type
    return [suite.for_device(kind) for suite in variants], machine


def _jobs(
    suite: Suite,
    tasks: Sequence[Task],
    models: Sequence[tuple[Model, WeightsChoice]],
    machine: Mapping[str, str],
    data: AvailableData,
) -> list[Job]:
    """The jobs of one suite: all fitting pairs of model and task. Raises UsageError for a named task without any."""
    jobs: list[Job] = []
    labels = data.config.label or [None] * len(models)
    for place, ((model, weights), label) in enumerate(zip(models, labels, strict=True)):
        for row in (model, *other_rows(suite, model)):
            row.architecture.grid(suite.size(model, weights))  # raises where the patches do not fit the image size
        fitting = [task for task in tasks if not suite.unfit(model, weights, task)]
        if not fitting:
            raise UsageError(suite.unfit(model, weights, tasks[0]))
        made = [_job(suite, model, weights, task, data) for task in fitting]
        common: dict[str, Any] = {"machine": machine, "skip_bad": data.config.skip_bad}
        if label is not None:
            common["label"] = "" if label == "none" else label
            if isinstance(made[0].order[1], str):  # no row of the catalog: as typed
                common["order"] = (made[0].order[0], f"{place:06}", *made[0].order[2:])
        jobs += [replace(job, **common) for job in made]
    for task in tasks if data.config.task else ():
        if all(job.task.name != task.name for job in jobs):
            raise UsageError(next(suite.unfit(job.model, job.weights, task) for job in jobs))
    return jobs


def _with_fallback(selected: Sequence[Suite], data: AvailableData) -> tuple[Sequence[Suite], tuple[str, ...]]:
    """The selected suites; for a suite that is typed alone and has no data here, its fallback and a note."""
    suite = selected[0]
    bare = {key for key, where in data.config.origin.items() if where == "command"} - {"out"} == {"suite"}
    own = data.collection(suite.default_tasks)
    if not (bare and suite.fallback and len(selected) == 1) or any(data.source(task, suite.splits) for task in own):
        return selected, ()
    note = (
        f"None of {suite.name.upper()}'s {len(own)} data sets is on this machine (looked in {data.root}; "
        f"data=DIR or BENCH_DATA change that). {suite.how_to_get_data} Running the built-in miniature instead "
        f"(suite={suite.fallback})."
    )
    return [suites()[suite.fallback]], (note,)


def _job(suite: Suite, model: Model, weights: WeightsChoice, task: Task, data: AvailableData) -> Job:
    source = None if task is NO_TASK else data.source(task, suite.splits)
    order = (
        data.suites.names().index(suite.name),
        _place(catalog(), model.name),
        " ".join(f"{name}={value}" for name, value in model.variant),
        in_natural_order(str(weights)),
        _place(data.tasks, task.name),
    )
    missing = "" if source or task is NO_TASK else data.lacks(task, suite.splits) or f"no data in {data.root}"
    beside = {row.name: (row, found) for row, found in data.beside(suite)}
    return Job(
        suite=suite, model=model, weights=weights, task=task, source=source, beside=beside, order=order, missing=missing
    )


def _place(known: Registry[Any], name: str) -> int | str:
    """The number of a row in its registry; the name of a row that is not in it."""
    return known.names().index(name) if name in known.names() else name


def _with_finished_elsewhere(jobs: Sequence[Job], out: Path, sources: Sequence[Source]) -> list[Job]:
    """The jobs; one whose data is gone takes the source that it was finished with before."""
    if not any(job.missing for job in jobs):
        return list(jobs)
    finished = {key for key, entry in Store(out).index.entries().items() if entry.status == "ok"}
    replaced = []
    for job in jobs:
        others = [replace(job, source=source, missing="") for source in sources if job.missing]
        replaced.append(next((other for other in others if other.key in finished), job))
    return replaced


def _state(job: Job, store: Store, beside: Siblings, stamp: Callable[[Path], Stamp]) -> State:
    if job.missing:
        return "skipped"
    entry = _stored(job, store)
    if entry is not None and entry.status == "ok":
        return "stale" if changed(entry.inputs, stamp) else "done"
    if sibling(job, beside, stamp) is not None:
        return "reuse"
    return "failed" if entry is not None and entry.status == "failed" else "to do"


def _stored(job: Job, store: Store) -> Entry | None:
    """What is known of the job's cell; None without one, and where it or its predictions are damaged: it runs again."""
    with suppress(UsageError):
        entry = store.index.entry(job.key)
        if entry is not None and store.index.has_whole_arrays(job.key):
            return entry
    return None


Siblings = Mapping[str, Sequence[Store]]  # run directories by the names of their cells' files


def siblings(out: Path) -> Siblings:
    """The run directories next to `out`, in order of their names."""
    own, found = out.resolve(), dict[str, list[Store]]()
    for folder in sorted(own.parent.glob("*/cells")):
        with suppress(OSError):
            store = Store(folder.parent)
            for file in os.scandir(folder) if folder.parent.name != own.name else ():
                found.setdefault(file.name, []).append(store)
    return found


def sibling(job: Job, beside: Siblings, stamp: Callable[[Path], Stamp] = stamp_of) -> Store | None:
    """One of the run directories beside that has the job finished, with input files that have not changed since."""
    for store in beside.get(f"{job.key}.json", ()):
        entry = _stored(job, store)
        if entry is not None and entry.status == "ok" and not changed(entry.inputs, stamp):
            return store
    return None
