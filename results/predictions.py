"""What lies beside the records in `cells/<key>.npz`: which test image was right, its group, the samples of a timing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile
from zlib import error as ZlibError

from ..registry import UsageError
from .checks import Damaged

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
    """The arrays of the cells in some run directories, each file read once."""

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self._folders = [Path(folder) / "cells" for folder in folders]
        self._there = {name.name: name for folder in self._folders for name in folder.glob("*.npz")}
        self._read: dict[Path, dict[str, np.ndarray]] = {}

    def __bool__(self) -> bool:
        return bool(self._there)

    def scored(self, measurement: str, value: float | None = None) -> Scored | None:
        """The images behind a record's `measurement`, or None where no predictions or no labels were kept.

        An image of several right classes (ReaL) is right where the prediction is any of them. Raises UsageError for a
        file that cannot be read, predictions of another length than the labels, and predictions that do not give the
        accuracy `value` (percent) that the record says.
        """
        import numpy as np

        path, arrays, number = self._arrays(measurement)
        if path is None or number not in arrays or "labels" not in arrays:
            return None
        predicted, labels = arrays[number], arrays["labels"]
        if predicted.shape != labels.shape:
            raise UsageError(f"{path}: {len(predicted)} predictions ({number}) of {len(labels)} labelled images")
        right = np.asarray(predicted == labels)
        if "label_sets.starts" in arrays:
            right = _in_sets(predicted, arrays["label_sets.values"], arrays["label_sets.starts"])
        if value is not None and abs(100 * float(right.mean()) - value) > ROUNDING:
            raise UsageError(
                f"{path}: its predictions ({number}) are right for {100 * right.mean():.3f} % of the images, the "
                f"record {measurement} says {value:.3f}. Delete the cell, and the job runs again"
            )
        clusters = arrays.get("clusters")
        if clusters is not None and len(clusters) != len(labels):
            raise UsageError(f"{path}: {len(clusters)} clusters of {len(labels)} labelled images")
        return Scored(right, labels, clusters)

    def samples(self, measurement: str) -> np.ndarray | None:
        """The (R,) repeats behind a timing's record, or None where none were kept."""
        path, arrays, number = self._arrays(measurement)
        return None if path is None else arrays.get(f"{number}.samples")

    def has_unlabelled(self, measurement: str) -> bool:
        """Whether predictions were kept without labels, as early versions of this project did."""
        path, arrays, number = self._arrays(measurement)
        return path is not None and number in arrays and "labels" not in arrays

    def _arrays(self, measurement: str) -> tuple[Path | None, Mapping[str, np.ndarray], str]:
        key, _, number = measurement.partition("/")
        path = self._there.get(f"{key}.npz")
        if path is None:
            return None, {}, number
        if path not in self._read:
            self._read[path] = read_arrays(path)
        return path, self._read[path], number


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of a cell's file, by name. Raises UsageError, naming the file, where it cannot be read."""
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # closed also where damaged
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, ZlibError, AttributeError) as error:
        raise Damaged(path, error, "Delete it and its .json, and the job runs again") from error


def _in_sets(predicted: np.ndarray, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(N,) whether each prediction is among the right classes of its image, given one after the other."""
    import numpy as np

    sizes = np.diff([*starts, len(values)])
    image = np.repeat(np.arange(len(starts)), sizes)
    hits = values == predicted[image]
    return np.bincount(image, weights=hits, minlength=len(starts)) > 0
