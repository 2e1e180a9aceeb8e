"""Backbones around the networks of timm and torchvision, with the library's own layers, features and head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import describe_error
from ...registry import UsageError
from ..networks.base import check_classes, check_images, check_memory
from ..own.adapter import OUR_HEAD, OthersBackbone, OwnBackbone, is_backbone, saved_names, zero_head
from ..own.settings import read_literal
from ..weights.conventions import Weights, under_module_names
from ..weights.files import open_weights
from ..weights.load import load_strictly
from ..weights_choice import WeightsChoice, wrong_weights
from . import listing as libraries
from .authors import MEANING, authors_pool
from .rows import PRETRAINED, ExternalBuilder

if TYPE_CHECKING:
    from ..provenance import Head, Pool
    from ..spec import Input, Model
    from ..weights.stored import StoredTensor


class TokenPlaces(NamedTuple):
    """Where a network's tokens are: the norm that all pass last ("": there is none), and what stands before patches."""

    norm: str = ""
    prefix: int = 0  # tokens that are no patches: class tokens and registers
    class_token: bool = False  # whether the first is a class token


class PublishedBackbone(OthersBackbone):
    """Base of the networks that a library builds.

    It has the library's head until `drop_library_head`: inside `module`, or as `head` where it can be taken out.
    Its features are what the library's head gets, or tokens as the row's `pool` says; the head stays as it is.
    """

    def __init__(self, spec: Model, module: nn.Module, num_features: int) -> None:
        super().__init__(spec, module)
        self.num_features = num_features
        self.ends_in_logits = False  # whether the library's head is inside `module`
        pool = spec.architecture.pool if isinstance(spec.architecture, ExternalBuilder) else None
        self.tap: Pool | None = beside_classifier(pool)  # as a treatment records it
        self.head_tap: Pool | None = None  # what `head` reads: the library's and a file's what they were trained on

    @abstractmethod
    def representation(self, images: Tensor) -> Tensor:
        """The input of the library's classifier, (B, D)."""

    @abstractmethod
    def tokens_at(self) -> TokenPlaces:
        """Where the network's tokens are."""

    def norm_behind_pooling(self) -> nn.Module:
        """The library's norm of its pooled tokens."""
        return nn.Identity()

    def pooled(self, images: Tensor, pool: str) -> Tensor:
        """The class token ("token") or the mean of the patches' tokens ("gap"), (B, D), after or before the last norm.

        A norm that follows the library's own pooling is the last norm, and follows this one, too. Raises UsageError for
        a network without such tokens.
        """
        where = self.tokens_at()
        seen: list[tuple[Tensor, Tensor]] = []
        if where.norm:
            norm: Any = self.module.get_submodule(where.norm)
            handle = norm.register_forward_hook(lambda _module, inputs, output: seen.append((inputs[0], output)))
            try:
                self.representation(images)
            finally:
                handle.remove()
        before, after = seen[-1] if seen else (None, None)
        kind, _, place = pool.partition("-")
        tokens = before if place else after
        is_sequence = tokens is not None and tokens.ndim == 3 and tokens.shape[1] > where.prefix
        if tokens is None or not is_sequence or (kind == "token" and not where.class_token):
            what = "no class token" if is_sequence else "no sequence of tokens"
            raise UsageError(
                f"{self.spec.name} has {what}, and model.pool={pool} asks for it. model.pool=classifier is what its "
                "classifier sees; model.tap=LAYER takes a layer's output, a map averaged over its cells"
            )
        x = tokens[:, 0] if kind == "token" else tokens[:, where.prefix :].mean(dim=1)
        return x if place else self.norm_behind_pooling()(x)

    @abstractmethod
    def drop_library_head(self) -> None:
        """Removes the library's classifier; the representation stays as it is."""

    @property
    def has_own_head(self) -> bool:
        return self.ends_in_logits or self.head is not None

    def features(self, images: Tensor) -> Tensor:
        """The representation (B, num_features) of (B, 3, H, W) images scaled by `spec.input`."""
        return self._feature(images, self.tap)

    def forward(self, images: Tensor) -> Tensor:
        if self.head is not None:
            return self.head(self._feature(images, self.head_tap))
        if not self.ends_in_logits:
            return self.features(images)
        check_images(self, images)
        return self.module(images)

    def _feature(self, images: Tensor, tap: Pool | None) -> Tensor:
        check_images(self, images)
        return self.representation(images) if tap is None else self.pooled(images, tap)


def beside_classifier(pool: Pool | None) -> Pool | None:
    """The feature; None for what enters the library's classifier."""
    return None if pool == "classifier" else pool


