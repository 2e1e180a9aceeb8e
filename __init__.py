"""vit-bench: compare Vision Transformers, BiT ResNets and their hybrids the way the ViT paper does."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench.api import run
    from .bench.predict import predict
    from .models import create_model, list_models
    from .registry import UsageError
    from .results import load

_MODULES = {
    "run": "bench.api",
    "predict": "bench.predict",
    "create_model": "models",
    "list_models": "models",
    "load": "results",
    "UsageError": "registry",
}

__all__ = ["UsageError", "create_model", "list_models", "load", "predict", "run"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that `import vit_bench` imports neither torch nor pandas."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
