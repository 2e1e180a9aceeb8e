"""`data prepare`: download, check and unpack data sets, and print instructions for those without a download."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...meter import Meter, human
from ...models.released.table import Release
from ...models.spec import Model
from ...models.weights_choice import WeightsChoice
from ...registry import UsageError
from ...suites import suites
from ...suites.protocol import Source, Suite, Task
from ...suites.sources.image_set import Download, ImageSet
from ...transfer import KnownFile, Unreachable, check_published, switched_off, transfer
from .. import config as settings
from ..select.models import choose_models, choose_weights
from ..select.tasks import AvailableData
from .unpack import unpack

DOWNLOADS = "downloads"  # folder below the data folder for archives until they are unpacked
ROOM = 2.2  # disk space for an archive and its content, in sizes of the archive


@dataclass(kw_only=True)
class Preparation:
    """The tasks by the outcome of their preparation."""

    ready: list[tuple[Task, Source]] = field(default_factory=list)
    by_hand: list[Task] = field(default_factory=list)  # the user has to get their data
    failed: list[str] = field(default_factory=list)  # "TASK: why"


def prepare(chosen: list[Task], config: settings.Config, meter: Meter) -> Preparation:
    """Get the data of these tasks into the data folder.

    Raises UsageError before any download if the disk has too little space. A set that fails does not stop the others.
    """
    before, preparation = AvailableData(config), Preparation()
    root = before.root
    incomplete = [task for task in chosen if before.source(task, tuple(task.splits)) is None]
    wanted = {task.image_set: before.sets.get(task.image_set, ImageSet(name=task.image_set)) for task in incomplete}
    _check_room(root, [file for image_set in wanted.values() for file in image_set.downloads])
    for task in chosen:
        image_set = before.sets.get(task.image_set)
        try:
            if task in incomplete and task.image_set in wanted:
                with meter.following():
                    get(wanted.pop(task.image_set), root, meter)
        except UsageError as error:
            preparation.failed.append(f"{task.name}: {error}")
            continue
        now = AvailableData(config)
        source = now.source(task, tuple(task.splits))
        if source is not None:
            meter.say(f"{task.name} is at {source.locate(task, root)} (source {source.name})")
            preparation.ready.append((task, source))
        elif image_set is not None and image_set.by_hand:
            meter.say(f"{task.name} has to be got by hand. {image_set.by_hand.format(root=root)}.")
            preparation.by_hand.append(task)
        else:
            lacks = now.lacks(task, tuple(task.splits)) or f"it is not in {root}"
            preparation.failed.append(f"{task.name}: {lacks}")
    return preparation


def get(image_set: ImageSet, root: Path, meter: Meter) -> None:
    """Download an image set's files, and unpack them and the archive that the user put into the data folder."""
    for file in image_set.downloads:
        fetch(file, root, meter)
    archive = root / image_set.archive
    if archive.is_file():
        meter.say(f"unpacking {archive}")
        meter.say(f"{len(unpack(archive, root))} files unpacked to {root}")


def fetch(file: Download, root: Path, meter: Meter) -> None:
    """Download a file, check it, and unpack it if it is an archive. Does nothing if that was done before.

    Raises UsageError if it cannot be downloaded or is not what was published.
    """
    folder = root / file.into
    mark = root / DOWNLOADS / f"{file.file_name}.done"
    if _unpacked(mark) if file.unpack else (folder / file.file_name).is_file():
        return
    target = root / DOWNLOADS / file.file_name if file.unpack else folder / file.file_name
    published = KnownFile(size=file.size, digest=file.digest, elsewhere="Type data=DIR for a folder with more room")
    if target.is_file():
        check_published(file.url, target, published)
    elif switch := switched_off():
        raise UsageError(f"{file.url} is needed, and downloads are off ({switch})")
    else:
        size = f" ({human(file.size)})" if file.size else ""
        meter.say(f"downloading {file.url}{size} to {target}")
        try:
            transfer(file.url, target, meter, published)
        except Unreachable as error:
            raise UsageError(
                f"{error}. Repeat the command to go on where it ended, or put the file at {target} yourself"
            ) from error
    target.with_name(f"{target.name}.sha256").unlink(missing_ok=True)
    if file.unpack:
        meter.say(f"unpacking {target} to {folder}")
        files = unpack(target, folder)
        mark.write_text("\n".join(map(str, (files[0], files[-1]) if files else ())), encoding="utf-8")
        target.unlink()


def _unpacked(mark: Path) -> bool:
    """Whether an archive was unpacked and its first and last files still exist."""
    if not mark.is_file():
        return False
    files = mark.read_text(encoding="utf-8").splitlines()
    return bool(files) and all(Path(file).is_file() for file in files)


def _check_room(root: Path, files: Iterable[Download]) -> None:
    needed = int(sum((file.size or 0) * (ROOM if file.unpack else 1) for file in files))
    place = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UsageError(
            f"downloading and unpacking takes {human(needed)}, and {place} has {human(free)} free. Type data=DIR for a "
            "folder with more room, or fewer tasks"
        )


def asked(config: settings.Config) -> Iterator[tuple[Suite, Model, WeightsChoice, Task]]:
    """What a plan with this configuration asks for, fitting or not, on this machine or not."""
    data = AvailableData(config, fetch=True)
    selected = {suite.name: suite for word in config.suite for suite in suites().select(word)}
    for suite in settings.apply(config, list(selected.values())):
        tasks = data.select_all(config.task or [suite.default_tasks])
        for model, weights in choose_weights(suite, choose_models(suite, config, {}, set()), config.weights):
            yield from ((suite, model, weights, task) for task in tasks)


def needs(config: settings.Config) -> tuple[list[Task], list[Release]]:
    """The tasks and released weights that a plan with this configuration needs, on this machine or not."""
    every = list(asked(config))
    tasks = {task.name: task for *_, task in every}
    return list(tasks.values()), list(dict.fromkeys(w.release for _, _, w, _ in every if w.release is not None))
