"""Selects models and weights: the words of `model=`, the variants that `model.X=` settings make, and `weights=`."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from ...models import select_models
from ...models.parse_weights import read_weights
from ...models.released import table as releases
from ...models.selection import SelectedModel
from ...models.spec import Model
from ...models.weights.sidecar import read_names
from ...models.weights_choice import WeightsChoice, WeightsFile
from ...registry import UsageError, first_few, is_glob
from ...suites.protocol import Suite
from .. import config as settings
from ..config import Config
from ..words import each


def choose_models(suite: Suite, config: Config, given: Mapping[str, Model], used: set[str]) -> list[SelectedModel]:
    """The models, each with the release that its word names, if any. Adds the settings that apply to `used`.

    A suite's default models that name weights give way to weights and settings of models that are typed.
    """
    chosen: dict[tuple[str, Any, Any], SelectedModel] = {}

    def choose(word: str) -> None:
        for selected in [SelectedModel(row=given[word])] if word in given else select_models(word):
            row, release = selected.row, selected.weights
            models, applied = row.architecture.variants(row, config.model_settings, settings.read_sweep)
            used.update(applied)
            for model in models:
                named = release if config.model or not (config.weights or config.model_settings) else None
                variant = SelectedModel(row=model, weights=named, word=f"model={word}")
                chosen[model.name, model.variant, named] = variant

    each(choose, config.model or suite.default_models)
    return list(chosen.values())


def choose_weights(
    suite: Suite, chosen: Sequence[SelectedModel], words: Sequence[str]
) -> list[tuple[Model, WeightsChoice]]:
    """Each model with each of its weights.

    Raises UsageError for a word that names no weights of some model, where weights are needed and none are named, and
    where two words name different ones, and for a damaged sidecar. No weights are read and none are downloaded.
    """
    each(lambda word: _check(word, [selected.row for selected in chosen]), words)
    named = [weights for selected in chosen for word in words for weights in read_weights(selected.row, word)]
    each(lambda weights: weights.provenance(), dict.fromkeys(named))
    names = {selected.row.name for selected in chosen}
    pairs = [(selected.row, weights) for selected in chosen for weights in _weights_of(suite, selected, words, names)]
    each(lambda weights: weights.provenance(), dict.fromkeys(weights for _, weights in pairs))
    return pairs


def check_labels(labels: Sequence[str], rows: Sequence[tuple[Model, WeightsChoice]]) -> None:
    """Raises UsageError unless there is a label for each model with its weights, or none at all."""
    if labels and len(labels) != len(rows):
        words = [(row.name, *(f"{name}={value}" for name, value in row.variant), str(weights)) for row, weights in rows]
        named = first_few([" ".join(of_row) for of_row in words], most=6)
        raise UsageError(
            f"label= says {len(labels)} {'name' if len(labels) == 1 else 'names'}, and the rows that need one are "
            f"{len(rows)}, in this order: {named}. Type one for each; `none` leaves one out"
        )


def _weights_of(
    suite: Suite, chosen: SelectedModel, words: Sequence[str], names: Container[str]
) -> Sequence[WeightsChoice]:
    """The weights of a model; of files, those whose sidecar does not name another of the chosen models' `names`."""
    model, typed = chosen.row, ",".join(words)
    read = list(dict.fromkeys(weights for word in words for weights in read_weights(model, word)))
    asked = [weights for weights in read if _model_of(weights, names) in (None, model.name)]
    if read and not asked:
        raise UsageError(f"weights={typed}: by their sidecar files none of these are of {model.name}")
    named = chosen.agreed(asked, typed, f"Type model={model.name} weights={typed}")
    return named or [model.architecture.default_weights(model, suite.name if "weights" in suite.needs else None)]


def _model_of(weights: WeightsChoice, names: Container[str]) -> str | None:
    """Which of these models a file is of, as its sidecar says; None where it says none of them."""
    named = read_names(str(weights))[0] if isinstance(weights, WeightsFile) else None
    return named if named is not None and named in names else None


def _check(word: str, models: Sequence[Model]) -> None:
    """Raises UsageError, with the models' names, where a word names no weights of some model."""
    without = list(dict.fromkeys(model.name for model in models if not read_weights(model, word)))
    if not without:
        return
    within = list(dict.fromkeys(model.name for model in models if model.name not in without))
    if within:
        raise UsageError(
            f"weights={word}: {', '.join(without)} {'has' if len(without) == 1 else 'have'} no such weights, only "
            f"{', '.join(within)}. Type model={','.join(within)}, or say weights that all of them have"
        )
    known = [name for name in without if releases.of_model(name)]
    if is_glob(word):
        names = ", ".join(without[:3]) + (f" and {len(without) - 3} more" if len(without) > 3 else "")
        tags = f"Of {known[0]} there are: {releases.tags_in_short(known[0])}" if known else "Type the path of a file"
        raise UsageError(f"weights={word}: no file matches, and no tag of {names}. {tags}")
    if not known:
        raise UsageError(
            f"weights={word}: there is no such file. Type a path, or weights=random for the untrained network"
        )
    raise UsageError(
        f"weights={word}: there is no such file, and {releases.unknown_tag(known[0], word)}. Type one of them, a "
        "path, or weights=random for the untrained network"
    )
