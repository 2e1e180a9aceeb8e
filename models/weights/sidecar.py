"""Reads FILE.yaml beside a checkpoint: how its weights were trained, and the classes of its head."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from ...registry import UsageError, suggest
from ..provenance import Head, Pool, Provenance
from .paths import split_part

KINDS = {"images": int, "image_size": int, "antialias": bool}
KINDS |= dict.fromkeys(("epochs", "core_days", "exaflops", "device_hours", "crop_pct"), float)
OF_THE_HEAD = ("head", "listing", "image_size", "antialias", "resize", "crop_pct", "interpolation", "rounding")
OF_THE_HEAD += ("pool", "tap")
# The model that the weights are of, its settings ("depth=2"), and the names of the head's classes, in their order.
FOR_READERS = ("model", "variant", "classes")
WORDS = {  # of fields that take one of some words
    "resize": ("square", "resize_crop", "shorter_crop", "resmall_crop"),
    "interpolation": ("bilinear", "bicubic", "nearest", "area", "legacy"),
    "rounding": ("none", "truncate", "pillow"),
    "pool": get_args(Pool),
}


def read_head(weights: str | Path) -> Head | None:
    """What `FILE.yaml` says about the head in the checkpoint FILE; None where it says nothing.

    `head` names the data set, or the task of this project, with the classes of the head in their order, and `listing`
    is the digest of a folder's names and sizes; `image_size`, `antialias` (true or false), `resize`, `crop_pct`,
    `interpolation` and `rounding` are those of its last test; `pool` is the feature of a library's model that it reads,
    `tap` that of a user's own.
    Raises UsageError as `read_sidecar` does.
    """
    values = _fields(weights) or {}
    if not values.get("head"):
        return None
    return Head(
        data=values["head"],
        listing=values.get("listing"),
        image_size=values.get("image_size"),
        antialias=values.get("antialias") is not False,
        resize=values.get("resize") or "square",
        crop_pct=values.get("crop_pct"),
        interpolation=values.get("interpolation"),
        rounding=values.get("rounding") or "none",
        pool=values.get("pool"),
        tap=values.get("tap"),
        origin="its sidecar file",
    )


def read_sidecar(weights: str | Path) -> Provenance | None:
    """What `FILE.yaml` says about the training of the checkpoint FILE; None where there is none.

    `run.pth.yaml` is read first. `run.yaml` counts only if it has at least one of the fields, since training scripts
    write their settings there, too. Raises UsageError for an unknown field or a wrong value.
    """
    values = _fields(weights)
    if values is None:
        return None
    return Provenance(**{name: value for name, value in values.items() if name not in (*OF_THE_HEAD, *FOR_READERS)})


def read_names(weights: str | Path) -> tuple[str | None, tuple[str, ...]]:
    """The model that the checkpoint FILE is of, and its head's classes, as `FILE.yaml` says; None and () where not.

    Raises UsageError as `read_sidecar` does.
    """
    values = _fields(weights) or {}
    return values.get("model"), values.get("classes") or ()


def read_variant_words(weights: str | Path) -> dict[str, str]:
    """The settings that make the checkpoint's model differ from the named one, as `FILE.yaml` says; {} where not.

    Raises UsageError as `read_sidecar` does.
    """
    words = (_fields(weights) or {}).get("variant") or ()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def sidecars(weights: str | Path) -> tuple[Path, ...]:
    """The possible places of a checkpoint's sidecar: `run.pth.yaml`, `run.yaml`."""
    path, _ = split_part(weights)
    return (path.with_name(f"{path.name}.yaml"), path.with_suffix(".yaml")) if path.name else ()


def _fields(weights: str | Path) -> dict[str, Any] | None:
    """The fields in a checkpoint's sidecar and their values; None where there is no sidecar."""
    provenance = [field.name for field in fields(Provenance)]
    known = [*provenance, *OF_THE_HEAD, *FOR_READERS]
    for sidecar, certain in zip(sidecars(weights), (True, False), strict=False):
        if sidecar.is_file():
            values = _read_yaml(sidecar, certain)
            if certain or set(values) & set(provenance):
                return {name: _read(sidecar, known, name, value) for name, value in values.items()}
    return None


def _read_yaml(sidecar: Path, certain: bool) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(sidecar.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        if not certain:
            return {}
        first = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UsageError(f"'{sidecar}' is not a YAML file of provenance: {first}") from error
    if isinstance(values, dict):
        return {str(name): value for name, value in values.items()}
    if certain:
        raise UsageError(f"'{sidecar}' should hold lines such as `pretrain: ImageNet-21k` and `epochs: 90`")
    return {}


def _read(sidecar: Path, known: list[str], name: str, value: Any) -> Any:
    if name not in known:
        raise UsageError(f"'{sidecar}' has an unknown field '{name}'. {suggest(name, known, known)}")
    if value is None:
        return None
    if name in ("classes", "variant"):
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"'{sidecar}': {name}={value!r} should be a list of names")
    kind, problem = KINDS.get(name, str), ""
    if kind in (int, float) and isinstance(value, str):  # YAML takes 1e6 for a text
        with suppress(ValueError):
            value = float(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    if name in WORDS and value not in WORDS[name]:
        problem = f". {suggest(str(value), WORDS[name], WORDS[name])}"
    elif kind is bool and not isinstance(value, bool):
        problem = " should be true or false"
    elif kind in (int, float) and not is_number:
        problem = " should be a number from 0"
    elif kind is int and value != int(value):
        problem = " should be a whole number"
    if problem:
        raise UsageError(f"'{sidecar}': {name}={value!r}{problem}")
    return kind(value)
