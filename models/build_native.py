"""Builds the networks that this project implements: from a row of the catalog and weights to a ready network."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch

from .networks.base import Network, check_memory
from .spec import Model
from .weights.conventions import under_our_names
from .weights.files import open_weights
from .weights.load import head_classes, load_strictly, resize_method, settle_tanh_layer, with_grid, with_head
from .weights_choice import WeightsChoice, wrong_weights


def build(
    row: Model, weights: WeightsChoice, num_classes: int | None, image_size: tuple[int, int] | None, seed: int
) -> Network:
    """The network of a row in evaluation mode, with float32 weights on the CPU. See `create_model`."""
    size = image_size or row.input.size
    if weights.path is not None:
        return network_from_file(row, weights.path, num_classes, size).eval()
    if not weights.random:
        raise wrong_weights(row.name, weights)
    network = empty_network(row, num_classes, size)
    check_memory(row, network)
    return network.initialise(torch.Generator().manual_seed(weights.seed_or(seed))).eval()


def network_from_file(row: Model, path: Path, num_classes: int | None, image_size: tuple[int, int]) -> Network:
    """The network of a row with the weights of a file; `notes` say what was done to fit them.

    The row decides whether there is a tanh layer before the head, or else the file. The file's head is kept unless
    another `num_classes` is asked for; its position embeddings are resized to the image size.
    """
    grid = row.architecture.grid(image_size)
    with open_weights(path) as contents:
        row, weights = settle_tanh_layer(row, under_our_names(contents, grid))
        classes = head_classes(weights)
        network = empty_network(row, classes if num_classes is None else num_classes, image_size)
        check_memory(row, network)
        expected = network.state_dict()
        if num_classes is not None and num_classes != classes:
            weights = with_head(weights, expected)
        weights = with_grid(weights, expected, resize_method(row))
        load_strictly(network, weights, row)
    network.notes = (*weights.notes, *network.notes)
    return network


def empty_network(row: Model, num_classes: int | None, image_size: tuple[int, int]) -> Network:
    """The network of a row with its parameters on the meta device: they have shapes and take no memory."""
    module, name = row.architecture.network.partition(":")[::2]
    network_class = getattr(importlib.import_module(f"{__package__}.networks.{module}"), name)
    return network_class(row, num_classes, image_size)


def count_parameters(row: Model, num_classes: int | None) -> int:
    """Parameters of a row at its own input size. Allocates nothing."""
    return sum(parameter.numel() for parameter in empty_network(row, num_classes, row.input.size).parameters())
