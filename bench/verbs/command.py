"""Makes commands of verbs: their help, and how they read options and the names of runs, files or rows.

A verb declares its options as a frozen dataclass whose fields are `option`s. `read_words` fills it, and `listed` shows
it in help.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import typer

from ...registry import Registry, UsageError
from ...results.choices import Format
from ...results.store import Records
from ...results.tables.arrange import Arrangement
from ...results.tables.render import ENDINGS, show_table, style_of
from ...results.tables.shown import Tables
from ..console import stderr, stdout
from ..words import Mistakes, Option, each, is_on_disk, no_setting, option, options, plain, read_values, split_word

A = TypeVar("A")
B = TypeVar("B")
Side: TypeAlias = "Records | Sequence[Records]"  # several runs of one side in a list


def single(verb: Callable[..., None], *more: str) -> typer.Typer:
    """The app of a module with one verb. Its help is the module's docstring, the function's and `more` paragraphs."""
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    app.command(help="\n\n".join(filter(None, (sys.modules[verb.__module__].__doc__, _help(verb, *more)))))(verb)
    return app


def group(*verbs: tuple[Callable[..., None], *tuple[str, ...]]) -> typer.Typer:
    """The app of a module with the commands `NAME_verb`. The help of each is its docstring and the texts beside it."""
    module = sys.modules[verbs[0][0].__module__]
    app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help=module.__doc__)
    for verb, *more in verbs:
        app.command(verb.__name__.removesuffix("_verb"), help=_help(verb, *more))(verb)
    return app


def _help(verb: Callable[..., None], *more: str) -> str:
    return "\n\n".join(filter(None, (inspect.getdoc(verb), *more)))


def listed(kind: type, names: Iterable[str] = ()) -> str:
    """The options of a verb in Markdown, for help, a line each; all of them, or those named."""
    known = options(kind)
    return "\n".join(_described(known[name]) for name in names or known)


def _described(one: Option) -> str:
    untold = isinstance(one.default, bool) or one.default in (None, "", ())
    default = "" if untold else f" (default: `{one.default}`)"
    return f"- `{one.name}={one.shown or _shown(one.kind, one.default)}`: {one.text}{default}"


def _shown(kind: Any, default: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (choice for choice in get_args(kind) if choice is not types.NoneType)
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    return {bool: str(not default).lower(), int: "N", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def both(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """The results of two functions that read one command. Raises UsageError with the mistakes of both."""
    results: Any = each(lambda reading: reading(), (first, second))
    return tuple(results)


def read_words(
    words: Iterable[str], kind: type[A], verb: str, *, name: Callable[[str], B], paths: bool = False
) -> tuple[list[B], A]:
    """The names among the words, each as `name` reads it, and the options. Later words win over earlier ones.

    A word without `=` is a name; with `paths`, so is any other that is a path on disk. Raises UsageError with all
    mistakes: options that the verb does not have, empty and wrong values, and what `name` raises.
    """
    known = options(kind)
    mistakes = Mistakes()
    names: list[B] = []
    texts: dict[str, str] = {}
    for word in words:
        with mistakes:
            if "=" not in word or (paths and is_on_disk(word)):
                names.append(name(word))
                continue
            key, text = split_word(word)
            if key not in known:
                raise UsageError(no_setting(verb, key, known))
            texts[key] = text
    values = read_values(texts, known, mistakes)
    mistakes.tell()
    return names, kind(**values)


def path_on_disk(word: str, what: str = "run directory or CSV file") -> Path:
    """The path of an existing file or folder. Raises UsageError where it does not exist."""
    if not is_on_disk(word):
        raise UsageError(f"there is no {what} at {word}")
    if not (Path(word).is_file() or Path(word).is_dir()):
        raise UsageError(f"{word} is a pipe or a device; save it as a file")
    return Path(word)


def read_runs(words: Iterable[str], kind: type[A], verb: str) -> tuple[list[Path], A]:
    """The run directories and files among the words, and the options; see `read_words`."""
    return read_words(words, kind, verb, name=path_on_disk, paths=True)


def read_row_and_runs(built_in: Registry[A], name: str, words: list[str], kind: type[B]) -> tuple[A, list[Path], B]:
    """A row by its name, the user's rows too; the named run directories and files; and the options."""
    from ..select.user_rows import registry_for

    row, (runs, options) = both(
        lambda: registry_for(built_in, words)[name], lambda: read_runs(words, kind, built_in.kind)
    )
    return row, runs, options


def folders_of(sources: Iterable[Records]) -> list[Path]:
    """The paths of runs, and the run directories of DataFrames that `load` or `run` returned."""
    found = [[one] if isinstance(one, str | Path) else getattr(one, "attrs", {}).get("folders", ()) for one in sources]
    return [Path(path) for paths in found for path in paths]


def name_of(source: Records) -> str:
    """A source as it was typed; of a DataFrame the run directories that its records are of."""
    if isinstance(source, str | Path):
        return str(source)
    return ",".join(map(str, folders_of([source]))) or "DataFrame"


def runs_of(side: Side) -> list[Records]:
    """The runs of one side: one, or those of a list."""
    return [side] if isinstance(side, str | Path) or not isinstance(side, Sequence) else list(side)


def default_runs(row: Any, show: str | None) -> list[Path]:
    """The run directories in runs/ of the suites that a row shows; none where published numbers alone are shown."""
    folders = [Path("runs") / suite for suite in row.suites if show != "published"]
    return [folder for folder in folders if (folder / "cells").is_dir()]


@dataclass(frozen=True, kw_only=True)
class JsonOutput:
    """How a result that is no table of records is printed."""

    format: Literal["terminal", "json"] = option("terminal", "how it is printed")


def take_format(words: Iterable[str]) -> tuple[list[str], bool]:
    """The words without `format=`, for verbs whose other words are no options, and whether it asks for JSON."""
    words = list(words)
    _, output = read_words([word for word in words if word.startswith("format=")], JsonOutput, "", name=str)
    return [word for word in words if not word.startswith("format=")], output.format == "json"


def print_json(value: Any) -> None:
    """Print plain data, Mappings and Sequences as JSON on standard output."""
    sys.stdout.write(json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n")


def wrong_place(out: Path) -> str:
    return "" if out.parent.is_dir() else f"there is no folder {out.parent}"


@dataclass(frozen=True, kw_only=True)
class TableOutput(Arrangement):
    """How tables are arranged and written."""

    format: Format | None = option(None, "how it is written; without it, as `out=` ends, or for a terminal")
    out: Path | None = option(
        None, "the file that it is written to", shown=f"FILE{'|'.join(ENDINGS)}", check=wrong_place
    )
    columns: tuple[str, ...] = option(
        (), "these columns beside those that name the rows, in this order, globs too", shown="NAME[,NAME]"
    )
    sort: str = option(
        "", "sorts the rows by a column, numbers from the largest down; `sort=-NAME` the other way", shown="NAME"
    )
    caption: str = option("", "stands in place of the title")
    latex_label: str = option("", "the name for LaTeX's `\\ref`", shown="tab:NAME")

    @property
    def style(self) -> Format:
        """The format. Raises UsageError for a file whose ending says none."""
        return self.format or (style_of(self.out) if self.out else "terminal")


def show_tables(tables: Tables, output: TableOutput) -> None:
    """Print or write tables of results as the options say. Raises UsageError for wrong ones."""
    style = output.style
    if output.out is not None:
        tables.save(output.out, style)
        stderr().say(f"written: {output.out}")
    elif style == "terminal":
        screen = stdout()
        for table in tables.of(style):
            show_table(table, screen)
    else:
        sys.stdout.write(tables.to(style))
