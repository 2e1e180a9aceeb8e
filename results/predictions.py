"""Reads the arrays in `cells/<key>.npz`: predictions and labels, samples of timings, draws, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..registry import UsageError
from ..stable import canonical
from .arrays import read_arrays
from .cell_file import read_cell
from .checks import ROUNDING, Damaged

if TYPE_CHECKING:
    import numpy as np


REMEDY = "Delete it and its .json, and the job runs again"


@dataclass(frozen=True)
class Scored:
    """The N test images of one record, in (N,) arrays: what each adds to the number, its label and its group."""

    right: np.ndarray  # whether it was classified right; of a Brier score, its term
    labels: np.ndarray
    clusters: np.ndarray | None


class Predictions:
    """The arrays of the cells in some run directories. Each file is read once, and held against its cell's accuracies.

    A record's arrays come from the first folder that has some. They are looked up among the files found there: a
    record's `measurement`, which may come from elsewhere, is never made into a path.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self.folders = tuple(map(str, folders))
        self._paths: dict[str, list[Path]] = {}
        for folder in folders:
            for path in (Path(folder) / "cells").glob("*.npz"):
                self._paths.setdefault(path.stem, []).append(path)
        self._read: dict[Path, dict[str, dict[str, np.ndarray]]] = {}

    def __bool__(self) -> bool:
        return bool(self._paths)

    def scored(self, measurement: str, value: float | None = None, metric: str = "top1") -> Scored | None:
        """The test images of a record, named by its `measurement`; None if predictions or labels were not stored.

        An image with several right classes (ReaL) is right if the prediction is any of them. Raises UsageError for an
        unreadable file, for predictions and labels of different lengths, and for predictions whose accuracy differs
        from the record's `value` (percent) if its `metric` is a top-1, or terms whose mean differs from a Brier score.
        """
        path, arrays, number = self._find(measurement)
        right = arrays.get(number, {}).get("terms") if metric == "brier" else _right(path, arrays, number)
        if right is None or "labels" not in arrays:
            return None
        if value is not None and metric.startswith("top1"):
            _compare(path, measurement, value, 100 * float(right.mean()))
        if value is not None and metric == "brier" and abs((mean := float(right.mean(dtype=float))) - value) > 1e-6:
            why = f"the terms of its Brier score have the mean {mean:.6f}, the record {measurement} says {value:.6f}"
            raise Damaged(path or Path(), why, REMEDY)
        labels = arrays["labels"][""]
        clusters = arrays.get("clusters", {}).get("")
        if clusters is not None and len(clusters) != len(labels):
            raise UsageError(f"{path}: {len(clusters)} clusters of {len(labels)} labelled images")
        return Scored(right, labels, clusters)

    def other_arrays(self, measurement: str) -> dict[str, np.ndarray]:
        """A record's arrays other than predictions, by name: "samples" (R,) of a timing, "draws" (R,), pictures."""
        _, arrays, number = self._find(measurement)
        return {name: array for name, array in arrays.get(number, {}).items() if name}

    def of_cell(self, key: str) -> dict[str, np.ndarray]:
        """Every array of a cell under its name in the file (`3`, `3.draws`, `labels`); empty if none was stored."""
        by_owner = self._arrays(self._paths[key][0]) if key in self._paths else {}
        return {f"{owner}.{name}".rstrip("."): array for owner, own in by_owner.items() for name, array in own.items()}

    def has_unlabelled(self, measurement: str) -> bool:
        """Whether predictions were stored without labels, as early versions of this project did."""
        _, arrays, number = self._find(measurement)
        return "" in arrays.get(number, {}) and "labels" not in arrays

    def _find(self, measurement: str) -> tuple[Path | None, Mapping[str, Mapping[str, np.ndarray]], str]:
        """The file with a record's arrays, all arrays in it, and the record's number in the file."""
        key, _, number = measurement.partition("/")
        for path in self._paths.get(key, ()):
            if number in self._arrays(path):
                return path, self._arrays(path), number
        return None, {}, number

    def _arrays(self, path: Path) -> Mapping[str, Mapping[str, np.ndarray]]:
        if path not in self._read:
            arrays = _by_owner(read_arrays(path))
            _check_accuracies(path, arrays)
            self._read[path] = arrays
        return self._read[path]


def _by_owner(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """`3`, `3.draws` and `labels` as {"3": {"": …, "draws": …}, "labels": {"": …}}."""
    by_owner: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        owner, _, plain = name.partition(".")
        by_owner.setdefault(owner, {})[plain] = array
    return by_owner


def _check_accuracies(path: Path, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Raise Damaged where a top-1 or mean per class of the cell beside the file is not that of its predictions."""
    import numpy as np

    beside = path.with_suffix(".json")
    rights: dict[tuple[str, ...], np.ndarray] = {}  # by the settings of a top-1, which its mean per class shares
    for record in read_cell(beside).records if "labels" in arrays and beside.exists() else ():
        for kind in ("top1", "mean_per_class"):
            if not record.metric.startswith(kind) or record.value is None:
                continue
            settings = (record.metric.removeprefix(kind), str(record.seed), canonical(record.at), record.treatment_sha)
            right = (
                _right(path, arrays, record.measurement.partition("/")[2]) if kind == "top1" else rights.get(settings)
            )
            if right is None:
                continue
            rights[settings] = right
            weights = np.ones(len(right))
            if kind == "mean_per_class":
                labels = arrays["labels"][""]
                weights = 1 / np.bincount(labels)[labels]
            _compare(path, record.measurement, record.value, 100 * float(np.average(right, weights=weights)))


def _right(path: Path | None, arrays: Mapping[str, Mapping[str, np.ndarray]], number: str) -> np.ndarray | None:
    """(N,) whether each prediction of a record is right; None where predictions or labels were not stored."""
    import numpy as np

    predicted, labels = arrays.get(number, {}).get(""), arrays.get("labels", {}).get("")
    if predicted is None or labels is None:
        return None
    if predicted.shape != labels.shape:
        raise UsageError(f"{path}: {len(predicted)} predictions ({number}) of {len(labels)} labelled images")
    sets = arrays.get("label_sets")
    return np.asarray(predicted == labels) if sets is None else _in_sets(predicted, sets["values"], sets["starts"])


def _compare(path: Path | None, measurement: str, stated: float, predicted: float) -> None:
    if path is not None and abs(predicted - stated) > ROUNDING:
        why = (
            f"its predictions are right for {predicted:.3f} % of the images, the record {measurement} says {stated:.3f}"
        )
        raise Damaged(path, why, REMEDY)


def _in_sets(predicted: np.ndarray, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(N,) whether each prediction is a right class of its image, whose classes begin at `starts` in `values`."""
    import numpy as np

    sizes = np.diff([*starts, len(values)])
    image = np.repeat(np.arange(len(starts)), sizes)
    hits = values == predicted[image]
    return np.bincount(image, weights=hits, minlength=len(starts)) > 0
