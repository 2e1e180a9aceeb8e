"""The mean difference of two sides over a group of tasks, such as VTAB's natural ones, with its interval and p."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..statistics import Difference
from ..tables.table import GROUP_SIZES, GROUPS

Z = 1.959964  # half the width of a normal 95 % interval, in standard errors
METHOD = "mean over tasks"
ALL = "all"  # the group of all tasks of a suite


@dataclass(frozen=True, kw_only=True)
class CellDifference:
    """The difference of two sides in one cell, and what the mean over a group needs to know of the cell."""

    suite: str
    metric: str
    task: str
    group: str
    images: str  # the digest of the test images, "" if unknown
    unit: str
    difference: Difference


@dataclass(frozen=True, kw_only=True)
class GroupMean:
    """The mean over the tasks of a group of A - B; `p` is corrected (Holm). Without one, `why` is "7/19" tasks, say."""

    suite: str
    metric: str
    group: str
    members: tuple[int, ...]  # which of the cells are of the group
    difference: Difference | None
    why: str = ""
    p: float | None = None
    verdict: str = ""


def group_means(cells: Sequence[CellDifference]) -> list[GroupMean]:
    """For each suite and metric the mean of each group of tasks and of all; none unless every task of it is there."""
    by_suite: dict[tuple[str, str], list[int]] = {}
    for i, cell in enumerate(cells):
        by_suite.setdefault((cell.suite, cell.metric), []).append(i)
    means = []
    for (suite, metric), found in by_suite.items():
        sizes = GROUP_SIZES.get(suite, {})
        groups = {group: [i for i in found if cells[i].group == group] for group in GROUPS if group in sizes}
        groups = {group: members for group, members in groups.items() if members} | {ALL: found}
        for group, members in groups.items():
            size = sum(sizes.values()) if group == ALL else sizes[group]
            mean = _mean([cells[i] for i in members], size)
            difference, why = (None, mean) if isinstance(mean, str) else (mean, "")
            means.append(
                GroupMean(
                    suite=suite, metric=metric, group=group, members=tuple(members), difference=difference, why=why
                )
            )
    return means


def _mean(cells: Sequence[CellDifference], size: int) -> Difference | str:
    """The mean over tasks of A - B, in percentage points; or why there is none, such as "7/19" tasks."""
    tasks = {cell.task: 0 for cell in cells}
    if not size or any(cell.unit != "percent" for cell in cells):
        return ""
    if len(tasks) != size:
        return f"{len(tasks)}/{size}"
    for cell in cells:
        tasks[cell.task] += 1
    if len(set(tasks.values())) != 1:
        return "uneven"
    if len(cells) > len(tasks):  # several models or settings are not independent
        value = sum(cell.difference.value for cell in cells) / len(cells)
        return Difference(value, float("nan"), float("nan"), None, METHOD)
    weights = {i: 1 / len(cells) for i in range(len(cells))}
    return weighted_mean([(cell.difference, cell.images) for cell in cells], weights)


def weighted_mean(differences: Sequence[tuple[Difference, str]], weights: Mapping[int, float]) -> Difference:
    """The mean, by these weights, of differences (one a task, with the digest of its images), its interval and p.

    Tasks on different images are independent, so their variances add. The errors of tasks on the same images (dSprites'
    location and orientation) are correlated, to an unknown degree; they are taken as fully correlated, so their
    standard errors add and the interval is never too narrow. Student's t, Satterthwaite's (1946) degrees of freedom.
    Without a test of every task there is none of the mean.
    """
    from scipy.special import stdtr, stdtrit

    value = sum(weights[i] * difference.value for i, (difference, _) in enumerate(differences))
    by_images: dict[str, tuple[float, float]] = {}
    for i, (difference, images) in enumerate(differences):
        name = images or f"unknown {i}"
        error, freedom = by_images.get(name, (0.0, float("inf")))
        by_images[name] = error + weights[i] * error_of(difference), min(freedom, difference.freedom)
    variance = sum(error**2 for error, _ in by_images.values())
    if variance == value == 0:  # no difference anywhere
        return Difference(0.0, 0.0, 0.0, 1.0, METHOD)
    if not variance > 0:
        return Difference(value, float("nan"), float("nan"), None, METHOD)
    freedom = variance**2 / (sum(error**4 / freedom for error, freedom in by_images.values()) or float("nan"))
    freedom = freedom if freedom == freedom else float("inf")
    error = variance**0.5
    half, p = float(stdtrit(freedom, 0.975)) * error, 2 * float(stdtr(freedom, -abs(value) / error))
    these_weights = any(difference.these_weights for difference, _ in differences)
    low, high = value - half, value + half
    return Difference(value, low, high, p, METHOD, error, freedom, these_weights=these_weights)


def error_of(difference: Difference) -> float:
    """The standard error of a difference: its own, or for want of one that of a normal 95 % interval; NaN without."""
    return difference.error if difference.error == difference.error else (difference.high - difference.low) / 2 / Z


def p_equivalent(difference: Difference, margin: float) -> float | None:
    """Two-sided p, as of `p_worse_by`, against A and B being at least `margin` apart (TOST, Schuirmann 1987).

    None where no answers differ: how far they might is then not known.
    """
    known = error_of(difference) > 0
    return p_worse_by(replace(difference, value=abs(difference.value)), -margin) if known else None


def p_worse_by(difference: Difference, margin: float) -> float | None:
    """Two-sided p, half of a one-sided test's alpha on each side, against A being worse than B by at most `margin`."""
    from scipy.special import stdtr

    error = error_of(difference)
    if difference.p is None or not error >= 0:
        return None
    beyond = difference.value + margin
    if not error:
        return 0.0 if beyond < 0 else 1.0
    return min(1.0, 2 * float(stdtr(difference.freedom, beyond / error)))
