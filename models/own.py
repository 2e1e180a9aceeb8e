"""A user's own model: from `path/file.py:builder`, `package.module:builder` or a module to a row and a Backbone."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ..registry import UsageError, suggest
from . import foreign
from .inputs import INPUT_SETTINGS, read_field, read_input, read_literal
from .spec import Architecture, Backbone, Input, Model

if TYPE_CHECKING:
    from torch import nn

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class OwnBuilder(Architecture):
    """A function or class in a user's file that builds the model. Its content, not its place, is its identity."""

    network: ClassVar[str] = "adapter:OwnBackbone"
    code_fields: ClassVar[frozenset[str]] = frozenset({"sha256"})

    builder: str
    module: str | None = None  # the dotted name it is imported by; None: the file itself
    sha256: str  # of the file
    arguments: tuple[tuple[str, str], ...] = ()  # passed to the builder, as typed
    tap: str | None = None
    settled: tuple[str, ...] = ()  # the fields of the row's Input that were set, which the object cannot change
    file: str = field(compare=False, repr=False)
    root: str = field(compare=False, repr=False)  # the folder its own imports start from


@dataclass(frozen=True, kw_only=True)
class GivenModule(Architecture):
    """A module that was passed from Python, by the digest of its weights and code."""

    network: ClassVar[str] = "adapter:OwnBackbone"

    digest: str
    tap: str | None = None
    settled: tuple[str, ...] = ()
    module: nn.Module = field(compare=False, repr=False)


def is_own(word: str) -> bool:
    """Whether a word names a builder of the user's: `path/file.py:builder` or `package.module:builder`."""
    return ":" in word or word.endswith(".py")


def own_model(word: str, settings: Mapping[str, str] = NO_SETTINGS) -> Model:
    """The row of a user's builder. Its file is read, not imported.

    The settings `tap`, `image_size` (224, or 224,192 for height and width), `mean`, `std` and `interpolation` say where
    the features are and what images the model expects; all others are the builder's keyword arguments, Python literals
    where they read as such, else strings. Raises UsageError where the file, the builder or a setting is wrong.
    """
    where = foreign.locate(word)
    rest = {name: str(value) for name, value in settings.items()}
    contract, settled = read_input(word, rest)
    architecture = OwnBuilder(
        builder=where.name,
        module=where.module,
        sha256=where.sha256(),
        tap=rest.pop("tap", None) or None,
        arguments=tuple(sorted(rest.items())),
        settled=settled,
        file=str(where.file),
        root=str(where.root),
    )
    variant = tuple(sorted((name, str(value)) for name, value in settings.items()))
    return Model(name=word, family="own", architecture=architecture, input=contract, variant=variant)


def given_model(module: nn.Module, settings: Mapping[str, str] = NO_SETTINGS) -> Model:
    """The row of a module passed from Python, named after its class and the digest of its weights and code.

    Settings as for `own_model`, but for the builder's arguments. Raises UsageError for any other setting.
    """
    digest = _digest(module)
    name = f"{type(module).__name__}@{digest[:8]}"
    rest = {key: str(value) for key, value in settings.items()}
    contract, settled = read_input(name, rest)
    tap = rest.pop("tap", None) or None
    if rest:
        word = next(iter(rest))
        raise UsageError(f"{name} is built already and takes no '{word}'. {suggest(word, ('tap', *INPUT_SETTINGS))}")
    architecture = GivenModule(digest=digest, tap=tap, settled=settled, module=module)
    variant = tuple(sorted((key, str(value)) for key, value in settings.items()))
    return Model(name=name, family="own", architecture=architecture, input=contract, variant=variant)


def build_own(
    row: Model,
    *,
    weights: int | Path | None = None,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
) -> Backbone:
    """A fresh network of a row that `own_model` or `given_model` made, in evaluation mode.

    `weights` is the seed its builder runs under (None: 0), or a file with the module's own names. The Backbone's `spec`
    is the row with the input contract that the object itself declares, as far as no setting fixed it. A given module
    is copied. Raises UsageError where its file has changed, it fails, or it does not keep the contract.
    """
    architecture = row.architecture
    files: tuple[Path, ...] = ()
    if isinstance(architecture, GivenModule):
        if isinstance(weights, int):
            raise UsageError(f"{row.name} brings its weights; weights=random is for models that are built here")
        module = _copied(row.name, architecture.module)
    elif isinstance(architecture, OwnBuilder):
        module, files = _build(row.name, architecture, weights if isinstance(weights, int) else 0)
    else:
        raise TypeError(f"{row.name} is a model of the catalog, not one's own")
    from .adapter import OwnBackbone

    contract = _declared_input(row, module, architecture.settled)
    spec = replace(row, input=replace(contract, size=image_size) if image_size else contract)
    backbone = OwnBackbone(spec, module, architecture.tap, num_classes)
    backbone.source_files = files
    if isinstance(weights, Path):
        _load_file(backbone, weights)
    return cast(Backbone, backbone)


