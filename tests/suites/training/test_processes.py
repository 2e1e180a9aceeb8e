"""Two processes that train together: the same weights as one, and everything agreed upon.

Each test starts both by torchrun's variables, as a launcher does; what they find comes back as files.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from vit_bench.suites.training import train

from .toys import CPU, Noisy, Toy, recipe, state

STEPS = 5
HEAD = """
import os, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, torch
from toys import CPU, Noisy, Toy, recipe, state
from vit_bench.suites.training import TrainingError, Watch, predict, train
torch.set_num_threads(1)
out, rank = Path(sys.argv[1]), int(os.environ["RANK"])
"""


def start(code: str, out: Path, processes: int = 2) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": str(processes)}
        environment = os.environ | own | where | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
        command = [sys.executable, "-c", HEAD + code, str(out)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(command, env=environment, **pipes))
    return started


def together(code: str, out: Path) -> None:
    processes = start(code, out)
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)


def test_two_processes_make_the_weights_of_one(tmp_path: Path) -> None:
    """And both scored every image once, survived a lack of memory in one of them, and stopped at a NaN in step."""
    together(
        """
for size in (1, 3, 8):
    place = replace(CPU, micro_batch=size)
    trained = train(Toy(), Noisy(), recipe(mixup=0.4), seed=2, place=place)
    assert trained.processes == 2
    torch.save(state(trained.network), out / f"{rank}-{size}.pt")

def act(call):
    if rank == 1 and call == 3:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried")
place = replace(CPU, micro_batch=4)
trained = train(Toy(), Noisy(act=act), recipe(mixup=0.4), seed=2, place=place)
assert trained.micro_batch == 2 and "step 3: out of memory" in trained.notes[0]
torch.save(state(trained.network), out / f"{rank}-memory.pt")

ddp = replace(CPU, micro_batch=2, parallel="ddp")
torch.save(state(train(Toy(), Noisy(), recipe(mixup=0.4), seed=2, place=ddp).network), out / f"{rank}-ddp.pt")

class Bad(Noisy):
    def batch(self, *words):
        images = super().batch(*words)
        return images * float("nan") if rank == 1 and self._calls == 3 else images
try:
    train(Toy(), Bad(), recipe(), seed=2, place=CPU)
except TrainingError as error:
    (out / f"{rank}-nan.txt").write_text(str(error))

from vit_bench.suites.transforms import Transform
images = np.random.default_rng(0).integers(0, 256, (131, 4, 4, 3), dtype=np.uint8)
shape = Transform(resize="square", size=(4, 4), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bilinear")
counts = []
np.save(out / f"{rank}-logits.npy", predict(Toy(), images, shape, place=CPU, advance=counts.append))
assert sum(counts) == 65 + rank
np.save(out / "images.npy", images)
torch.distributed.destroy_process_group()
""",
        tmp_path,
    )
    alone = state(train(Toy(), Noisy(), recipe(mixup=0.4), seed=2, place=CPU).network)
    for which in ("1", "3", "8", "memory", "ddp"):
        mine, theirs = (torch.load(tmp_path / f"{rank}-{which}.pt") for rank in (0, 1))
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
        torch.testing.assert_close(mine, alone, rtol=1e-4, atol=1e-5)
    for rank in (0, 1):
        assert "step 3 of 5: the loss is nan" in (tmp_path / f"{rank}-nan.txt").read_text()
    logits = [np.load(tmp_path / f"{rank}-logits.npy") for rank in (0, 1)]
    np.testing.assert_array_equal(*logits)
    pixels = torch.from_numpy(np.load(tmp_path / "images.npy")).permute(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(logits[0], Toy()(pixels).detach().numpy(), rtol=1e-4, atol=1e-5)


SLOW = """
import time
how = recipe(steps=60, warmup=5)
data = Noisy(act=lambda call: time.sleep(0.05))
told = Watch(work=out / "work", every_steps=10, say=lambda text: print(text, flush=True))
(out / f"{rank}-begun").touch()
trained = train(Toy(dropout=0.2), data, how, seed=2, place=replace(CPU, micro_batch=2), watch=told)
torch.save(state(trained.network), out / f"{rank}.pt")
(out / f"{rank}-resumed").write_text(str(trained.resumed_at))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_two_killed_processes_go_on_bitwise(tmp_path: Path, number: signal.Signals) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    for folder in (broken, whole):
        folder.mkdir()
    together(SLOW, whole)
    processes = start(SLOW, broken)
    while not list(broken.glob("work/step-*20.json")):
        time.sleep(0.05)
    for process in processes:
        process.send_signal(number)
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert all(process.returncode != 0 for process in processes), said
    together(SLOW, broken)
    assert int((broken / "1-resumed").read_text()) >= 20
    for rank in (0, 1):
        one, other = (torch.load(folder / f"{rank}.pt") for folder in (broken, whole))
        torch.testing.assert_close(one, other, rtol=0, atol=0)
