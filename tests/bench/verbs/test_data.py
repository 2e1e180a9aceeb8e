"""`data list` and `data verify`: what is here, whether it is what was published, and exit code 1 where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner
from vit_bench.bench.cli import app
from vit_bench.bench.verbs.data import verify
from vit_bench.registry import UsageError
from vit_bench.suites.sources.sets import image_sets
from vit_bench.suites.sources.vtab1k import Vtab1k
from vit_bench.suites.tasks import tasks


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """`data("verify", "SVHN")` -> exit code and output, on one line a line."""

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setenv("COLUMNS", "300")
        result = CliRunner().invoke(app, ["data", *words])
        if isinstance(result.exception, UsageError):
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout

    return call


@pytest.fixture
def rows(know_tasks):
    """The rows of some tasks, with few images; what the verbs know is these."""
    small = {"train": 4, "val": 4, "test": 4}
    names = ("SVHN", "Clevr-Count", "Pets")
    made = [replace(tasks()[name], splits=small, majority=50.0) for name in names]
    know_tasks(made)
    return {row.name: row for row in made}


@pytest.mark.usefixtures("rows")
def test_list_says_what_is_here_and_what_is_not(data, vtab1k) -> None:
    root = vtab1k("svhn")
    code, said = data("list", f"data={root}")
    assert code == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in said.splitlines() if line.strip()}
    assert lines["SVHN"] == f"SVHN vtab-1k 4/4/4 complete {root}/vtab-1k/svhn"
    assert lines["Pets"] == "Pets 4/4/4 not here"
    assert f"Looked in {root}; data=DIR or BENCH_DATA change that" in said
    assert "Pets" not in data("list", "SVHN", f"data={root}")[1]
    assert "not here" in data("list", "SVHN", f"data={root}", "source=raw")[1]
    listed = data("list", "Pets,SVHN", "data=nowhere")[1]  # with commas, as task= is typed
    assert "Looked in nowhere, which does not exist; " in listed
    assert [line.split()[0] for line in listed.splitlines() if "not here" in line] == ["Pets", "SVHN"]


@pytest.mark.usefixtures("rows")
def test_verify_counts_and_notes_what_is_sound(data, vtab1k) -> None:
    root = vtab1k("svhn")
    code, said = data("verify", "svhn", f"data={root}")
    assert code == 0
    assert f"SVHN, from source vtab-1k in {root}/vtab-1k/svhn" in said
    assert "images a class 2 2 0 0 0 0 0 0 0 0; largest class 50.00 %" in said
    assert "note: The folder's images were re-encoded as JPEG" in said
    assert said.rstrip().endswith("verified")
    assert "complete, verified 20" in data("list", "SVHN", f"data={root}")[1]


@pytest.mark.usefixtures("rows")
def test_verify_names_unreadable_images_and_exits_with_1(data, vtab1k) -> None:
    root = vtab1k("svhn")
    for name in ("000001.jpg", "000003.jpg"):
        (root / "vtab-1k" / "svhn" / "images" / "test" / name).write_bytes(b"torn")
    code, said = data("verify", "SVHN", f"data={root}")
    assert code == 1
    for name in ("000001.jpg", "000003.jpg"):
        assert f"UNREADABLE {root}/vtab-1k/svhn/images/test/{name} cannot be read as an image: it is none of" in said
    assert "DEVIATION test: 2 images cannot be read" in said
    assert "DEVIATION test: 2 images; expected 4" in said
    assert "deviations from what was published." in said
    assert "verified" not in said
    assert "verified" not in data("list", "SVHN", f"data={root}")[1].replace("data verify", "")


@pytest.mark.usefixtures("rows")
def test_verify_of_what_is_not_here(data, tmp_path: Path) -> None:
    code, said = data("verify", "Pets", f"data={tmp_path}")
    assert code == 1
    assert f"Pets: NOT HERE. Looked in {tmp_path}; `data prepare Pets` says how to get it" in said


class TestDeviations:
    def found(self, task, root: Path) -> list[str]:
        return verify(task, Vtab1k(), root).deviations

    def test_none(self, rows, vtab1k) -> None:
        assert self.found(rows["SVHN"], vtab1k("svhn")) == []

    def test_sizes(self, rows, vtab1k) -> None:
        root = vtab1k("svhn", images=5)
        assert "val: 5 images; expected 4" in self.found(rows["SVHN"], root)

    def test_labels(self, rows, vtab1k) -> None:
        root = vtab1k("svhn", num_classes=4)
        assert (
            self.found(replace(rows["SVHN"], num_classes=3), root)[0]
            == "train: labels run from 0 to 3; expected 0 to 2"
        )

    def test_majority(self, rows, vtab1k) -> None:
        root = vtab1k("svhn")
        assert self.found(replace(rows["SVHN"], majority=49.0), root) == [
            "test: the largest class has 50.00 %; published are 49.0 %"
        ]

    def test_published_histogram(self, rows, vtab1k) -> None:
        root = vtab1k("clevr_count")
        assert self.found(rows["Clevr-Count"], root) == [
            "test: images a class are 2 2 0 0 0 0 0 0; published are 1898 1925 1843 1852 1808 1941 1877 1856"
        ]
        assert self.found(replace(rows["Clevr-Count"], histogram=(2, 2, 0, 0, 0, 0, 0, 0)), root) == []

    def test_classes_that_occur(self, rows, vtab1k) -> None:
        row = replace(rows["SVHN"], present={"val": 3})
        assert self.found(row, vtab1k("svhn")) == ["val: 2 classes occur; published are 3"]

    def test_splits_that_share_their_images(self, rows, vtab1k) -> None:
        root = vtab1k("svhn")
        for split in ("val200", "test"):
            for i in range(4):
                Image.new("RGB", (8, 8), (i, i, i)).save(root / f"vtab-1k/svhn/images/{split}/{i:06d}.jpg")
        assert self.found(rows["SVHN"], root) == ["two splits hold the same images"]

    def test_a_list_that_cannot_be_read(self, rows, vtab1k) -> None:
        root = vtab1k("svhn")
        (root / "vtab-1k/svhn/val200.txt").write_text("nothing of the kind\n")
        (said,) = self.found(rows["SVHN"], root)
        assert said.startswith("val: ") and "val200.txt, line 1: expected" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["verify"], r"say which tasks: `data verify Pets`"),
        (["verify", "Petz"], r"there is no task 'Petz'. Did you mean 'pets'"),
        (["list", "shots=5"], r"`data` has no setting 'shots'. .*data, source, include"),
        (["list", "source=disk"], r"there is no source 'disk'"),
    ],
)
@pytest.mark.usefixtures("rows")
def test_mistakes_name_what_to_type_instead(data, words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        data(*words)


def test_what_is_known_is_of_tasks_that_there_are() -> None:
    rows = tasks()
    counted = [row for row in rows.values() if row.histogram]
    assert [row.name for row in counted] == ["Clevr-Count", "Clevr-Dist"]
    for row in counted:
        assert sum(row.histogram) == row.splits["test"]
        assert len(row.histogram) == row.num_classes
        assert 100 * max(row.histogram) / sum(row.histogram) == pytest.approx(row.majority, abs=0.006)
    assert all(set(row.present) <= set(row.splits) for row in rows.values())
    assert sum(len(row.present) for row in rows.values()) == 4
    assert set(image_sets()) <= {row.image_set for row in rows.values()}
