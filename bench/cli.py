"""The verbs. `python -m bench`, `python -m vit_bench` and `vit-bench` are this command."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..registry import UsageError, suggest
from . import cache_verb
from . import config as settings
from .compare_verb import compare_verb
from .data_verb import data_app
from .explain_verb import explain_verb
from .export_verb import export_verb, import_verb
from .figure_verb import figure_verb
from .report_verb import report_verb
from .table_verb import print_tables, table_verb
from .verify_verb import verify_verb
from .weights_verb import app as weights_app

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

SETTINGS_HELP = """

**What**

- `suite=NAME[,NAME]`: which protocols (`list suites`)
- `model=NAME|GLOB|file.py:builder|package.module:builder`: which models (`list models`); without it, the suite's own
- `model=timm:NAME[.TAG]`, `torchvision:NAME[.TAG]`, `hf:OWNER/NAME`: a library's, globs too (`list models timm:vit*`)
- `task=NAME|GLOB|COLLECTION`: which tasks (`list tasks`); without it, the suite's own
- `task=folder:PATH`: your images, a folder a class, or train, val and test folders of such; `division=800/200` for
  VTAB-1k's budget, `division_seed=0` for what the folder leaves undivided
- `include=DIR`: Python files with tasks and sources of yours
- `weights=random|random:SEED|TAG|FILE`: which weights; a TAG (`weights list`) is a released file, downloaded when it
  is not on this machine; a glob of tags or of files selects several; for a library's models also `pretrained` or a tag
  of theirs

**Where and how**

- `data=DIR`, or BENCH_DATA: where data sets are; `source=NAME`: one kind of source
- `out=DIR`: the run directory (`runs/<suite>`); repeating a command does only what is missing
- `device=auto|cpu|cuda|cuda:1|mps`, `batch_size=64`
- `skip_bad=true`: leave out images that cannot be read, and record how many
- `config=FILE`: the same keys from a YAML file; words win
- `trailer=timm`: print timm's `--result` and its JSON at the end of standard output; `--model NAME` is `model=NAME`

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
    say = Console(stderr=True, quiet=not team().leads)
    plan = make_plan(config)
    _say_notes(plan, say)
    outcome = execute(plan, Progress(say))
    if not outcome.leads:
        raise typer.Exit(outcome.exit_code)
    frame = records(plan)
    if not frame.empty and not outcome.interrupted:
        try:
            print_tables(frame)
        except UsageError as error:  # the records are there, whether or not they fit one table
            say.print(f"no table: {error}", **PLAIN)
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
    say.print(f"{_jobs(plan)}: {text}, in {outcome.seconds:.1f} s.{spent} Records: {plan.out / 'results.csv'}", **PLAIN)
    for cell in outcome.failed:
        record = next(record for record in cell.records if record.error)
        on = f" on {record.task}" if record.task else ""
        say.print(f"FAILED {record.model}{on}: {record.error}", **PLAIN)
    if outcome.failed:
        say.print(f"Tracebacks: {plan.out / 'log.txt'}. Repeat the command to try again.", **PLAIN)
    if outcome.interrupted:
        say.print("Interrupted. What was finished is kept; repeat the command to go on.", **PLAIN)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def plan_verb(words: Words = None) -> None:
    """Show what `run` would do with the same words: the jobs, which are done, and the work ahead. Runs nothing."""
    from .plan import make_plan

    plan = make_plan(settings.read(words or []))
    _say_notes(plan, Console(stderr=True))
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
        print_listing(kind, pattern, _out())


for _verb, _name in (
    (run_verb, "run"),
    (plan_verb, "plan"),
    (table_verb, "table"),
    (figure_verb, "figure"),
    (explain_verb, "explain"),
    (compare_verb, "compare"),
    (verify_verb, "verify"),
    (report_verb, "report"),
    (export_verb, "export"),
    (import_verb, "import"),
    (list_verb, "list"),
):
    _help = (_verb.__doc__ or "") + (SETTINGS_HELP if _name in ("run", "plan") else "")
    app.command(_name, help=_help.replace("\n    ", "\n"))(_verb)
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
        Console(stderr=True).print(f"error: {error}", style="red", **PLAIN)
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted.", **PLAIN)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output, `head` for example, has seen enough
        sys.exit(0)


PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}


def _jobs(plan: Plan) -> str:
    return f"{len(plan.jobs)} job{'' if len(plan.jobs) == 1 else 's'}"


def _out() -> Console:
    return Console(file=sys.stdout)


def _say_notes(plan: Plan, console: Console) -> None:
    for note in plan.notes:
        console.print(note, **PLAIN)


def _print_plan(plan: Plan) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = _out()
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("suite", "model", "weights", "task", "source", "state"):
        made.add_column(name, no_wrap=True)
    for job, state in zip(plan.jobs, plan.states, strict=True):
        variant = f" [{job.variant}]" if job.variant else ""
        words = (job.suite.name, job.model.name + variant, str(job.weights), job.task.name, job.source, state)
        made.add_row(*map(Text, words))  # Text: "[depth=2]" is no markup
    console.print(made)
    for key, value in plan.config.describe().items():
        console.print(f"{key} = {value}   ({plan.config.origin[key]})", **PLAIN)
    _print_downloads(plan, console)
    work, macs = plan.work()
    compute = "compute not known for every model" if macs is None else f"{2 * macs / 1e12:.2f} TFLOP"
    duration = plan.seconds()
    parts = [f"{work.images:,} images through a network"] if work.images or not (work.trained or duration) else []
    parts += [f"{work.trained:,} trained on (forward and backward)"] if work.trained else []
    ahead = [f"at most {' and '.join(parts)}, {compute}"] if parts else []
    ahead += [f"about {_minutes(duration)} of timing"] if duration else []
    console.print(
        f"{_jobs(plan)}, {len(plan.pending)} to run: {' and '.join(ahead)}. Run directory: {plan.out}", **PLAIN
    )


def _minutes(duration: tuple[float, float]) -> str:
    """A range of seconds as a reader wants it."""
    low, high = duration
    if high < 90:
        return f"{low:.0f} to {high:.0f} s"
    return f"{low / 60:.1f} to {high / 60:.1f} min" if high < 5400 else f"{low / 3600:.1f} to {high / 3600:.1f} h"


def _print_downloads(plan: Plan, console: Console) -> None:
    """The released files that are not here, and what becomes of them."""
    from ..models import releases
    from ..transfer import switched_off
    from .weights_verb import size_of, total

    needed = plan.downloads()
    for release in needed:
        name = f"{release.tag} of {release.model}"
        console.print(f"missing: weights {name} ({release.file_name}, {size_of(release)})", **PLAIN)
    if needed and switched_off():
        console.print("downloads are off (BENCH_OFFLINE or HF_HUB_OFFLINE): these jobs will fail", **PLAIN)
    elif needed:
        console.print(f"run downloads {total(needed)} to {releases.cached_folder()}", **PLAIN)
