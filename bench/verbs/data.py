"""The verb `data`: what is on this machine (`list`), whether it is what was published (`verify`), how to get it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...registry import UsageError
from ...stable import replacing, sha
from .. import config as settings
from ..console import Screen, stderr, stdout
from .words import each, help_of, listed

if TYPE_CHECKING:
    import numpy as np

    from ...suites.protocol import Source, Split, Task
    from ..select.tasks import Shelf

OPTIONS = ("data", "source", "include", "task", "division", "division_seed")  # of the settings that a run has
PREPARE = ("suite", *OPTIONS)  # with a suite, all settings of a run
SPLITS = ("train", "val", "test")
NAMED = 20  # unreadable images that `verify` names

data_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Data sets: what is here, whether it is what was published, and how to get the rest.",
)
Words = Annotated[list[str] | None, typer.Argument(metavar="[TASK]... [KEY=VALUE]...", show_default=False)]


def list_verb(words: Words = None) -> None:
    """Show every task: which source has it, where, the images of train, val and test, and whether that was verified.

    For example `data list`, `data list vtab data=/datasets`, `data list "KITTI*" source=raw`.
    """
    shelf, asked, chosen = _read(words or [])
    root = shelf.root
    rows: list[tuple[str, ...]] = []
    for task in chosen:
        sizes = "/".join(str(task.splits[split]) for split in SPLITS)
        found = [(source.name, *_state(source, task, root)) for source in asked]
        found = [here for here in found if here[1]] or [("", "not here", "")]
        for number, (source, state, where) in enumerate(found):
            first = (task.name, sizes) if number == 0 else ("", "")
            rows.append((first[0], source, first[1], state, where))
    screen = stdout()
    screen.table(("task", "source", "train/val/test", "state", "where"), rows, whole=("task", "source"))
    screen.say(
        f"Looked in {root}; data=DIR or BENCH_DATA change that. `data verify TASK` checks what is here, "
        "`data prepare TASK` gets what is not."
    )


def verify_verb(words: Words = None) -> None:
    """Check every image and label of tasks against what was published. Exit code 1 where anything differs.

    For example `data verify Pets`, `data verify vtab source=raw`. Counted are images and classes; each image is
    decoded, and the digests of the splits are printed: of two machines they must be the same.
    """
    shelf, _, chosen = _read(words or [], must=True)
    root, screen = shelf.root, stdout()
    deviations = 0
    for task in chosen:
        source = shelf.source(task, tuple(task.splits))
        if source is None:
            otherwise = f"Looked in {root}; `data prepare {task.name}` says how to get it"
            screen.say(f"{task.name}: NOT HERE. {shelf.lacks(task, tuple(task.splits)) or otherwise}")
            deviations += 1
            continue
        screen.say(f"{task.name}, from source {source.name} in {source.locate(task, root)}")
        report = verify(task, source, root, say=stderr().say)
        _print(report, screen)
        deviations += len(report.deviations)
    if deviations:
        screen.say(f"{deviations} deviation{'' if deviations == 1 else 's'} from what was published.")
        raise typer.Exit(1)


def prepare_verb(words: Words = None) -> None:
    """Download, unpack and verify the data of tasks, or say exactly what a person has to do for them.

    For example `data prepare Pets SVHN data=/datasets`. With `suite=… model=… weights=…` it gets everything that a run
    with the same words needs, weights too, for a machine without a network. Interrupted, the same command goes on where
    it ended. Exit code 1 where something is still missing.
    """
    from ...meter import Meter
    from ...models.released.download import fetch
    from ...suites.tasks import tasks
    from ..config import data_folder
    from ..data.prepare import needs, prepare
    from ..select.tasks import Shelf

    named, config = _read_config(words or [], PREPARE)

    def shelf() -> Shelf:
        return Shelf(data_folder(config), tasks(), config.include, config.source)

    if not named and not config.suite:
        raise UsageError("say what to prepare: `data prepare Pets`, `data prepare vtab`, or suite=… model=…")
    chosen = _select(shelf(), named, config)
    releases: list[Any] = []
    if config.suite:
        of_plan, releases = needs(config, shelf())
        chosen += of_plan
    meter, screen = Meter(stderr()), stdout()
    outcome = prepare({task.name: task for task in chosen}.values(), shelf, meter)
    deviations = len(outcome.failed) + len(outcome.by_hand)
    for task in outcome.ready:
        now = shelf()
        source = now.source(task, tuple(task.splits))
        assert source is not None
        screen.say(f"{task.name}, from source {source.name}")
        report = verify(task, source, now.root, say=meter.say)
        _print(report, screen)
        deviations += len(report.deviations)
    for release in releases:
        try:
            screen.say(f"{release.model}:{release.tag} is at {fetch(release, meter)}")
        except UsageError as error:
            outcome.failed.append(str(error))
            deviations += 1
    for text in outcome.failed:
        screen.say(f"FAILED {text}")
    for task in outcome.by_hand:
        screen.say(f"BY HAND {task.name}: see the steps above")
    if deviations:
        raise typer.Exit(1)


for _name, _verb, _options in (
    ("list", list_verb, OPTIONS),
    ("verify", verify_verb, OPTIONS),
    ("prepare", prepare_verb, PREPARE),
):
    data_app.command(_name, help=help_of(_verb, listed(settings.Config, _options)))(_verb)


@dataclass(kw_only=True)
class Report:
    """What `verify` found of a task."""

    facts: list[str] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # images that cannot be read, by name, with the reason
    digests: dict[str, str] = field(default_factory=dict)  # split -> digest of its pixels
    notes: list[str] = field(default_factory=list)


def verify(task: Task, source: Source, root: Path, *, say: Callable[[str], None] = lambda _: None) -> Report:
    """Read every split of a task from a source, and compare it with the task's row and what else is known of it.

    What is sound is noted in the cache folder, for `data list`.
    """
    from ...stable import cache_folder
    from ...suites.images.decoded import BadImages
    from ...suites.sources.known import note

    report = Report()
    for split in task.splits:
        say(f"{task.name}: reading {split}, {task.splits[split]} images")
        try:
            found = source.load(task, split, root, cache_folder())
        except BadImages as error:
            report.unreadable += [str(bad) for bad in error.bad]
            report.deviations.append(f"{split}: {len(error.bad)} images cannot be read")
            found = error.readable
        except (ValueError, OSError) as error:
            report.deviations.append(f"{split}: {error}")
            continue
        _compare(task, split, found, report)
    digests = list(report.digests.values())
    if len(set(digests)) < len(digests):
        report.deviations.append("two splits hold the same images")
    report.notes += filter(None, [note(task.images, task.name, source.name), getattr(task, "unproven", "")])
    if not report.deviations:
        _remember(task, source, root, report.digests)
    return report


def _compare(task: Task, split: str, found: Split, report: Report) -> None:
    import numpy as np

    from ...suites.sources.known import CLASSES, HISTOGRAMS

    if len(found) != task.splits[split]:
        report.deviations.append(f"{split}: {len(found)} images; expected {task.splits[split]}")
    if not len(found):
        return
    if found.labels.min() < 0 or found.labels.max() >= task.num_classes:
        low, high = found.labels.min(), found.labels.max()
        report.deviations.append(f"{split}: labels run from {low} to {high}; expected 0 to {task.num_classes - 1}")
        return
    counts = np.bincount(found.labels, minlength=task.num_classes)
    report.digests[split] = found.digest
    majority = 100 * counts.max() / len(found)
    groups = "" if found.clusters is None else f", {len(np.unique(found.clusters))} {task.cluster or 'cluster'}s"
    report.facts.append(
        f"{split}: {len(found)} images{groups}, digest {found.digest[:16]}; {_histogram(counts)}; "
        f"largest class {majority:.2f} %"
    )
    known = HISTOGRAMS.get(task.name)
    if split == "test" and known is not None and list(known) != counts.tolist():
        report.deviations.append(f"test: images a class are {_list(counts)}; published are {_list(known)}")
    if split == "test" and task.majority is not None and abs(majority - task.majority) > 0.051:
        report.deviations.append(f"test: the largest class has {majority:.2f} %; published are {task.majority} %")
    expected, present = CLASSES.get((task.name, split)), int((counts > 0).sum())
    if expected not in (None, present):
        report.deviations.append(f"{split}: {present} classes occur; published are {expected}")


def _histogram(counts: np.ndarray) -> str:
    present = int((counts > 0).sum())
    if len(counts) <= 20:
        return f"images a class {_list(counts)}"
    return f"{present} of {len(counts)} classes, {int(counts.min())} to {int(counts.max())} images each"


def _list(numbers: Iterable[Any]) -> str:
    return " ".join(map(str, numbers))


def _print(report: Report, screen: Screen) -> None:
    lines = [f"  {fact}" for fact in report.facts]
    lines += [f"  UNREADABLE {bad}" for bad in report.unreadable[:NAMED]]
    if len(report.unreadable) > NAMED:
        lines.append(f"  … and {len(report.unreadable) - NAMED} more")
    lines += [f"  DEVIATION {text}" for text in report.deviations]
    lines += [f"  note: {text}" for text in report.notes]
    lines += [] if report.deviations else ["  verified"]
    for line in lines:
        screen.say(line)


def _read(words: Sequence[str], *, must: bool = False) -> tuple[Shelf, list[Source], list[Task]]:
    """The data folder with its sources, those that are asked for, and the tasks that words say; none are all."""
    from ...suites.tasks import tasks
    from ..config import data_folder
    from ..select.tasks import Shelf

    named, config = _read_config(words, OPTIONS)
    if must and not named:
        raise UsageError("say which tasks: `data verify Pets`, or a collection: `data verify vtab`")
    shelf = Shelf(data_folder(config), tasks(), config.include, config.source)
    asked = [source for source in shelf.sources if config.source in (None, source.name)]
    found = _select(shelf, named, config)
    return shelf, asked, list({task.name: task for task in found or shelf.tasks.values()}.values())


def _read_config(words: Sequence[str], only: Sequence[str]) -> tuple[list[str], settings.Config]:
    """The tasks that words name, and the settings."""
    said = [word for word in words if "=" in word]
    config = settings.read(said, verb="`data`", only=only)
    return [*(word for word in words if "=" not in word), *config.task], config


def _select(shelf: Shelf, words: Sequence[str], config: settings.Config) -> list[Task]:
    """The tasks that words stand for. Raises UsageError for those that stand for none."""
    found = each(lambda word: shelf.select(word, config.division, config.division_seed), words)
    return [task for tasks in found for task in tasks]


def _missing(source: Source, task: Task, root: Path) -> str:
    """What a source lacks of a task that it has found, in words; a user's source need not say."""
    missing = getattr(source, "missing", None)
    return missing(task, root, tuple(task.splits)) if missing else ""


def _state(source: Source, task: Task, root: Path) -> tuple[str, str]:
    """How a task stands with a source, and where it is; two empty words where it is not there."""
    where = source.locate(task, root)
    if where is None:
        return "", ""
    missing = _missing(source, task, root)
    if missing:
        return f"incomplete: {missing}", where
    day = _recall(task, source, root)
    return (f"complete, verified {day}" if day else "complete"), where


def _mark(task: Task, source: Source, root: Path) -> Path:
    from ...stable import cache_folder

    place = sha([task.name, source.name, str(source.locate(task, root)), dict(task.splits)])
    return cache_folder() / "verified" / f"{place}.json"


def _remember(task: Task, source: Source, root: Path, digests: dict[str, str]) -> None:
    path = _mark(task, source, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    noted = {"task": task.name, "source": source.name, "day": f"{datetime.now(UTC):%Y-%m-%d}", "digests": digests}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(noted), encoding="utf-8")


def _recall(task: Task, source: Source, root: Path) -> str:
    """The day on which a task was verified here; "" where it was not."""
    try:
        return str(json.loads(_mark(task, source, root).read_text(encoding="utf-8"))["day"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
