"""Builds a user's own model as a Backbone, with the input contract that the module declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...registry import UsageError, suggest
from ..spec import Input, Interpolation, Model
from ..weights.conventions import under_module_names
from ..weights.files import open_weights
from ..weights.load import head_classes, load_strictly, with_head
from ..weights.sidecar import read_head
from ..weights_choice import Random, WeightsChoice, wrong_weights
from .adapter import OwnBackbone, is_backbone, saved_names, zero_head
from .rows import OwnArchitecture
from .settings import read_field


def build(
    row: Model, weights: WeightsChoice, num_classes: int | None, image_size: tuple[int, int] | None, seed: int
) -> OwnBackbone:
    """A fresh network of a row that `own_model` or `given_model` made, in evaluation mode.

    The Backbone's `spec` is the row with the input contract that the module declares, except for what settings fix. A
    file of weights has the module's own names. Raises UsageError where the module breaks the contract of a Backbone.
    """
    architecture = row.architecture
    if not isinstance(architecture, OwnArchitecture):
        raise TypeError(f"{row.name} is no user's own model. Call create_model, which knows what builds it")
    if weights.library_name is not None:
        raise wrong_weights(row.name, weights)
    module, files = architecture.make(row.name, weights, seed)
    if weights.random:
        _check_that_seeds_differ(row.name, module, architecture, weights.seed_or(seed))
    contract = _declared_input(row, module, architecture.settled)
    spec = replace(row, input=replace(contract, size=image_size) if image_size else contract)
    backbone = OwnBackbone(spec, module, architecture.tap, num_classes)
    backbone.source_files = files
    if weights.path is not None:
        _load_file(backbone, weights.path, num_classes)
    return backbone.eval()


def _check_that_seeds_differ(name: str, module: nn.Module, architecture: OwnArchitecture, seed: int) -> None:
    """Raise UsageError for weights that are called random and that no seed changes: the builder loads trained ones."""
    other = architecture.make(name, Random(seed + 1), seed)[0].state_dict()
    mine = module.state_dict()
    known = [key for key, one in mine.items() if isinstance(one, Tensor) and not is_lazy(one) and key in other]
    if known and all(mine[key].equal(other[key]) for key in known):
        raise UsageError(f"{name} gives the same weights under every seed, so they are not random: type weights=own")


def count_parameters(row: Model, num_classes: int | None) -> int:
    """Parameters of a user's model with a new head of `num_classes`; the model is built to count them."""
    backbone = build(row, row.architecture.default_weights(row, None), num_classes, None, 0)
    return sum(parameter.numel() for parameter in backbone.parameters())


def _load_file(backbone: OwnBackbone, path: Path, num_classes: int | None) -> None:
    """Loads a state dict of the user's module, or of its Backbone (which has "module." before each name).

    The head of a Backbone's file is kept unless another `num_classes` is asked for.
    """
    own = backbone.module.state_dict()
    with open_weights(path) as contents:
        weights = under_module_names(contents, saved_names(own))
        if set(weights.tensors) != set(own) and is_backbone(weights.tensors):
            classes = head_classes(weights)
            head = read_head(path)
            if num_classes is None and head is not None and head.tap not in (None, backbone.feature):
                raise UsageError(
                    f"the head in {path} reads '{head.tap}' of {backbone.spec.name}, and here features are "
                    f"'{backbone.feature}': type model.tap= as it was trained"
                )
            if num_classes is None and classes is not None:
                backbone.head = zero_head(backbone.num_features, classes)
            elif num_classes is not None and num_classes != classes:
                weights = with_head(weights, backbone.state_dict())
            load_strictly(backbone, weights, backbone.spec)
        else:
            load_strictly(backbone.module, weights, backbone.spec)
        backbone.notes += weights.notes


def _declared_input(row: Model, module: nn.Module, settled: tuple[str, ...]) -> Input:
    """The row's input contract, with the fields that the module declares in `input` and no setting fixes.

    Without `input` they are those that it states as libraries do.
    """
    declared = getattr(module, "input", None)
    values = vars(declared) if isinstance(declared, Input) else declared
    if not isinstance(values, Mapping):
        values = _stated_input(module)
    known = [field.name for field in fields(Input)]
    read = {}
    for name, value in values.items():
        if name not in known:
            raise UsageError(
                f"{row.name}: its `input` has an unknown field '{name}'. {suggest(str(name), known, known)}"
            )
        read[name] = read_field(row.name, f"input.{name}", value)
    return replace(row.input, **{name: value for name, value in read.items() if name not in settled})


def _is_of_colours(values: Any) -> bool:
    """Whether these are a number each of red, green and blue."""
    return isinstance(values, list | tuple) and len(values) == 3 and all(isinstance(one, int | float) for one in values)


def _stated_input(module: nn.Module) -> dict[str, Any]:
    """What a module says of its images: timm's `default_cfg`; the size that it, its patches or its `config` have."""
    configuration = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    stated: dict[str, Any] = {}
    if isinstance(configuration, Mapping):
        stated = {name: configuration[name] for name in ("mean", "std") if _is_of_colours(configuration.get(name))}
        if configuration.get("interpolation") in get_args(Interpolation):
            stated["interpolation"] = configuration["interpolation"]
        stated["size"] = tuple(configuration.get("input_size") or ())[1:]
    places = [module, *(getattr(module, name, None) for name in ("patch_embed", "config"))]
    sizes = [getattr(place, name, None) for place in places for name in ("image_size", "img_size")]
    sizes = [
        tuple(size) if isinstance(size, list | tuple) else (size, size) for size in (*sizes, stated.pop("size", ()))
    ]
    usable = [size for size in sizes if len(size) == 2 and all(type(side) is int and side > 0 for side in size)]
    return stated | ({"size": usable[0]} if usable else {})
