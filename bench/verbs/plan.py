"""Show what `run` would do with the same words: the jobs, which are done, and the work ahead. Runs nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from ...models.released import table as releases
from ...transfer import switched_off
from .. import config as settings
from ..console import stderr, stdout
from ..plan import Plan, make_plan
from .command import listed, single
from .weights import size_of, total

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


def count_jobs(plan: Plan) -> str:
    return f"{len(plan.jobs)} job{'' if len(plan.jobs) == 1 else 's'}"


def plan_verb(words: Words = None) -> None:
    plan, screen = make_plan(settings.read(words or [])), stdout()
    for note in plan.notes:
        stderr().say(note)
    rows = []
    for job, state in zip(plan.jobs, plan.states, strict=True):
        variant = f" [{job.variant}]" if job.variant else ""
        rows.append((job.suite.name, job.model.name + variant, str(job.weights), job.task.name, job.source_name, state))
    columns = ("suite", "model", "weights", "task", "source", "state")
    screen.table(columns, rows, whole=columns)
    for key, value in plan.config.describe().items():
        screen.say(f"{key} = {value}   ({plan.config.origin[key]})")
    needed = plan.downloads()
    for release in needed:
        screen.say(f"missing: weights {release.tag} of {release.model} ({release.file_name}, {size_of(release)})")
    if needed and (switch := switched_off()):
        screen.say(f"downloads are off ({switch}): these jobs will fail")
    elif needed:
        screen.say(f"run downloads {total(needed)} to {releases.cached_folder()}")
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


app = single(plan_verb, SETTINGS_HELP)
