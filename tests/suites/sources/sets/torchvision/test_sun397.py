"""SUN397's members: which of the published names are in which split, and names that are not the published ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from vit_bench.suites.sources.as_published import AsPublished
from vit_bench.suites.sources.sets import sun397
from vit_bench.suites.tasks import tasks

SOURCE = AsPublished("torchvision")
Patch = pytest.MonkeyPatch


def test_sun397_members_are_counted_and_only_of_the_published_names() -> None:
    counts = np.bincount(sun397.split_numbers())
    assert dict(zip(sun397.SPLITS, counts.tolist(), strict=True)) == dict(tasks()["Sun397"].published_splits)
    with pytest.raises(
        ValueError, match=r"the 2 images are not the 108753 of SUN397 by name.*Unpack SUN397\.tar\.gz again"
    ):
        sun397.names_of_split(["/a/abbey/sun_a.jpg", "/a/abbey/sun_b.jpg", sun397.IGNORED], "train")


def test_sun397_members_are_cut_by_digit(monkeypatch: Patch) -> None:
    names = [f"/a/abbey/sun_{i}.jpg" for i in "abcdefg"]
    monkeypatch.setattr(sun397, "NAMES_DIGEST", hashlib.sha256("\n".join(names).encode()).hexdigest())
    monkeypatch.setattr(sun397, "split_numbers", lambda: np.array([0, 1, 2, 0, 0, 2, 1], dtype=np.uint8))
    assert sun397.names_of_split(names[::-1], "train") == [names[0], names[3], names[4]]
    assert sun397.names_of_split([*names, sun397.IGNORED], "validation") == [names[1], names[6]]


def test_sun397_lists_of_another_set_are_refused(tmp_path: Path, make) -> None:
    made = make("Sun397", tmp_path)
    (tmp_path / "SUN397" / "ClassName.txt").write_text("/a/abbey\n")
    with pytest.raises(ValueError, match=r"ClassName\.txt does not list the class of /c/church/"):
        SOURCE.load(made.task, "train", tmp_path, tmp_path / "cache")


@pytest.mark.realdata
def test_sun397_members_are_those_of_the_published_lists() -> None:
    """With tensorflow-datasets installed: the three lists, the published digests, 309 and 325 classes."""
    from importlib.util import find_spec

    from vit_bench.suites.sources.splits import vtab_split

    spec = find_spec("tensorflow_datasets")
    if spec is None or spec.origin is None:
        pytest.skip("the lists are in tensorflow-datasets: pip install -e '.[tfds]'")
    folder = Path(spec.origin).parent / "image_classification"
    lists = {split: (folder / name).read_text().split() for split, name in sun397.LISTS.items()}
    names = [name for part in lists.values() for name in part]
    assert {split: sun397.names_of_split(names, split) for split in lists} == {
        s: sorted(part) for s, part in lists.items()
    }
    train, val = ([key for _, key in vtab_split(tasks()["Sun397"], split, lists)] for split in ("train", "val"))
    vectors = json.loads((Path(__file__).parents[4] / "data" / "split_vectors.json").read_text())["sun397"]
    digests = [hashlib.sha256("\n".join(part).encode()).hexdigest()[:16] for part in (train, val)]
    assert digests == [vectors["sha256_16_train800"], vectors["sha256_16_val200"]]
    classes = [{key.rpartition("/")[0] for key in part} for part in (train, train + val)]
    assert [len(part) for part in classes] == [309, 325]
