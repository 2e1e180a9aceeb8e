"""The names of BiT's weights, official and timm's, and the fields that their shapes show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...catalog.bit import BiT
from ..layout import (
    ConvolutionalHead,
    FamilyWeights,
    Kernel,
    NameTable,
    Projection,
    Shape,
    Vector,
    flax_layer,
    renamed_layers,
    resnet_units,
    rule,
)

VECTOR, KERNEL = Vector(), Kernel()
CONVOLUTIONAL = Projection("11io")  # the head is a 1x1 convolution there

UNIT, UNIT_OFFICIAL = "stages.{stage}.{unit}", "resnet/block{stage+1}/unit{unit+1:02}"
CONVOLUTION = "standardized_conv2d/kernel"
OFFICIAL = NameTable(
    rule("root.weight", f"resnet/root_block/{CONVOLUTION}", KERNEL),
    *(rule(f"{UNIT}.conv{i}.weight", f"{UNIT_OFFICIAL}/{a}/{CONVOLUTION}", KERNEL) for i, a in enumerate("abc", 1)),
    *(rule(f"{UNIT}.norm{i}.weight", f"{UNIT_OFFICIAL}/{a}/group_norm/gamma", VECTOR) for i, a in enumerate("abc", 1)),
    *(rule(f"{UNIT}.norm{i}.bias", f"{UNIT_OFFICIAL}/{a}/group_norm/beta", VECTOR) for i, a in enumerate("abc", 1)),
    rule(f"{UNIT}.projection.weight", f"{UNIT_OFFICIAL}/a/proj/{CONVOLUTION}", KERNEL),
    rule("norm.weight", "resnet/group_norm/gamma", VECTOR),
    rule("norm.bias", "resnet/group_norm/beta", VECTOR),
    *flax_layer("head", "resnet/head/conv2d", CONVOLUTIONAL),
)

BLOCK = "stages.{stage}.blocks.{unit}"
TIMM = NameTable(
    rule("root.weight", "stem.conv.weight"),
    *(rule(f"{UNIT}.conv{i}.weight", f"{BLOCK}.conv{i}.weight") for i in (1, 2, 3)),
    *renamed_layers(*((f"{UNIT}.norm{i}", f"{BLOCK}.norm{i}") for i in (1, 2, 3))),
    rule(f"{UNIT}.projection.weight", f"{BLOCK}.downsample.conv.weight"),
    *renamed_layers(("norm", "norm")),
    rule("head.weight", "head.fc.weight", ConvolutionalHead()),
    rule("head.bias", "head.fc.bias"),
)


def read_shapes(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Residual units of each stage, and the width factor."""
    root, units = shapes.get("root.weight"), resnet_units(shapes)
    if root is None or not units:
        return {}
    return {"network": BiT.network, **({"units": units, "widen": root[0] / 64} if len(root) == 4 else {})}


BIT = FamilyWeights(
    titles=("a BiT",),
    first="root.weight",
    tables={"official": lambda _names, _grid: OFFICIAL, "timm": lambda _names, _grid: TIMM},
    read_shapes=read_shapes,
)
