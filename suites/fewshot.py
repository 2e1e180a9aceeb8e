"""Few-shot evaluation of frozen features: the ViT paper's closed-form ridge probe, k-NN and logistic regression.

The ridge probe is how the ViT paper compares representations (Section 4.1, Figure 4). Per seed and number of shots:

1. Support set: one generator per seed (`numpy.random.default_rng(seed)`) permutes each class's training images, class
   by class, and the first `shots` of each are taken. So the sets of one seed are nested, and equal to those of the
   authors' public code. A class with fewer images gives all it has; records count such classes. The images come from
   the full training split of the task (VTAB-1k: all 1000), or with `pool=N` from its first N images (the authors'
   ImageNet: 65000).
2. Features are standardised with the support set's mean and std + 1e-5, and a constant feature of 100 is appended: the
   intercept is part of the penalty, but hardly affected by it.
3. Targets are 2 onehot - 1. The solution of  min_W ||X W - T||^2 + l2 ||W||^2  classifies every test image by argmax.
   suites/probes/ridge.py has the derivation, suites/probes/scorer.py shows why every argmax is that of float64.

`top1` is the accuracy at each value of `l2`; the authors use 2^10. With several values, `top1_val_l2` is the accuracy
at the l2 that is best on the validation images, when fitted on the same number of shots from the training images alone
(ties: the largest l2). `top1_oracle_l2` is the accuracy at the l2 that is best on the test images: an upper bound that
shows the cost of choosing l2, never a result. The same for `mean_per_class`.

`draws=10000` measures the variance over support sets: those of seeds 0 to 9999, of which the first three are the usual
seeds. `top1_draws_mean`, `_std` and quantiles are records; the accuracy of every draw is an array beside them.

`protocol=knn` and `protocol=logistic` classify from the same support sets: suites/probes/knn.py and
suites/probes/logistic.py. `shots=0` stands for every image of the pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby, repeat
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..registry import UsageError
from .images.features import fingerprint
from .images.transforms import Resize
from .metrics import LabelSets, accuracies, majority_measurement
from .probes.knn import KnnClassifier
from .probes.logistic import LogisticClassifier
from .probes.ridge import RidgeClassifier
from .probes.support import ALL, Classifier, Labelled, ProbeResult, check_problem, classify_supports, draw_supports
from .protocol import Context, Features, Measurement, Precision, Suite, task_question

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The differences between the protocols."""

    description: str  # in the question
    head: str  # in the treatment
    swept: str  # the column of the setting that is swept
    settings: tuple[str, ...]  # of this protocol alone; the first is the one that is swept
    module: str  # of the classifier


PROBES = {
    "ridge": Probe(
        description="ridge probe, few-shot",
        head="ridge to {-1, 1}^K",
        swept="l2",
        settings=("l2",),
        module="suites.probes.ridge",
    ),
    "knn": Probe(
        description="k nearest neighbours, few-shot",
        head="k-NN, cosine",
        swept="k",
        settings=("k", "temperature"),
        module="suites.probes.knn",
    ),
    "logistic": Probe(
        description="logistic regression, few-shot",
        head="logistic regression, scikit-learn",
        swept="l2",
        settings=("logistic_l2",),
        module="suites.probes.logistic",
    ),
}


