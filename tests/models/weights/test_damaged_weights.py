"""Damaged and foreign files: always a UsageError that names the file, whatever the library below it raises."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
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
NOT_SAVED = r"is not what was saved \(Bad CRC-32\). Download or save the file again"
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
    with pytest.raises(UsageError, match=rf"w.npz' is damaged: its entry '.*/kernel.npy' {NOT_SAVED}"):
        read(path)


SMALL = {"a": torch.arange(6.0), "b": torch.arange(40, dtype=torch.float16).reshape(4, 10), "c": torch.ones(1)}


def save_small(path: Path) -> Path:
    """An archive with the tensors of SMALL; of "compressed.npz" with compressed entries."""
    arrays = {name: value.numpy() for name, value in SMALL.items()}
    if path.suffix == ".pt":
        torch.save(SMALL, path)
    elif path.stem == "compressed":
        np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    else:
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


@pytest.mark.parametrize("name", ["w.pt", "w.npz", "compressed.npz"])
def test_no_flipped_bit_of_an_archive_gives_other_numbers(name: str, tmp_path: Path) -> None:
    path = save_small(tmp_path / name)
    content, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << random.integers(8)
        path.write_bytes(flipped)
        try:
            with open_weights(path) as contents:
                read = {name: stored.read() for name, stored in contents.tensors.items()}
                assert set(read) == set(SMALL)  # else an unused byte: a date, padding
                assert all(torch.equal(value, SMALL[name]) for name, value in read.items())
                assert all(value.dtype == SMALL[name].dtype for name, value in read.items())
        except UsageError as error:
            assert f"{name}'" in str(error)
            refused += 1
    assert refused > len(content) // 5


@pytest.mark.parametrize("entry", ["data.pkl", "data/0", "data/1", "data/2", "byteorder", "version"])
def test_every_byte_of_every_entry_of_torchs_is_checked(entry: str, tmp_path: Path) -> None:
    path = save_small(tmp_path / "w.pt")
    for _ in flipped_in(path, f"w/{entry}"):
        with pytest.raises(UsageError, match=rf"w.pt' is damaged: its entry 'w/{entry}' {NOT_SAVED}"):
            read(path)


@pytest.mark.parametrize("name", ["w.npz", "compressed.npz"])
@pytest.mark.parametrize("entry", ["a", "b", "c"])
def test_every_byte_of_every_entry_of_numpys_is_checked(name: str, entry: str, tmp_path: Path) -> None:
    path = save_small(tmp_path / name)
    for _ in flipped_in(path, f"{entry}.npy"):
        with pytest.raises(UsageError, match=rf"{name}' is damaged: its entry '{entry}.npy' is not what was saved \("):
            read(path)


def flipped_in(path: Path, name: str) -> Iterator[None]:
    """For each byte of an entry, the file with a flipped bit in it."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(name)
    content = path.read_bytes()
    lengths = content[entry.header_offset + 26 : entry.header_offset + 30]
    start = entry.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    unused = 2 * (entry.compress_type == zipfile.ZIP_DEFLATED)  # bits that fill its last byte up
    for place in range(start, start + entry.compress_size - unused):
        flipped = bytearray(content)
        flipped[place] ^= 4
        path.write_bytes(flipped)
        yield
    path.write_bytes(content)


def test_torchs_archives_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(SMALL, tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    with open_weights(tmp_path / "w.pt") as contents:
        assert all(torch.equal(stored.read(), SMALL[name]) for name, stored in contents.tensors.items())
        assert contents.notes == (
            "w.pt was saved without checksums (torch.serialization.set_crc32_options): damage to its numbers goes "
            "unnoticed",
        )


def test_torchs_archives_whose_numbers_were_never_written(tmp_path: Path) -> None:
    with torch.serialization.skip_data():  # writes room for the numbers, and 0 as its checksum
        torch.save({"a": torch.ones(5)}, tmp_path / "w.pt")
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("w/data/0").CRC == 0
    with pytest.raises(UsageError, match=rf"w.pt' is damaged: its entry 'w/data/0' {NOT_SAVED}"):
        read(path)


def test_compressed_archives_of_torchs(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(save_small(tmp_path / "stored.pt")) as old,
        zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(UsageError, match=r"w.pt' is compressed, as torch.save never writes .* torch.save\(torch.load"):
        read(tmp_path / "w.pt")


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
