"""Reads a user's own tasks, image sets, suites, tables and figures from the Python files of `include=` folders.

    from pathlib import Path
    from vit_bench.suites.sources.folder import folder_task

    MOTHS = folder_task(Path("/data/moths"), name="moths", division="800/200")

Every module-level Task, ImageSet, Suite, TableSpec and Figure, also in a list or tuple, is added to its registry;
every object with `name`, `locate` and `load` is added to the sources. A file imports its neighbours by their names.
Files whose names begin with _ add no rows. examples/own has examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ...errors import describe_error
from ...models.own.user_code import check_unchanged, digest_of_code, import_file, imported_files, importing_from
from ...registry import Registry, UsageError
from ...stable import file_sha, sha
from ...suites.protocol import Source, Suite, Task
from ...suites.sources.image_set import ImageSet
from ..config import read_config
from ..console import stderr
from ..words import is_on_disk, read_value

RowT = TypeVar("RowT")


@dataclass(frozen=True, kw_only=True)
class UserRows:
    """The rows that the Python files of some folders add to the registries and sources."""

    folders: tuple[Path, ...] = ()
    rows: tuple[Any, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(row for row in self.rows if _kind(row) == "source")

    def added_to(self, built_in: Registry[RowT]) -> Registry[RowT]:
        """A registry with the user's rows of its kind. Raises UsageError for a name that is taken."""
        ours = {id(row) for row in built_in.values()}  # a file may import a row of ours
        rows = [row for row in self.rows if _kind(row) == built_in.kind and id(row) not in ours]
        try:
            return Registry(built_in.kind, [*built_in.values(), *rows]) if rows else built_in
        except ValueError as error:
            raise self.error(f"{error}. Name yours differently") from error

    def error(self, text: str) -> UsageError:
        return UsageError(f"include={','.join(map(str, self.folders))}: {text}")


def include(folders: tuple[Path, ...]) -> UserRows:
    """The rows of these folders' Python files, in alphabetical order. Files whose names begin with _ are skipped.

    Raises UsageError for a file that cannot be imported and for a folder without any row.
    """
    rows: dict[int, Any] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"include={folder}: there is no such folder")
        before = len(rows)
        for path in sorted(folder.glob("[!_]*.py")):
            rows |= {id(row): row for row in _rows(_module(path))}
        if len(rows) == before:
            raise UsageError(
                f"include={folder}: its Python files hold no Task, source, suite, table or figure. Make one at module "
                "level, for example TASK = folder_task(Path(…)), from vit_bench.suites.sources.folder"
            )
    return UserRows(folders=folders, rows=tuple(rows.values()))


def rows_for(runs: Iterable[Path], folders: tuple[Path, ...]) -> tuple[UserRows, list[str]]:
    """The user's rows of these folders and of those that the runs were made with, and notes on folders not found."""
    notes: list[str] = []
    existing = dict.fromkeys(folders)
    for run in runs:
        text = read_config(run if run.is_dir() else run.parent).get("include", "none")
        for folder in read_value("include", text, tuple[Path, ...]) if text != "none" else ():
            if folder.is_dir():
                existing[folder] = None
            else:
                notes.append(f"{run} was made with include={folder}, which is not here: type include=DIR for its rows")
    return include(tuple(existing)), notes


def registry_for(built_in: Registry[RowT], words: Sequence[str]) -> Registry[RowT]:
    """A registry with the user's rows: those of `include=` and those that the runs among the words were made with."""
    texts = [word.partition("=")[2] for word in words if word.startswith("include=")][-1:]
    folders = [folder for text in texts if text for folder in read_value("include", text, tuple[Path, ...])]
    return registry_with(built_in, [Path(word) for word in words if is_on_disk(word)], tuple(folders))


def registry_with(built_in: Registry[RowT], runs: Iterable[Path], folders: tuple[Path, ...]) -> Registry[RowT]:
    """A registry with the user's rows of these folders and of those that the runs were made with."""
    rows, notes = rows_for(runs, folders)
    for note in notes:
        stderr().say(note)
    return rows.added_to(built_in)


def _kind(value: Any) -> str:
    """The kind of registry that a value is a row of, "source" for a source, "" for any other value."""
    from ...results.figures import Figure
    from ...results.tables import TableSpec

    kinds = {"task": Task, "image set": ImageSet, "suite": Suite, "table": TableSpec, "figure": Figure}
    for kind, row in kinds.items():
        if isinstance(value, row):
            return kind
    methods = all(callable(getattr(value, name, None)) for name in ("locate", "load"))
    named = isinstance(getattr(value, "name", None), str) and not isinstance(value, type | ModuleType)
    return "source" if methods and named else ""


def _rows(module: ModuleType) -> Iterator[Any]:
    for value in vars(module).values():
        yield from (item for item in (value if isinstance(value, list | tuple) else [value]) if _kind(item))


_included: dict[Path, ModuleType] = {}  # by file, as imported last


def _module(path: Path) -> ModuleType:
    """The module of a file, imported anew where the file has changed."""
    file, folder = path.resolve(), path.parent.resolve()
    try:
        with importing_from(folder):
            _included[file] = import_file(file, file_sha(file))
    except Exception as error:  # whatever a user's file raises
        raise UsageError(f"include: {path} cannot be imported: {describe_error(error)}") from error
    check_unchanged(imported_files(file, folder) - {file})  # Python does not import these again
    return _included[file]


def module_names() -> dict[str, Path]:
    """The files that were imported, by the names of their modules."""
    return {module.__name__: file for file, module in _included.items()}


def code_of(thing: Any, file: Path) -> str:
    """A short digest of the code of a user's label rule, source class or suite class that `file` defines.

    It covers the file, the included files that hold a task with this rule or a row of this class, and what these
    import from their folder.
    """
    holders = {path for path, module in _included.items() if any(_uses(row, thing) for row in _rows(module))}
    root = next((path.parent for path in sorted(holders) if file.is_relative_to(path.parent)), file.parent)
    digests = {digest_of_code(path, path.parent) for path in holders} | {digest_of_code(file, root)}
    return sha(sorted(digests))


def _uses(row: Any, thing: Any) -> bool:
    if isinstance(row, ImageSet):
        return any(value is thing or type(value) is thing for value in vars(row).values())
    return row.rule is thing if isinstance(row, Task) else type(row) is thing
