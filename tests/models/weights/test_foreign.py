"""Files that are no weights of a kind read here are named for what they are, with what to do instead."""

from __future__ import annotations

import os
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from typer.testing import CliRunner
from vit_bench.bench.cli import app
from vit_bench.models import catalog, create_model
from vit_bench.models.parse_weights import read_weights
from vit_bench.registry import UsageError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 346293852\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>google/vit-base at main</title></head></html>"
ONNX = b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\xd4\x01"


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["vit/embeddings/cls_token"] = [0.0]


def keras(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model.weights.h5", b"")


def inside(*names: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.mkdir()
        for name in names:
            (path / name).write_bytes(b"")

    return make


LFS = "a pointer of Git LFS, which stands for the file. Get the file: git -C {folder} lfs pull --include {name}"
HTML = "a web page that was saved in place of the file. Download the file itself; on the hub its address has /resolve/"
KINDS: list[tuple[str, Callable[[Path], object], str]] = [
    *(
        (name, write(POINTER), LFS)
        for name in ("w.safetensors", "w.npz", "a b.pth", "w.bin", "x.safetensors.index.json")
    ),
    *((name, write(PAGE), HTML) for name in ("w.safetensors", "w.npz", "w.pt")),
    ("w.pt", write(ONNX), "a graph of ONNX, a program. Give the checkpoint that it was exported from"),
    ("w.onnx", write(ONNX), "a graph of ONNX"),
    ("tf_model.h5", hdf5, "an HDF5 file, of a Keras model"),
    ("w.bin", hdf5, "an HDF5 file, of a Keras model"),
    ("w.keras", keras, "a .keras file, of a Keras model"),
    ("model.ckpt.index", write(b"\0"), "a checkpoint of TensorFlow, an index beside its data"),
    ("model.ckpt.data-00000-of-00001", write(b"\0"), "a checkpoint of TensorFlow"),
    ("flax_model.msgpack", write(b"\x81\xa3vit\x80"), "a msgpack file of Flax"),
    ("saved", inside("saved_model.pb"), "a SavedModel of TensorFlow"),
    (
        "dcp a",
        inside(".metadata", "__0_0.distcp"),
        "a folder of torch.distributed.checkpoint. Make one file of it: {dcp}",
    ),
    ("orbax", inside("_METADATA", "_sharding"), "a checkpoint folder of Orbax"),
    ("w.pth", write(b"\x1f\x8b\x08\0"), "a gzip file. Unpack it: gunzip {path}"),
]


@pytest.mark.parametrize(("name", "make", "what"), KINDS)
def test_what_is_no_weights_file_is_named(name: str, make: Callable[[Path], object], what: str, tmp_path: Path) -> None:
    path = tmp_path / name
    make(path)
    place = {"path": shlex.quote(str(path)), "folder": tmp_path, "name": shlex.quote(name)}
    place["dcp"] = f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {place['path']} NEW.pt"
    with pytest.raises(UsageError) as caught:
        create_model("ViT-mini", path)
    assert f"'{path}' is no weights file: it is {what.format(**place)}" in str(caught.value)
    assert "cut short" not in str(caught.value)


def test_a_checkpoint_of_tensorflow_is_named_by_its_prefix(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(b"\0")
    with pytest.raises(UsageError, match=r"model.ckpt' is no weights file: it is a checkpoint of TensorFlow"):
        read_weights(catalog()["ViT-mini"], str(tmp_path / "model.ckpt"))


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.onnx")
    with pytest.raises(UsageError, match="is not a weights file this can read"):
        create_model("ViT-mini", tmp_path / "w.onnx")


class Shard:
    """Is saved as a ShardedTensor of FSDP's is."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return ShardedTensor, ()


def test_one_processs_shards_are_named(tmp_path: Path) -> None:
    torch.save({"model": {"head.weight": Shard()}}, tmp_path / "rank0.pt")
    with pytest.raises(UsageError, match=r"rank0.pt' holds the shards of one process .* Save the whole state dict"):
        create_model("ViT-mini", tmp_path / "rank0.pt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled", "ignore:.*TypedStorage is deprecated")
def test_the_command_for_a_folder_of_torchs_makes_a_file(tmp_path: Path) -> None:
    state = dict(create_model("ViT-mini", num_classes=3).state_dict())
    folder = tmp_path / "step 7"
    dcp.save({"model": state}, checkpoint_id=folder)
    shown = CliRunner().invoke(app, ["plan", "suite=fewshot", f"weights={folder}"])
    assert isinstance(shown.exception, UsageError)
    said = str(shown.exception)
    start = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
    assert f"is no weights file: it is a folder of torch.distributed.checkpoint. Make one file of it: {start}" in said
    asked, new = shlex.split(said.partition(start)[2])[:2]
    assert (asked, new) == (str(folder), "NEW.pt")
    dcp_to_torch_save(asked, tmp_path / new)
    read = create_model("ViT-mini", tmp_path / new).state_dict()
    assert all(torch.equal(read[name], state[name]) for name in state)
