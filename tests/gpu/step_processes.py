"""Launched processes: torchrun with NCCL, and sharded training, whose weights must be those of one plain process.

On one GPU these are worlds of one process, which still set up NCCL and shard, gather and save; on a CPU torchrun starts
two. The way from the first weights to the last is the scale: a gradient that is lost, doubled or halved moves the
result by a third of it or more, rounding by far less than APART.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from jpeg_files import make_files
from rows import Row, judged, needs_cuda, write
from safetensors.torch import load_file, save_file
from step_finetuning import apart, kept
from vit_bench.bench.environment import pick_device
from vit_bench.models import create_model

APART = 0.01
SETTINGS = ["model=ViT-mini", "suite.image_size=32", "suite.batch=16", "suite.micro_batch=8", "suite.steps=6"]
SETTINGS += ["suite.seed=0", "suite.recipe=vit", "suite.lr=0.01", "suite.clip_norm=none", "suite.save=weights"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1"]
SHARDED = [*ACCELERATE, "--mixed_precision", "no", "--dynamo_backend", "no", "--use_fsdp", "--fsdp_version", "2"]


def launch(launcher: list[str], scratch: Path, name: str) -> subprocess.Popen[bytes]:
    """Start a small run with a launcher."""
    out = scratch / name / "run"  # not beside another: a run takes over what it finds finished there
    words = ["suite=finetune", *SETTINGS, f"task=folder:{scratch / 'small'}", f"out={out}"]
    words += [f"weights={scratch / 'start.safetensors'}", f"device={os.environ.get('DEVICE') or 'auto'}"]
    return subprocess.Popen([*launcher, "-m", "vit_bench", "run", *words])


def main() -> None:
    cuda = pick_device(os.environ.get("DEVICE") or "auto").type == "cuda"
    scratch = Path(os.environ.get("SCRATCH") or ".").resolve()
    make_files(scratch / "small", 80, classes=4, sizes=((64, 48),))
    start: Any = create_model("ViT-mini", num_classes=4, image_size=32)
    save_file(start.state_dict(), scratch / "start.safetensors")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1" if cuda else "2"]
    launchers = {
        "plain": [sys.executable],
        "torchrun, NCCL, 1 process" if cuda else "torchrun, gloo, 2 processes": torchrun,
    }
    if cuda:
        launchers["FSDP, 1 process"] = SHARDED
    else:
        needs_cuda("NCCL; FSDP")
    runs = {name: launch(launcher, scratch, str(i)) for i, (name, launcher) in enumerate(launchers.items())}
    codes = {name: run.wait() for name, run in runs.items()}
    weights = {name: kept(scratch / str(i) / "run") for i, name in enumerate(launchers) if not codes[name]}
    first = load_file(scratch / "start.safetensors")
    plain = weights.pop("plain")
    way = apart({name: tensor for name, tensor in first.items() if name in plain}, plain)
    write(Row(what="from the first weights to the last", value=way, unit="of length"))
    for name, found in weights.items():
        write(judged(f"{name}: apart, of that way", apart(plain, found) / way, at_most=APART, must=True))
    for name, code in codes.items():
        if code:
            write(Row(what=name, met=False, must=True, note=f"exit code {code}"))


if __name__ == "__main__":
    main()
