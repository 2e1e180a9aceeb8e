"""Every kind of weights file: official npz of all kinds, shards, containers of training scripts, and damaged ones."""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from vit_bench.models import catalog, create_model
from vit_bench.registry import UsageError

pytestmark = pytest.mark.contract

MINI = catalog()["ViT-mini"]
TINY = MINI.derive(depth=1, width=64, heads=2)
HYBRID = catalog()["R+ViT-mini"].derive(depth=1, width=64, heads=2)


def state_of(network: Any) -> dict[str, torch.Tensor]:
    return dict(network.state_dict())


def equal(ours: Any, theirs: Any) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def drawn(row: Any = TINY, num_classes: int | None = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    state = create_model(row, num_classes=num_classes).state_dict()
    return {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in state.items()}


@pytest.mark.parametrize(
    "change",
    [
        lambda official, arrays: official.newer_names(arrays),
        lambda official, arrays: official.wide_norms(arrays),
        lambda _, arrays: {f"params/{name}": array for name, array in arrays.items()},
        lambda _, arrays: {f"opt/target/{name}": array for name, array in arrays.items()},
        lambda _, arrays: {name: array.astype(">f4") for name, array in arrays.items()},
        lambda _, arrays: {name: np.asfortranarray(array) for name, array in arrays.items()},
        lambda _, arrays: {name: array.astype(np.float64) for name, array in arrays.items()},
        lambda _, arrays: dict(reversed(arrays.items())),
    ],
    ids=["newer", "wide norms", "params", "opt/target", "big-endian", "Fortran", "float64", "reversed"],
)
def test_all_kinds_of_official_files_give_the_same_network(change: Any, official: ModuleType, tmp_path: Path) -> None:
    arrays = official.official_arrays(HYBRID.architecture, tokens=17)
    plain = state_of(create_model(HYBRID, official.save_npz(tmp_path / "a.npz", arrays)))
    network: Any = create_model(HYBRID, official.save_npz(tmp_path / "b.npz", change(official, arrays)))
    assert equal(state_of(network), plain)
    assert network.notes == ()
    np.savez_compressed(tmp_path / "c.npz", **arrays)
    assert equal(state_of(create_model(HYBRID, tmp_path / "c.npz")), plain)


def test_half_precision_in_npz(official: ModuleType, tmp_path: Path) -> None:
    arrays = official.official_arrays(TINY.architecture, tokens=17)
    half = {name: array.astype(np.float16) for name, array in arrays.items()}
    network = create_model(TINY, official.save_npz(tmp_path / "half.npz", half))
    expected = {name: array.astype(np.float32) for name, array in half.items()}
    wide = create_model(TINY, official.save_npz(tmp_path / "wide.npz", expected))
    assert equal(state_of(network), state_of(wide))
    # NumPy has no bfloat16: files hold its two bytes as "void".
    brain = {name: torch.from_numpy(array).bfloat16() for name, array in arrays.items()}
    raw = {name: value.view(torch.int16).numpy().view("V2") for name, value in brain.items()}
    network = create_model(TINY, official.save_npz(tmp_path / "brain.npz", raw))
    wide = create_model(
        TINY,
        official.save_npz(tmp_path / "f.npz", {name: value.float().numpy() for name, value in brain.items()}),
    )
    assert equal(state_of(network), state_of(wide))


def test_an_optimisers_state_is_left_out_and_said(official: ModuleType, tmp_path: Path) -> None:
    arrays = official.official_arrays(TINY.architecture, tokens=17)
    saved = {f"opt/target/{name}": array for name, array in arrays.items()}
    saved |= {f"opt/state/param_states/{name}/grad_ema": array for name, array in arrays.items()}
    saved["opt/state/step"] = np.array(7)
    network: Any = create_model(TINY, official.save_npz(tmp_path / "w.npz", saved))
    count = len(arrays) + 1
    assert network.notes[0].startswith(f"left out {count} tensors of the training's state: opt/state/param_states/")
    saved["opt/target/more/kernel"] = np.zeros(3, np.float32)
    with pytest.raises(UsageError, match=r"only in the file \(1\): opt/target/more/kernel \(here more/kernel\) \(3,\)"):
        create_model(TINY, official.save_npz(tmp_path / "v.npz", saved))


def test_heads_of_other_sizes(official: ModuleType, tmp_path: Path) -> None:
    arrays = official.official_arrays(TINY.architecture, tokens=17, classes=18_291)
    path = official.save_npz(tmp_path / "w.npz", arrays)
    network: Any = create_model(TINY, path)
    assert network.head.out_features == 18_291
    assert create_model(TINY, path, num_classes=4).head.weight.eq(0).all()  # type: ignore[attr-defined]
    headless = official.official_arrays(TINY.architecture, tokens=17, classes=None)
    assert create_model(TINY, official.save_npz(tmp_path / "v.npz", headless)).head is None  # type: ignore[attr-defined]


def test_a_mismatch_with_an_official_file_names_its_keys(official: ModuleType, tmp_path: Path) -> None:
    arrays = official.official_arrays(TINY.architecture, tokens=17)
    block = "Transformer/encoderblock_0"
    del arrays[f"{block}/MultiHeadDotProductAttention_1/key/kernel"]
    del arrays["cls"]
    arrays["Transformer/encoder_norm/bias"] = np.zeros(3, np.float32)
    arrays["surplus/kernel"] = np.zeros((2, 2), np.float32)
    arrays["embedding/bias"] = np.zeros(64, np.int32)
    with pytest.raises(UsageError) as caught:
        create_model(TINY, official.save_npz(tmp_path / "w.npz", arrays))
    message = str(caught.value)
    key = f"{block}/MultiHeadDotProductAttention_1/key/kernel (here blocks.0.attention.qkv.weight)"
    assert key in message.split("not in the file")[1].splitlines()[0]
    assert "cls (here class_token)" in message.split("not in the file")[1].splitlines()[0]
    assert "query/kernel" not in message
    assert "only in the file (1): surplus/kernel (2, 2)" in message
    assert "Transformer/encoder_norm/bias (here norm.bias) is (3,) in the file, (64,) in the model" in message
    assert "embedding/bias (here embedding.bias) is torch.int32 in the file, torch.float32 in the model" in message


def test_newer_files_are_told_their_own_missing_names(official: ModuleType, tmp_path: Path) -> None:
    arrays = official.newer_names(official.official_arrays(TINY.architecture, tokens=17))
    del arrays["Transformer/encoderblock_0/LayerNorm_1/bias"]
    message = r"not in the file \(1\): Transformer/encoderblock_0/LayerNorm_1/bias \(here blocks.0.norm2.bias\)"
    with pytest.raises(UsageError, match=message):
        create_model(TINY, official.save_npz(tmp_path / "w.npz", arrays))


def test_the_number_of_heads_must_be_the_files(official: ModuleType, tmp_path: Path) -> None:
    path = official.save_npz(tmp_path / "w.npz", official.official_arrays(TINY.architecture, tokens=17))
    with pytest.raises(UsageError, match="the file's attention has 2 heads, the model's 4"):
        create_model(TINY.derive(heads=4), path)


def test_the_right_row_is_guessed_from_an_official_file(official: ModuleType, tmp_path: Path) -> None:
    path = official.save_npz(tmp_path / "w.npz", official.official_arrays(MINI.architecture, tokens=17))
    with pytest.raises(UsageError, match=r"ViT-Ti/16: these look like ViT-mini\n"):
        create_model("ViT-Ti/16", path)


def test_grids_that_are_no_square(official: ModuleType, tmp_path: Path) -> None:
    arrays = official.official_arrays(TINY.architecture, tokens=9)  # 2x4 or 4x2 patches
    path = official.save_npz(tmp_path / "w.npz", arrays)
    positions = torch.from_numpy(arrays["Transformer/posembed_input/pos_embedding"])
    for size in ((32, 64), (64, 32)):
        grid = create_model(TINY, path, image_size=size).state_dict()["position.grid"]
        assert torch.equal(grid.flatten(1, 2), positions[:, 1:])
    with pytest.raises(UsageError, match="9 position embeddings are of 8 patches, no square: build the model with"):
        create_model(TINY, path)


def test_numbers_in_npz_must_be_finite(official: ModuleType, tmp_path: Path) -> None:
    arrays = official.official_arrays(TINY.architecture, tokens=17)
    arrays["head/bias"][2] = np.nan
    arrays["cls"][0, 0, 1] = -np.inf
    with pytest.raises(UsageError, match=r"not finite, in 2 tensors: .*head/bias \(here head.bias\)"):
        create_model(TINY, official.save_npz(tmp_path / "w.npz", arrays))


def test_large_numbers_are_finite(tmp_path: Path) -> None:
    state = drawn()
    state["norm.weight"].fill_(3e38)  # whose sum is not
    torch.save(state, tmp_path / "w.pt")
    create_model(TINY, tmp_path / "w.pt")


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (pathlib.Path.touch, (self.trace,))


def test_pickles_are_never_run(official: ModuleType, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    arrays = official.official_arrays(TINY.architecture, tokens=17)
    arrays["head/bias"] = np.array([Evil(trace)], dtype=object)
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(UsageError, match="'head/bias' holds pickled Python objects, which could run code"):
        create_model(TINY, tmp_path / "w.npz")
    torch.save({"state_dict": drawn(), "hook": Evil(trace)}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"w.pt' holds more than tensors: 'getattr', which could run code"):
        create_model(TINY, tmp_path / "w.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Evil(trace)))
    with pytest.raises(UsageError, match=r"raw.pt'"):
        create_model(TINY, tmp_path / "raw.pt")
    assert not trace.exists()
    torch.save(create_model(TINY), tmp_path / "module.pt")
    with pytest.raises(
        UsageError, match=r"holds more than tensors: 'vit_bench.models.networks.vit.VisionTransformer', which"
    ):
        create_model(TINY, tmp_path / "module.pt")


def test_arrays_that_are_no_weights(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", names=np.array(["a", "b"]))
    with pytest.raises(UsageError, match="'names' holds <U1, which no weights are made of"):
        create_model(TINY, tmp_path / "w.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(UsageError, match=r"empty.npz' holds no tensors"):
        create_model(TINY, tmp_path / "empty.npz")


def test_inert_types_are_known_by_name(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    state = drawn()
    extras = {
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs")),
        "path": tmp_path,
        "best": np.float64(0.5),
        "history": np.arange(3.0),
        "counts": collections.defaultdict(list, {"a": [1]}),
        "seen": collections.Counter("aab"),
        "config": OmegaConf.create({"optimiser": {"name": "adam", "betas": [0.9, 0.99]}}),
        "when": {1, 2},
        "last": collections.deque([1, 2], maxlen=3),
    }
    torch.save({"model": state, **extras}, tmp_path / "w.pt")
    assert equal(state_of(create_model(TINY, tmp_path / "w.pt")), state)
    torch.save({"model": state, "cut": slice(1)}, tmp_path / "v.pt")
    with pytest.raises(UsageError, match="holds more than tensors: 'slice', which could run code and is never"):
        create_model(TINY, tmp_path / "v.pt")


def test_old_and_foreign_files_of_torch(tmp_path: Path) -> None:
    state = drawn()
    torch.save({"model": state}, tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    assert equal(state_of(create_model(TINY, tmp_path / "old.pth.tar")), state)
    torch.save([1], tmp_path / "b.pt")
    with pytest.raises(UsageError, match=r"holds a list, not a state dict: save model.state_dict"):
        create_model(TINY, tmp_path / "b.pt")
    torch.save({}, tmp_path / "c.pt")
    with pytest.raises(UsageError, match=r"c.pt' holds no tensors"):
        create_model(TINY, tmp_path / "c.pt")
    torch.save({**state, "epoch": 3}, tmp_path / "d.pt")
    with pytest.raises(UsageError, match=r"not a state dict, names to tensors: it also holds 'epoch' \(int\)"):
        create_model(TINY, tmp_path / "d.pt")


def save_shards(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    names = list(state)
    places = {}
    for number, part in enumerate((names[:5], names[5:]), 1):
        shard = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: state[name] for name in part}, folder / shard)
        places |= dict.fromkeys(part, shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def test_shards(tmp_path: Path) -> None:
    state = drawn()
    index = save_shards(tmp_path / "hub", state)
    for path in (index, index.parent):
        network: Any = create_model(TINY, path)
        assert equal(state_of(network), state)
        assert network.notes == ("read 2 shards of model.safetensors.index.json",)
    listing = json.loads(index.read_text())
    listing["weight_map"]["norm.bias"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(listing))
    with pytest.raises(UsageError, match=r"and its shard 'model-00001-of-00002.safetensors' do not agree on 1: norm.b"):
        create_model(TINY, index)
    (index.parent / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UsageError, match=r"lists 2 shards; not beside it are: model-00002-of-00002.safetensors"):
        create_model(TINY, index)
    index.write_text(json.dumps({"weight_map": {"a": "../w.safetensors"}}))
    with pytest.raises(UsageError, match=r"names shards outside its own folder: ../w.safetensors"):
        create_model(TINY, index)
    index.write_text("[1]")
    with pytest.raises(UsageError, match="has no `weight_map` that says which shard"):
        create_model(TINY, index)
    index.write_text("{")
    with pytest.raises(UsageError, match="cannot be read as safetensors by its index"):
        create_model(TINY, index)


def test_folders(tmp_path: Path) -> None:
    state = drawn()
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert equal(state_of(create_model(TINY, tmp_path)), state)
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert equal(state_of(create_model(TINY, tmp_path / "pytorch_model.bin")), state)
    with pytest.raises(UsageError, match=r"There are 2 weights files: model.safetensors, pytorch_model.bin"):
        create_model(TINY, tmp_path)


def test_tensors_that_hold_no_numbers(tmp_path: Path) -> None:
    state = drawn()
    for strange, kind in ((torch.zeros(64, device="meta"), "strided on meta"), (torch.ones(64).to_sparse(), "sparse")):
        torch.save(state | {"norm.bias": strange}, tmp_path / "w.pt")
        with pytest.raises(UsageError, match=rf"'norm.bias' is no ordinary tensor, but torch.{kind}"):
            create_model(TINY, tmp_path / "w.pt")
