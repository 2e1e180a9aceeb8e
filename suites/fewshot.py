"""Few-shot linear evaluation: regularised least squares to {-1, 1}^K on frozen features, in closed form.

The instrument the ViT paper compares representations with (Section 4.1, Figure 4). Per seed and number of shots:

1. Support set: for each class in order, a permutation of that class's training images drawn from one generator per
   seed (`numpy.random.default_rng(seed)`), of which the first `shots` are taken. So the sets of one seed are nested,
   and equal to those of the authors' public code. A class with fewer images gives what it has.
2. Features are standardised with the support set's mean and std + 1e-5, and a constant feature of 100 is appended, so
   that the intercept is inside the penalty and yet hardly held back by it.
3. Targets are 2 onehot - 1; the solution of  min_W ||X W - T||^2 + l2 ||W||^2  is scored on every test image; argmax.

The derivation of the solver. Write X = [Z, b 1] with Z (N, D) the standardised features, b = 100, and W = [w; v].
Standardising on the very rows that are fitted makes Z'1 = 0, so the normal equations fall apart into

    (Z'Z + l2 I) w = Z'T                 the features' part
    (N b^2 + l2) v = b 1'T               the intercept's part, a division

and the intercept, whose eigenvalue N b^2 would dwarf every other, never enters a factorisation. With N < D the first
is solved in the smaller dual form: w = Z'a, (ZZ' + l2 I) a = T. One symmetric eigendecomposition of the smaller Gram
matrix serves every l2. Forming a Gram matrix squares the condition number; one step of refinement with the residual
taken from Z itself (the "corrected seminormal equations", Björck 1987) gives the lost digits back. All in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..registry import UsageError
from .features import fingerprint
from .metrics import accuracies, majority_rate, top1
from .protocol import Context, Measurement, Suite, Task
from .transforms import Resize

if TYPE_CHECKING:
    import pandas as pd

BIAS = 100.0  # the constant feature
STD_FLOOR = 1e-5  # added to every standard deviation


@dataclass(frozen=True, kw_only=True)
class FewShot(Suite):
    """k-shot linear evaluation on frozen features (ViT paper, Section 4.1), over shots, seeds and l2 in one pass."""

    name: ClassVar[str] = "fewshot"
    version: ClassVar[int] = 1
    inner: ClassVar[tuple[str, ...]] = ("seed", "shots", "l2")
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini", "BiT-mini", "R+ViT-mini")
    default_tasks: ClassVar[str] = "vtab-mini"

    shots: tuple[int, ...] = (1, 5, 10, 25)  # images a class, as in the authors' code; the paper's figures use 5
    seed: tuple[int, ...] = (0, 1, 2)  # support sets drawn
    l2: tuple[float, ...] = (2.0**10,)  # the authors' fixed strength
    resize: Resize = "resize_crop"  # 8/7 of the model's size, then its centre (256, then 224)
    image_size: int | None = None  # pixels; None: the model's own

    def check(self) -> None:
        require_positive(self, shots=self.shots, l2=self.l2)
        if not self.seed or min(self.seed) < 0:
            raise UsageError(f"suite.seed={_words(self.seed)}: seeds are whole numbers from 0 up")
        require_positive(self, image_size=[] if self.image_size is None else [self.image_size])

    def run(self, context: Context) -> Iterator[Measurement]:
        task = context.task
        options = {"resize": self.resize, "image_size": self.image_size}
        pool = context.features(task, ("train", "val"), **options)
        test = context.features(task, ("test",), **options)
        question = {
            **task_question(task),
            "protocol": "ridge probe, few-shot",
            **fingerprint(pool, test),
            "selection": "none: l2 is fixed",
        }
        treatment = {**test.treatment, "head": "ridge to {-1, 1}^K"}
        yield Measurement(
            metric="majority_rate",
            value=majority_rate(test.labels, test.label_sets),
            unit="percent",
            n_test=len(test.labels),
            question=question | {"metric": "majority_rate"},
        )
        for cell in ridge_surface(
            Labelled(pool.x, pool.labels),
            Labelled(test.x, test.labels),
            task.num_classes,
            shots=self.shots,
            seeds=self.seed,
            l2=self.l2,
        ):
            asked = question | {"budget": f"{cell.shots} images a class", "short_classes": cell.short_classes}
            for metric, value in accuracies(cell.predictions, test.labels, test.label_sets):
                yield Measurement(
                    metric=metric,
                    value=value,
                    unit="percent",
                    n_test=len(test.labels),
                    n_train=cell.n_train,
                    at={"seed": cell.seed, "shots": cell.shots, "l2": cell.l2},
                    question=asked | {"metric": metric},
                    treatment=treatment | {"l2": cell.l2},
                    predictions=cell.predictions if metric == "top1" else None,
                )


def ridge_probe(  # noqa: PLR0913  # the public signature, promised
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    num_classes: int,
    shots: Sequence[int] = (1, 5, 10, 25),
    seeds: Sequence[int] = (0, 1, 2),
    l2: Sequence[float] = (2.0**10,),
) -> pd.DataFrame:
    """The closed-form few-shot probe (ViT paper, Section 4.1; the authors' protocol, see the module's head).

    `x_train` (N, D) and `x_test` (M, D) are features, `y_train` (N,) and `y_test` (M,) class numbers from 0 to
    `num_classes` - 1. Returns one row a cell of seeds x shots x l2: seed, shots, l2, n_train, n_test, top1 (percent).
    `ridge_surface` is the generator behind it, which also yields the predictions.

    Raises UsageError for shapes that do not fit, labels out of range, NaN or inf, an empty split, or a seed, shot
    number or l2 out of range.
    """
    import pandas as pd

    train, test = Labelled(np.asarray(x_train), np.asarray(y_train)), Labelled(np.asarray(x_test), np.asarray(y_test))
    cells = ridge_surface(train, test, num_classes, shots=shots, seeds=seeds, l2=l2)
    columns = ["seed", "shots", "l2", "n_train", "n_test", "top1"]
    return pd.DataFrame([[getattr(cell, column) for column in columns] for cell in cells], columns=columns)


@dataclass(frozen=True)
class Labelled:
    """(N, D) features and their (N,) class numbers."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of the surface."""

    seed: int
    shots: int
    l2: float
    n_train: int
    n_test: int
    top1: float  # percent
    predictions: np.ndarray  # (n_test,) int
    short_classes: int  # classes that had fewer images than `shots`


