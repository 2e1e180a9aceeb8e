"""The models and weights of timm and torchvision, read from their installed sources without importing either.

Importing them takes seconds, and a plan or a list only needs names. A test compares the result with the libraries' own
answers.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

from ...registry import UsageError

# A registered builder, with whatever decorators stand between the registration and its `def`.
REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n(?:[ )].*\n)*)*def (\w+)\(", re.MULTILINE)

SOURCES = ("url", "file", "hf_hub_id")  # the fields of timm's that say where weights are


@cache
def version(library: str) -> str | None:
    """The version of a library, or None where it is not installed."""
    try:
        return installed_version(library)
    except PackageNotFoundError:
        return None


def require(library: str, who: str) -> str:
    """The version of a library that a model needs. Raises UsageError, naming the model, where it is not installed."""
    installed = version(library)
    if installed is None:
        what = f"pip install 'vit-bench[{library}]'" if library == "timm" else f"pip install {library}"
        raise UsageError(f"{who} is a model of {library}, which is not installed here. Type: {what}")
    return installed


@cache
def model_names(library: str, pattern: str = "*.py") -> Mapping[str, Path]:
    """The classification models of a library, sorted, each with the file that defines it.

    The pattern `*/*.py` gives its models for other purposes: detection, segmentation, video, …
    """
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    files = {name: file for file in folder.glob(pattern) for name in REGISTERED.findall(_text(file))}
    return dict(sorted(files.items()))


@cache
def pretrained_tags(library: str, name: str) -> tuple[str, ...]:
    """The pretrained weights that a library has for a model, its default first; "" are timm's without a tag.

    timm is imported only for the few models whose entries are computed.
    """
    file = model_names(library).get(name)
    if file is None:
        return ()
    if library == "torchvision":
        return _torchvision_tags(_tree(file), name)
    return _timm_tags(_tree(file), name) or _ask_timm(name)


def _ask_timm(name: str) -> tuple[str, ...]:
    import timm

    tags = [word.partition(".")[2] for word in timm.list_pretrained(f"{name}*") if word.partition(".")[0] == name]
    default = timm.get_pretrained_cfg(name)
    first = (default.tag or "") if default is not None and default.has_weights else None
    return tuple(sorted(tags, key=lambda tag: tag != first))


def _timm_tags(tree: ast.Module, name: str) -> tuple[str, ...]:
    """timm's rule: the default is an untagged entry, else the one whose tag ends in "*", else the first."""
    tags: list[str] = []
    fixed = False
    for key, value in _literal_entries(tree):
        model, _, tag = key.partition(".")
        if model != name or not _has_source(value):
            continue
        first = not tag or (tag.endswith("*") and not fixed)
        fixed |= first
        tags.insert(0 if first else len(tags), tag.strip("*"))
    return tuple(tags)


def _literal_entries(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        for inner in ast.walk(node) if isinstance(node, ast.Assign | ast.AnnAssign) else ():
            if isinstance(inner, ast.Dict):
                for key, value in zip(inner.keys, inner.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield key.value, value


def _has_source(value: ast.expr) -> bool:
    """Whether the call or dict that describes weights says where they are."""
    if isinstance(value, ast.Call):
        sources = [keyword.value for keyword in value.keywords if keyword.arg in SOURCES] + value.args[:1]
    elif isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        sources = [item for key, item in pairs if isinstance(key, ast.Constant) and key.value in SOURCES]
    else:
        sources = []
    return any(not isinstance(source, ast.Constant) or source.value for source in sources)


def _torchvision_tags(tree: ast.Module, name: str) -> tuple[str, ...]:
    builder = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    annotation = next((option.annotation for option in builder.args.kwonlyargs if option.arg == "weights"), None)
    words = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)} if annotation else set()
    weights = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in words]
    tags: dict[str, None] = {}
    default = ""
    for node in [node for enumeration in weights for node in enumeration.body if isinstance(node, ast.Assign)]:
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == "DEFAULT" and isinstance(node.value, ast.Name):
            default = node.value.id
        elif isinstance(target, ast.Name):
            tags[target.id] = None
    return tuple(sorted(tags, key=lambda tag: tag != default))


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(_text(file))
