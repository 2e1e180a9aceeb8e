"""Every archive that `data prepare` unpacks, in its real inner layout and with what macOS adds: the reader finds it."""

from __future__ import annotations

import gzip
import importlib.util
import io
import sys
import tarfile
import types
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vit_bench.bench.data import prepare
from vit_bench.meter import Meter
from vit_bench.suites.sources.as_published import AsPublished
from vit_bench.suites.sources.sets import image_sets

# Image set -> archive -> the folder in it and the reader's folder that it becomes. After torchvision's and TFDS's
# classes, which read these archives; "!" is a tar.gz in the archive.
PCAM = "camelyonpatch_level_2_split_{}_{}.h5"
LAYOUTS: dict[str, dict[str, tuple[str, str]]] = {
    "Caltech101": {
        "caltech-101.zip": (
            "caltech-101/101_ObjectCategories.tar.gz!101_ObjectCategories",
            "caltech101/101_ObjectCategories",
        )
    },
    "Camelyon": {
        f"{PCAM.format(split, kind)}.gz": ("", f"pcam/{PCAM.format(split, kind)}")
        for split in ("train", "valid", "test")
        for kind in "xy"
    },
    "CIFAR-10": {"cifar-10-python.tar.gz": ("cifar-10-batches-py", "cifar-10-batches-py")},
    "CIFAR-100": {"cifar-100-python.tar.gz": ("cifar-100-python", "cifar-100-python")},
    "clevr": {"CLEVR_v1.0.zip": ("CLEVR_v1.0", "clevr/CLEVR_v1.0")},
    "DMLab": {"dmlab.tar.gz": ("", "dmlab")},
    "DTD": {"dtd-r1.0.1.tar.gz": ("dtd", "dtd/dtd")},
    "EuroSAT": {"EuroSAT.zip": ("2750", "eurosat/2750")},
    "Flowers102": {"102flowers.tgz": ("jpg", "flowers-102/jpg")},
    "KITTI-Dist": {
        "data_object_image_2.zip": ("training/image_2", "Kitti/raw/training/image_2"),
        "data_object_label_2.zip": ("training/label_2", "Kitti/raw/training/label_2"),
        "devkit_object.zip": ("mapping", "Kitti/raw/mapping"),
    },
    "Pets": {
        "pets-images.tar.gz": ("images", "oxford-iiit-pet/images"),
        "pets-annotations.tar.gz": ("annotations", "oxford-iiit-pet/annotations"),
    },
    "Resisc45": {"NWPU-RESISC45.rar": ("NWPU-RESISC45", "NWPU-RESISC45")},
    "UC Merced": {"UCMerced_LandUse.zip": ("UCMerced_LandUse", "UCMerced_LandUse")},
}
TASKS = {"clevr": "Clevr-Dist"}
APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X        "  # the start of an AppleDouble file


def makers(kind: str) -> Any:
    """The module that makes the image sets of torchvision's or of the raw layout in small."""
    path = Path(__file__).with_name(kind) / "conftest.py"
    spec: Any = importlib.util.spec_from_file_location(f"makers_{kind}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def with_apples(members: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The members of an archive, and what macOS adds: a shadow of each file, and of each folder."""
    for name, content in members.items():
        folder, _, last = name.rpartition("/")
        above = f"{folder}/" if folder else ""
        yield f"{above}._{last}", APPLE
        yield f"__MACOSX/{above}._{last}", APPLE
        yield f"{above}.DS_Store", b"\0\0\0\1Bud1"
        yield name, content


def packed(name: str, members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    if name.endswith((".zip", ".rar")):
        with zipfile.ZipFile(stream, "w") as file:
            for member, content in dict(with_apples(members)).items():
                file.writestr(member, content)
    else:
        with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
            for member, content in dict(with_apples(members)).items():
                info = tarfile.TarInfo(f"./{member}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def archive_of(name: str, layout: tuple[str, str], made: Path) -> bytes:
    inside, place = layout
    if (made / place).is_file():
        return gzip.compress((made / place).read_bytes(), 1)
    archive, _, inner = inside.rpartition("!")
    files = [path for path in sorted((made / place).rglob("*")) if path.is_file()]
    members = {"/".join(filter(None, (inner, f.relative_to(made / place).as_posix()))): f.read_bytes() for f in files}
    if archive:
        members = {archive: packed(archive, members), f"{archive.rpartition('/')[0]}/show_annotation.m": b"%"}
    return packed(name, members)


class FakeRar(zipfile.ZipFile):
    """Reads a zip file as rarfile reads a .rar, which nothing here can write."""

    def infolist(self) -> list[Any]:
        infos = super().infolist()
        return [
            types.SimpleNamespace(filename=info.filename, mode=0o644, is_dir=info.is_dir, needs_password=bool)
            for info in infos
        ]

    def open(self, name: Any, *rest: Any, **named: Any) -> Any:
        return super().open(getattr(name, "filename", name), *rest, **named)


def test_every_archive_is_walked() -> None:
    unpacked = {
        name: {file.file_name for file in row.downloads if file.unpack} | ({row.archive} if row.archive else set())
        for name, row in image_sets().items()
    }
    assert {name: set(files) for name, files in LAYOUTS.items()} == {n: files for n, files in unpacked.items() if files}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_unpacked_is_what_the_reader_wants(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_set, made, data = image_sets()[name], tmp_path / "made", tmp_path / "data"
    made.mkdir()
    kind = "torchvision" if image_set.torchvision else "raw"
    if kind == "torchvision":
        task = makers(kind).MAKE[TASKS.get(name, name)](made, monkeypatch).task
    else:
        task = makers(kind).ARCHIVES[name](made)[0]
    downloads = tuple(replace(file, size=None, digest="") for file in image_set.downloads)
    for archive, layout in LAYOUTS[name].items():
        place = data / archive if archive == image_set.archive else data / prepare.DOWNLOADS / archive
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(archive_of(archive, layout, made))
    for file in (file for file in downloads if not file.unpack):
        place = data / file.into / file.file_name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((made / file.into / file.file_name).read_bytes())
    fake = types.SimpleNamespace(RarFile=FakeRar, Error=zipfile.BadZipFile)
    monkeypatch.setitem(sys.modules, "rarfile", fake)  # type: ignore[arg-type]
    prepare.get(replace(image_set, downloads=downloads), data, Meter(None))
    source = AsPublished(kind)
    assert source.missing(task, data, tuple(task.splits)) == ""
    for split in task.splits:
        found, expected = (source.load(task, split, root, tmp_path / "cache") for root in (data, made))
        assert found.digest == expected.digest
        np.testing.assert_array_equal(found.labels, expected.labels)
