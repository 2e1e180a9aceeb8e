"""`vit_bench.run`: the verb `run` from Python. It returns the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from ..models import Model, given_model
from ..registry import UsageError
from . import config as settings
from .console import stderr
from .plan import make_plan
from .progress import Progress
from .run import execute, records
from .words import as_typed, options

if TYPE_CHECKING:
    import pandas as pd


def run(*words: str, model: Any = None, progress: bool = False, **values: Any) -> pd.DataFrame:
    """Run with these words and keyword settings, and return the records, one number a row (`vit_bench.load`).

    Settings, records and caches are those of the command line: `run("suite=fewshot", "model.depth=8")` and
    `run(suite="fewshot", task=["digits", "photos"], shots=(1, 5))`; both forms may be mixed. `model` may also be a
    `torch.nn.Module`, or a list that has some. A module has `features(images)` -> (B, D), a `tap` that names a
    submodule, or a last linear layer, and optionally an `input` that says how its images are prepared
    (models/own/rows.py). A dict of `model` or `weights` has the names to show, as `label=`: `{"epoch 1": net}`.

    A job that fails is a record with status "failed". Raises UsageError for what cannot be run at all.
    """
    labels = _labels(model, values.get("weights"))
    model, values = _without_labels(model), {key: _without_labels(value) for key, value in values.items()}
    if labels and "label" in values:
        raise UsageError("label= and a dict of models or weights both name the rows: leave one of them out")
    values |= {"label": labels} if labels else {}
    names, given = _models(model)
    typed = [*words, *(f"{key}={_text(key, value)}" for key, value in values.items()), *names]
    plan = make_plan(settings.read(typed), given)
    outcome = execute(plan, Progress(stderr() if progress else None))
    if outcome.interrupted:
        raise KeyboardInterrupt
    return records(plan)


def _labels(model: Any, weights: Any) -> list[str]:
    """The names that dicts of models and of weights give their rows, in the order of the rows."""
    of_models, of_weights = (list(map(str, one)) if isinstance(one, Mapping) else [] for one in (model, weights))
    return [" ".join(filter(None, pair)) for pair in product(of_models or [""], of_weights or [""]) if any(pair)]


def _without_labels(value: Any) -> Any:
    return list(value.values()) if isinstance(value, Mapping) else value


def _models(model: Any) -> tuple[list[str], Mapping[str, Model]]:
    """The `model=` word of names and modules, and the rows of the modules."""
    if model is None:
        return [], {}
    items = list(model) if isinstance(model, list | tuple) else [model]
    if isinstance(model, str):
        return [f"model={model}"], {}
    if not items:
        raise UsageError("model=[]: name at least one model")
    rows = [item if isinstance(item, str) else given_model(item) for item in items]
    names = [row if isinstance(row, str) else row.name for row in rows]
    return [f"model={as_typed(names)}"], {row.name: row for row in rows if not isinstance(row, str)}


def _text(key: str, value: Any) -> str:
    several = key in settings.TOP_LEVEL and get_origin(options(settings.Config)[key].kind) is tuple
    items = [value] if isinstance(value, Path) and several else value
    if items is None or isinstance(items, str | Path | bool | int | float):
        return as_typed(items)
    if isinstance(items, Sequence):
        return as_typed([_text("", item) for item in items])
    raise UsageError(f"{key}={value!r}: expected a text, a number or a list of them, not {type(value).__name__}")
