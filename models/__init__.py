"""The models to compare: the catalog of ViT, BiT and hybrid networks, other libraries' models and users' own."""

from __future__ import annotations

from .catalog.bit import BiT
from .catalog.hybrid import Hybrid
from .catalog.vit import ViT
from .create import count_parameters, create_model
from .external.rows import external_models
from .own.rows import given_model, own_model
from .provenance import Provenance
from .selection import catalog, list_models, select_model, select_models
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