class Library:
    """What building a model needs of its library. Subclasses are Timm, HubRepository and Torchvision.

    `tag` names the weights whose input contract and classes the model has, whether or not they are loaded.
    """

    backbone: type[PublishedBackbone]

    def __init__(self, row: Model, architecture: ExternalBuilder, tag: str) -> None:
        self.row = row
        self.architecture = architecture
        self.tag = tag
        self.arguments = {name: read_literal(text) for name, text in architecture.arguments}

    @abstractmethod
    def contract(self) -> Input:
        """The images that the library's own evaluation gives the model."""

    @abstractmethod
    def tested(self) -> Mapping[str, Any]:
        """How the library's own evaluation resizes: `resize` and `crop_pct`, as suites.images.transforms calls them."""

    @abstractmethod
    def classes(self) -> int:
        """Classes of the published weights' head; 0 where they have none."""

    @abstractmethod
    def head_classes(self, tensors: Mapping[str, StoredTensor]) -> int:
        """Classes of the head in a file with the library's names; 0 where there is none."""

    @abstractmethod
    def construct(self, size: tuple[int, int], classes: int, file: Path | None = None) -> nn.Module:
        """The library's module, with the weights of a file that the library publishes, or with random ones."""

    @abstractmethod
    def published_file(self) -> Path:
        """The file of the published weights, downloaded if needed. Raises UsageError where it cannot be had."""


MakeLibrary = Callable[["Model", ExternalBuilder, str], Library]


def triple(values: Iterable[Any]) -> tuple[float, float, float]:
    """A mean or deviation of a library, as floats for R, G and B."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def build_with(
    kind: MakeLibrary,
    row: Model,
    weights: WeightsChoice,
    num_classes: int | None,
    image_size: tuple[int, int] | None,
    seed: int,
) -> PublishedBackbone | OwnBackbone:
    """A fresh network of a row whose architecture is an ExternalBuilder, in evaluation mode. See `create_model`.

    `weights` are published ones, random or a file with the library's own names. The Backbone's `spec` is the row with
    the library's input contract, except for what settings fix. Raises UsageError for everything that cannot be done.
    """
    check_classes(num_classes)
    tag = weights.library_name
    library = _library(kind, row, tag)
    if tag is None and weights.path is None and not weights.random:
        raise wrong_weights(row.name, weights)
    head = weights.head() if weights.path is not None else None
    if image_size is None and head is not None and head.image_size is not None:  # the file fits no other size
        image_size = (head.image_size, head.image_size)
    settled = {name: getattr(row.input, name) for name in library.architecture.settled}
    contract = replace(library.contract(), **settled)
    spec = replace(row, input=replace(contract, size=image_size) if image_size else contract)
    if weights.path is not None:
        with open_weights(weights.path) as contents:
            named = under_module_names(contents, _known_names(library, spec))
            backbone, classes = _from_file(library, spec, named, num_classes, head)
        file, backbone.notes = contents.path, (*named.notes, *backbone.notes)
    else:
        classes = library.classes()
        width = _checked_width(library, spec, classes)
        file = library.published_file() if tag is not None else None
        module = _construct(library, spec, classes, file, weights.seed_or(seed))
        backbone = _wrapped(library, spec, module, width, num_classes)
    if isinstance(backbone, PublishedBackbone):
        fits = num_classes is None or (num_classes == classes and backbone.head_tap == backbone.tap)
        if file is None or not classes or not fits:
            backbone.drop_library_head()
            backbone.head = None if num_classes is None else zero_head(backbone.num_features, num_classes)
            backbone.head_tap = backbone.tap
    if tag is not None:
        backbone.notes = (*backbone.notes, *_features_note(row, library, classes))
    backbone.source_files = () if file is None else (file,)
    backbone.tested = library.tested()
    return backbone.eval()


def _features_note(row: Model, library: Library, classes: int) -> tuple[str, ...]:
    """Whose choice the features of published weights are, where no setting says which they are.

    Of weights with a classifier they are what that gets, which needs no note.
    """
    if {"tap", "pool", "global_pool"} & set(dict(row.variant)):
        return ()
    architecture, tag = library.architecture, library.tag
    known = authors_pool(f"{architecture.name}.{tag}" if tag else architecture.name)
    if known is not None and known.differs == (architecture.pool is not None):
        return (f"features are {MEANING[known.pool]}, as {known.source}",)
    if architecture.pool is not None or classes:
        return ()
    return (f"features are {MEANING['classifier']}; which feature its authors evaluate is not known here",)


def _from_file(
    library: Library, spec: Model, weights: Weights, num_classes: int | None, head: Head | None
) -> tuple[PublishedBackbone | OwnBackbone, int]:
    """The backbone with the weights of a file, and the classes of the file's head; 0 where it has none.

    A head that fine-tuning saved reads the feature that its sidecar file names, whatever `features` are.
    """
    tensors = weights.tensors
    saved_here = library.architecture.tap is None and is_backbone(tensors)
    classes = _classes_of_head(library, tensors)
    width = _checked_width(library, spec, classes)
    module = _construct(library, spec, classes)
    if not saved_here:
        load_strictly(module, weights, spec)
    backbone = _wrapped(library, spec, module, width, num_classes)
    if saved_here and isinstance(backbone, PublishedBackbone):
        if OUR_HEAD[0] in tensors:
            backbone.drop_library_head()
            backbone.head = zero_head(width, classes)
            backbone.head_tap = beside_classifier(head.pool) if head is not None else None
            if backbone.head_tap is not None:
                backbone.notes = (f"the head reads {MEANING[backbone.head_tap]}, as its sidecar file says",)
        load_strictly(backbone, weights, spec)
    return backbone, classes


def _wrapped(
    library: Library, spec: Model, module: nn.Module, width: int, num_classes: int | None
) -> PublishedBackbone | OwnBackbone:
    tap = library.architecture.tap
    return library.backbone(spec, module, width) if tap is None else OwnBackbone(spec, module, tap, num_classes)


def _checked_width(library: Library, spec: Model, classes: int) -> int:
    """The width of the library's features, 0 where there is a tap. Allocates nothing.

    Raises UsageError where the parameters would not fit into the free memory.
    """
    with torch.device("meta"):
        module = _construct(library, spec, classes)
        check_memory(spec, module)
        if library.architecture.tap is not None:
            return 0
        backbone = library.backbone(spec, module, 0).eval()
        features = backbone.try_forward(backbone.features)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        what = tuple(features.shape) if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise UsageError(
            f"{spec.name} gives {what} for 2 images, and (B, D) is needed: it is no classification model as "
            "it stands. Type model.tap=LAYER for a layer that gives (B, D) or (B, C, H, W)"
        )
    return features.shape[1]


def _library(kind: MakeLibrary, row: Model, tag: str | None) -> Library:
    """The library of a row. Raises UsageError where it is not installed."""
    architecture = row.architecture
    if not isinstance(architecture, ExternalBuilder):
        raise TypeError(f"{row.name} is no model of another library. Call create_model, which knows what builds it")
    libraries.require(architecture.package, f"'{row.name}'")
    return kind(row, architecture, architecture.tag if tag in (None, PRETRAINED) else tag)


def _known_names(library: Library, spec: Model) -> set[str]:
    """The names of the library's module, and of one of these backbones around it. Allocates nothing."""
    with torch.device("meta"):
        return saved_names(_construct(library, spec, 1).state_dict())


