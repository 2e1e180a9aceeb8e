"""Readers fuzzed with hypothesis: what is written is read back; anything else is read rightly or refused by UsageError.

The default run tries few examples of each, always the same; `--slow` tries many more.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from vit_bench.bench import config
from vit_bench.bench.data.unpack import unpack
from vit_bench.bench.words import as_typed, read_value
from vit_bench.models.provenance import Provenance
from vit_bench.models.weights.files import open_weights
from vit_bench.models.weights.sidecar import WORDS, read_head, read_sidecar
from vit_bench.registry import UsageError
from vit_bench.results.arrays import read_arrays, write_arrays
from vit_bench.results.exports import formats
from vit_bench.results.figures.curves import COLUMNS as CURVES
from vit_bench.results.figures.curves import read_curves
from vit_bench.results.record import COLUMNS, Cell, Record, read_variant, variant_of
from vit_bench.results.store import Store, load
from vit_bench.suites.images.decode import ENDINGS, read_image
from vit_bench.suites.sources.folder import folder_task

T = TypeVar("T")
KEY = "0123456789abcdef"
TEXT = st.text(max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FINITE | TEXT
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=5
)
DICT = st.dictionaries(TEXT, NESTED, max_size=3)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


def told(read: Callable[[], T]) -> T | None:
    """What is read, or None where it is refused in words. Any other error is a failure."""
    try:
        return read()
    except UsageError as error:
        assert str(error).strip()
        return None


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes with another byte, cut short, with bytes put between, with a part missing, or others."""
    how = draw(st.sampled_from(["flip", "flip", "cut", "insert", "lose", "other"])) if whole else "other"
    at = draw(st.integers(0, max(0, len(whole) - 1)))
    if how == "flip":
        return whole[:at] + bytes([whole[at] ^ draw(st.integers(1, 255))]) + whole[at + 1 :]
    if how == "lose":
        return whole[:at] + whole[at + draw(st.integers(1, 40)) :]
    some = draw(st.binary(max_size=20))
    return {"cut": whole[:at], "insert": whole[:at] + some + whole[at:], "other": some}[how]


@st.composite
def records(draw: st.DrawFn) -> Record:
    text = {name: draw(TEXT) for name in ("suite", "model", "task", "weights", "metric", "error", "source")}
    percent = draw(st.booleans())
    value = draw(st.floats(0, 100) if percent else st.floats(-(2**62), 2**62))
    seed = draw(st.none() | st.integers(-(2**31), 2**31))
    at = draw(st.dictionaries(TEXT.filter(lambda name: name not in COLUMNS), PLAIN, max_size=2))
    return Record(
        **text,
        value=value,
        unit="percent" if percent else "s",
        seed=seed,
        n_test=draw(st.none() | st.integers(0, 10**9)),
        at=at,
        question=draw(DICT),
        treatment=draw(DICT),
        env=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
    )


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    made = draw(st.lists(records(), min_size=1, max_size=3))
    numbered = tuple(Record(**asdict(one) | {"measurement": f"{KEY}/{i}"}) for i, one in enumerate(made))
    order = tuple(draw(st.lists(st.integers(0, 99) | TEXT, max_size=3)))
    return Cell(
        key=KEY, slot=draw(TEXT), order=order, identity=draw(DICT), status="ok", started_at="2026", records=numbered
    )


@given(cell=cells(), data=st.data())
def test_cells_and_results(place: Path, cell: Cell, data: st.DataObject) -> None:
    store = Store(place / "run")
    store.put(cell)
    assert Store(store.folder).get(KEY) == cell
    written, read = load(store.folder), load(store.write_results())
    for name in COLUMNS:
        ours, theirs = ([None if pd.isna(value) else value for value in frame[name]] for frame in (written, read))
        assert theirs == [value.replace("\r", " ") if isinstance(value, str) else value for value in ours], name
    path = store.path(KEY)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    assert told(lambda: Store(store.folder).get(KEY)) in (None, cell)
    path.unlink()
    csv = store.folder / "results.csv"
    csv.write_bytes(data.draw(damaged(csv.read_bytes())))
    told(lambda: load(csv))


@given(data=st.data())
def test_arrays(place: Path, data: st.DataObject) -> None:
    kinds = st.sampled_from([np.int16, np.float32, np.bool_, np.dtype("<U3"), np.complex64])
    shapes = st.lists(st.integers(0, 3), max_size=3)
    names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), max_size=9)
    drawn = data.draw(st.sets(names, min_size=1, max_size=3))
    kept = {name: np.zeros(data.draw(shapes), data.draw(kinds)) for name in drawn}
    path = place / "a.npz"
    write_arrays(path, kept)
    for number in range(2):
        read = told(lambda: read_arrays(path))
        assert number or read is not None
        if read is not None and not number:
            assert {name: (array.dtype, array.shape) for name, array in read.items()} == {
                name: (array.dtype, array.shape) for name, array in kept.items()
            }
        path.write_bytes(data.draw(damaged(path.read_bytes())))


