"""Show what `run` would do with the same words: the jobs, which are done, and the work ahead. Runs nothing.

With `power=0.5` also how many seeds and images a difference of 0.5 points needs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ...meter import human
from ...models.released import table as releases
from ...registry import UsageError, first_few
from ...results.cost import Cost
from ...results.store import Records, load
from ...results.tables import Table
from ...results.tables.render import render_json
from ...results.tables.shown import Tables
from ...transfer import switched_off
from .. import config as settings
from .. import environment
from ..api import planned
from ..console import Screen, stderr, stdout
from ..engines.workers import in_parallel, in_words
from ..expected.seconds import ASSUMED, TIMING, Seconds, expected
from ..facts import release_bytes
from ..plan import Plan, State, make_plan
from ..words import from_python, option, options
from .command import JsonOutput, Side, listed, name_of, print_json, read_words, runs_of, single, take_format
from .completion import words_argument
from .weights import size_of, total

if TYPE_CHECKING:
    from ...results.comparison.power import Earlier
    from ...results.statistics.power import Variances

SEEDS = (1, 2, 3, 5, 10)


@dataclass(frozen=True, kw_only=True)
class TimeOptions:
    """How the time that a run takes is known."""

    measure: bool = option(
        False,
        "run each network and read each image set for 2 seconds, and plan from that; without it from earlier runs in "
        "out= and beside it, on such a machine, or else from assumed speeds",
    )


@dataclass(frozen=True, kw_only=True)
class PowerOptions:
    """How large a difference is to be seen, and what is known of its variance."""

    power: float | None = option(
        None,
        "how many seeds and images a difference of two models needs to be seen at 5 % with 80 % power",
        shown="POINTS",
        check=lambda value: "" if value > 0 else "a difference in percentage points, above 0",
    )
    earlier: tuple[Path, ...] = option(
        (), "runs that show variances over seeds and images, and cost", shown="RUN[,RUN]"
    )
    seed_sd: float | None = option(
        None,
        "standard deviation over seeds of one model's accuracy, in points, in place of theirs",
        check=lambda value: "" if value >= 0 else "percentage points from 0 up",
    )
    disagree: float | None = option(
        None,
        "share of the images on which one of two models is right and the other is not, in place of theirs",
        check=lambda value: "" if 0 < value <= 1 else "a share above 0, at most 1: 0.1 is a tenth of the images",
    )


Words = Annotated[
    list[str] | None,
    words_argument("[KEY=VALUE]...", settings.Config, TimeOptions, PowerOptions, JsonOutput),
]
SELECTING = ("suite", "model", "task", "weights", "include", "division", "division_seed")
SETTINGS_HELP = f"""**What**

{listed(settings.Config, SELECTING)}

**Where and how**

{listed(settings.Config, [name for name in settings.TOP_LEVEL if name not in SELECTING])}
- `config=FILE`: the same keys from a YAML file; words win

**Settings of what was selected**

- `suite.X=…`, or `X=…` alone: a field of the selected suites; a comma list where one value is expected sweeps it
- `model.X=…`: a variant of the selected models, for example `model.depth=8`

**How long it takes** (`plan`)

{listed(TimeOptions)}

**How much is enough** (`plan`)

