"""Finds out why a released file does not score what was published: changes each link alone, and scores it again.

A link is one step from an image to its score. Where the best single change does not reach the published number, the
other links are changed in addition to it.

These changes need forward passes: another normalisation, BGR for RGB, another way to resize, another resolution, and
the images of other splits. They run on a fixed random sample of the test images, at most half of them. The accuracy on
the whole test set is estimated as the measured accuracy plus the difference on the sample. The best of many changes
comes near the published number by chance, too, so it is scored once more, on other images of the same split, and named
only if it comes nearer on these: with nothing to find that is one search in 40. Another order of the labels needs no
pass: it is found from the predictions (suites/heads/label_order.py). Where no change comes near the published accuracy
and the head scores no better than chance, a probe on the features says whether only the head is wrong or the backbone,
too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...registry import UsageError
from ...results.comparison.agreement import Stated
from ...suites.fewshot import ridge_probe
from ...suites.heads.label_order import best_renaming, random_halves
from ...suites.images.decoded import chosen_rows
from ...suites.images.features import extract
from ...suites.images.transforms import Transform, View
from ...suites.metrics import top1
from ...suites.protocol import Features
from ..context import JobContext
from ..job import Job

SAMPLE = 2000  # number of images that every change is scored on
CONFIRMING = 4  # times as many other images, where there are, that the best change is scored on once more
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
SHARES = (0.5, 0.75, 1.5, 2.0)  # of the image size, where it is none of SIZES
MOST = 100_000  # images of another split, which are all decoded for its digest
PROBE_L2 = tuple(2.0**power for power in (-4, 2, 6, 10))
LEAST = 1 / 3  # of the distance to the published number, which a change must close to be named
ALIKE = 90.0  # percent of the images with the same prediction


@dataclass(frozen=True, kw_only=True)
class Change:
    """One changed link, and the estimated accuracy with it on all test images."""

    link: str  # normalisation, channel order, resize, resolution, label order, split
    words: str
    top1: float  # percent
    noise: float  # one standard error
    view: View | None = None  # how images are fed, where the change is one of these
    split: str = ""  # of which images, where they are others

    def distance(self, stated: Stated) -> float:
        return abs(self.top1 - stated.value)

    def reaches(self, stated: Stated) -> bool:
        """Whether the published number is within two standard errors."""
        low, high = stated.interval()
        return low - 2 * self.noise <= self.top1 <= high + 2 * self.noise


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The link to suspect, "" where no change explains the difference, and why."""

    link: str
    words: str


def diagnose(
    context: JobContext, view: View, stated: Stated, *, sample: int = SAMPLE, precision: Any = "fp32"
) -> Diagnosis:
    """The link whose change brings the accuracy nearest to the published one, where other images confirm that.

    `view` is how images were fed.
    """
    search = _Search(context, view, sample, precision)
    changes = sorted(search.changes(), key=lambda change: change.distance(stated))
    best = changes[0] if changes else None
    if best is not None and best.view is not None and not best.reaches(stated):
        changes = sorted([*changes, *search.on_top_of(best)], key=lambda change: change.distance(stated))
        best = changes[0]
    distance = abs(search.measured - stated.value)
    where = f"published {stated.text}, measured {search.measured:.2f}"
    confirmed = None
    if best is not None and distance - best.distance(stated) > distance * LEAST:
        confirmed = search.confirm(best)
        gained = distance - confirmed.distance(stated)
        reaches = confirmed.reaches(stated)
        if gained > max(2 * confirmed.noise, distance * LEAST) and (reaches or not search.head_is_blind):
            single = [change for change in changes if " and " not in change.link]
            also = [change for change in single if reaches and change.reaches(stated) and change.link != best.link]
            more = f"; as near, not confirmed: {', '.join(map(_describe, also[:2]))}" if also else ""
            part = "" if reaches else ", which explains a part of it"
            words = f"{confirmed.words} it is {confirmed.top1:.2f} ± {confirmed.noise:.2f} ({where}){part}{more}"
            return Diagnosis(link=best.link, words=words)
    if search.head_is_blind and search.measured < stated.value:
        return search.blame(where)
    tried = ", ".join(dict.fromkeys(change.link for change in changes))
    nearest = f"; the nearest is {_describe(best)}" if best is not None else ""
    nearest += f", and on other images {confirmed.top1:.2f} ± {confirmed.noise:.2f}" if confirmed is not None else ""
    words = f"no single change explains it ({where}). Tried on {search.size} images: {tried}{nearest}"
    return Diagnosis(link="", words=words)


