"""vit-bench: compare Vision Transformers, BiT ResNets and their hybrids the way the ViT paper does."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench.api import run
    from .bench.predict import predict
    from .bench.verbs.compare import compare
    from .bench.verbs.figure import figure
    from .bench.verbs.plan import plan
    from .bench.verbs.report import report
    from .bench.verbs.table import table
    from .models import create_model, list_models
    from .registry import UsageError
    from .results import load

    __version__: str

_MODULES = {
    "run": "bench.api",
    "predict": "bench.predict",
    "plan": "bench.verbs.plan",
    "table": "bench.verbs.table",
    "figure": "bench.verbs.figure",
    "compare": "bench.verbs.compare",
    "report": "bench.verbs.report",
    "create_model": "models",
    "list_models": "models",
    "load": "results",
    "UsageError": "registry",
}

__all__ = [
    "UsageError",
    "__version__",
    "compare",
    "create_model",
    "figure",
    "list_models",
    "load",
    "plan",
    "predict",
    "report",
    "run",
    "table",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that `import vit_bench` imports neither torch nor pandas."""
    if name == "__version__":
        return version("vit-bench")
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
