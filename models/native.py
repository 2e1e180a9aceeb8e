"""The base of the catalog's architectures whose networks this project implements."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_type_hints

from ..registry import UsageError, is_glob
from .released import table as releases
from .spec import Architecture, Input, Model, ReadValues
from .weights_choice import Random, Released, WeightsChoice


@dataclass(frozen=True, kw_only=True)
class NativeArchitecture(Architecture):
    """A network that this project implements: its fields are its settings, and released files fit it."""

    @property
    def built_by(self) -> str:
        return "build_native"

    @property
    def modules(self) -> tuple[str, ...]:
        names = (f"weights.names.{self.weights_names}",) if self.weights_names else ()
        return (self.built_by, f"networks.{self.network.partition(':')[0]}", *names)

    @abstractmethod
    def num_features(self) -> int: ...

    def releases(self, row: Model) -> Sequence[Released]:
        return [Released(release) for release in releases.of_model(row.name)]

    def variants(self, row: Model, settings: Mapping[str, str], read: ReadValues) -> tuple[list[Model], set[str]]:
        """A setting that is no field of this architecture is skipped: it may be for another model."""
        hints, names = get_type_hints(type(self)), row.settable()
        used = {name for name in settings if name in names}
        rows = [row]
        for name in (name for name in settings if name in used):
            values = read(f"model.{name}", settings[name], hints[name])
            rows = [variant.derive(**{name: value}) for variant in rows for value in values]
        for variant in rows:
            variant.architecture.check(row.name)
        return rows, used

    def default_weights(self, row: Model, suite: str | None) -> WeightsChoice:
        if row.small or suite is None:
            return Random()
        tags = f"weights=TAG ({releases.tags_in_short(row.name)}), " if row.releases else ""
        raise UsageError(
            f"{row.name} needs weights for suite={suite}: type {tags}weights=FILE or, for the untrained network, "
            "weights=random"
        )

    def read_published(self, row: Model, word: str) -> Sequence[Released]:
        """The releases of a tag or of a glob of tags. Raises UsageError for the stem of several."""
        release = releases.find_release(row.name, word)
        tagged = [release] if release else releases.matching_releases(row.name, word) if is_glob(word) else []
        return [Released(file) for file in tagged]


def native_row(name: str, family: str, params: int, architecture: NativeArchitecture, *published: str) -> Model:
    """A row of the catalog, with the spellings in published tables among its aliases."""
    aliases = spellings(name, *published)
    return Model(name=name, family=family, architecture=architecture, params=params, aliases=aliases)


def mini_row(name: str, family: str, params: int, architecture: NativeArchitecture) -> Model:
    """A demonstration model for images of 64 pixels."""
    return replace(native_row(name, family, params, architecture), input=Input(size=(64, 64)), small=True)


def spellings(name: str, *published: str) -> tuple[str, ...]:
    """The aliases of a row: an identifier, the stem of its released file, and the spellings in published tables.

    ViT-B/16-gap has vit_b16_gap and ViT-B_16-gap; R50+ViT-B/16 has r50_vit_b16.
    """
    identifier = name.lower().replace("/", "").replace("-", "_").replace("+", "_")
    return tuple(word for word in dict.fromkeys((identifier, releases.stem(name), *published)) if word != name)
