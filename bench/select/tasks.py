"""The tasks that a command may name, and which source serves each. Every place is looked at once a command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...registry import Registry, UsageError, suggest
from ...suites import suites
from ...suites.protocol import NO_TASK, Source, Suite, Task
from ...suites.sources import sources
from ...suites.sources.folder import Division, folder_task
from ...suites.sources.sets import image_sets
from ..config import Config
from ..verbs.words import each
from .user_rows import include

FOLDER = "folder:"


class Shelf:
    """The built-in suites, tasks, image sets and sources and the included ones, as seen from a data folder."""

    def __init__(
        self, root: Path, built_in: Registry[Task], include_from: tuple[Path, ...], source: str | None
    ) -> None:
        """`source`: the one kind of source to use. Raises UsageError where there is none of that name."""
        user = include(include_from)
        self.root = root
        self.suites = user.added_to(suites())
        self.tasks = user.added_to(built_in)
        own = [task for name, task in self.tasks.items() if name not in built_in]
        complete = {task.collection for task in built_in.values()}
        if foreign := next((task for task in own if task.collection in complete), None):
            raise user.error(
                f"{foreign.name} says that it belongs to the collection '{foreign.collection}', which is complete. "
                "Give it a collection of its own"
            )
        self.sets = dict(user.added_to(Registry("image set", image_sets().values())))
        self.sources: tuple[Source, ...] = (*sources(self.sets), *user.sources)
        names = [one.name for one in self.sources]
        if source is not None and source not in names:
            raise UsageError(f"there is no source '{source}'. {suggest(source, names)}")
        self.asked = [one for one in self.sources if source in (None, one.name)]
        self._folders: dict[tuple[str, Division, int], Task] = {}
        self._found: dict[tuple[str, str, tuple[str, ...]], str | None] = {}

    def collection(self, name: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.collection == name]

    def select(self, word: str, division: Division = "own", seed: int = 0) -> list[Task]:
        """The tasks that a name, an alias, a glob, a collection or folder:PATH stands for, or a UsageError."""
        if word.startswith(FOLDER):
            key = (word, division, seed)
            if key not in self._folders:
                path = Path(word.removeprefix(FOLDER)).expanduser()
                self._folders[key] = folder_task(path, name=word, division=division, seed=seed)
            return [self._folders[key]]
        return self.collection(word) or self.tasks.select(word)

    def source(self, task: Task, splits: Sequence[str]) -> Source | None:
        """The first source that has all of these splits of a task."""
        return next((one for one in self.asked if self.lack(one, task, splits) == ""), None)

    def lacks(self, task: Task, splits: Sequence[str]) -> str:
        """What of a task's splits is missing where a part of it was found, in words; "" where nothing was found."""
        said = {one.name: self.lack(one, task, splits) for one in self.asked}
        return "; ".join(f"source {name}: {lack}" for name, lack in said.items() if lack)

    def lack(self, source: Source, task: Task, splits: Sequence[str]) -> str | None:
        """What a source lacks of these splits, in words: "" where all is there, None where nothing is."""
        key = (source.name, task.name, tuple(splits))
        if key not in self._found:
            located = source.locate(task, self.root)
            missing = getattr(source, "missing", None)  # a user's source need not have it
            self._found[key] = None if located is None else missing(task, self.root, splits) if missing else ""
        return self._found[key]


def choose_tasks(suite: Suite, config: Config, shelf: Shelf) -> list[Task]:
    """The tasks a suite is to ask. Named ones must be on this machine; of a suite's own, at least one."""
    if "task" not in suite.needs:
        return [NO_TASK]
    found = each(lambda word: shelf.select(word, config.division, config.division_seed), config.task)
    named = [task for of_word in found for task in of_word]
    if suite.only_default_tasks:
        foreign = [task.name for task in named if task.collection != suite.default_tasks]
        if foreign:
            raise UsageError(
                f"suite={suite.name} is {len(shelf.collection(suite.default_tasks))} tasks, and '{foreign[0]}' is none "
                "of them: " + ", ".join(task.name for task in shelf.collection(suite.default_tasks))
            )
    chosen = list({task.name: task for task in named or shelf.select(suite.default_tasks)}.values())
    missing = [task for task in chosen if shelf.source(task, suite.splits) is None]
    if missing and (named or len(missing) == len(chosen)):
        where = f"source={config.source} in {shelf.root}" if config.source else str(shelf.root)
        names = ", ".join(task.name for task in missing[:5]) + (" …" if len(missing) > 5 else "")
        partly = [f"{task.name}: {lack}. " for task in missing if (lack := shelf.lacks(task, suite.splits))]
        asks = [one for one in suites().values() if one.fallback and one.default_tasks == missing[0].collection]
        advice = "".join(f" {one.how_to_get_data} suite={one.fallback} needs no data" for one in asks)
        raise UsageError(
            f"no data for {names} in {where}. {''.join(partly[:3])}Type data=DIR or set BENCH_DATA to the folder that "
            f"holds it.{advice}"
        )
    return chosen