@given(data=st.data())
def test_learning_curves(place: Path, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(st.floats(-1e9, 1e9), min_size=7, max_size=7), min_size=1, max_size=3))
    lines = [",".join(CURVES), *(",".join(["final", *map(repr, row)]) for row in rows)]
    path = place / f"{KEY}.curves.csv"
    path.write_bytes("\n".join(lines).encode())
    read = told(lambda: read_curves(path))
    assert read is not None and read[list(CURVES[1:])].to_numpy().tolist() == rows
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    read = told(lambda: read_curves(path))
    assert read is None or np.isfinite(read[["step", "loss"]].to_numpy()).all()


NAMED = st.dictionaries(st.from_regex(r"[a-z_]\w*", fullmatch=True), st.text(min_size=1, max_size=9), max_size=3)


@given(settings=NAMED)
def test_variants(settings: dict[str, str]) -> None:
    assert read_variant(variant_of(settings.items())) == settings


@given(items=st.lists(st.text(max_size=9), min_size=1, max_size=4), words=st.lists(st.text(max_size=12), max_size=3))
def test_words(place: Path, items: list[str], words: list[str]) -> None:
    kept = read_value("task", as_typed(items), tuple[str, ...]) if all(item.strip() for item in items) else None
    assert kept is None or list(kept) == items
    for word in words:
        for key in (
            "",
            "suite=",
            "task=",
            "seed=",
            "data=",
            "device=",
            "range=",
            "include=",
            "batch_size=",
            "suite.x=",
        ):
            read = told(lambda typed=f"{key}={word}": config.read([typed]))
            if read is None or not read.describe():
                continue
            (place / "config.yaml").write_text(yaml.safe_dump(read.describe()), encoding="utf-8")
            assert config.read([f"config={place / 'config.yaml'}"]).describe() == read.describe()
    with suppress(UnicodeEncodeError):
        (place / "config.yaml").write_text("\n".join(words), encoding="utf-8")
        told(lambda: config.read_file(place / "config.yaml"))


FIELDS: Mapping[str, st.SearchStrategy[Any]] = {
    "pretrain": st.text(min_size=1, max_size=9),
    "images": st.integers(0, 2**53),
    "epochs": st.floats(0, 1e300),
    "head": st.text(min_size=1, max_size=9),
    "image_size": st.integers(1, 999),
    "antialias": st.booleans(),
    **{name: st.sampled_from(words) for name, words in WORDS.items()},
}


@given(fields=st.fixed_dictionaries({}, optional=dict(FIELDS)), data=st.data())
def test_sidecars(place: Path, fields: dict[str, Any], data: st.DataObject) -> None:
    path = place / "w.pt.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    said = told(lambda: read_sidecar(place / "w.pt"))
    if fields:
        assert said == Provenance(**{name: fields[name] for name in ("pretrain", "images", "epochs") if name in fields})
        head = read_head(place / "w.pt")
        assert (head.data if head else None) == fields.get("head")
    path.write_bytes(data.draw(damaged(path.read_bytes()) | NESTED.map(lambda value: json.dumps(value).encode())))
    told(lambda: read_sidecar(place / "w.pt"))
    told(lambda: read_head(place / "w.pt"))


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=6)


PATHS = st.lists(NAMES, min_size=1, max_size=4).map(tuple)


@given(files=st.dictionaries(PATHS, st.sampled_from([*ENDINGS[:3], ".txt", ""])))
def test_folders(files: dict[tuple[str, ...], str]) -> None:
    with TemporaryDirectory() as folder:
        top, made = Path(folder), set[Path]()
        for parts, ending in files.items():
            path = top.joinpath(*(part.strip(".") or "x" for part in parts))
            path = path.with_name(f"{path.name}{ending}")
            with suppress(OSError):  # a file in a folder's place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                made.add(path)
        task = told(lambda: folder_task(top, division="all"))
        if task is not None:
            images = [path for path in made if path.name.lower().endswith(ENDINGS)]
            assert 0 < task.splits["test"] <= len(images)
            assert len(task.classes) == task.num_classes >= 2


def state() -> dict[str, Any]:
    import torch

    return {"a.weight": torch.arange(6.0).reshape(2, 3), "b.bias": torch.ones(2, dtype=torch.bfloat16)}


@pytest.fixture(scope="module")
def weights(place: Path) -> dict[str, bytes]:
    """Files of weights, by ending."""
    import torch
    from safetensors.torch import save

    plain, wrapped = io.BytesIO(), io.BytesIO()
    torch.save(state(), plain)
    torch.save({"model": state(), "epoch": 3, "args": {"lr": 0.1}}, wrapped)
    np.savez(place / "w.npz", allow_pickle=False, **{"a.weight": state()["a.weight"].numpy()})
    files = {".safetensors": save(state()), ".pt": plain.getvalue(), ".pth": wrapped.getvalue()}
    return files | {".npz": (place / "w.npz").read_bytes()}


