"""What keeps the house in order: names that mean one thing, functions that fit a screen, roots that fit a glance."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import vit_bench
from vit_bench.suites import suites

ROOT = Path(vit_bench.__file__).parent
PACKAGES = ("bench", "models", "suites", "results")
LONGEST = 60  # lines of a function
AT_A_ROOT = {"bench": 22, "models": 15, "suites": 15, "results": 15}  # Python files beside its folders


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Every file of ours outside tests, parsed."""
    files = [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]
    assert len(files) > 150
    for path in files:
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def test_no_class_name_stands_for_two_things() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_functions_fit_a_screen() -> None:
    lengths = {
        f"{path}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_roots_fit_a_glance() -> None:
    counts = {package: len(list((ROOT / package).glob("*.py"))) for package in PACKAGES}
    assert {package: count for package, count in counts.items() if count > AT_A_ROOT[package]} == {}


def test_every_file_at_the_root_of_suites_holds_suites() -> None:
    beside = {"__init__", "protocol", "metrics"}
    files = {path.stem for path in (ROOT / "suites").glob("*.py")} - beside
    assert files == {type(suite).__module__.rsplit(".", 1)[1] for suite in suites().values()}
