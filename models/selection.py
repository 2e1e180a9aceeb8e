"""Selects rows by a word: the catalog's, another library's or a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from ..registry import Registry, UsageError, collect, first_few, is_glob
from .external.rows import external_models, is_external
from .own.rows import is_own, own_model
from .released import table as releases
from .spec import Model
from .weights_choice import Released, WeightsChoice

ROWS = f"{__package__}.catalog"


@dataclass(frozen=True, kw_only=True)
class SelectedModel:
    """A row, and the weights where its name names them, too, as `BiT-M-R50x1` does."""

    row: Model
    weights: Released | None = None
    word: str = "the name"  # what is typed, for messages: "model=BiT-M-R50x1"

    def agreed(self, asked: Sequence[WeightsChoice], typed: str, instead: str) -> Sequence[WeightsChoice]:
        """The weights that the name says, else those that are asked for, which may be none.

        Raises UsageError where they differ, with the weights as `typed` and what to take `instead`.
        """
        if self.weights is None:
            return asked
        if asked and asked != [self.weights]:
            raise UsageError(
                f"{self.word} says the weights, {self.weights} of {self.row.name}, and weights={typed} says others. "
                f"{instead}"
            )
        return [self.weights]


@cache
def catalog() -> Registry[Model]:
    """Every row of the catalog by name and alias; timm's names of the released models are among the aliases."""
    rows = collect(ROWS, Model)
    return Registry("model", [replace(row, aliases=row.aliases + releases.timm_names(row.name)) for row in rows])


def select_models(word: str) -> list[SelectedModel]:
    """The rows that a name, an alias, a glob, `timm:NAME` or `file.py:builder` selects, in the catalog's order.

    Globs select neither the small demonstration models nor other libraries' models; `timm:resnetv2_50x*` and
    `torchvision:*` select from a library. Raises UsageError where nothing matches.
    """
    if is_external(word):
        return [SelectedModel(row=row) for row in external_models(word)]
    if is_own(word):
        return [SelectedModel(row=own_model(word))]
    if is_glob(word):
        return [SelectedModel(row=row) for row in catalog().select(word)]
    release = None if word in catalog() else releases.release_named(word)
    if release is None:
        return [SelectedModel(row=catalog()[word])]
    return [SelectedModel(row=catalog()[release.model], weights=Released(release))]


def list_models(pattern: str | None = None) -> list[str]:
    """The names of all models in the catalog, or of those that `select_models` finds for a pattern."""
    return catalog().names() if pattern is None else [selected.row.name for selected in select_models(pattern)]


def select_model(word: str) -> SelectedModel:
    """The row that a word selects. Raises UsageError as `select_models` does, and where it selects several."""
    models = select_models(word)
    if len(models) == 1:
        return models[0]
    names = first_few([model.row.name for model in models], most=6)
    raise UsageError(f"'{word}' is {len(models)} models, and one is needed: {names}")


def other_name(row: Model, name: str) -> str:
    """The full name of a model to compare with a row: `timm` alone means timm's network of the same row.

    Raises UsageError where timm has none.
    """
    if name != "timm":
        return name
    names = releases.timm_names(row.name)
    if not names:
        raise UsageError(f"timm has no {row.name} that is known here. Name its model: timm:NAME")
    return f"timm:{names[0]}"
