"""Jobs that go wrong on a worker of this machine: each is a failed record, and the others go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import vit_bench

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

ROWS = """
import os, threading
from dataclasses import dataclass, replace
from typing import ClassVar
import torch
from vit_bench.suites.protocol import Measurement, Suite
from vit_bench.suites.tasks import tasks

class Locked:
    name = "locked"

    def __init__(self):
        self.lock = threading.Lock()

    def locate(self, task, root):
        return "here" if task.name == "locked" else None

    def load(self, task, split, root, cache):
        raise AssertionError

@dataclass(frozen=True, kw_only=True)
class Process(Suite):
    name: ClassVar[str] = "process"
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini",)
    default_tasks: ClassVar[str] = "digits"

    def run(self, context):
        yield Measurement(metric="process", value=float(os.getpid()), unit="")
        context.say("these were its last words")

class Breaks(Process):
    name: ClassVar[str] = "breaks"

    def run(self, context):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

class After(Process):
    name: ClassVar[str] = "after"

class Interrupts(Process):
    name: ClassVar[str] = "interrupts"

    def run(self, context):
        with open("interrupted", "a") as file:
            file.write("x")
        raise KeyboardInterrupt

class Last(Process):
    name: ClassVar[str] = "last"

LOCKED = Locked()
TASK = replace(tasks()["digits"], name="locked", collection="own", image_set="locked")
SUITES = [Process(), Breaks(), After(), Interrupts(), Last()]
"""
NAMES = ("process", "breaks", "after", "interrupts", "last")


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "rows.py").write_text(ROWS)
    return ("include=rows", "model=ViT-mini", "workers=1", "out=r")


def test_what_breaks_a_job_breaks_no_other(tmp_path: Path, words: tuple[str, ...]) -> None:
    frame = vit_bench.run(f"suite={','.join(NAMES)}", "task=digits,locked", *words)
    found: dict[Any, Any] = {(row["suite"], row["task"]): row for row in frame.to_dict("records")}
    assert len(found) == 2 * len(NAMES)
    for suite in NAMES:
        begin = "the job cannot be sent to a worker, leave workers= and ray= out: TypeError: cannot pickle '_thread."
        assert found[suite, "locked"]["error"].startswith(begin)
    assert found["breaks", "digits"]["error"] == "AcceleratorError: CUDA error: device-side assert triggered"
    assert found["interrupts", "digits"]["error"].startswith("2 workers died in this job, the last on ")
    assert (tmp_path / "interrupted").read_text() == "xx"
    good = [found[suite, "digits"] for suite in ("process", "after", "last")]
    assert [row["status"] for row in good] == ["ok"] * 3
    assert len({row["value"] for row in good}) == 3  # processes, of which none goes on after what broke it
    log = (tmp_path / "r" / "log.txt").read_text()
    assert log.count("these were its last words") == 3
    assert log.count(", device cpu, ") == 4  # processes that were prepared: none for nothing
