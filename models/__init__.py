"""What we compare: ViT, BiT and hybrid networks, their catalog, and users' own models."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ..registry import Registry, UsageError, collect
from . import catalog as _rows  # before the function of this name: loaded later, the package would take its place
from . import releases
from .external import ExternalBuilder, external_model, external_models, is_external
from .own import GivenModule, OwnBuilder, given_model, is_own, own_model
from .spec import Backbone, BiT, Hybrid, Input, Model, Provenance, ViT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Backbone",
    "BiT",
    "Hybrid",
    "Input",
    "Model",
    "Provenance",
    "ViT",
    "catalog",
    "count_parameters",
    "create_model",
    "external_models",
    "given_model",
    "is_external",
    "is_own",
    "list_models",
    "named",
    "own_model",
]


@cache
def catalog() -> Registry[Model]:
    """Every model this project knows, by name and alias; timm's names of the released ones are among the aliases."""
    rows = collect(_rows.__name__, Model)
    return Registry("model", [replace(row, aliases=row.aliases + releases.architectures(row.name)) for row in rows])


def named(word: str) -> tuple[Model, str | None]:
    """The row that a word names, and the tag of its weights where the word says them, too: `BiT-M-R50x1`."""
    release = None if word in catalog() else releases.naming(word)
    return (catalog()[word], None) if release is None else (catalog()[release.model], release.tag)


def list_models(pattern: str | None = None) -> list[str]:
    """The names of all models, or of those that a name, an alias or a glob stands for.

    No glob selects the small demonstration models, or those that another library builds, but for a glob of that
    library: `timm:resnetv2_50x*`, `torchvision:*`. Raises UsageError where nothing matches.
    """
    if pattern is None:
        return catalog().names()
    if is_external(pattern):
        return [row.name for row in external_models(pattern)]
    if any(sign in pattern for sign in "*?["):
        return [row.name for row in catalog().select(pattern)]
    return [named(pattern)[0].name]


def create_model(
    name: str | Model,
    weights: str | Path | None = None,
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
                 a tag of the row (`spec.known_weights`), whose file is found or downloaded (models/download.py);
                 or the path of a file, taken strictly: an official .npz of ViT, BiT or a hybrid; a .safetensors (one,
                 or the index of several), .pt, .pth, .bin or .ckpt with our names or timm's, bare or in what training
                 scripts put around it ("run.pth:model_ema" names the part); or a folder that holds one of these.
                 One's own model is built with `seed`, or brings its weights; a file is loaded into it.
                 For a library's model also "pretrained" (the library's default) or the name of its weights, a file
                 has the library's names, and None is "pretrained" where the model's name says weights.
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
    from .build import build

    said = None
    if isinstance(name, Model):
        row = name
    elif is_external(name):
        row = external_model(name)
    elif is_own(name):
        row = own_model(name)
    else:
        row, said = named(name)
    theirs = isinstance(row.architecture, ExternalBuilder | OwnBuilder | GivenModule)
    file = weights if theirs else _file_of(row, weights, said)
    return build(row, weights=file, num_classes=num_classes, image_size=image_size, seed=seed)


def _file_of(row: Model, weights: str | Path | None, said: str | None) -> str | Path | None:
    """`weights`, or the file of the release that it or the model's alias names."""
    release = None if weights is None else releases.chosen(row.name, weights)
    if said is not None:
        if weights is not None and (release is None or release.tag != said):
            raise UsageError(
                f"the name says the weights, {said} of {row.name}, and weights='{weights}' says others. "
                f"Take create_model('{row.name}', weights='{weights}')"
            )
        release = releases.tagged(row.name, said)
    if release is None:
        return weights
    from .download import fetch

    return fetch(release)


def count_parameters(row: Model, num_classes: int | None = 1000) -> int:
    """Parameters of a row of the catalog with a head of so many classes, counted without allocating them."""
    from .build import count_parameters

    return count_parameters(row, num_classes)
