"""Builds the network of a model by its name or row, with weights, a head and an image size."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, SupportsIndex

from ..registry import UsageError
from .parse_weights import parse_weights
from .selection import SelectedModel, select_model
from .spec import Backbone, Model
from .weights_choice import WeightsChoice


def create_model(
    name: str | Model,
    weights: str | Path | WeightsChoice | None = None,
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    *,
    seed: int = 0,
) -> Backbone:
    """A network in evaluation mode, with float32 weights on the CPU.

    name         a name or alias of the catalog, `timm:NAME[.TAG]`, `torchvision:NAME[.TAG]`, `hf:OWNER/REPOSITORY`
                 (timm's format), `path/file.py:builder`, `package.module:builder`, or a row; an alias may name weights,
                 too: `BiT-M-R50x1`, `vit_base_patch16_224.augreg_in21k`
    weights      None or "random": random weights, drawn as the official code does, from `seed` ("random:7": from 7);
                 a tag of the row (`spec.known_weights`), whose file is found or downloaded
                 (models/released/download.py); or the path of a file, which must match exactly: an official .npz of a
                 ViT, BiT or hybrid, or big_vision's of a ViT; a .safetensors (or an index of shards), .pt, .pth, .bin
                 or .ckpt with our names or timm's, bare or inside a training checkpoint ("run.pth:model_ema" names the
                 part); or a folder that holds one of these. A user's own model brings its weights ("own", or None) or
                 draws them from `seed`; a file has its names. A library's model also takes "pretrained" (the library's
                 default) or a name of the library's weights, its files have the library's names, and None is
                 "pretrained" where its name has a tag. A WeightsChoice is taken as it is (models/weights_choice.py).
    num_classes  of the head, which is zero unless the file has a head of that size. None keeps the file's head; without
                 one, calling the network gives the features
    image_size   in pixels, one number or (height, width); None: the row's. Position embeddings of a file with another
                 grid are resized as the official code does (with the row's `posembed="bicubic"`, as timm does). Rows
                 and columns at the end that fill no patch are left out, as in the official code, and `notes` say so.

    Returns a Backbone: `features(images)` is (B, num_features), `images` (B, 3, H, W) floats scaled by `spec.input`.
    Its `notes` say what was done to fit a file or a size; its `spec` is the row, or a variant of it where the file has
    a tanh layer before its head.
    Raises UsageError for everything that cannot be done.
    """
    size, classes = _read_image_size(image_size), _read_classes(num_classes)
    selected = SelectedModel(row=name) if isinstance(name, Model) else select_model(name)
    row = selected.row
    if not isinstance(weights, str | Path | WeightsChoice | None):
        raise UsageError(f"weights={weights!r}: give a word, the path of a file, or None")
    asked = weights if isinstance(weights, WeightsChoice) else parse_weights(row, weights)
    instead = f"Take create_model('{row.name}', weights='{weights}')"
    named = selected.agreed([] if weights is None else [asked], f"'{weights}'", instead)
    return _builder(row).build(row, (named or [asked])[0].local(), classes, size, seed)


def count_parameters(row: Model, num_classes: int | None = 1000) -> int:
    """Parameters of a row with a head of `num_classes` (None: no head), at its own input size.

    Allocates nothing, except for a user's own model. The released files' counts are with 1000 classes.
    """
    return _builder(row).count_parameters(row, num_classes)


def _builder(row: Model) -> Any:
    """The module that builds a row's network, imported late because it needs torch."""
    return import_module(f".{row.architecture.built_by}", __package__)


def _read_classes(num_classes: int | None) -> int | None:
    """A number of classes as an int. Raises UsageError unless it is whole; the network checks its range."""
    if num_classes is None:
        return None
    if not _is_whole(num_classes):
        raise UsageError(f"num_classes={num_classes!r}: give a whole number of classes, or None for no new head")
    return int(num_classes)


def _is_whole(value: object) -> bool:
    """Whether a value is a whole number, Python's or NumPy's; True and False do not count."""
    return isinstance(value, SupportsIndex) and not isinstance(value, bool)


def _read_image_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """An image size as (height, width); one number is a square. Raises UsageError for anything else."""
    if image_size is None:
        return None
    sides = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(sides) != 2 or not all(_is_whole(side) and side > 0 for side in sides):
        raise UsageError(f"image_size={image_size!r}: give one whole number of pixels, or (height, width)")
    return int(sides[0]), int(sides[1])
