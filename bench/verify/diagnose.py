"""Why a released file does not score what was published: each link of the chain changed alone, and scored again.

Where the best change does not reach the published number, the other links are changed on top of it.

Forward passes on a sample of the test images, drawn at random but always the same ones: another normalisation, the
colours the other way round, another way to resize, another resolution; and the images of other splits. What a change
would make of the whole test set is estimated as the measured accuracy plus the change on the sample, on the same
images. Without any pass, from the answers that are there: another order of the labels (suites/heads/label_order.py).
Where nothing brings the accuracy near the published one and the head scores no better than chance, a probe on the same
features says whether the head alone is wrong, or what is before it, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...registry import UsageError
from ...results.comparison.agreement import Stated
from ...suites.fewshot import ridge_probe
from ...suites.heads.label_order import best_renaming, random_halves
from ...suites.images.decoded import chosen_rows
from ...suites.images.features import extract
from ...suites.images.transforms import Transform, View
from ...suites.metrics import top1
from ..context import JobContext

if TYPE_CHECKING:
    from ...suites.protocol import Features

SAMPLE = 2000  # images that every change is scored on
NORMALISATIONS = {
    "RGB in [-1, 1]": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "RGB in [0, 1]": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "RGB in [0, 255]": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
RESIZES: dict[str, dict[str, Any]] = {
    "straight to a square": {"resize": "square"},
    "shorter side to 8/7, then the centre": {"resize": "shorter_crop", "crop_pct": 0.875},
    "shorter side, then the centre": {"resize": "shorter_crop", "crop_pct": 1.0},
    "square of 8/7, then the centre": {"resize": "resize_crop", "crop_pct": 0.875},
}
SIZES = (128, 160, 224, 384, 448, 480)  # pixels that the releases, their papers and timm test at
SHARES = (0.5, 0.75, 1.5, 2.0)  # of the size, where it is none of those
MOST = 100_000  # images of another split: all are decoded once, to know them again
PROBE_L2 = tuple(2.0**power for power in (-4, 2, 6, 10))
LEAST = 1 / 3  # of the distance to the published number that a change must close to be spoken of
ALIKE = 90.0  # percent of the images with one and the same answer


@dataclass(frozen=True, kw_only=True)
class Change:
    """One link of the chain changed, and what accuracy it makes likely on all test images."""

    link: str  # normalisation, channel order, resize, resolution, label order, split
    words: str
    top1: float  # percent
    noise: float  # one standard error
    view: View | None = None  # how images were fed, where that is what was changed

    def far(self, stated: float) -> float:
        return abs(self.top1 - stated)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found: the link to suspect ("" where none was), and all that was tried, the nearest first."""

    link: str
    words: str
    changes: tuple[Change, ...]


def diagnose(
    context: JobContext, view: View, stated: Stated, *, sample: int = SAMPLE, precision: Any = "fp32"
) -> Diagnosis:
    """The link whose change brings the accuracy nearest to the published one. `view` is how images were fed."""
    job = _Search(context, view, sample, precision)
    changes = sorted(job.changes(), key=lambda change: change.far(stated.value))
    best = changes[0] if changes else None
    if best is not None and best.view is not None and not stated.interval()[0] <= best.top1 <= stated.interval()[1]:
        changes = sorted([*changes, *job.on_top_of(best)], key=lambda change: change.far(stated.value))
        best = changes[0]
    away = abs(job.measured - stated.value)
    gained = 0.0 if best is None else away - best.far(stated.value)
    low, high = stated.interval()
    where = f"published {stated.text}, measured {job.measured:.2f}"
    if best is not None and gained > max(2 * best.noise, away * LEAST):
        reaches = low - 2 * best.noise <= best.top1 <= high + 2 * best.noise
        if reaches or not job.head_is_blind:
            single = [one for one in changes if " and " not in one.link]
            also = [one for one in single if reaches and low <= one.top1 <= high and one.link != best.link]
            more = f"; as near: {', '.join(_told(one) for one in also[:2])}" if also else ""
            part = "" if reaches else ", which explains a part of it"
            words = f"{best.words} it is {best.top1:.2f} ± {best.noise:.2f} ({where}){part}{more}"
            return Diagnosis(link=best.link, words=words, changes=tuple(changes))
    if job.head_is_blind and job.measured < stated.value:
        link, words = job.blame(where)
        return Diagnosis(link=link, words=words, changes=tuple(changes))
    tried = ", ".join(dict.fromkeys(change.link for change in changes))
    nearest = f"; the nearest is {_told(best)}" if best is not None else ""
    words = f"no single change explains it ({where}). Tried on {job.size} images: {tried}{nearest}"
    return Diagnosis(link="", words=words, changes=tuple(changes))


def _told(change: Change) -> str:
    return f"{change.link}, {change.words} {change.top1:.2f} ± {change.noise:.2f}"