def source_files(backbone: object) -> tuple[Path, ...]:
    """The user's own files that building this network read, the builder's first; none for a model of the catalog.

    A change in any of them can change its numbers, so a run records them beside its weights.
    """
    return getattr(backbone, "source_files", ())


def _build(name: str, architecture: OwnBuilder, seed: int) -> tuple[nn.Module, tuple[Path, ...]]:
    """The user's module and the files that building it read."""
    import torch

    where = foreign.Builder(
        file=Path(architecture.file),
        name=architecture.builder,
        module=architecture.module,
        root=Path(architecture.root),
    )
    if not where.file.is_file() or where.sha256() != architecture.sha256:
        raise UsageError(f"'{where.file}' has changed since {name} was named; start again")
    arguments = {key: read_literal(text) for key, text in architecture.arguments}
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    before = foreign.loaded_below(where.root)
    with foreign.importing_from(where.root), torch.random.fork_rng(devices):
        builder = getattr(foreign.import_module(where, architecture.sha256), where.name, None)
        if not callable(builder):
            raise UsageError(
                f"'{name}': '{where.name}' is {_kind(builder)}, not a function or class that builds a model"
            )
        torch.manual_seed(seed)  # PyTorch's default initialisation draws from the global state; it is put back after
        try:
            module = builder(**arguments)
        except Exception as error:  # whatever a user's code raises
            called = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            raise UsageError(f"'{name}': {where.name}({called}) failed: {foreign.describe(error)}") from error
        seen = foreign.files_seen(where)
        seen |= (foreign.loaded_below(where.root) - before) | foreign.imported_files(where)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"'{name}': {where.name}() gives {_kind(module)}, not a torch.nn.Module")
    # The file itself is imported anew when it changes; what it imports, and a package's modules, Python keeps.
    foreign.check_unchanged(seen - {where.file} if where.module is None else seen)
    return module, (where.file, *sorted(seen - {where.file}))


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _copied(name: str, module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UsageError(f"{name} cannot be copied, and every task starts from a fresh copy: {error}") from error


def _load_file(backbone: Any, path: Path) -> None:
    """Loads a state dict of the user's module, or of its Backbone (which has "module." before each name).

    Names are the module's own, so prefixes are taken off only where they fit neither.
    """
    from .weights.files import open_weights
    from .weights.fit import head_classes, load, with_head
    from .weights.recognise import under_own_names

    inner, outer = backbone.module.state_dict(), backbone.state_dict()
    with open_weights(path, keep_prefixes=True) as contents:
        weights = under_own_names(contents, {*inner, *outer})
        if set(weights.tensors) != set(inner) and any(f"module.{name}" in weights.tensors for name in inner):
            if backbone.head is None or head_classes(weights) != len(backbone.head.weight):
                weights = with_head(weights, outer)
            load(backbone, weights, backbone.spec)
        else:
            load(backbone.module, weights, backbone.spec)
        backbone.notes = weights.notes


def _plain(value: object) -> object:
    """A value without anything whose printed form changes from process to process."""
    if isinstance(value, Mapping):
        return sorted((str(key), _plain(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    known = isinstance(value, bool | int | float | complex | str | bytes | Path | Input | type(None))
    return repr(value) if known else type(value).__qualname__


def _digest(module: nn.Module) -> str:
    """sha256 of a module's tensors, printed form and plain attributes, and the source of the user's classes in it."""
    import torch

    digest = hashlib.sha256(repr(module).encode())
    classes = {type(part) for part in module.modules() if not type(part).__module__.startswith("torch.")}
    for part in sorted(classes, key=lambda part: (part.__module__, part.__qualname__)):
        try:
            source = inspect.getsource(part)
        except (OSError, TypeError):  # typed at a prompt
            source = ""
        digest.update(f"{part.__qualname__}\n{source}\n".encode())
    for name, part in module.named_modules():  # a scale, a flag, `tap`, `input`: what repr and state dict do not show
        plain = {key: _plain(value) for key, value in vars(part).items() if not key.startswith("_")}
        digest.update(f"{name} {sorted(plain.items())!r}\n".encode())
    for name, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(f"{name} {value!r}\n".encode())
    return digest.hexdigest()


def _declared_input(row: Model, module: nn.Module, settled: tuple[str, ...]) -> Input:
    """The row's input contract with what the object declares in `input`, where no setting has fixed it."""
    declared = getattr(module, "input", None)
    if isinstance(declared, Input):
        values = {each.name: getattr(declared, each.name) for each in fields(Input)}
    elif isinstance(declared, Mapping):
        values = {str(name): value for name, value in declared.items()}
    else:
        return row.input
    known = [each.name for each in fields(Input)]
    for name in values:
        if name not in known:
            raise UsageError(f"{row.name}: its `input` has an unknown field '{name}'. {suggest(name, known, known)}")
    read = {name: read_field(row.name, f"input.{name}", value) for name, value in values.items()}
    return replace(row.input, **{name: value for name, value in read.items() if name not in settled})
