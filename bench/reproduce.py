"""The command lines that repeat the jobs of a run directory, made from its cells."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..registry import Registry, UsageError
from .config import read_file
from .console import stderr
from .select.user_rows import UserRows, include
from .verbs.words import as_typed, is_on_disk, read_value

if TYPE_CHECKING:
    from ..results.record import Cell

RowT = TypeVar("RowT")
FROM_CONFIG = ("data", "source", "include", "division", "division_seed", "device", "batch_size")  # of config.yaml


def job_command(cell: Cell, config: Mapping[str, str], out: Path | str) -> str:
    """The command line of one job. `config` is what `read_config` returns."""
    record = cell.records[0]
    return _line(_words(cell), [record.model], [record.task] if record.task else [], config, out)


def run_commands(cells: Iterable[Cell], config: Mapping[str, str], out: Path | str) -> list[str]:
    """The fewest command lines that repeat exactly these jobs.

    A command runs each of its models on each of its tasks, so models with different tasks or settings are in different
    commands.
    """
    by_words: dict[tuple[str, ...], dict[str, dict[str, None]]] = {}
    for cell in cells:
        record = cell.records[0]
        by_words.setdefault(_words(cell), {}).setdefault(record.model, {})[record.task] = None
    lines = []
    for words, by_model in by_words.items():
        by_tasks: dict[frozenset[str], list[str]] = {}
        for model, tasks in by_model.items():
            by_tasks.setdefault(frozenset(tasks), []).append(model)
        for models in by_tasks.values():
            tasks = [task for task in by_model[models[0]] if task]
            named = [] if _are_default_tasks(words[0], tasks) else tasks
            lines.append(_line(words, models, named, config, out))
    return lines


def read_config(path: Path) -> Mapping[str, str]:
    """The settings in a config.yaml; empty where there is no such file or it cannot be read."""
    with suppress(UsageError):
        return read_file(path)
    return {}


def rows_for(runs: Iterable[Path], folders: tuple[Path, ...]) -> tuple[UserRows, list[str]]:
    """The user's rows of these folders and of those that the runs were made with, and notes on folders not found."""
    notes: list[str] = []
    existing = dict.fromkeys(folders)
    for run in runs:
        text = read_config((run if run.is_dir() else run.parent) / "config.yaml").get("include", "none")
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
    rows, notes = rows_for([Path(word) for word in words if is_on_disk(word)], tuple(folders))
    for note in notes:
        stderr().say(note)
    return rows.added_to(built_in)


def _words(cell: Cell) -> tuple[str, ...]:
    """The words of a job's command besides model and task: suite, weights, and settings that are not the default."""
    from ..results.record import read_variant  # imports pandas, which `--help` does not need

    record = cell.records[0]
    words = [f"suite={record.suite}"]
    if record.weights and record.weights != "own":
        words.append(f"weights={record.weights}")
    words += [f"model.{name}={value}" for name, value in read_variant(record.variant).items()]
    settings = cell.identity.get("settings")
    defaults = _default_settings(record.suite)
    for name, value in (settings if isinstance(settings, Mapping) else {}).items():
        if value not in (None, []) and value != defaults.get(name):
            words.append(f"suite.{name}={as_typed(value)}")
    return (*words, *(["skip_bad=true"] if cell.identity.get("skip_bad") else []))


def _line(
    words: Sequence[str], models: Sequence[str], tasks: Sequence[str], config: Mapping[str, str], out: Path | str
) -> str:
    suite, *others = words
    typed = [suite, f"model={as_typed(models)}"] + ([f"task={as_typed(tasks)}"] if tasks else []) + others
    typed += [f"{name}={config[name]}" for name in FROM_CONFIG if config.get(name, "") not in ("", "none", "false")]
    return "python -m bench run " + " ".join(map(shlex.quote, [*typed, f"out={out}"]))


@cache
def _default_settings(suite: str) -> Mapping[str, Any]:
    """The default settings of a suite; empty for a suite that no longer exists."""
    from ..suites import suites
    from .job import plain

    return plain(asdict(suites()[suite])) if suite in suites() else {}


def _are_default_tasks(word: str, tasks: Sequence[str]) -> bool:
    """Whether these are all the tasks that the suite of `suite=NAME` runs on where none is named."""
    from ..suites import suites
    from ..suites.tasks import tasks as known

    name = word.partition("=")[2]
    if name not in suites() or not suites()[name].only_default_tasks:
        return False
    collection = suites()[name].default_tasks
    return {row.name for row in known().values() if row.collection == collection} == set(tasks)
