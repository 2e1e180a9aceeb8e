"""The arrows between packages, and what may be imported without torch or pandas."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import vit_bench

ROOT = Path(vit_bench.__file__).parent
STRICT = {
    "registry",
    "stable",
    "errors",
    "memory",
    "random_weights",
}  # known to all, and nothing but the standard library
LAZY = {"meter": {"rich"}, "transfer": {"huggingface_hub"}}  # known to all; what they import only when they need it
ANYONE = {*STRICT, *LAZY}
ALLOWED = {
    "models": {"models"},
    "results": {"results"},
    "suites": {"suites", "models.spec", "models.provenance", "models.weights_choice"},  # what a row and its weights are
    "bench": {"bench", "suites", "results", "models"},
}


def imports_of(path: Path) -> set[str]:
    """Dotted names, relative to the root, that a file of ours imports from our packages; type checking included."""
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            found.add(".".join([*base, *([node.module] if node.module else [])]))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            absolute = [name for name in names if name.split(".")[0] in {"vit_bench", *ALLOWED}]
            assert not absolute or path.name == "__main__.py", f"{path}: imports between our packages are relative"
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_go_one_way(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        for name in imports_of(path):
            if name.split(".")[0] in ANYONE:
                continue
            fits = any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED[package])
            assert fits, f"{path.relative_to(ROOT)} imports {name}"


def top_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The top-level packages that import statements name; relative ones by their module."""
    names = [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
    names += [node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("module", sorted(STRICT))
def test_what_everybody_knows_needs_the_standard_library_alone(module: str) -> None:
    tree = ast.parse((ROOT / f"{module}.py").read_text(encoding="utf-8"))
    assert top_names([*ast.walk(tree)]) <= sys.stdlib_module_names


@pytest.mark.parametrize("module", sorted(LAZY))
def test_what_everybody_knows_needs_nothing_else_until_it_is_used(module: str) -> None:
    tree = ast.parse((ROOT / f"{module}.py").read_text(encoding="utf-8"))
    assert top_names(tree.body) <= sys.stdlib_module_names | ANYONE
    assert top_names([*ast.walk(tree)]) <= sys.stdlib_module_names | ANYONE | LAZY[module]


def loaded_by(code: str) -> set[str]:
    """The heavy modules that a new process has loaded after this code."""
    script = f"import sys, json\n{code}\nprint('\\n' + json.dumps([m for m in sys.modules if '.' not in m]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1])) & {
        "torch",
        "torchvision",
        "pandas",
        "scipy",
        "sklearn",
        "matplotlib",
    }


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import vit_bench", set()),
        ("import vit_bench.models; vit_bench.models.list_models()", set()),
        ("from vit_bench.bench.plan import suites, tasks; suites(); tasks()", set()),
        ("from vit_bench.bench.cli import app; app(['--help'], standalone_mode=False)", set()),
        ("from vit_bench.bench.cli import app; app(['run', '--help'], standalone_mode=False)", set()),
        ("from vit_bench.bench.cli import app; app(['list'], standalone_mode=False)", set()),
        ("from vit_bench.bench.cli import app; app(['list', 'figures'], standalone_mode=False)", set()),
        ("from vit_bench.bench.cli import app; app(['data', 'list'], standalone_mode=False)", set()),
        ("from vit_bench.bench.cli import app; app(['plan', 'suite=vtab-mini'], standalone_mode=False)", set()),
        (
            "from vit_bench.bench.cli import app; app(['plan', 'suite=vtab-mini', 'weights=pretrained', "
            "'model=timm:resnet18,torchvision:resnet50,EfficientNet-L2'], standalone_mode=False)",
            set(),
        ),
        ("from vit_bench.bench.cli import app; app(['list', 'models', 'timm:*vit*'], standalone_mode=False)", set()),
        ("import vit_bench.results.tables, vit_bench.results.render, vit_bench.results.record", set()),
        ("from vit_bench.suites.fewshot import ridge_probe", set()),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str, allowed: set[str]) -> None:
    assert loaded_by(code) <= allowed


def test_results_never_import_torch() -> None:
    for path in (ROOT / "results").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert all(name.split(".")[0] not in ("torch", "torchvision") for name in names), path


def test_the_public_names() -> None:
    assert set(vit_bench.__all__) <= set(dir(vit_bench))
    for name in vit_bench.__all__:
        assert getattr(vit_bench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vit_bench.nothing  # noqa: B018
