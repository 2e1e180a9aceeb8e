"""Show the models, tasks, suites, tables, figures and formats there are, with their names, facts and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from ...models import Model, catalog, select_models
from ...registry import Registry, UsageError, plain_word, suggest
from ...results.exports import formats
from ...results.figures import figures
from ...results.tables import Table, tables
from ...results.tables.shown import Tables
from ...suites import suites
from ...suites.protocol import Suite, Task
from ...suites.tasks import tasks
from ..config import Config
from ..console import stdout
from ..select.user_rows import include
from ..words import option_of
from .command import TableOutput, listed, read_words, show_tables, single
from .completion import words_argument


@dataclass(frozen=True, kw_only=True)
class ListingOptions(TableOutput):
    """How the rows are shown, and the folders of the user's own."""

    include: tuple[Path, ...] = option_of(Config, "include")


Words = Annotated[
    list[str] | None,
    words_argument("[models|tasks|suites|tables|figures|formats] [PATTERN] [include=DIR]", ListingOptions),
]


def list_verb(words: Words = None) -> None:
    """PATTERN is a name, an alias or a glob: `list models 'ViT-*'`."""
    names, options = read_words(words or [], ListingOptions, "list", name=str)
    what, pattern, *more = [*names, *("", "*")[len(names) :]]
    if what and what not in LISTINGS:
        raise UsageError(f"there is no list of '{what}'. {suggest(what, LISTINGS)}")
    if more:
        raise UsageError(f"list takes one name or glob, and not {' '.join(more)}, too: `list {what} {pattern}`")
    listings = [_listing(kind, pattern, options.include) for kind in ([what] if what else LISTINGS)]
    if options.style != "terminal" or options.out:
        show_tables(Tables(listings, options), options)
        return
    for table in options.of(listings):  # of long texts, so that its columns are broken
        columns = [column for column in zip(table.columns, *table.rows, strict=True) if any(column[1:])]
        names, *rows = zip(*columns, strict=True)
        whole = [name for name, *cells in columns if max(map(len, cells)) <= 18]
        stdout().table(names, rows, whole=whole, padding=(0, 1, 0, 0))


def _listing(kind: str, pattern: str, folders: tuple[Path, ...]) -> Table:
    """One registry as a table: all rows, or those that match a pattern. Raises UsageError where none does."""
    registry_of, texts_of, columns = LISTINGS[kind]
    registry = include(folders).added_to(registry_of()) if folders else registry_of()
    chosen: list[Any] = list(registry.values())
    if pattern != "*" and kind == "models":
        chosen = [selected.row for selected in select_models(pattern)]
    elif pattern != "*":
        chosen = registry.select(pattern)
    return Table(title=kind, columns=tuple(columns), rows=tuple(tuple(texts_of(row)) for row in chosen))


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
    sizes = "/".join(map(_count, (row.splits.get(split, 0) for split in ("train", "val", "test"))))
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


def _shown(row: Any) -> list[str]:
    """Of a table or figure."""
    return [row.name, row.summary, " ".join(row.suites), "yes" if row.published else ""]


# What can be listed: the registry, the texts of a row, and the names of the columns.
LISTINGS: dict[str, tuple[Callable[[], Registry[Any]], Callable[[Any], list[str]], Sequence[str]]] = {
    "suites": (suites, _suite, ("suite", "what it asks", "settings and their defaults")),
    "models": (catalog, _model, ("model", "family", "M params", "input", "GFLOP", "weights", "aliases")),
    "tasks": (tasks, _task, ("task", "collection", "classes", "train/val/test", "maj. %", "group: label")),
    "tables": (tables, lambda row: _shown(row)[:3], ("table", "what it shows", "suites")),
    "figures": (figures, _shown, ("figure", "what it shows", "suites", "published points")),
    "formats": (formats, lambda row: [row.name, row.summary], ("format", "what `export` writes and `import` reads")),
}

app = single(list_verb, listed(ListingOptions))
