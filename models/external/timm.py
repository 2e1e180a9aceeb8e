"""Builds timm's models, by timm's names or from repositories of the Hugging Face hub in timm's format."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any, get_args

import timm
from timm.models import PretrainedCfg
from torch import Tensor, nn

from ...registry import UsageError
from ..spec import Input, Interpolation, Model
from ..weights.stored import StoredTensor
from . import download as library_files
from .backbone import Library, PublishedBackbone, TokenPlaces, build_with, count_with, triple
from .rows import ExternalBuilder, HubBuilder

WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")  # the files in timm's repositories, safetensors first


class TimmBackbone(PublishedBackbone):
    """The features are timm's own, after the last norm and the pooling, before the classifier, or as `pool` says."""

    def __init__(self, spec: Model, module: nn.Module, num_features: int) -> None:
        super().__init__(spec, module, num_features)
        self.ends_in_logits = True

    def representation(self, images: Tensor) -> Tensor:
        module: Any = self.module
        return module.forward_head(module.forward_features(images), pre_logits=True)

    def tokens_at(self) -> TokenPlaces:
        module: Any = self.module
        if not isinstance(getattr(module, "norm", None), nn.Module):
            return TokenPlaces()
        class_token = getattr(module, "cls_token", None) is not None
        return TokenPlaces("norm", getattr(module, "num_prefix_tokens", int(class_token)), class_token)

    def norm_behind_pooling(self) -> nn.Module:
        return getattr(self.module, "fc_norm", None) or nn.Identity()

    def drop_library_head(self) -> None:
        module: Any = self.module
        module.reset_classifier(0)
        self.ends_in_logits = False


class Timm(Library):
    """A model that timm knows by name."""

    backbone = TimmBackbone

    @property
    def _name(self) -> str:
        """timm's name of the model."""
        return self.architecture.name

    @cached_property
    def _cfg(self) -> PretrainedCfg:
        """timm's entry for the weights: their place, the images they expect, the name of their classifier."""
        cfg = timm.get_pretrained_cfg(f"{self._name}.{self.tag}" if self.tag else self._name)
        return PretrainedCfg() if cfg is None else cfg

    def _constructor_arguments(self) -> dict[str, Any]:
        return dict(self.arguments)

    def contract(self) -> Input:
        cfg = self._cfg
        tested = None if cfg.fixed_input_size else cfg.test_input_size  # the size in timm's own evaluation
        channels, height, width = tested or cfg.input_size
        if channels != 3:
            raise UsageError(f"{self.row.name} takes images of {channels} channels; every image here has three")
        if cfg.interpolation not in get_args(Interpolation) and "interpolation" not in self.architecture.settled:
            raise UsageError(
                f"{self.row.name} resizes with '{cfg.interpolation}', which is not known here. Type "
                "model.interpolation=bicubic"
            )
        return Input(
            size=(height, width),
            mean=triple(cfg.mean),
            std=triple(cfg.std),
            interpolation=cfg.interpolation,  # type: ignore[arg-type]
        )

    def tested(self) -> Mapping[str, Any]:
        cfg = self._cfg
        larger = not cfg.fixed_input_size and cfg.test_input_size is not None
        share = (cfg.test_crop_pct if larger else None) or cfg.crop_pct
        if cfg.crop_mode == "squash":
            return {"resize": "resize_crop", "crop_pct": share}
        return {"resize": "shorter_crop", "crop_pct": share}  # "border" pads only where nothing is cut

    def classes(self) -> int:
        return self._cfg.num_classes

    def head_classes(self, tensors: Mapping[str, StoredTensor]) -> int:
        names = self._cfg.classifier or ()
        weights = [tensors.get(f"{name}.weight") for name in ([names] if isinstance(names, str) else names)]
        return next((weight.shape[0] for weight in weights if weight is not None and weight.shape), 0)

    def construct(self, size: tuple[int, int], classes: int, file: Path | None = None) -> nn.Module:
        cfg, arguments = self._cfg, self._constructor_arguments()
        if size != tuple(cfg.input_size[1:]) and cfg.fixed_input_size:
            arguments["img_size"] = size
        overlay = None if file is None else {"file": str(file), "custom_load": cfg.custom_load}
        try:
            return timm.create_model(
                self._name,
                pretrained=file is not None,
                pretrained_cfg=asdict(cfg),
                pretrained_cfg_overlay=overlay,
                num_classes=classes,
                **arguments,
            )
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            height, width = cfg.input_size[1:]
            raise UsageError(f"{self.row.name} is built for {height}x{width} pixels and no other size") from error

    def published_file(self) -> Path:
        cfg, name = self._cfg, self.row.name
        if cfg.file:
            return Path(cfg.file)
        if cfg.hf_hub_id:
            files = _safe_first(cfg.hf_hub_filename) if cfg.hf_hub_filename else WEIGHTS_FILES
            return library_files.file_on_hub(name, cfg.hf_hub_id, files)
        if isinstance(cfg.url, str) and cfg.url:
            return library_files.file_at_url(name, cfg.url)
        raise UsageError(f"{name} has no pretrained weights in timm. Type weights=FILE or weights=random")


def _safe_first(filename: str) -> tuple[str, ...]:
    """A file of a repository, and before it the safetensors file that may stand in its place."""
    stem, _, ending = filename.rpartition(".")
    if ending not in ("bin", "pt", "pth"):
        return (filename,)
    return f"{stem.replace('pytorch_', '')}.safetensors", filename  # pytorch_model.bin is model.safetensors


class HubRepository(Timm):
    """A model that the config.json of its repository describes."""

    @cached_property
    def _config(self) -> dict[str, Any]:
        """The repository's config.json: {architecture, pretrained_cfg, model_args}; in older ones all of it is flat."""
        repository = self.architecture.name
        file = library_files.file_on_hub(self.row.name, repository, ("config.json",))
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{self.row.name}: its config.json is damaged: {error}") from error
        name = config.get("architecture") if isinstance(config, dict) else None
        if not isinstance(name, str) or not timm.is_model(name):
            what = f"'{name}' is no model of timm {timm.__version__}" if name else "it names no architecture of timm's"
            raise UsageError(
                f"{self.row.name} is not a repository in timm's format: {what}. Write a builder of yours that loads "
                "it: model=path/file.py:builder"
            )
        return config

    @property
    def _name(self) -> str:
        return self._config["architecture"]

    @cached_property
    def _cfg(self) -> PretrainedCfg:
        stated: dict[str, Any] = dict(self._config.get("pretrained_cfg", self._config))
        if "num_classes" in self._config:
            stated["num_classes"] = self._config["num_classes"]
        known = set(inspect.signature(PretrainedCfg).parameters) - {"source", "url", "file"}
        values: dict[str, Any] = {key: value for key, value in stated.items() if key in known}
        return PretrainedCfg(**{**values, "custom_load": False})

    def _constructor_arguments(self) -> dict[str, Any]:
        return self._config.get("model_args", {}) | super()._constructor_arguments()

    def published_file(self) -> Path:
        return library_files.file_on_hub(self.row.name, self.architecture.name, WEIGHTS_FILES)


def library_of(row: Model, architecture: ExternalBuilder, tag: str) -> Timm:
    kind = HubRepository if isinstance(architecture, HubBuilder) else Timm
    return kind(row, architecture, tag)


build = partial(build_with, library_of)
count_parameters = partial(count_with, library_of)
