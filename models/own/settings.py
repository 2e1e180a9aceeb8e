"""Reads the `model.X=` settings of models that a library or a user builds: the tap, the input contract, arguments."""

from __future__ import annotations

import ast
import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, get_args

from ...registry import UsageError, suggest
from ..spec import Architecture, Interpolation, Model, ReadValues

INPUT_SETTINGS = ("image_size", "mean", "std", "interpolation")
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


def as_typed(key: str, text: str, hint: Any) -> list[Any]:  # noqa: ARG001  # a ReadValues
    """The setting's text as its only value, for constructors that read it themselves."""
    return [text]


def read_literal(text: str) -> Any:
    """The Python literal that a text is, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def read_field(word: str, name: str, value: Any) -> Any:
    """A value for a field of Input: one number is a square size, or a mean or std of all channels."""
    if name.endswith("interpolation"):
        if value in get_args(Interpolation):
            return value
        raise UsageError(f"{word}: {name}='{value}'. {suggest(str(value), get_args(Interpolation))}")
    is_size = name.endswith("size")
    length, kind = (2, (int,)) if is_size else (3, (int, float))
    items = tuple(value) if isinstance(value, list | tuple) else (value,) * length
    if len(items) != length or not all(type(item) in kind and math.isfinite(item) for item in items):
        wanted = "pixels, one number or height,width" if is_size else "one number, or three for R,G,B"
        raise UsageError(f"{word}: {name}={value!r} should be {wanted}")
    if (is_size or name.endswith("std")) and min(items) <= 0:
        raise UsageError(f"{word}: {name}={value!r} must be above zero")
    return items if is_size else tuple(float(item) for item in items)


@dataclass(frozen=True, kw_only=True)
class OthersArchitecture(Architecture):
    """A model that a library or a user builds: its settings are a tap, an input contract and their arguments."""

    input_is_known: ClassVar[bool] = False

    tap: str | None = None
    settled: tuple[str, ...] = ()  # the fields of the row's Input that settings fix

    def variants(self, row: Model, settings: Mapping[str, str], read: ReadValues) -> tuple[list[Model], set[str]]:  # noqa: ARG002
        """The row with `tap` and an input contract; all other settings are its builder's arguments, as typed."""
        if not settings:
            return [row], set()
        rest = {name: str(value) for name, value in settings.items()}
        variant = tuple(sorted(rest.items()))
        fixed: dict[str, Any] = {}  # fields of the input contract
        for setting in (name for name in INPUT_SETTINGS if name in rest):
            text = rest.pop(setting)
            value = text if setting == "interpolation" else read_literal(text)
            fixed["size" if setting == "image_size" else setting] = read_field(row.name, setting, value)
        tap = rest.pop("tap", None) or None
        architecture = replace(self.with_arguments(row, rest), tap=tap, settled=tuple(fixed))
        contract = replace(row.input, **fixed)
        return [replace(row, architecture=architecture, input=contract, params=None, variant=variant)], set(settings)

    @abstractmethod
    def with_arguments(self, row: Model, arguments: Mapping[str, str]) -> OthersArchitecture:
        """The same with these arguments. Raises UsageError for one that it cannot take."""
