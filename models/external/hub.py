"""Builds models in timm's format from repositories of the Hugging Face hub."""

from __future__ import annotations

import inspect
import json
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import timm
from timm.models import PretrainedCfg

from ...registry import UsageError
from . import download as library_files
from .backbone import build_with, count_with
from .timm import WEIGHTS_FILES, Timm


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


build = partial(build_with, HubRepository)
count_parameters = partial(count_with, HubRepository)