@dataclass(frozen=True, kw_only=True)
class FewShot(Suite):
    """k-shot linear evaluation on frozen features (ViT paper, Section 4.1), over shots, seeds and l2 in one pass."""

    name: ClassVar[str] = "fewshot"
    version: ClassVar[int] = 1
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini", "BiT-mini", "R+ViT-mini")
    default_tasks: ClassVar[str] = "vtab-mini"
    data_parallel: ClassVar[bool] = True

    protocol: Literal["ridge", "knn", "logistic"] = "ridge"  # the paper's probe; k-NN; logistic regression
    shots: tuple[int, ...] = (1, 5, 10, 25)  # images per class; the paper's figures use 5; 0: all images
    seed: tuple[int, ...] = (0, 1, 2)  # of the support sets
    l2: tuple[float, ...] = (2.0**10,)  # ridge: the authors' fixed strength
    draws: int = 0  # support sets for the distribution of the accuracy; 0: no distribution
    k: tuple[int, ...] = (20,)  # knn: number of neighbours that vote
    temperature: float = 0.07  # knn: a neighbour votes with weight exp(cosine / temperature)
    logistic_l2: tuple[float, ...] = tuple(2.0**power for power in range(-10, 11, 4))  # logistic: strengths
    pool: int | None = None  # draw support sets from the first `pool` training images; None: from all
    resize: Resize = "resize_crop"  # 8/7 of the model's size, then its centre (256, then 224)
    image_size: int | None = None  # pixels; None: the model's own
    precision: Precision = "fp32"  # of the forward pass; bf16: autocast

    def check(self) -> None:
        self.require_positive("l2", "k", "temperature", "logistic_l2", "image_size", "pool")
        invalid = not self.shots or min(self.shots) < 0
        self.refuse("shots", invalid, ": images a class are whole numbers from 1 up, or 0 for all")
        self.refuse("seed", not self.seed or min(self.seed) < 0, ": seeds are whole numbers from 0 up")
        too_few = self.draws < 0 or self.draws == 1
        self.refuse("draws", too_few, ": a distribution needs at least 2 draws; 0 asks for none")
        no_draw = self.draws > 0 and self.shots == (ALL,)
        self.refuse("draws", no_draw, ": with shots=0 every image is used, and nothing is drawn")
        typed = {item.name for item in fields(self) if getattr(self, item.name) != item.default}
        for owner, probe in PROBES.items():
            for name in probe.settings if owner != self.protocol else ():
                if name in typed:
                    raise UsageError(
                        f"suite.{name} is a setting of protocol={owner} and changes nothing in "
                        f"protocol={self.protocol}, which has: {', '.join(self.probe.settings)}"
                    )

    @property
    def probe(self) -> Probe:
        return PROBES[self.protocol]

    @property
    def swept_values(self) -> tuple[Any, ...]:
        """The values of the swept setting, without duplicates."""
        return tuple(dict.fromkeys(getattr(self, self.probe.settings[0])))

    def modules(self) -> tuple[str, ...]:
        """The modules of the chosen protocol alone."""
        return (self.probe.module, "suites.probes.support", "suites.metrics", "suites.images.features")

    def run(self, context: Context) -> Iterator[Measurement]:
        data = self._read(context)
        question = {
            **task_question(context.task),
            "protocol": self.probe.description,
            **fingerprint(*data.parts),
            "pool": "all training images" if self.pool is None else f"the first {self.pool} training images",
        }
        yield majority_measurement(data.test.y, data.label_sets, question)
        measurements = ProbeMeasurements(self, data, question)
        chosen = repeat(None) if data.val is None or len(self.swept_values) < 2 else self._chosen(data, data.val)
        draws: dict[tuple[int, float], list[tuple[int, float]]] = {}  # (shots, setting): seeds and accuracies
        seeds = (*self.seed, *range(self.draws))
        for results in self._by_support(data.pool, data.test, data.num_classes, seeds, data.label_sets):
            seed = results[0].seed
            if seed is None or seed in self.seed:
                yield from measurements.of_support(results, next(chosen))
            if seed is not None and seed < self.draws:
                for result in results:
                    draws.setdefault((result.shots, result.setting), []).append((seed, result.top1))
        for (shots, setting), values in draws.items():
            yield from measurements.of_draws(shots, setting, np.array([value for _, value in sorted(values)]))

    def _read(self, context: Context) -> ProbeData:
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
        return ProbeData(
            num_classes=task.num_classes,
            train=Labelled(train.x, train.labels),
            val=None if val is None else Labelled(val.x, val.labels),
            pool=Labelled(np.concatenate([part.x for part in pool]), np.concatenate([part.labels for part in pool])),
            test=Labelled(test.x, test.labels),
            parts=(*pool, test),
        )

    def _by_support(
        self, train: Labelled, test: Labelled, num_classes: int, seeds: Iterable[int], label_sets: LabelSets | None
    ) -> Iterator[list[ProbeResult]]:
        """For each support set of the training images, the results on the test images at all values of the setting."""
        check_problem(train, test, num_classes)
        classify: Classifier
        if self.protocol == "knn":
            classify = KnnClassifier(train, test, num_classes, k=self.swept_values, temperature=self.temperature)
        elif self.protocol == "logistic":
            classify = LogisticClassifier(train, test, self.swept_values)
        else:
            classify = RidgeClassifier(train, test, num_classes, self.swept_values)
        shots, seeds = list(dict.fromkeys(self.shots)), list(dict.fromkeys(seeds))
        supports = draw_supports(train.y, num_classes, shots=shots, seeds=seeds)
        results = classify_supports(classify, test.y, supports, label_sets)
        yield from (list(group) for _, group in groupby(results, lambda result: (result.seed, result.shots)))

    def _chosen(self, data: ProbeData, val: Labelled) -> Iterator[float]:
        """For each support set of the seeds, the value that is best on the validation images.

        The classifiers are fitted on support sets of the training images alone. Ties go to the largest value.
        """
        for results in self._by_support(data.train, val, data.num_classes, self.seed, None):
            yield max((result.top1, result.setting) for result in results)[1]


