"""Which rows a word selects: the catalog's, another library's or a user's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from ..registry import Registry, UsageError, collect, is_glob
from .external.rows import external_models, is_external
from .own.rows import is_own, own_model
from .released import table as releases
from .spec import Model
from .weights_choice import Released

ROWS = f"{__package__}.catalog"


@dataclass(frozen=True, kw_only=True)
class SelectedModel:
    """A row, and the weights where its name names them, too, as `BiT-M-R50x1` does."""

    row: Model
    weights: Released | None = None


@cache
def catalog() -> Registry[Model]:
    """Every model this project knows, by name and alias; timm's names of the released ones are among the aliases."""
    rows = collect(ROWS, Model)
    return Registry("model", [replace(row, aliases=row.aliases + releases.timm_names(row.name)) for row in rows])


def select_models(word: str) -> list[SelectedModel]:
    """The rows that a name, an alias, a glob, `timm:NAME` or `file.py:builder` stands for, in the catalog's order.

    No glob selects the small demonstration models, or those that another library builds, but for a glob of that
    library: `timm:resnetv2_50x*`, `torchvision:*`. Raises UsageError where nothing matches.
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


def select_model(word: str) -> SelectedModel:
    """The one row that a word stands for. Raises UsageError as `select_models` does, and for several."""
    found = select_models(word)
    if len(found) == 1:
        return found[0]
    names = [each.row.name for each in found]
    more = f", … and {len(names) - 6} more" if len(names) > 6 else ""
    raise UsageError(f"'{word}' is {len(names)} models, and one is needed: {', '.join(names[:6])}{more}")


def other_name(row: Model, name: str) -> str:
    """The name in full of a model to hold beside a row: `timm` is that library's network of the same row.

    Raises UsageError where the library has none.
    """
    if name != "timm":
        return name
    found = releases.timm_names(row.name)
    if not found:
        raise UsageError(f"timm has no {row.name} that is known here. Name its model: timm:NAME")
    return f"timm:{found[0]}"
