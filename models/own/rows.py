"""The rows of users' own models: `path/file.py:builder`, `package.module:builder`, or a module from Python."""

from __future__ import annotations

import copy
import hashlib
import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ...errors import describe_error
from ...registry import UsageError, suggest
from ..spec import Input, Model
from ..weights_choice import OwnWeights, WeightsChoice
from . import user_code
from .settings import INPUT_SETTINGS, NO_SETTINGS, OthersArchitecture, as_typed, read_literal

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class OwnArchitecture(OthersArchitecture):
    """Base of a user's builder and of a module passed from Python: both bring weights, and take a file's."""

    network: ClassVar[str] = "adapter:OwnBackbone"

    @property
    def built_by(self) -> str:
        return "own.network"

    def default_weights(self, row: Model, suite: str | None) -> WeightsChoice:  # noqa: ARG002
        return OwnWeights()

    def read_published(self, row: Model, word: str) -> Sequence[OwnWeights]:  # noqa: ARG002
        """The word `own` names those that it brings, beside files."""
        return [OwnWeights()] if word == str(OwnWeights()) else []

    @abstractmethod
    def make(self, name: str, weights: WeightsChoice, seed: int) -> tuple[nn.Module, tuple[Path, ...]]:
        """A fresh module for the row of this name, and the user's files that making it read."""


@dataclass(frozen=True, kw_only=True)
class OwnBuilder(OwnArchitecture):
    """A function or class in a user's file that builds the model, identified by the file's content, not its place."""

    code_fields: ClassVar[frozenset[str]] = frozenset({"sha256"})

    builder: str
    module: str | None = None  # the dotted name to import it by; None: import the file
    sha256: str  # of the file
    arguments: tuple[tuple[str, str], ...] = ()  # passed to the builder, as typed
    where: user_code.Builder = field(compare=False, repr=False)

    def with_arguments(self, row: Model, arguments: Mapping[str, str]) -> OwnBuilder:  # noqa: ARG002
        return replace(self, arguments=tuple(sorted(arguments.items())))

    def make(self, name: str, weights: WeightsChoice, seed: int) -> tuple[nn.Module, tuple[Path, ...]]:
        """The user's module, and the files that building it read.

        The builder runs under the seed of random weights, else under `seed`. Raises UsageError where it fails or a file
        has changed.
        """
        import torch

        where = self.where
        if not where.file.is_file() or where.sha256() != self.sha256:
            raise UsageError(f"'{where.file}' has changed since {name} was named; start again")
        arguments = {key: read_literal(text) for key, text in self.arguments}
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        before = user_code.loaded_below(where.root)
        with user_code.importing_from(where.root), torch.random.fork_rng(devices):
            builder = getattr(user_code.import_module(where, self.sha256), where.name, None)
            if not callable(builder):
                raise UsageError(
                    f"'{name}': '{where.name}' is {_kind(builder)}, not a function or class that builds a model"
                )
            # PyTorch's default initialisation draws from the global random state; fork_rng restores it.
            torch.manual_seed(weights.seed_or(seed))
            try:
                module = builder(**arguments)
            except Exception as error:  # whatever a user's code raises
                called = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
                raise UsageError(f"'{name}': {where.name}({called}) failed: {describe_error(error)}") from error
            seen = user_code.files_seen(where)
            seen |= (user_code.loaded_below(where.root) - before) | user_code.imported_files(where.file, where.root)
        if not isinstance(module, torch.nn.Module):
            raise UsageError(f"'{name}': {where.name}() gives {_kind(module)}, not a torch.nn.Module")
        # Python caches modules, so changes in them go unnoticed; only a file without a module is imported again.
        user_code.check_unchanged(seen - {where.file} if where.module is None else seen)
        return module, (where.file, *sorted(seen - {where.file}))


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


@dataclass(frozen=True, kw_only=True)
class GivenModule(OwnArchitecture):
    """A module that was passed from Python, identified by a digest of its weights and code."""

    brings_weights: ClassVar[bool] = True

    digest: str
    module: nn.Module = field(compare=False, repr=False)

    def with_arguments(self, row: Model, arguments: Mapping[str, str]) -> GivenModule:
        if arguments:
            word = next(iter(arguments))
            raise UsageError(
                f"{row.name} is built already and takes no '{word}'. {suggest(word, ('tap', *INPUT_SETTINGS))}"
            )
        return self

    def make(self, name: str, weights: WeightsChoice, seed: int) -> tuple[nn.Module, tuple[Path, ...]]:  # noqa: ARG002
        """A copy of the module. Raises UsageError where it cannot be copied, and for random weights."""
        if weights.random:
            raise UsageError(f"{name} brings its weights; weights=random is for models that are built here")
        try:
            return copy.deepcopy(self.module), ()
        except (RuntimeError, TypeError, AttributeError) as error:
            raise UsageError(f"{name} cannot be copied, and every task starts from a fresh copy: {error}") from error


def is_own(word: str) -> bool:
    """Whether a word names a builder of the user's: `path/file.py:builder` or `package.module:builder`."""
    return ":" in word or word.endswith(".py")


def own_model(word: str, settings: Mapping[str, str] = NO_SETTINGS) -> Model:
    """The row of a user's builder. Its file is read, not imported.

    The settings `tap`, `image_size` (224, or 224,192 for height and width), `mean`, `std` and `interpolation` say which
    layer gives the features and what images the model expects. All others are the builder's keyword arguments: Python
    literals where they can be read as such, else strings. Raises UsageError where the file, the builder or a setting is
    wrong.
    """
    where = user_code.find_builder(word)
    architecture = OwnBuilder(builder=where.name, module=where.module, sha256=where.sha256(), where=where)
    row = Model(name=word, family="own", architecture=architecture)
    return architecture.variants(row, settings, as_typed)[0][0]


def given_model(module: nn.Module, settings: Mapping[str, str] = NO_SETTINGS) -> Model:
    """The row of a module passed from Python, named after its class and the digest of its weights and code.

    Settings are those of `own_model` without the builder's arguments. Raises UsageError for any other setting.
    """
    digest = _digest(module)
    architecture = GivenModule(digest=digest, module=module)
    row = Model(name=f"{type(module).__name__}@{digest[:8]}", family="own", architecture=architecture)
    return architecture.variants(row, settings, as_typed)[0][0]


def _plain(value: object) -> object:
    """A value, or its type, as text that is the same in every process."""
    if isinstance(value, Mapping):
        return sorted((str(key), _plain(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    known = isinstance(value, bool | int | float | complex | str | bytes | Path | Input | type(None))
    return repr(value) if known else type(value).__qualname__


def _digest(module: nn.Module) -> str:
    """sha256 of a module's tensors, `repr` and plain attributes, and of the source of the user's classes in it."""
    import torch

    digest = hashlib.sha256(repr(module).encode())
    classes = {type(part) for part in module.modules() if not type(part).__module__.startswith("torch.")}
    for part in sorted(classes, key=lambda part: (part.__module__, part.__qualname__)):
        try:
            source = inspect.getsource(part)
        except (OSError, TypeError):  # typed at a prompt
            source = ""
        digest.update(f"{part.__qualname__}\n{source}\n".encode())
    for name, part in module.named_modules():  # a scale, `tap`, `input`: not in repr or state dict
        plain = {key: _plain(value) for key, value in vars(part).items() if not key.startswith("_")}
        digest.update(f"{name} {sorted(plain.items())!r}\n".encode())
    for name, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(f"{name} {value!r}\n".encode())
    return digest.hexdigest()
