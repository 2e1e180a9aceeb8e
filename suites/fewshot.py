"""Few-shot evaluation of frozen features: the ViT paper's closed-form ridge probe, k-NN and logistic regression.

The ridge probe is how the ViT paper compares representations (Section 4.1, Figure 4). Per seed and number of shots:

1. Support set: one generator per seed (`numpy.random.default_rng(seed)`) permutes each class's training images, class
   by class, and the first `shots` of each are taken. So the sets of one seed are nested. They are those of the authors'
   public code where it reads the same list of images. Of a set in several shards (ImageNet) it reads 16 images a shard
   in turn, and here they come as stored: the sets differ. A class with fewer images gives all it has; records count
   such classes. The images come from
   the full training split of the task (VTAB-1k: all 1000), or with `pool=N` from its first N images (the authors'
   ImageNet: 65000).
   They are fed as the authors' evaluator feeds them: resized without antialiasing, cut to 8 bits, and cropped. Images
   of `folder:PATH` and `hf:` are fed as the release of the weights is tested: resized to a square without
   antialiasing. Another library's models are fed as that library does.
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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby, repeat
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..registry import UsageError
from .images.transforms import BIG_VISION_FEWSHOT, VIT_RELEASE, Resize, ResizeSettings, View, followed
from .metrics import LabelSets, accuracies, majority_measurement
from .probes.knn import KnnClassifier
from .probes.logistic import LogisticClassifier
from .probes.ridge import RidgeClassifier
from .probes.support import ALL, Classifier, ProbeResult, check_classes, check_problem, classify_supports, draw_supports
from .protocol import Context, Labelled, Measurement, Precision, Suite, Task, fingerprint, task_question

if TYPE_CHECKING:
    import pandas as pd

    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice

QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A value of `protocol`."""

    description: str  # in the question
    head: str  # in the treatment
    swept: str  # the column of the setting that is swept
    settings: tuple[str, ...]  # of this probe alone; the first is the one that is swept
    module: str  # of the classifier
    classifier: Callable[[FewShot, Labelled, Labelled, int], Classifier]  # of training images, test images, classes


PROBES = {
    "ridge": Probe(
        description="ridge probe, few-shot",
        head="ridge to {-1, 1}^K",
        swept="l2",
        settings=("l2",),
        module="suites.probes.ridge",
        classifier=lambda suite, train, test, classes: RidgeClassifier(train, test, classes, suite.swept_values),
    ),
    "knn": Probe(
        description="k nearest neighbours, few-shot",
        head="k-NN, cosine",
        swept="k",
        settings=("k", "temperature"),
        module="suites.probes.knn",
        classifier=lambda suite, train, test, classes: KnnClassifier(
            train, test, classes, k=suite.swept_values, temperature=suite.temperature
        ),
    ),
    "logistic": Probe(
        description="logistic regression, few-shot",
        head="logistic regression, scikit-learn",
        swept="l2",
        settings=("logistic_l2",),
        module="suites.probes.logistic",
        classifier=lambda suite, train, test, _: LogisticClassifier(train, test, suite.swept_values),
    ),
}


