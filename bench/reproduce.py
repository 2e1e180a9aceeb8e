"""The command lines that repeat what a run directory holds, made from its cells and not from what was typed last."""

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
KEPT = ("data", "source", "include", "division", "division_seed", "device", "batch_size")  # of config.yaml


def job_command(cell: Cell, config: Mapping[str, str], out: Path | str) -> str:
    """The command line of one job alone. `config` is what `read_config` gives."""
    record = cell.records[0]
    return _line(_words(cell), [record.model], [record.task] if record.task else [], config, out)


def run_commands(cells: Iterable[Cell], config: Mapping[str, str], out: Path | str) -> list[str]:
    """As few command lines as repeat exactly these jobs: one for all models that answered the same with the same.

    A command asks every model of its about every task of its, so models that answered other tasks get another one.
    """
    asked: dict[tuple[str, ...], dict[str, dict[str, None]]] = {}
    for cell in cells:
        record = cell.records[0]
        asked.setdefault(_words(cell), {}).setdefault(record.model, {})[record.task] = None
    made = []
    for words, by_model in asked.items():
        together: dict[frozenset[str], list[str]] = {}
        for model, tasks in by_model.items():
            together.setdefault(frozenset(tasks), []).append(model)
        for models in together.values():
            tasks = [task for task in by_model[models[0]] if task]
            shown = [] if _are_the_suites_own(words[0], tasks) else tasks
            made.append(_line(words, models, shown, config, out))
    return made


def read_config(path: Path) -> Mapping[str, str]:
    """The settings of a run directory's last command; none where there is no config.yaml, or it cannot be read."""
    with suppress(UsageError):
        return read_file(path)
    return {}


def rows_for(runs: Iterable[Path], folders: tuple[Path, ...]) -> tuple[UserRows, list[str]]:
    """The user's rows of these folders and of those that the runs were made with; and what to say of those not here."""
    notes: list[str] = []
    found = dict.fromkeys(folders)
    for run in runs:
        text = read_config((run if run.is_dir() else run.parent) / "config.yaml").get("include", "none")
        for folder in read_value("include", text, tuple[Path, ...]) if text != "none" else ():
            if folder.is_dir():
                found[folder] = None
            else:
                notes.append(f"{run} was made with include={folder}, which is not here: type include=DIR for its rows")
    return include(tuple(found)), notes


def registry_for(built_in: Registry[RowT], words: Sequence[str]) -> Registry[RowT]:
    """A registry with the user's rows: those of `include=` and those that the runs among the words were made with."""
    said = [word.partition("=")[2] for word in words if word.startswith("include=")][-1:]
    folders = [folder for text in said if text for folder in read_value("include", text, tuple[Path, ...])]
    rows, notes = rows_for([Path(word) for word in words if is_on_disk(word)], tuple(folders))
    for note in notes:
        stderr().say(note)
    return rows.added_to(built_in)


def _words(cell: Cell) -> tuple[str, ...]:
    """What the command says of a job besides model and task: suite, weights, and the settings that are not usual."""
    from ..results.record import read_variant  # records take a while, and `--help` needs none

    record = cell.records[0]
    words = [f"suite={record.suite}"]
    if record.weights and record.weights != "own":
        words.append(f"weights={record.weights}")
    words += [f"model.{name}={value}" for name, value in read_variant(record.variant).items()]
    stated = cell.identity.get("settings")
    usual = _usual(record.suite)
    for name, value in (stated if isinstance(stated, Mapping) else {}).items():
        if value not in (None, []) and value != usual.get(name):
            words.append(f"suite.{name}={as_typed(value)}")
    return (*words, *(["skip_bad=true"] if cell.identity.get("skip_bad") else []))


def _line(
    words: Sequence[str], models: Sequence[str], tasks: Sequence[str], config: Mapping[str, str], out: Path | str
) -> str:
    suite, *others = words
    said = [suite, f"model={as_typed(models)}"] + ([f"task={as_typed(tasks)}"] if tasks else []) + others
    said += [f"{name}={config[name]}" for name in KEPT if config.get(name, "") not in ("", "none", "false")]
    return "python -m bench run " + " ".join(map(shlex.quote, [*said, f"out={out}"]))


@cache
def _usual(suite: str) -> Mapping[str, Any]:
    """The settings that a suite of this version has when none is typed; none for a suite that there is no more."""
    from ..suites import suites
    from .job import plain

    return plain(asdict(suites()[suite])) if suite in suites() else {}


def _are_the_suites_own(word: str, tasks: Sequence[str]) -> bool:
    """Whether these are all the tasks that a suite asks about where none is named."""
    from ..suites import suites
    from ..suites.tasks import tasks as known

    name = word.partition("=")[2]
    if name not in suites() or not suites()[name].only_default_tasks:
        return False
    collection = suites()[name].default_tasks
    return {row.name for row in known().values() if row.collection == collection} == set(tasks)