@dataclass(frozen=True, kw_only=True)
class ProbeData:
    """The features and labels of one job."""

    num_classes: int
    train: Labelled  # without the validation images; to choose a setting
    val: Labelled | None
    pool: Labelled  # of which support sets are drawn
    test: Labelled
    parts: tuple[Features, ...]  # of the pool and the test split

    @property
    def label_sets(self) -> LabelSets | None:
        """All right classes of each test image, where an image may have several."""
        return self.parts[-1].label_sets


class ProbeMeasurements:
    """Makes the measurements of a job's support sets."""

    def __init__(self, suite: FewShot, data: ProbeData, question: dict[str, Any]) -> None:
        self._swept = suite.probe.swept
        self._data = data
        self._question = question
        self._treatment = {**data.parts[-1].treatment, "head": suite.probe.head}
        if suite.protocol == "knn":
            self._treatment["temperature"] = suite.temperature

    def of_support(self, results: Sequence[ProbeResult], choice: float | None) -> Iterator[Measurement]:
        """One support set's accuracies: at each setting, at the one chosen on validation images, and the oracle's."""
        swept, data = self._swept, self._data
        values = [dict(accuracies(result.predictions, data.test.y, data.label_sets)) for result in results]
        for result, by_metric in zip(results, values, strict=True):
            for metric, value in by_metric.items():
                at = {swept: self._plain(result.setting)}
                yield self._measurement(metric, value, result, at, f"none: {swept} is fixed")
        if len(results) < 2:
            return
        if choice is not None:
            i = next(i for i, result in enumerate(results) if result.setting == choice)
            rule = f"{swept} on the validation images"
            for metric, value in values[i].items():
                yield self._measurement(f"{metric}_val_{swept}", value, results[i], {}, rule)
        rule = f"ORACLE: {swept} on the test images; an upper bound, no result"
        for metric in values[0]:
            i = max(range(len(results)), key=lambda j: (values[j][metric], results[j].setting))
            yield self._measurement(f"{metric}_oracle_{swept}", values[i][metric], results[i], {}, rule)

    def of_draws(self, shots: int, setting: float, accuracies: np.ndarray) -> Iterator[Measurement]:
        """The distribution of top-1 over draws: mean, std (ddof 1), quantiles, and every draw's accuracy in order."""
        quantiles = zip(QUANTILES, np.quantile(accuracies, QUANTILES), strict=True)
        summary = {"mean": accuracies.mean(), "std": accuracies.std(ddof=1)}
        summary |= {f"q{100 * q:g}": value for q, value in quantiles}
        swept = {self._swept: self._plain(setting)}
        asked = {"budget": _budget(shots), "selection": f"none: {self._swept} is fixed", "draws": len(accuracies)}
        for name, value in summary.items():
            metric = f"top1_draws_{name}"
            yield Measurement(
                metric=metric,
                value=float(value),
                unit="percent",
                n_test=len(self._data.test),
                at={"shots": shots, **swept, "draws": len(accuracies)},
                question=self._question | {"metric": metric} | asked,
                treatment=self._treatment | swept,
                arrays={"draws": accuracies.astype(np.float32)} if name == "mean" else {},
            )

    def _measurement(
        self, metric: str, value: float, result: ProbeResult, at: dict[str, Any], selection: str
    ) -> Measurement:
        asked = {"budget": _budget(result.shots), "short_classes": result.short_classes, "selection": selection}
        drawn = {} if result.seed is None else {"seed": result.seed}
        return Measurement(
            metric=metric,
            value=value,
            unit="percent",
            n_test=len(self._data.test),
            n_train=result.n_train,
            at={**drawn, "shots": result.shots, **at},
            question=self._question | asked | {"metric": metric},
            treatment=self._treatment | {self._swept: self._plain(result.setting)},
            predictions=result.predictions if metric.startswith("top1") else None,
        )

    def _plain(self, setting: float) -> float | int:
        return int(setting) if self._swept == "k" else setting  # as records have it


