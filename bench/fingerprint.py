"""Digests of the code that computes a number, and of the files that a cell was computed from."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..meter import counted
from ..models.spec import Model
from ..registry import UsageError
from ..stable import canonical, file_sha, sha
from ..suites.sources.folder import image_names
from .select.user_rows import code_of

PACKAGE = __name__.rsplit(".", 2)[0]
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("bench", "models", "results", "suites")
# Modules that run in a job but are not in its key, each with the reason why no number depends on its code. A job may
# still name one as a root of its code. Names are relative to the package; * matches anything. A test compares the
# modules that really run with this list.
NOT_COUNTED: Mapping[str, str] = {
    "registry": "names, and what to type instead",
    "errors": "words of errors",
    "stable": "digests and file handling; another digest is another key by itself",
    "memory": "how much may be loaded, not what",
    "random_weights": "what a word means; the weights are in the job's identity",
    "transfer": "how a file gets here",
    "meter": "how far things are",
    "models": "the public names",
    "models.create": "checks what is asked for, and hands a row to the module that builds it",
    "models.selection": "what a word selects; the row is in the job's identity",
    "models.parse_weights": "what a word means; the weights are in the job's identity",
    "models.native": "what words mean for a row; row and weights are in the job's identity",
    "models.external.authors": "which feature a row means; it is in the job's identity, or said in the record",
    "models.external.rows": "what words mean for a row; row and weights are in the job's identity",
    "models.catalog": "the order of the families",
    "models.released.table": "which file a tag means; its digest is in the record, the file among the cell's inputs",
    "models.released.download": "how a file gets here",
    "models.external.download": "how a library's file gets here; it is among the cell's inputs",
    "models.external.listing": "which models a library has; its version is in the job's identity",
    "models.provenance": "what records say of weights beside their numbers",
    "models.weights.sidecar": "what a file says of weights; what a suite makes of it is in the key (Suite.resolved)",
    "models.weights.names.*": "whether a file is another family's; a row names its own family's, which counts",
    "models.weights.guess_row": "words of errors: which row a file that does not fit is of",
    "models.weights.foreign": "words of errors: what a file is that holds no weights",
    "suites.images.feature_cache": "keeps features bit for bit, under a digest of what they are of",
    "bench.run": "has jobs run, and keeps their records",
    "bench.engines.*": "asks a suite for its numbers, in this process or another, and makes records of them",
    "bench.context": "hands over what was built and fed, from a cache or anew; what is fed is suites/images/feeding.py",
    "bench.loaded_model": "keeps the network that models built",
    "bench.subprocess_job": "takes a job to another process and its numbers back",
    "bench.plan": "what was asked, which is in the job's identity",
    "bench.shard": "which jobs this machine runs",
    "bench.job": "what was asked, which is in the job's identity",
    "bench.config": "what was asked, which is in the job's identity",
    "bench.words": "what was asked, which is in the job's identity",
    "bench.fingerprint": "makes the key",
    "bench.environment": "which device and libraries there are; records say so",
    "bench.distributed": "which process does which part of the images",
    "bench.progress": "tells how far a run is",
    "bench.expected": "how long a job takes",
    "bench.expected.*": "how long a job takes",
    "bench.job_clock": "how long a job took",
    "bench.select.user_rows": "finds a user's files, whose code is in the key by itself",
    "results.*": "records and tables of numbers that are there",
}
# Modules of rows. The values of rows are in a job's identity, so only imports, classes and functions of these count.
ROWS = "models.catalog.*"


@cache
def package_sha() -> str:
    """A short digest of all Python files of this package, comments and all, to tell two installations apart."""
    files = [*ROOT.glob("*.py"), *(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))]
    return sha([[path.relative_to(ROOT).as_posix(), file_sha(path)] for path in sorted(files)])


@cache
def code_sha(*roots: str, alone: tuple[str, ...] = ()) -> str:
    """A short digest of the code of these modules and of every module of ours that they import, directly or not.

    Of the modules in `alone` only their own code counts, not what they import. Names are relative to the package:
    "suites.probes.ridge". Comments, docstrings, the layout of lines and the names of modules do not count, so that
    writing a comment or moving a module makes no result stale.
    """
    counted = _closure(roots) | set(alone)
    return sha(sorted(_linked(name, counted) for name in counted))


def _closure(modules: Iterable[str]) -> set[str]:
    todo, closure = list(modules), set()
    while todo:
        name = todo.pop()
        if name not in closure:
            closure.add(name)
            todo += filter(is_counted, _code(name).imports)
    return closure


def is_counted(module: str) -> bool:
    """Whether the code of a module counts where counted code imports it."""
    return not any(fnmatchcase(module, pattern) for pattern in NOT_COUNTED)


def _linked(module: str, counted: set[str]) -> str:
    """The digest of a module's code together with the digests of the modules that it imports."""
    code = _code(module)
    return sha([code.digest, *(_code(name).digest if name in counted else "" for name in code.imports)])


