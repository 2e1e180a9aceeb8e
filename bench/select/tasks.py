"""Selects tasks, and finds the source that has the images of each. Each place on disk is looked at once."""

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


class AvailableData:
    """All suites, tasks, image sets and sources, built-in and the user's, and which images the data folder has."""

    def __init__(
        self, root: Path, built_in: Registry[Task], include_from: tuple[Path, ...], source: str | None
    ) -> None:
        """`source`: the only source to use, None for all. Raises UsageError where there is none of that name."""
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
        names = [row.name for row in self.sources]
        if source is not None and source not in names:
            raise UsageError(f"there is no source '{source}'. {suggest(source, names)}")
        self.used_sources = [row for row in self.sources if source in (None, row.name)]
        self._folders: dict[tuple[str, Division, int], Task] = {}
        self._found: dict[tuple[str, str, tuple[str, ...]], str | None] = {}

    def collection(self, name: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.collection == name]

    def select(self, word: str, division: Division = "own", seed: int = 0) -> list[Task]:
        """The tasks of a name, alias, glob, collection or folder:PATH. Raises UsageError where there is none."""
        if word.startswith(FOLDER):
            key = (word, division, seed)
            if key not in self._folders:
                path = Path(word.removeprefix(FOLDER)).expanduser()
                self._folders[key] = folder_task(path, name=word, division=division, seed=seed)
            return [self._folders[key]]
        return self.collection(word) or self.tasks.select(word)

    def source(self, task: Task, splits: Sequence[str]) -> Source | None:
        """The first source that has all of these splits of a task."""
        return next((source for source in self.used_sources if self.lack(source, task, splits) == ""), None)

    def lacks(self, task: Task, splits: Sequence[str]) -> str:
        """What each source with a part of these splits lacks, in words; "" where no source has any part."""
        lacks = {source.name: self.lack(source, task, splits) for source in self.used_sources}
        return "; ".join(f"source {name}: {lack}" for name, lack in lacks.items() if lack)

    def lack(self, source: Source, task: Task, splits: Sequence[str]) -> str | None:
        """What a source lacks of these splits, in words; "" where it has all of them, None where it has none."""
        key = (source.name, task.name, tuple(splits))
        if key not in self._found:
            located = source.locate(task, self.root)
            missing = getattr(source, "missing", None)  # a user's source need not have it
            self._found[key] = None if located is None else missing(task, self.root, splits) if missing else ""
        return self._found[key]


def choose_tasks(suite: Suite, config: Config, data: AvailableData) -> list[Task]:
    """The tasks of a suite. Raises UsageError where a named task, or every default task, has no data here."""
    if "task" not in suite.needs:
        return [NO_TASK]
    by_word = each(lambda word: data.select(word, config.division, config.division_seed), config.task)
    named = [task for tasks_of_word in by_word for task in tasks_of_word]
    if suite.only_default_tasks:
        foreign = [task.name for task in named if task.collection != suite.default_tasks]
        if foreign:
            own = [task.name for task in data.collection(suite.default_tasks)]
            raise UsageError(
                f"suite={suite.name} is {len(own)} tasks, and '{foreign[0]}' is none of them: {', '.join(own)}"
            )
    chosen = list({task.name: task for task in named or data.select(suite.default_tasks)}.values())
    missing = [task for task in chosen if data.source(task, suite.splits) is None]
    if missing and (named or len(missing) == len(chosen)):
        where = f"source={config.source} in {data.root}" if config.source else str(data.root)
        names = ", ".join(task.name for task in missing[:5]) + (" …" if len(missing) > 5 else "")
        partly = [f"{task.name}: {lack}. " for task in missing if (lack := data.lacks(task, suite.splits))]
        asking = [
            suite for suite in suites().values() if suite.fallback and suite.default_tasks == missing[0].collection
        ]
        advice = "".join(f" {suite.how_to_get_data} suite={suite.fallback} needs no data" for suite in asking)
        raise UsageError(
            f"no data for {names} in {where}. {''.join(partly[:3])}Type data=DIR or set BENCH_DATA to the folder that "
            f"holds it.{advice}"
        )
    return chosen
