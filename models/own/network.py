"""Builds a user's own model as a Backbone, with the input contract that the module declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from torch import nn

from ...registry import UsageError, suggest
from ..spec import Input, Model
from ..weights.conventions import under_module_names
from ..weights.files import open_weights
from ..weights.load import head_classes, load_strictly, with_head
from ..weights_choice import WeightsChoice, wrong_weights
from .adapter import OwnBackbone
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
    contract = _declared_input(row, module, architecture.settled)
    spec = replace(row, input=replace(contract, size=image_size) if image_size else contract)
    backbone = OwnBackbone(spec, module, architecture.tap, num_classes)
    backbone.source_files = files
    if weights.path is not None:
        _load_file(backbone, weights.path)
    return backbone.eval()


def count_parameters(row: Model, num_classes: int | None) -> int:
    """Parameters of a user's model with a new head of `num_classes`; the model is built to count them."""
    backbone = build(row, row.architecture.default_weights(row, None), num_classes, None, 0)
    return sum(parameter.numel() for parameter in backbone.parameters())


def _load_file(backbone: OwnBackbone, path: Path) -> None:
    """Loads a state dict of the user's module, or of its Backbone (which has "module." before each name)."""
    inner, outer = backbone.module.state_dict(), backbone.state_dict()
    with open_weights(path) as contents:
        weights = under_module_names(contents, {*inner, *outer})
        if set(weights.tensors) != set(inner) and any(f"module.{name}" in weights.tensors for name in inner):
            if backbone.head is None or head_classes(weights) != len(backbone.head.weight):
                weights = with_head(weights, outer)
            load_strictly(backbone, weights, backbone.spec)
        else:
            load_strictly(backbone.module, weights, backbone.spec)
        backbone.notes = weights.notes


def _declared_input(row: Model, module: nn.Module, settled: tuple[str, ...]) -> Input:
    """The row's input contract, with the fields that the module declares in `input` and no setting fixes."""
    declared = getattr(module, "input", None)
    values = vars(declared) if isinstance(declared, Input) else declared
    if not isinstance(values, Mapping):
        return row.input
    known = [field.name for field in fields(Input)]
    read = {}
    for name, value in values.items():
        if name not in known:
            raise UsageError(
                f"{row.name}: its `input` has an unknown field '{name}'. {suggest(str(name), known, known)}"
            )
        read[name] = read_field(row.name, f"input.{name}", value)
    return replace(row.input, **{name: value for name, value in read.items() if name not in settled})