class _Search:
    """The changes of one job, scored on one sample."""

    def __init__(self, context: JobContext, view: View, sample: int, precision: Any) -> None:
        self._context, self._view, self._precision = context, view, precision
        self._whole = context.logits(context.task, "test", view, precision=precision)
        self._answers = self._whole.x.argmax(axis=1)
        self._classes = context.task.num_classes
        labels = self._whole.labels
        self.size = min(sample, len(labels))
        self._rows = _drawn(len(labels), self.size)
        self.measured = top1(self._answers, labels, self._whole.label_sets)
        self._right = _right(self._answers[self._rows], _part(self._whole, self._rows))

    def changes(self) -> Iterator[Change]:
        """Every change that can be tried, scored."""
        yield from self._label_order()
        yield from self._fed_otherwise(self._view)
        yield from self._other_splits()

    def on_top_of(self, first: Change) -> Iterator[Change]:
        """Each other link changed together with that of the first change, where the two do better than it alone."""
        assert first.view is not None
        for one in self._fed_otherwise(first.view):
            if one.link != first.link:
                words = f"{first.words.rstrip(',')}, and {one.words}"
                yield replace(one, link=f"{first.link} and {one.link}", words=words)

    def _fed_otherwise(self, view: View) -> Iterator[Change]:
        for link, words, changed in alternatives(self._context.transform(view)):
            fed = changed.over(view)
            try:
                said = self._context.logits(self._context.task, "test", fed, precision=self._precision, rows=self._rows)
            except UsageError:  # a network that is built for one size and no other
                continue
            gain = _right(said.x.argmax(axis=1), said).astype(float) - self._right
            noise = 100 * float(gain.std()) / len(gain) ** 0.5
            top = self.measured + 100 * float(gain.mean())
            yield Change(link=link, words=words, top1=top, noise=noise, view=fed)

    def _label_order(self) -> Iterator[Change]:
        found = best_renaming(self._answers, self._whole.labels, self._classes, self._whole.label_sets)
        if found.clear:
            words = f"with the head's classes in another order ({found.words})"
            yield Change(link="label order", words=words, top1=found.after, noise=found.noise)

    def _other_splits(self) -> Iterator[Change]:
        task = self._context.task
        for split in ("val", "train"):
            count = task.splits.get(split, 0)
            if not 0 < count <= MOST or not self._context.has(task, split):
                continue
            rows = _drawn(count, min(self.size, count))
            said = self._context.logits(task, split, self._view, precision=self._precision, rows=rows)
            right = _right(said.x.argmax(axis=1), said)
            noise = 100 * float(right.std()) / len(right) ** 0.5
            yield Change(link="split", words=f"on the {split} images", top1=100 * float(right.mean()), noise=noise)

    @property
    def head_is_blind(self) -> bool:
        """Whether the head does not see what it should: about chance, or nearly always the same answer."""
        chance = 100 / self._classes
        noise = 100 * (chance / 100 * (1 - chance / 100) / len(self._answers)) ** 0.5
        return self.measured < 2 * chance + 3 * noise or self._same > ALIKE

    @property
    def _same(self) -> float:
        return 100 * float(np.bincount(self._answers).max()) / len(self._answers)

    def blame(self, where: str) -> tuple[str, str]:
        """Head, or backbone: whether a probe on the features of the sample sees what the head does not."""
        network, transform = self._context.seen_through(self._view)
        split = chosen_rows(self._context.images(self._context.task, "test"), self._rows)
        x = extract(network, split.images, transform, batch_size=self._context.batch_size)
        y = split.labels
        fit, check = random_halves(len(y))
        seen = ridge_probe(x[fit], y[fit], x[check], y[check], self._classes, (len(fit),), (0,), PROBE_L2)["top1"].max()
        always = f", and {self._same:.0f} % of the answers are one class" if self._same > ALIKE else ""
        if seen > 2 * self.measured + 5:
            return "head", (
                f"the head scores about chance{always}, while a probe on {len(fit)} images' features before it scores "
                f"{seen:.1f} % ({where}): the head is not of these classes, or not of these features"
            )
        return "weights", (
            f"the head scores about chance{always}, and a probe on {len(fit)} images' features {seen:.1f} % ({where}): "
            "what is before the head is wrong, too"
        )


def alternatives(base: Transform) -> Iterator[tuple[str, str, View]]:
    """The link, in words, and the view of every change of how images are fed; none that is as it was."""
    for name, (mean, std) in NORMALISATIONS.items():
        if (mean, std) != (base.mean, base.std):
            yield "normalisation", f"with {name}", View(mean=mean, std=std)
    yield "channel order", "with blue, green, red for red, green, blue", View(bgr=not base.bgr)
    for name, said in RESIZES.items():
        same_cut = said["resize"] == "square" or said["crop_pct"] == (base.crop_pct or 0.875)
        if said["resize"] != base.resize or not same_cut:
            yield "resize", f"resized {name},", View(**said)
    other = "bilinear" if base.interpolation == "bicubic" else "bicubic"
    yield "resize", f"resized {other},", View(interpolation=other)
    yield "resize", f"resized with{'out' if base.antialias else ''} antialiasing", View(antialias=not base.antialias)
    side = base.size[0]
    sizes = SIZES if side in SIZES else tuple(round(side * share) for share in SHARES)
    for size in sizes:
        if size != side and 0.4 <= size / side <= 2.5:
            yield "resolution", f"at {size} pixels", View(image_size=size)


def _drawn(count: int, size: int) -> np.ndarray:
    """`size` numbers below `count`, in order, the same at every call."""
    return np.sort(np.random.default_rng(0).permutation(count)[:size])


def _right(answers: np.ndarray, said: Features) -> np.ndarray:
    if said.label_sets is None:
        return answers == said.labels
    return np.array([answer in classes for answer, classes in zip(answers.tolist(), said.label_sets, strict=True)])


def _part(said: Features, rows: np.ndarray) -> Any:
    sets = said.label_sets
    return replace(
        said,
        x=said.x[rows],
        labels=said.labels[rows],
        label_sets=None if sets is None else tuple(sets[row] for row in rows),
    )
