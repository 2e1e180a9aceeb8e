"""Conversion loses nothing: npz -> safetensors -> npz gives the same bytes, and each of them the same network."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from vit_bench.models import catalog, create_model
from vit_bench.models.weights.convert import convert
from vit_bench.registry import UsageError

VIT = catalog()["ViT-mini"].derive(depth=2, width=96, heads=3)
ROWS: dict[str, tuple[Any, int]] = {
    "ViT": (VIT, 17),
    "gap": (VIT.derive(pool="gap"), 9),
    "tanh layer": (VIT.derive(pre_logits=40), 17),
    "hybrid": (catalog()["R+ViT-mini"].derive(depth=1, width=64, heads=2), 17),
    "BiT": (catalog()["BiT-mini"].derive(units=(1, 2)), 0),
}
VARIANTS: dict[str, Any] = {
    "published": lambda _, arrays: arrays,
    "newer": lambda official, arrays: official.newer_names(arrays),
    "wide norms": lambda official, arrays: official.wide_norms(arrays),
    "prefix": lambda _, arrays: {f"opt/target/{name}": array for name, array in arrays.items()},
    "float16": lambda _, arrays: {name: array.astype(np.float16) for name, array in arrays.items()},
    "mixed": lambda _, arrays: {
        name: array.astype(np.float16 if name.endswith("bias") else np.float64) for name, array in arrays.items()
    },
    "bfloat16": lambda _, arrays: {
        name: torch.from_numpy(array).bfloat16().view(torch.int16).numpy().view("V2") for name, array in arrays.items()
    },
    "shuffled": lambda _, arrays: {name: arrays[name] for name in sorted(arrays, key=lambda name: name[::-1])},
}


def equal(one: Any, other: Any) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_official_files_come_back_byte_for_byte(kind: str, variant: str, official: ModuleType, tmp_path: Path) -> None:
    row, tokens = ROWS[kind]
    arrays = VARIANTS[variant](official, official.official_arrays(row.architecture, tokens, classes=5))
    first = official.save_npz(tmp_path / "a.npz", arrays)
    assert convert(first, tmp_path / "b.safetensors") == ()
    assert convert(tmp_path / "b.safetensors", tmp_path / "c.npz") == ()
    assert (tmp_path / "c.npz").read_bytes() == first.read_bytes()
    network = create_model(row, first)
    assert equal(create_model(row, tmp_path / "b.safetensors"), network)
    with safe_open(tmp_path / "b.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(network.state_dict())


def test_our_safetensors_files_are_as_the_library_reads_and_writes_them(tmp_path: Path) -> None:
    state = create_model(VIT, num_classes=3).state_dict()
    save_file(dict(state), tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    convert(tmp_path / "theirs.safetensors", tmp_path / "ours.safetensors")
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["ViT", "gap", "tanh layer", "hybrid", "BiT"])
def test_our_state_dicts_become_official_files(kind: str, official: ModuleType, tmp_path: Path) -> None:
    row, tokens = ROWS[kind]
    if kind != "BiT":
        row = row.derive(width=128, heads=2)
    network = create_model(row, num_classes=5, seed=3)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    notes = convert(tmp_path / "w.pt", tmp_path / "w.npz")
    assert notes == (() if kind == "BiT" else ("2 heads, taking them to be 64 wide",))
    with np.load(tmp_path / "w.npz") as archive:
        shapes = {name: archive[name].shape for name in archive}
    tokens = {"gap": 16}.get(kind, 17 if tokens else 0)
    assert shapes == official.official_shapes(row.architecture, tokens, 5)
    assert equal(create_model(row, tmp_path / "w.npz"), network)


def test_heads_are_those_of_the_row_with_these_shapes(official: ModuleType, tmp_path: Path) -> None:
    row = catalog()["ViT-mini"]
    network = create_model(row, num_classes=5)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    assert convert(tmp_path / "w.pt", tmp_path / "w.npz") == ("4 heads, as ViT-mini has",)
    with np.load(tmp_path / "w.npz") as archive:
        shapes = {name: archive[name].shape for name in archive}
    assert shapes == official.official_shapes(row.architecture, 17, 5)
    assert equal(create_model(row, tmp_path / "w.npz"), network)


def test_what_cannot_be_converted(official: ModuleType, tmp_path: Path) -> None:
    row, tokens = ROWS["ViT"]
    arrays = official.official_arrays(row.architecture, tokens)
    source = official.save_npz(tmp_path / "a.npz", arrays)
    (tmp_path / "there.npz").write_text("mine")
    with pytest.raises(UsageError, match=r"there.npz' is there already; nothing is written over it"):
        convert(source, tmp_path / "there.npz")
    assert (tmp_path / "there.npz").read_text() == "mine"
    with pytest.raises(UsageError, match=r"b.pt': files are written as .npz or .safetensors"):
        convert(source, tmp_path / "b.pt")
    with pytest.raises(UsageError, match=r"there is no folder '.*none'"):
        convert(source, tmp_path / "none" / "b.npz")
    more = official.save_npz(tmp_path / "more.npz", arrays | {"surplus/kernel": np.zeros(2, np.float32)})
    with pytest.raises(UsageError, match=r"holds 1 tensors that official files of these models do not have: surplus/k"):
        convert(more, tmp_path / "b.safetensors")
    bent = official.save_npz(tmp_path / "bent.npz", arrays | {"embedding/kernel": np.zeros(2, np.float32)})
    with pytest.raises(UsageError, match=r"embedding/kernel \(2,\) cannot be laid out"):
        convert(bent, tmp_path / "b.safetensors")
    query = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"
    mixed = official.save_npz(tmp_path / "mixed.npz", arrays | {query: arrays[query].astype(np.float16)})
    with pytest.raises(UsageError, match=r"query/kernel.* are of several types, and become one tensor"):
        convert(mixed, tmp_path / "b.safetensors")
    save_file({"layer.weight": torch.zeros(2)}, tmp_path / "own.safetensors")
    with pytest.raises(UsageError, match=r"own.safetensors' has no names of the official release, timm or this"):
        convert(tmp_path / "own.safetensors", tmp_path / "b.npz")
    state = dict(create_model(VIT.derive(width=72)).state_dict())
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(UsageError, match=r"does not say how many heads its attention has, no row of the catalog has"):
        convert(tmp_path / "odd.pt", tmp_path / "b.npz")
    torch.save({**state, "relative": torch.zeros(2)}, tmp_path / "named.pt")
    with pytest.raises(UsageError, match=r"the official release has no names for relative; write a .safetensors file"):
        convert(tmp_path / "named.pt", tmp_path / "b.npz")
    assert not list(tmp_path.glob("b.*"))
    assert not list(tmp_path.glob(".*"))  # nothing half written


def test_a_converted_file_that_was_changed_says_so(official: ModuleType, tmp_path: Path) -> None:
    row, tokens = ROWS["ViT"]
    source = official.save_npz(tmp_path / "a.npz", official.official_arrays(row.architecture, tokens))
    convert(source, tmp_path / "b.safetensors")
    with safe_open(tmp_path / "b.safetensors", framework="pt") as file:
        metadata = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys() if not name.startswith("head.")}  # noqa: SIM118
    save_file(state, tmp_path / "c.safetensors", metadata=metadata)
    with pytest.raises(UsageError, match=r"its tensors are not that file's any more. Save it without that metadata"):
        convert(tmp_path / "c.safetensors", tmp_path / "d.npz")
    create_model(row, tmp_path / "c.safetensors")  # a network does not care


def test_a_training_state_is_left_out_and_said(official: ModuleType, tmp_path: Path) -> None:
    row, tokens = ROWS["ViT"]
    arrays = official.official_arrays(row.architecture, tokens)
    saved = {f"opt/target/{name}": array for name, array in arrays.items()} | {"opt/state/step": np.array(3)}
    source = official.save_npz(tmp_path / "a.npz", saved)
    assert convert(source, tmp_path / "b.npz") == ("left out 1 tensors of the training's state: opt/state/step",)
    with np.load(tmp_path / "b.npz") as archive:
        assert list(archive) == [f"opt/target/{name}" for name in arrays]