@dataclass(frozen=True, kw_only=True)
class Code:
    """The part of a module's text that counts."""

    digest: str  # of the tokens, without the names of our modules
    imports: tuple[str, ...]  # our modules that it imports when it runs, anywhere in its text


TOKEN = re.compile(
    r"""\#[^\n]*"""  # a comment
    r"""|[A-Za-z]{0,2}\"{3}(?:[^\\]|\\.)*?\"{3}|[A-Za-z]{0,2}'{3}(?:[^\\]|\\.)*?'{3}"""  # a long string
    r"""|[A-Za-z]{0,2}"(?:[^"\\\n]|\\.)*"|[A-Za-z]{0,2}'(?:[^'\\\n]|\\.)*'"""  # a short one
    r"""|\n[ \t]*|\w+|\\\n|[^\s\w]""",  # a line start, a name or number, a continued line, a sign
    re.DOTALL,
)


@cache
def _code(module: str) -> Code:
    """The counted code of a module. Python's own tokenizer is not used: its tokens differ between versions."""
    package = module.split(".") if _file(module).name == "__init__.py" else module.split(".")[:-1]
    kept: list[str] = []
    imports: dict[str, None] = {}
    checking: int | None = None  # the indentation of the `if TYPE_CHECKING:` that the line is below
    of_rows, in_row = fnmatchcase(module, ROWS), False
    for indent, tokens in _lines(read_text(module)):
        if checking is not None and indent <= checking:
            checking = None
        in_row = of_rows and (tokens[0] not in ("from", "import", "@", "class", "def") if indent == 0 else in_row)
        if in_row:
            continue
        if tokens[0] == "from" and tokens[1] == ".":
            split = tokens.index("import")
            if checking is None:
                imports |= dict.fromkeys(_targets(_absolute(package, tokens[1:split]), _names(tokens[split + 1 :])))
            tokens = [tokens[0], *tokens[split:]]
        elif tokens[:2] == ["if", "TYPE_CHECKING"]:
            checking = indent
        kept += [f"\n{indent}", *tokens]
    return Code(digest=hashlib.sha256("\0".join(kept).encode()).hexdigest(), imports=tuple(imports))


def read_text(module: str) -> str:
    """The source of one of our modules, with \\n as line ends."""
    return _file(module).read_text(encoding="utf-8").replace("\r\n", "\n")


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """The logical lines of Python source: the indentation and the tokens of each, without comments and docstrings."""
    indent, depth = 0, 0
    tokens: list[str] = []
    for token in [*TOKEN.findall(text), "\n"]:
        if token[0] == "\n":
            if depth == 0:
                docstring = len(tokens) == 1 and tokens[0][-1] in "\"'"
                if tokens and not docstring:
                    yield indent, tokens
                indent, tokens = len(token) - 1, []
        elif token[0] not in "#\\":
            depth += (token in "([{") - (token in ")]}")
            tokens.append(token)


def _absolute(package: list[str], path: list[str]) -> str:
    """The module that the tokens of a relative path name: `.`, `.`, `suites` within "bench.verbs" is "suites"."""
    level = next((i for i, token in enumerate(path) if token != "."), len(path))
    return ".".join([*package[: len(package) - level + 1], *(token for token in path[level:] if token != ".")])


