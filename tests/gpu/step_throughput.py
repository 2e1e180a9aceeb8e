"""Speed: the throughput suite's own command for the row with the highest goal; our networks beside timm's, both
in one process and in turn; and the largest batch that the suite finds, beside the one that a plain loop finds.

A part is a process of its own (`pair_in_turn.py`, or the command), so that one that fails or dies stops no other.
step_compile.py starts the same processes before, all at once and untimed: then what they compile is on disk here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rows import TINY, Row, going_on, judged, left, needs_cuda, write

HERE = Path(__file__).parent
LARGEST_SHARE = 60.0  # percent of the matmul rate: ViT-L/16, bfloat16, compiled
BALLAST_LEAVES = 5 << 29  # bytes of the GPU's memory that the search for the largest batch is left with
WARM = ["suite.min_seconds=0", "suite.max_seconds=0.01", "suite.warm_up_seconds=0", "suite.ceilings=false"]
COMMAND = ["config=bench/gpu_throughput.yaml", "suite.against=timm", "suite.budget=none"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Our network of a row and timm's, in turn."""

    model: str
    mode: str
    compiled: tuple[bool, ...] = (False, True)
    side: int = 224
    batch: int = 128
    seconds: float  # that it takes, about, where nothing needs compiling any more

    def words(self) -> list[str]:
        ways = ",".join("compiled" if way else "eager" for way in self.compiled)
        return [self.model, self.mode, ways, str(self.side), str(self.batch)]


if TINY:
    FIRST = [*COMMAND, "model=ViT-Ti/16", "suite.image_size=32", "suite.batch_size=2"]
    FIRST += ["suite.compile=false", "suite.compile_at=32", "suite.against_at=32", "suite.precision=fp32"]
    FIRST += ["suite.min_seconds=0", "suite.max_seconds=0.3", "suite.warm_up_seconds=0"]
    COMPILE = ["suite=throughput", "model=ViT-mini", "suite.image_size=32", "suite.batch_size=2", "suite.compile=true"]
    COMPILE += ["suite.scenario=offline"]
    PAIRS = (Pair(model="ViT-Ti/16", mode="train", compiled=(False,), side=32, batch=2, seconds=5),)
    SEARCHED, SIDE, MOST, PRECISION = "ViT-mini", 32, 4, "fp32"
else:
    FIRST = [*COMMAND, "model=ViT-L/16", "suite.image_size=224", "suite.batch_size=128", "suite.compile=true"]
    COMPILE = FIRST
    PAIRS = (
        Pair(model="ViT-B/16", mode="inference", seconds=20),
        Pair(model="BiT-R50x1", mode="inference", seconds=20),
        Pair(model="R50+ViT-B/16", mode="inference", seconds=25),
        Pair(model="ViT-B/16", mode="train", batch=32, seconds=30),
        Pair(model="BiT-R50x1", mode="train", batch=32, seconds=30),
        Pair(model="ViT-L/16", mode="inference", compiled=(False,), seconds=15),
        Pair(model="ViT-L/16", mode="train", batch=32, seconds=45),
        Pair(model="R50+ViT-B/16", mode="train", batch=32, seconds=45),
    )
    SEARCHED, SIDE, MOST, PRECISION = "ViT-B/16", 224, 4096, "bf16"


def command(words: list[str], out: Path) -> list[str]:
    device = f"device={os.environ.get('DEVICE') or 'auto'}"
    return [sys.executable, "-m", "vit_bench", "run", *words, device, f"out={out}"]


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available() and not (os.environ.get("DEVICE") or "").startswith("cpu")


def records(out: Path) -> Any:
    """The records of a run directory, as a DataFrame."""
    import vit_bench

    return vit_bench.load(str(out))


def first(out: Path) -> None:
    """The command's rows."""
    done = subprocess.run(command(FIRST, out), check=False)
    frame = records(out)  # also of a run of which a part failed
    name = FIRST[3].removeprefix("model=") + ("" if TINY else " inference compiled")
    for line in frame.to_dict("records"):
        value, metric, unit = line["value"], line["metric"], line["unit"]
        if value != value:  # NaN: the row has an error in place of a number
            write(Row(what=f"{name}: {metric}", met=False, must=True, note=str(line["error"])))
        elif metric == "share_of_matmul_rate":
            write(judged(f"{name}: {metric}", value, unit, at_least=LARGEST_SHARE))
        elif metric == "speed_ratio":
            write(
                replace(
                    judged(f"{name}: timm's time / ours", value, "x", at_least=1.0), note=str(line["verdict"] or "")
                )
            )
        elif metric == "images_per_second":
            write(Row(what=f"{name}: {metric}", value=value, unit=unit, note=str(line["verdict"] or "")))
        elif metric in ("share_of_products", "energy_per_image", "mean_power", "first_pass"):
            write(Row(what=f"{name}: {metric}", value=value, unit=unit))
        elif metric in ("matmul_rate", "memory_bandwidth", "achieved_flops"):
            write(Row(what=f"{name}: {metric}", value=value / 1e12, unit="T" + unit))
    if not has_cuda():
        needs_cuda("energy and power by NVML")
    elif "energy_per_image" not in set(frame["metric"]):
        write(Row(what="energy and power by NVML", note="no reading"))
    done.check_returncode()


def search(out: Path) -> None:
    """The suite's exact largest batch and a plain loop's, beside a tensor that leaves a few GiB to both."""
    words = ["suite=throughput", f"model={SEARCHED}", f"suite.image_size={SIDE}", "suite.batch_size=1"]
    words += ["suite.scenario=offline", "suite.find=exact", f"suite.batch_limit={MOST}", *WARM]
    words += [f"suite.precision={PRECISION}"]
    ballast = None
    if has_cuda():
        import torch

        device = torch.device(os.environ.get("DEVICE") or "cuda")
        free, _ = torch.cuda.mem_get_info(device)
        ballast = torch.empty(max(0, free - BALLAST_LEAVES), dtype=torch.uint8, device=device)
    subprocess.run(command(words, out), check=True)
    frame = records(out)
    found = float(frame.loc[frame["metric"] == "largest_batch_exact", "value"].iloc[0])
    plain = [sys.executable, str(HERE / "plain_largest_batch.py"), SEARCHED, str(SIDE), str(MOST), PRECISION]
    told = subprocess.run(plain, check=True, stdout=subprocess.PIPE, text=True).stdout
    truth = float(told.splitlines()[-1])
    del ballast
    what = f"{SEARCHED}: largest batch, by a plain loop's"
    write(Row(what=what, value=truth, unit="images", note=f"of {MOST} at most"))
    write(judged("by the suite's search, over it, at least", found / truth, at_least=0.95, must=not TINY))
    write(judged("by the suite's search, over it, at most", found / truth, at_most=1.05, must=not TINY))


def main() -> None:
    scratch = Path(os.environ.get("SCRATCH") or ".")
    parts: list[tuple[str, float, Any]] = [("the command", 35.0, lambda: first(scratch / "first"))]
    for pair in PAIRS:
        process = [sys.executable, str(HERE / "pair_in_turn.py"), *pair.words()]
        parts.append((f"{pair.model} {pair.mode}", pair.seconds, partial(subprocess.run, process, check=True)))
    parts.insert(4, ("largest batch", 30.0, lambda: search(scratch / "search")))
    for name, seconds, part in parts:
        if left() < (3.0 if TINY else seconds):
            write(Row(what=name, note="not reached; repeat with STEPS=throughput, compiled programs are kept"))
            continue
        with going_on(name):
            part()


if __name__ == "__main__":
    main()
