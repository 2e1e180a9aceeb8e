"""Damaged and foreign files: always a UsageError that names the file, whatever the library below it raises."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from vit_bench.models import catalog
from vit_bench.models.weights.files import open_weights
from vit_bench.registry import UsageError

ROW = catalog()["BiT-mini"].derive(units=(1,))
KINDS = [".npz", ".safetensors", ".pt", ".pth"]


@pytest.fixture(scope="module")
def whole(official: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of every kind; the .pth is of the format before archives, the .npz is compressed."""
    folder = tmp_path_factory.mktemp("whole")
    arrays = official.official_arrays(ROW.architecture)
    state = {name: torch.from_numpy(array[..., :3].copy()) for name, array in arrays.items()}
    np.savez_compressed(folder / "w.npz", **{name: value.numpy() for name, value in state.items()})
    save_file(state, folder / "w.safetensors")
    torch.save({"model": state, "epoch": 3}, folder / "w.pt")
    torch.save(state, folder / "w.pth", _use_new_zipfile_serialization=False)
    return {kind: folder / f"w{kind}" for kind in KINDS}


def read(path: Path) -> int:
    """The number of tensors, every one of them read; UsageError is the only error that may come of it."""
    with open_weights(path) as contents:
        for stored in contents.tensors.values():
            assert tuple(stored.read().shape) == stored.shape
        return len(contents.tensors)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files(kind: str, whole: dict[str, Path]) -> None:
    assert read(whole[kind]) == 15


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_at_many_places(kind: str, whole: dict[str, Path], tmp_path: Path) -> None:
    content, path = whole[kind].read_bytes(), tmp_path / f"w{kind}"
    ends = {*range(12), *range(len(content) - 12, len(content)), *range(0, len(content), len(content) // 40)}
    for end in sorted(ends):
        path.write_bytes(content[:end])
        with pytest.raises(UsageError, match=rf"w\{kind}'"):
            read(path)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits(kind: str, whole: dict[str, Path], tmp_path: Path) -> None:
    content, path = bytearray(whole[kind].read_bytes()), tmp_path / f"w{kind}"
    random = np.random.default_rng(0)
    header = min(len(content), 2000)  # where formats keep their structure, besides the end
    places = [*random.integers(0, header, 60), *(len(content) - random.integers(1, header, 60))]
    refused = 0
    for place in places:
        flipped = content.copy()
        flipped[place] ^= 1 << random.integers(8)
        path.write_bytes(flipped)
        try:
            read(path)  # where only a number, a name or unused bytes changed
        except UsageError as error:
            assert f"w{kind}'" in str(error)
            refused += 1
    assert refused > 20


def test_a_flipped_number_in_npz_is_found(official: ModuleType, tmp_path: Path) -> None:
    arrays = official.official_arrays(ROW.architecture)
    path = official.save_npz(tmp_path / "w.npz", arrays)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"w.npz' cannot be read as .npz; it may be cut short: BadZipFile: Bad CRC-32"):
        read(path)


@pytest.mark.parametrize("kind", KINDS)
def test_random_bytes(kind: str, tmp_path: Path) -> None:
    random, path = np.random.default_rng(1), tmp_path / f"w{kind}"
    starts = (b"", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x02", (64).to_bytes(8, "little") + b"{")
    for start in starts:
        for size in (0, 1, 30, 400):
            path.write_bytes(start + random.bytes(size))
            with pytest.raises(UsageError, match=rf"w\{kind}'"):
                read(path)


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize("other", KINDS)
def test_wrong_endings(kind: str, other: str, whole: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(whole[kind], tmp_path / f"v{other}")
    if kind == other or (kind, other) == (".pt", ".pth"):
        assert read(tmp_path / f"v{other}") == 15
        return
    with pytest.raises(UsageError, match=rf"v\{other}'.*By its first bytes it is a \{kind} file: rename it"):
        read(tmp_path / f"v{other}")


def test_archives_of_something_else(tmp_path: Path) -> None:
    for name in ("w.npz", "w.pt"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("notes.txt", "no weights")
    with pytest.raises(UsageError, match=r"w.npz' cannot be read as .npz; .*'notes.txt' is no array"):
        read(tmp_path / "w.npz")
    with pytest.raises(UsageError, match=r"w.pt' cannot be read as .pt"):
        read(tmp_path / "w.pt")


def test_programs(whole: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(whole[".pt"], tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt", "a") as archive:
        archive.writestr("w/constants.pkl", b"")  # by which torch knows its TorchScript
    with pytest.raises(UsageError, match=r"w.pt' is a TorchScript archive, a program; save the module's state_dict"):
        read(tmp_path / "w.pt")
