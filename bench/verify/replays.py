"""The list of replays of published numbers (replays.csv), what each costs, and what cannot be replayed, and why.

A row of replays.csv is an ordinary run, in words, and the accuracy that was published of it; rows are in the order of
their cost on a CPU. Bytes and minutes are derived, so that they follow the tables of files and models.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from ...meter import human
from ...models.released.table import Release
from ...registry import Registry
from ...results.real import replayed_table
from ...results.tables import Table
from ...results.tables.render import render
from ...suites.protocol import NO_TASK, Task, Work
from ...suites.sources.sets import image_sets
from .. import config as settings
from ..data.prepare import asked
from ..expected.speeds import USUAL
from ..facts import release_bytes

LIST = Path(__file__).with_name("replays.csv")
WEEKLY = "weekly"  # the word for the rows that .github/workflows/real.yml replays


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A run, and the accuracy in percent, as printed, that was published of it; "" where it would be the first."""

    aliases: ClassVar[tuple[str, ...]] = ()
    in_globs: ClassVar[bool] = True

    name: str
    words: tuple[str, ...]
    published: str
    of: str  # "this file", or "its configuration": another training run
    basis: str  # who states it
    weekly: bool

    @property
    def binding(self) -> bool:
        """Whether another result means a mistake."""
        return self.of == "this file"


@cache
def replays() -> Registry[Replay]:
    """The list, the cheapest first."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return Registry(
            "replay",
            [
                Replay(**row | {"words": tuple(shlex.split(row["words"])), "weekly": row["weekly"] == "yes"})  # pyright: ignore[reportArgumentType]
                for row in csv.DictReader(file)
            ],
        )


def chosen(words: Sequence[str]) -> list[Replay]:
    """The replays of these names and globs, in the order of the list; all of them without a word."""
    known = replays()
    rows = list(known.values())
    wanted = [one for word in words if word != WEEKLY for one in known.select(word)]
    wanted += [one for one in rows if one.weekly and WEEKLY in words]
    return [one for one in rows if not words or one in wanted]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a replay needs."""

    releases: tuple[Release, ...]
    sets: tuple[str, ...]  # names of image sets
    tflop: float | None  # None where that of a model is not known
    images: int  # decoded

    @property
    def bytes(self) -> int:
        """The sizes of all files to download, those of images that a person must get left out."""
        files = [file for name in self.sets if name in image_sets() for file in image_sets()[name].downloads]
        return sum(map(release_bytes, self.releases)) + sum(file.size or 0 for file in files)

    @property
    def by_hand(self) -> tuple[str, ...]:
        """The image sets that no program may download."""
        return tuple(name for name in self.sets if name in image_sets() and image_sets()[name].by_hand)

    def minutes(self, device: str) -> float | None:
        flops, decoded = USUAL[device].flops[1], USUAL[device].images
        return None if self.tflop is None else (1e12 * self.tflop / flops + self.images / decoded) / 60


def needed_tasks(config: settings.Config) -> Iterator[tuple[Task, tuple[str, ...], Release | None, Work, float | None]]:
    """Each task of the jobs of a run, with its splits that are read, the release, the work, and the TFLOP."""
    for suite, model, weights, task in asked(config):
        if task is not NO_TASK and not suite.unfit(model, weights, task):
            work = suite.estimate(model, task, weights)
            macs = model.architecture.macs(suite.size(model, weights))
            tflop = None if macs is None else 2 * macs * (work.images + 3 * work.trained) / 1e12
            yield task, suite.splits, weights.release, work, tflop


@cache
def needs_of(replay: Replay) -> Needs:
    """What a replay needs, on this machine or not."""
    parts = list(needed_tasks(settings.read(replay.words)))
    known = [tflop for *_, tflop in parts if tflop is not None]
    return Needs(
        releases=tuple(dict.fromkeys(release for _, _, release, _, _ in parts if release is not None)),
        sets=tuple(dict.fromkeys(task.image_set for task, *_ in parts)),
        tflop=sum(known) if len(known) == len(parts) else None,
        images=sum(work.all for *_, work, _ in parts),
    )


def list_table(rows: Sequence[Replay]) -> Table:
    """The replays with their sizes and times."""
    lines = []
    for row in rows:
        needs = needs_of(row)
        published = f"{row.published} of {row.of}" if row.published else "nothing yet"
        times = (_minutes(needs.minutes(device)) for device in USUAL)
        hand = f"by hand: {', '.join(needs.by_hand)}" if needs.by_hand else ""
        lines.append((row.name, shlex.join(row.words), published, human(needs.bytes), *times, hand))
    stated = dict.fromkeys(f"{row.published}: {row.basis}." for row in rows if row.basis)
    return Table(
        title="Replays of published numbers, the cheapest first",
        columns=("replay", "run", "published, top-1", "download", *USUAL, "needs"),
        rows=tuple(lines),
        labels=3,
        notes=(
            "Minutes or hours expected of "
            + ", and ".join(
                f"a {name} that sustains {speed.flops[1] / 1e12:g} TFLOP/s" for name, speed in USUAL.items()
            )
            + "; what was downloaded or done before costs nothing.",
            *stated,
        ),
    )


def not_replayable_table() -> Table:
    """What is known not to be replayable."""
    with LIST.with_name("not_replayable.csv").open(encoding="utf-8", newline="") as file:
        lines = tuple(map(tuple, csv.reader(file)))
    return Table(title="What cannot be replayed, and why", columns=lines[0], rows=lines[1:], labels=3)


def all_tables(names: Sequence[str] = ()) -> tuple[Table, ...]:
    """The tables of docs/replayed.md; of the list, the rows of these names alone."""
    return replayed_table(), list_table(chosen(names)), not_replayable_table()


def page(tables: Sequence[Table]) -> str:
    """docs/replayed.md: the tables in Markdown."""
    head = "# Replays of published numbers\n\nWritten by `python -m bench verify list real format=github`. "
    head += "[CONTRIBUTING.md](CONTRIBUTING.md) says how to send a replay.\n\n"
    return head + "\n".join(render(table, "github").rstrip("\n") + "\n" for table in tables)


def _minutes(minutes: float | None) -> str:
    if minutes is None:
        return "not known"
    return f"{minutes / 60:,.0f} h" if minutes >= 120 else f"{max(minutes, 1):.0f} min"
