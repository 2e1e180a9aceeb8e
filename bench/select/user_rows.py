"""A user's own tasks, image sets and sources: Python files of a folder, read like those of suites/tasks and the like.

    from vit_bench.suites.protocol import Split, Task
    from vit_bench.suites.sources.folder import folder_task

    MOTHS = folder_task(Path("/data/moths"), name="moths", division="800/200")

Every module-level Task, also in a list or tuple, is one more task; every ImageSet says where the images of tasks are
published and how they lie on disk; every object with `name`, `locate` and `load` is one more source. A file imports its
neighbours by their names; those whose names begin with _ hold no rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import describe_error
from ...models.own.user_code import check_unchanged, digest_of_code, import_file, imported_files, importing_from
from ...registry import UsageError
from ...stable import file_sha, sha
from ...suites.protocol import Source, Task
from ...suites.sources.image_set import ImageSet

Row = Task | ImageSet | Source


@dataclass(frozen=True, kw_only=True)
class Included:
    tasks: tuple[Task, ...] = ()
    sets: tuple[ImageSet, ...] = ()
    sources: tuple[Source, ...] = ()


def include(folders: tuple[Path, ...]) -> Included:
    """The rows of these folders' Python files, in alphabetical order. Files whose name begins with _ are passed over.

    Raises UsageError, naming the file, where one cannot be imported, and for a folder without any row.
    """
    rows: dict[int, Row] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"include={folder}: there is no such folder")
        found = [row for path in sorted(folder.glob("[!_]*.py")) for row in _rows(_module(path))]
        if not found:
            raise UsageError(
                f"include={folder}: its Python files hold no Task and no source. Make one at module level, "
                "for example TASK = folder_task(Path(…)), from vit_bench.suites.sources.folder"
            )
        rows |= {id(row): row for row in found}
    tasks = tuple(row for row in rows.values() if isinstance(row, Task))
    sets = tuple(row for row in rows.values() if isinstance(row, ImageSet))
    others = tuple(row for row in rows.values() if not isinstance(row, Task | ImageSet))
    return Included(tasks=tasks, sets=sets, sources=others)


def _is_source(value: Any) -> bool:
    methods = all(callable(getattr(value, name, None)) for name in ("locate", "load"))
    return not isinstance(value, type | ModuleType) and methods and isinstance(getattr(value, "name", None), str)


def _rows(module: ModuleType) -> Iterator[Row]:
    for value in vars(module).values():
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Task | ImageSet) or _is_source(item):
                yield item


_included: dict[Path, ModuleType] = {}  # each file as it was imported last


def _module(path: Path) -> ModuleType:
    """The module of a file, imported anew where the file has changed."""
    file, folder = path.resolve(), path.parent.resolve()
    try:
        with importing_from(folder):
            _included[file] = import_file(file, file_sha(file))
    except Exception as error:  # whatever a user's file raises
        raise UsageError(f"include: {path} cannot be imported: {describe_error(error)}") from error
    check_unchanged(imported_files(file, folder) - {file})  # which Python keeps
    return _included[file]


def code_of(thing: Any, file: Path) -> str:
    """A short digest of the code behind a user's rule or class of sources, which `file` defines.

    That is the file, the included ones that hold a task with this rule or a source of this class, and what these
    import from their folder.
    """
    holders = {each for each, module in _included.items() if any(_is_behind(thing, row) for row in _rows(module))}
    root = next((each.parent for each in sorted(holders) if file.is_relative_to(each.parent)), file.parent)
    digests = {digest_of_code(each, each.parent) for each in holders} | {digest_of_code(file, root)}
    return sha(sorted(digests))


def _is_behind(thing: Any, row: Row) -> bool:
    if isinstance(row, ImageSet):
        return any(value is thing or type(value) is thing for value in vars(row).values())
    return row.rule is thing if isinstance(row, Task) else type(row) is thing
