"""Fine-tuning: the feed from JPEG files beside tensors that are ready, in turn; our loop beside a plain one; the
micro-batch that is chosen beside the largest that fits; and a run that is killed and resumed beside one that is not.

Whether a resumed run ends where an unbroken one does is asked of the command. On a GPU two unbroken runs need not have
the same bits: sums of some kernels have no fixed order. So a second unbroken run says how far apart two are, and the
resumed one may be SAFETY times as far; where the two are bitwise the same, and on a CPU, it must be bitwise the same.
"""

from __future__ import annotations

import copy
import csv
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jpeg_files import make_files
from rows import TINY, Row, going_on, judged, needs_cuda, write
from torch.nn import functional as F
from vit_bench.bench.environment import keep_freed_memory, pick_device
from vit_bench.models import create_model
from vit_bench.suites.images.decode import read_image
from vit_bench.suites.images.decoded import Decoded
from vit_bench.suites.protocol import Split
from vit_bench.suites.training import micro_batch
from vit_bench.suites.training.augment import Augmentation, TrainingImages
from vit_bench.suites.training.contract import Compute, Watch
from vit_bench.suites.training.loop import train
from vit_bench.suites.training.parallel import TrainingProcesses, numerics
from vit_bench.suites.training.recipe import Recipe
from vit_bench.suites.training.step import TrainState

SAFETY = 4.0
FEED = 0.95  # of the speed with ready tensors
MODEL, SIDE, BATCH, MICRO = ("ViT-mini", 32, 8, 4) if TINY else ("ViT-B/16", 384, 512, 128)
FILES = 48 if TINY else 6144  # more than the device keeps: they are decoded again and again
STEPS, WARM_UP, ROUNDS = (5, 2, 2)
KILLED = (  # the run that is killed; micro-batches and so the order of sums are fixed
    "model=ViT-mini suite.image_size=32 suite.batch=16 suite.steps=30 suite.checkpoint_minutes=0.0005"
    if TINY
    else "model=ViT-S/16 suite.image_size=224 suite.batch=64 suite.steps=100 suite.checkpoint_minutes=0.015 "
    "suite.precision=bf16 suite.micro_batch=32"
).split()
KILLING = """
import os, signal
from vit_bench.bench import cli
from vit_bench.suites.training.checkpoint import Checkpoints

save = Checkpoints.save

def saving(self, *values):
    if list(self.folder.glob("step-*.json")):
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, *values)

Checkpoints.save = saving
cli.main()
"""
BALLAST_LEAVES = 8 << 30  # bytes of the GPU's memory that the largest micro-batch is searched in


class Ready:
    """Images that are on the device already: always the same tensor."""

    label_sets = None

    def __init__(self, labels: np.ndarray, device: torch.device) -> None:
        self.labels = labels
        self._images = torch.randn(MICRO, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, _: np.ndarray, part: np.ndarray, *__: Any) -> torch.Tensor:
        return self._images[: len(part)]

    def ahead(self, indices: np.ndarray) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {}


def recipe(steps: int, batch: int = BATCH) -> Recipe:
    return Recipe(lr=(0.003,), steps=steps, batch=batch, schedule="constant")


def speed(network: Any, data: Any, compute: Compute, curves: Path) -> float:
    """Images a second of a run, from its own curves, without the first steps."""
    train(copy.deepcopy(network), data, recipe(STEPS), seed=0, compute=compute, watch=Watch(curves=curves))
    with curves.open(encoding="utf-8", newline="") as file:
        rates = [float(row["images_per_second"]) for row in csv.DictReader(file)][WARM_UP:]
    return len(rates) / sum(1 / rate for rate in rates)


