"""What travels to a worker on a machine that has not the user's files: jobs come out with the same keys and numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from vit_bench.bench import config
from vit_bench.bench.engines.travel import Luggage, packed
from vit_bench.bench.job import Job
from vit_bench.bench.plan import make_plan
from vit_bench.models import create_model, given_model
from vit_bench.models.own.rows import GivenModule, OwnBuilder
from vit_bench.suites.sources.folder import FolderTask

NET = """
import torch
from parts.width import WIDTH

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, WIDTH)

    def features(self, images):
        return self.layer(images.mean(dim=(2, 3)))
"""
ROWS = """
from dataclasses import dataclass
from typing import ClassVar
from vit_bench.suites.protocol import Measurement, Suite
from beside import VALUE

@dataclass(frozen=True, kw_only=True)
class Constant(Suite):
    name: ClassVar[str] = "constant"
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini",)
    default_tasks: ClassVar[str] = "digits"

    def run(self, context):
        yield Measurement(metric="value", value=VALUE, unit="")

CONSTANT = Constant()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    for name, text in {
        "net.py": NET,
        "parts/__init__.py": "",
        "parts/width.py": "WIDTH = 7\n",
        "rows/constant.py": ROWS,
        "rows/beside.py": "VALUE = 41.0\n",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return home


def job_at(home: Path, *words: str) -> Job:
    named = (f"model={home / 'net.py'}:Net", f"include={home / 'rows'}", "out=r")
    task = [] if any(word.startswith("task=") for word in words) else ["task=digits"]
    (job,) = make_plan(config.read([*named, *task, *words])).jobs
    return job


@pytest.mark.parametrize("suite", ["fewshot", "constant"])
def test_a_job_is_the_same_where_the_users_files_are_not(home: Path, tmp_path: Path, suite: str) -> None:
    job = job_at(home, f"suite={suite}")
    luggage = Luggage.of((home / "rows",), [job])
    data = packed(job, {})
    assert {path.name for path in luggage.files} == {"net.py", "__init__.py", "width.py", "constant.py", "beside.py"}
    home.rename(tmp_path / "elsewhere")
    laid_out = luggage.unpack()
    assert laid_out.root is not None
    there: Job = laid_out.load(data, {})
    assert type(there.suite).__module__ != type(job.suite).__module__ or suite == "fewshot"
    for name in ("identity", "slot", "key"):  # what was computed before it travelled is not looked at
        vars(there).pop(name, None)
    assert (there.key, there.slot) == (job.key, job.slot)
    network = create_model(there.model, weights=there.weights)
    assert network.features(torch.zeros(1, 3, 224, 224)).shape == (1, 7)
    (file, *_) = network.source_files
    assert file.is_relative_to(laid_out.root)


def test_images_beside_code_that_was_sent_are_where_they_are(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code here is another: that of the driver is laid out elsewhere."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a folder of it would be a class without images
    for number in range(20):
        image = home / "rows" / ("a", "b")[number % 2] / f"{number}.png"
        image.parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2)).save(image)
    job = job_at(home, "suite=constant", f"task=folder:{home / 'rows'}")
    luggage = Luggage.of((home / "rows",), [job])
    data = packed(job, {})
    (home / "rows" / "beside.py").write_text("VALUE = 42.0\n")
    laid_out = luggage.unpack()
    assert laid_out.root is not None
    there: Job = laid_out.load(data, {})
    assert isinstance(there.task, FolderTask) and there.source
    assert there.task.path == home / "rows"
    assert there.source.locate(there.task, home)
    assert (laid_out.include[0] / "beside.py").read_text() == "VALUE = 41.0\n"
    assert isinstance(there.model.architecture, OwnBuilder)
    assert there.model.architecture.where.root == laid_out.folder(home)


def test_files_that_are_here_are_used_here(home: Path) -> None:
    job = job_at(home, "suite=constant")
    laid_out = Luggage.of((home / "rows",), [job]).unpack()
    assert laid_out.root is None
    assert laid_out.include == (home / "rows",)
    there: Job = laid_out.load(packed(job, {}), {})
    assert type(there.suite) is type(job.suite)


def test_a_module_from_python_is_sent_apart_and_once() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 100_000))
    (job,) = make_plan(
        config.read(["suite=fewshot", "task=digits", f"model={given_model(module).name}", "out=r"]),
        {given_model(module).name: given_model(module)},
    ).jobs
    given: dict[str, GivenModule] = {}
    data = packed(job, given)
    assert len(data) < 20_000
    ((digest, sent),) = given.items()
    there: Job = Luggage().unpack().load(data, given)
    architecture = there.model.architecture
    assert isinstance(architecture, GivenModule)
    assert architecture is sent
    assert architecture.digest == digest
