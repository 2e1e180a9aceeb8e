"""Selects tasks, and finds the source that has the images of each. Each place on disk is looked at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePath

from ...registry import Registry, UsageError, path_of, suggest
from ...suites import suites
from ...suites.protocol import NO_TASK, Source, Suite, Task
from ...suites.sources import sources
from ...suites.sources.folder import folder_task
from ...suites.sources.fractals import PREFIX as FRACTALS
from ...suites.sources.fractals import fractals_task
from ...suites.sources.hub_copies import PREFIX as HUB
from ...suites.sources.hugging_face import hub_task
from ...suites.sources.sets import image_sets
from ...suites.tasks import tasks
from ..config import Config, data_folder
from ..console import stderr
from ..words import each, is_on_disk
from .user_rows import include

FOLDER = "folder:"
DIVIDED = (FOLDER, HUB)  # the words for images that `division=` and the like are about


class AvailableData:
    """All suites, tasks, image sets and sources, built-in and the user's, and which images the data folder has."""

    def __init__(self, config: Config, *, fetch: bool = False) -> None:
        """With `fetch`, data sets of the Hub are downloaded when they are selected.

        Raises UsageError where there is no source of the name that the configuration has.
        """
        user, built_in, source = include(config.include), tasks(), config.source
        self.config, self.root, self.fetch = config, data_folder(config), fetch
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
        self._folders: dict[tuple[str, str], Task] = {}  # by word and division
        self._told: set[str] = set()  # tasks of whose name there is a folder
        self._found: dict[tuple[str, str, tuple[str, ...]], str | None] = {}

    def collection(self, name: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.collection == name]

    def select(self, word: str, splits: Sequence[str] = ()) -> list[Task]:
        """The tasks of a name, alias, glob, collection, folder:PATH, hf:OWNER/NAME, hf:PATH or fractals:CLASSES.

        Of `splits`, those that are read, test alone makes a test split of all images of an undivided folder. Raises
        UsageError where there is none.
        """
        if word.startswith(DIVIDED):
            config = self.config
            division = "all" if tuple(splits) == ("test",) and "division" not in config.origin else config.division
            if (word, division) not in self._folders:
                settings = {"division": division, "seed": config.division_seed, "range": config.range}
                place = word.removeprefix(FOLDER)
                name = f"{FOLDER}{PurePath(place).as_posix()}"  # X/ and ./X are X
                self._folders[word, division] = (
                    hub_task(word, fetch=self.fetch, **settings)
                    if word.startswith(HUB)
                    else folder_task(path_of(place), name=name, **settings)
                )
            return [self._folders[word, division]]
        if word.startswith(FRACTALS):
            return [fractals_task(word)]
        here = (
            is_on_disk(word) and Path(word).is_dir() and Path.cwd() != self.root.resolve()
        )  # and not one of the data sets
        if here and word in self.tasks and word not in self._told:
            self._told.add(word)
            stderr().say(f"{word} is the task of that name; your folder {word} is task=folder:{word}")
        return self.collection(word) or self.tasks.select(word)

    def select_all(self, words: Sequence[str], splits: Sequence[str] = ()) -> list[Task]:
        """The tasks of several words. Raises UsageError with all words that have none."""
        return [task for chosen in each(partial(self.select, splits=splits), words) for task in chosen]

    def beside(self, suite: Suite) -> list[tuple[Task, Source]]:
        """The tasks that a suite reads beside a job's own. Raises UsageError for one that has no data here."""
        found = []
        for task in self.select_all(suite.tasks_beside()):
            source = self.source(task, tuple(task.splits))
            if source is None:
                raise UsageError(f"{task.name}: {self.lacks(task, tuple(task.splits)) or f'no data in {self.root}'}")
            found.append((task, source))
        return found

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


def choose_tasks(suite: Suite, data: AvailableData, *, data_needed: bool = True) -> list[Task]:
    """The tasks of a suite.

    Raises UsageError where a named task, or every default task, has no data here, unless that is not needed.
    """
    if "task" not in suite.needs:
        return [NO_TASK]
    named = data.select_all(data.config.task, suite.splits)
    if suite.only_default_tasks:
        foreign = [task.name for task in named if task.collection != suite.default_tasks]
        if foreign:
            own = [task.name for task in data.collection(suite.default_tasks)]
            raise UsageError(
                f"suite={suite.name} is {len(own)} tasks, and '{foreign[0]}' is none of them: {', '.join(own)}"
            )
    chosen = list({task.name: task for task in named or data.select(suite.default_tasks)}.values())
    missing = [task for task in chosen if data.source(task, suite.splits) is None]
    if data_needed and missing and (named or len(missing) == len(chosen)):
        where = f"source={data.config.source} in {data.root}" if data.config.source else str(data.root)
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
