"""Hybrids, a ViT on a ResNet's feature map: ViT paper, Section 3.1 and Table 6, and the smaller ones of AugReg.

Parameter counts are with a 1000-class head at 224 pixels, counted in the released files. R50+ViT-B/32 and R50+ViT-L/16
have no file: the first is ViT-B on the ResNet of R50+ViT-L/32, the second ViT-L on that of R50+ViT-B/16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..geometry import check_resnet, resnet_channels, resnet_macs, resnet_stride
from ..native import mini_row, native_row
from ..spec import Model
from .vit import BASE as B
from .vit import LARGE as L
from .vit import SMALL as S
from .vit import TINY as TI
from .vit import ViT


@dataclass(frozen=True, kw_only=True)
class Hybrid(ViT):
    """A ViT on the feature map of a ResNet-v1 with GroupNorm and weight standardisation (ViT paper, Section 3.1)."""

    network = "hybrid:HybridTransformer"
    has_resnet = True
    first_layer = "root convolution, standardised"

    patch_size: int = 1
    units: tuple[int, ...]  # (3, 4, 6, 3): total stride 32; (3, 4, 9): stage 4's layers in stage 3, total stride 16;
    #                         (): the stem alone, stride 4
    widen: float = 1

    def check(self, name: str) -> None:
        super().check(name)
        check_resnet(name, self.units, self.widen)

    @property
    def stride(self) -> int:
        return resnet_stride(self.units)

    def macs(self, image_size: tuple[int, int]) -> int:
        channels = resnet_channels(self.units, self.widen)
        resnet = resnet_macs(self.units, self.widen, image_size)
        return resnet + self.transformer_macs(image_size, channels)


R26 = (2, 2, 2, 2)
R50 = (3, 4, 6, 3)
R50_STRIDE_16 = (3, 4, 9)  # stage 4 is removed and its three units go to stage 3
STEM = ()  # no stages


def hybrid_row(name: str, params: int, architecture: Hybrid) -> Model:
    """A row. The ViT paper writes R50x1+ViT-B/32, and AugReg writes R26+S/32."""
    published = (name.replace("R50+", "R50x1+"), name.replace("ViT-", ""))
    return native_row(name, "R+ViT", params, architecture, *published)


HYBRIDS = (
    replace(hybrid_row("R50+ViT-B/16", 98_659_112, Hybrid(units=R50_STRIDE_16, **B)), tuned_with_dropout=0.1),
    hybrid_row("R50+ViT-B/32", 110_945_832, Hybrid(units=R50, **B)),
    hybrid_row("R50+ViT-L/16", 316_483_624, Hybrid(units=R50_STRIDE_16, **L)),
    replace(hybrid_row("R50+ViT-L/32", 328_994_856, Hybrid(units=R50, **L)), tuned_with_dropout=0.1),
    hybrid_row("R26+ViT-B/32", 101_383_976, Hybrid(units=R26, **B)),
    hybrid_row("R26+ViT-S/32", 36_431_912, Hybrid(units=R26, **S)),
    # Released with a patch of 8 on the stride-4 stem, 7x7 tokens at 224 pixels: /32 in all but its name.
    hybrid_row("R+ViT-Ti/16", 6_337_704, Hybrid(units=STEM, patch_size=8, **TI)),
)

MINI = mini_row("R+ViT-mini", "R+ViT", 1_092_488, Hybrid(units=(1, 1, 1), widen=0.5, width=128, depth=2, heads=4))
