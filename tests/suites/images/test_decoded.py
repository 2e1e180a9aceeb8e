"""Splits of decoded images: threads and read-ahead change nothing, small sets are kept, unreadable images are told."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from vit_bench.suites.images import decoded
from vit_bench.suites.images.decode import BadImage
from vit_bench.suites.images.decoded import BadImages, Decoded, with_digest
from vit_bench.suites.images.digest import digest_images
from vit_bench.suites.protocol import Split


def made(i: int) -> np.ndarray:
    return np.full((2, 3, 3), i % 251, np.uint8)


class Reads:
    """Counts who reads what; images of these numbers are bad."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad
        self.count: Counter[int] = Counter()
        self.lock = threading.Lock()

    def __call__(self, i: int) -> np.ndarray:
        with self.lock:
            self.count[i] += 1
        if i in self.bad:
            raise BadImage(f"file {i}", "it is torn")
        return made(i)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1500])
def test_images_come_in_order_however_they_are_asked_for(size: int) -> None:
    images = Decoded(made, size)
    values = [i % 251 for i in range(size)]
    assert len(images) == size
    assert [image[0, 0, 0] for image in images] == values
    for step in (7, 64):
        batches = [images[start : start + step] for start in range(0, size, step)]
        assert [image[0, 0, 0] for batch in batches for image in batch] == values
    assert [image[0, 0, 0] for image in images[::-1]] == values[::-1]
    assert [image[0, 0, 0] for image in images[3:40:5]] == values[3:40:5]
    if size:
        assert images[-1][0, 0, 0] == values[-1]
    with pytest.raises(IndexError):
        images[size]


def test_a_small_set_is_decoded_once_and_a_large_one_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads()
    images = Decoded(reads, 200)
    for _ in range(3):
        list(images)
    assert set(reads.count.values()) == {1}
    monkeypatch.setattr(decoded, "IN_MEMORY_IMAGES", 100)
    reads = Reads()
    images = Decoded(reads, 200)
    for _ in range(3):
        list(images)
    assert set(reads.count.values()) == {3}
    assert not images._in_memory
    monkeypatch.setattr(decoded, "IN_MEMORY_IMAGES", 1000)
    monkeypatch.setattr(decoded, "IN_MEMORY_BYTES", made(0).nbytes * 50)
    images = Decoded(Reads(), 200)
    list(images)
    assert len(images._in_memory) <= 50 + 32  # threads may pass the bound together


def test_the_batch_that_would_follow_is_decoded_ahead_and_only_that() -> None:
    reads = Reads()
    images = Decoded(reads, 5000)
    images[0:10]
    for future in images._prefetched.values():
        future.result()
    assert set(reads.count) == set(range(20))
    images[10:20]
    assert max(reads.count.values()) == 1
    images[4990:5000]
    assert not images._prefetched


def test_a_forked_process_does_not_wait_for_threads_it_does_not_have() -> None:
    images = Decoded(made, 5000)
    images[0:10]
    child = os.fork()
    if not child:
        images._process = -1 if images._process == os.getpid() else images._process
        os._exit(0 if [image[0, 0, 0] for image in images[10:20]] == list(range(10, 20)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_every_unreadable_image_is_named_at_once_and_the_rest_is_a_split(tmp_path: Path) -> None:
    labels, clusters = np.arange(100), np.array([f"c{i // 3}" for i in range(100)])
    images = Decoded(Reads(3, 70, 71, 99), 100)
    with pytest.raises(BadImages, match=r"4 of 100 images cannot be read: file 3 cannot be read as an image: it is"):
        with_digest(Split(images=images, labels=labels, digest="", clusters=clusters), ["x"], tmp_path)
    with pytest.raises(BadImages) as raised:
        with_digest(Split(images=images, labels=labels, digest="", clusters=clusters), ["x"], tmp_path)
    assert "and 1 more" not in str(raised.value)
    kept = [i for i in range(100) if i not in (3, 70, 71, 99)]
    split = raised.value.readable
    assert split.labels.tolist() == kept
    assert split.clusters is not None and split.clusters.tolist() == clusters[kept].tolist()
    assert [image[0, 0, 0] for image in split.images] == kept
    assert split.digest == digest_images([made(i) for i in kept])
    assert [str(bad).split(" cannot")[0] for bad in raised.value.bad] == ["file 3", "file 70", "file 71", "file 99"]
    assert not list(tmp_path.rglob("*.txt")), "nothing is remembered of what could not be read"


def test_a_long_list_of_them_is_cut(tmp_path: Path) -> None:
    with pytest.raises(BadImages, match=r"9 of 20 .* file 4 cannot .* torn, and 4 more\. Get them again, or type skip"):
        with_digest(Split(images=Decoded(Reads(*range(9)), 20), labels=np.zeros(20), digest=""), [], tmp_path)


def test_the_digest_is_remembered_under_what_the_images_come_from(tmp_path: Path) -> None:
    def digest(reads: Reads, *stamps: object) -> str:
        return with_digest(Split(images=Decoded(reads, 5), labels=np.zeros(5), digest=""), stamps, tmp_path).digest

    first, second, third = Reads(), Reads(), Reads()
    assert digest(first, "a", 1) == digest(second, "a", 1) == digest(third, "a", 2)
    assert (len(first.count), len(second.count), len(third.count)) == (5, 0, 5)
    for path in (tmp_path / "digests").iterdir():
        path.write_text("damaged")
    assert digest(second, "a", 1) == digest_images([made(i) for i in range(5)])
    assert len(second.count) == 5
