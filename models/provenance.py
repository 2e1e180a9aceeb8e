"""What is known of weights beside their numbers: how they were trained, and the classes of their head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pool = Literal["classifier", "token", "gap", "token-before-norm", "gap-before-norm"]  # a feature of a library's model


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How weights were trained, as far as it is known: on which data, for how long, at what cost."""

    pretrain: str | None = None  # the data set, as the papers write it: "ImageNet-21k"
    images: int | None = None  # in that data set
    images_sha: str | None = None  # a digest of these images in their order
    epochs: float | None = None  # passes over it
    core_days: float | None = None  # TPUv3-core-days, the unit of the ViT paper's Table 2
    exaflops: float | None = None  # 6 operations a multiply-accumulate of a forward pass and image seen (Table 6)
    device_hours: float | None = None
    recipe: str | None = None
    commit: str | None = None  # of the code that trained; without a checkout its version and a digest


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is known of the head in a file before it is opened: its classes, and how images were resized for it."""

    data: str  # whose classes: "ImageNet"; of BiT's files for single VTAB-1k tasks "VTAB-1k clevr-count"; a task's name
    image_size: int | None = None  # pixels; None: not stated, or sources differ
    antialias: bool = False  # when resizing; the official pipelines do not (tf.image.resize)
    # See suites/images/transforms.py and resize.py.
    resize: Literal["square", "resize_crop", "shorter_crop", "resmall_crop"] = "square"
    interpolation: Literal["bilinear", "bicubic", "nearest", "area", "legacy"] | None = None  # None: the model's own
    rounding: Literal["none", "truncate", "pillow"] | None = None
    crop_pct: float | None = None  # the share of a side that a crop keeps; None: 7/8
    listing: str | None = None  # of a folder of images: the digest of its names and sizes, which its path is no part of
    tap: str | None = None  # the feature of a user's own model that it reads: a part's name, or "features"
    pool: Pool | None = None  # the feature of a library's model that it reads; None: what enters its classifier
    origin: str = "a release"  # where this is stated
