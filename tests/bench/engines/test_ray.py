"""Two workers of Ray on this machine: the same records as in this process, and nothing left running."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import vit_bench
from torch import nn

OWN = """
import os, time
from pathlib import Path
import torch
from neighbour import WIDTH

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, WIDTH)

    def features(self, images):
        meet()
        return self.layer(images.mean(dim=(2, 3)))

class Broken(Net):
    def features(self, images):
        meet()
        raise ValueError("it is broken")

def meet():  # where a folder asks for it, until two processes are here
    here = Path("meeting")
    deadline = time.monotonic() + 120
    if here.is_dir():
        (here / str(os.getpid())).touch()
        while len(list(here.iterdir())) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
"""
TASK = """
from vit_bench.suites.sources.folder import folder_task
from pathlib import Path

SQUARES = folder_task(Path("squares"), name="squares")
"""


def children() -> set[int]:
    """The processes that this one started, directly or not, and those of Ray that nobody else started."""
    found, todo = set[int](), [os.getpid()]
    while todo:
        for path in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            started = {int(word) for word in path.read_text().split()} - found
            found |= started
            todo += started
    return found


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """Fails where a test leaves a process of Ray's, or another handler of SIGTERM."""
    before, handler = children(), signal.getsignal(signal.SIGTERM)
    yield
    gc.collect()
    assert signal.getsignal(signal.SIGTERM) == handler
    left = {process: Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ") for process in children() - before}
    assert not {process: words for process, words in left.items() if "ray" in words}


def squares(folder: Path) -> None:
    from PIL import Image

    for number in range(24):
        path = folder / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 128, (8, 8, 3)) + 100 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.mark.usefixtures("nothing_is_left", "one_thread")
def test_two_workers_give_the_records_of_this_process(tmp_path: Path, check_same: Callable[[Path, Path], None]) -> None:
    """Models of a file and from Python, one of which fails; a task of the user's, and one of ours."""
    squares(tmp_path / "squares")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "tasks.py").write_text(TASK)
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "neighbour.py").write_text("WIDTH = 16\n")
    given = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    nn.init.constant_(given[0].weight, 0.01)
    words = ("suite=fewshot", "task=digits,squares", "include=rows", "shots=1", "seed=0", "image_size=16")
    models = ["mine.py:Net", "mine.py:Broken", given]

    vit_bench.run(*words, model=models, out="apart/r")
    (tmp_path / "meeting").mkdir()
    frame = vit_bench.run(*words, model=models, out="r", workers=2)
    check_same(tmp_path / "r", tmp_path / "apart" / "r")
    assert list(frame["status"]).count("failed") == 2
    assert frame["error"][frame["status"] == "failed"].str.contains("ValueError: it is broken").all()
    assert set(frame["env.threads"]) == {"1"}
    processes = {path.name for path in (tmp_path / "meeting").iterdir()}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes
    log = (tmp_path / "r" / "log.txt").read_text()
    assert all(f"process {process}, device cpu" in log for process in processes)
    assert f"torch {torch.__version__}, threads 1, processor" in log
    assert "fewshot mine.py:Net own digits on worker " in log
    assert not sys.modules["ray"].is_initialized()


SCRIPT = """
import torch, vit_bench
from beside import Layer

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = Layer(3, 5)

    def features(self, images):
        return self.layer(images.mean(dim=(2, 3)))

words = {"suite": "fewshot", "task": "digits", "shots": 1, "seed": 0, "image_size": 16}
net = Net()
one, two = (vit_bench.run(**words, model=net, **more) for more in ({"out": "a/r"}, {"out": "r", "workers": 1}))
print(set(one["status"]), one["value"].tolist() == two["value"].tolist())
"""


@pytest.mark.slow
def test_code_of_a_script_travels(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("import torch\n\nclass Layer(torch.nn.Linear):\n    pass\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    script = [sys.executable, "-W", "error", "script.py"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.endswith("{'ok'} True\n"), done.stdout + done.stderr
