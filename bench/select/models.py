"""Selects models: the words of `model=`, and the variants that `model.X=` settings make of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...models import select_models
from ...models.selection import SelectedModel
from ...models.spec import Model
from ...suites.protocol import Suite
from .. import config as settings
from ..config import Config
from ..words import each
from .weights import ChosenModel


def choose_models(suite: Suite, config: Config, given: Mapping[str, Model], used: set[str]) -> list[ChosenModel]:
    """The models, each with the release that its word names, if any. Adds the settings that apply to `used`."""
    chosen: dict[tuple[str, Any, Any], ChosenModel] = {}

    def choose(word: str) -> None:
        for selected in [SelectedModel(row=given[word])] if word in given else select_models(word):
            row, release = selected.row, selected.weights
            models, applied = row.architecture.variants(row, config.model_settings, settings.read_sweep)
            used.update(applied)
            for model in models:
                chosen[model.name, model.variant, release] = ChosenModel(model=model, release=release, word=word)

    each(choose, config.model or suite.default_models)
    return list(chosen.values())
