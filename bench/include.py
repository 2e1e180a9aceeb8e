"""A user's own tasks and sources: Python files of a folder, read like the modules of suites/tasks and suites/sources.

    from vit_bench.suites.protocol import Split, Task
    from vit_bench.suites.sources.folder import folder_task

    MOTHS = folder_task(Path("/data/moths"), name="moths", division="800/200")

Every module-level Task, also in a list or tuple, is one more task; every module-level object with `name`, `locate` and
`load` is one more source.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..registry import UsageError
from ..stable import file_sha
from ..suites.protocol import Source, Task


@dataclass(frozen=True, kw_only=True)
class Included:
    tasks: tuple[Task, ...] = ()
    sources: tuple[Source, ...] = ()


def include(folders: tuple[Path, ...]) -> Included:
    """The rows of these folders' Python files, in alphabetical order. Files whose name begins with _ are passed over.

    Raises UsageError, naming the file, where one cannot be imported, and for a folder without any row.
    """
    tasks: dict[int, Task] = {}
    sources: dict[int, Source] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"include={folder}: there is no such folder")
        before = len(tasks) + len(sources)
        for path in sorted(folder.glob("[!_]*.py")):
            for value in vars(_module(path)).values():
                for item in value if isinstance(value, list | tuple) else [value]:
                    if isinstance(item, Task):
                        tasks[id(item)] = item
                    elif _is_source(item):
                        sources[id(item)] = item
        if len(tasks) + len(sources) == before:
            raise UsageError(
                f"include={folder}: its Python files hold no Task and no source. Make one at module level, "
                "for example TASK = folder_task(Path(…)), from vit_bench.suites.sources.folder"
            )
    return Included(tasks=tuple(tasks.values()), sources=tuple(sources.values()))


def _is_source(value: Any) -> bool:
    methods = all(callable(getattr(value, name, None)) for name in ("locate", "load"))
    return not isinstance(value, type | ModuleType) and methods and isinstance(getattr(value, "name", None), str)


def _module(path: Path) -> ModuleType:
    """The module of a file, imported anew where the file has changed."""
    name = f"vit_bench_included_{path.stem}_{file_sha(path)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises
        del sys.modules[name]
        raise UsageError(f"include: {path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
