"""The BiT ResNet-v2 (BiT paper, Section 3): pre-activation, GroupNorm, weight standardisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ..catalog.bit import BiT
from ..geometry import resnet_channels, resnet_root_channels
from .base import Network, check_images, he_normal_
from .convolution import GroupNorm, StdConv, bottleneck_stages, max_pool_zeros, standardise

if TYPE_CHECKING:
    from ..spec import Model

GROUP_NORM_EPS = 1e-5  # the hybrids' ResNet has 1e-6


class PreActivationUnit(nn.Module):
    """A v2 bottleneck: norm and ReLU before each convolution, nothing after the sum, the stride on the 3x3."""

    def __init__(self, in_channels: int, inner: int, stride: int) -> None:
        super().__init__()
        out_channels = 4 * inner
        self.norm1 = GroupNorm(in_channels, GROUP_NORM_EPS)
        self.conv1 = StdConv(in_channels, inner, 1, release="bit")
        self.norm2 = GroupNorm(inner, GROUP_NORM_EPS)
        self.conv2 = StdConv(inner, inner, 3, stride, release="bit")
        self.norm3 = GroupNorm(inner, GROUP_NORM_EPS)
        self.conv3 = StdConv(inner, out_channels, 1, release="bit")
        self.projection = None
        if in_channels != out_channels or stride > 1:
            self.projection = StdConv(in_channels, out_channels, 1, stride, release="bit")

    def forward(self, x: Tensor) -> Tensor:  # B C H W
        y = F.relu(self.norm1(x), inplace=True)
        # The projection sees the activated input; where there is none the shortcut is the input itself.
        shortcut = x if self.projection is None else self.projection(y)
        y = self.conv1(y)
        y = self.conv2(F.relu(self.norm2(y), inplace=True))
        return self.conv3(F.relu(self.norm3(y), inplace=True)) + shortcut  # B 4*inner H/stride W/stride


class BiTResNet(Network):
    """BiT. It takes images of any size; `image_size` only records the one it was built for."""

    any_size = True

    def __init__(self, spec: Model, num_classes: int | None, image_size: tuple[int, int]) -> None:
        bit = cast(BiT, spec.architecture)
        bit.check(spec.name)
        root = resnet_root_channels(bit.widen)
        features = resnet_channels(bit.units, bit.widen)
        super().__init__(spec, num_classes, image_size, num_features=features)
        with torch.device("meta"):
            self.root = StdConv(3, root, 7, 2, release="bit")
            self.stages = bottleneck_stages(PreActivationUnit, bit.units, root)
            self.norm = GroupNorm(features, GROUP_NORM_EPS)

    def features(self, images: Tensor) -> Tensor:
        """The mean over H and W of the last map after its norm and ReLU: (B, D)."""
        check_images(self, images)
        x = self.root(images)  # B C H/2 W/2
        # No ReLU comes before this pool, so the zeros that the release pads with can be the maximum.
        x = max_pool_zeros(x)  # B C H/4 W/4
        x = F.relu(self.norm(self.stages(x)), inplace=True)
        return x.mean(dim=(2, 3))  # B D

    @property
    def rgb_filters(self) -> Tensor:
        """The root convolution's filters as they are applied, standardised: (filters, 3, 7, 7)."""
        return standardise(self.root.weight, "bit")

    def draw(self, generator: Generator) -> None:
        for module in self.modules():
            if isinstance(module, StdConv):  # it standardises its weight: the scale matters to the optimiser alone
                he_normal_(module.weight, generator)
