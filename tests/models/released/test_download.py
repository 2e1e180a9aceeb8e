"""Downloads, from a server of the test's own: resumed, checked, whole or not at all, and clear about what failed."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from rich.console import Console
from vit_bench import transfer
from vit_bench.meter import Meter, human, on_stderr
from vit_bench.models import create_model
from vit_bench.models.released import download
from vit_bench.models.released import table as releases
from vit_bench.models.released.download import fetch
from vit_bench.registry import UsageError

FILE = "vit_models/imagenet21k+imagenet2012/ViT-B_16.npz"


def archive(size: int, first: int = 0) -> bytes:
    """A zip of so many bytes and a few more."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("a.npy", bytes([first]) + bytes(i * i % 251 for i in range(size - 1)))
    return made.getvalue()


BODY = archive(300_000)


@pytest.fixture
def one() -> releases.Release:
    found = releases.find_release("ViT-B/16", "in21k-ft-in1k-384")
    assert found is not None
    assert found.file_name == FILE
    return found


@pytest.fixture
def silent() -> Meter:
    return Meter(None)


def target_of(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights" / FILE


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in target_of(tmp_path).parent.iterdir() if not path.name.startswith("."))


def test_a_file_is_fetched_once_checked_and_kept(bucket, tmp_path: Path, one, capsys) -> None:
    bucket.files[FILE] = BODY
    path = fetch(one)
    assert path == target_of(tmp_path)
    assert path.read_bytes() == BODY
    assert bucket.seen == [(FILE, "")]
    said = capsys.readouterr()
    assert said.out == ""
    assert f"downloading ViT-B/16 weights=in21k-ft-in1k-384 (331.4 MiB): {bucket.url}/{FILE} to {path}" in said.err
    assert left(tmp_path) == ["ViT-B_16.npz", "ViT-B_16.npz.sha256"]
    noted = path.with_name("ViT-B_16.npz.sha256").read_text()
    assert noted == f"{hashlib.sha256(BODY).hexdigest()}  ViT-B_16.npz\n"
    assert fetch(one) == path
    assert len(bucket.seen) == 1


def test_a_broken_connection_is_continued_where_it_ended(bucket, one, silent) -> None:
    bucket.files[FILE] = BODY
    bucket.orders = ["cut 100000", "cut 50000"]
    assert fetch(one, silent).read_bytes() == BODY
    assert [range_ for _, range_ in bucket.seen] == ["", "bytes=100000-", "bytes=150000-"]


def test_many_breaks_are_fine_as_long_as_something_comes(bucket, one, silent) -> None:
    bucket.files[FILE] = BODY
    bucket.orders = ["cut 20000"] * 12
    assert fetch(one, silent).read_bytes() == BODY
    assert len(bucket.seen) == 13


def test_another_command_goes_on_with_the_part(bucket, tmp_path: Path, one, silent) -> None:
    bucket.files[FILE] = BODY
    bucket.orders = ["cut 100000", 403]
    with pytest.raises(UsageError, match="cannot be downloaded"):
        fetch(one, silent)
    assert left(tmp_path) == ["ViT-B_16.npz.part", "ViT-B_16.npz.part.json"]
    assert fetch(one, silent).read_bytes() == BODY
    assert bucket.seen[-1] == (FILE, "bytes=100000-")


