"""`vit_bench.run`: the verb `run` from Python. It returns the records. And how Python values become a plan."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any, get_origin

from ..models import Model, given_model
from ..registry import UsageError
from . import config as settings
from .console import stderr
from .plan import Plan, make_plan
from .progress import Progress
from .run import execute, records
from .words import as_typed, options, text_of

if TYPE_CHECKING:
    import pandas as pd


def run(*words: str, model: Any = None, progress: bool = False, **values: Any) -> pd.DataFrame:
    """Run with these words and keyword settings, and return the records, one number a row (`vit_bench.load`).

    Settings, records and caches are those of the command line: `run("suite=fewshot", "model.depth=8")` and
    `run(suite="fewshot", task=["digits", "photos"], shots=(1, 5))`; both forms may be mixed. `model` may also be a
    `torch.nn.Module`, or a list that has some. A module has `features(images)` -> (B, D), a `tap` that names a
    submodule, or a last linear layer, and optionally an `input` that says how its images are prepared
    (models/own/rows.py). A dict of `model` or `weights` has the names to show, as `label=`: `{"epoch 1": net}`.

    A job that fails is a record with status "failed", and a line on standard error. Raises UsageError for what cannot
    be run at all.
    """
    plan = planned(*words, model=model, **values)
    outcome = execute(plan, Progress(stderr() if progress else None))
    for line in outcome.failures():
        stderr().say(line)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return records(plan)


def planned(*words: str, model: Any = None, data_needed: bool = True, **values: Any) -> Plan:
    """The plan of these words and values, which are those of `run`. Raises UsageError for what cannot be run."""
    labels = _labels(model, values.get("weights"))
    model, values = _without_labels(model), {key: _without_labels(value) for key, value in values.items()}
    if labels and "label" in values:
        raise UsageError("label= and a dict of models or weights both name the rows: leave one of them out")
    values |= {"label": labels} if labels else {}
    names, given = _models(model)
    kinds = options(settings.Config)
    several = {key for key in values if key in kinds and get_origin(kinds[key].kind) is tuple}
    texts = {key: text_of(key, value, several=key in several) for key, value in values.items()}
    read = settings.read([*words, *(f"{key}={text}" for key, text in texts.items()), *names])
    return make_plan(read, given, data_needed=data_needed)


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
