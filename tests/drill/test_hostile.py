"""Bundles, weights and archives that are made to break out, of the fault drill (test_drill.py): HOSTILE of them."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vit_bench.results.bundle import pack

pytestmark = pytest.mark.slow
INTO = (
    "../victim.txt",
    "../../victim.txt",
    "/{top}/victim.txt",
    "a/../../victim.txt",
    "..\\victim.txt",
    "../cells/x.json",
)
Words = tuple[str, ...] | Callable[[], Any]


class Evil:
    """What is unpickled as a call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch $BENCH_CACHE/EXECUTED",)


def npz(**named: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


def evil_npz() -> bytes:
    return npz(**{"0": np.array([Evil()], dtype=object), "labels": np.zeros(3, np.int16)})


ODD_VALUES: tuple[Any, ...] = (
    None,
    [],
    {},
    ["a"],
    {"a": [1]},
    3,
    -1.5,
    True,
    "",
    "x",
    "\ud800",
    10**30,
    10**400,
    float("nan"),
)


def cells(top: Path, inside: Path, chance: random.Random, how: str) -> tuple[str, ...]:
    """A bundle with right digests and a cell that is none."""
    (path, *_) = sorted((top / "few/r/cells").glob("*.json"))
    body, name, arrays = json.loads(path.read_text()), f"cells/{path.name}", path.with_suffix(".npz").read_bytes()
    data: bytes | None = None
    if how == "field":
        place = chance.choice([body, body["shared"], body["records"][0]])
        field = chance.choice(sorted(place))
        value = chance.choice([odd for odd in ODD_VALUES if type(odd) is not type(place[field])])
        place[field] = value
    elif how == "key":
        body["key"] = chance.choice(INTO).format(top=inside.parent)
    elif how == "status":
        chance.choice([body, body["shared"], *body["records"]])["status"] = "great"
    elif how == "deep":
        depth = chance.choice([2000, 100000])  # a table reads past less, and it is no other number
        nested = '{"a":' * depth + "1" + "}" * depth
        data = json.dumps(body | {"identity": 0}).replace('"identity": 0', f'"identity": {nested}').encode()
    elif how == "text":
        data = chance.choice(
            [b"", b"[]", b"null", b"3", b"\xff\xfe", path.read_bytes()[:-9], path.read_text().encode("utf-16")]
        )
    elif how == "arrays":
        arrays = chance.choice(
            [evil_npz(), pickle.dumps(Evil()), b"", arrays[:-20], arrays[:99], b"PK\x03\x04" + bytes(50)]
        )
    elif how == "bomb":
        arrays = npz(**{"0": np.zeros(300 << 20, np.uint8)})
    name = (
        chance.choice([f"cells/{member}" for member in INTO] + ["cells/x.py", "manifest.json"])
        if how == "name"
        else name
    )
    text = json.dumps(body).encode() if data is None else data
    files = {name: text, f"cells/{path.stem}.npz": arrays, "results.csv": b"suite\n"}
    (inside / "b.zip").write_bytes(pack(files, 1))
    return chance.choice(
        [("import", "bundle", "b.zip", "out=i"), ("import", "bundle", "b.zip", "out=i"), ("table", "fewshot", "b.zip")]
    )


def weights(top: Path, inside: Path, chance: random.Random, how: str) -> tuple[str, ...]:
    """A weights file that is none."""
    path = inside / "w.pt"
    if how == "pickle":
        value = chance.choice(
            [Evil(), {"model": Evil()}, [Evil()], {"pos_embedding": np.array([Evil()], dtype=object)}]
        )
        path.write_bytes(pickle.dumps(value, protocol=chance.randrange(5)))
    elif how == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {"data.pkl": pickle.dumps(Evil()), "version": b"3", "data/0": b"1234"}.items():
                archive.writestr(f"{chance.choice(['w', 'archive', '../w'])}/{name}", data)
    elif how == "npz":
        path = inside / "w.npz"
        path.write_bytes(
            chance.choice([evil_npz(), pickle.dumps(Evil()), npz(**{"../x": np.zeros(3)}), npz(a=np.zeros(0))])
        )
    elif how == "header":
        path = inside / "w.safetensors"
        tensor = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}
        headers = [
            {"a": tensor},
            {"a": {**tensor, "shape": [-1]}},
            {"a": {**tensor, "data_offsets": [-4, 2**62]}},
            {"a": 3},
            [],
        ]
        text = chance.choice([json.dumps(chance.choice(headers)).encode(), b"[" * 100000, b"\xff" * 9, b""])
        path.write_bytes(struct.pack("<Q", chance.choice([len(text), 2**63, 2**20])) + text + b"1234")
    elif how == "other file":
        path.write_bytes(
            chance.choice(
                [b"", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n", bytes(999), b"\x80"]
            )
        )
    else:
        whole = (top / "weights/w.pt").read_bytes()
        path.write_bytes(whole[: chance.randrange(len(whole) - 1)])
    words = [("weights", "convert", path.name, "out.npz"), ("weights", "inspect", path.name)]
    return chance.choice(words[:1] if how == "npz" else words)  # to inspect an array of any name is no fault


def archive(top: Path, inside: Path, chance: random.Random, how: str) -> Callable[[], Any]:  # noqa: ARG001
    """An archive of a data set with members that lead out of it, or that grow without end."""
    path = inside / ("a.zip" if how.startswith("zip") else "a.tar")
    into = chance.choice(INTO[:4]).format(top=inside.parent)
    if how == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("good.txt", "x")
            file.writestr(into, "yours")
    elif how == "zip bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("big", "w") as big:
            for _ in range(300):
                big.write(bytes(1 << 20))
    elif how == "zip link":
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(link, "..")
            file.writestr("link/victim.txt", "yours")
    else:
        kinds = {
            "tar": tarfile.REGTYPE,
            "tar link": tarfile.SYMTYPE,
            "tar hard link": tarfile.LNKTYPE,
            "tar device": tarfile.FIFOTYPE,
        }
        member = tarfile.TarInfo(into if how == "tar" else "link")
        member.type, member.linkname, member.size = kinds[how], into, 5 if how == "tar" else 0
        with tarfile.open(path, "w") as file:
            file.addfile(member, io.BytesIO(b"yours"))
            if how == "tar link":
                file.addfile(tarfile.TarInfo("link/victim.txt"), io.BytesIO())

    def act() -> None:
        from vit_bench.bench.data.unpack import unpack
        from vit_bench.registry import UsageError

        try:
            unpack(path, inside / "data")
        except UsageError as error:
            print(error)  # noqa: T201
            raise SystemExit(2) from error

    return act


MAKERS: dict[str, tuple[Callable[..., Words], str]] = {
    **{f"bundle: {how}": (cells, how) for how in ("field", "key", "status", "deep", "text", "arrays", "bomb", "name")},
    **{f"bundle, again: {how}": (cells, how) for how in ("field", "text", "arrays")},
    **{f"weights: {how}": (weights, how) for how in ("pickle", "zip", "npz", "header", "other file", "cut")},
    **{
        f"archive: {how}": (archive, how)
        for how in ("zip", "zip bomb", "zip link", "tar", "tar link", "tar hard link", "tar device")
    },
}


def test_hostile_files(toolbox: Any, drill: Any, world: Path, copy: Callable[..., Path], kind: Any) -> None:
    """Nothing is executed, nothing is written, and one message says what is wrong."""
    rows = {name: kind(f"hostile {name}") for name in ("bundles", "weights", "archives")}
    for case, chance in rows["bundles"].cases("HOSTILE", 150):
        name = list(MAKERS)[case % len(MAKERS)]
        row = next(row for word, row in rows.items() if name.startswith(word[:-1]))
        rows["bundles"].tried -= row is not rows["bundles"]
        row.tried += row is not rows["bundles"]
        make, how = MAKERS[name]
        folder = copy()
        inside = folder / "inside"
        (folder / "cells").mkdir()
        inside.mkdir()
        (folder / "victim.txt").write_text("mine")
        words = make(world, inside, chance, how)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        act = words if callable(words) else lambda words=words: toolbox.command(words)
        ended = drill.wait(drill.start(inside, act, cache=folder / "cache"), seconds=60)
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(folder / "cache")]
        written = [str(path.relative_to(folder)) for path in files if path.read_bytes() != before.get(path)]
        wrong = f"wrote {written}" if written else ""
        if (folder / "cache" / "EXECUTED").exists() or before.keys() - {*files}:
            wrong = "executed"
        if not wrong and (not ended.clean or ended.code not in (1, 2) or not ended.output.strip()):
            wrong = ended.last
        row.note(wrong or "detected", case, f"{name}: {words if isinstance(words, tuple) else 'unpack'}")
        shutil.rmtree(folder)
    found = [line for row in rows.values() for line in row.wrong]
    assert not found, "\n".join(found)
    for row in rows.values():
        if row.tried:
            row.check()
