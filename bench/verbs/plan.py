"""Show what `run` would do with the same words: the jobs, which are done, and the work ahead. Runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .. import config as settings
from ..console import Screen, stderr, stdout
from .command import single
from .words import listed

if TYPE_CHECKING:
    from ..plan import Plan

Words = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False)]
SELECTING = ("suite", "model", "task", "weights", "include", "division", "division_seed")
SETTINGS_HELP = f"""**What**

{listed(settings.Config, SELECTING)}

**Where and how**

{listed(settings.Config, [name for name in settings.TOP_LEVEL if name not in SELECTING])}
- `config=FILE`: the same keys from a YAML file; words win

**Settings of what was selected**

- `suite.X=…`, or `X=…` alone: a field of the selected suites; a comma list where one value is expected sweeps it
- `model.X=…`: a variant of the selected models, for example `model.depth=8`
"""


def plan_verb(words: Words = None) -> None:
    from ..plan import make_plan

    plan = make_plan(settings.read(words or []))
    say_notes(plan, stderr())
    _print_plan(plan)


def count_jobs(plan: Plan) -> str:
    return f"{len(plan.jobs)} job{'' if len(plan.jobs) == 1 else 's'}"


def say_notes(plan: Plan, screen: Screen) -> None:
    for note in plan.notes:
        screen.say(note)


def _print_plan(plan: Plan) -> None:
    screen = stdout()
    rows = []
    for job, state in zip(plan.jobs, plan.states, strict=True):
        variant = f" [{job.variant}]" if job.variant else ""
        rows.append((job.suite.name, job.model.name + variant, str(job.weights), job.task.name, job.source, state))
    columns = ("suite", "model", "weights", "task", "source", "state")
    screen.table(columns, rows, whole=columns)
    for key, value in plan.config.describe().items():
        screen.say(f"{key} = {value}   ({plan.config.origin[key]})")
    _print_downloads(plan, screen)
    work, macs = plan.work()
    compute = "compute not known for every model" if macs is None else f"{2 * macs / 1e12:.2f} TFLOP"
    duration = plan.seconds()
    parts = [f"{work.images:,} images through a network"] if work.images or not (work.trained or duration) else []
    parts += [f"{work.trained:,} trained on (forward and backward)"] if work.trained else []
    ahead = [f"at most {' and '.join(parts)}, {compute}"] if parts else []
    ahead += [f"about {_minutes(duration)} of timing"] if duration else []
    screen.say(f"{count_jobs(plan)}, {len(plan.pending)} to run: {' and '.join(ahead)}. Run directory: {plan.out}")


def _minutes(duration: tuple[float, float]) -> str:
    """A range of seconds, in s, min or h."""
    low, high = duration
    if high < 90:
        return f"{low:.0f} to {high:.0f} s"
    return f"{low / 60:.1f} to {high / 60:.1f} min" if high < 5400 else f"{low / 3600:.1f} to {high / 3600:.1f} h"


def _print_downloads(plan: Plan, screen: Screen) -> None:
    """Print the released files that are not here, and whether `run` downloads them."""
    from ...models.released import table as releases
    from ...transfer import switched_off
    from .weights import size_of, total

    needed = plan.downloads()
    for release in needed:
        name = f"{release.tag} of {release.model}"
        screen.say(f"missing: weights {name} ({release.file_name}, {size_of(release)})")
    if needed and (switch := switched_off()):
        screen.say(f"downloads are off ({switch}): these jobs will fail")
    elif needed:
        screen.say(f"run downloads {total(needed)} to {releases.cached_folder()}")


app = single(plan_verb, SETTINGS_HELP)
