"""What makes two jobs the same job: the code behind a number, and the files that it was read from."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..stable import file_sha, sha

ROOT = Path(__file__).resolve().parent.parent
# Names, fingerprints, file handling, which file a tag means and how it gets here: no number comes out of them. What was
# in the file is noted in the record (weights_sha) and in the cell's inputs.
NEUTRAL = {"registry", "stable", "models.releases", "models.download", "models.transfer", "models.meter"}


@cache
def code_sha(*modules: str) -> str:
    """A short digest of the source of these modules and of every module of ours that they import, directly or not.

    Names are relative to the package: "suites.vtab". So a change of the throughput suite makes no few-shot result
    stale, and nobody keeps a list by hand.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure(modules)):
        source = _file(name).read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name}\n".encode() + hashlib.sha256(source).digest())
    return digest.hexdigest()[:16]


def _closure(modules: Iterable[str]) -> set[str]:
    todo, found = list(modules), set()
    while todo:
        name = todo.pop()
        if name not in found and name not in NEUTRAL:
            found.add(name)
            todo += _imports(name)
    return found


def source_sha(thing: Any) -> str:
    """A short digest of the whole file that a class or function of a user's is from; of its name, typed at a prompt."""
    try:
        return file_sha(Path(inspect.getfile(thing)))[:16]
    except (OSError, TypeError):
        return sha(f"{thing.__module__}.{thing.__qualname__}")


@cache
def _imports(module: str) -> tuple[str, ...]:
    """The modules of this package that a module imports, wherever in its text, but for type checking alone."""
    package = module.split(".") if _file(module).name == "__init__.py" else module.split(".")[:-1]
    found: dict[str, None] = {}
    for node in _run_time_nodes(ast.parse(_file(module).read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = ".".join([*base, *(node.module.split(".") if node.module else [])])
            names = [target, *(f"{target}.{alias.name}".lstrip(".") for alias in node.names)]
            found |= dict.fromkeys(name for name in names if name and _file(name).exists())
    return tuple(found)


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _run_time_nodes(node)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def seen(path: Path) -> dict[str, Any]:
    """What a cell notes of a file that it was computed from."""
    stat = path.stat()
    return {"path": str(path.resolve()), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": file_sha(path)}


def changed(inputs: Iterable[Mapping[str, Any]]) -> str | None:
    """The first of these files whose content is no longer what it was, or None.

    Content is only read where size or time differ. A file that is gone says nothing against a number it once gave.
    """
    for item in inputs:
        path = Path(item["path"])
        try:
            stat = path.stat()
        except OSError:
            continue
        same = (stat.st_size, stat.st_mtime_ns) == (item["size"], item["mtime_ns"])
        if not same and (stat.st_size != item["size"] or file_sha(path) != item["sha256"]):
            return str(path)
    return None
