"""From a Config to the list of jobs: pure, printable, and without a look at any image or weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from ..models import catalog, select_model, select_models
from ..models.read_weights import in_natural_order
from ..models.released import table as releases
from ..models.released.table import Release
from ..models.selection import SelectedModel, other_name
from ..models.spec import Model
from ..models.weights_choice import WeightsChoice
from ..registry import Registry, UsageError, collect, suggest
from ..results.record import Store
from ..stable import cache_folder, sha
from ..suites.protocol import NO_TASK, Source, Suite, Task, Work
from . import config as settings
from .config import Config
from .identity import changed, code_sha, is_ours, module_of, network_modules, source_sha
from .shelf import FOLDER, Shelf
from .weights_words import Choice, choose_weights
from .words import Mistakes, each

State = Literal["done", "reuse", "to do", "stale", "failed", "skipped"]
PACKAGE = __name__.rsplit(".", 2)[0]
TASK_IDENTITY = (
    "name",
    "images",
    "target",
    "num_classes",
    "splits",
    "label",
    "recipe",
    "revision",
)  # the rest of a task's row only describes


@cache
def suites() -> Registry[Suite]:
    """The protocols there are, each with its default settings."""
    return Registry("suite", collect(f"{PACKAGE}.suites", Suite))


@cache
def tasks() -> Registry[Task]:
    """The tasks there are."""
    return Registry("task", collect(f"{PACKAGE}.suites.tasks", Task))


def data_folder(config: Config) -> Path:
    """Where data sets are looked for: `data=`, BENCH_DATA, or `data` in the cache folder."""
    return config.data or cache_folder() / "data"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One question to one model, fully resolved."""

    suite: Suite
    model: Model
    weights: WeightsChoice
    task: Task
    source: str  # the kind of source, "" where no source has the task
    order: tuple[int | str, ...]  # where it stands in tables
    missing: str = ""  # why it cannot run here
    machine: Mapping[str, str] = field(default_factory=dict)  # device and libraries, where the numbers are theirs
    skip_bad: bool = False  # whether images that cannot be read are left out
    provider: Source | None = field(default=None, compare=False, repr=False)  # the source itself

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything declared that can change the job's numbers, as plain data. No file is read for it but code."""
        return {
            "suite": self.suite.name,
            "version": self.suite.version,
            "settings": {
                name: value for name, value in plain(asdict(self.suite)).items() if name not in self.suite.incidental
            },
            "model": self.model.name,
            "network": self.model.architecture.network,
            "architecture": _architecture(self.model),
            "input": plain(asdict(self.model.input)),
            "weights": str(self.weights),
            "task": {name: plain(getattr(self.task, name)) for name in TASK_IDENTITY},
            "source": self.source,
            **({"skip_bad": True} if self.skip_bad else {}),  # a number without them is no number of the whole
            **({"machine": dict(self.machine)} if self.machine else {}),
        }

    @cached_property
    def slot(self) -> str:
        """The short name of the identity without code, source and skipping: of each source, the newest in it counts."""
        code = self.model.architecture.code_fields
        architecture = {name: value for name, value in self.identity["architecture"].items() if name not in code}
        asked = {name: value for name, value in self.identity.items() if name != "skip_bad"}
        return sha(asked | {"architecture": architecture, "source": None})

    @cached_property
    def key(self) -> str:
        """The short name of the identity and of the code behind it."""
        included = {source_sha(thing) for thing in self._declared_by if not is_ours(thing)}  # in a user's file
        resolved = plain(self.suite.resolved(self.model, self.weights, self.task))
        others = [_architecture(row) for row in self._others]
        return sha(
            self.identity
            | {"code": code_sha(*self.modules, alone=(module_of(type(self.suite)),))}
            | ({"included": sorted(included)} if included else {})
            | ({"resolved": resolved} if resolved else {})
            | ({"others": others} if others else {})
        )

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules of ours whose code is behind the numbers, besides the suite's own file, with all that they import."""
        fed = () if self.task is NO_TASK else ("suites.images.feeding",)
        ours = {module_of(thing) for thing in self._declared_by if is_ours(thing)}
        networks = {module for row in (self.model, *self._others) for module in network_modules(row)}
        return tuple(sorted({*self.suite.modules(), *fed, *networks, *ours}))

    @cached_property
    def _others(self) -> list[Model]:
        """The rows of other models that the job builds beside its own."""
        rows = []
        for name in self.suite.others():
            with suppress(UsageError):  # such a job has no number, and says why
                rows.append(select_model(other_name(self.model, name)).row)
        return rows

    @property
    def _declared_by(self) -> list[Any]:
        """What else says how images and labels come about: the source, its readers, and the task's label rule."""
        readers = getattr(self.provider, "readers", None)  # of a source that has several; a user's need not have it
        things = [self.provider, *(readers(self.task) if readers else ())]
        return [*(type(thing) for thing in things if thing is not None), *([self.task.rule] if self.task.rule else [])]

    @property
    def variant(self) -> str:
        """The settings that make the model differ from the named row."""
        return " ".join(f"{name}={plain_word(value)}" for name, value in self.model.variant)

    @cached_property
    def work(self) -> Work:
        """What the job comes to, at most."""
        return self.suite.estimate(self.model, self.task, self.weights)

    @property
    def release(self) -> Release | None:
        """The released file that the weights are, if they are one."""
        return self.weights.release

    @property
    def group(self) -> tuple[str, ...]:
        """Jobs that share a network and its pass over a set of images."""
        return (self.model.name, self.variant, str(self.weights))


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
            shared, own = (job.task.within if job.suite.shares_larger else {}), job.task.recipe
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
    selected = [suite for found in each(suites().select, config.suite) for suite in found]
    selected = list({suite.name: suite for suite in selected}.values())
    root = data_folder(config)
    shelf = Shelf(root, tasks(), config.include, config.source)
    notes: list[str] = []
    splits = suites()["vtab"].splits
    if _is_bare_vtab(config) and not any(shelf.source(task, splits) for task in shelf.collection("vtab")):
        notes.append(
            f"None of VTAB's 19 data sets is on this machine (looked in {root}; data=DIR or BENCH_DATA change that). "
            f"{HOW_TO_GET_VTAB} Running the built-in miniature instead (suite=vtab-mini)."
        )
        selected = [suites()["vtab-mini"]]
    asked = _choose(config, selected, shelf, given or {})
    jobs = [job for one in asked for job in _jobs(one, config, shelf)]
    jobs = sorted({job.key: job for job in jobs}.values(), key=lambda job: [(isinstance(p, str), p) for p in job.order])
    out = config.out or Path("runs") / ",".join(dict.fromkeys(suite.name for suite in selected))
    jobs = _with_finished_elsewhere(jobs, out, shelf.sources)
    if any(job.release for job in jobs):
        releases.own_folder()  # a folder that is not there is an error before a long download
    return Plan(
        config=config,
        out=out,
        jobs=tuple(jobs),
        states=tuple(_state(job, out) for job in jobs),
        notes=tuple(notes),
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
            found = _choose_tasks(suite, config, shelf)
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
    return [suite.settled(kind) for suite in variants], machine


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


HOW_TO_GET_VTAB = (
    "`data prepare TASK` downloads what may be downloaded and says how to get the rest. Data sets are read as "
    "torchvision and their publishers lay them out, and from the vtab-1k folder of NOAH, SSF and RepAdapter "
    "(vtab-1k/<task>/test.txt)."
)


def _is_bare_vtab(config: Config) -> bool:
    said = {key for key, where in config.origin.items() if where == "command"} - {"out"}
    return config.suite == ("vtab",) and said == {"suite"}


def _choose_tasks(suite: Suite, config: Config, shelf: Shelf) -> list[Task]:
    """The tasks a suite is to ask. Named ones must be on this machine; of a suite's own, at least one."""
    if "task" not in suite.needs:
        return [NO_TASK]
    found = each(lambda word: shelf.select(word, config.division, config.division_seed), config.task)
    named = [task for of_word in found for task in of_word]
    if suite.only_default_tasks:
        foreign = [task.name for task in named if task.collection != suite.default_tasks]
        if foreign:
            raise UsageError(
                f"suite={suite.name} is {len(shelf.collection(suite.default_tasks))} tasks, and '{foreign[0]}' is none "
                "of them: " + ", ".join(task.name for task in shelf.collection(suite.default_tasks))
            )
    chosen = list({task.name: task for task in named or shelf.select(suite.default_tasks)}.values())
    missing = [task for task in chosen if shelf.source(task, suite.splits) is None]
    if missing and (named or len(missing) == len(chosen)):
        where = f"source={config.source} in {shelf.root}" if config.source else str(shelf.root)
        names = ", ".join(task.name for task in missing[:5]) + (" …" if len(missing) > 5 else "")
        partly = [f"{task.name}: {lack}. " for task in missing if (lack := shelf.lacks(task, suite.splits))]
        advice = f" {HOW_TO_GET_VTAB} suite=vtab-mini needs no data" if missing[0].collection == "vtab" else ""
        raise UsageError(
            f"no data for {names} in {where}. {''.join(partly[:3])}Type data=DIR or set BENCH_DATA to the folder that "
            f"holds it.{advice}"
        )
    return chosen


def choose_models(suite: Suite, config: Config, given: Mapping[str, Model], used: set[str]) -> list[Choice]:
    """The models, each with the tag of its weights where the word that names it says them."""
    chosen: dict[tuple[str, Any, Any], Choice] = {}

    def choose(word: str) -> None:
        for selected in [SelectedModel(row=given[word])] if word in given else select_models(word):
            row = selected.row
            models, taken = row.architecture.variants(row, config.model_settings, settings.read_sweep)
            used.update(taken)
            for model in models:
                chosen[model.name, model.variant, selected.said] = Choice(model=model, said=selected.said, word=word)

    each(choose, config.model or suite.default_models)
    return list(chosen.values())


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
            suites().names().index(suite.name),
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


def _architecture(row: Model) -> dict[str, Any]:
    """What of a row's architecture tells it from others, as plain data."""
    kept = [item.name for item in fields(row.architecture) if item.compare]
    return plain({name: getattr(row.architecture, name) for name in kept})


def plain(value: Any) -> Any:
    """A value of dataclass fields as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def plain_word(value: Any) -> str:
    """A setting's value as one would type it."""
    if isinstance(value, tuple):
        return ",".join(map(plain_word, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value).lower() if value is None else str(value)
