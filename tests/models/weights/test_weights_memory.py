"""Loading and converting stream: how much memory they take beside what they make, for every format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from vit_bench.models import catalog, create_model
from vit_bench.models.weights.convert import convert

WIDE = {"width": 512, "heads": 8, "depth": 4}
# Linux forgets the peak of a process that asks for it, so one process measures everything.
SCRIPT = """
import gc, json, sys
from pathlib import Path
import torch, numpy
from vit_bench.models import build_native, catalog, create_model
from vit_bench.models.weights.convert import convert

def status(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

def peak_of(action, *arguments):
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS:")
    action(*arguments)
    return status("VmHWM:") - before

row = catalog()["ViT-mini"].derive(**json.loads(sys.argv[1]))
create_model("ViT-mini", "small.npz")  # what only a first time allocates
convert("small.npz", Path("small.safetensors"))
convert("small.safetensors", Path("again.npz"))
create_model("ViT-mini", "small.safetensors")
print(json.dumps({
    **{name: peak_of(create_model, row, name) for name in ("w.npz", "w.pt", "w.safetensors")},
    "to safetensors": peak_of(convert, "w.npz", Path("new.safetensors")),
    "to npz": peak_of(convert, "w.safetensors", Path("new.npz")),
}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets a process reset its peak of memory")
@pytest.mark.slow
def test_peak_memory(official: ModuleType, tmp_path: Path) -> None:
    row = catalog()["ViT-mini"].derive(**WIDE)
    official.save_npz(tmp_path / "w.npz", official.official_arrays(row.architecture, tokens=17))
    official.save_npz(tmp_path / "small.npz", official.official_arrays(catalog()["ViT-mini"].architecture, tokens=17))
    torch.save(create_model(row, tmp_path / "w.npz").state_dict(), tmp_path / "w.pt")
    convert(tmp_path / "w.npz", tmp_path / "w.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(WIDE)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peaks = {name: peak / (tmp_path / "w.npz").stat().st_size for name, peak in json.loads(done.stdout).items()}
    assert (tmp_path / "w.npz").stat().st_size > 50e6
    # In sizes of the file, and the network's is the same. Allowed are the network and 1.2 times the file; an npz is not
    # mapped, and takes the largest tensor or two (8 % of the file each) beside the network.
    assert 0.9 < peaks["w.npz"] < 1.7
    assert 0.9 < peaks["w.pt"] < 2.2
    assert 0.9 < peaks["w.safetensors"] < 2.2
    assert peaks["to safetensors"] < 0.8  # some copies of one tensor, not of all
    assert peaks["to npz"] < 1.2  # the mapped file
