"""The BiT ResNet's architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..macs import resnet_channels, resnet_macs
from .native import NativeArchitecture


@dataclass(frozen=True, kw_only=True)
class BiT(NativeArchitecture):
    """BiT ResNet-v2: pre-activation, GroupNorm, weight standardisation (BiT paper, Section 3)."""

    network: ClassVar[str] = "bit:BiTResNet"
    has_resnet: ClassVar[bool] = True
    tested_by_hyper_rule: ClassVar[bool] = True
    first_layer: ClassVar[str] = "root convolution, standardised"

    units: tuple[int, ...]  # residual units a stage; (3, 4, 6, 3) is R50
    widen: float = 1  # the x1, x2, x3, x4 of the name

    def sizes(self) -> Mapping[str, int]:
        return {"layers": 3 * sum(self.units) + 2}

    def num_features(self) -> int:
        return resnet_channels(self.units, self.widen)

    def macs(self, image_size: tuple[int, int]) -> int:
        return resnet_macs(self.units, self.widen, image_size)