def _names(tokens: list[str]) -> list[str]:
    """The names that follow `import`, without what comes after `as`."""
    words = " ".join(token for token in tokens if token not in "()").split(" , ")
    return [word.split(" ")[0] for word in words]


def _targets(module: str, names: Iterable[str]) -> Iterator[str]:
    """The modules that `from MODULE import NAMES` loads: submodules of these names, otherwise MODULE itself."""
    for name in names:
        inside = f"{module}.{name}".strip(".")
        target = inside if name and _file(inside).is_file() else module
        if target and _file(target).is_file():
            yield target


def imported_modules(thing: Any) -> set[str]:
    """Our modules that the file of a user's class imports, anywhere in it."""
    modules: set[str] = set()
    with suppress(OSError, TypeError, SyntaxError):
        for node in ast.walk(ast.parse(Path(inspect.getfile(thing)).read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
                module = str(node.module).removeprefix(f"{PACKAGE}.")
                modules |= {*_targets(module, [alias.name for alias in node.names])}
    return modules


def network_modules(model: Model) -> tuple[str, ...]:
    """The modules that define and build the network of a row."""
    return tuple(sorted(f"models.{name}" for name in model.architecture.modules))


def is_ours(thing: Any) -> bool:
    """Whether a class or function is defined in this package and not in a user's file."""
    return called_code(thing).__module__.startswith(f"{PACKAGE}.")


def module_of(thing: Any) -> str:
    """The module of one of our classes or functions, relative to the package."""
    return called_code(thing).__module__.removeprefix(f"{PACKAGE}.")


def source_sha(thing: Any) -> str:
    """A short digest of the code of a user's class, function, partial function or callable object.

    Where there is no source file, as at a prompt, it is the digest of the name.
    """
    code = called_code(thing)
    try:
        return code_of(thing, Path(inspect.getfile(code)).resolve(strict=True))
    except (OSError, TypeError):
        return sha(f"{code.__module__}.{code.__qualname__}")


def called_code(thing: Any) -> Any:
    """The function or class whose code runs when `thing` is called."""
    while isinstance(thing, partial):
        thing = thing.func
    return thing if hasattr(thing, "__qualname__") else type(thing)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


Stamp = tuple[int, int]  # size and time in ns of a file; of a folder, the size of its images, and a digest of stamps


def input_entry(path: Path) -> dict[str, Any]:
    """Path, stamp and digest of a file or of a folder of images, as the `inputs` of a cell have them."""
    path = path.resolve()
    size, time = stamp = stamp_of(path)
    return {"path": str(path), "size": size, "mtime_ns": time, "sha256": _content(path, stamp)}


def stamp_of(path: Path) -> Stamp:
    """What differs after a file, or any image of a folder, was written. Raises OSError or UsageError for none there."""
    if not path.is_dir():
        return path.stat().st_size, path.stat().st_mtime_ns
    stats = [(name, (path / name).stat()) for name in image_names(path)]
    digest = sha([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])
    return sum(stat.st_size for _, stat in stats), int(digest, 16)


@cache
def _content(path: Path, stamp: Stamp) -> str:  # noqa: ARG001  # part of the key
    """The sha256 of a file; of a folder, of the names and digests of its images."""
    if not path.is_dir():
        return file_sha(path)
    names = image_names(path)
    files = counted(names, "digests of files", len(names))
    digests = canonical([[name, file_sha(path / name)] for name in files])
    return hashlib.sha256(digests.encode()).hexdigest()


def changed(inputs: Iterable[Mapping[str, Any]], stamp_of: Callable[[Path], Stamp] = stamp_of) -> str | None:
    """The path of the first of these files and folders whose content has changed, or None.

    The content is only read where stamps differ. What is gone does not count as changed.
    """
    for item in inputs:
        path = Path(item["path"])
        try:
            stamp = stamp_of(path)
        except (OSError, UsageError):
            continue
        same = stamp == (item["size"], item["mtime_ns"])
        if not same and (stamp[0] != item["size"] or _content(path, stamp) != item["sha256"]):
            return str(path)
    return None
