"""What lies beside the records in `cells/<key>.npz`, for all that read it: who was right, samples of timings, draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from ..registry import UsageError
from .checks import BROKEN_ZIP, Damaged

if TYPE_CHECKING:
    import numpy as np

ROUNDING = 0.01  # percentage points by which a stored value may differ from its predictions: values may be float32


@dataclass(frozen=True)
class Scored:
    """The test images behind one record: `right` (N,) booleans, their `labels` (N,), their groups (N,) or None."""

    right: np.ndarray
    labels: np.ndarray
    clusters: np.ndarray | None


class Predictions:
    """The arrays of the cells in some run directories, each file read once.

    A record's arrays are those of the first folder that has some. They are found among the files that are there: what
    a record calls its measurement never becomes a path.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self.folders = tuple(map(str, folders))
        self._there: dict[str, list[Path]] = {}
        for folder in folders:
            for path in (Path(folder) / "cells").glob("*.npz"):
                self._there.setdefault(path.stem, []).append(path)
        self._read: dict[Path, dict[str, dict[str, np.ndarray]]] = {}

    def __bool__(self) -> bool:
        return bool(self._there)

    def scored(self, measurement: str, value: float | None = None) -> Scored | None:
        """The images behind a record's `measurement`, or None where no predictions or no labels were kept.

        An image of several right classes (ReaL) is right where the prediction is any of them. Raises UsageError for a
        file that cannot be read, predictions of another length than the labels, and predictions that do not give the
        accuracy `value` (percent) that the record says.
        """
        import numpy as np

        path, arrays, number = self._find(measurement)
        predicted, labels = arrays.get(number, {}).get(""), arrays.get("labels", {}).get("")
        if predicted is None or labels is None:
            return None
        if predicted.shape != labels.shape:
            raise UsageError(f"{path}: {len(predicted)} predictions ({number}) of {len(labels)} labelled images")
        sets = arrays.get("label_sets")
        right = np.asarray(predicted == labels) if sets is None else _in_sets(predicted, sets["values"], sets["starts"])
        if value is not None and abs(100 * float(right.mean()) - value) > ROUNDING:
            raise UsageError(
                f"{path}: its predictions ({number}) are right for {100 * right.mean():.3f} % of the images, the "
                f"record {measurement} says {value:.3f}. Delete the cell, and the job runs again"
            )
        clusters = arrays.get("clusters", {}).get("")
        if clusters is not None and len(clusters) != len(labels):
            raise UsageError(f"{path}: {len(clusters)} clusters of {len(labels)} labelled images")
        return Scored(right, labels, clusters)

    def beside(self, measurement: str) -> dict[str, np.ndarray]:
        """What else was kept for a record, by plain names: "samples" (R,) of a timing, "draws" (R,), pictures."""
        _, arrays, number = self._find(measurement)
        return {name: array for name, array in arrays.get(number, {}).items() if name}

    def of_cell(self, key: str) -> dict[str, np.ndarray]:
        """Every array of a cell as its file names it: `3`, `3.draws`, `labels`. None where nothing was kept."""
        paths = self._there.get(key)
        return read_arrays(paths[0]) if paths else {}

    def has_unlabelled(self, measurement: str) -> bool:
        """Whether predictions were kept without labels, as early versions of this project did."""
        _, arrays, number = self._find(measurement)
        return "" in arrays.get(number, {}) and "labels" not in arrays

    def _find(self, measurement: str) -> tuple[Path | None, Mapping[str, Mapping[str, np.ndarray]], str]:
        """The file with a record's arrays, all that is in it, and the record's number there."""
        key, _, number = measurement.partition("/")
        for path in self._there.get(key, ()):
            if path not in self._read:
                self._read[path] = _by_owner(read_arrays(path))
            if number in self._read[path]:
                return path, self._read[path], number
        return None, {}, number


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of a cell's file, by name. Raises UsageError, naming the file, where one of them is not whole."""
    import numpy as np

    try:
        with ZipFile(path) as archive:
            whole = {name: archive.read(name) for name in archive.namelist()}  # np.load checks no sum of a cut array
        read = np.lib.format.read_array
        return {name.removesuffix(".npy"): read(BytesIO(data), allow_pickle=False) for name, data in whole.items()}
    except (*BROKEN_ZIP, ValueError) as error:
        cure = "Delete it and its .json, and repeat the run: its job runs again"
        raise Damaged(path, error, cure) from error


def _by_owner(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """`3`, `3.draws` and `labels` as {"3": {"": …, "draws": …}, "labels": {"": …}}."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        owner, _, plain = name.partition(".")
        found.setdefault(owner, {})[plain] = array
    return found


def _in_sets(predicted: np.ndarray, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(N,) whether each prediction is among the right classes of its image, given one after the other."""
    import numpy as np

    sizes = np.diff([*starts, len(values)])
    image = np.repeat(np.arange(len(starts)), sizes)
    hits = values == predicted[image]
    return np.bincount(image, weights=hits, minlength=len(starts)) > 0
