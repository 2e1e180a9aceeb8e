"""The rows of other libraries' models: `timm:NAME[.TAG]`, `torchvision:NAME[.TAG]` and `hf:REPO`. It needs no torch.

The images that a model expects are known only once its library is imported. Until it is built, its row has the settings
that were typed, and defaults for the rest; the Backbone's `spec` has the library's input contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, ClassVar, get_args

from ...random_weights import RANDOM
from ...registry import UsageError, first_few, is_glob, path_of, suggest
from ..own.settings import NO_SETTINGS, OthersArchitecture, as_typed
from ..provenance import Pool
from ..spec import Input, Model, ReadValues
from ..weights_choice import LibraryWeights, Random, WeightsChoice, WeightsFile
from . import listing as libraries
from .authors import authors_pool

PRETRAINED = "pretrained"

# Arguments of the libraries' constructors that this project sets, and what to type instead.
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
class ExternalBuilder(OthersArchitecture):
    """A model that a library builds. Its identity has the library's version, which can change numbers as code can."""

    network: ClassVar[str] = "published:PublishedBackbone"
    code_fields: ClassVar[frozenset[str]] = frozenset({"version"})
    later_fields: ClassVar[frozenset[str]] = frozenset({"pool"})
    in_globs: ClassVar[bool] = False  # "*" selects what always works, and the library may be absent
    resizes_by_pillow: ClassVar[bool] = True

    library: str  # the prefix before the colon
    name: str  # as the library has it, without a tag
    tag: str = ""  # the weights that the name names; "": none
    version: str  # of the library; "" where it is not installed
    arguments: tuple[tuple[str, str], ...] = ()  # passed to the library's constructor, as typed
    pool: Pool | None = None  # which feature is used; None: what enters the library's classifier

    @property
    def package(self) -> str:
        """The library's name, as it is installed and imported."""
        return self.library

    @property
    def built_by(self) -> str:
        return f"external.{self.package}"

    @property
    def says_weights(self) -> bool:
        """Whether the model's name names weights, too."""
        return bool(self.tag)

    def published_names(self) -> tuple[str, ...]:
        """The names of the published weights, the library's default first; "" for weights without a tag."""
        return libraries.pretrained_tags(self.package, self.name)

    def variants(self, row: Model, settings: Mapping[str, str], read: ReadValues) -> tuple[list[Model], set[str]]:
        """Settings other than `tap`, `pool` and the input contract's go to the library's constructor as typed."""
        libraries.require(self.package, f"'{row.name}'")
        other = next((name for name in ("tap", "global_pool") if name in settings), None)
        if other and "pool" in settings:
            raise UsageError(f"{row.name}: model.pool and model.{other} both say what the features are. Type one")
        rows, used = super().variants(row, settings, read)
        if "tap" in settings:
            rows = [replace(row, architecture=replace(row.architecture, pool=None)) for row in rows]
        return rows, used

    def with_arguments(self, row: Model, arguments: Mapping[str, str]) -> ExternalBuilder:
        for name in arguments:
            if name in OURS:
                raise UsageError(f"{row.name}: model.{name} is not set here. In its place: {OURS[name]}")
        rest = dict(arguments)
        pool: Any = rest.pop("pool", None)
        if pool not in (None, *get_args(Pool)):
            raise UsageError(f"{row.name}: model.pool={pool}. {suggest(pool, get_args(Pool), get_args(Pool))}")
        typed = pool or (None if "global_pool" in rest else self.pool)
        return replace(self, arguments=tuple(sorted(rest.items())), pool=typed)

    def default_weights(self, row: Model, suite: str | None) -> WeightsChoice:
        if self.says_weights:
            return LibraryWeights(self.tag or PRETRAINED)
        if suite is None:
            return Random()
        tags = [tag for tag in self.published_names() if tag]
        others = f"; or weights={first_few(tags[1:], most=6)}" if tags[1:] else ""
        published = f"weights=pretrained ({tags[0]}{others}), " if tags else ""
        raise UsageError(
            f"{row.name} needs weights for suite={suite}: type {published}weights=FILE (a .safetensors or .pt file "
            f"with {self.package}'s names) or, for the untrained network, weights=random"
        )

    def read_published(self, row: Model, word: str) -> Sequence[LibraryWeights]:
        """A name of the library's weights; `pretrained` stands for those of the row's name, else the default."""
        known = self.published_names()
        if word == PRETRAINED:
            if self.says_weights:
                return [LibraryWeights(self.tag or PRETRAINED)]
            if known:
                return [LibraryWeights(known[0] or PRETRAINED)]
            raise UsageError(f"{row.name} has no pretrained weights in {self.package}. {INSTEAD}")
        if word in known:
            if self.tag not in ("", word):
                raise UsageError(
                    f"weights={word}: the name {row.name} says {self.tag}. Type model={self.library}:{self.name}.{word}"
                )
            return [LibraryWeights(word)]
        path = path_of(word)
        looks_like_file = path.suffix in (".safetensors", ".pt", ".pth") or is_glob(word)
        if looks_like_file or path.exists() or WeightsFile(word).files():
            return ()
        choices = [PRETRAINED, *(tag for tag in known if tag), RANDOM]
        raise UsageError(
            f"weights={word}: {row.name} has no such weights, and there is no such file. {suggest(word, choices)}"
        )


