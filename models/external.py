"""Models of other libraries: from `timm:NAME[.TAG]`, `torchvision:NAME[.TAG]` or `hf:REPO` to a row. No torch here.

What a model expects of its images is only known once its library is imported: until it is built, its row has the
settings that were typed and else the defaults. The Backbone's `spec` has the library's own contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar, Literal

from ..registry import UsageError, suggest
from . import libraries
from .inputs import read_input
from .own import NO_SETTINGS
from .spec import Architecture, Input, Model

PRETRAINED = "pretrained"
RANDOM = "random"
PREFIXES = {"timm": "timm", "torchvision": "torchvision", "hf": "timm"}  # what is typed, and the library it takes

# Arguments of the libraries' constructors that this project sets, and what to type in their place.
OURS = {
    "pretrained": "weights=pretrained",
    "weights": "weights=pretrained",
    "pretrained_cfg": "weights=",
    "pretrained_cfg_overlay": "weights=",
    "checkpoint_path": "weights=FILE",
    "img_size": "model.image_size=",
    "input_size": "model.image_size=",
    "num_classes": "the suite's task, or create_model(num_classes=…)",
    "in_chans": "nothing: every image here has three channels",
    "features_only": "model.tap=",
}


@dataclass(frozen=True, kw_only=True)
class ExternalBuilder(Architecture):
    """A model that a library builds. Another version of the library can give other numbers, as a change of code can."""

    network: ClassVar[str] = "published:PublishedBackbone"
    code_fields: ClassVar[frozenset[str]] = frozenset({"version"})
    in_globs: ClassVar[bool] = False  # it needs a package that may be absent: "*" is for what always works

    library: Literal["timm", "torchvision", "hf"]
    name: str  # as the library has it, without a tag; a repository for "hf"
    tag: str = ""  # the weights that the name says; "" for none
    version: str  # of the library; "" where it is not installed
    arguments: tuple[tuple[str, str], ...] = ()  # passed to the library's constructor, as typed
    tap: str | None = None
    settled: tuple[str, ...] = ()  # the fields of the row's Input that were set, which the library's do not change

    @property
    def package(self) -> str:
        return PREFIXES[self.library]


def is_external(word: str) -> bool:
    """Whether a word names models of a library: `timm:…`, `torchvision:…` or `hf:…`."""
    prefix, colon, _ = word.partition(":")
    return bool(colon) and prefix in PREFIXES


def external_models(word: str, settings: Mapping[str, str] = NO_SETTINGS) -> list[Model]:
    """The rows that `LIBRARY:NAME[.TAG]` or a glob of names stands for. A glob with a dot runs over names with tags.

    The settings `tap`, `image_size`, `mean`, `std` and `interpolation` are as for one's own models; all others are
    keyword arguments of the library's constructor. Raises UsageError where the library is not installed, or has no such
    classification model, or the setting is not for it.
    """
    prefix, _, pattern = word.partition(":")
    package = PREFIXES[prefix]
    libraries.require(package, f"'{word}'")
    if prefix == "hf":
        _check_repository(word, pattern)
        chosen = [pattern]
    elif any(sign in pattern for sign in "*?["):
        chosen = _matching(package, pattern)
    else:
        _check_name(package, pattern)
        chosen = [pattern]
    return [_row(prefix, name, settings) for name in chosen]


def external_model(word: str, settings: Mapping[str, str] = NO_SETTINGS) -> Model:
    """The one row of a word without a glob. Raises UsageError as `external_models` does, and for several."""
    rows = external_models(word, settings)
    if len(rows) > 1:
        raise UsageError(f"'{word}' is {len(rows)} models, and one is needed: {_listed([row.name for row in rows])}")
    return rows[0]


def with_settings(row: Model, settings: Mapping[str, str]) -> Model:
    """A row of the catalog that a library builds, with `model.X=` settings as `external_models` reads them."""
    architecture = row.architecture
    assert isinstance(architecture, ExternalBuilder)
    libraries.require(architecture.package, f"'{row.name}'")
    return _set(row, architecture, settings)


def _row(prefix: str, name: str, settings: Mapping[str, str]) -> Model:
    package = PREFIXES[prefix]
    plain, _, tag = (name, "", "") if prefix == "hf" else name.partition(".")
    architecture = ExternalBuilder(
        library=prefix,  # type: ignore[arg-type]
        name=plain,
        tag=tag,
        version=libraries.version(package) or "",
    )
    return _set(Model(name=f"{prefix}:{name}", family=package, architecture=architecture), architecture, settings)


def _set(row: Model, architecture: ExternalBuilder, settings: Mapping[str, str]) -> Model:
    if not settings:
        return row
    rest = {name: str(value) for name, value in settings.items()}
    contract, settled = read_input(row.name, rest, row.input)
    tap = rest.pop("tap", None) or None
    for name in rest:
        if name in OURS:
            raise UsageError(f"{row.name}: model.{name} is not set here. In its place: {OURS[name]}")
    made = replace(architecture, arguments=tuple(sorted(rest.items())), tap=tap, settled=settled)
    variant = tuple(sorted((name, str(value)) for name, value in settings.items()))
    return replace(row, architecture=made, input=contract, params=None, variant=variant)


def _check_repository(word: str, repository: str) -> None:
    owner, slash, name = repository.partition("@")[0].partition("/")
    if not (owner and slash and name) or "/" in name or any(sign in repository for sign in "*?[ "):
        raise UsageError(f"'{word}' names no repository. Type hf:OWNER/NAME, or hf:OWNER/NAME@REVISION")


def _matching(package: str, pattern: str) -> list[str]:
    words = list(libraries.names(package))
    if "." in pattern:
        models = [name for name in words if fnmatchcase(name, pattern.partition(".")[0])]
        words = [f"{name}.{tag}" for name in models for tag in libraries.tags(package, name) if tag]
    found = [word for word in words if fnmatchcase(word.lower(), pattern.lower())]
    if not found:
        raise UsageError(f"no model of {package} matches '{pattern}'. `list models {package}:*` shows them all")
    return found


def _check_name(package: str, word: str) -> None:
    name, dot, tag = word.partition(".")
    known = libraries.names(package)
    if name not in known:
        if name in libraries.other_names(package):
            raise UsageError(
                f"'{package}:{word}' is not a classification model, and the suites ask for features of whole images"
            )
        near = suggest(name, known, [f"the {len(known)} that `list models {package}:*` shows"])
        raise UsageError(f"{package} {libraries.version(package)} has no model '{name}'. {near}")
    if dot and tag not in libraries.tags(package, name):
        tags = [f"{name}.{each}" for each in libraries.tags(package, name) if each]
        near = suggest(word, tags, tags) if tags else "It has none."
        raise UsageError(f"{package} {libraries.version(package)} has no weights '{tag}' of {name}. {near}")


def says_weights(row: Model) -> bool:
    """Whether a row of a library names its weights: by a tag, or as a repository of a trained model."""
    architecture = row.architecture
    return isinstance(architecture, ExternalBuilder) and bool(architecture.tag or architecture.library == "hf")


def default_weights(row: Model, suite: str | None) -> str:
    """The weights of a row that is run without `weights=`. `suite` is the one that needs some, None where none does."""
    if says_weights(row):
        return PRETRAINED
    if suite is None:
        return RANDOM
    architecture = row.architecture
    assert isinstance(architecture, ExternalBuilder)
    tags = [tag for tag in libraries.tags(architecture.package, architecture.name) if tag]
    others = f"; or weights={_listed(tags[1:])}" if tags[1:] else ""
    published = f"weights=pretrained ({tags[0]}{others}), " if tags else ""
    raise UsageError(
        f"{row.name} needs weights for suite={suite}: type {published}weights=FILE (a .safetensors or .pt file with "
        f"{architecture.package}'s names) or, for the untrained network, weights=random"
    )


def published_weights(row: Model, word: str) -> str | None:
    """The name of the library's weights that a word stands for, as records have it; None where it is random or a file.

    "pretrained" is what the row's name says, else the library's default. Raises UsageError for anything else.
    """
    architecture = row.architecture
    assert isinstance(architecture, ExternalBuilder)
    if word == RANDOM or word.startswith(f"{RANDOM}:"):
        return None
    known = () if architecture.library == "hf" else libraries.tags(architecture.package, architecture.name)
    if word == PRETRAINED:
        if architecture.library == "hf" or architecture.tag:
            return architecture.tag or PRETRAINED
        if known:
            return known[0] or PRETRAINED
        raise UsageError(f"{row.name} has no pretrained weights in {architecture.package}. {_instead()}")
    if word in known:
        if architecture.tag not in ("", word):
            raise UsageError(
                f"weights={word}: the name {row.name} says {architecture.tag}. Type model={architecture.library}:"
                f"{architecture.name}.{word}"
            )
        return word
    if Path(word).expanduser().exists() or Path(word).suffix in (".safetensors", ".pt", ".pth"):
        return None
    choices = [PRETRAINED, *(tag for tag in known if tag), RANDOM]
    raise UsageError(
        f"weights={word}: {row.name} has no such weights, and there is no such file. {suggest(word, choices)}"
    )


def _instead() -> str:
    return "Type weights=FILE, or weights=random for the untrained network"


def _listed(words: list[str]) -> str:
    return ", ".join(words[:6]) + (f", … and {len(words) - 6} more" if len(words) > 6 else "")


def named_row(name: str, word: str, params: int, contract: Input, *aliases: str) -> Model:
    """A row of the catalog for a model of a library, written `LIBRARY:NAME.TAG`. The library need not be there."""
    prefix, _, model = word.partition(":")
    return replace(_row(prefix, model, NO_SETTINGS), name=name, params=params, input=contract, aliases=aliases)
