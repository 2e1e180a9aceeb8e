"""What the architectures share whose networks this project builds itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, get_type_hints

from ...registry import UsageError
from ..read_weights import file_at, read_drawn, read_files, read_random, read_released, released
from ..released import table as releases
from ..spec import Architecture, Model, ReadValues
from ..weights_choice import Random, Released, WeightsChoice


@dataclass(frozen=True, kw_only=True)
class NativeArchitecture(Architecture):
    """A network of ours: its fields are its settings, and released files fit it."""

    names_are_ours: ClassVar[bool] = True

    @property
    def built_by(self) -> str:
        return "build"

    @property
    def network_modules(self) -> tuple[str, ...]:
        return (f"networks.{self.network.partition(':')[0]}",)

    @abstractmethod
    def num_features(self) -> int: ...

    def releases(self, row: Model) -> Sequence[Released]:
        return released(row.name)

    def variants(self, row: Model, settings: Mapping[str, str], read: ReadValues) -> tuple[list[Model], set[str]]:
        """A setting that is no field of the architecture is another model's."""
        hints, names = get_type_hints(type(self)), row.settable()
        used = {name for name in settings if name in names}
        rows = [row]
        for name in (name for name in settings if name in used):
            values = read(f"model.{name}", settings[name], hints[name])
            rows = [each.derive(**{name: value}) for each in rows for value in values]
        return rows, used

    def read_weights(self, row: Model, word: str) -> list[WeightsChoice] | None:
        """A tag goes before a file."""
        return read_random(word) or read_released(row.name, word) or read_files(word)

    def default_weights(self, row: Model, suite: str | None) -> WeightsChoice:
        if row.small or suite is None:
            return Random()
        tags = f"weights=TAG ({releases.summary(row.name)}), " if row.releases else ""
        raise UsageError(
            f"{row.name} needs weights for suite={suite}: type {tags}weights=FILE or, for the untrained network, "
            "weights=random"
        )

    def choose_weights(self, row: Model, weights: str | Path | None) -> WeightsChoice:
        if weights is None:
            return Random()
        if isinstance(weights, Path):
            return file_at(weights)
        if drawn := read_drawn(weights):
            return drawn
        release = releases.chosen(row.name, weights)
        return file_at(weights) if release is None else Released(release)
