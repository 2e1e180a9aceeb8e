"""How often a diagnosis of a published number names a link, by simulation: where there is no reason, and where one is.

`pytest -s tests/statistics --slow` prints the shares with their Monte-Carlo errors.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vit_bench.bench.verify import diagnose
from vit_bench.results.comparison.agreement import Stated
from vit_bench.suites.images.transforms import View
from vit_bench.suites.protocol import Features

IMAGES, CLASSES = 12_000, 10
RIGHT = 0.85
MOVED = 0.10  # of the images, whose answer a change turns from right to wrong or back
AWAY = 1.5  # percentage points from the measured to the published accuracy
CAUSE = 64  # the image size that stands for the true cause


class Simulated:
    """A context whose network is right on 85 % of the images, and otherwise on some of them when it is fed otherwise.

    Every other way to feed changes nothing on average, but for an image size of CAUSE, which explains what is missing.
    """

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.task: Any = SimpleNamespace(num_classes=CLASSES, splits={})
        self._seed = seed
        self._labels = random.integers(0, CLASSES, IMAGES)
        self._right = random.random(IMAGES) < RIGHT
        self._wrong = (self._labels + random.integers(1, CLASSES, IMAGES)) % CLASSES
        self.measured = 100 * float(self._right.mean())

    def transform(self, view: View) -> View:
        return view

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None: ...

    def logits(self, task: Any, split: str, view: View, *, precision: Any, rows: Any = None) -> Features:  # noqa: ARG002
        right = self._right
        if view != View():
            random = np.random.default_rng([self._seed, view.image_size or 0])
            gain = AWAY / 100 if view.image_size == CAUSE else 0.0
            up, down = (MOVED + gain) / 2 / (1 - RIGHT), (MOVED - gain) / 2 / RIGHT
            right = right ^ (random.random(IMAGES) < np.where(right, down, up))
        rows = np.arange(IMAGES) if rows is None else rows
        answers = np.where(right, self._labels, self._wrong)[rows]
        return Features(x=np.eye(CLASSES)[answers], labels=self._labels[rows], digests=(), treatment={})


def share_named(monkeypatch: pytest.MonkeyPatch, changes: int, rounds: int, *, cause: bool) -> float:
    """The share of diagnoses that name a link, or, where there is a `cause`, this link."""
    sizes = [*((CAUSE,) if cause else ()), *range(100, 100 + changes - cause)]
    links = [(f"link {size}", "so", View(image_size=size)) for size in sizes]
    monkeypatch.setattr(diagnose, "alternatives", lambda _: iter(links))
    named = 0
    for seed in range(rounds):
        context: Any = Simulated(seed)
        stated = Stated(text=f"{context.measured + AWAY:.2f}", n=IMAGES)
        found = diagnose.diagnose(context, View(), stated).link
        named += f"link {CAUSE}" in found.split(" and ") if cause else bool(found)
    share = named / rounds
    error = math.sqrt(max(share * (1 - share), 1 / rounds) / rounds)
    what = "the true one" if cause else "a link without a cause"
    print(f"diagnosis among {changes} changes names {what} in {share:.1%} ± {error:.1%}")  # noqa: T201
    return share


def check(monkeypatch: pytest.MonkeyPatch, changes: int, rounds: int) -> None:
    error = math.sqrt(0.05 * 0.95 / rounds)
    assert share_named(monkeypatch, changes, rounds, cause=False) <= 0.05 + 2 * error
    assert share_named(monkeypatch, changes, rounds, cause=True) >= 0.5


@pytest.mark.parametrize("changes", [5, 12])
def test_a_link_is_named_for_a_reason(changes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, changes, 15)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [5, 12])
def test_links_at_length(changes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, changes, 1000)