def _describe(change: Change) -> str:
    return f"{change.link}, {change.words} {change.top1:.2f} ± {change.noise:.2f}"


class _Search:
    """Scores changes of one job on one sample of its test images."""

    def __init__(self, context: JobContext, view: View, sample: int, precision: Any) -> None:
        self._context, self._view, self._precision = context, view, precision
        self._whole = context.logits(context.task, "test", view, precision=precision)
        self._predictions = self._whole.x.argmax(axis=1)
        self._classes = context.task.num_classes
        labels = self._whole.labels
        self._probed = _samples(len(labels), min(sample, len(labels)))[0]
        self.size = min(sample, len(labels) // 2)
        self._rows, self._others = _samples(len(labels), self.size)
        self.measured = top1(self._predictions, labels, self._whole.label_sets)
        self._correct = _correct(self._predictions, self._whole)

    def changes(self) -> Iterator[Change]:
        """Every change that can be tried, scored."""
        yield from self._label_order()
        yield from self._feeding(self._view)
        yield from self._other_splits()

    def on_top_of(self, first: Change) -> Iterator[Change]:
        """Every other link changed in addition to the first change, scored."""
        assert first.view is not None
        for change in self._feeding(first.view):
            if change.link != first.link:
                words = f"{first.words.rstrip(',')}, and {change.words}"
                yield replace(change, link=f"{first.link} and {change.link}", words=words)

    def confirm(self, change: Change) -> Change:
        """The change, scored on images that it was not found on."""
        if change.view is not None:
            top, noise = self._fed(change.view, self._others)
        elif change.link == "split":
            top, noise = self._of_split(change.split, confirming=True)
        else:  # a renaming is always scored on images that it was not fitted on
            return change
        return replace(change, top1=top, noise=noise)

    def _feeding(self, view: View) -> Iterator[Change]:
        for link, words, changed in alternatives(self._context.transform(view)):
            fed = changed.over(view)
            self._context.advance(0, f"{link} {words.rstrip(',')}")
            try:
                top, noise = self._fed(fed, self._rows)
            except UsageError:  # a network that takes one image size only
                continue
            yield Change(link=link, words=words, top1=top, noise=noise, view=fed)

    def _fed(self, view: View, rows: np.ndarray) -> tuple[float, float]:
        """The estimated accuracy on all test images if they were fed so, from those in `rows`, and its noise."""
        logits = self._context.logits(self._context.task, "test", view, precision=self._precision, rows=rows)
        gain = _correct(logits.x.argmax(axis=1), logits).astype(float) - self._correct[rows]
        return self.measured + 100 * float(gain.mean()), 100 * float(gain.std()) / len(gain) ** 0.5

    def _label_order(self) -> Iterator[Change]:
        renaming = best_renaming(self._predictions, self._whole.labels, self._classes, self._whole.label_sets)
        if renaming.clear:
            words = f"with the head's classes in another order ({renaming.words})"
            yield Change(link="label order", words=words, top1=renaming.after, noise=renaming.noise)

    def _other_splits(self) -> Iterator[Change]:
        task = self._context.task
        for split in ("val", "train"):
            if 1 < task.splits.get(split, 0) <= MOST and self._context.has(task, split):
                top, noise = self._of_split(split)
                yield Change(link="split", words=f"on the {split} images", top1=top, noise=noise, split=split)

    def _of_split(self, split: str, *, confirming: bool = False) -> tuple[float, float]:
        """The accuracy on a sample of another split, or on other images of it, and its noise."""
        task = self._context.task
        count = task.splits[split]
        rows = _samples(count, min(self.size, count // 2))[confirming]
        logits = self._context.logits(task, split, self._view, precision=self._precision, rows=rows)
        correct = _correct(logits.x.argmax(axis=1), logits)
        return 100 * float(correct.mean()), 100 * float(correct.std()) / len(correct) ** 0.5

    @property
    def head_is_blind(self) -> bool:
        """Whether the head scores about chance or predicts nearly always the same class."""
        chance = 100 / self._classes
        noise = 100 * (chance / 100 * (1 - chance / 100) / len(self._predictions)) ** 0.5
        return self.measured < 2 * chance + 3 * noise or self._same > ALIKE

    @property
    def _same(self) -> float:
        return 100 * float(np.bincount(self._predictions).max()) / len(self._predictions)

    def blame(self, where: str) -> Diagnosis:
        """The link to suspect, "head" or "weights", and why: a probe on the features of the sample tells them apart."""
        network, transform = self._context.network_for(self._view)
        split = chosen_rows(self._context.images(self._context.task, "test"), self._probed)
        x = extract(network, split.images, transform, batch_size=self._context.batch_size)
        y = split.labels
        fit, check = random_halves(len(y))
        probed = ridge_probe(x[fit], y[fit], x[check], y[check], self._classes, (len(fit),), (0,), PROBE_L2)
        score = probed["top1"].max()
        always = f", and {self._same:.0f} % of the answers are one class" if self._same > ALIKE else ""
        if score > 2 * self.measured + 5:
            words = (
                f"the head scores about chance{always}, while a probe on {len(fit)} images' features before it scores "
                f"{score:.1f} % ({where}): the head is not of these classes, or not of these features"
            )
            return Diagnosis(link="head", words=words)
        words = (
            f"the head scores about chance{always}, and a probe on {len(fit)} images' features {score:.1f} % "
            f"({where}): what is before the head is wrong, too"
        )
        return Diagnosis(link="weights", words=words)


def most_images(job: Job, sample: int) -> int:
    """About as many images as a search passes through the network, at most: for the progress display."""
    tests = job.task.splits["test"]
    feedings = len(NORMALISATIONS) + len(RESIZES) + len(SIZES) + 3
    return tests + min(sample, tests // 2) * (2 * feedings + CONFIRMING + 2)


def alternatives(base: Transform) -> Iterator[tuple[str, str, View]]:
    """The link, a description and the view of every other way to feed images than `base`."""
    for name, (mean, std) in NORMALISATIONS.items():
        if (mean, std) != (base.mean, base.std):
            yield "normalisation", f"with {name}", View(mean=mean, std=std)
    yield "channel order", "with blue, green, red for red, green, blue", View(bgr=not base.bgr)
    for name, fields in RESIZES.items():
        same_cut = fields["resize"] == "square" or fields["crop_pct"] == (base.crop_pct or 0.875)
        if fields["resize"] != base.resize or not same_cut:
            yield "resize", f"resized {name},", View(**fields)
    other = "bilinear" if base.interpolation == "bicubic" else "bicubic"
    yield "resize", f"resized {other},", View(interpolation=other)
    smooth = View(antialias=not base.antialias, rounding="none" if base.rounding == "pillow" else None)
    yield "resize", f"resized with{'out' if base.antialias else ''} antialiasing", smooth
    side = base.size[0]
    sizes = SIZES if side in SIZES else tuple(round(side * share) for share in SHARES)
    for size in sizes:
        if size != side and 0.4 <= size / side <= 2.5:
            yield "resolution", f"at {size} pixels", View(image_size=size)


def _samples(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """`size` of the row numbers 0 to `count` - 1, and others to confirm on, sorted; the same at every call."""
    mixed = np.random.default_rng(0).permutation(count)
    return np.sort(mixed[:size]), np.sort(mixed[size : (1 + CONFIRMING) * size])


def _correct(predictions: np.ndarray, logits: Features) -> np.ndarray:
    if logits.label_sets is None:
        return predictions == logits.labels
    return np.array([label in classes for label, classes in zip(predictions.tolist(), logits.label_sets, strict=True)])