@dataclass(frozen=True, kw_only=True)
class HubBuilder(ExternalBuilder):
    """A trained model in timm's format on the hub: `name` is its repository, OWNER/NAME or OWNER/NAME@REVISION."""

    library: str = "hf"

    @property
    def package(self) -> str:
        return "timm"

    @property
    def says_weights(self) -> bool:
        return True

    def published_names(self) -> tuple[str, ...]:
        return ()


INSTEAD = "Type weights=FILE, or weights=random for the untrained network"


def is_external(word: str) -> bool:
    """Whether a word selects models of a library: `timm:…`, `torchvision:…` or `hf:…`."""
    prefix, colon, _ = word.partition(":")
    return bool(colon) and prefix in ROWS


def external_models(word: str, settings: Mapping[str, str] = NO_SETTINGS) -> list[Model]:
    """The rows that `LIBRARY:NAME[.TAG]` or a glob selects. A glob with a dot matches names with tags.

    The settings `tap`, `image_size`, `mean`, `std` and `interpolation` are as in `own_model`; `pool` names the feature
    (models/external/authors.py: MEANING); all others are keyword arguments of the library's constructor. Raises
    UsageError where the library is not installed or has no such classification model, and for a setting that this
    project sets itself.
    """
    prefix, _, pattern = word.partition(":")
    rows = ROWS[prefix](pattern)
    return [variant for row in rows for variant in row.architecture.variants(row, settings, as_typed)[0]]


def _rows_of_library(library: str, pattern: str) -> list[Model]:
    libraries.require(library, f"'{library}:{pattern}'")
    if is_glob(pattern):
        return [_row(library, name) for name in _matching(library, pattern)]
    _check_name(library, pattern)
    return [_row(library, pattern)]


def _row(library: str, word: str) -> Model:
    name, _, tag = word.partition(".")
    architecture = ExternalBuilder(
        library=library, name=name, tag=tag, version=libraries.version(library) or "", pool=_default_pool(word)
    )
    return Model(name=f"{library}:{word}", family=library, architecture=architecture)


def _rows_of_hub(repository: str) -> list[Model]:
    word = f"hf:{repository}"
    version = libraries.require("timm", f"'{word}'")
    owner, slash, name = repository.partition("@")[0].partition("/")
    if not (owner and slash and name) or "/" in name or is_glob(repository) or " " in repository:
        raise UsageError(f"'{word}' names no repository. Type hf:OWNER/NAME, or hf:OWNER/NAME@REVISION")
    architecture = HubBuilder(name=repository, version=version, pool=_default_pool(repository))
    return [Model(name=word, family="timm", architecture=architecture)]


def _default_pool(name: str) -> Pool | None:
    """The features that a model's authors evaluate, where its library gives its classifier something else."""
    known = authors_pool(name)
    return known.pool if known is not None and known.differs else None


# The prefix before the colon, and the function that makes rows of the rest.
ROWS: Mapping[str, Callable[[str], list[Model]]] = {
    "timm": partial(_rows_of_library, "timm"),
    "torchvision": partial(_rows_of_library, "torchvision"),
    "hf": _rows_of_hub,
}


def _matching(package: str, pattern: str) -> list[str]:
    words = list(libraries.model_names(package))
    if "." in pattern:
        models = [name for name in words if fnmatchcase(name, pattern.partition(".")[0])]
        words = [f"{name}.{tag}" for name in models for tag in libraries.pretrained_tags(package, name) if tag]
    matching = [word for word in words if fnmatchcase(word.lower(), pattern.lower())]
    if not matching:
        raise UsageError(f"no model of {package} matches '{pattern}'. `list models {package}:*` shows them all")
    return matching


def _check_name(package: str, word: str) -> None:
    name, dot, tag = word.partition(".")
    known = libraries.model_names(package)
    if name not in known:
        if name in libraries.model_names(package, "*/*.py"):
            raise UsageError(
                f"'{package}:{word}' is not a classification model, and the suites ask for features of whole images"
            )
        near = suggest(name, known, [f"the {len(known)} that `list models {package}:*` shows"])
        raise UsageError(f"{package} {libraries.version(package)} has no model '{name}'. {near}")
    if dot and tag not in libraries.pretrained_tags(package, name):
        tags = [f"{name}.{tag}" for tag in libraries.pretrained_tags(package, name) if tag]
        near = suggest(word, tags, tags) if tags else "It has none."
        raise UsageError(f"{package} {libraries.version(package)} has no weights '{tag}' of {name}. {near}")


def named_row(name: str, word: str, params: int, contract: Input, *aliases: str) -> Model:
    """A row of the catalog for a library's model `LIBRARY:NAME.TAG`. The library need not be installed."""
    library, _, model = word.partition(":")
    return replace(_row(library, model), name=name, params=params, input=contract, aliases=aliases)
