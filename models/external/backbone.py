"""Networks that timm or torchvision builds, as Backbones: the library's own layers, its own features, its own head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...errors import describe_error
from ...registry import UsageError
from ..arguments import wrong_weights
from ..networks.base import check_classes, check_images, check_memory
from ..own.adapter import OwnBackbone, zero_head
from ..own.settings import read_literal
from ..weights.conventions import Weights, under_module_names
from ..weights.files import open_weights
from ..weights.load import load_strictly
from ..weights_choice import WeightsChoice
from . import listing as libraries
from .rows import PRETRAINED, ExternalBuilder

if TYPE_CHECKING:
    from ..spec import Input, Model
    from ..weights.stored import StoredTensor


class PublishedBackbone(nn.Module):
    """Base of the networks of a library. `module` is what the library built.

    It has the library's own head, until `drop_library_head`; `head` is a head of ours, or the library's where it could
    be taken out of `module`. `source_files` are the files of weights it was read from.
    """

    any_size = False

    def __init__(self, spec: Model, module: nn.Module, num_features: int) -> None:
        super().__init__()
        self.spec = spec
        self.image_size = spec.input.size
        self.num_features = num_features
        self.module = module
        self.head: nn.Module | None = None
        self.ends_in_logits = False  # the library's head is inside `module`
        self.source_files: tuple[Path, ...] = ()
        self.notes: tuple[str, ...] = ()  # what was done to fit a file's weights
        self.tested: Mapping[str, Any] = {}  # how the library's own evaluation resizes images, see Library.tested

    @abstractmethod
    def representation(self, images: Tensor) -> Tensor:
        """(B, D): what the library's classifier sees."""

    @abstractmethod
    def drop_library_head(self) -> None:
        """Removes the library's classifier; the representation stays as it is."""

    @property
    def has_own_head(self) -> bool:
        return self.ends_in_logits or self.head is not None

    def own_logits(self, images: Tensor) -> Tensor:
        return self(images)

    def features(self, images: Tensor) -> Tensor:
        """The representation (B, num_features) of (B, 3, H, W) images scaled by `spec.input`."""
        check_images(self, images)
        return self.representation(images)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K), or the features where there is no head."""
        check_images(self, images)
        if self.ends_in_logits:
            return self.module(images)
        features = self.representation(images)
        return features if self.head is None else self.head(features)


class Library:
    """A library's part of building one of its models. Subclasses are Timm, HubRepository and Torchvision (from_*.py).

    `tag` names the weights whose input contract and classes the model has; `pretrained` says whether to load them.
    """

    backbone: type[PublishedBackbone]

    def __init__(self, row: Model, architecture: ExternalBuilder, tag: str) -> None:
        self.row = row
        self.architecture = architecture
        self.tag = tag
        self.arguments = {name: read_literal(text) for name, text in architecture.arguments}

    @abstractmethod
    def contract(self) -> Input:
        """What the library's own evaluation feeds the model."""

    @abstractmethod
    def tested(self) -> Mapping[str, Any]:
        """How the library's own evaluation resizes: `resize` and `crop_pct`, as suites.images.transforms calls them."""

    @abstractmethod
    def classes(self) -> int:
        """Of the published weights' head; 0 where they have none."""

    @abstractmethod
    def head_classes(self, tensors: Mapping[str, StoredTensor]) -> int:
        """Of the head in a file with the library's names; 0 where there is none."""

    @abstractmethod
    def construct(self, size: tuple[int, int], classes: int, file: Path | None = None) -> nn.Module:
        """The library's module, with the weights of a file as the library publishes it, or drawn."""

    @abstractmethod
    def published_file(self) -> Path:
        """The file of the published weights, downloaded where it may be. Raises UsageError where it cannot be had."""


def build_with(
    kind: type[Library],
    row: Model,
    weights: WeightsChoice,
    num_classes: int | None,
    image_size: tuple[int, int] | None,
    seed: int,
) -> PublishedBackbone | OwnBackbone:
    """A fresh network of a row whose architecture is an ExternalBuilder, in evaluation mode. See `create_model`.

    `weights` are the library's, random or a file with the library's own names. The Backbone's `spec` is the row with
    the library's input contract, as far as no setting fixed it. Raises UsageError for all that cannot be done.
    """
    architecture = _of_a_library(row)
    check_classes(num_classes)
    libraries.require(architecture.package, f"'{row.name}'")
    tag = weights.library_name
    if tag is None and weights.path is None and not weights.random:
        raise wrong_weights(row.name, weights)
    head = weights.head() if image_size is None and weights.path is not None else None
    if head is not None and head.image_size is not None:  # such a file fits no other size
        image_size = (head.image_size, head.image_size)
    library = kind(row, architecture, tag if tag not in (None, PRETRAINED) else architecture.tag)
    contract = library.contract()
    contract = replace(contract, **{name: getattr(row.input, name) for name in architecture.settled})
    spec = replace(row, input=replace(contract, size=image_size) if image_size else contract)
    if weights.path is not None:
        with open_weights(weights.path) as contents:
            held = under_module_names(contents, contents.tensors)
            backbone, classes = _from_file(library, spec, held, num_classes)
        file, backbone.notes = held.contents.path, held.notes
    else:
        classes = library.classes()
        width = _checked_width(library, spec, classes)
        file = library.published_file() if tag is not None else None
        module = _made(library, spec, classes, file, weights.seed_or(seed))
        backbone = _wrapped(library, spec, module, width, num_classes)
    keeps_head = file is not None and classes and num_classes in (None, classes)
    if isinstance(backbone, PublishedBackbone) and not keeps_head:
        backbone.drop_library_head()
        backbone.head = None if num_classes is None else zero_head(backbone.num_features, num_classes)
    backbone.source_files = () if file is None else (file,)
    backbone.tested = library.tested()
    return backbone.eval()


