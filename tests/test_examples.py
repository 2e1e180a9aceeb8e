"""examples/own, run outside the tree as its README says."""

from __future__ import annotations

import json
import os
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


NOTEBOOKS = sorted((OWN.parent / "notebooks").glob("*.ipynb"))
SHOWN = {  # what the outputs of a notebook say, among else
    "first_steps": (
        "<caption>fewshot: top-1 accuracy",
        "which model of 2 may be the best",
        "Verdicts on A",
        "a report of",
    ),
    "your_own_model": ("narrow", "which model of 3 may be the best", "torch.Size([2, 128])"),
}


def test_notebooks_are_kept_without_outputs() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(SHOWN)
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if "outputs" in cell)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_results(path: Path, tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    book = nbformat.read(path, as_version=4)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernels = tmp_path / "kernels" / "kernels" / "here"
    kernels.mkdir(parents=True)
    kernel = {"argv": command, "display_name": "here", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(kernel))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(tmp_path / "kernels"))
        client = nbclient.NotebookClient(
            book, timeout=300, kernel_name="here", resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.output_type == "display_data"]  # each result shows itself once
    said = "".join(str(output.get("data", output.get("text"))) for output in outputs)
    for text in SHOWN[path.stem]:
        assert text in said
    if keep := os.environ.get("KEEP_NOTEBOOKS"):  # to look at
        nbformat.write(book, Path(keep) / path.name)
