"""The arrows between packages and modules, and what may be imported without torch or pandas."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
import vit_bench

ROOT = Path(vit_bench.__file__).parent
# Known to all: with nothing but the standard library, and with what they import only when they need it.
STRICT = {"registry", "stable", "errors", "memory", "random_weights"}
LAZY = {"autocorrelation": {"numpy", "scipy"}, "meter": {"rich"}, "transfer": {"huggingface_hub"}}
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


# Modules that load others of ours by name, and which. A test finds whoever does so and is not here.
BY_NAME = {
    "bench.cli": {"bench.verbs.*"},
    "": {  # the public names
        *("bench.api", "bench.predict", "models", "registry", "results"),
        *(f"bench.verbs.{name}" for name in ("compare", "figure", "plan", "report", "table")),
    },
    "models.create": {
        *("models.build_native", "models.own.network"),
        *("models.external.timm", "models.external.torchvision"),
    },
    "models.build_native": {"models.networks.*"},
    "models.selection": {"models.catalog.*"},
    "models.weights.conventions": {"models.weights.names.*"},
    "results.exports": {"results.exports.*"},
    "results.figures": {"results.figures.*"},
    "results.tables": {"results.tables.*"},
    "suites": {"suites.*"},
    "suites.sources.sets": {"suites.sources.sets.*"},
    "suites.tasks": {"suites.tasks.*"},
}
LOADERS = ("import_module", "__import__", "collect", "exec_module", "run_module", "run_path")
OTHERS = {  # what these load by name is no module of ours
    "registry": "what its callers name",
    "bench.engines.tracker": "an experiment tracker's",
    "models.own.user_code": "a user's",
    "models.own.rows": "a user's",
    "models.weights.pickled": "OmegaConf's",
}


def modules() -> dict[str, Path]:
    """Every module of ours, by its name relative to the package; a package by its own, and "" is the root."""
    named = {}
    for path in [*ROOT.glob("*.py"), *(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def edges(known: dict[str, Path], by_name: dict[str, set[str]]) -> dict[str, set[str]]:
    """Which modules of ours each imports: at its head, in its functions, for type checking, and by name."""
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        package = path.relative_to(ROOT).parent.parts
        found[name] = {
            each for pattern in by_name.get(name, ()) for each in known if each != name and fnmatchcase(each, pattern)
        }
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("vit_bench")):
                said = (node.module or "").removeprefix("vit_bench").strip(".")
                home = ".".join([*package[: len(package) - node.level + 1 if node.level else 0], *filter(None, [said])])
                for alias in node.names:
                    inside = f"{home}.{alias.name}".strip(".")
                    found[name] |= {inside if inside in known else home} - {name}
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The modules that import each other, a list a circle; what is left when modules without a way back are gone."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        todo, seen = list(graph[start]), set()
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += graph[name]
        reached[start] = seen
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted(sorted(group) for group in groups if group)


def test_no_module_comes_back_to_itself() -> None:
    """Over all imports of ours: those inside functions, those for type checking, those by name."""
    known = modules()
    assert len(known) > 200
    assert circles(edges(known, BY_NAME)) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"f"}, "f": {"e"}}) == [
        ["a", "b", "c"],
        ["e", "f"],
    ]
    known = {name: modules()[name] for name in ("results.figures", "results.figures.row", "results.figures.curves")}
    graph = edges(known, BY_NAME)
    assert {"results.figures.row", "results.figures.curves"} <= graph["results.figures"]
    assert "results.figures.row" in graph["results.figures.curves"]


def test_whoever_loads_modules_by_name_is_known() -> None:
    known = modules()
    for name, path in known.items():
        called = {
            node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
            if not (isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "gc.collect")
        }
        assert not called.intersection(LOADERS) or name in BY_NAME or name in OTHERS, name
    for patterns in BY_NAME.values():
        assert all(any(fnmatchcase(each, pattern) for each in known) for pattern in patterns)


def test_the_modules_that_build_networks_are_known() -> None:
    from vit_bench.models import catalog, given_model
    from vit_bench.models.external.rows import ExternalBuilder, HubBuilder

    architectures = [row.architecture for row in catalog().values()]
    architectures += [ExternalBuilder(library=library, name="x", version="") for library in ("timm", "torchvision")]
    architectures.append(HubBuilder(name="x/y", version=""))
    architectures.append(given_model(torch.nn.Linear(1, 1), {"tap": "x"}).architecture)
    assert {f"models.{each.built_by}" for each in architectures} == BY_NAME["models.create"]
    networks = {f"models.{name}" for each in architectures for name in each.modules if name.startswith("networks.")}
    assert networks
    assert all(any(fnmatchcase(name, pattern) for pattern in BY_NAME["models.build_native"]) for name in networks)


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
        (
            "import vit_bench; all(getattr(vit_bench, name) for name in vit_bench.__all__ if name != 'predict')",
            {"pandas"},
        ),
        ("import vit_bench.models; vit_bench.models.list_models()", set()),
        ("from vit_bench.suites import suites; from vit_bench.suites.tasks import tasks; suites(); tasks()", set()),
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
        ("import vit_bench.results.tables, vit_bench.results.tables.render, vit_bench.results.record", set()),
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
