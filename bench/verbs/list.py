"""Show the models, tasks, suites, tables, figures and formats there are, with their names, facts and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...registry import Registry, UsageError, suggest
from ..config import Config
from ..console import Screen, stdout
from .command import single
from .words import listed, option_of, plain_word, read_words

if TYPE_CHECKING:
    from ...models.spec import Model
    from ...results.exports import Exchange
    from ...results.figures import Figure
    from ...results.tables import TableSpec
    from ...suites.protocol import Suite, Task

KINDS = ("suites", "models", "tasks", "tables", "figures", "formats")


@dataclass(frozen=True, kw_only=True)
class ListingOptions:
    """The folders of the user's own rows."""

    include: tuple[Path, ...] = option_of(Config, "include")


Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[models|tasks|suites|tables|figures|formats] [PATTERN] [include=DIR]", show_default=False),
]


def list_verb(words: Words = None) -> None:
    """PATTERN is a name, an alias or a glob: `list models 'ViT-*'`."""
    names, options = read_words(words or [], ListingOptions, "list", name=str)
    what, pattern, *more = [*names, *("", "*")[len(names) :]]
    if what and what not in KINDS:
        raise UsageError(f"there is no list of '{what}'. {suggest(what, KINDS)}")
    if more:
        raise UsageError(f"list takes one name or glob, and not {' '.join(more)}, too: `list {what} {pattern}`")
    for kind in [what] if what else KINDS:
        print_listing(kind, pattern, stdout(), options.include)


def print_listing(kind: str, pattern: str, screen: Screen, folders: tuple[Path, ...] = ()) -> None:
    """Print one registry as a table: all rows, or those that match a pattern. Raises UsageError where none does."""
    registry, cells, columns = _listing(kind)
    if folders:
        from ..select.user_rows import include

        registry = include(folders).added_to(registry)
    chosen: list[Any] = list(registry.values())
    if pattern != "*" and kind == "models":
        from ...models import select_models

        chosen = [selected.row for selected in select_models(pattern)]
    elif pattern != "*":
        chosen = registry.select(pattern)
    texts = [cells(row) for row in chosen]
    whole = [name for i, name in enumerate(columns) if max(len(text[i]) for text in texts) <= 18]
    screen.table(columns, texts, whole=whole, padding=(0, 1, 0, 0))


def _listing(kind: str) -> tuple[Registry[Any], Callable[[Any], list[str]], Sequence[str]]:
    """The registry of a kind, the function that makes the cells of a row, and the column names."""
    if kind == "suites":
        from ...suites import suites

        return suites(), _suite, ("suite", "what it asks", "settings and their defaults")
    if kind == "models":
        from ...models import catalog

        return catalog(), _model, ("model", "family", "M params", "input", "GFLOP", "weights", "aliases")
    if kind == "tasks":
        from ...suites.tasks import tasks

        return tasks(), _task, ("task", "collection", "classes", "train/val/test", "maj. %", "group: label")
    if kind == "tables":
        from ...results.tables import tables

        return tables(), _table, ("table", "what it shows", "suites")
    if kind == "formats":
        from ...results.exports import formats

        return formats(), _format, ("format", "what `export` writes and `import` reads")
    from ...results.figures import figures

    return figures(), _figure, ("figure", "what it shows", "suites", "published points")


def _model(row: Model) -> list[str]:
    known_input = row.architecture.input_is_known or row.params is not None  # otherwise known once it is built
    size = "{}x{}".format(*row.input.size) if known_input else ""
    params = "" if row.params is None else f"{row.params / 1e6:,.1f}"
    macs = "" if row.macs is None else f"{2 * row.macs / 1e9:,.2f}"
    known = str(len(row.known_weights) or "")
    return [row.name, row.family, params, size, macs, known, " ".join(row.aliases)]


def _count(images: int) -> str:
    return f"{images / 1e6:.2f}M" if images >= 10**6 else str(images)


def _task(row: Task) -> list[str]:
    majority = "" if row.majority is None else f"{row.majority:.1f}"
    sizes = "/".join(map(_count, (row.splits[split] for split in ("train", "val", "test"))))
    group = "" if row.group == row.collection else f"{row.group}: "
    return [row.name, row.collection, str(row.num_classes), sizes, majority, group + row.label]


def _suite(row: Suite) -> list[str]:
    summary = (type(row).__doc__ or "").splitlines()[0]
    own = " ".join(f"{item.name}={_default(item, getattr(row, item.name))}" for item in fields(row))
    return [row.name, summary, own]


def _default(item: Field[Any], value: Any) -> str:
    """A default as typed: the field's special word for it, if there is one."""
    words = item.metadata.get("words", {})
    return next((word for word, meant in words.items() if meant == value), plain_word(value))


def _table(row: TableSpec) -> list[str]:
    return [row.name, row.summary, " ".join(row.suites)]


def _figure(row: Figure) -> list[str]:
    return [row.name, row.summary, " ".join(row.suites), "yes" if row.published else ""]


def _format(row: Exchange) -> list[str]:
    return [row.name, row.summary]


app = single(list_verb, listed(ListingOptions))