@dataclass(frozen=True, kw_only=True)
class FewShot(ResizeSettings, Suite):
    """k-shot linear evaluation on frozen features (ViT paper, Section 4.1), over shots, seeds and l2 in one pass."""

    name: ClassVar[str] = "fewshot"
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
    # None: resize_crop, 8/7 of the model's size, then its centre (256, then 224), and square of folder:PATH and hf:; a
    # library's model as it tests it
    resize: Resize | None = None
    image_size: int | None = None  # pixels; None: the model's own
    precision: Precision = "fp32"  # of the forward pass; bf16: autocast

    def check(self) -> None:
        self.check_resize()
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

    def fed(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:  # noqa: ARG002
        library = model.architecture.resizes_by_pillow
        fed = followed(self.typed_resize, follows(task), model.input, library=library).resizing(model)
        square = self.resize is None and not library and not task.published  # no default before
        return fed | ({"resize": "square"} if square else {})

    @property
    def probe(self) -> Probe:
        return PROBES[self.protocol]

    @property
    def swept_values(self) -> tuple[Any, ...]:
        """The values of the swept setting, without duplicates."""
        return tuple(dict.fromkeys(getattr(self, self.probe.settings[0])))

    def modules(self) -> tuple[str, ...]:
        """The modules of the chosen probe alone."""
        return (self.probe.module, "suites.probes.support", "suites.metrics", "suites.images.features")

    def run(self, context: Context) -> Iterator[Measurement]:
        job = ProbeJob(self, context)
        yield majority_measurement(job.test, job.question)
        chosen = repeat(None) if job.val is None or len(self.swept_values) < 2 else job.chosen(job.val)
        # (shots, setting, classes with fewer images): seeds and accuracies
        draws: dict[tuple[int, float, int], list[tuple[int, float]]] = {}
        seeds = list(dict.fromkeys((*self.seed, *range(self.draws))))
        count = len({*self.shots} - {ALL}) * len(seeds) + (ALL in self.shots)
        context.advance(0, f"fitting, support sets 0/{count:,}")
        supports = job.by_support(job.pool, job.test, seeds, job.test.label_sets)
        for fitted, results in enumerate(supports, start=1):
            context.advance(0, f"fitting, support sets {fitted:,}/{count:,}")
            seed = results[0].seed
            if seed is None or seed in self.seed:
                yield from job.of_support(results, next(chosen))
            if seed is not None and seed < self.draws:
                for result in results:
                    asked = (result.shots, result.setting, result.short_classes)
                    draws.setdefault(asked, []).append((seed, result.top1))
        for asked, values in draws.items():
            yield from job.of_draws(*asked, np.array([value for _, value in sorted(values)]))


def follows(task: Task) -> View:
    """Whose code says how the images of a task are resized."""
    return BIG_VISION_FEWSHOT if task.published else VIT_RELEASE


class ProbeJob:
    """The features of one job, and the measurements of its support sets."""

    def __init__(self, suite: FewShot, context: Context) -> None:
        task, pool = context.task, suite.pool
        view = replace(suite.typed_resize, resize=suite.resize, image_size=suite.image_size)
        options: dict[str, Any] = {"resize": view, "follows": follows(task), "precision": suite.precision}
        self._suite, self._swept, self._num_classes = suite, suite.probe.swept, task.num_classes
        self._train = context.features(task, ("train",), first=pool, **options)
        self.val = context.features(task, ("val",), **options) if task.splits.get("val") else None
        self.test = context.features(task, ("test",), **options)
        drawn = [self._train] if self.val is None or pool is not None else [self._train, self.val]
        self.pool = Labelled(
            np.concatenate([part.x for part in drawn]), np.concatenate([part.labels for part in drawn])
        )
        self.question = {
            **task_question(task),
            "protocol": suite.probe.description,
            **fingerprint(*drawn, self.test),
            "pool": "all training images" if pool is None else f"the first {pool} training images",
        }
        self._treatment = {**self.test.treatment, "head": suite.probe.head}
        if suite.protocol == "knn":
            self._treatment["temperature"] = suite.temperature

    def by_support(
        self, train: Labelled, test: Labelled, seeds: Iterable[int], label_sets: LabelSets | None
    ) -> Iterator[list[ProbeResult]]:
        """For each support set of the training images, the results on the test images at all values of the setting."""
        check_classes(train)
        shots, seeds = list(dict.fromkeys(self._suite.shots)), list(dict.fromkeys(seeds))
        supports = draw_supports(train.labels, self._num_classes, shots=shots, seeds=seeds)
        classify = self._suite.probe.classifier(self._suite, train, test, self._num_classes)
        results = classify_supports(classify, test.labels, supports, label_sets)
        yield from (list(group) for _, group in groupby(results, lambda result: (result.seed, result.shots)))

    def chosen(self, val: Labelled) -> Iterator[float]:
        """For each support set of the seeds, the value that is best on the validation images.

        The classifiers are fitted on support sets of the training images alone. Ties go to the largest value.
        """
        for results in self.by_support(self._train, val, self._suite.seed, None):
            yield max((result.top1, result.setting) for result in results)[1]

    def of_support(self, results: Sequence[ProbeResult], choice: float | None) -> Iterator[Measurement]:
        """One support set's accuracies: at each setting, at the one chosen on validation images, and the oracle's."""
        swept, test = self._swept, self.test
        values = [dict(accuracies(result.predictions, test.labels, test.label_sets)) for result in results]
        for result, by_metric in zip(results, values, strict=True):
            for metric, value in by_metric.items():
                yield self._measurement(metric, value, result, {swept: result.setting}, f"none: {swept} is fixed")
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

    def of_draws(self, shots: int, setting: float, short: int, accuracies: np.ndarray) -> Iterator[Measurement]:
        """The distribution of top-1 over draws: mean, std (ddof 1), quantiles, and every draw's accuracy in order."""
        quantiles = zip(QUANTILES, np.quantile(accuracies, QUANTILES), strict=True)
        summary = {"mean": accuracies.mean(), "std": accuracies.std(ddof=1)}
        summary |= {f"q{100 * q:g}": value for q, value in quantiles}
        swept = {self._swept: setting}
        asked = {"budget": _budget(shots), "selection": f"none: {self._swept} is fixed", "draws": len(accuracies)}
        asked |= {"short_classes": short} if short else {}
        for name, value in summary.items():
            metric = f"top1_draws_{name}"
            yield Measurement(
                metric=metric,
                value=float(value),
                unit="percent",
                n_test=len(self.test),
                at={"shots": shots, **swept, "draws": len(accuracies)},
                question=self.question | {"metric": metric} | asked,
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
            n_test=len(self.test),
            n_train=result.n_train,
            at={**drawn, "shots": result.shots, **at},
            question=self.question | asked | {"metric": metric},
            treatment=self._treatment | {self._swept: result.setting},
            predictions=result.predictions if metric.startswith("top1") else None,
        )


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

    Raises UsageError for shapes that do not fit, labels out of range, NaN or inf, an empty split, or a seed, shot
    number or l2 out of range.
    """
    import pandas as pd

    train, test = Labelled(np.asarray(x_train), np.asarray(y_train)), Labelled(np.asarray(x_test), np.asarray(y_test))
    check_problem(train, test, num_classes)
    lists = all(isinstance(values, Sequence | np.ndarray) and len(values) for values in (shots, seeds, l2))
    valid = lists and all(isinstance(value, int | np.integer) for value in (*shots, *seeds))
    if not valid or min(shots) < 1 or min(seeds) < 0 or not all(0 < value < float("inf") for value in l2):
        raise UsageError(
            f"shots={shots}, seeds={seeds}, l2={l2}: the probe needs a list of at least one of each: "
            "whole shots from 1 up, whole seeds from 0 up and finite l2 above 0"
        )
    supports = draw_supports(train.labels, num_classes, shots=shots, seeds=seeds)
    results = classify_supports(RidgeClassifier(train, test, num_classes, l2), test.labels, supports)
    rows = [[result.seed, result.shots, result.setting, result.n_train, len(test), result.top1] for result in results]
    return pd.DataFrame(rows, columns=["seed", "shots", "l2", "n_train", "n_test", "top1"])


def _budget(shots: int) -> str:
    return "all images of the pool" if shots == ALL else f"{shots} images a class"


FEWSHOT = FewShot()