def plain_speed(network: Any, data: Ready, device: torch.device) -> float:
    """Images a second of a loop with nothing but PyTorch's own parts in it."""
    network = copy.deepcopy(network).to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.003, momentum=0.9, fused=True)
    images, labels = data.batch(np.empty(0), np.arange(MICRO)), torch.zeros(MICRO, dtype=torch.long, device=device)
    begun = time.perf_counter()
    for step in range(STEPS):
        if step == WARM_UP:
            _wait(device)
            begun = time.perf_counter()
        for _ in range(BATCH // MICRO):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                logits = network(images)
            (F.cross_entropy(logits.float(), labels, reduction="sum") / BATCH).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    _wait(device)
    return BATCH * (STEPS - WARM_UP) / (time.perf_counter() - begun)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def feed(device: torch.device, scratch: Path) -> None:
    """JPEG files, ready tensors and the plain loop, in turn."""
    paths = make_files(scratch / "files", FILES)
    labels = np.arange(FILES) % 10
    network: Any = create_model(MODEL, num_classes=10, image_size=SIDE)
    how = Augmentation(crop="bit", resize=(round(SIDE * 448 / 384),) * 2, size=(SIDE, SIDE), flip=True)
    compute = Compute(device=device, precision="bf16" if device.type == "cuda" else "fp32", micro_batch=MICRO)
    ready = Ready(labels, device)
    found: dict[str, list[float]] = {"files": [], "ready": [], "plain": []}
    for round_ in range(ROUNDS):
        split = Split(images=Decoded(lambda i: read_image(paths[i]), FILES), labels=labels, digest="files")
        with closing(TrainingImages([split], how, network.spec.input)) as files:
            found["files"].append(speed(network, files, compute, scratch / f"files{round_}.csv"))
        found["ready"].append(speed(network, ready, compute, scratch / f"ready{round_}.csv"))
        found["plain"].append(plain_speed(network, ready, device))
    what = f"{MODEL} at {SIDE} px, batch {BATCH} by {MICRO}"
    for name, values in found.items():
        write(Row(what=f"{what}: {name}", value=statistics.median(values), unit="images/s"))
    ratios = {name: [a / b for a, b in zip(found[name], found["ready"], strict=True)] for name in ("files", "plain")}
    write(judged("JPEG files / ready tensors", statistics.median(ratios["files"]), at_least=FEED))
    write(Row(what="plain loop / ours, ready tensors", value=statistics.median(ratios["plain"])))


def largest_micro_batch(device: torch.device) -> None:
    """The micro-batch that is chosen from the memory of one image, and the largest whose steps run."""
    free, _ = torch.cuda.mem_get_info(device)
    ballast = torch.empty(max(0, free - BALLAST_LEAVES), dtype=torch.uint8, device=device)
    compute = Compute(device=device, precision="bf16")
    most = 64
    data = Ready(np.zeros(most, dtype=np.int64), device)
    data._images = torch.zeros(1, 3, SIDE, SIDE, device=device).expand(most, -1, -1, -1)
    with numerics(compute):
        processes = TrainingProcesses(compute)
        network = create_model(MODEL, num_classes=10, image_size=SIDE)
        state = TrainState(network, data, recipe(9, most), seed=0, compute=compute, processes=processes)  # type: ignore[arg-type]
        chosen = micro_batch.find(state, most, 1)

        def fits(size: int) -> bool:
            torch.cuda.empty_cache()
            done = state.accumulate(0, size, lambda: False) == "done"
            if done:
                state.apply(0)
            return done

        low, high = 0, most + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
    del ballast
    write(Row(what="largest micro-batch, by real failures", value=low, unit="images", note=f"of {most} at most"))
    write(judged("micro-batch chosen, over the largest", chosen / low, at_most=1.0, must=True))
    write(judged("chosen, over the largest power of two", chosen / 2 ** (low.bit_length() - 1), at_least=0.5))


def command(scratch: Path, out: Path, *program: str) -> list[str]:
    """The command of the run that is killed."""
    words = ["suite=finetune", f"task=folder:{scratch / 'small'}", f"weights={scratch / 'start.safetensors'}", *KILLED]
    words += ["suite.recipe=vit", "suite.lr=0.003", "suite.seed=0", "suite.save=weights"]
    words += [f"out={out}", f"device={os.environ.get('DEVICE') or 'auto'}"]
    return [sys.executable, *(program or ("-m", "vit_bench")), "run", *words]


def kept(out: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    (path,) = out.glob("kept/*/*seed0.safetensors")
    return load_file(path)


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The length of the difference of all weights over their length."""
    squares = sum(float((one[name] - other[name]).double().square().sum()) for name in one)
    return (squares / sum(float(tensor.double().square().sum()) for tensor in one.values())) ** 0.5


def resumed(device: torch.device, scratch: Path) -> None:
    """A run that SIGKILL ends before its second checkpoint, and the same command again, beside unbroken runs."""
    from safetensors.torch import save_file

    make_files(scratch / "small", 80, classes=4, sizes=((64, 48),))
    start: Any = create_model(KILLED[0].removeprefix("model="), num_classes=10)
    save_file(start.state_dict(), scratch / "start.safetensors")
    # Not beside each other: a run takes over what it finds finished there.
    outs = [scratch / name / "run" for name in ("unbroken", "again", "broken")]
    if device.type != "cuda":
        outs = [outs[0], outs[2]]
    processes = {out: subprocess.Popen(command(scratch, out)) for out in outs[:-1]}
    code = subprocess.run(command(scratch, outs[-1], "-c", KILLING), check=False).returncode
    if code != -signal.SIGKILL:
        raise RuntimeError(f"the run was not killed: it ended with {code}")
    at = max(path.stem for path in outs[-1].glob("work/*/*/step-*.json"))
    subprocess.run(command(scratch, outs[-1]), check=True)
    for process in processes.values():
        if process.wait():
            raise RuntimeError(f"an unbroken run ended with exit code {process.returncode}")
    log = (outs[-1] / "log.txt").read_text(encoding="utf-8")
    went_on = "going on from the checkpoint" in log
    write(Row(what="resumed after SIGKILL", must=True, met=went_on, note=f"first checkpoint: {at}"))
    noise = apart(kept(outs[0]), kept(outs[1])) if len(outs) == 3 else 0.0
    if len(outs) == 3:
        write(Row(what="two unbroken runs apart", value=noise, unit="of length"))
    found = apart(kept(outs[0]), kept(outs[-1]))
    write(judged("resumed and unbroken apart", found, "of length", at_most=SAFETY * noise, must=True))


def main() -> None:
    device = pick_device(os.environ.get("DEVICE") or "auto")
    scratch = Path(os.environ.get("SCRATCH") or ".").resolve()
    keep_freed_memory()
    with going_on("feed"):
        feed(device, scratch)
    with going_on("resumed after SIGKILL"):
        resumed(device, scratch)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        with going_on("micro-batch"):
            largest_micro_batch(device)
    else:
        needs_cuda("largest micro-batch, by real failures")


if __name__ == "__main__":
    main()
