"""Features on disk: whole shards or none, damage that is noticed, and a bound that spares what is in use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from vit_bench.registry import UsageError
from vit_bench.suites.images.feature_cache import ROWS, FeatureCache, FeatureShards, limit_bytes, remove

KEY = {"weights": "w", "treatment": {"size": [8, 8]}, "split": "s"}
ABOUT = {"model": "ViT-mini", "weights": "random", "images": "digits"}
X = np.random.default_rng(0).normal(size=(ROWS + 100, 6)).astype(np.float32)


def filled(folder: Path, key: dict = KEY, rows: int = len(X)) -> FeatureShards:
    entry = FeatureCache(folder).shards(key, rows, ABOUT)
    for number, span in enumerate(entry.spans):
        entry.put(number, X[span.start : span.stop])
    return entry


def test_shards_come_back_as_they_went_in(tmp_path: Path) -> None:
    entry = filled(tmp_path)
    assert entry.spans == [range(ROWS), range(ROWS, ROWS + 100)]
    for number, span in enumerate(entry.spans):
        np.testing.assert_array_equal(entry.get(number), X[span.start : span.stop])
    assert json.loads((entry.folder / "key.json").read_text()) == {"key": KEY, "about": ABOUT, "rows": len(X)}
    assert FeatureCache(tmp_path).shards(KEY | {"split": "t"}, len(X), ABOUT).get(0) is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone", "other"])
def test_a_damaged_shard_is_as_good_as_absent_and_the_others_stay(tmp_path: Path, damage: str) -> None:
    entry = filled(tmp_path)
    path = entry.folder / "00000.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "other":  # a sound file in the wrong place
        path.write_bytes((entry.folder / "00001.safetensors").read_bytes())
    else:
        content[-5] ^= 1
        path.write_bytes({"cut": content[:-7], "flip": content, "empty": b""}[damage])
    assert entry.get(0) is None
    assert entry.get(1) is not None
    entry.put(0, X[:ROWS])
    np.testing.assert_array_equal(entry.get(0), X[:ROWS])


def use(cache: FeatureCache, name: str, hours_ago: float) -> Path:
    entry = cache.shards(KEY | {"split": name}, 10, ABOUT)
    entry.put(0, X[:10])
    then = time.time() - 3600 * hours_ago
    os.utime(entry.folder / "key.json", (then, then))
    return entry.folder


def test_the_longest_unused_goes_first_and_never_what_this_process_uses(tmp_path: Path) -> None:
    other = FeatureCache(tmp_path)
    folders = {name: use(other, name, hours) for name, hours in (("new", 1), ("old", 9), ("mid", 5))}
    mine = FeatureCache(tmp_path)
    assert [entry.folder for entry in mine.entries()] == [folders[name] for name in ("old", "mid", "new")]
    each = mine.entries()[0].bytes
    assert mine.trim(3 * each) == []
    assert [entry.folder for entry in mine.trim(2 * each)] == [folders["old"]]
    mine.shards(KEY | {"split": "mid"}, 10, ABOUT)  # used now, so it is the newest, and in use
    assert [entry.folder for entry in mine.trim(each)] == [folders["new"]]
    assert mine.trim(0) == []
    assert folders["mid"].exists()
    assert [entry.folder for entry in other.entries()] == [folders["mid"]]


def test_a_pass_that_another_process_is_at_is_no_longest_unused(tmp_path: Path) -> None:
    theirs = FeatureCache(tmp_path)
    at = theirs.shards(KEY | {"split": "long"}, len(X), ABOUT)
    then = time.time() - 3600
    os.utime(at.folder / "key.json", (then, then))
    other = use(FeatureCache(tmp_path), "other", 0.5)
    at.put(0, X[:ROWS])  # an hour after it began
    ours = FeatureCache(tmp_path)
    (first, second) = ours.entries()
    assert [entry.folder for entry in ours.trim(second.bytes)] == [first.folder] == [other]


def test_files_of_an_older_version_are_listed_and_go_first(tmp_path: Path) -> None:
    filled(tmp_path)
    old = tmp_path / "features" / "0123456789abcdef.safetensors"
    old.write_bytes(bytes(1000))
    os.utime(old, (0, 0))
    cache = FeatureCache(tmp_path)
    first = cache.entries()[0]
    assert (first.folder, first.bytes, first.about) == (old, 1000, {})
    assert [entry.folder for entry in cache.trim(cache.entries()[1].bytes)] == [old]
    remove(first)  # twice does no harm


@pytest.mark.parametrize("text", ["", "0", "1.5"])
def test_the_bound_is_a_number_of_gigabytes(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BENCH_CACHE_GB", text)
    assert limit_bytes() == {"": 20e9, "0": 0.0, "1.5": 1.5e9}[text]


@pytest.mark.parametrize("text", ["many", "-1", "nan"])
def test_a_bound_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BENCH_CACHE_GB", text)
    with pytest.raises(UsageError, match=f"BENCH_CACHE_GB={text}: expected a number of gigabytes from 0 up"):
        limit_bytes()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from vit_bench.suites.images.feature_cache import FeatureCache

x = np.load("x.npy")
for turn in range(3000):
    if turn >= 30 and Path("seen").exists():
        break
    entry = FeatureCache(Path()).shards({"split": "s"}, len(x), {})
    for number, span in enumerate(entry.spans):
        entry.put(number, x[span.start : span.stop])
"""


def test_two_processes_that_write_the_same_features_do_no_harm(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path) for _ in range(2)]
    entry = FeatureCache(tmp_path).shards({"split": "s"}, len(X), {})
    while any(writer.poll() is None for writer in writers):
        features = entry.get(0)
        if features is not None:
            np.testing.assert_array_equal(features, X[:ROWS])
            (tmp_path / "seen").touch()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert (tmp_path / "seen").exists()
    assert entry.get(1) is not None
    assert not list(entry.folder.glob(".*.tmp"))