def _from_file(
    library: Library, spec: Model, held: Weights, num_classes: int | None
) -> tuple[PublishedBackbone | OwnBackbone, int]:
    """The backbone with the weights of a file, and the classes of the file's head; 0 where it has none."""
    tensors = held.tensors
    saved_here = library.architecture.tap is None and _is_backbone(tensors)
    classes = _classes_of_head(library, tensors)
    width = _checked_width(library, spec, classes)
    module = _made(library, spec, classes)
    if not saved_here:
        load_strictly(module, held, spec)
    backbone = _wrapped(library, spec, module, width, num_classes)
    if saved_here and isinstance(backbone, PublishedBackbone):
        if OUR_HEAD in tensors:
            backbone.drop_library_head()
            backbone.head = zero_head(width, classes)
        load_strictly(backbone, held, spec)
    return backbone, classes


def _wrapped(
    library: Library, spec: Model, module: nn.Module, width: int, num_classes: int | None
) -> PublishedBackbone | OwnBackbone:
    tap = library.architecture.tap
    return library.backbone(spec, module, width) if tap is None else OwnBackbone(spec, module, tap, num_classes)


def _checked_width(library: Library, spec: Model, classes: int) -> int:
    """The width of the library's features; 0 where a tap gives others. Allocates nothing.

    Raises UsageError where the parameters would not fit into the free memory.
    """
    with torch.device("meta"):
        sketch = _made(library, spec, classes)
        check_memory(spec, sketch)
        return _width(library.backbone(spec, sketch, 0)) if library.architecture.tap is None else 0


def _of_a_library(row: Model) -> ExternalBuilder:
    if isinstance(row.architecture, ExternalBuilder):
        return row.architecture
    raise TypeError(f"{row.name} is no model of another library. Call create_model, which knows what builds it")


OUR_HEAD = "head.weight"


def _is_backbone(tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether a file holds one of these backbones, as fine-tuning keeps it: the library's module, and maybe a head."""
    return any(name.startswith("module.") for name in tensors) and all(
        name.startswith(("module.", "head.")) for name in tensors
    )


def _classes_of_head(library: Library, tensors: Mapping[str, StoredTensor]) -> int:
    """The classes of the head in a file, with the library's own names or as fine-tuning keeps them."""
    if not _is_backbone(tensors):
        return library.head_classes(tensors)
    if OUR_HEAD in tensors:
        return tensors[OUR_HEAD].shape[0]
    return library.head_classes({name.removeprefix("module."): stored for name, stored in tensors.items()})


def count_with(kind: type[Library], row: Model, num_classes: int | None) -> int:
    """Parameters of a row with a head of so many classes, at its library's input size. Allocates nothing."""
    architecture = _of_a_library(row)
    libraries.require(architecture.package, f"'{row.name}'")
    library = kind(row, architecture, architecture.tag)
    with torch.device("meta"):
        module = _made(library, replace(row, input=library.contract()), num_classes or 0)
    return sum(parameter.numel() for parameter in module.parameters())


def _made(library: Library, spec: Model, classes: int, file: Path | None = None, seed: int = 0) -> nn.Module:
    """The library's module; its errors as ours. Libraries draw from the global random state; it is put back after."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        try:
            return library.construct(spec.input.size, classes, file).eval()
        except UsageError:
            raise
        except Exception as error:  # whatever a library raises
            said = ", ".join(f"{name}={value!r}" for name, value in library.arguments.items())
            what = f" with {said}" if said else ""
            height, width = spec.input.size
            raise UsageError(
                f"{spec.name}: {library.architecture.package} cannot build it{what} for {height}x{width} pixels"
                f"{'' if file is None else f' from {file}'}: {describe_error(error)}"
            ) from error


def _width(sketch: PublishedBackbone) -> int:
    """The width of the features, from a forward pass that computes shapes only."""
    sketch = sketch.eval()
    name, shape = sketch.spec.name, (2, 3, *sketch.image_size)
    try:
        with torch.no_grad():
            features: Any = sketch.representation(torch.empty(shape))
    except Exception as error:  # whatever a library raises
        raise UsageError(f"{name} failed on images of shape {shape}: {describe_error(error)}") from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        what = tuple(features.shape) if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise UsageError(
            f"{name} gives {what} for 2 images, and (B, D) is needed: it is no classification model as it stands. "
            "Type model.tap=LAYER for a layer that gives (B, D) or (B, C, H, W)"
        )
    return features.shape[1]
