"""The verbs. `python -m bench`, `python -m vit_bench` and `vit-bench` are this command."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import typer

from ..registry import UsageError
from .console import stderr
from .verbs.cache import app as cache_app
from .verbs.compare import CompareOptions, compare_verb
from .verbs.data import data_app
from .verbs.explain import COLUMNS, explain_verb
from .verbs.export import ExportOptions, export_verb
from .verbs.figure import FigureOptions, figure_verb
from .verbs.import_ import ImportOptions, import_verb
from .verbs.list import list_verb
from .verbs.plan import SETTINGS_HELP, plan_verb
from .verbs.report import ReportOptions, report_verb
from .verbs.run import run_verb
from .verbs.table import TableOptions, table_verb
from .verbs.verify import VerifyOptions, verify_verb
from .verbs.weights import app as weights_app
from .verbs.words import help_of, listed

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
app.add_typer(cache_app, name="cache")
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
