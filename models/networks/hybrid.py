"""The hybrid: a Vision Transformer on the feature map of a ResNet-v1 (ViT paper, Section 3.1).

The paper describes it in two ways. In its first version E, the patch embedding, "is replaced by the early stages of a
ResNet", whose map is flattened and projected; in its second E "is applied to patches extracted from a CNN feature map".
The released code is the second: after the ResNet there is a patch embedding with its own kernel and bias, 1x1 in all
rows but R+ViT-Ti/16. And although the paper's ResNets are BiT's (v2, pre-activation), the released hybrids hold a
post-activation ResNet-v1 with the ViT release's own standardisation, epsilon and padding.

The number in a hybrid's name is its total stride, except in R+ViT-Ti/16: its stem has stride 4 and its patch is 8, so
the released file has 7x7 tokens at 224 pixels, which is a total stride of 32.
"""

from __future__ import annotations

from typing import cast

from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ..catalog.hybrid import Hybrid
from ..catalog.vit import ViT
from ..geometry import resnet_channels, resnet_root_channels
from .base import lecun_normal_
from .convolution import GroupNorm, StdConv, bottleneck_stages, max_pool_same, standardise
from .vit import VisionTransformer

GROUP_NORM_EPS = 1e-6  # flax's default; BiT has 1e-5


class ResidualUnit(nn.Module):
    """A v1 bottleneck: norm after each convolution, ReLU after the sum, the stride on the 3x3."""

    def __init__(self, in_channels: int, inner: int, stride: int) -> None:
        super().__init__()
        out_channels = 4 * inner
        self.conv1 = StdConv(in_channels, inner, 1, release="vit")
        self.norm1 = GroupNorm(inner, GROUP_NORM_EPS)
        self.conv2 = StdConv(inner, inner, 3, stride, release="vit")
        self.norm2 = GroupNorm(inner, GROUP_NORM_EPS)
        self.conv3 = StdConv(inner, out_channels, 1, release="vit")
        self.norm3 = GroupNorm(out_channels, GROUP_NORM_EPS)
        self.projection: nn.Module = nn.Identity()
        if in_channels != out_channels or stride > 1:
            self.projection = nn.Sequential(
                StdConv(in_channels, out_channels, 1, stride, release="vit"),
                GroupNorm(out_channels, GROUP_NORM_EPS),
            )

    def forward(self, x: Tensor) -> Tensor:  # B C H W
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = F.relu(self.norm2(self.conv2(y)), inplace=True)
        y = self.norm3(self.conv3(y))  # B 4*inner H/stride W/stride
        return F.relu(self.projection(x) + y, inplace=True)


class ResNetV1(nn.Module):
    """Root (7x7/2, norm, ReLU, max pool: stride 4) and stages; with no stages the root alone."""

    def __init__(self, units: tuple[int, ...], widen: float) -> None:
        super().__init__()
        root = resnet_root_channels(widen)
        self.root = StdConv(3, root, 7, 2, release="vit")
        self.root_norm = GroupNorm(root, GROUP_NORM_EPS)
        self.stages = bottleneck_stages(ResidualUnit, units, root)

    def forward(self, images: Tensor) -> Tensor:  # B 3 H W
        x = max_pool_same(F.relu(self.root_norm(self.root(images)), inplace=True))  # B C H/4 W/4
        return self.stages(x)

    def draw(self, generator: Generator) -> None:
        """Fills the convolutions, and sets the scale of the last norm of every residual unit to zero.

        In the official code, too, every unit starts as its shortcut.
        """
        for module in self.modules():
            if isinstance(module, StdConv):
                lecun_normal_(module.weight, generator)
            elif isinstance(module, ResidualUnit):
                nn.init.zeros_(module.norm3.weight)


class HybridTransformer(VisionTransformer):
    """R+ViT: a ViT whose stem is a ResNet; the embedding is on its feature map."""

    def make_stem(self, vit: ViT) -> tuple[nn.Module, int]:
        hybrid = cast(Hybrid, vit)
        return ResNetV1(hybrid.units, hybrid.widen), resnet_channels(hybrid.units, hybrid.widen)

    def draw_stem(self, generator: Generator) -> None:
        cast(ResNetV1, self.stem).draw(generator)

    @property
    def rgb_filters(self) -> Tensor:
        """The root convolution's filters as they are applied, standardised: (filters, 3, 7, 7)."""
        return standardise(cast(ResNetV1, self.stem).root.weight, "vit")