def ridge_surface(  # the axes of the surface
    train: Labelled,
    test: Labelled,
    num_classes: int,
    *,
    shots: Sequence[int],
    seeds: Sequence[int],
    l2: Sequence[float],
) -> Iterator[Cell]:
    """Every cell of seeds x shots x l2, in that order. Raises UsageError as `ridge_probe` says."""
    check_problem(train, test, num_classes)
    lists = all(isinstance(values, Sequence | np.ndarray) and len(values) for values in (shots, seeds, l2))
    whole = lists and all(isinstance(value, int | np.integer) for value in (*shots, *seeds))
    if not whole or min(shots) < 1 or min(seeds) < 0 or not all(0 < value < float("inf") for value in l2):
        raise UsageError(
            f"shots={shots}, seeds={seeds}, l2={l2}: the probe needs a list of at least one of each: "
            "whole shots from 1 up, whole seeds from 0 up and finite l2 above 0"
        )
    for seed in seeds:
        per_class = shuffled_by_class(train.y, num_classes, seed)
        for count in shots:
            chosen = np.concatenate([indices[:count] for indices in per_class])
            ridge = Ridge(train.x[chosen], train.y[chosen], num_classes)
            x_test = ridge.standardise(test.x)
            for strength in l2:
                predictions = ridge.scores(x_test, strength).argmax(axis=1)
                yield Cell(
                    seed=seed,
                    shots=count,
                    l2=strength,
                    n_train=len(chosen),
                    n_test=len(test),
                    top1=top1(predictions, test.y),
                    predictions=predictions,
                    short_classes=sum(len(indices) < count for indices in per_class),
                )


def shuffled_by_class(labels: np.ndarray, num_classes: int, seed: int) -> list[np.ndarray]:
    """Each class's indices into (N,) `labels`, shuffled: classes in order, one generator per seed.

    The first k of every class are the seed's k-shot support set.
    """
    generator = np.random.default_rng(seed)
    return [generator.permutation(np.flatnonzero(labels == c)) for c in range(num_classes)]