def test_a_part_that_was_whole_is_not_fetched_again(bucket, tmp_path: Path, one, silent, monkeypatch) -> None:
    bucket.files[FILE] = BODY
    monkeypatch.setattr(transfer, "_digests", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fetch(one, silent)
    monkeypatch.undo()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_WEIGHTS_URL", bucket.url)
    assert fetch(one, silent).read_bytes() == BODY
    assert len(bucket.seen) == 1


@pytest.mark.parametrize("size", [300_000, 80_000])
def test_a_file_that_changed_meanwhile_starts_again(bucket, one, silent, size: int) -> None:
    bucket.files[FILE] = BODY
    bucket.orders = ["cut 100000", 403]
    with pytest.raises(UsageError):
        fetch(one, silent)
    bucket.files[FILE] = archive(size, first=1)
    assert fetch(one, silent).read_bytes() == bucket.files[FILE]


def test_a_server_without_ranges_or_etags_starts_again(bucket, one, silent) -> None:
    bucket.files[FILE] = BODY
    bucket.orders = ["cut 100000", "no range"]
    assert fetch(one, silent).read_bytes() == BODY
    releases.cached_file(one).unlink()
    bucket.headers = {"ETag": 'W/"weak"'}
    bucket.orders = ["cut 100000"]
    bucket.seen.clear()
    assert fetch(one, silent).read_bytes() == BODY
    assert [range_ for _, range_ in bucket.seen] == ["", ""]


def test_a_busy_server_is_asked_again(bucket, one, silent) -> None:
    bucket.files[FILE] = BODY
    bucket.orders = [503, 500, 429]
    assert fetch(one, silent).read_bytes() == BODY


@pytest.mark.parametrize(
    ("orders", "requests", "reason"),
    [
        ([404], 1, "the server answers 404 Not Found"),
        ([403], 1, "the server answers 403 Forbidden"),
        ([500] * 9, 5, r"the server answers 500 Internal Server Error \(5 attempts\)"),
        (["cut 0"] * 9, 5, r"the connection broke off after 0 B of 293.1 KiB \(5 attempts\)"),
    ],
)
def test_what_cannot_be_had_is_named_with_address_and_place(
    bucket, one, silent, orders: list[int | str], requests: int, reason: str
) -> None:
    bucket.files[FILE] = BODY
    bucket.orders = orders
    address, place = re.escape(f"{bucket.url}/{FILE}"), re.escape(str(releases.cached_file(one)))
    message = rf"ViT-B/16 weights=in21k-ft-in1k-384 cannot be downloaded. Tried {address}: {reason}. "
    message += (
        rf"Get {address} on another machine and place it at {place}, or at vit_models/imagenet21k\+.* BENCH_WEIGHTS"
    )
    with pytest.raises(UsageError, match=message):
        fetch(one, silent)
    assert len(bucket.seen) == requests
    assert not releases.cached_file(one).exists()


@pytest.mark.usefixtures("bucket")
def test_no_network_names_the_users_own_folder(tmp_path: Path, one, silent, monkeypatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS_URL", "http://127.0.0.1:9/mirror/")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(
        UsageError, match=r"Tried http://127.0.0.1:9/mirror/vit_models/.*refused.* place it at "
    ) as raised:
        fetch(one, silent)
    assert str(raised.value).endswith(f"place it at {tmp_path / FILE}")


def test_a_mirror_is_an_address_or_a_folder(tmp_path: Path, one, silent, monkeypatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_OFFLINE")
    monkeypatch.setenv("BENCH_WEIGHTS_URL", "mirror")
    with pytest.raises(
        UsageError, match="BENCH_WEIGHTS_URL=mirror: an address begins with https://, http:// or file://"
    ):
        fetch(one, silent)
    place = tmp_path / "mirror" / FILE
    place.parent.mkdir(parents=True)
    place.write_bytes(BODY)
    monkeypatch.setenv("BENCH_WEIGHTS_URL", (tmp_path / "mirror").as_uri())
    assert fetch(one, silent).read_bytes() == BODY


def test_a_mirror_of_ones_own_is_looked_in_first(bucket, tmp_path: Path, one, silent, monkeypatch) -> None:
    bucket.files[FILE] = BODY
    monkeypatch.setenv("BENCH_MIRROR", str(tmp_path / "copies"))
    with pytest.raises(UsageError, match=r"BENCH_MIRROR=.*copies: there is no such folder; an address begins"):
        fetch(one, silent)
    copy = tmp_path / "copies" / FILE
    copy.parent.mkdir(parents=True)
    (tmp_path / "copies" / copy.name).write_bytes(archive(9))  # of a weights file no digest is published: path alone
    said = io.StringIO()
    assert fetch(one, Meter(Console(file=said, width=500))).read_bytes() == BODY
    assert "not in the mirror: file://" in said.getvalue()
    assert bucket.seen == [(FILE, "")]
    releases.cached_file(one).unlink()
    copy.write_bytes(BODY)
    assert fetch(one, silent).read_bytes() == BODY
    assert len(bucket.seen) == 1
    copy.write_bytes(archive(9))
    releases.cached_file(one).unlink()
    with pytest.raises(UsageError, match=r"copies/.*npz is not the file that was downloaded first"):
        fetch(one, silent)


def test_a_mirror_that_hangs_up_is_left_for_the_published_place(bucket, one, monkeypatch) -> None:
    """A mirror that breaks off five times, and one that does not honour Range."""
    bucket.files |= {FILE: BODY, f"copies/{FILE}": BODY}
    monkeypatch.setenv("BENCH_MIRROR", f"{bucket.url}/copies/")
    bucket.orders = ["cut 100000", "cut 0", "cut 0", "cut 0", "cut 0"]
    said = io.StringIO()
    assert fetch(one, Meter(Console(file=said, width=500))).read_bytes() == BODY
    assert f"not in the mirror: {bucket.url}/copies/{FILE}: the connection broke off" in said.getvalue()
    assert [path for path, _ in bucket.seen] == [f"copies/{FILE}"] * 5 + [FILE]
    bucket.seen.clear()
    releases.cached_file(one).unlink()
    bucket.orders = ["cut 100000", "no range"]
    assert fetch(one, Meter(Console(file=said, width=500))).read_bytes() == BODY
    assert bucket.seen == [(f"copies/{FILE}", ""), (f"copies/{FILE}", "bytes=100000-")]


def test_a_terminal_gets_a_bar_and_others_lines(bucket, one) -> None:
    bucket.files[FILE] = BODY
    for terminal in (True, False):
        shown = io.StringIO()
        fetch(one, Meter(Console(file=shown, force_terminal=terminal, width=120))).unlink()
        assert ("293.1/293.1 KiB" in shown.getvalue()) is terminal
        assert "downloading ViT-B/16 weights=in21k-ft-in1k-384" in shown.getvalue()


@pytest.mark.parametrize("switch", ["BENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody(bucket, one, monkeypatch, switch: str) -> None:
    bucket.files[FILE] = BODY
    monkeypatch.setenv(switch, "1")
    with pytest.raises(UsageError, match=rf"is not on this machine, and downloads are off \({switch}=1\). Get http"):
        fetch(one)
    assert bucket.seen == []
    monkeypatch.setenv(switch, "0")
    assert not transfer.switched_off()


@pytest.mark.parametrize("value", ["1", "true", "yes", "ON", "2"])
@pytest.mark.parametrize("allowing", ["", "0", "False", "no", "off"])
def test_downloads_are_off_by_one_rule(value: str, allowing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", allowing)
    assert transfer.switched_off() == ""
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert transfer.switched_off() == f"HF_HUB_OFFLINE={value}"
    monkeypatch.setenv("BENCH_OFFLINE", value)
    assert transfer.switched_off() == f"BENCH_OFFLINE={value} HF_HUB_OFFLINE={value}"


def test_tests_download_nothing_unless_they_bring_a_server() -> None:
    assert os.environ["BENCH_OFFLINE"] == "1"
    with pytest.raises(UsageError, match="downloads are off"):
        create_model("ViT-B/16", weights="in21k-ft-in1k-384")


def test_damage_is_found_and_deleted(bucket, tmp_path: Path, one, silent) -> None:
    bucket.files[FILE] = BODY
    bucket.headers = {"x-goog-hash": "crc32c=AAAA,md5=AAAAAAAAAAAAAAAAAAAAAA=="}
    right = hashlib.md5(BODY).hexdigest()
    with pytest.raises(UsageError, match=rf"is damaged: its md5 is {right}, expected 0{{32}}. Repeat the command"):
        fetch(one, silent)
    assert left(tmp_path) == []


def test_a_page_in_place_of_the_file_is_refused(bucket, tmp_path: Path, one, silent) -> None:
    bucket.files[FILE] = b"<html>please log in</html>"
    bucket.headers = {"x-goog-hash": "", "ETag": ""}
    with pytest.raises(UsageError, match=r"is no .npz file; it may be the page of a proxy. Open that address"):
        fetch(one, silent)
    assert left(tmp_path) == []


def test_what_is_fetched_again_must_be_what_came_first(bucket, tmp_path: Path, one, silent) -> None:
    bucket.files[FILE] = BODY
    fetch(one, silent).unlink()
    bucket.files[FILE] = archive(300_000, first=1)
    with pytest.raises(
        UsageError, match=r"is not the file that was downloaded first: its sha256 is .* delete ViT-B_16"
    ):
        fetch(one, silent)
    assert left(tmp_path) == ["ViT-B_16.npz.sha256"]
    bucket.files[FILE] = BODY
    assert fetch(one, silent).read_bytes() == BODY


def test_a_full_disk_is_said_before_the_first_byte(bucket, tmp_path: Path, one, silent, monkeypatch) -> None:
    bucket.files[FILE] = BODY
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1 << 20}))
    with pytest.raises(
        UsageError, match=r"ViT-B_16.npz needs 64.3 MiB more in .*, where 1.0 MiB are free. Set BENCH_CACHE"
    ):
        fetch(one, silent)
    assert target_of(tmp_path).with_name("ViT-B_16.npz.part").stat().st_size == 0


@pytest.mark.usefixtures("bucket")
def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, one, silent) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "weights").write_text("in the way")
    with pytest.raises(UsageError, match=r"cannot be written \(.*\). Set BENCH_CACHE to a folder with room"):
        fetch(one, silent)


