"""Two processes that train together: the same weights as one, and everything agreed upon.

They meet by torchrun's variables, as those of a launcher do; what they find comes back as files.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from vit_bench.suites.training.loop import train

from .toys import CPU, Noisy, Toy, recipe, state

STEPS = 5
HEAD = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, torch, torch._dynamo, accelerate
from toys import CPU, Noisy, Toy, recipe, state
from vit_bench.suites.training.contract import TrainingError, Watch
from vit_bench.suites.training.evaluate import predict
from vit_bench.suites.training.loop import train
torch.set_num_threads(1)
out, code, status = Path(sys.argv[1]), sys.stdin.read(), 0
store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # a port that is free
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
for rank in range(2):
    if not os.fork():
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        try:
            exec(code)
        except BaseException as error:
            sys.excepthook(*sys.exc_info())
            status = 1
        os._exit(status)
signal.signal(signal.SIGINT, signal.SIG_IGN)
for _ in range(2):
    status |= os.wait()[1]
sys.exit(status != 0)
"""


def start(code: str, out: Path) -> subprocess.Popen[str]:
    """One process that loads the libraries and forks into two, which is twice as quick as starting two."""
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    environment = os.environ | world | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", HEAD, str(out)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)
    assert process.stdin is not None
    process.stdin.write(code)
    process.stdin.close()
    process.stdin = None
    return process


def together(code: str, out: Path) -> None:
    process = start(code, out)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said


def test_two_processes_make_the_weights_of_one(tmp_path: Path) -> None:
    """And both scored every image once, survived a lack of memory in one of them, and stopped at a NaN in step."""
    together(
        """
for size in (1, 3, 8):
    compute = replace(CPU, micro_batch=size)
    trained = train(Toy(), Noisy(), recipe(mixup=0.4), seed=2, compute=compute)
    assert trained.processes == 2
    torch.save(state(trained.network), out / f"{rank}-{size}.pt")

def act(call):
    if rank == 1 and call == 3:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried")
compute = replace(CPU, micro_batch=4)
trained = train(Toy(), Noisy(act=act), recipe(mixup=0.4), seed=2, compute=compute)
assert trained.micro_batch == 2 and "step 3: out of memory" in trained.notes[0]
torch.save(state(trained.network), out / f"{rank}-memory.pt")

ddp = replace(CPU, micro_batch=2, parallel="ddp")
torch.save(state(train(Toy(), Noisy(), recipe(mixup=0.4), seed=2, compute=ddp).network), out / f"{rank}-ddp.pt")

class Bad(Noisy):
    def batch(self, *words):
        images = super().batch(*words)
        return images * float("nan") if rank == 1 and self._calls == 3 else images
try:
    train(Toy(), Bad(), recipe(), seed=2, compute=CPU)
except TrainingError as error:
    (out / f"{rank}-nan.txt").write_text(str(error))

from vit_bench.suites.images.transforms import Transform
images = np.random.default_rng(0).integers(0, 256, (131, 4, 4, 3), dtype=np.uint8)
shape = Transform(resize="square", size=(4, 4), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bilinear")
counts = []
np.save(out / f"{rank}-logits.npy", predict(Toy(), images, shape, compute=CPU, advance=counts.append))
assert sum(counts) == 65 + rank
np.save(out / "images.npy", images)
torch.distributed.destroy_process_group()
""",
        tmp_path,
    )
    alone = state(train(Toy(), Noisy(), recipe(mixup=0.4), seed=2, compute=CPU).network)
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

def act(call):
    while (out / "hold").exists() and list(out.glob("work/step-*20.json")):
        time.sleep(0.01)

how = recipe(steps=60, warmup=5)
data = Noisy(act=act)
told = Watch(work=out / "work", every_steps=10, say=lambda text: print(text, flush=True))
trained = train(Toy(dropout=0.2), data, how, seed=2, compute=replace(CPU, micro_batch=2), watch=told)
torch.save(state(trained.network), out / f"{rank}.pt")
(out / f"{rank}-resumed").write_text(str(trained.resumed_at))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_two_killed_processes_go_on_bitwise(tmp_path: Path, number: signal.Signals) -> None:
    """They stand still after a checkpoint until they are killed."""
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    for folder in (broken, whole):
        folder.mkdir()
    together(SLOW, whole)
    (broken / "hold").touch()
    process = start(SLOW, broken)
    while not list(broken.glob("work/step-*20.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, number)
    (broken / "hold").unlink()  # SIGINT is obeyed when the step ends
    said, _ = process.communicate(timeout=600)
    assert process.returncode != 0, said
    together(SLOW, broken)
    assert int((broken / "1-resumed").read_text()) >= 20
    for rank in (0, 1):
        one, other = (torch.load(folder / f"{rank}.pt") for folder in (broken, whole))
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_runs_on_gpus_share_one_group_for_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group has connections of its own, and a job trains and predicts many times."""
    from types import SimpleNamespace

    from vit_bench.suites.training import parallel

    made: list[object] = []
    accelerator = SimpleNamespace(process_index=0, num_processes=2, distributed_type="DistributedType.MULTI_GPU")
    monkeypatch.setattr(parallel, "_accelerator", lambda _: accelerator)
    monkeypatch.setattr(parallel.distributed, "get_backend", lambda: "nccl")
    monkeypatch.setattr(parallel.distributed, "new_group", lambda **_: made.append(object()) or made[-1])
    monkeypatch.setattr(parallel.distributed, "group", SimpleNamespace(WORLD=object()))
    groups = {parallel.TrainingProcesses(CPU)._cpu_group for _ in range(3)}
    assert groups == set(made)
    assert len(made) == 1
