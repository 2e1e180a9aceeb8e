"""Adding is one place: a task on known images is one file, a new image set another, in the house and in include=DIR."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import vit_bench
from PIL import Image
from typer.testing import CliRunner
from vit_bench.bench import config
from vit_bench.bench.cli import app
from vit_bench.bench.plan import make_plan
from vit_bench.suites import sources, tasks
from vit_bench.suites.sources import sets

WORDS = ("suite=fewshot", "model=ViT-mini", "shots=1", "seed=0", "image_size=32", "data=data")

# A task on images that are known: EuroSAT, with another question.
BUILT = """
from {protocol} import Task

WATER = Task(
    name="water", collection="mine", group="mine", image_set="EuroSAT", target="class", num_classes=2,
    splits={{"train": 8, "val": 4, "test": 8}}, label="a river or a lake", classes=("River", "SeaLake"),
    published_splits={{"train": 20}}, recipe={{"train": "train[:8]", "val": "train[8:12]", "test": "train[12:]"}},
)
"""

# A new image set, and a task on it.
BOARDS = """
from pathlib import Path

from {sets}.formats import ClassFolders
from {sets}.image_set import Download, ImageSet

BOARDS = ImageSet(
    name="boards",
    downloads=(Download(url={url!r}, size={size}, into="boards"),),
    raw=ClassFolders(folders=("boards",)),
    note="Every board is drawn.",
)
"""
GAME = """
from {protocol} import Task

GAME = Task(
    name="game", collection="mine", group="mine", image_set="boards", target="class", num_classes=2,
    splits={{"train": 8, "val": 4, "test": 8}}, label="the game, alphabetical", majority=75.0,
    published_splits={{"train": 20}}, recipe={{"train": "train[:8]", "val": "train[8:12]", "test": "train[12:]"}},
)
"""


def picture(level: int, number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), level + number, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(params=["a user's folder", "the house"])
def add(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """`add(task, image_set)` writes a file of each, in a user's folder or in the package, and gives the words."""
    here = request.param == "the house"

    def write(task: str, image_set: str = "", **facts: object) -> tuple[str, ...]:
        names = {"protocol": "vit_bench.suites.protocol", "sets": "vit_bench.suites.sources"}
        rooms = {"added_task.py": (tasks, task), "added_set.py": (sets, image_set)}
        for name, (room, text) in rooms.items():
            folder = tmp_path / ("own" if not here else room.__name__)
            folder.mkdir(exist_ok=True)
            if text:
                (folder / name).write_text(text.format(**names, **facts), encoding="utf-8")
            if here:
                monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
        forget()
        return () if here else ("include=own",)

    def forget() -> None:
        tasks.tasks.cache_clear()
        sets.image_sets.cache_clear()

    yield write
    monkeypatch.undo()
    forget()
    for name in [name for name in sys.modules if name.endswith((".added_task", ".added_set"))]:
        del sys.modules[name]


def said_by(*words: str) -> str:
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 0, (result.output, result.exception)
    return " ".join(result.output.split())


def is_measured(task: str, source: str, included: tuple[str, ...]) -> None:
    """The task is listed, planned, run, in a table and in a report."""
    words = (*WORDS, f"task={task}", *included)
    assert f"{task} {source} 8/4/8 complete" in said_by("data", "list", task, "data=data", *included)
    (job,) = make_plan(config.read(words)).jobs
    assert (job.source_name, job.identity["task"]["images"]) == (source, job.task.image_set)
    frame = vit_bench.run(*words, "out=runs/r")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    assert (set(frame["task"]), set(frame["source"])) == ({task}, {source})
    assert task in said_by("table", "fewshot", "runs/r")
    said_by("report", "runs/r", "out=r.html")
    assert f"task={task}" in Path("r.html").read_text(encoding="utf-8")


def test_a_task_on_known_images_is_one_file(add, tmp_path: Path) -> None:
    for level, name in ((20, "River"), (200, "SeaLake")):
        for number in range(10):
            path = tmp_path / "data" / "eurosat" / "2750" / name / f"{name}_{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(level, number))
    is_measured("water", "torchvision", add(BUILT))


def test_an_image_set_is_one_file_and_its_task_another(add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_OFFLINE")
    with zipfile.ZipFile(tmp_path / "boards.zip", "w") as archive:
        for level, name in ((20, "chess"), (200, "go")):
            for number in range(10):
                archive.writestr(f"{name}/{name}_{number}.jpg", picture(level, number))
    file = tmp_path / "boards.zip"
    included = add(GAME, BOARDS, url=file.as_uri(), size=file.stat().st_size)
    said = said_by("data", "prepare", "game", "data=data", *included)
    assert "note: Every board is drawn." in said
    assert "test: 8 images" in said and "verified" in said
    is_measured("game", "raw", included)


def test_two_image_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(
        "from vit_bench.suites.sources.image_set import ImageSet\nSETS = [ImageSet(name='DTD')]\n"
    )
    with pytest.raises(ValueError, match=r"include=own: two image sets are called 'DTD'.*Name yours differently"):
        make_plan(config.read([*WORDS, "task=digits", "include=own"]))
    assert sources.sources()
