"""The verbs. `python -m bench`, `python -m vit_bench` and `vit-bench` are this command."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from ..errors import Terminated, exit_code_of
from ..registry import UsageError
from ..stable import describe_os_error, naming
from .console import stderr
from .words import is_on_disk

VERBS = (
    *("run", "plan", "table", "figure", "predict", "explain", "compare", "verify", "report", "export", "import"),
    *("list", "cache", "weights", "data"),
)
EPILOG = "Settings are key=value words; `list suites` shows every suite's own. Exit codes: 0 done, 1 a job failed "
EPILOG += "or a disk is full, 2 nothing was run because of what was typed, 130 interrupted, 143 ended by SIGTERM."


class Verbs(TyperGroup):
    """The modules of bench/verbs, each imported when its verb is used; help shows the docstrings they begin with."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name, help=_summary(name)) for name in VERBS}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in VERBS else command, rest


def _summary(name: str) -> str:
    """The docstring of a verb's module, read and not imported."""
    text = (Path(__file__).parent / "verbs" / f"{_module(name)}.py").read_text(encoding="utf-8")
    return text.split('"""')[1]


def _module(name: str) -> str:
    return "import_" if name == "import" else name  # `import` cannot be the name of a module


def load(name: str) -> Any:
    """The command of a verb, or the group of its commands."""
    command = typer.main.get_command(import_module(f".verbs.{_module(name)}", __package__).app)
    command.name = name
    return command


app = typer.Typer(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="vit-bench: compare Vision Transformers, BiT ResNets and their hybrids the way the ViT paper does.",
    epilog=EPILOG,
)
FLAGS = ("mix", "skip_bad", "trailer", "diagnose", "fetch")  # options of verbs that are true or false
OWN = ("--help", "--version", "--install-completion", "--show-completion")  # options of the command itself


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"vit-bench {version('vit-bench')}\n")
        raise typer.Exit


@app.callback()
def _command(
    _: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version.")] = False,
) -> None: ...


def _is_value(key: str, word: str) -> bool:
    """Whether a word is the value of the option before it."""
    if key in FLAGS:
        return word.lower() in ("true", "false", "yes", "no", "1", "0")
    return not word.startswith("--") and (is_on_disk(word) or not re.match(r"[\w.]+=", word))


def as_words(arguments: Sequence[str]) -> list[str]:
    """What was typed as words: `help run` is `run --help`; `--task digits` and `--task=digits` are `task=digits`.

    An option without a value is true: `--mix` is `mix=true`.
    """
    if arguments[:1] == ["help"]:
        return [*arguments[1:], "--help"]
    words: list[str] = []
    settings: list[str] = []  # after the other words: a name may be what a verb wants first
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--" or word.partition("=")[0] in OWN:
            words.append(word)
            continue
        key, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            value = rest.pop(0) if rest and _is_value(key.replace("-", "_"), rest[0]) else "true"
        settings.append(f"{key.replace('-', '_')}={value}")
    return [*words, *settings]


def main() -> None:
    """Run the command line. A mistake of the user is one message and exit code 2, without a traceback.

    What the system refuses, such as to write on a full disk or to a closed pipe, is one message and exit code 1.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with naming("the current folder"):
            here = str(Path.cwd())
        if sys.path[:1] not in ([""], [here]):
            sys.path.insert(0, here)  # as `python -m` does, for model=package.module:builder
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # not every encoding has ‖ and ±; standard error escapes them
        try:
            app(as_words(sys.argv[1:]))
        finally:
            sys.stdout.flush()
    except UsageError as error:
        stderr().say(f"error: {error}", style="red")
        sys.exit(2)
    except KeyboardInterrupt as stop:
        stderr().say("Interrupted.")
        sys.exit(exit_code_of(stop))
    except OSError as error:
        _refused(error)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # of which typer makes an exit without a word
            _refused(end.__context__)
        raise


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def _refused(error: OSError) -> NoReturn:
    """Say what the system refused, and exit. Python, which flushes once more when it ends, is left nothing to fail."""
    stderr().say(f"error: {describe_os_error(error)}", style="red")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(1)
