"""What a model is to the rest of the project: the row that describes it and the contract that its network keeps.

No torch here: rows are listed, planned and keyed without importing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from . import compute

if TYPE_CHECKING:
    from torch import Tensor

Interpolation = Literal["nearest", "bilinear", "bicubic"]
PositionEmbedding = Literal["none", "1d", "2d", "relative", "bicubic"]
PositionPlace = Literal["stem", "layers", "shared"]


@dataclass(frozen=True, kw_only=True)
class Input:
    """The images a model expects: height and width in pixels, and RGB in [0, 1] minus mean, over std."""

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)  # both releases scale RGB to [-1, 1]
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: Interpolation = "bilinear"


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The constructor's arguments of a network, as plain data. `network` names its class: "module:Class" in models/."""

    network: ClassVar[str]
    code_fields: ClassVar[frozenset[str]] = frozenset()  # digests of a user's code: a change makes results outdated
    in_globs: ClassVar[bool] = True  # whether globs of the catalog select rows of this kind

    def macs(self, image_size: tuple[int, int]) -> int | None:  # noqa: ARG002 -- for those that know it
        """Multiply-accumulates of one image's forward pass to the features (no head), or None where not known."""
        return None


@dataclass(frozen=True, kw_only=True)
class ViT(Architecture):
    """Vision Transformer (ViT paper, Section 3.1 and Table 1)."""

    network: ClassVar[str] = "vit:VisionTransformer"

    patch_size: int  # side of a square patch, in pixels (in cells of the feature map for a hybrid)
    width: int  # hidden size D
    depth: int  # layers
    heads: int
    mlp_dim: int | None = None  # None: 4 x width, as in every published size
    pool: Literal["token", "gap"] = "token"  # class token, or mean of the tokens ("gap")
    # Width of the tanh layer between the representation and the head. None: a weights file decides, and there is none
    # without a file; 0: none, even if the file has one (it is dropped, and the head that was trained on it).
    pre_logits: int | None = None
    dropout: float = 0.0
    # Appendix D.4 and Table 8. 1d: one vector a patch, in raster order; 2d: half a vector for its column (X), half for
    # its row (Y); relative: in every layer, one vector for every distance between two tokens of the sequence. bicubic:
    # 1d, and where a file's grid is another it is resized as timm does, not by the official code's order-1 spline.
    posembed: PositionEmbedding = "1d"
    # stem: added once, to the tokens; layers: to every layer's input, each its own; shared: likewise, all the same.
    posembed_at: PositionPlace = "stem"

    @property
    def stride(self) -> int:
        """Pixels a side of a cell of the map that patches are cut from."""
        return 1

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tokens for an image of (H, W) pixels. Raises UsageError where the patch does not fit."""
        return compute.grid(image_size, self.patch_size, self.stride)

    def left_out(self, image_size: tuple[int, int]) -> str | None:
        """A sentence on what of an image of (H, W) pixels is in no patch, or None where all of it is in one."""
        rows, columns = compute.left_out(image_size, self.patch_size, self.stride)
        if not rows and not columns:
            return None
        of = "image" if self.stride == 1 else "feature map"
        return f"the last {rows} rows and {columns} columns of the {of} are in no patch, as in the official code"

    def macs(self, image_size: tuple[int, int]) -> int:
        return compute.transformer_macs(self, self.grid(image_size), channels=3)


@dataclass(frozen=True, kw_only=True)
class BiT(Architecture):
    """BiT ResNet-v2: pre-activation, GroupNorm, weight standardisation (BiT paper, Section 3)."""

    network: ClassVar[str] = "bit:BiTResNet"

    units: tuple[int, ...]  # residual units a stage; (3, 4, 6, 3) is R50
    widen: float = 1  # the x1, x2, x3, x4 of the name

    def macs(self, image_size: tuple[int, int]) -> int:
        return compute.resnet_macs(self.units, self.widen, image_size)


@dataclass(frozen=True, kw_only=True)
class Hybrid(ViT):
    """A ViT on the feature map of a ResNet-v1 with GroupNorm and weight standardisation (ViT paper, Section 3.1)."""

    network: ClassVar[str] = "hybrid:HybridTransformer"

    patch_size: int = 1
    units: tuple[int, ...]  # (3, 4, 6, 3): total stride 32; (3, 4, 9): stage 4's layers in stage 3, total stride 16;
    #                         (): the stem alone, stride 4
    widen: float = 1

    @property
    def stride(self) -> int:
        return compute.resnet_stride(self.units)

    def macs(self, image_size: tuple[int, int]) -> int:
        channels = compute.resnet_channels(self.units, self.widen)
        resnet = compute.resnet_macs(self.units, self.widen, image_size)
        return resnet + compute.transformer_macs(self, self.grid(image_size), channels)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where weights come from, as far as it is known: what they were trained on, for how long, at what cost."""

    pretrain: str | None = None  # the data set, as the papers write it: "ImageNet-21k"
    images: int | None = None  # in that data set
    epochs: float | None = None  # passes over it
    core_days: float | None = None  # TPUv3-core-days, the unit of the ViT paper's Table 2


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is known beforehand of the head in a file of weights: what it tells apart, and how it was last fed."""

    data: str  # whose classes: "ImageNet"; of BiT's files for single VTAB-1k tasks "VTAB-1k clevr-count"; a task's name
    image_size: int | None = None  # pixels; None: not stated, or sources differ
    antialias: bool = False  # when resizing: the official pipelines do not (tf.image.resize)
    resize: Literal["square", "resize_crop", "shorter_crop"] = (
        "square"  # what is made of an image: suites/transforms.py
    )
    crop_pct: float | None = None  # the share of a side that is kept by a crop; None: 7/8
    origin: str = "a release"  # who says so


@dataclass(frozen=True, kw_only=True)
class Model:
    """One row of the catalog: everything about a model that can be known without building it."""

    name: str  # as the papers write it
    family: str  # "ViT", "BiT", "R+ViT", "timm" or "torchvision", or "own" for a user's model
    architecture: Architecture
    params: int | None = None  # with a 1000-class head at `input.size`, as the release counts; None for a variant
    input: Input = Input()
    aliases: tuple[str, ...] = ()
    small: bool = False  # a demonstration model with no released weights; no glob selects it
    variant: tuple[tuple[str, Any], ...] = ()  # the fields of the architecture that differ from the named row

    @property
    def in_globs(self) -> bool:
        return not self.small and self.architecture.in_globs

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one image at the row's own input size, to the features; None where not known."""
        return self.architecture.macs(self.input.size)

    @property
    def known_weights(self) -> tuple[str, ...]:
        """The tags of the released files that fit this row (models/releases.py): what `weights=` takes by name."""
        from .releases import of_model

        return tuple(release.tag for release in of_model(self.name))

    def head(self, weights: str) -> Head | None:
        """What is known of the head that weights of this row bring: of a released file, or by a file's sidecar.

        None where nothing is known; random weights have no trained head. Raises UsageError for a damaged sidecar.
        """
        from .releases import tagged
        from .weights.sidecar import read_head

        release = tagged(self.name, weights)
        if release is not None:
            return release.head
        return None if weights.split(":")[0] in ("random", "own") else read_head(weights)

    def settable(self) -> dict[str, str]:
        """The fields that `derive` takes, with their annotations."""
        return {field.name: str(field.type) for field in fields(self.architecture)}

    def derive(self, **changes: Any) -> Model:
        """This row with some fields of its architecture changed, recorded as a variant. Values are not read here."""
        changed = {name: value for name, value in changes.items() if getattr(self.architecture, name) != value}
        if not changed:
            return self
        variant = tuple(sorted({**dict(self.variant), **changed}.items()))
        return replace(self, architecture=replace(self.architecture, **changed), params=None, variant=variant)


class Backbone(Protocol):
    """The contract of every network that a suite is handed, ours or a user's.

    `features(images)` is the representation every probe uses: (B, D) floats from (B, 3, H, W) float images that were
    scaled by `spec.input`. Calling it gives (B, K) logits, or the features where it was built without a head.
    """

    spec: Model
    image_size: tuple[int, int]
    num_features: int
    notes: tuple[str, ...]  # what loading the weights did besides loading them, in sentences

    def __call__(self, images: Tensor) -> Tensor: ...

    def features(self, images: Tensor) -> Tensor: ...

    def state_dict(self) -> Mapping[str, Tensor]: ...
