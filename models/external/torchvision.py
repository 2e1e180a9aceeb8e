"""Builds torchvision's classification models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms._presets import ImageClassification

from ...registry import UsageError
from ..spec import Input, Interpolation, Model
from ..weights.files import open_weights
from ..weights.stored import StoredTensor
from . import download as library_files
from .backbone import Library, PublishedBackbone, TokenPlaces, build_with, count_with, triple

# The constructor's argument for the image size, in families whose layers depend on it. Others take any size.
SIZED = {"vit_": "image_size", "maxvit": "input_size"}

# Their published weights were trained on images of another scale; torchvision's module rescales its input.
RESCALING = ("googlenet", "inception_v3")
AUXILIARY = ("aux1", "aux2", "AuxLogits")  # classifiers in the middle of these two, for training only


class TorchvisionBackbone(PublishedBackbone):
    """The features are the input of the last linear layer of the classifier.

    That layer is taken out of `module`, which then gives the features, and becomes `head`. SqueezeNet ends in a
    convolution and a ReLU instead: its features are the mean of the map that these get.
    """

    def __init__(self, spec: Model, module: nn.Module, num_features: int) -> None:
        super().__init__(spec, module, num_features)
        if getattr(module, "aux_logits", False):
            module.aux_logits = False  # type: ignore[assignment]
            for name in AUXILIARY:
                if hasattr(module, name):
                    setattr(module, name, None)
        name = last_linear(module)
        self.ends_in_logits = name is None
        self.pools_map = name is None
        if name is not None:
            self.head = cast(nn.Linear, module.get_submodule(name))
            module.set_submodule(name, nn.Identity())

    def representation(self, images: Tensor) -> Tensor:
        if self.pools_map:
            module: Any = self.module
            return module.features(images).mean(dim=(2, 3))
        return self.module(images)

    def tokens_at(self) -> TokenPlaces:
        is_vit = isinstance(self.module, torchvision.models.VisionTransformer)
        return TokenPlaces("encoder.ln", 1, True) if is_vit else TokenPlaces()

    def drop_library_head(self) -> None:
        self.head = None
        self.ends_in_logits = False
        if self.pools_map:
            self.module.classifier = nn.Identity()


def last_linear(module: nn.Module) -> str | None:
    """The dotted name of the last linear layer; None where there is none."""
    return next((name for name, part in reversed([*module.named_modules()]) if isinstance(part, nn.Linear)), None)


class Torchvision(Library):
    """A model that torchvision knows by name, with one of the weights of its enumeration."""

    backbone = TorchvisionBackbone

    @property
    def _weights(self) -> Any:
        """The member of the weights' enumeration, or None for a model without any."""
        listed: Any = torchvision.models.get_model_weights(self.architecture.name)
        return listed[self.tag] if self.tag else getattr(listed, "DEFAULT", None)

    @property
    def _transforms(self) -> Any:
        """The transforms of torchvision's own evaluation."""
        return self._weights.transforms() if self._weights else ImageClassification(crop_size=224)

    def contract(self) -> Input:
        transforms = self._transforms
        interpolation = transforms.interpolation.value
        if interpolation not in get_args(Interpolation):
            raise UsageError(f"{self.row.name} resizes with '{interpolation}', which is not known here")
        (side,) = transforms.crop_size
        mean, std = triple(transforms.mean), triple(transforms.std)
        return Input(size=(side, side), mean=mean, std=std, interpolation=interpolation)

    def tested(self) -> Mapping[str, Any]:
        (cut,), (before,) = self._transforms.crop_size, self._transforms.resize_size
        return {"resize": "shorter_crop", "crop_pct": cut / before}

    def classes(self) -> int:
        return len(self._weights.meta["categories"]) if self._weights else 1000

    def head_classes(self, tensors: Mapping[str, StoredTensor]) -> int:
        with torch.device("meta"):
            name = last_linear(self.construct(self.contract().size, 1)) or "classifier.1"  # SqueezeNet's convolution
        weight = tensors.get(f"{name}.weight")
        return weight.shape[0] if weight is not None and weight.shape else 1000  # without it, loading names all keys

    def construct(self, size: tuple[int, int], classes: int, file: Path | None = None) -> nn.Module:
        name, arguments = self.architecture.name, dict(self.arguments)
        if name in RESCALING:
            arguments = {"transform_input": True} | arguments
        sized = next((argument for start, argument in SIZED.items() if name.startswith(start)), None)
        if sized is not None:
            self._check_size(size, square=sized == "image_size", loads=file is not None)
            arguments[sized] = size[0] if sized == "image_size" else size
        if file is not None:
            return torchvision.models.get_model(name, weights=self._weights, **arguments)
        if name in RESCALING:
            arguments = {"init_weights": True} | arguments
        return torchvision.models.get_model(name, weights=None, num_classes=classes, **arguments)

    def _check_size(self, size: tuple[int, int], *, square: bool, loads: bool) -> None:
        height, width = size
        if square and height != width:
            raise UsageError(f"{self.row.name}: torchvision builds it for square images, not for {height}x{width}")
        published = self.contract().size
        if square and loads and size != published:
            raise UsageError(
                f"{self.row.name}: torchvision loads these weights for {published[0]}x{published[1]} pixels only, not "
                f"for {height}x{width}. timm's models and this project's own resize their position embeddings"
            )

    def published_file(self) -> Path:
        file = library_files.file_at_url(self.row.name, self._weights.url)
        with open_weights(file):
            pass  # torchvision unpickles the file without a check; this refuses anything but tensors
        return file


build = partial(build_with, Torchvision)
count_parameters = partial(count_with, Torchvision)