def test_two_processes_download_it_once(bucket, tmp_path: Path) -> None:
    bucket.files[FILE] = archive(3_000_000)
    script = "import sys; from pathlib import Path; from vit_bench.transfer import transfer\n"
    script += "from vit_bench.meter import Meter; transfer(sys.argv[1], Path(sys.argv[2]), Meter(None))"
    words = [sys.executable, "-c", script, f"{bucket.url}/{FILE}", str(target_of(tmp_path))]
    workers = [subprocess.Popen(words) for _ in range(3)]
    assert [worker.wait(300) for worker in workers] == [0, 0, 0]
    assert target_of(tmp_path).read_bytes() == bucket.files[FILE]
    assert len(bucket.seen) == 1
    assert left(tmp_path) == ["ViT-B_16.npz", "ViT-B_16.npz.sha256"]


def test_a_second_process_waits_for_the_first(bucket, tmp_path: Path, monkeypatch, capsys) -> None:
    """The first ends when the second has begun to wait."""
    bucket.files[FILE] = BODY
    target = target_of(tmp_path)
    target.parent.mkdir(parents=True)
    script = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); "
    script += "sys.stdin.read()"
    words = [sys.executable, "-c", script, str(target.with_name(".ViT-B_16.npz.lock"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        meter = on_stderr()
        said = meter.say
        monkeypatch.setattr(meter, "say", lambda text: (said(text), threading.Timer(0.1, first.kill).start()))
        transfer.transfer(f"{bucket.url}/{FILE}", target, meter)
    assert "ViT-B_16.npz: another process is downloading it; waiting" in capsys.readouterr().err
    assert target.read_bytes() == BODY


# ------------------------------------------------------------------------------------------------------------- the hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bucket) -> list[tuple[str, str]]:
    """What is asked of the hub, which answers with a file; the bucket is asked as the public one is."""
    import huggingface_hub

    asked: list[tuple[str, str]] = []

    def answer(repository: str, name: str, **_: object) -> str:
        asked.append((repository, name))
        return str(tmp_path / "from_the_hub.safetensors")

    monkeypatch.delenv("BENCH_WEIGHTS_URL")
    monkeypatch.setattr(download, "BUCKETS", bucket.url)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", answer)
    return asked


def test_the_hub_stands_in_for_a_bucket_that_cannot_be_reached(hub, tmp_path: Path, silent) -> None:
    one = releases.find_release("ViT-S/16", "augreg-in21k")
    assert one is not None
    assert fetch(one, silent) == tmp_path / "from_the_hub.safetensors"
    assert hub == [("timm/vit_small_patch16_224.augreg_in21k", "model.safetensors")]


def test_the_hub_is_not_asked_for_what_it_has_changed(hub, one, silent) -> None:
    assert one.hub_timm
    with pytest.raises(UsageError, match=r"cannot be downloaded. Tried .* 404"):
        fetch(one, silent)
    assert hub == []


def test_with_a_mirror_nobody_else_is_asked(hub, bucket, silent, monkeypatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS_URL", bucket.url)
    one = releases.find_release("ViT-S/16", "augreg-in21k")
    assert one is not None
    with pytest.raises(UsageError, match="404"):
        fetch(one, silent)
    assert hub == []


@pytest.mark.usefixtures("hub")
def test_both_are_named_where_both_fail(silent, monkeypatch) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> str:
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    one = releases.find_release("ViT-S/16", "augreg-in21k")
    assert one is not None
    failed = (
        r"404 Not Found; timm/vit_small.*/model.safetensors on the hub: downloading failed: OSError: no route\. Get "
    )
    with pytest.raises(UsageError, match=failed):
        fetch(one, silent)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (391 << 20, "391.0 MiB"), (5 << 29, "2.5 GiB")]
)
def test_sizes_are_read_by_people(size: int, text: str) -> None:
    assert human(size) == text