def ridge_probe(  # noqa: PLR0913  # public signature
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    num_classes: int,
    shots: Sequence[int] = (1, 5, 10, 25),
    seeds: Sequence[int] = (0, 1, 2),
    l2: Sequence[float] = (2.0**10,),
) -> pd.DataFrame:
    """The closed-form few-shot probe (ViT paper, Section 4.1; the protocol is in the module's docstring).

    `x_train` (N, D) and `x_test` (M, D) are features, `y_train` (N,) and `y_test` (M,) class numbers from 0 to
    `num_classes` - 1. Returns one row for each of seeds x shots x l2: seed, shots, l2, n_train, n_test, top1 (percent).
    `ridge_surface` is the generator behind it, which also yields the predictions.

    Raises UsageError for shapes that do not fit, labels out of range, NaN or inf, an empty split, or a seed, shot
    number or l2 out of range.
    """
    import pandas as pd

    train, test = Labelled(np.asarray(x_train), np.asarray(y_train)), Labelled(np.asarray(x_test), np.asarray(y_test))
    results = ridge_surface(train, test, num_classes, shots=shots, seeds=seeds, l2=l2)
    rows = [[result.seed, result.shots, result.setting, result.n_train, len(test), result.top1] for result in results]
    return pd.DataFrame(rows, columns=["seed", "shots", "l2", "n_train", "n_test", "top1"])


def ridge_surface(
    train: Labelled,
    test: Labelled,
    num_classes: int,
    *,
    shots: Sequence[int],
    seeds: Sequence[int],
    l2: Sequence[float],
) -> Iterator[ProbeResult]:
    """The results of seeds x shots x l2, in that order. Raises UsageError as `ridge_probe` does."""
    check_problem(train, test, num_classes)
    lists = all(isinstance(values, Sequence | np.ndarray) and len(values) for values in (shots, seeds, l2))
    valid = lists and all(isinstance(value, int | np.integer) for value in (*shots, *seeds))
    if not valid or min(shots) < 1 or min(seeds) < 0 or not all(0 < value < float("inf") for value in l2):
        raise UsageError(
            f"shots={shots}, seeds={seeds}, l2={l2}: the probe needs a list of at least one of each: "
            "whole shots from 1 up, whole seeds from 0 up and finite l2 above 0"
        )
    supports = draw_supports(train.y, num_classes, shots=shots, seeds=seeds)
    yield from classify_supports(RidgeClassifier(train, test, num_classes, l2), test.y, supports)


def _budget(shots: int) -> str:
    return "all images of the pool" if shots == ALL else f"{shots} images a class"


FEWSHOT = FewShot()
