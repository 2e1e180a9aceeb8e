"""Finds, checks, imports and fingerprints a user's Python file."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import symtable
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import describe_error
from ...registry import UsageError, path_of, suggest
from ...stable import file_sha

INSTALLED = {"site-packages", "dist-packages"}
STAR_IMPORT = re.compile(rb"^\s*from .* import \*", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Builder:
    """The place of the builder that `path/file.py:builder` or `package.module:builder` names."""

    file: Path
    name: str
    module: str | None  # the dotted name to import it by; None: import the file
    root: Path  # the folder that its own imports start from

    def sha256(self) -> str:
        return file_sha(self.file)


def find_builder(word: str) -> Builder:
    """The builder that a word names. Nothing is imported.

    Raises UsageError where the file or module is missing, does not parse, or does not define the builder.
    """
    place, _, name = word.rpartition(":")
    if place.endswith(".py"):
        file, module = path_of(place).resolve(), None
        root = file.parent
        if not file.is_file():
            raise UsageError(f"'{word}': there is no file '{place}'{_nearest_file(file)}")
    elif name.endswith(".py") or not place:
        raise UsageError(f"'{word}' names no builder. Write path/file.py:builder or package.module:builder")
    else:
        file, module = _module_file(word, place), place
        root = file.parents[place.count(".") + (file.name == "__init__.py")]
    _check_defines(word, file, name)
    return Builder(file=file, name=name, module=module, root=root)


def _nearest_file(file: Path) -> str:
    beside = sorted(path.name for path in file.parent.glob("*.py")) if file.parent.is_dir() else []
    return f". {suggest(file.name, beside)}" if beside else ""


def _module_file(word: str, module: str) -> Path:
    """The source file of a module. Its parent packages are not imported."""
    spec, path, dotted = None, None, ""
    for part in module.split("."):
        if not part.isidentifier():
            raise UsageError(f"'{word}': '{module}' is neither a .py file nor the dotted name of a module")
        dotted = f"{dotted}.{part}".lstrip(".")
        try:
            spec = importlib.util.find_spec(dotted) if path is None else PathFinder.find_spec(dotted, path)
        except (ImportError, ValueError, AttributeError) as error:
            raise UsageError(f"'{word}': '{module}' cannot be found: {error}") from error
        if spec is None:
            raise UsageError(
                f"'{word}': no module '{dotted}' can be imported here. Give its file: path/file.py:builder"
            )
        path = list(spec.submodule_search_locations or [])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UsageError(
            f"'{word}': '{module}' has no Python file of its own. Name the module that defines the builder"
        )
    return Path(spec.origin).resolve()


def _check_defines(word: str, file: Path, name: str) -> None:
    try:
        source: Any = file.read_bytes()  # bytes may declare their encoding; typeshed knows text alone
        symbols = symtable.symtable(source, str(file), "exec").get_symbols()
    except SyntaxError as error:
        raise UsageError(f"'{word}': '{file}' does not parse: line {error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"'{word}': '{file}' cannot be read: {error}") from error
    defined = [symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()]
    if name not in defined and not STAR_IMPORT.search(source):
        callables = [symbol.get_name() for symbol in symbols if symbol.is_namespace()]
        nearest = suggest(name, defined, callables) if defined else "It defines nothing."
        raise UsageError(f"'{word}': '{file.name}' does not define '{name}'. {nearest}")


@contextmanager
def importing_from(root: Path) -> Iterator[None]:
    """A context in which imports search `root` first, even for names that other folders' modules already have.

    A user's folder often has a `models` or a `helpers` of its own. Loaded modules of such a name from elsewhere are
    removed from `sys.modules` and restored at the end, in place of those from `root`. Installed packages and the
    standard library always stay.
    """
    names = {entry.stem for entry in root.iterdir() if entry.suffix == ".py" or entry.is_dir()}
    names -= {*sys.stdlib_module_names, __name__.partition(".")[0], "__main__"}
    aside = {}
    for name, module in list(sys.modules.items()):
        home = _home(module) if name.partition(".")[0] in names else None
        if home and not home.is_relative_to(root) and not INSTALLED & {*home.parts}:
            aside[name] = sys.modules.pop(name)
    tops = {name.partition(".")[0] for name in aside}
    importlib.invalidate_caches()
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        if str(root) in sys.path:
            sys.path.remove(str(root))
        for name in [name for name in sys.modules if name.partition(".")[0] in tops]:
            del sys.modules[name]
        sys.modules.update(aside)


def _home(module: ModuleType | None) -> Path | None:
    """The file of a module, or the folder of a package without one."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        file = next(iter(getattr(module, "__path__", ())), None)
    return _resolved(file) if isinstance(file, str) else None


