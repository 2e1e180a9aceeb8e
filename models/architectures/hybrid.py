"""The architecture of a hybrid: a Vision Transformer on a ResNet's feature map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..macs import resnet_channels, resnet_macs, resnet_stride
from .vit import ViT


@dataclass(frozen=True, kw_only=True)
class Hybrid(ViT):
    """A ViT on the feature map of a ResNet-v1 with GroupNorm and weight standardisation (ViT paper, Section 3.1)."""

    network: ClassVar[str] = "hybrid:HybridTransformer"
    has_resnet: ClassVar[bool] = True
    first_layer: ClassVar[str] = "root convolution, standardised"

    patch_size: int = 1
    units: tuple[int, ...]  # (3, 4, 6, 3): total stride 32; (3, 4, 9): stage 4's layers in stage 3, total stride 16;
    #                         (): the stem alone, stride 4
    widen: float = 1

    @property
    def stride(self) -> int:
        return resnet_stride(self.units)

    def macs(self, image_size: tuple[int, int]) -> int:
        channels = resnet_channels(self.units, self.widen)
        resnet = resnet_macs(self.units, self.widen, image_size)
        return resnet + self.transformer_macs(image_size, channels)