{listed(PowerOptions)}
"""


def count_jobs(jobs: Sequence[Any]) -> str:
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"


class Planned(Tables):
    """The jobs of a plan, or how much is enough, as tables; `plan` is what `run` would do, None for neither."""

    def __init__(self, tables: Sequence[Table], plan: Plan | None) -> None:
        super().__init__(tables)
        self.plan = plan


def plan(
    *words: str,
    power: float | None = None,
    earlier: Side = (),
    seed_sd: float | None = None,
    disagree: float | None = None,
    **values: Any,
) -> Planned:
    """What `run` would do with the same words and keyword settings. Runs nothing, reads no image and no weights.

    power        the difference in percentage points that is to be seen: how many seeds and images it needs
    earlier      runs that show variances over seeds and images, and cost
    seed_sd, disagree   variances in place of theirs: points, and a share of the images

    A notebook shows the result; of a plan alone `.frame` has a row a job with its state, and `.plan.pending` are the
    jobs that are left. Raises UsageError for what cannot be run.
    """
    given = {"power": power, "seed_sd": seed_sd, "disagree": disagree}
    runs = runs_of(earlier)
    wanted = from_python(PowerOptions, **given, earlier=[name_of(run) for run in runs])
    asked = bool(runs) or any(value is not None for value in given.values())
    made = planned(*words, data_needed=False, **values) if words or values or not asked else None
    first = [_power(wanted, made, runs)] if asked else []
    return Planned([*first, *([_jobs(made)] if made is not None else [])], made)


def plan_verb(words: Words = None) -> None:
    asked, as_json = take_format(words or [])
    screen = stderr() if as_json else stdout()
    of_power = [word for word in asked if word.partition("=")[0] in options(PowerOptions)]
    of_time = [word for word in asked if word.partition("=")[0] in options(TimeOptions)]
    rest = [word for word in asked if word not in (*of_power, *of_time)]
    measure = read_words(of_time, TimeOptions, "plan", name=str)[1].measure
    wanted = read_words(of_power, PowerOptions, "plan", name=str)[1]
    made = make_plan(settings.read(rest), data_needed=False) if rest or not of_power else None
    power = _power(wanted, made, wanted.earlier) if of_power else None
    if as_json:
        found = _as_data(made, measure=measure, say=screen.say) if made is not None else {}
        return print_json(found | ({"power": json.loads(render_json([power]))[0]} if power is not None else {}))
    if power is not None:  # first what was asked: the list of jobs may be long
        _print(power, screen)
    if made is not None:
        for note in made.notes:
            stderr().say(note)
        jobs = _jobs(made, measure=measure, say=screen.say)
        _print(replace(jobs, notes=jobs.notes[len(made.notes) :]), screen)


def _print(table: Table, screen: Screen) -> None:
    """Print a table and the lines below it; names, settings and costs may be broken into lines."""
    long = ("model", "weights", "task", "settings")
    screen.table(table.columns, table.rows, whole=[name for name in table.columns if name not in long])
    for note in table.notes:
        screen.say(note)


def _jobs(plan: Plan, *, measure: bool = False, say: Callable[[str], None] = lambda _: None) -> Table:
    """A row a job with its state, and the lines below: choices, settings, downloads, the work ahead and its time.

    With `measure` the time is measured, and `say` tells of it.
    """
    rows, swept = [], any(job.swept for job in plan.jobs)
    for job, state in zip(plan.jobs, plan.states, strict=True):
        variant = f" [{job.variant}]" if job.variant else ""
        model = job.label or job.model.name + variant
        words = (job.suite.name, model, str(job.weights), job.task.name, job.source_name)
        rows.append((*words, *([job.swept] if swept else []), _in_words(state)))
    columns = ("suite", "model", "weights", "task", "source", *(["settings"] if swept else []), "state")
    title = f"{count_jobs(plan.jobs)}, {len(plan.pending)} to run"
    whole, seconds = _with_times(plan, measure=measure, say=say)
    notes = (*plan.notes, *_lines(plan, seconds, whole))
    return Table(title=title, columns=columns, rows=tuple(rows), labels=len(columns), notes=notes)


def _in_words(state: State) -> str:
    return "no data" if state == "skipped" else state


def _with_times(plan: Plan, *, measure: bool, say: Callable[[str], None]) -> tuple[Plan, list[Seconds]]:
    """The plan as if all data were here, and how long each of its pending jobs takes."""
    whole = replace(plan, states=tuple("to do" if state == "skipped" else state for state in plan.states))
    if not measure:
        return whole, expected(whole)
    from ..expected.measure import measured

    return whole, measured(whole, say)


def _as_data(plan: Plan, *, measure: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """What the table of a plan and the lines below it say, as plain data."""
    whole, seconds = _with_times(plan, measure=measure, say=say)
    times, (work, macs) = dict(zip((job.key for job in whole.pending), seconds, strict=True)), whole.work()
    timed = [one for one in seconds if one.basis == TIMING]
    parts = [*_beside([one for one in seconds if one.basis != TIMING], plan), *timed]
    jobs = [
        {
            "key": job.key,
            **job.names,
            "settings": job.swept,
            "state": _in_words(state),
            "seconds": (one.low, one.high) if (one := times.get(job.key)) else None,
            "basis": one.basis if one else "",
        }
        for job, state in zip(plan.jobs, plan.states, strict=True)
    ]
    return {
        "run_directory": plan.out,
        "settings": plan.config.describe(),
        "jobs": jobs,
        "states": Counter(map(_in_words, plan.states)),
        "seconds": (sum(one.low for one in parts), sum(one.high for one in parts)),
        "images": work.images,
        "images_trained_on": work.trained,
        "tflop": None if macs is None else 2 * macs / 1e12,
        "bytes_of_disk": work.kept + work.scratch,
        "bytes_that_stay": work.kept,
        "downloads": [
            {"model": one.model, "tag": one.tag, "file": one.file_name, "bytes": release_bytes(one)}
            for one in plan.downloads()
        ],
        "notes": plan.notes,
    }


def _lines(plan: Plan, seconds: Sequence[Seconds], whole: Plan) -> Iterator[str]:
    choices: dict[tuple[str, str], dict[str, None]] = {}  # suite and words -> models
    for job in plan.jobs:
        if words := job.suite.choices(job.model, job.weights, job.task):
            choices.setdefault((job.suite.name, words), {})[job.model.name] = None
    for (suite, words), models in choices.items():
        yield f"{suite} {', '.join(models)}: {words}"
    for key, value in plan.config.describe().items():
        yield f"{key} = {value}   ({plan.config.origin[key]})"
    needed = plan.downloads()
    for release in needed:
        yield f"missing: weights {release.tag} of {release.model} ({release.file_name}, {size_of(release)})"
    if needed and (switch := switched_off()):
        yield f"downloads are off ({switch}): these jobs will fail"
    elif needed:
        yield f"run downloads {total(needed)} to {releases.cached_folder()}"
    yield from _ahead(plan, seconds, whole)


def without_data(plan: Plan) -> Iterator[str]:
    """A line on the tasks whose images are not here, and how to get them, if there are such tasks."""
    if without := plan.with_state("skipped"):
        names = first_few(list(dict.fromkeys(job.task.name for job in without)))
        how = "".join(dict.fromkeys(f" {job.suite.how_to_get_data}" for job in without if job.suite.how_to_get_data))
        yield f"no data in {settings.data_folder(plan.config)} for {names}.{how or ' `data prepare` says more.'}"


def _ahead(plan: Plan, seconds: Sequence[Seconds], whole: Plan) -> Iterator[str]:
    """The images to pass, the compute, the disk, and the time, of `whole`: with the jobs without data."""
    yield from without_data(plan)
    without = plan.with_state("skipped")
    (work, macs), bases = whole.work(), dict.fromkeys(one.basis for one in seconds)
    of_basis = {basis: [one for one in seconds if one.basis == basis] for basis in bases}
    assumed, timed = of_basis.pop(ASSUMED, []), of_basis.pop(TIMING, [])
    for basis, those in of_basis.items():
        yield f"time: about {_minutes(_beside(those, plan))} for {count_jobs(those)}, {basis}"
    compute = "compute not known for every model" if macs is None else f"{2 * macs / 1e12:.2f} TFLOP"
    if work.trained:
        compute += "" if macs is None else f" ({2 * macs / 1e18:.3g} exaFLOPs)"
    if assumed and macs:
        compute += f", very roughly {_minutes(_beside(assumed, plan))} on {_where(plan)}"
    most, stays = human(work.kept + work.scratch), human(work.kept)
    compute += f", {most} of disk, of which {stays} stay" if work.scratch else ""
    parts = [f"{work.images:,} images through a network"] if work.images or not (work.trained or timed) else []
    parts += [f"{work.trained:,} trained on (forward and backward)"] if work.trained else []
    ahead = [f"at most {' and '.join(parts)}, {compute}"] if parts else []
    ahead += [f"about {_minutes(timed)} of timing"] if timed else []
    if timed:
        yield f"time: {_bound(whole)}"
    absent = f", {len(without)} without data, counted as if it were here" if without else ""
    who = f" on {in_words(plan.config)}" if plan.on_workers else ""
    pending = f"{len(plan.pending)} to run{who}{absent}"
    yield f"{count_jobs(plan.jobs)}, {pending}: {' and '.join(ahead)}. Run directory: {plan.out}"


def _power(wanted: PowerOptions, plan: Plan | None, runs: Sequence[Records]) -> Table:
    """For each task and number of seeds the difference that is seen, and the images that `power` needs."""
    from ...results.statistics.power import Variances

    if wanted.power is None:
        given = next(name for name in options(PowerOptions) if getattr(wanted, name) not in (None, ()))
        raise UsageError(f"{given}= belongs to power=POINTS, the difference that is to be seen")
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    known = _earlier(runs, plan, notes) if runs else []
    for one in known:
        sd = one.seed_sd if wanted.seed_sd is None else wanted.seed_sd
        share = one.disagree if wanted.disagree is None else wanted.disagree
        counted = "stated" if wanted.disagree is not None else "by predictions" if one.predicted else "if independent"
        seeds = "not known (no model has two seeds)" if sd is None else f"{sd:.2f} points"
        notes.append(
            f"{one.name}: sd over seeds {seeds}; models differ on {share:.1%} of {one.images:,} images ({counted})"
        )
        variances = one.variances(wanted.seed_sd, wanted.disagree)
        rows += _power_rows(one.name, one.images, variances, wanted.power, SEEDS if sd is not None else (1,), one)
    if not known:
        if wanted.seed_sd is None or wanted.disagree is None:
            raise UsageError("power= needs variances: name earlier=RUN, or both seed_sd=POINTS and disagree=SHARE")
        variances = Variances.of(wanted.seed_sd, wanted.disagree)
        tasks = {job.task.name: job.task.splits.get("test") for job in plan.jobs} if plan is not None else {"": None}
        for task, images in tasks.items():
            rows += _power_rows(task, images, variances, wanted.power, SEEDS, None)
    columns = ("task", "seeds", "seen, points", f"images for {wanted.power:g}", "cost, both models")
    notes.append(
        "seen: the least difference that a two-sided test at 5 % finds with 80 % power, for two models with as many "
        "seeds each, on the same images. One seed: of these two checkpoints, and no claim about other trainings."
    )
    title = f"Seeds and images for a difference of {wanted.power:g} points"
    return Table(title=title, columns=columns, rows=tuple(rows), labels=2, notes=tuple(notes))


def _earlier(runs: Sequence[Records], plan: Plan | None, notes: list[str]) -> list[Earlier]:
    """What earlier runs show of the plan's suites and tasks, or of all without a plan.

    Where they are of other suites only, what these show, and a note. Raises UsageError if none has these tasks.
    """
    from ...results.comparison.power import earlier

    known = earlier(load(*runs))
    if plan is None:
        return known
    asked = {(job.suite.name, job.task.name) for job in plan.jobs}
    if chosen := [one for one in known if (one.suite, one.task) in asked]:
        return chosen
    tasks, suites = {task for _, task in asked}, {suite for suite, _ in asked}
    if not (chosen := [one for one in known if one.task in tasks]):
        raise UsageError(f"earlier= has none of these tasks, but {', '.join(dict.fromkeys(one.task for one in known))}")
    others = " and ".join(sorted({one.suite for one in chosen}))
    notes.append(
        f"earlier= is of {others}, not of {' and '.join(sorted(suites))}: variances and cost may be others there."
    )
    return chosen


def _power_rows(
    task: str, images: int | None, variances: Variances, points: float, seeds: Sequence[int], one: Earlier | None
) -> list[tuple[str, ...]]:
    rows = []
    for count in seeds:
        seen = "" if images is None else f"{variances.detectable(count, images):.2f}"
        needed = variances.images_for(points, count)
        spent = (
            ""
            if one is None
            else str(
                Cost(
                    core_hours=2 * count * one.cost.core_hours,
                    device_hours=2 * count * one.cost.device_hours,
                    devices=one.cost.devices,
                )
            )
        )
        rows.append((task, str(count), seen, "no number is enough" if needed is None else f"{needed:,}", spent))
    return rows


def _beside(parts: Sequence[Seconds], plan: Plan) -> list[Seconds]:
    """The seconds of jobs that workers do at the same time."""
    workers = min(in_parallel(plan.config)[0], len(parts))
    return [replace(one, low=one.low / workers, high=one.high / workers) for one in parts]


def _where(plan: Plan) -> str:
    if plan.on_workers:
        return "these workers"
    threads = environment.threads()
    cpu = f"{threads} CPU thread{'' if threads == 1 else 's'}"
    return "a GPU" if environment.expects_gpu(plan.config.device) else cpu


def _bound(plan: Plan) -> str:
    """The time that timing takes at most, where a budget bounds it."""
    budgets = [budget for job in plan.pending if (budget := getattr(job.suite, "budget", None)) is not None]
    if not budgets:
        return "timing takes longer on a busy machine; suite.budget=SECONDS is the most of each model, but for one row"
    most = _minutes([Seconds(low=sum(budgets), high=sum(budgets))])
    return f"at most {most} of timing by suite.budget={max(budgets):g}, and one row of each model more"


def _minutes(parts: Sequence[Seconds]) -> str:
    """The sum of ranges of seconds, in s, min or h; one number where both ends read the same."""
    low, high = sum(one.low for one in parts), sum(one.high for one in parts)
    unit, seconds, digits = ("s", 1, 0) if high < 90 else ("min", 60, 1) if high < 5400 else ("h", 3600, 1)
    digits = 0 if high >= 100 * seconds else digits
    ends = dict.fromkeys(f"{end / seconds:,.{digits}f}" for end in (low, high))
    return f"{' to '.join(ends)} {unit}"


app = single(plan_verb, SETTINGS_HELP, "**How it is printed**", listed(JsonOutput))
