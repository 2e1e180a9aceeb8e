"""CSV files of other projects as records: timm's, CLIP_benchmark's, mteb's, and any other by a mapping of columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import UsageError, suggest
from ..checks import checked, read_csv
from ..record import COLUMNS, NUMBERS, typed

if TYPE_CHECKING:
    import pandas as pd

# their column -> our metric, its unit, and the factor from their value to ours (our accuracies are in percent)
METRICS: Mapping[str, tuple[str, str, float]] = {
    "top1": ("top1", "percent", 1),
    "top5": ("top5", "percent", 1),
    "acc1": ("top1", "percent", 100),
    "acc5": ("top5", "percent", 100),
    "mean_per_class_recall": ("mean_per_class", "percent", 100),
    "lp_acc1": ("lp_top1", "percent", 100),
    "lp_acc5": ("lp_top5", "percent", 100),
    "infer_samples_per_sec": ("images_per_second", "images/s", 1),
    "train_samples_per_sec": ("train_images_per_second", "images/s", 1),
    "score": ("top1", "percent", 100),
}
UNITS: Mapping[str, str] = {ours: unit for ours, unit, _ in METRICS.values()}
COLUMNS_OF_OTHERS: dict[str, str] = {  # theirs -> ours
    "model": "model",
    "model_name": "model",
    "pretrained": "weights",
    "dataset": "task",
    "task_name": "task",
    "img_size": "image_size",
    "infer_img_size": "image_size",
    "infer_batch_size": "batch_size",
    "seed": "seed",
    "n_test": "n_test",
    "crop_pct": "crop_pct",
    "train_img_size": "image_size",
    "train_batch_size": "batch_size",
}
OURS = ("model", "weights", "variant", "task", "group", "seed", "n_test", "image_size", "batch_size", "shots", "value")


def is_foreign(path: Path) -> bool:
    """Whether a file is a CSV with a column for the model and without our column `measurement`."""
    if not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return "measurement" not in header and any(name in header for name in ("model", "model_name"))


def read_foreign(path: Path, mapping: Mapping[str, str] | None = None, metric: str = "") -> pd.DataFrame:
    """The records of another project's CSV, in the columns of `load`. Their question is empty, which `compare` notes.

    `mapping` is ours -> theirs, for example `{"model": "name", "value": "top1"}`. If the value's column is in METRICS,
    it gives the metric, and fractions become percent. If not, the metric is `metric`, if that is one of ours (with
    values in our unit), else the column's name, without a unit. Raises UsageError for a missing column and, naming
    the row, for text in place of a number and for what `checked` refuses.
    """
    import pandas as pd

    raw = read_csv(path, "CSV of results")
    mapping = mapping or {}
    for ours, theirs in mapping.items():
        if ours not in OURS:
            raise UsageError(f"map={ours}:{theirs}: {suggest(ours, OURS)}")
        if theirs not in raw:
            raise UsageError(f"{path} has no column '{theirs}' (map={ours}:{theirs}). {suggest(theirs, map(str, raw))}")
    known = {ours: theirs for theirs, ours in reversed(COLUMNS_OF_OTHERS.items()) if theirs in raw}
    columns = known | dict(mapping)
    values = [columns.pop("value")] if "value" in columns else [name for name in METRICS if name in raw]
    if "model" not in columns or not values:
        wanted = "a model" if "model" not in columns else "a known metric"
        raise UsageError(
            f"{path} has no column for {wanted}: it has "
            f"{', '.join(map(str, raw))}. Say which with map=model:COLUMN,value:COLUMN"
        )
    if raw.empty:
        raise UsageError(f"{path} has a heading and no row")
    parts = []
    for name in values:
        metric_name, unit, factor = METRICS.get(name, (metric, UNITS[metric], 1) if metric in UNITS else (name, "", 1))
        part = pd.DataFrame({column: _column(raw, columns[column], path, column) for column in columns})
        part["value"] = _column(raw, name, path, "value") * factor
        parts.append(part.assign(metric=metric_name, unit=unit)[(raw[name] != "").to_numpy()])
    places = [f"{path}, row {i + 2}" for part in parts for i in part.index]
    frame = pd.concat(parts, ignore_index=True)
    at_columns = [name for name in frame if name not in COLUMNS]
    frame = frame.reindex(columns=[*COLUMNS, *at_columns, "question", "treatment"])
    text_columns = [name for name in frame if name not in (*NUMBERS, *at_columns)]
    frame[text_columns] = frame[text_columns].astype(object).fillna("")
    return checked(typed(frame.assign(status="ok")), places.__getitem__)


def _column(raw: pd.DataFrame, name: str, path: Path, ours: str) -> pd.Series:
    """A column as text, or as numbers if `ours` is a numeric column."""
    import pandas as pd

    if ours not in (*NUMBERS, "image_size", "batch_size", "shots"):
        return raw[name]
    numbers = pd.to_numeric(raw[name].where(raw[name] != ""), errors="coerce")
    not_numbers = raw.index[numbers.isna() & (raw[name] != "")]
    if len(not_numbers):
        raise UsageError(f"{path}: row {not_numbers[0] + 2}, column {name}: '{raw[name][not_numbers[0]]}' is no number")
    return numbers
