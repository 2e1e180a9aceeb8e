"""examples/own, run outside the tree as its README says."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vit_bench
from vit_bench.bench import config
from vit_bench.bench.plan import make_plan
from vit_bench.registry import UsageError

OWN = Path(vit_bench.__file__).parent / "examples" / "own"


def test_a_users_rows_take_forty_lines() -> None:
    lines = [line for path in OWN.glob("*.py") for line in path.read_text(encoding="utf-8").splitlines()]
    assert 0 < len([line for line in lines if line.strip()]) <= 40


@pytest.mark.slow
def test_a_users_model_task_suite_and_table_do_what_the_readme_says(tmp_path: Path) -> None:
    folder = shutil.copytree(OWN, tmp_path / "mine")
    commands = [line.split() for line in (OWN / "README.md").read_text().splitlines() if line.startswith("    python ")]
    told = []
    for command in commands:
        done = subprocess.run([sys.executable, *command[1:]], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
        told.append(done.stdout)
    assert len(told) == 6
    assert "The class whose mean feature is" in told[0]
    assert "2 jobs, 2 to run" in told[1]
    assert "model.py:Thumbnail" in told[2]
    assert "Nearest class mean" in told[4]
    assert "Nearest class mean" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_users_suite_counts_in_the_key_and_names_that_are_taken_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(OWN, tmp_path / "mine")
    monkeypatch.chdir(folder)
    words = ["suite=nearest-mean", "include=.", "model=ViT-mini"]
    (before,) = make_plan(config.read(words)).jobs
    assert "suites.protocol" in before.modules
    suite = folder / "suite.py"
    suite.write_text(suite.read_text().replace("argmin", "argmax"))
    (after,) = make_plan(config.read(words)).jobs
    assert (after.slot, after.identity) == (before.slot, before.identity)
    assert after.key != before.key
    suite.write_text(suite.read_text().replace('"nearest-mean"', '"vtab"'))
    with pytest.raises(UsageError, match=r"include=\.: two suites are called 'vtab': vtab and vtab\. Name yours"):
        make_plan(config.read(words))
