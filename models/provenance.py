"""What is known of weights beyond their numbers: where they come from, and what their head tells apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
        "square"  # what is made of an image: suites/images/transforms.py
    )
    crop_pct: float | None = None  # the share of a side that is kept by a crop; None: 7/8
    origin: str = "a release"  # who says so
