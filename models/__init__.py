"""What we compare: ViT, BiT and hybrid networks, their catalog, and users' own models."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from ..registry import UsageError
from .arguments import read_classes, read_image_size
from .catalog.bit import BiT
from .catalog.hybrid import Hybrid
from .catalog.vit import ViT
from .external.rows import external_models
from .own.rows import given_model, own_model
from .parse_weights import parse_weights
from .provenance import Provenance
from .selection import catalog, select_model, select_models
from .spec import Backbone, Input, Model
from .weights_choice import WeightsChoice

__all__ = [
    "Backbone",
    "BiT",
    "Hybrid",
    "Input",
    "Model",
    "Provenance",
    "ViT",
    "WeightsChoice",
    "catalog",
    "count_parameters",
    "create_model",
    "external_models",
    "given_model",
    "list_models",
    "own_model",
    "select_model",
    "select_models",
]


def list_models(pattern: str | None = None) -> list[str]:
    """The names of all models, or of those that a name, an alias or a glob stands for.

    No glob selects the small demonstration models, or those that another library builds, but for a glob of that
    library: `timm:resnetv2_50x*`, `torchvision:*`. Raises UsageError where nothing matches.
    """
    return catalog().names() if pattern is None else [each.row.name for each in select_models(pattern)]


def create_model(
    name: str | Model,
    weights: str | Path | WeightsChoice | None = None,
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    *,
    seed: int = 0,
) -> Backbone:
    """A network in evaluation mode, with float32 weights on the CPU.

    name         a name or alias of the catalog, `path/file.py:builder`, `package.module:builder`, `timm:NAME[.TAG]`,
                 `torchvision:NAME[.TAG]`, `hf:OWNER/REPOSITORY` of timm's format, or a row; an alias may name weights,
                 too: `BiT-M-R50x1`, `vit_base_patch16_224.augreg_in21k`
    weights      None or "random": drawn as the official code does, from a generator of `seed` ("random:7": of 7);
                 a tag of the row (`spec.known_weights`), whose file is found or downloaded
                 (models/released/download.py); or the path of a file, taken strictly: an official .npz of ViT, BiT or a
                 hybrid; a .safetensors (one, or the index of several), .pt, .pth, .bin or .ckpt with our names or
                 timm's, bare or in what training scripts put around it ("run.pth:model_ema" names the part); or a
                 folder that holds one of these. One's own model is built with `seed`, or brings its weights; a file is
                 loaded into it. For a library's model also "pretrained" (the library's default) or the name of its
                 weights, a file has the library's names, and None is "pretrained" where the model's name says weights.
                 Or a choice that was read before (models/weights_choice.py).
    num_classes  of the head, which is zero unless the file has one of that size. None: the file's head, or none, and
                 then calling the network gives the features
    image_size   in pixels, one number or (height, width); None: the row's. Position embeddings of a file with another
                 grid are resized as the official code does (`posembed="bicubic"` of the row: as timm does). Rows and
                 columns at the end that fill no patch are left out, as there, and `notes` say so.

    Returns a Backbone: `features(images)` is (B, num_features), `images` (B, 3, H, W) floats scaled by `spec.input`.
    Its `notes` are sentences on what was done to fit a file or a size; its `spec` is the row, or a variant of it where
    the file has a tanh layer before its head.
    Raises UsageError for everything that cannot be done.
    """
    size, classes = read_image_size(image_size), read_classes(num_classes)
    row, said = (name, None) if isinstance(name, Model) else _named(name)
    if not isinstance(weights, str | Path | WeightsChoice | None):
        raise UsageError(f"weights={weights!r}: give a word, the path of a file, or None")
    chosen = weights if isinstance(weights, WeightsChoice) else parse_weights(row, weights)
    if said is not None and weights is not None and chosen != said:
        raise UsageError(
            f"the name says the weights, {said} of {row.name}, and weights='{weights}' says others. "
            f"Take create_model('{row.name}', weights='{weights}')"
        )
    return _builder(row).build(row, (chosen if said is None else said).local(), classes, size, seed)


def count_parameters(row: Model, num_classes: int | None = 1000) -> int:
    """Parameters of a row with a head of so many classes (None: no head), at its own input size.

    Of the catalog's and a library's models nothing is allocated. The released files' counts are with 1000 classes.
    """
    return _builder(row).count_parameters(row, num_classes)


def _named(name: str) -> tuple[Model, WeightsChoice | None]:
    selected = select_model(name)
    return selected.row, selected.weights


def _builder(row: Model) -> Any:
    """The module that builds a row's network, loaded only now: it needs torch."""
    return import_module(f".{row.architecture.built_by}", __name__)
