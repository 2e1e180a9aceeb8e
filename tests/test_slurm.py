"""examples/slurm, run as SLURM would, with stand-ins for its commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vit_bench

SLURM = Path(vit_bench.__file__).parent / "examples" / "slurm"
STAND_INS = {
    "srun": 'echo "srun $*" >> told\nexec "$@"',
    "scontrol": 'echo "scontrol $*" >> told\n[ "$1" = requeue ] || printf "node1\\nnode2\\n"',
    "ray": 'echo "ray $*" >> told\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"',
    "python": '[ -z "$CODE" ] || exit "$CODE"\nexec {python} "$@"',
}
WORDS = ("suite=fewshot", "model=ViT-mini", "model.width=32", "task=digits", "weights=random:0,random:1", "out=r")


def run(folder: Path, script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for name, text in STAND_INS.items():
        (tools / name).write_text("#!/bin/bash\n" + text.replace("{python}", shlex.quote(sys.executable)) + "\n")
        (tools / name).chmod(0o755)
    known = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "1", **environment}
    command = ["bash", str(SLURM / script), *words]
    return subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", ["array.sh", "ray.sh"])
def test_the_scripts_are_sound(script: str) -> None:
    assert subprocess.run(["bash", "-n", str(SLURM / script)], check=False).returncode == 0
    if checker := shutil.which("shellcheck"):
        assert subprocess.run([checker, str(SLURM / script)], check=False).returncode == 0
    text = (SLURM / script).read_text()
    assert {"--signal=TERM@120", "--requeue", "--open-mode=append"} <= set(re.findall(r"^#SBATCH (\S+)", text, re.M))


def test_the_array_has_as_many_parts_as_the_script_says() -> None:
    text = (SLURM / "array.sh").read_text()
    assert re.findall(r"--array=1-(\d+)\n|^parts=(\d+) ", text, re.M) == [("16", ""), ("", "16")]


@pytest.mark.parametrize(("code", "requeued"), [("143", True), ("130", False), ("1", False)])
def test_what_sigterm_ended_is_queued_again(tmp_path: Path, code: str, requeued: bool) -> None:
    part = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "3", "CODE": code}
    assert run(tmp_path, "array.sh", *WORDS, **part).returncode == int(code)
    told = (tmp_path / "told").read_text().splitlines()
    assert told[0] == f"srun python -m bench run {' '.join(WORDS)} shard=3/16"
    assert told[1:] == (["scontrol requeue 77_3"] if requeued else [])


def test_ray_starts_on_all_nodes_and_the_command_on_the_first(tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": "78", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "CODE": "143"}
    assert run(tmp_path, "ray.sh", *WORDS, **job).returncode == 143
    start = "ray symmetric-run --address node1:6379 --min-nodes 2 --num-cpus 1"
    command = f"{start} -- python -m bench run {' '.join(WORDS)} engine=ray ray=auto"
    told = (tmp_path / "told").read_text().splitlines()
    assert told == ["scontrol show hostnames node[1-2]", f"srun {command}", command, "scontrol requeue 78"]


@pytest.mark.slow
def test_the_parts_of_an_array_are_all_jobs(tmp_path: Path) -> None:
    for part in range(1, 4):  # the third has no job
        done = run(tmp_path, "array.sh", *WORDS, SLURM_ARRAY_JOB_ID="77", SLURM_ARRAY_TASK_ID=str(part))
        assert done.returncode == 0, done.stderr
        assert f"Shard {part}/16: {int(part < 3)} of 2 jobs." in done.stderr
    assert sorted(set(vit_bench.load(tmp_path / "r" / "results.csv")["weights"])) == ["random", "random:1"]
