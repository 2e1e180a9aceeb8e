"""The verbs. `python -m bench`, `python -m vit_bench` and `vit-bench` are this command."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..registry import UsageError, suggest
from . import cache_verb
from . import config as settings
from .compare_verb import CompareOptions, compare_verb
from .console import Screen, stderr, stdout
from .data_verb import data_app
from .explain_verb import COLUMNS, explain_verb
from .export_verb import ExportOptions, ImportOptions, export_verb, import_verb
from .figure_verb import FigureOptions, figure_verb
from .report_verb import ReportOptions, report_verb
from .table_verb import TableOptions, print_tables, table_verb
from .verify_verb import VerifyOptions, verify_verb
from .weights_verb import app as weights_app
from .words import help_of, listed

if TYPE_CHECKING:
    from .plan import Plan

EPILOG = "Settings are key=value words; `list suites` shows every suite's own. Exit codes: 0 done, 1 a job failed, 2 "
EPILOG += "nothing was run because of what was typed, 130 interrupted."

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="vit-bench: compare Vision Transformers, BiT ResNets and their hybrids the way the ViT paper does.",
    epilog=EPILOG,
)
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


def run_verb(
    words: Words = None,
    model: Annotated[str, typer.Option("--model", help="the same as model=NAME, as timm's bulk runner says it")] = "",
) -> None:
    """Measure: run what is missing of a plan, and print its table.

    For example `run suite=vtab`, or `run suite=fewshot task=digits shots=1,5 model=my_model.py:build`.
    """
    from ..results.cost import cost
    from .api import records
    from .plan import make_plan
    from .processes import team
    from .progress import Progress
    from .run import execute

    config = settings.read([*(words or []), *([f"model={model}"] if model else [])])
    screen = stderr(quiet=not team().leads)
    plan = make_plan(config)
    _say_notes(plan, screen)
    outcome = execute(plan, Progress(screen))
    if not outcome.leads:
        raise typer.Exit(outcome.exit_code)
    frame = records(plan)
    if not frame.empty and not outcome.interrupted:
        try:
            print_tables(frame)
        except UsageError as error:  # the records are there, whether or not they fit one table
            screen.say(f"no table: {error}")
        if config.trailer == "timm" and not outcome.failed:
            from ..results.exports.timm import trailer

            sys.stdout.write(trailer(frame))
    counts = {
        "computed": outcome.computed - len(outcome.failed),
        "reused from runs beside": outcome.reused,
        "done before": outcome.kept,
        "skipped": outcome.skipped,
        "failed": len(outcome.failed),
    }
    text = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none computed"
    spent = "" if frame.empty else str(cost(frame))
    spent = f" Cost of these records: {spent}." if spent else ""
    screen.say(f"{_jobs(plan)}: {text}, in {outcome.seconds:.1f} s.{spent} Records: {plan.out / 'results.csv'}")
    for cell in outcome.failed:
        record = next(record for record in cell.records if record.error)
        on = f" on {record.task}" if record.task else ""
        screen.say(f"FAILED {record.model}{on}: {record.error}")
    if outcome.failed:
        screen.say(f"Tracebacks: {plan.out / 'log.txt'}. Repeat the command to try again.")
    if outcome.interrupted:
        screen.say("Interrupted. What was finished is kept; repeat the command to go on.")
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def plan_verb(words: Words = None) -> None:
    """Show what `run` would do with the same words: the jobs, which are done, and the work ahead. Runs nothing."""
    from .plan import make_plan

    plan = make_plan(settings.read(words or []))
    _say_notes(plan, stderr())
    _print_plan(plan)


def list_verb(
    what: Annotated[str, typer.Argument(help="models, tasks, suites, tables or figures")] = "",
    pattern: Annotated[str, typer.Argument(help="a name, an alias or a glob")] = "*",
) -> None:
    """Show the models, tasks, suites, tables and figures there are, with their names, facts and settings."""
    from .listing import LISTINGS, print_listing

    if what and what not in LISTINGS:
        raise UsageError(f"there is no list of '{what}'. {suggest(what, LISTINGS)}")
    for kind in [what] if what else LISTINGS:
        print_listing(kind, pattern, stdout())


for _name, _verb, *_more in (
    ("run", run_verb, SETTINGS_HELP),
    ("plan", plan_verb, SETTINGS_HELP),
    ("table", table_verb, listed(TableOptions)),
    ("figure", figure_verb, listed(FigureOptions)),
    ("explain", explain_verb, COLUMNS),
    ("compare", compare_verb, listed(CompareOptions)),
    ("verify", verify_verb, listed(VerifyOptions)),
    ("report", report_verb, listed(ReportOptions)),
    ("export", export_verb, listed(ExportOptions)),
    ("import", import_verb, listed(ImportOptions)),
    ("list", list_verb),
):
    app.command(_name, help=help_of(_verb, *_more))(_verb)
app.add_typer(cache_verb.app, name="cache")

app.add_typer(weights_app, name="weights")
app.add_typer(data_app, name="data")


def main() -> None:
    """The command line. What the user got wrong is one message and exit code 2, never a traceback."""
    if sys.path[:1] not in ([""], [str(Path.cwd())]):
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does, for model=package.module:builder
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # a cluster's way to say Ctrl-C; also where that is ignored
    try:
        app()
    except UsageError as error:
        stderr().say(f"error: {error}", style="red")
        sys.exit(2)
    except KeyboardInterrupt:
        stderr().say("Interrupted.")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output, `head` for example, has seen enough
        sys.exit(0)


def _jobs(plan: Plan) -> str:
    return f"{len(plan.jobs)} job{'' if len(plan.jobs) == 1 else 's'}"


def _say_notes(plan: Plan, screen: Screen) -> None:
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
    screen.say(f"{_jobs(plan)}, {len(plan.pending)} to run: {' and '.join(ahead)}. Run directory: {plan.out}")


def _minutes(duration: tuple[float, float]) -> str:
    """A range of seconds as a reader wants it."""
    low, high = duration
    if high < 90:
        return f"{low:.0f} to {high:.0f} s"
    return f"{low / 60:.1f} to {high / 60:.1f} min" if high < 5400 else f"{low / 3600:.1f} to {high / 3600:.1f} h"


def _print_downloads(plan: Plan, screen: Screen) -> None:
    """The released files that are not here, and what becomes of them."""
    from ..models.released import table as releases
    from ..transfer import switched_off
    from .weights_verb import size_of, total

    needed = plan.downloads()
    for release in needed:
        name = f"{release.tag} of {release.model}"
        screen.say(f"missing: weights {name} ({release.file_name}, {size_of(release)})")
    if needed and (switch := switched_off()):
        screen.say(f"downloads are off ({switch}): these jobs will fail")
    elif needed:
        screen.say(f"run downloads {total(needed)} to {releases.cached_folder()}")
