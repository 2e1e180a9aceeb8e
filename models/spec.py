"""What a model is to the rest of the project: the row that describes it, and the contract of its network.

It imports no torch, so that rows can be listed and planned without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from .weights_choice import Released, WeightsChoice

Interpolation = Literal["nearest", "bilinear", "bicubic"]
ReadValues = Callable[[str, str, Any], list[Any]]  # a setting's key, its text and its type -> its values


@dataclass(frozen=True, kw_only=True)
class Input:
    """The images that a model expects: height and width in pixels; RGB in [0, 1], minus mean, divided by std."""

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)  # both releases scale RGB to [-1, 1]
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: Interpolation = "bilinear"


@dataclass(frozen=True, kw_only=True)
class Architecture(ABC):
    """The arguments of a network's constructor as plain data, and everything that differs between kinds of models.

    Among that are the meaning of settings and of words for weights, and the module that builds the network. Subclasses
    are in models/native.py (this project's networks), models/external/rows.py (a library's) and models/own/rows.py (a
    user's).
    """

    network: ClassVar[str]  # names the network's class in a job's identity: "module:Class"
    code_fields: ClassVar[frozenset[str]] = frozenset()  # fields that say which code it is: digests, versions
    later_fields: ClassVar[frozenset[str]] = frozenset()  # fields that a job's identity leaves out while they are None
    in_globs: ClassVar[bool] = True  # whether globs of the catalog select rows of this kind
    weights_names: ClassVar[str] = ""  # the file of models/weights/names with the names in its weights files
    brings_weights: ClassVar[bool] = False  # whether it is built already, so that none can be drawn
    input_is_known: ClassVar[bool] = True  # whether the row's `input` is right before the model is built
    resizes_by_pillow: ClassVar[bool] = False  # whether its library evaluates on images that Pillow resized
    has_resnet: ClassVar[bool] = False  # whether the ViT paper tries BiT's recipe beside its own (Appendix B.1.1)
    tested_by_hyper_rule: ClassVar[bool] = False  # whether its released files were tested at the BiT-HyperRule's sizes
    has_tanh_layer: ClassVar[bool] = False  # whether it can have one before the head (`pre_logits`)
    set_by_recipes: ClassVar[frozenset[str]] = frozenset()  # fields that recipes of training set, unless the user does
    attends: ClassVar[bool] = False  # whether it is made of tokens that attend to each other
    first_layer: ClassVar[str] = ""  # the layer whose RGB filters figures show; "": they cannot be shown

    def check(self, name: str) -> None:  # noqa: B027  # few kinds refuse anything
        """Raise UsageError for fields of which no network can be made, alone or together. `name` is the model's."""

    @property
    @abstractmethod
    def built_by(self) -> str:
        """The module of models/ that builds the network: it has `build` and `count_parameters`."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of models/ that make the network and load its weights: `built_by` and those it loads by name."""
        return (self.built_by,)

    def macs(self, image_size: tuple[int, int]) -> int | None:  # noqa: ARG002 -- subclasses use it
        """Multiply-accumulates of one image's forward pass to the features (no head); None where unknown."""
        return None

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int] | None:  # noqa: ARG002
        """Rows and columns of tokens for an image of (H, W) pixels; None for a network without tokens.

        Raises UsageError for a size that the network cannot take.
        """
        return None

    def sizes(self) -> Mapping[str, int]:
        """The columns of the ViT paper's Table 1 that this kind has: layers, width, mlp, heads."""
        return {}

    @property
    def position_embedding(self) -> str:
        """The kind of position embeddings, one of ViT's `posembed`; "none" without tokens."""
        return "none"

    def in_training(self, *, dropout: float, tanh_layer: bool) -> Mapping[str, Any]:  # noqa: ARG002
        """The fields that a recipe of training changes, and their values; never one that the user set.

        `dropout` and `tanh_layer` are what the recipe gives transformers; 0 and False change nothing.
        """
        return {}

    def num_features(self) -> int | None:
        """The width of the representation; None where only the built network shows it."""
        return None

    def releases(self, row: Model) -> Sequence[Released]:  # noqa: ARG002
        """The released files that fit a row of this kind."""
        return ()

    @abstractmethod
    def variants(self, row: Model, settings: Mapping[str, str], read: ReadValues) -> tuple[list[Model], set[str]]:
        """The row as `model.X=` settings change it (several rows for a sweep), and the names of the settings used.

        `read` takes a setting's key, text and type, and gives its values. Raises UsageError for a wrong value.
        """

    @abstractmethod
    def default_weights(self, row: Model, suite: str | None) -> WeightsChoice:
        """The weights of a row where the user names none. `suite` is the suite that needs weights, None if none does.

        Raises UsageError, with what to type, where the user must name some.
        """

    def read_published(self, row: Model, word: str) -> Sequence[WeightsChoice]:  # noqa: ARG002
        """The published weights that a word of `weights=` names. Raises UsageError where it is clear what is wrong."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Model:
    """One row of the catalog: everything about a model that can be known without building it."""

    name: str  # as the papers write it
    family: str  # "ViT", "BiT", "R+ViT", "timm" or "torchvision", or "own" for a user's model
    architecture: Architecture
    params: int | None = None  # with a 1000-class head at `input.size`, as the release counts; None for a variant
    input: Input = Input()
    aliases: tuple[str, ...] = ()
    small: bool = False  # a demonstration model; no glob selects it
    tuned_with_dropout: float = 0.0  # the rate that the ViT release's configuration of this model fine-tunes with
    # The fields of the architecture that differ from the named row, and those that the user set and recipes would.
    variant: tuple[tuple[str, Any], ...] = ()

    @property
    def in_globs(self) -> bool:
        return not self.small and self.architecture.in_globs

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one image at the row's own input size, to the features; None where unknown."""
        return self.architecture.macs(self.input.size)

    @property
    def releases(self) -> Sequence[Released]:
        """The released files that fit this row."""
        return self.architecture.releases(self)

    @property
    def known_weights(self) -> tuple[str, ...]:
        """The tags of the released files that fit this row: what `weights=` takes by name."""
        return tuple(map(str, self.releases))

    @property
    def kept_empty(self) -> tuple[str, ...]:
        """The fields that the user set to 0, so that no recipe sets them."""
        return tuple(name for name, value in self.variant if name in self.architecture.set_by_recipes and not value)

    def settable(self) -> dict[str, str]:
        """The fields that `derive` takes, and their annotations."""
        return {field.name: str(field.type) for field in fields(self.architecture)}

    def derive(self, **changes: Any) -> Model:
        """This row with some fields of its architecture changed, as a variant. Values are not checked."""
        architecture = self.architecture
        changed = {
            name: value
            for name, value in changes.items()
            if getattr(architecture, name) != value or name in architecture.set_by_recipes
        }
        if not changed:
            return self
        variant = tuple(sorted({**dict(self.variant), **changed}.items()))
        return replace(self, architecture=replace(architecture, **changed), params=None, variant=variant)


class Backbone(Protocol):
    """The contract of every network that suites use, this project's or a user's.

    `features(images)` is the representation that every probe uses: (B, D) floats from (B, 3, H, W) float images scaled
    by `spec.input`. Calling the network gives (B, K) logits, or the features where it was built without a head.
    """

    spec: Model
    image_size: tuple[int, int]
    num_features: int
    notes: tuple[str, ...]  # what was done to fit the weights, in sentences

    @property
    def has_own_head(self) -> bool:
        """Whether it has the head of its weights."""
        ...

    def __call__(self, images: Tensor) -> Tensor: ...

    def features(self, images: Tensor) -> Tensor: ...

    def own_logits(self, images: Tensor) -> Tensor:
        """(B, K) logits of the head of its weights."""
        ...

    def state_dict(self) -> Mapping[str, Tensor]: ...
