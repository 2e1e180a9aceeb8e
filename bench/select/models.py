"""The models that the words of `model=` select, with the settings that make variants of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...models import select_models
from ...models.selection import SelectedModel
from ...models.spec import Model
from ...suites.protocol import Suite
from .. import config as settings
from ..config import Config
from ..verbs.words import each
from .weights import Choice


def choose_models(suite: Suite, config: Config, given: Mapping[str, Model], used: set[str]) -> list[Choice]:
    """The models, each with the tag of its weights where the word that names it says them."""
    chosen: dict[tuple[str, Any, Any], Choice] = {}

    def choose(word: str) -> None:
        for selected in [SelectedModel(row=given[word])] if word in given else select_models(word):
            row, said = selected.row, selected.weights
            models, taken = row.architecture.variants(row, config.model_settings, settings.read_sweep)
            used.update(taken)
            for model in models:
                chosen[model.name, model.variant, said] = Choice(model=model, said=said, word=word)

    each(choose, config.model or suite.default_models)
    return list(chosen.values())