@cache
def _resolved(file: str) -> Path:
    return Path(file).resolve()  # slow for thousands of modules


class _FreshSource(SourceFileLoader):
    """Loads the file without a byte-code cache, which could be older than the file whose hash is recorded."""

    def get_code(self, fullname: str):
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def import_module(builder: Builder, sha256: str) -> ModuleType:
    """The module that defines a builder. Call it inside `importing_from(builder.root)`.

    Raises UsageError where importing it fails.
    """
    try:
        if builder.module is not None:
            return importlib.import_module(builder.module)
        return import_file(builder.file, sha256)
    except Exception as error:  # whatever a user's file raises
        hint = ""
        if "relative import" in str(error):
            hint = ". A file inside a package is named by its module: package.module:builder"
        raise UsageError(f"'{builder.file}' cannot be imported: {describe_error(error)}{hint}") from error


@cache
def import_file(file: Path, sha256: str) -> ModuleType:
    """Imports a file once per content, under a unique module name: two files may both be called model.py.

    Call it inside `importing_from`. Raises whatever the file raises.
    """
    digest = hashlib.sha256(f"{file}\n{sha256}".encode()).hexdigest()[:12]
    name = f"user_{digest}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file, loader=_FreshSource(name, str(file)))
    if spec is None or spec.loader is None:
        raise ImportError(f"'{file}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and torch.compile look up the module of a class
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def loaded_below(root: Path) -> set[Path]:
    """The source files below a folder of all loaded modules, without installed packages."""
    homes = {_home(module) for module in list(sys.modules.values())}
    return {home for home in homes if home and home.suffix == ".py" and _is_local(home, root)}


def _is_local(file: Path, root: Path) -> bool:
    return file.is_relative_to(root) and not INSTALLED & {*file.parts}


@cache
def files_seen(builder: Builder) -> set[Path]:
    """The files that this builder has loaded in this process; the caller adds to the set.

    It is cached because only the first build loads them, and later builds must report the same files.
    """
    return {builder.file}


def check_unchanged(files: set[Path]) -> None:
    """Raises UsageError where a file changed after its import: old code would run under a new hash."""
    for file in sorted(files):
        if _as_imported(file) != file_sha(file):
            raise UsageError(f"'{file}' has changed since it was imported; start Python again")


@cache
def _as_imported(file: Path) -> str:
    return file_sha(file)


def imported_files(file: Path, root: Path) -> set[Path]:
    """A user's file and the files below its root that it imports, directly or indirectly.

    They are read from import statements, so files that another model has already loaded count, too.
    """
    files = {file}
    waiting = [file] if _is_local(file, root) else []
    while waiting:
        imported = {path for path in _imports(waiting.pop(), root) if _is_local(path, root)}
        waiting += imported - files
        files |= imported
    return files


def _imports(file: Path, root: Path) -> list[Path]:
    try:
        statements = _import_statements(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    files: list[Path] = []
    for level, dotted in statements:
        start = root if level == 0 else file.parents[min(level, len(file.parents)) - 1]
        files += _files_of(start, dotted)
    return files


@cache
def _import_statements(source: bytes) -> tuple[tuple[int, str], ...]:
    """The number of leading dots and the dotted name of every import in a source."""
    imports: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = f"{node.module}." if node.module else ""
            imports += [(node.level, f"{start}{alias.name}") for alias in node.names]
    return tuple(imports)


def digest_of_code(file: Path, root: Path) -> str:
    """A digest of the content of a user's file and of the files below its root that it imports."""
    return hashlib.sha256("".join(sorted(map(file_sha, imported_files(file, root)))).encode()).hexdigest()


def _files_of(start: Path, dotted: str) -> list[Path]:
    """The existing files that importing a dotted name from a folder runs."""
    files, folder = [], start
    for part in dotted.split("."):
        candidates = (folder / part / "__init__.py", folder / f"{part}.py")
        files += [candidate.resolve() for candidate in candidates if candidate.is_file()][:1]
        folder /= part
    return files