def _classes_of_head(library: Library, tensors: Mapping[str, StoredTensor]) -> int:
    """The classes of the head in a file, with the library's own names or as fine-tuning saves it."""
    if not is_backbone(tensors):
        return library.head_classes(tensors)
    if OUR_HEAD[0] in tensors:
        return tensors[OUR_HEAD[0]].shape[0]
    return library.head_classes({name.removeprefix("module."): stored for name, stored in tensors.items()})


def count_with(kind: MakeLibrary, row: Model, num_classes: int | None) -> int:
    """Parameters of a row with a head of `num_classes`, at its library's input size. Allocates nothing."""
    library = _library(kind, row, None)
    with torch.device("meta"):
        module = _construct(library, replace(row, input=library.contract()), num_classes or 0)
    return sum(parameter.numel() for parameter in module.parameters())


def _construct(library: Library, spec: Model, classes: int, file: Path | None = None, seed: int = 0) -> nn.Module:
    """The library's module. Libraries use the global random state, which is restored afterwards.

    Raises UsageError for any error of the library.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        try:
            return library.construct(spec.input.size, classes, file)
        except UsageError:
            raise
        except Exception as error:  # whatever a library raises
            arguments = ", ".join(f"{name}={value!r}" for name, value in library.arguments.items())
            given = f" with {arguments}" if arguments else ""
            height, width = spec.input.size
            raise UsageError(
                f"{spec.name}: {library.architecture.package} cannot build it{given} for {height}x{width} pixels"
                f"{'' if file is None else f' from {file}'}: {describe_error(error)}"
            ) from error
