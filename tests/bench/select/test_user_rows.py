"""Tasks that a command brings: folder:PATH and include=DIR, from the word to the record and the clusters."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import vit_bench
from PIL import Image
from vit_bench.bench import config
from vit_bench.bench.fingerprint import source_sha
from vit_bench.bench.plan import make_plan
from vit_bench.registry import UsageError
from vit_bench.results.tables import make

WORDS = ("suite=fewshot", "model=ViT-mini", "shots=1", "seed=0")

OWN = """
from pathlib import Path

import numpy as np
from vit_bench.suites.protocol import Split, Task
from vit_bench.suites.images.digest import digest_images


def stripes(annotation):
    return annotation % 2


class Stripes:
    name = "stripes"

    def locate(self, task, root):
        return "made here" if task.image_set == "stripes" else None

    def load(self, task, split, root, cache):
        size = task.splits[split]
        images = np.zeros((size, 8, 8, 3), np.uint8)
        labels = np.array([task.rule(i) for i in range(size)])
        images[labels == 1, ::2] = 255
        clusters = np.array([f"film {i // 3}" for i in range(size)])
        return Split(images=images, labels=labels, digest=digest_images(images), clusters=clusters)


SOURCE = Stripes()
TASKS = [
    Task(
        name="stripes", collection="mine", group="mine", image_set="stripes", target="class", num_classes=2,
        splits={"train": 6, "val": 2, "test": 9}, label="striped or not", rule=stripes, cluster="film",
    )
]
"""


def plan(*words: str):
    return make_plan(config.read(list(words)))


def fill(folder: Path, ending: str = ".png") -> None:
    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            level = i + (200 if name == "light" else 0)
            Image.new("RGB", (9, 6), (level, level, i)).save(folder / name / f"{i}{ending}")


def test_a_folder_is_measured_like_any_task(tmp_path: Path) -> None:
    fill(tmp_path / "mine")
    words = (*WORDS, "task=folder:mine", "out=r")
    frame = vit_bench.run(*words)
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    assert (set(frame["task"]), set(frame["source"]), set(frame["group"])) == ({"folder:mine"}, {"folder"}, {"folder"})
    assert (frame["n_test"] == 8).all()
    assert frame.loc[frame["metric"] == "majority_rate", "value"].tolist() == [50.0]
    assert plan(*words).states == ("done",)
    identity = plan(*words).jobs[0].identity["task"]
    assert identity["recipe"]["test"] == "20 % of each class, seed 0"
    assert plan(*words, "division_seed=1").states == ("to do",)
    (tmp_path / "mine" / "dark" / "3.png").unlink()
    assert plan(*words).states == ("to do",)
    json.dumps(plan(*words).jobs[0].identity)


def test_an_image_changed_in_place_makes_the_number_stale_and_another_time_does_not(tmp_path: Path) -> None:
    fill(tmp_path / "mine", ".bmp")
    words = (*WORDS, "task=folder:./mine/", "out=r")
    first = vit_bench.run(*words)
    assert set(first["task"]) == {"folder:mine"}
    other, words = (*words[:-1], "out=r2"), (*WORDS, "task=folder:mine", "out=r")
    assert (plan(*words).states, plan(*other).states) == (("done",), ("reuse",))
    for path in (tmp_path / "mine" / "light").iterdir():
        os.utime(path, (1, 1))  # as a copy has it
    assert (plan(*words).states, plan(*other).states) == (("done",), ("reuse",))
    dark, light = (tmp_path / "mine" / name / "3.bmp" for name in ("dark", "light"))
    stat = dark.stat()
    shutil.copy(light, dark)
    os.utime(dark, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.utime(light, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert dark.stat().st_size == stat.st_size
    assert (plan(*words).states, plan(*other).states) == (("stale",), ("to do",))
    again = vit_bench.run(*words)
    assert (again["split_sha"] != first["split_sha"]).all()
    assert plan(*words).states == ("done",)


def test_what_trains_nothing_scores_all_images_and_its_table_says_what_was_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "mine")
    (tmp_path / "mine" / "dark" / "notes.txt").write_text("")
    words = ("suite=internals", "model=ViT-mini", "task=folder:mine")
    assert [job.task.splits for job in plan(*words).jobs] == [{"test": 40}]
    (tmp_path / "mine").rename(tmp_path / "test")
    (tmp_path / "mine").mkdir()
    (tmp_path / "test").rename(tmp_path / "mine" / "test")
    assert [job.task.splits for job in plan(*words).jobs] == [{"test": 40}]
    with pytest.raises(UsageError, match=r"mine has no folder train: only what trains nothing, such as suite=classify"):
        plan(*WORDS, "task=folder:mine")
    (tmp_path / "mine" / "test").rename(tmp_path / "mine" / "train")
    frame = vit_bench.run(*WORDS, "task=folder:mine", "out=r")
    (table, *_) = make("fewshot", frame)
    division = "train: the rest without val; val: 10 % of each class of train, seed 0; test: 20 % of each class, seed 0"
    assert f"folder:mine: {division}; not read as images (1): train/dark/notes.txt." in table.notes


def test_a_folder_with_the_name_of_a_task_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "digits is the task of that name; your folder digits is task=folder:digits\n"
    (tmp_path / "digits").mkdir()
    plan("suite=fewshot,vtab-mini", "model=ViT-mini", "task=digits,photos")
    assert capsys.readouterr().err.count(said) == 1
    plan(*WORDS, "task=digits", "data=.")  # a folder of data sets
    assert said not in capsys.readouterr().err


def test_the_division_is_asked_for_by_word(tmp_path: Path) -> None:
    fill(tmp_path / "mine")
    with pytest.raises(
        UsageError, match="division=800/200 needs 1000 images besides those of the test split; there are 32"
    ):
        plan(*WORDS, "task=folder:mine", "division=800/200")
    with pytest.raises(UsageError, match="division=800: Did you mean '800/200'"):
        plan(*WORDS, "task=folder:mine", "division=800")
    with pytest.raises(UsageError, match="division says how to divide a folder of images, and no task=folder:PATH is"):
        plan(*WORDS, "task=digits", "division=800/200")
    with pytest.raises(UsageError, match="gone: there is no such folder"):
        plan(*WORDS, "task=folder:gone")
    with pytest.raises(UsageError, match="suite=vtab-mini is 9 tasks, and 'folder:mine' is none of them"):
        plan("suite=vtab-mini", "task=folder:mine")


def test_a_users_tasks_and_sources_are_included(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(OWN)
    (tmp_path / "own" / "_helper.py").write_text("raise RuntimeError")
    words = (*WORDS, "task=stripes,digits", "include=own", "out=r")
    assert [job.task.name for job in plan(*words).jobs] == ["digits", "stripes"]
    frame = vit_bench.run(*words)
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    own = frame[frame["task"] == "stripes"]
    assert set(own["source"]) == {"stripes"}
    assert own.loc[own["metric"] == "top1", "value"].tolist() == [100.0]
    key = own["measurement"].iloc[0].split("/")[0]
    with np.load(tmp_path / "r" / "cells" / f"{key}.npz") as arrays:
        assert arrays["clusters"].tolist() == [f"film {i // 3}" for i in range(9)]
    digits = frame[frame["task"] == "digits"]["measurement"].iloc[0].split("/")[0]
    with np.load(tmp_path / "r" / "cells" / f"{digits}.npz") as arrays:
        assert "clusters" not in arrays
    assert set(plan(*words).states) == {"done"}
    assert plan(*WORDS, "task=mine", "include=own").jobs[0].task.name == "stripes"  # a collection, too
    (tmp_path / "own" / "mine.py").write_text(OWN.replace("annotation % 2", "(annotation + 1) % 2"))
    states = dict(zip([job.task.name for job in plan(*words).jobs], plan(*words).states, strict=True))
    assert states == {"digits": "done", "stripes": "to do"}
    again = vit_bench.run(*words)
    pd.testing.assert_frame_equal(again[again["task"] == "digits"], digits_of(frame))
    assert config.read([f"config={tmp_path / 'r' / 'config.yaml'}"]).include == (Path("own"),)


def digits_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["task"] == "digits"]


def test_a_folder_with_a_name_of_its_own_can_be_included(tmp_path: Path) -> None:
    fill(tmp_path / "images")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(
        "from pathlib import Path\nfrom vit_bench.suites.sources.folder import folder_task\n"
        f"TASK = folder_task(Path({str(tmp_path / 'images')!r}), name='lightness')\n"
    )
    (job,) = plan(*WORDS, "task=lightness", "include=own").jobs
    assert (job.source_name, job.task.splits["test"]) == ("folder", 8)


def test_the_files_of_a_folder_import_their_neighbours(tmp_path: Path) -> None:
    for folder, name in (("own", "stripes"), ("other", "spots")):
        (tmp_path / folder / "lib").mkdir(parents=True)
        (tmp_path / folder / "mine.py").write_text(
            "from _helper import TASKS, Stripes\nSOURCE = Stripes()\nimport lib.unused\n"
        )
        (tmp_path / folder / "_helper.py").write_text(
            OWN.replace("SOURCE = ", "").replace("stripes", name).replace("Stripes()", "") + f"WHOSE = '{folder}'\n"
        )
        (tmp_path / folder / "lib" / "unused.py").write_text("")
    (job,) = plan(*WORDS, "task=stripes", "include=own,other").jobs
    (second,) = plan(*WORDS, "task=spots", "include=own,other").jobs
    assert (job.source_name, second.source_name) == ("stripes", "spots")
    assert str(tmp_path / "own") not in sys.path
    thing, rule = type(job.source), job.task.rule
    assert rule is not None
    digests = [source_sha(thing), source_sha(rule)]
    for changed in ("_helper.py", "mine.py", "lib/unused.py"):  # the source is made in mine.py, its class in the helper
        with (tmp_path / "own" / changed).open("a") as file:
            file.write("# changed\n")
        now = [source_sha(thing), source_sha(rule)]
        assert all(new != old for new, old in zip(now, digests, strict=True)), changed
        digests = now
    (tmp_path / "own" / "unrelated.py").write_text("")
    (tmp_path / "other" / "_helper.py").write_text("")
    assert digests == [source_sha(thing), source_sha(rule)]
    with pytest.raises(UsageError, match=r"_helper.py' has changed since it was imported; start Python again"):
        plan(*WORDS, "task=stripes", "include=own")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "include=own: there is no such folder"),
        (
            "x = 1",
            "include=own: its Python files hold no Task, source, suite, table or figure. Make one at",
        ),
        (
            "import nowhere_at_all",
            r"mine\.py cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all' \(mine.py, line 1\)",
        ),
        (OWN.replace('collection="mine"', 'collection="vtab"'), "belongs to the collection 'vtab', which is complete"),
        (
            OWN.replace('name="stripes"', 'name="pets"'),
            "two tasks are called 'pets': Pets and pets. Name yours differently",
        ),
    ],
)
def test_what_cannot_be_included_says_why(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=message):
        plan(*WORDS, "task=digits", "include=own")


def test_what_is_missing_of_a_data_set_is_said(tmp_path: Path) -> None:
    (tmp_path / "data" / "oxford-iiit-pet" / "annotations").mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        plan(*WORDS, "task=Pets", "data=data")
    assert "no data for Pets in data. Pets: source torchvision: " in str(caught.value)
    assert "trainval.txt is missing. Type data=DIR" in str(caught.value)
    with pytest.raises(
        UsageError, match=r"no data for CIFAR-10 in data\. Type data=DIR or set BENCH_DATA to the folder"
    ):
        plan(*WORDS, "task=CIFAR-10", "data=data")


def test_another_size_that_goes_round_is_accepted_and_said(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    sizes = 'splits={"train": 6, "val": 2, "test": 9}'
    for also, status in (('"test": 9', "ok"), ('"test": 10', "failed")):
        text = OWN.replace(sizes, 'splits={"train": 6, "val": 2, "test": 8}, other_sizes={' + also + "}")
        text = text.replace("size = task.splits[split]", 'size = 9 if split == "test" else task.splits[split]')
        (tmp_path / "own" / "mine.py").write_text(text)
        frame = vit_bench.run(*WORDS, "task=stripes", "include=own", f"out={status}")
        assert set(frame["status"]) == {status}
        if status == "ok":
            assert set(frame["n_test"]) == {9}
        else:
            assert "the test split holds 9 images; its definition says 8" in frame["error"].iloc[0]
