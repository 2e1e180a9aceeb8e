"""The few-shot suite's protocols: what is chosen with what, draws, the pool, neighbours, logistic regression."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from vit_bench.registry import UsageError
from vit_bench.suites.fewshot import FewShot, ridge_probe
from vit_bench.suites.probes.knn import KnnClassifier, nearest
from vit_bench.suites.probes.logistic import LogisticClassifier
from vit_bench.suites.probes.ridge import STD_FLOOR
from vit_bench.suites.probes.support import Labelled, shuffled_by_class
from vit_bench.suites.protocol import Features

SIZES = {"train": 60, "val": 24, "test": 200}
CLASSES = 4


def features(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = np.concatenate([np.arange(CLASSES), generator.integers(0, CLASSES, count - CLASSES)])
    centres = np.random.default_rng(9).normal(size=(CLASSES, 12))
    return (centres[y] + 1.5 * generator.normal(size=(count, 12))).astype(np.float32), y


@dataclass
class Fake:
    """A context with made-up features."""

    splits: dict[str, int] = field(default_factory=lambda: dict(SIZES))
    asked: list[tuple] = field(default_factory=list)

    @property
    def task(self) -> SimpleNamespace:
        return SimpleNamespace(
            name="made-up", published=True, label="the centre", num_classes=CLASSES, splits=self.splits
        )

    def features(self, task, splits, *, first=None, **options) -> Features:  # noqa: ARG002
        self.asked.append((splits, first, options))
        (split,) = splits
        x, y = features(SIZES[split], list(SIZES).index(split))
        digest = split if first is None else f"{split}[:{first}]"
        treatment = {"size": [8, 8], "precision": options["precision"]}
        return Features(x=x[:first], labels=y[:first], digests=(digest,), treatment=treatment)

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None: ...


def measured(suite: FewShot, context: Fake | None = None) -> dict[str, list]:
    found: dict[str, list] = {}
    suite.check()
    for one in suite.run(context or Fake()):
        assert one.n_test == SIZES["test"]
        found.setdefault(one.metric, []).append(one)
    return found


def test_with_one_l2_there_is_nothing_to_choose() -> None:
    found = measured(FewShot(shots=(1, 5), seed=(0, 1)))
    assert set(found) == {"majority_rate", "top1", "mean_per_class"}
    pool = [np.concatenate(parts) for parts in zip(features(60, 0), features(24, 1), strict=True)]
    frame = ridge_probe(*pool, *features(200, 2), CLASSES, shots=(1, 5), seeds=(0, 1))
    assert [one.value for one in found["top1"]] == frame["top1"].tolist()
    assert [one.at for one in found["top1"]] == frame[["seed", "shots", "l2"]].to_dict("records")
    assert found["top1"][0].question["pool"] == "all training images"
    assert found["top1"][0].treatment["precision"] == "fp32"


def test_a_strength_that_is_typed_twice_counts_once() -> None:
    once, twice = (measured(FewShot(shots=(1,), seed=(0,), l2=l2)) for l2 in ((1.0, 2.0), (1.0, 1.0, 2.0)))
    assert [one.at for one in twice["top1"]] == [one.at for one in once["top1"]]
    assert set(measured(FewShot(shots=(1,), seed=(0,), l2=(1.0, 1.0)))) == {"majority_rate", "top1", "mean_per_class"}


def test_l2_is_chosen_on_validation_images_apart_from_the_fit_and_the_oracle_is_called_one() -> None:
    strengths = (2.0**-10, 1.0, 2.0**5, 2.0**10)
    found = measured(FewShot(shots=(1, 5), l2=strengths))
    by_cell = {(one.at["seed"], one.at["shots"], one.at["l2"]): one.value for one in found["top1"]}
    on_val = ridge_probe(*features(60, 0), *features(24, 1), CLASSES, shots=(1, 5), l2=strengths)
    assert len(found["top1_val_l2"]) == len(found["top1_oracle_l2"]) == 6
    for one in found["top1_val_l2"]:
        part = on_val[(on_val["seed"] == one.at["seed"]) & (on_val["shots"] == one.at["shots"])]
        best = part[part["top1"] == part["top1"].max()]["l2"].max()  # of equal ones the largest
        assert one.treatment["l2"] == best
        assert one.value == by_cell[one.at["seed"], one.at["shots"], best]
        assert one.question["selection"] == "l2 on the validation images"
        assert "l2" not in one.at
    for one in found["top1_oracle_l2"]:
        assert one.value == max(by_cell[one.at["seed"], one.at["shots"], l2] for l2 in strengths)
        assert one.question["selection"].startswith("ORACLE")
    assert found["mean_per_class_val_l2"][0].predictions is None
    assert {one.question["selection"] for one in found["top1"]} == {"none: l2 is fixed"}


def test_without_validation_images_nothing_is_chosen_but_the_oracle() -> None:
    context = Fake(splits={"train": 60, "test": 200})
    found = measured(FewShot(shots=(1,), l2=(1.0, 2.0)), context)
    assert "top1_val_l2" not in found
    assert len(found["top1_oracle_l2"]) == 3
    assert found["top1"][0].n_train == CLASSES


def test_a_pool_is_the_first_images_of_the_training_split_alone() -> None:
    context = Fake()
    found = measured(FewShot(shots=(5,), seed=(0,), pool=20), context)
    frame = ridge_probe(*(part[:20] for part in features(60, 0)), *features(200, 2), CLASSES, shots=(5,), seeds=(0,))
    assert found["top1"][0].value == frame["top1"].item()
    assert found["top1"][0].n_train == frame["n_train"].item() < 5 * CLASSES
    assert found["top1"][0].question["short_classes"] > 0
    assert found["top1"][0].question["pool"] == "the first 20 training images"
    assert [(splits, first) for splits, first, _ in context.asked] == [
        (("train",), 20),
        (("val",), None),
        (("test",), None),
    ]


def test_zero_shots_are_all_images_once() -> None:
    (one,) = measured(FewShot(shots=(0,), seed=(0, 1, 2)))["top1"]
    assert one.n_train == 84
    assert one.at == {"shots": 0, "l2": 1024.0}
    assert one.question["budget"] == "all images of the pool"


def test_draws_begin_with_the_seeds_and_their_summary_is_theirs() -> None:
    found = measured(FewShot(shots=(1, 5), seed=(0, 1, 50), draws=20))
    assert [one.at["seed"] for one in found["top1"]] == [0, 0, 1, 1, 50, 50]
    for one in found["top1_draws_mean"]:
        accuracies = one.arrays["draws"]
        assert accuracies.shape == (20,)
        alike = [seed.value for seed in found["top1"] if seed.at["shots"] == one.at["shots"] and seed.at["seed"] < 20]
        np.testing.assert_allclose(accuracies[:2], alike)
        assert one.value == pytest.approx(accuracies.mean())
        assert one.at["draws"] == one.question["draws"] == 20
    spread = next(one for one in found["top1_draws_std"] if one.at["shots"] == 5)
    drawn = next(one.arrays["draws"] for one in found["top1_draws_mean"] if one.at["shots"] == 5)
    assert spread.value == pytest.approx(drawn.std(ddof=1), abs=1e-4)
    assert found["top1_draws_q50"][1].value == pytest.approx(np.median(drawn), abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l2": (0.0,)}, r"suite.l2=0: fewshot needs finite numbers above 0"),
        ({"shots": (-1,)}, r"suite.shots=-1: images a class are whole numbers from 1 up, or 0 for all"),
        ({"seed": ()}, "suite.seed=: seeds are whole numbers from 0 up"),
        ({"pool": 0}, "suite.pool=0: fewshot needs finite numbers above 0"),
        ({"image_size": 0}, "suite.image_size=0: fewshot needs"),
        ({"draws": 1}, "suite.draws=1: a distribution needs at least 2 draws"),
        ({"draws": 5, "shots": (0,)}, "suite.draws=5: with shots=0 every image is used"),
        ({"k": (5,)}, "suite.k is a setting of protocol=knn and changes nothing in protocol=ridge, which has: l2"),
        ({"protocol": "knn", "l2": (1.0,)}, "suite.l2 is a setting of protocol=ridge .* which has: k, temperature"),
        ({"protocol": "knn", "temperature": 0.0}, "suite.temperature=0: fewshot needs finite numbers above 0"),
        ({"protocol": "logistic", "l2": (1.0,)}, "suite.l2 is a setting of protocol=ridge .* which has: logistic_l2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FewShot(**settings).check()


def by_hand(x: np.ndarray, y: np.ndarray, row: np.ndarray, k: int, temperature: float) -> int:
    cosine = [float(a @ row / np.linalg.norm(a) / np.linalg.norm(row)) for a in x.astype(np.float64)]
    votes = np.zeros(CLASSES)
    for i in sorted(range(len(x)), key=lambda i: (-cosine[i], i))[:k]:
        votes[y[i]] += np.exp(cosine[i] / temperature)
    return int(votes.argmax())


@pytest.mark.parametrize("k", [1, 3, 20, 500])
def test_neighbours_vote_as_by_hand(k: int) -> None:
    (x, y), (x_test, y_test) = features(60, 0), features(200, 2)
    x[17], y[17] = x[3], (y[3] + 1) % CLASSES  # two images alike, of different classes
    classify = KnnClassifier(Labelled(x, y), Labelled(x_test, y_test), CLASSES, k=(k,), temperature=0.07)
    (predictions,) = classify([np.arange(60)])
    assert predictions.tolist() == [by_hand(x, y, row.astype(np.float64), k, 0.07) for row in x_test]


def test_ties_go_to_the_first_of_the_support_set() -> None:
    similarity = np.array([[0.5, 0.9, 0.5, 0.5], [0.1, 0.1, 0.1, 0.2]])
    assert nearest(similarity, 2).tolist() == [[True, True, False, False], [True, False, False, True]]


def test_a_feature_vector_of_zeros_is_a_neighbour_like_any_other() -> None:
    (x, y), (x_test, y_test) = features(60, 0), features(200, 2)
    x[0], x_test[0] = 0.0, 0.0
    classify = KnnClassifier(Labelled(x, y), Labelled(x_test, y_test), CLASSES, k=(3,), temperature=0.07)
    (predictions,) = classify([np.arange(60)])
    assert predictions[0] == np.bincount(y[:3], minlength=CLASSES).argmax()


def test_the_knn_protocol_has_its_own_question_and_sweeps_k() -> None:
    found = measured(FewShot(protocol="knn", shots=(5,), seed=(0,), k=(1, 20)))
    assert [one.at for one in found["top1"]] == [{"seed": 0, "shots": 5, "k": k} for k in (1, 20)]
    assert found["top1"][0].question["protocol"] == "k nearest neighbours, few-shot"
    assert found["top1"][0].treatment | {"k": 1, "temperature": 0.07, "head": "k-NN, cosine"} == (
        found["top1"][0].treatment
    )
    assert found["top1_val_k"][0].treatment["k"] in (1, 20)


def test_logistic_regression_is_scikit_learns_at_each_l2() -> None:
    from sklearn.linear_model import LogisticRegression

    (x, y), (x_test, y_test) = features(60, 0), features(200, 2)
    path = (4.0, 2.0**-6, 2.0**6)
    classify = LogisticClassifier(Labelled(x, y), Labelled(x_test, y_test), path)
    predictions = list(classify([np.arange(60)]))
    wide = x.astype(np.float64)
    mean, scale = wide.mean(axis=0), wide.std(axis=0) + STD_FLOOR
    for l2, ours in zip(path, predictions, strict=True):
        alone = LogisticRegression(C=1 / l2, max_iter=5000, tol=1e-6).fit((wide - mean) / scale, y)
        assert (alone.predict((x_test - mean) / scale) == ours).mean() > 0.98


def test_the_logistic_protocol_chooses_its_l2_on_validation_images() -> None:
    found = measured(FewShot(protocol="logistic", shots=(5,), seed=(0,), logistic_l2=(0.1, 100.0)))
    assert [one.at["l2"] for one in found["top1"]] == [0.1, 100.0]
    assert found["top1_val_l2"][0].treatment["l2"] in (0.1, 100.0)
    assert found["top1"][0].question["protocol"] == "logistic regression, few-shot"


def test_logistic_regression_that_does_not_converge_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vit_bench.suites.probes.logistic.ITERATIONS", 1)
    with pytest.raises(ValueError, match=r"logistic regression at l2=1 on 20 images did not converge in 1 iterations"):
        measured(FewShot(protocol="logistic", shots=(5,), seed=(0,), logistic_l2=(1.0,)))


def test_a_split_of_one_class_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Fake()
    real = context.features

    def one_class(task, splits, **options) -> Features:
        found = real(task, splits, **options)
        return Features(x=found.x, labels=0 * found.labels, digests=found.digests, treatment=found.treatment)

    monkeypatch.setattr(context, "features", one_class)
    with pytest.raises(UsageError, match="the train split holds a single class"):
        measured(FewShot(), context)


def test_support_sets_of_all_classes_come_from_the_classes_that_there_are() -> None:
    order = shuffled_by_class(np.array([2, 0, 2, 2]), 4, seed=0)
    assert [len(indices) for indices in order] == [1, 0, 3, 0]
    assert sorted(order[2].tolist()) == [0, 2, 3]
