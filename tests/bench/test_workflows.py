"""The hosted workflows: linted, and every command of the weekly one run against a mirror in the real layouts.

The mirror has the buckets' names with the real models' keys and random numbers, and the published archives with their
real inner layouts, few images in each. It is a server that breaks off and does not always honour Range.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from typer.testing import CliRunner
from vit_bench.bench.cli import app
from vit_bench.bench.verify.replays import chosen, needs_of
from vit_bench.models import Hybrid, catalog
from vit_bench.models.released.table import Release
from vit_bench.suites.heads.classes import tasks_of
from vit_bench.suites.sources.sets import image_sets
from vit_bench.suites.tasks import tasks

CLONE = Path(__file__).parents[2]
WORKFLOWS = CLONE / ".github" / "workflows"
SETS = ("Pets", "DTD", "Flowers102", "CIFAR-100")
FULL = {  # tasks of the weekly list that the makers of small sets do not make: their published splits and recipes
    "Oxford-IIIT Pets": ({"train": 8, "test": 4}, {"train": "train[:6]", "val": "train[6:]", "test": "test"}),
    "DTD-full": (
        {"train": 4, "validation": 4, "test": 4},
        {"train": "train[:3]", "val": "train[3:]", "test": "test"},
    ),
    "Oxford Flowers-102": (
        {"train": 4, "validation": 3, "test": 5},
        {"train": "train[:3]", "val": "train[3:]", "test": "test"},
    ),
}


def steps(name: str) -> list[dict[str, Any]]:
    """The steps of every job of a workflow."""
    jobs = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_workflows_are_what_the_host_takes() -> None:
    checker = shutil.which("check-jsonschema")
    if checker is None:
        pytest.skip("needs check-jsonschema: pip install check-jsonschema")
    words = [checker, "--builtin-schema", "vendor.github-workflows", *map(str, sorted(WORKFLOWS.glob("*.yml")))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_and_what_is_run_is_there() -> None:
    names = {path.name for path in WORKFLOWS.glob("*.yml")}
    assert names == {"real.yml", "release.yml"}
    for step in (step for name in names for step in steps(name)):
        if "uses" in step:
            assert len(step["uses"].partition("@")[2]) == 40, step
    assert any(step.get("run") == ".ci/run" for step in steps("release.yml"))
    assert (CLONE / ".ci" / "run").is_file()


def module_at(path: Path, name: str) -> ModuleType:
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def weights_of(release: Release, folder: Path) -> bytes:
    """A file with the keys and shapes of a release and random numbers; its head is of as few classes as will do."""
    official = module_at(CLONE / "tests" / "models" / "official_files.py", "official_files")
    architecture = catalog()[release.model].architecture
    classes = next((task.num_classes for task in tasks_of(release.head)), 10)
    side = release.resolution or 224
    rows, columns = architecture.grid((side, side)) or (0, 0)
    arrays = official.official_arrays(architecture, rows * columns + 1, classes)
    if isinstance(architecture, Hybrid):
        arrays = official.wide_norms(arrays)
    return official.save_npz(folder / "file.npz", arrays).read_bytes()


@pytest.fixture
def copies(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, know_tasks: Callable[..., None]) -> Any:
    """The server, with all that the weekly list needs."""
    archives = module_at(CLONE / "tests" / "suites" / "sources" / "sets" / "test_archives.py", "test_archives")
    makers, made = archives.makers("torchvision"), tmp_path / "made"
    made.mkdir()
    small = {}
    for name in SETS:
        row = makers.MAKE[name](made, monkeypatch).task
        small[row.name] = row
        files = []
        for file in image_sets()[name].downloads:
            if file.unpack:
                body = archives.archive_of(file.file_name, archives.LAYOUTS[name][file.file_name], made)
            else:
                body = (made / file.into / file.file_name).read_bytes()
            bucket.files[f"copies/{unquote(urlsplit(file.url).path).lstrip('/')}"] = body
            files.append(replace(file, size=len(body), digest=hashlib.sha256(body).hexdigest()))
        monkeypatch.setitem(image_sets(), name, replace(image_sets()[name], downloads=tuple(files)))
    for name, (originals, recipe) in FULL.items():
        small[name] = makers.small(name, recipe, **originals)
    know_tasks([small.get(row.name, row) for row in tasks().values()])
    for release in {release: None for row in chosen(["weekly"]) for release in needs_of(row).releases}:
        bucket.files[f"copies/{release.file_name}"] = weights_of(release, tmp_path)
    monkeypatch.setenv("BENCH_MIRROR", f"{bucket.url}/copies")
    monkeypatch.setenv("BENCH_WEIGHTS_URL", "http://127.0.0.1:9")
    return bucket


@pytest.mark.slow
def test_every_command_of_the_weekly_workflow(copies: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies.orders = ["cut 5000", "cut 3000", "no range", 503, "cut 100000", "cut 10"]
    page = tmp_path / "page.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    codes = {}
    for step in (step for step in steps("real.yml") if "run" in step):
        for line in step["run"].strip().splitlines():
            if line.startswith("python -m bench "):
                done = CliRunner().invoke(app, shlex.split(line)[3:])
                assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
                codes[step["name"]] = done.exit_code
            elif line.startswith("python -m pip install -e '.["):
                assert "report" in line  # the page needs it
            elif not line.startswith("python -m pip install "):
                subprocess.run(["bash", "-ec", line], cwd=tmp_path, check=True)
    assert codes == {"What there is to do": 0, "Replay": 1}  # random numbers do not score what was published
    with Path("runs/real/real.csv").open(encoding="utf-8", newline="") as file:
        verdicts = {row["replay"]: row["verdict"] for row in csv.DictReader(file)}
    assert list(verdicts) == [row.name for row in chosen(["weekly"])]
    for row in chosen(["weekly"]):
        assert verdicts[row.name] == ("differs" if row.published else "measured"), row.name
    assert "| hybrid-pets-224 |" in " ".join(page.read_text(encoding="utf-8").split())
    assert {path.stem for path in Path("runs/real/deviations").iterdir()} == {"hybrid-pets-224", "hybrid-pets-384"}
    artefact = next(step["with"]["path"] for step in steps("real.yml") if "upload-artifact" in step.get("uses", ""))
    assert all(Path(path).exists() for path in artefact.split())
    assert [range_ for _, range_ in copies.seen if range_], "a broken transfer was not gone on with"
    before = len(copies.seen)
    CliRunner().invoke(app, ["verify", "real", "weekly", "out=runs/real"])
    assert len(copies.seen) == before, "what was fetched was fetched again"
