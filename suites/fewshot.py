"""Few-shot evaluation of frozen features: the closed-form ridge probe of the ViT paper, and two other people's probes.

The instrument the ViT paper compares representations with (Section 4.1, Figure 4). Per seed and number of shots:

1. Support set: for each class in order, a permutation of that class's training images drawn from one generator per
   seed (`numpy.random.default_rng(seed)`), of which the first `shots` are taken. So the sets of one seed are nested,
   and equal to those of the authors' public code. A class with fewer images gives what it has; records say how many
   classes did. The images are drawn from the full training split of the task (VTAB-1k: all 1000), or with `pool=N`
   from its first N images (the authors' ImageNet: 65000).
2. Features are standardised with the support set's mean and std + 1e-5, and a constant feature of 100 is appended, so
   that the intercept is inside the penalty and yet hardly held back by it.
3. Targets are 2 onehot - 1; the solution of  min_W ||X W - T||^2 + l2 ||W||^2  is scored on every test image; argmax.
   suites/probes/ridge.py has the derivation and says how every decision comes to be that of float64.

`top1` is the accuracy at each l2 of the list, the authors' rule at their 2^10. With several, `top1_val_l2` is that of
the l2 which is best on the validation images when fitted on as many images a class of the training images apart from
them (ties: the largest l2), and `top1_oracle_l2` that of the l2 which is best on the test images: an upper bound that
shows what the choice of l2 costs, and never a result. The same for `mean_per_class`.

`draws=10000` tells how much of a few-shot accuracy is luck of the draw: the same for support sets 0 to 9999, of which
the first three are the usual seeds. Its `top1_draws_mean`, `_std` and quantiles are records, each draw's accuracy is an
array beside them.

`protocol=knn` and `protocol=logistic` ask the same support sets in two other usual ways: suites/probes/knn.py and
suites/probes/logistic.py. Shots of 0 stand for every image of the pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..registry import UsageError
from .images.features import fingerprint
from .images.transforms import Resize
from .metrics import LabelSets, accuracies, majority_rate
from .probes.knn import Neighbours
from .probes.logistic import Logistics
from .probes.ridge import Ridges
from .probes.support import ALL, Cell, Classifier, Labelled, check_problem, draw_supports, surface
from .protocol import Context, Features, Measurement, Precision, Suite, require_positive, task_question

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)


@dataclass(frozen=True, kw_only=True)
class FewShot(Suite):
    """k-shot linear evaluation on frozen features (ViT paper, Section 4.1), over shots, seeds and l2 in one pass."""

    name: ClassVar[str] = "fewshot"
    version: ClassVar[int] = 1
    inner: ClassVar[tuple[str, ...]] = ("seed", "shots", "l2")
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini", "BiT-mini", "R+ViT-mini")
    default_tasks: ClassVar[str] = "vtab-mini"
    data_parallel: ClassVar[bool] = True

    protocol: Literal["ridge", "knn", "logistic"] = "ridge"  # the paper's probe; neighbours; logistic regression
    shots: tuple[int, ...] = (1, 5, 10, 25)  # images a class; the paper's figures use 5; 0: all images
    seed: tuple[int, ...] = (0, 1, 2)  # support sets drawn
    l2: tuple[float, ...] = (2.0**10,)  # ridge: the authors' fixed strength
    draws: int = 0  # support sets for the distribution of the accuracy; 0: none but the seeds
    k: tuple[int, ...] = (20,)  # knn: neighbours that vote
    temperature: float = 0.07  # knn: a neighbour's vote weighs exp(cosine / temperature)
    logistic_l2: tuple[float, ...] = tuple(2.0**power for power in range(-10, 11, 4))  # logistic: the path
    pool: int | None = None  # support sets are drawn from the first so many training images; None: from all
    resize: Resize = "resize_crop"  # 8/7 of the model's size, then its centre (256, then 224)
    image_size: int | None = None  # pixels; None: the model's own
    precision: Precision = "fp32"  # of the forward pass; bf16: autocast

    def check(self) -> None:
        optional = {"image_size": self.image_size, "pool": self.pool}
        require_positive(self, l2=self.l2, k=self.k, temperature=[self.temperature], logistic_l2=self.logistic_l2)
        require_positive(self, **{name: [] if value is None else [value] for name, value in optional.items()})
        if not self.shots or min(self.shots) < 0:
            raise UsageError(
                f"suite.shots={_words(self.shots)}: images a class are whole numbers from 1 up, or 0 for all"
            )
        if not self.seed or min(self.seed) < 0:
            raise UsageError(f"suite.seed={_words(self.seed)}: seeds are whole numbers from 0 up")
        if self.draws < 0 or self.draws == 1:
            raise UsageError(f"suite.draws={self.draws}: a distribution needs at least 2 draws; 0 asks for none")
        if self.draws and self.shots == (ALL,):
            raise UsageError(f"suite.draws={self.draws}: with shots=0 every image is used, and nothing is drawn")
        own = {"ridge": {"l2"}, "knn": {"k", "temperature"}, "logistic": {"logistic_l2"}}
        for field in fields(self):
            owner = next((protocol for protocol, names in own.items() if field.name in names), self.protocol)
            if owner != self.protocol and getattr(self, field.name) != field.default:
                raise UsageError(
                    f"suite.{field.name} is a setting of protocol={owner} and changes nothing in "
                    f"protocol={self.protocol}, which has: {', '.join(sorted(own[self.protocol]))}"
                )

    def run(self, context: Context) -> Iterator[Measurement]:
        data = self._read(context)
        question = {
            **task_question(context.task),
            "protocol": WORDS[self.protocol],
            **fingerprint(*data.parts),
            "pool": "all training images" if self.pool is None else f"the first {self.pool} training images",
        }
        yield Measurement(
            metric="majority_rate",
            value=majority_rate(data.test.y, data.label_sets),
            unit="percent",
            n_test=len(data.test),
            question=question | {"metric": "majority_rate"},
        )
        report = Report(self, data, question)
        choices = self._choices(data) if self._several and data.val is not None else None
        classify = self._classify(data.pool, data.test, data.num_classes)
        drawn: dict[tuple[int, float], list[tuple[int, float]]] = {}
        seeds, shots = (list(dict.fromkeys(values)) for values in ([*self.seed, *range(self.draws)], self.shots))
        supports = draw_supports(data.pool.y, data.num_classes, shots=shots, seeds=seeds)
        cells_of = groupby(
            surface(classify, data.test.y, supports, data.label_sets), lambda cell: (cell.seed, cell.shots)
        )
        for (seed, _), group in cells_of:
            cells = list(group)
            if seed is None or seed in self.seed:
                yield from report.of_support(cells, None if choices is None else next(choices))
            if seed is not None and seed < self.draws:
                for cell in cells:
                    drawn.setdefault((cell.shots, cell.setting), []).append((seed, cell.top1))
        for (count, setting), values in drawn.items():
            yield from report.of_draws(count, setting, np.array([value for _, value in sorted(values)]))

    def modules(self) -> tuple[str, ...]:
        """Those of the protocol alone: neighbours know nothing of the ridge."""
        classifier = {"ridge": "suites.probes.ridge", "knn": "suites.probes.knn", "logistic": "suites.probes.logistic"}
        return (classifier[self.protocol], "suites.probes.support", "suites.metrics", "suites.images.features")

    @property
    def dial(self) -> str:
        """The setting that is swept inside a support set."""
        return "k" if self.protocol == "knn" else "l2"

    @property
    def _several(self) -> bool:
        return len(self._settings) > 1

    @property
    def _settings(self) -> tuple[Any, ...]:
        """What is swept, each value once."""
        return tuple(dict.fromkeys({"ridge": self.l2, "knn": self.k, "logistic": self.logistic_l2}[self.protocol]))

    def _read(self, context: Context) -> Data:
        options: dict[str, Any] = {
            "resize": self.resize,
            "image_size": self.image_size,
            "precision": self.precision,
        }
        task = context.task
        train = context.features(task, ("train",), first=self.pool, **options)
        val = context.features(task, ("val",), **options) if task.splits.get("val") else None
        test = context.features(task, ("test",), **options)
        pool = [train] if val is None or self.pool is not None else [train, val]
        return Data(
            num_classes=task.num_classes,
            train=Labelled(train.x, train.labels),
            val=None if val is None else Labelled(val.x, val.labels),
            pool=Labelled(np.concatenate([p.x for p in pool]), np.concatenate([p.labels for p in pool])),
            test=Labelled(test.x, test.labels),
            parts=(*pool, test),
        )

    def _classify(self, train: Labelled, test: Labelled, num_classes: int) -> Classifier:
        check_problem(train, test, num_classes)
        if self.protocol == "knn":
            return Neighbours(train, test, num_classes, k=self._settings, temperature=self.temperature)
        if self.protocol == "logistic":
            return Logistics(train, test, self._settings)
        return Ridges(train, test, num_classes, self._settings)

    def _choices(self, data: Data) -> Iterator[float]:
        """For each support set of the seeds, the setting that is best on the validation images.

        Fitted on as many images a class of the training images without them. Of equal ones the largest.
        """
        assert data.val is not None
        classify = self._classify(data.train, data.val, data.num_classes)
        seeds, shots = (list(dict.fromkeys(values)) for values in (self.seed, self.shots))
        supports = draw_supports(data.train.y, data.num_classes, shots=shots, seeds=seeds)
        cells = surface(classify, data.val.y, supports)
        for _, group in groupby(cells, lambda cell: (cell.seed, cell.shots)):
            yield max((cell.top1, cell.setting) for cell in group)[1]


WORDS = {
    "ridge": "ridge probe, few-shot",
    "knn": "k nearest neighbours, few-shot",
    "logistic": "logistic regression, few-shot",
}


@dataclass(frozen=True, kw_only=True)
class Data:
    """The features and labels of one job."""

    num_classes: int
    train: Labelled  # without the validation images: what a setting is chosen with
    val: Labelled | None
    pool: Labelled  # what support sets are drawn from
    test: Labelled
    parts: tuple[Features, ...]  # of the pool and the test split

    @property
    def label_sets(self) -> LabelSets | None:
        """The right classes of each test image, where an image may have several."""
        return self.parts[-1].label_sets


class Report:
    """The measurements of a job's support sets."""

    def __init__(self, suite: FewShot, data: Data, question: dict[str, Any]) -> None:
        self._suite = suite
        self._data = data
        self._question = question
        head = {"ridge": "ridge to {-1, 1}^K", "knn": "k-NN, cosine", "logistic": "logistic regression, scikit-learn"}
        self._treatment = {**data.parts[-1].treatment, "head": head[suite.protocol]}
        if suite.protocol == "knn":
            self._treatment["temperature"] = suite.temperature

    def of_support(self, cells: Sequence[Cell], choice: float | None) -> Iterator[Measurement]:
        """One support set's numbers: at each setting; at the one chosen on validation images; and the oracle's."""
        dial, truth = self._suite.dial, self._data.test.y
        found = [dict(accuracies(cell.predictions, truth, self._data.label_sets)) for cell in cells]
        scores = {name: [each[name] for each in found] for name in found[0]}
        for i, cell in enumerate(cells):
            for name, values in scores.items():
                at = {"seed": cell.seed, "shots": cell.shots, dial: self._plain(cell.setting)}
                yield self._one(name, values[i], cell, at, f"none: {dial} is fixed")
        if len(cells) < 2:
            return
        if choice is not None:
            i = next(i for i, cell in enumerate(cells) if cell.setting == choice)
            for name, values in scores.items():
                at = {"seed": cells[i].seed, "shots": cells[i].shots}
                yield self._one(f"{name}_val_{dial}", values[i], cells[i], at, f"{dial} on the validation images")
        for name, values in scores.items():
            i = max(range(len(cells)), key=lambda j: (values[j], cells[j].setting))
            at = {"seed": cells[i].seed, "shots": cells[i].shots}
            rule = f"ORACLE: {dial} on the test images; an upper bound, no result"
            yield self._one(f"{name}_oracle_{dial}", values[i], cells[i], at, rule)

    def of_draws(self, shots: int, setting: float, accuracies: np.ndarray) -> Iterator[Measurement]:
        """The distribution of top-1 over draws: mean, std (ddof 1), quantiles, and every draw's accuracy in order."""
        summary = {"mean": accuracies.mean(), "std": accuracies.std(ddof=1)}
        summary |= {
            f"q{100 * q:g}": value for q, value in zip(QUANTILES, np.quantile(accuracies, QUANTILES), strict=True)
        }
        dial = self._suite.dial
        for name, value in summary.items():
            metric = f"top1_draws_{name}"
            yield Measurement(
                metric=metric,
                value=float(value),
                unit="percent",
                n_test=len(self._data.test),
                at={"shots": shots, dial: self._plain(setting), "draws": len(accuracies)},
                question=self._question
                | {"metric": metric, "budget": _budget(shots), "selection": f"none: {dial} is fixed"}
                | {"draws": len(accuracies)},
                treatment=self._treatment | {dial: self._plain(setting)},
                arrays={"draws": accuracies.astype(np.float32)} if name == "mean" else {},
            )

    def _one(self, metric: str, value: float, cell: Cell, at: dict[str, Any], selection: str) -> Measurement:
        asked = {"budget": _budget(cell.shots), "short_classes": cell.short_classes, "selection": selection}
        return Measurement(
            metric=metric,
            value=value,
            unit="percent",
            n_test=len(self._data.test),
            n_train=cell.n_train,
            at={name: value for name, value in at.items() if value is not None},
            question=self._question | asked | {"metric": metric},
            treatment=self._treatment | {self._suite.dial: self._plain(cell.setting)},
            predictions=cell.predictions if metric.startswith("top1") else None,
        )

    def _plain(self, setting: float) -> float | int:
        return int(setting) if self._suite.dial == "k" else setting


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
    rows = [[cell.seed, cell.shots, cell.setting, cell.n_train, len(test), cell.top1] for cell in cells]
    return pd.DataFrame(rows, columns=columns)


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
    supports = draw_supports(train.y, num_classes, shots=shots, seeds=seeds)
    yield from surface(Ridges(train, test, num_classes, l2), test.y, supports)


def _budget(shots: int) -> str:
    return "all images of the pool" if shots == ALL else f"{shots} images a class"


def _words(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)


FEWSHOT = FewShot()