class Ridge:
    """The regularised least-squares classifier of one support set, for any l2, after one eigendecomposition.

    `x` is (N, D) raw features, `y` (N,) class numbers. Derivation: the module's head.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, num_classes: int) -> None:
        x = np.asarray(x, dtype=np.float64)
        self._mean = x.mean(axis=0)
        self._scale = x.std(axis=0) + STD_FLOOR
        self._z = self.standardise(x)  # N D, columns of mean zero
        self._targets = np.full((len(y), num_classes), -1.0)  # N K
        self._targets[np.arange(len(y)), y] = 1.0
        self._dual = self._z.shape[0] < self._z.shape[1]
        gram = self._z @ self._z.T if self._dual else self._z.T @ self._z
        eigenvalues, self._vectors = np.linalg.eigh(gram)
        self._eigenvalues = eigenvalues.clip(min=0)

    def standardise(self, x: np.ndarray) -> np.ndarray:
        """(M, D) features in the support set's units."""
        return (np.asarray(x, dtype=np.float64) - self._mean) / self._scale

    def weights(self, l2: float) -> tuple[np.ndarray, np.ndarray]:
        """(D, K) weights on standardised features and the (K,) intercept (100 times the constant feature's weight)."""
        z, targets = self._z, self._targets
        intercept = BIAS**2 * targets.sum(axis=0) / (len(z) * BIAS**2 + l2)
        if self._dual:
            a = self._solve(targets, l2)  # N K
            a += self._solve(targets - z @ (z.T @ a) - l2 * a, l2)
            return z.T @ a, intercept
        w = self._solve(z.T @ targets, l2)  # D K
        w += self._solve(z.T @ (targets - z @ w) - l2 * w, l2)
        return w, intercept

    def _solve(self, right: np.ndarray, l2: float) -> np.ndarray:
        """(G + l2 I)^-1 right, from the eigendecomposition of the Gram matrix G."""
        return self._vectors @ ((self._vectors.T @ right) / (self._eigenvalues + l2)[:, None])

    def scores(self, z_test: np.ndarray, l2: float) -> np.ndarray:
        """(M, K) scores of (M, D) standardised features."""
        w, intercept = self.weights(l2)
        return z_test @ w + intercept


def check_problem(train: Labelled, test: Labelled, num_classes: int) -> None:
    """Raise UsageError where the features and labels make no classification problem."""
    for name, part in (("train", train), ("test", test)):
        if part.x.ndim != 2 or part.y.shape != (len(part.x),):
            raise UsageError(
                f"the {name} split has features of shape {part.x.shape} and labels of shape {part.y.shape}; "
                "expected (N, D) and (N,)"
            )
        if len(part) == 0:
            raise UsageError(f"the {name} split is empty")
        if not np.issubdtype(part.y.dtype, np.integer):
            raise UsageError(f"the {name} labels are {part.y.dtype}; expected whole class numbers")
        if part.y.min() < 0 or part.y.max() >= num_classes:
            raise UsageError(
                f"the {name} labels run from {part.y.min()} to {part.y.max()}; expected 0 to {num_classes - 1}"
            )
        finite = np.isfinite(part.x).all(axis=1)
        if not finite.all():
            raise UsageError(f"the {name} features hold NaN or inf, first in row {int(np.argmin(finite))}")
    if train.x.shape[1] != test.x.shape[1]:
        raise UsageError(f"train features have {train.x.shape[1]} columns, test features {test.x.shape[1]}")
    if len(np.unique(train.y)) < 2:
        raise UsageError("the train split holds a single class; there is nothing to tell apart")


def task_question(task: Task) -> dict[str, object]:
    """What every accuracy on a task has in common, whatever the model."""
    return {"task": task.name, "label": task.label, "num_classes": task.num_classes, "skipped": 0}


def require_positive(suite: Suite, **fields: Sequence[float]) -> None:
    """Raise UsageError for a setting of the suite that holds a number which is not above 0."""
    for field, values in fields.items():
        if any(not 0 < value < float("inf") for value in values):
            raise UsageError(f"suite.{field}={_words(values)}: {suite.name} needs finite numbers above 0")


def _words(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)


FEWSHOT = FewShot()
