"""Weights from a file: read without running anything in it, and taken strictly, key for key."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import UsageError

LISTED = 8  # names an error message shows of each kind

# What unpickling a damaged or foreign file has been seen to raise.
UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    pickle.UnpicklingError,
    struct.error,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    ImportError,
)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pt or .pth file by name, on the CPU and in the file's own types.

    Raises UsageError for a file that is missing, damaged, of another kind, or that holds something else.
    """
    if path.is_dir():
        raise UsageError(f"'{path}' is a folder; name a .safetensors, .pt or .pth file in it")
    if path.suffix == ".npz":
        raise UsageError(
            f"'{path}': released .npz files are not readable yet. Save the weights under this project's names "
            "(create_model(...).state_dict() shows them) as .safetensors or .pt"
        )
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise UsageError(f"'{path}' is not a weights file this can read: .safetensors, .pt or .pth")
    if not path.exists():
        raise UsageError(f"there is no weights file '{path}'")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not state:
        raise UsageError(f"'{path}' holds no tensors")
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            # Cloned: a view of the mapped file would change with the file.
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 -- not a mapping
    except (SafetensorError, *UNREADABLE) as error:
        raise UsageError(_damaged(path, error)) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise UsageError(_damaged(path, error)) from error
    if not isinstance(state, Mapping):
        raise UsageError(f"'{path}' holds a {type(state).__name__}, not a state dict: save model.state_dict()")
    others = [f"'{name}' ({type(value).__name__})" for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise UsageError(
            f"'{path}' is not a state dict, names to tensors: it also holds {listed(others)}. "
            "Save model.state_dict() alone"
        )
    return {str(name): value.detach() for name, value in state.items()}


def _damaged(path: Path, error: BaseException) -> str:
    if type(error).__name__ == "UnpicklingError":  # torch's own words advise to run whatever code is inside
        return (
            f"'{path}' cannot be read as {path.suffix}; it may be cut short, or hold more than tensors, which is never "
            "loaded: save model.state_dict() alone"
        )
    first = (str(error).strip().splitlines() or ["no reason given"])[0]
    return f"'{path}' cannot be read as {path.suffix}; it may be cut short: {type(error).__name__}: {first}"


def head_classes(state: Mapping[str, Tensor]) -> int | None:
    """Classes of the head in a state dict of ours, or None where it has no head."""
    head = state.get("head.weight")
    return len(head) if head is not None and head.ndim else None


def with_head(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with a new, zero head of the expected shape (none where none is expected)."""
    kept = {name: value for name, value in state.items() if not name.startswith("head.")}
    return kept | {name: torch.zeros(value.shape) for name, value in expected.items() if name.startswith("head.")}


def resize_grid(grid: Tensor, rows: int, columns: int) -> Tensor:
    """Position embeddings (1, rows, columns, D) for another grid, as the official code resizes them.

    Order-1 spline zoom with the corners aligned: bilinear interpolation that keeps the four corner vectors.
    """
    channels_first = grid.permute(0, 3, 1, 2).to(torch.float64)  # 1 D rows columns; SciPy computes in double
    resized = F.interpolate(channels_first, size=(rows, columns), mode="bilinear", align_corners=True)
    return resized.permute(0, 2, 3, 1).to(grid.dtype)


def with_grid(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with its grid of position embeddings resized to the expected one; the class token's is kept."""
    name = "position.grid"
    resized = dict(state)
    if name in state and name in expected and state[name].ndim == 4 and state[name].numel():
        _, rows, columns, _ = expected[name].shape
        if state[name].shape[1:3] != (rows, columns):
            resized[name] = resize_grid(state[name], rows, columns)
    return resized


def matched(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, model: str) -> dict[str, Tensor]:
    """A copy of the state dict in the expected types.

    Raises UsageError, naming keys on both sides, unless names and shapes are exactly the expected ones and every
    number is finite.
    """
    missing = [name for name in expected if name not in state]
    extra = [f"{name} {tuple(value.shape)}" for name, value in state.items() if name not in expected]
    both = {name: (value, expected[name]) for name, value in state.items() if name in expected}
    other = [
        f"{name} is {tuple(ours.shape)} in the file, {tuple(theirs.shape)} in the model"
        for name, (ours, theirs) in both.items()
        if ours.shape != theirs.shape
    ]
    kinds = [
        f"{name} is {ours.dtype} in the file, {theirs.dtype} in the model"
        for name, (ours, theirs) in both.items()
        if ours.is_floating_point() != theirs.is_floating_point()
    ]
    problems = [
        f"{what} ({len(names)}): {listed(names)}"
        for what, names in (
            ("not in the file", missing),
            ("only in the file", extra),
            ("of another shape", other),
            ("of another type", kinds),
        )
        if names
    ]
    if problems:
        raise UsageError(
            "\n  ".join([f"'{path}' does not hold the weights of {model}:", *problems, *_hint(state, expected)])
        )
    copies = {name: value.to(theirs.dtype, copy=True).contiguous() for name, (value, theirs) in both.items()}
    broken = [name for name, value in copies.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise UsageError(f"'{path}' holds numbers that are not finite, in {len(broken)} tensors: {listed(broken)}")
    return copies


def _hint(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    layer = "pre_logits.weight"
    if layer in state and layer not in expected and state[layer].ndim == 2 and "class_token" in expected:
        return [f"the file has a tanh layer before its head: derive the model with pre_logits={len(state[layer])}"]
    if layer in expected and layer not in state:
        return ["the file has no tanh layer before its head: build the model with pre_logits=None"]
    return []


def listed(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f", … and {more} more" if more > 0 else "")


def load(module: nn.Module, state: Mapping[str, Tensor], path: Path, model: str) -> None:
    """Puts a state dict into a module, strictly. A module whose parameters are on the meta device takes the tensors."""
    expected = module.state_dict()
    tensors = matched(state, expected, path, model)
    module.load_state_dict(tensors, assign=any(value.is_meta for value in expected.values()))
