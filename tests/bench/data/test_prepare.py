"""`data prepare`: downloads from a server of the test's own, safe unpacking, exact steps where a person must act."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner
from vit_bench import transfer
from vit_bench.bench.cli import app
from vit_bench.bench.data import prepare as data_prepare
from vit_bench.bench.data import unpack
from vit_bench.bench.select import tasks as task_words
from vit_bench.meter import Meter
from vit_bench.registry import UsageError
from vit_bench.suites.sources.image_set import Download, ImageSet
from vit_bench.suites.sources.sets import image_sets
from vit_bench.suites.tasks import tasks

SILENT = Meter(None)


class Server:
    """Files below a folder over HTTP, on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: ARG002
                asked.append(self.path)

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def file(self, name: str, content: bytes, **options: object) -> Download:
        (self.folder / name).write_bytes(content)
        facts = {"size": len(content), "digest": hashlib.sha256(content).hexdigest(), "into": "set"} | options
        return Download(url=f"http://127.0.0.1:{self.server.server_port}/{name}", **facts)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / "www").mkdir()
    made = Server(tmp_path / "www")
    yield made
    made.server.shutdown()
    made.server.server_close()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def tarred(*members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
    return stream.getvalue()


class TestFetch:
    def test_a_file_and_an_archive(self, server: Server, tmp_path: Path) -> None:
        root = tmp_path / "data"
        data_prepare.fetch(server.file("a.mat", b"plain", unpack=False), root, SILENT)
        assert (root / "set" / "a.mat").read_bytes() == b"plain"
        archive = server.file("b.zip", zipped(x__1="one", x__2="two"))
        data_prepare.fetch(archive, root, SILENT)
        assert (root / "set" / "x" / "2").read_bytes() == b"two"
        assert not (root / "downloads" / "b.zip").exists(), "an unpacked archive needs no room"
        asked = len(server.asked)
        data_prepare.fetch(archive, root, SILENT)
        assert len(server.asked) == asked
        (root / "set" / "x" / "2").unlink()
        data_prepare.fetch(archive, root, SILENT)
        assert (root / "set" / "x" / "2").exists()

    @pytest.mark.parametrize("facts", [{"digest": "0" * 64}, {"digest": "0" * 32}, {"size": 9}])
    def test_what_is_not_what_was_published_is_put_aside(self, server: Server, tmp_path: Path, facts: dict) -> None:
        file = server.file("b.zip", zipped(x="one"), **facts)
        why = r"is not what was published: .*, expected .* It is kept as .*b\.zip\.wrong"
        with pytest.raises(UsageError, match=why):
            data_prepare.fetch(file, tmp_path / "data", SILENT)
        assert not (tmp_path / "data" / "set").exists()

    def test_md5_is_known_too(self, server: Server, tmp_path: Path) -> None:
        digest = hashlib.md5(b"plain", usedforsecurity=False).hexdigest()
        data_prepare.fetch(server.file("a.mat", b"plain", unpack=False, digest=digest), tmp_path, SILENT)

    def test_a_file_put_there_by_hand_is_taken(self, server: Server, tmp_path: Path) -> None:
        content = zipped(x="one")
        file = server.file("b.zip", content)
        (tmp_path / "downloads").mkdir()
        (tmp_path / "downloads" / "b.zip").write_bytes(content)
        data_prepare.fetch(file, tmp_path, SILENT)
        assert not server.asked
        assert (tmp_path / "set" / "x").exists()

    def test_a_mirror_is_looked_in_by_path_and_by_name(self, server: Server, tmp_path: Path, monkeypatch) -> None:
        """By the name that a file has here, too, where its digest is published; a copy that is wrong is not taken."""
        monkeypatch.setenv("BENCH_MIRROR", str(tmp_path / "www" / "copies"))
        (tmp_path / "www" / "copies" / "vgg").mkdir(parents=True)
        for place in ("vgg/images.mat", "pets-images.mat"):
            copy, root = tmp_path / "www" / "copies" / place, tmp_path / place
            file = server.file("images.mat", b"images", unpack=False)
            file = replace(file, url="http://127.0.0.1:9/vgg/images.mat", name="pets-images.mat")
            copy.write_bytes(b"images")
            data_prepare.fetch(file, root, SILENT)
            assert (root / "set" / "pets-images.mat").read_bytes() == b"images"
            copy.write_bytes(b"others")
            with pytest.raises(UsageError, match=rf"the file from file://.*/{place} is not what was published"):
                data_prepare.fetch(file, tmp_path / "again" / place, SILENT)
            copy.unlink()
        nameless = replace(file, digest="", size=None)
        copy.write_bytes(b"others")
        with pytest.raises(UsageError, match=r"http://127.0.0.1:9/vgg/images.mat: .*refused"):
            data_prepare.fetch(nameless, tmp_path / "nameless", SILENT)

    def test_no_such_file_and_no_network(self, server: Server, tmp_path: Path, monkeypatch) -> None:
        file = replace(server.file("a.mat", b"x", unpack=False), url=server.file("a.mat", b"").url + "gone")
        with pytest.raises(UsageError, match=r"404 .* Repeat the command .* or put the file at .*a\.matgone yourself"):
            data_prepare.fetch(file, tmp_path, SILENT)
        monkeypatch.setenv("BENCH_OFFLINE", "1")
        with pytest.raises(UsageError, match=r"is needed, and downloads are off \(BENCH_OFFLINE=1\)"):
            data_prepare.fetch(file, tmp_path, SILENT)


def of(content: bytes, name: str, tmp_path: Path) -> Callable[[], list[Path]]:
    (tmp_path / name).write_bytes(content)
    return lambda: unpack.unpack(tmp_path / name, tmp_path / "to")


class TestUnpack:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.zip", zipped(f__1="one", f__2="two")),
            ("a.tar.gz", tarred(("f/1", b"one"), ("./f/2", b"two"))),
            ("a.tgz", tarred(("f/1", b"one"), ("f/2", b"two"))),
            ("a.tar", tarred(("f/1", b"one"), ("f/2", b"two"), mode="w")),
            ("a.zip", zipped(**{"f__inner.tar.gz": tarred(("1", b"one"), ("2", b"two"))})),
        ],
    )
    def test_every_kind(self, name: str, content: bytes, tmp_path: Path) -> None:
        assert of(content, name, tmp_path)() == [tmp_path / "to" / "f" / "1", tmp_path / "to" / "f" / "2"]
        assert (tmp_path / "to" / "f" / "2").read_bytes() == b"two"
        assert sorted(path.name for path in (tmp_path / "to").rglob("*")) == ["1", "2", "f"]

    def test_a_single_file(self, tmp_path: Path) -> None:
        assert of(gzip.compress(b"rows"), "x.h5.gz", tmp_path)() == [tmp_path / "to" / "x.h5"]

    @pytest.mark.parametrize(
        "name", ["../evil", "/etc/evil", "//tmp/evil", "\\\\tmp\\evil", "a/../../evil", "..\\evil", "C:\\evil"]
    )
    @pytest.mark.parametrize("kind", ["tar.gz", "zip"])
    def test_nothing_lands_outside(self, name: str, kind: str, tmp_path: Path) -> None:
        content = zipped(ok=b"1", **{name: b"2"}) if kind == "zip" else tarred(("ok", b"1"), (name, b"2"))
        with pytest.raises(UsageError, match="which would land outside of"):
            of(content, f"a.{kind}", tmp_path)()
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"a.{kind}"]

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
    def test_no_links_and_devices(self, kind: bytes, tmp_path: Path) -> None:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "ok"
        with pytest.raises(UsageError, match="'link', which is neither a file nor a folder"):
            of(tarred(("ok", b"1"), info), "a.tar.gz", tmp_path)()
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as file:
            entry = zipfile.ZipInfo("link")
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(entry, "/etc/passwd")
        with pytest.raises(UsageError, match="'link', which is neither a file nor a folder"):
            of(stream.getvalue(), "a.zip", tmp_path)()
        assert not (tmp_path / "to" / "ok").exists()

    def test_a_bomb_is_stopped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(unpack, "SPARE", 1 << 20)
        with pytest.raises(UsageError, match="unpacks to over 30 times its size"):
            of(gzip.compress(bytes(8 << 20)), "a.h5.gz", tmp_path)()
        inner = gzip.compress(tarred(("zeros", bytes(8 << 20)), mode="w"))
        with pytest.raises(UsageError, match="unpacks to over 30 times its size"):
            of(zipped(**{"f__inner.tar.gz": inner}), "a.zip", tmp_path)()
        monkeypatch.setattr(unpack, "MEMBERS", 2)
        with pytest.raises(UsageError, match="holds more than 2 files"):
            of(zipped(a=b"", b=b"", c=b""), "b.zip", tmp_path)()
        assert not list((tmp_path / "to").iterdir())

    @pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar", "a.h5.gz"])
    def test_damaged_archives_leave_nothing(self, name: str, tmp_path: Path) -> None:
        whole = {
            "a.zip": zipped(f__1=b"one" * 99, f__2=b"two" * 99),
            "a.tar.gz": tarred(("f/1", b"one" * 99), ("f/2", bytes(range(256)) * 99)),
            "a.tar": tarred(("f/1", b"one" * 99), ("f/2", b"two" * 9999), mode="w"),
            "a.h5.gz": gzip.compress(bytes(range(256)) * 99),
        }[name]
        for content in (b"noise" * 50, whole[: len(whole) // 2], whole[:-400] if name == "a.zip" else whole[:20]):
            with pytest.raises(UsageError, match=r"is damaged or no such archive|cannot be unpacked"):
                of(content, name, tmp_path)()
            assert not [path for path in (tmp_path / "to").rglob("*") if path.is_file()]

    def test_rar_says_what_it_needs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "rarfile", None)
        with pytest.raises(UsageError, match=r"needs rarfile, and a program such as unrar .* or unpack it yourself"):
            of(b"Rar!", "NWPU-RESISC45.rar", tmp_path)()

    def test_other_files_are_no_archives(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is no archive that can be unpacked"):
            of(b"", "a.iso", tmp_path)()

    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(unpack, "MARGIN", 1 << 60)
        with pytest.raises(UsageError, match=r"the disk of .* is full"):
            of(zipped(a=b"1"), "a.zip", tmp_path)()


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """`data("prepare", "SVHN")` -> exit code, output, and what was said on standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", "300")
        result = CliRunner().invoke(app, ["data", *words])
        if isinstance(result.exception, UsageError):
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


def published(monkeypatch: pytest.MonkeyPatch, *files: Download) -> None:
    """Pets' files are these."""
    sets = {"Pets": ImageSet(name="Pets", downloads=files)}
    monkeypatch.setattr(task_words, "image_sets", lambda: sets)


class TestVerb:
    @pytest.fixture
    def pets(self, server: Server, vtab1k, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, know_tasks) -> Path:
        """A task whose data is on the server; returns the empty data folder."""
        row = replace(tasks()["Pets"], splits={"train": 4, "val": 4, "test": 4}, majority=50.0)
        know_tasks([row])
        made = vtab1k("oxford_iiit_pet")
        files = {str(path.relative_to(made)): path.read_bytes() for path in made.rglob("*") if path.is_file()}
        archive = server.file("pets.tar.gz", tarred(*files.items()), into="")
        published(monkeypatch, archive)
        return tmp_path / "elsewhere"

    def test_downloads_unpacks_and_verifies(self, data, pets: Path) -> None:
        code, said, told = data("prepare", "Pets", f"data={pets}")
        assert code == 0, said
        assert "test: 4 images" in said and "verified" in said
        assert "downloading http://127.0.0.1" in told and "unpacking" in told
        code, said, told = data("prepare", "Pets", f"data={pets}")
        assert code == 0 and "downloading" not in told

    def test_everything_a_plan_needs(self, data, pets: Path) -> None:
        code, said, _ = data("prepare", "suite=fewshot", "task=Pets", "model=ViT-mini", f"data={pets}")
        assert code == 0, said
        assert "Pets, from source vtab-1k" in said

    def test_a_failure_is_said_and_exits_with_1(self, data, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (gone,) = task_words.image_sets()["Pets"].downloads
        published(monkeypatch, replace(gone, url=f"{gone.url}x"))
        monkeypatch.setattr(transfer, "PAUSE", 0.0)
        code, said, _ = data("prepare", "Pets", f"data={pets}")
        assert code == 1
        assert "FAILED Pets: http://127.0.0.1" in said and "404" in said

    def test_no_room_is_said_before_anything_is_fetched(self, data, pets: Path, server, monkeypatch) -> None:
        (file,) = task_words.image_sets()["Pets"].downloads
        published(monkeypatch, replace(file, size=1 << 60))
        with pytest.raises(
            UsageError, match=r"downloading and unpacking takes .* GiB, and .* has .* free\. Type data="
        ):
            data("prepare", "Pets", f"data={pets}")
        assert not server.asked

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            (
                "Retinopathy",
                r"Kaggle needs an account.*{root}/diabetic_retinopathy/train/10_left\.jpeg \(35126 files\)",
            ),
            ("Resisc45", r"Put it at {root}/NWPU-RESISC45\.rar and repeat this command"),
            ("Stanford Cars", r"no longer answer\..*{root}/stanford_cars/cars_test_annos_withlabels\.mat\."),
            ("Sun397", r"no longer answers.*{root}/SUN397/ClassName\.txt"),
        ],
    )
    def test_what_a_person_must_do(self, data, tmp_path: Path, name: str, said: str) -> None:
        import re

        root = tmp_path / "data"
        code, out, told = data("prepare", name, f"data={root}")
        assert code == 1
        assert re.search(said.replace("{root}", re.escape(str(root))), told)
        assert f"BY HAND {name}: see the steps above" in out

    def test_nothing_named(self, data) -> None:
        with pytest.raises(UsageError, match="say what to prepare: `data prepare Pets`"):
            data("prepare")


def test_every_task_is_downloaded_or_explained() -> None:
    for task in tasks().values():
        if task.collection in ("vtab", "transfer", "fewshot"):
            image_set = image_sets()[task.image_set]
            assert bool(image_set.downloads) != bool(image_set.by_hand), task.name
    assert all(each.by_hand for each in image_sets().values() if each.archive)
    files = [file for each in image_sets().values() for file in each.downloads]
    assert all(len(file.digest) in (0, 32, 64) for file in files)
    assert [file.file_name for file in files if not file.digest] == ["dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"]
    assert len({file.file_name for file in files}) == len(files)
    assert all(
        file.unpack == file.file_name.endswith((".zip", ".tgz", ".gz")) or "smallnorb" in file.url for file in files
    )


def test_addresses_and_digests_are_those_of_torchvision() -> None:
    from torchvision.datasets import CIFAR10, CIFAR100, DTD, SVHN, CLEVRClassification, Kitti

    urls = {file.url for each in image_sets().values() for file in each.downloads}
    for made in (CIFAR10, CIFAR100):
        (file,) = image_sets()["CIFAR-10" if made is CIFAR10 else "CIFAR-100"].downloads
        assert (file.url, file.digest) == (made.url, made.tgz_md5)
    assert {DTD._URL, CLEVRClassification._URL, *(SVHN.split_list[name][0] for name in ("train", "test"))} <= urls
    assert {f"{Kitti.data_url}{name}" for name in Kitti.resources} <= urls
    assert f"{Kitti.data_url}devkit_object.zip" in urls


def test_the_meter_says_sizes(server: Server, tmp_path: Path) -> None:
    stream = io.StringIO()
    meter = Meter(Console(file=stream, width=300))
    data_prepare.fetch(server.file("a.mat", b"x" * 3000, unpack=False), tmp_path, meter)
    assert "(2.9 KiB)" in stream.getvalue()
