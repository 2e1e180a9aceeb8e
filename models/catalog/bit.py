"""BiT ResNets: BiT paper, Section 3, and those that the ViT paper's Table 6 adds.

Parameter counts are with a 1000-class head, counted in the released files. R50x2, R152x1 and R200x3 have no file; their
counts come from the formula that gives every released count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...registry import UsageError
from ..geometry import check_resnet, resnet_channels, resnet_macs
from ..native import NativeArchitecture, mini_row, native_row
from ..spec import Model


@dataclass(frozen=True, kw_only=True)
class BiT(NativeArchitecture):
    """BiT ResNet-v2: pre-activation, GroupNorm, weight standardisation (BiT paper, Section 3)."""

    network = "bit:BiTResNet"
    weights_names = "bit"
    has_resnet = True
    tested_by_hyper_rule = True
    first_layer = "root convolution, standardised"

    units: tuple[int, ...]  # residual units a stage; (3, 4, 6, 3) is R50
    widen: float = 1  # the x1, x2, x3, x4 of the name

    def check(self, name: str) -> None:
        if not self.units:
            raise UsageError(f"{name}: units=() leaves no stage; R50 is units=3,4,6,3")
        check_resnet(name, self.units, self.widen)

    def sizes(self) -> Mapping[str, int]:
        return {"layers": 3 * sum(self.units) + 2}

    def num_features(self) -> int:
        return resnet_channels(self.units, self.widen)

    def macs(self, image_size: tuple[int, int]) -> int:
        return resnet_macs(self.units, self.widen, image_size)


R50 = (3, 4, 6, 3)
R101 = (3, 4, 23, 3)
R152 = (3, 8, 36, 3)
R200 = (3, 24, 36, 3)


def bit_row(size: str, params: int, architecture: BiT, *published: str) -> Model:
    """A row. The ViT paper writes both R50x1 and ResNet50x1. "BiT-M-R50x1" is no alias: it names weights, too."""
    published = (size, size.replace("R", "ResNet"), size.replace("R", "ResNet-"), *published)
    return native_row(f"BiT-{size}", "BiT", params, architecture, *published)


RESNETS = (
    bit_row("R50x1", 25_549_352, BiT(units=R50, widen=1)),
    bit_row("R50x2", 97_988_712, BiT(units=R50, widen=2)),
    bit_row("R50x3", 217_319_080, BiT(units=R50, widen=3)),
    bit_row("R101x1", 44_541_480, BiT(units=R101, widen=1)),
    bit_row("R101x3", 387_934_888, BiT(units=R101, widen=3)),
    bit_row("R152x1", 60_185_128, BiT(units=R152, widen=1)),
    bit_row("R152x2", 236_335_208, BiT(units=R152, widen=2)),
    # As the ViT paper's Tables 2 and 9 write it: its BiT-L weights, of JFT-300M, were never released.
    bit_row("R152x4", 936_533_224, BiT(units=R152, widen=4), "BiT-L (ResNet152x4)", "BiT-L (R152x4)"),
    bit_row("R200x3", 568_633_000, BiT(units=R200, widen=3)),
)

MINI = mini_row("BiT-mini", "BiT", 1_009_928, BiT(units=(1, 1, 1), widen=0.5))
