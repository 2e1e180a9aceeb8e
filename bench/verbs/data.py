"""Data sets: what is here, whether it is what was published, and how to get the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ...meter import Meter
from ...models.released.download import fetch
from ...models.released.table import Release
from ...registry import UsageError, first_few
from ...stable import cache_folder, replacing, sha
from ...suites.images.decoded import BadImages
from ...suites.protocol import Source, Split, Task
from .. import config as settings
from ..console import stderr, stdout
from ..data.prepare import needs, prepare
from ..select.tasks import DIVIDED, AvailableData
from ..words import read_value
from .command import JsonOutput, group, listed, print_json, take_format

# Settings of a run that these commands take.
OPTIONS = ("data", "source", "include", "task", "division", "division_seed", "range")
PREPARE = ("suite", *OPTIONS)  # with a suite, all settings of a run
SPLITS = ("train", "val", "test")
NAMED = 20  # unreadable images that `verify` names
Words = Annotated[list[str] | None, typer.Argument(metavar="[TASK]... [KEY=VALUE]...", show_default=False)]


def list_verb(words: Words = None) -> None:
    """Show every task: which source has it, where, the images of train, val and test, and whether that was verified.

    For example `data list`, `data list vtab data=/datasets`, `data list "KITTI*" source=raw`.
    """
    rest, as_json = take_format(words or [])
    data, chosen = _read(rest)
    rows: list[tuple[str, ...]] = []
    told: list[dict[str, Any]] = []
    for task in chosen:
        sizes = "/".join(str(task.splits.get(split, 0)) for split in SPLITS)
        states = [(source.name, *_state(data, source, task)) for source in data.used_sources]
        states = [row for row in states if row[1]] or [("", "not here", "")]
        of_task = {"task": task.name, "images": dict(task.splits)}
        told += [of_task | dict(zip(("source", "state", "where"), row, strict=True)) for row in states]
        for number, (source, state, where) in enumerate(states):
            name, size = ("", "") if number else (task.name, sizes)
            rows.append((name, source, size, state, where))
    if as_json:
        print_json(told)
        return
    screen = stdout()
    screen.table(("task", "source", "train/val/test", "state", "where"), rows, whole=("task", "source"))
    there = "" if data.root.is_dir() else ", which does not exist"
    screen.say(
        f"Looked in {data.root}{there}; data=DIR or BENCH_DATA change that. `data verify TASK` checks what is here, "
        "`data prepare TASK` gets what is not."
    )


def verify_verb(words: Words = None) -> None:
    """Check every image and label of tasks against what was published. Exit code 1 if anything differs.

    For example `data verify Pets`, `data verify vtab source=raw`. It counts images and classes,
    decodes each image, and prints the digests of the splits, which must be the same on all machines.
    """
    rest, as_json = take_format(words or [])
    data, chosen = _read(rest, must=True)
    if as_json:
        raise typer.Exit(_verify_as_json(data, chosen))
    screen = stdout()
    deviations = 0
    for task in chosen:
        source = data.source(task, tuple(task.splits))
        if source is None:
            otherwise = f"Looked in {data.root}; `data prepare {task.name}` says how to get it"
            screen.say(f"{task.name}: NOT HERE. {data.lacks(task, tuple(task.splits)) or otherwise}")
            deviations += 1
            continue
        screen.say(f"{task.name}, from source {source.name} in {source.locate(task, data.root)}")
        deviations += _verified(task, source, data, Meter(stderr()))
    if deviations:
        wanted = "what was published" if any(task.published for task in chosen) else "what a folder of classes has"
        screen.say(f"{deviations} deviation{'' if deviations == 1 else 's'} from {wanted}.")
        raise typer.Exit(1)


def _verify_as_json(data: AvailableData, chosen: Sequence[Task]) -> int:
    """Print what was found of each task. Returns the exit code."""
    told = []
    for task in chosen:
        source = data.source(task, tuple(task.splits))
        missing = [] if source else [data.lacks(task, tuple(task.splits)) or f"not in {data.root}"]
        found = Verification(deviations=missing) if source is None else verify(task, source, data.root)
        told.append({"task": task.name, "source": source.name if source else None, **asdict(found)})
    print_json(told)
    return int(any(one["deviations"] for one in told))


def prepare_verb(words: Words = None) -> None:
    """Download, unpack and verify the data of tasks, or say what to do by hand where that is not possible.

    For example `data prepare Pets SVHN data=/datasets`. With `suite=… model=… weights=…` it gets everything that a run
    with the same words needs, weights too, for a machine without a network. After an interruption, the same command
    resumes. BENCH_MIRROR names a folder or an address with copies of your own, which are looked for there first. Exit
    code 1 if something is still missing.
    """
    named, config = _read_config(words or [], PREPARE)
    if not named and not config.suite:
        raise UsageError("say what to prepare: `data prepare Pets`, `data prepare vtab`, or suite=… model=…")
    chosen, releases = AvailableData(config, fetch=True).select_all(named), list[Release]()
    if config.suite:
        of_plan, releases = needs(config)
        chosen += of_plan
    meter, screen = Meter(stderr()), stdout()
    done = prepare(list({task.name: task for task in chosen}.values()), config, meter)
    data, deviations = AvailableData(config), 0
    for task, source in done.ready:
        screen.say(f"{task.name}, from source {source.name}")
        deviations += _verified(task, source, data, meter)
    for release in releases:
        try:
            screen.say(f"{release.model}:{release.tag} is at {fetch(release, meter)}")
        except UsageError as error:
            done.failed.append(str(error))
    for text in done.failed:
        screen.say(f"FAILED {text}")
    for task in done.by_hand:
        screen.say(f"BY HAND {task.name}: see the steps above")
    if deviations or done.failed or done.by_hand:
        raise typer.Exit(1)


@dataclass(kw_only=True)
class Verification:
    """The result of verifying one task."""

    lines: list[str] = field(default_factory=list)  # one on each split
    deviations: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # names of images that cannot be read, with the reason
    digests: dict[str, str] = field(default_factory=dict)  # split -> digest of its pixels


def verify(task: Task, source: Source, root: Path, *, say: Callable[[str], None] = lambda _: None) -> Verification:
    """Read every split of a task from a source, and compare it with the task's row.

    A task without deviations is noted in the cache folder, for `data list`.
    """
    result = Verification()
    for split, size in task.splits.items():
        say(f"{task.name}: reading {split}, {size} images")
        try:
            images = source.load(task, split, root, cache_folder())
        except BadImages as error:
            result.unreadable += [str(bad) for bad in error.bad]
            result.deviations.append(f"{split}: {len(error.bad)} images cannot be read")
            images = error.readable
        except (ValueError, OSError) as error:
            result.deviations.append(f"{split}: {error}")
            continue
        _compare(task, split, images, result)
    if len({*result.digests.values()}) < len(result.digests):
        result.deviations.append("two splits hold the same images")
    if not result.deviations:
        _save_verified(task, source, root, result.digests)
    return result


def _compare(task: Task, split: str, found: Split, result: Verification) -> None:
    def expect(same: bool, text: str) -> None:
        if not same:
            result.deviations.append(f"{split}: {text}")

    expect(len(found) == task.splits[split], f"{len(found)} images; expected {task.splits[split]}")
    if not len(found):
        return
    low, high = int(found.labels.min()), int(found.labels.max())
    if low < 0 or high >= task.num_classes:
        expect(False, f"labels run from {low} to {high}; expected 0 to {task.num_classes - 1}")
        return
    counts = np.bincount(found.labels, minlength=task.num_classes)
    present, majority = int((counts > 0).sum()), 100 * counts.max() / len(found)
    groups = "" if found.clusters is None else f", {len(np.unique(found.clusters))} {task.cluster or 'cluster'}s"
    a_class = " ".join(map(str, counts))
    shown = f"images a class {a_class}"
    if len(counts) > 20:
        shown = f"{present} of {len(counts)} classes, {counts.min()} to {counts.max()} images each"
    result.digests[split] = found.digest
    result.lines.append(
        f"{split}: {len(found)} images{groups}, digest {found.digest[:16]}; {shown}; largest class {majority:.2f} %"
    )
    if split == "test":
        published = " ".join(map(str, task.histogram)) or a_class
        expect(published == a_class, f"images a class are {a_class}; published are {published}")
        share = majority if task.majority is None else task.majority
        expect(abs(majority - share) <= 0.051, f"the largest class has {majority:.2f} %; published are {share} %")
    expected = task.present.get(split, present)
    expect(present == expected, f"{present} classes occur; published are {expected}")
    absent = [name for name, count in zip(task.classes, counts, strict=False) if not count]
    expect(task.published or split == "val" or not absent, f"no image of {first_few(absent)}")


def _verified(task: Task, source: Source, data: AvailableData, meter: Meter) -> int:
    """Verify a task and print the result and the notes on its images. Returns the number of deviations."""
    with meter.following():
        result = verify(task, source, data.root, say=meter.say)
    image_set = data.sets.get(task.image_set)
    notes = [getattr(source, "note", "") or (image_set.note if image_set else ""), task.unproven]
    notes.append(task.left_out)
    more = len(result.unreadable) - NAMED
    for line in (
        *result.lines,
        *(f"UNREADABLE {bad}" for bad in result.unreadable[:NAMED]),
        *([f"… and {more} more"] if more > 0 else []),
        *(f"DEVIATION {text}" for text in result.deviations),
        *(f"note: {text}" for text in notes if text),
        *([] if result.deviations else ["verified"]),
    ):
        stdout().say(f"  {line}")
    return len(result.deviations)


def _read(words: Sequence[str], *, must: bool = False) -> tuple[AvailableData, list[Task]]:
    """The data folder with its sources, and the tasks that words name; all, where they name none."""
    named, config = _read_config(words, OPTIONS)
    if must and not named:
        raise UsageError("say which tasks: `data verify Pets`, or a collection: `data verify vtab`")
    data = AvailableData(config)
    chosen = data.select_all(named) or data.tasks.values()
    return data, list({task.name: task for task in chosen}.values())


def _read_config(words: Sequence[str], only: Sequence[str]) -> tuple[list[str], settings.Config]:
    """The tasks that words name, and the settings."""
    named = [word for word in words if "=" not in word or word.startswith(DIVIDED)]
    config = settings.read([word for word in words if word not in named], verb="`data`", only=only)
    return [*(name for word in named for name in read_value("task", word, tuple[str, ...])), *config.task], config


def _state(data: AvailableData, source: Source, task: Task) -> tuple[str, str]:
    """The state and the place of a task's images in a source; two empty texts where the source has none."""
    missing = data.lack(source, task, tuple(task.splits))
    if missing is None:
        return "", ""
    where = str(source.locate(task, data.root))
    if missing:
        return f"incomplete: {missing}", where
    day = _day_verified(task, source, data.root)
    return (f"complete, verified {day}" if day else "complete"), where


def _note_path(task: Task, source: Source, root: Path) -> Path:
    digest = sha([task.name, source.name, str(source.locate(task, root)), dict(task.splits)])
    return cache_folder() / "verified" / f"{digest}.json"


def _save_verified(task: Task, source: Source, root: Path, digests: dict[str, str]) -> None:
    path = _note_path(task, source, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    noted = {"task": task.name, "source": source.name, "day": f"{datetime.now(UTC):%Y-%m-%d}", "digests": digests}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(noted), encoding="utf-8")


def _day_verified(task: Task, source: Source, root: Path) -> str:
    """The day on which a task was verified here, "" where it was not."""
    try:
        return str(json.loads(_note_path(task, source, root).read_text(encoding="utf-8"))["day"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


_HELP = f"{listed(settings.Config, OPTIONS)}\n{listed(JsonOutput)}"
app = group((list_verb, _HELP), (verify_verb, _HELP), (prepare_verb, listed(settings.Config, PREPARE)))