@given(data=st.data())
def test_weights(place: Path, weights: dict[str, bytes], data: st.DataObject) -> None:
    import torch

    ending = data.draw(st.sampled_from(sorted(weights)))
    path = place / f"w{ending}"
    path.write_bytes(data.draw(damaged(weights[ending])))

    def read() -> dict[str, torch.Tensor]:
        with open_weights(path) as contents:
            return {name: tensor.read() for name, tensor in contents.tensors.items()}

    found = told(read)
    if found is not None and ending != ".safetensors":  # which has no checksums
        for name, tensor in found.items():
            assert torch.equal(tensor, state()[name.removeprefix("model.")])


LEAVES = st.sampled_from(["tensor", 1, 0.5, None, "x", [1, "tensor"], ()])
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(TEXT | st.integers(0, 3), inner, max_size=3), max_leaves=6)


@given(tree=TREES)
def test_containers_of_weights(place: Path, tree: Any) -> None:
    import torch

    count = 0

    def filled(node: Any) -> Any:
        nonlocal count
        if isinstance(node, dict):
            return {key: filled(value) for key, value in node.items()}
        if isinstance(node, list):
            return [filled(value) for value in node]
        count += node == "tensor"
        return torch.ones(1) if node == "tensor" else node

    torch.save(filled(tree), place / "t.pt")
    with suppress(UsageError), open_weights(place / "t.pt") as contents:
        assert 0 < len(contents.tensors) <= count
        assert all(tensor.read().tolist() == [1.0] for tensor in contents.tensors.values())


MEMBERS = st.dictionaries(
    st.text(st.sampled_from("ab/.\\:é\n") | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9),
    st.binary(max_size=9),
    min_size=1,
    max_size=4,
)


@given(members=MEMBERS, kind=st.sampled_from([".zip", ".tar", ".tar.gz"]), data=st.data())
def test_members_of_archives(members: dict[str, bytes], kind: str, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path, target = Path(folder, f"a{kind}"), Path(folder, "in", "it")
        if kind == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in members.items():
                    archive.writestr(zipfile.ZipInfo(name), content)
        else:
            with tarfile.open(path, "w:gz" if kind.endswith("gz") else "w") as archive:
                for name, content in members.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        for _ in range(2):
            got = told(lambda: unpack(path, target))
            everything = [found for found in Path(folder).rglob("*") if found.is_file() and found != path]
            assert all(found.is_relative_to(target) for found in everything)
            assert sorted(everything) == sorted(got or []) or not got
            assert got is not None or not everything
            for found in got or []:
                found.unlink()
            path.write_bytes(data.draw(damaged(path.read_bytes())))


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """An image of each format and mode."""
    made = []
    colours = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    for kind, image in (
        *((kind, colours) for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000")),
        *((kind, deep) for kind in ("PNG", "TIFF", "PPM")),
        ("PNG", colours.convert("P")),
        ("TIFF", colours.convert("CMYK")),
    ):
        file = io.BytesIO()
        image.save(file, kind)
        made.append(file.getvalue())
    return made


@given(data=st.data())
def test_images(pictures: list[bytes], data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(pictures))
    head = data.draw(damaged(whole[:60])) + whole[60:]
    for content in (head, data.draw(damaged(whole))):
        pixels = told(lambda content=content: read_image(content, apply_exif=True))
        assert pixels is None or (pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3)


@given(data=st.data())
def test_files_of_other_projects(place: Path, others: list[tuple[str, str, bytes]], data: st.DataObject) -> None:
    kind, name, whole = data.draw(st.sampled_from(others))
    path = place / name
    path.write_bytes(data.draw(damaged(whole)))
    told(lambda: formats()[kind].read(path))


@pytest.fixture(scope="module")
def others(place: Path) -> list[tuple[str, str, bytes]]:
    """Files in each exchange format, by format and name."""
    asked = {"question": {"task": "digits"}, "treatment": {"size": [224, 224], "interpolation": "bicubic"}}
    few = {"suite": "fewshot", "protocol": "fewshot", "metric": "top1", "unit": "percent", "at": {"shots": 5}, **asked}
    ours = [Record(model="ViT-B/16", weights="in21k", task="digits", value=50.0, seed=1, n_test=4, **few)]
    at = {"image_size": 224, "batch_size": 256, "precision": "bf16", "mode": "inference", "compile": True}
    timed = {"suite": "throughput", "protocol": "throughput", "metric": "images_per_second", "unit": "images/s"}
    ours += [Record(model="ViT-B/16", weights="in21k", value=1000.0, device="H200", at=at, **timed)]
    classified = {"suite": "classify", "protocol": "classify", "metric": "top1", "unit": "percent", **asked}
    ours += [Record(model="ViT-B/16", weights="in1k", task="ImageNet", value=81.0, n_test=4, **classified)]
    numbered = tuple(Record(**asdict(one) | {"measurement": f"{KEY}/{i}"}) for i, one in enumerate(ours))
    store = Store(place / "others")
    store.put(
        Cell(key=KEY, slot="s", order=(), identity={}, status="ok", started_at="2026", records=numbered),
        {"1.samples": np.ones(3)},
    )
    frame, found = load(store.folder), []
    for row in formats().values():
        for name, content in row.write(frame).files.items():
            found.append((row.name, Path(name).name, content))
    assert {kind for kind, _, _ in found} == {row.name for row in formats().values()}
    return found
