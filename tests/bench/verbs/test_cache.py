"""The feature cache of whole runs: resumed, mended, keyed, bounded, listed, cleared; several processes as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import vit_bench
from vit_bench.bench.cli import main
from vit_bench.bench.distributed import process_group
from vit_bench.results.store import load

RUN = ("suite=fewshot", "task=digits", "shots=1,5", "seed=0")
COUNTING = """
from pathlib import Path
import torch
from torch import nn

class Net(nn.Module):
    input = {"size": (16, 16)}

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def features(self, images):
        images = self.scale * images
        if images.std() > 0:  # not the probe of zeros
            seen = int(Path("seen").read_text()) if Path("seen").exists() else 0
            if Path("stop").exists() and seen + len(images) > 700:
                raise RuntimeError("the machine died")
            Path("seen").write_text(str(seen + len(images)))
        return images.flatten(1)
"""


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`typed("cache", "list")`: the command line in this process; exit code, output and errors."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *words])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as raised:
            main()
        return (int(raised.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own that shares the session's rendered images."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "images").symlink_to(Path(os.environ["BENCH_CACHE"]) / "images")
    (Path(os.environ["BENCH_CACHE"]) / "images").mkdir(exist_ok=True)
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    return cache


def seen(folder: Path) -> int:
    """How many images the counting network has looked at since the last call."""
    path = folder / "seen"
    count = int(path.read_text()) if path.exists() else 0
    path.unlink(missing_ok=True)
    return count


def values(frame: pd.DataFrame) -> list[float]:
    return frame[frame["metric"] == "top1"]["value"].tolist()


def test_a_pass_that_was_stopped_goes_on_after_its_last_whole_shard(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "mine.py").write_text(COUNTING)
    (tmp_path / "stop").touch()
    failed = vit_bench.run(*RUN, "model=mine.py:Net", out="r")
    assert failed["error"].tolist() == ["RuntimeError: the machine died"]
    assert 512 <= seen(tmp_path) <= 700
    (tmp_path / "stop").unlink()
    whole = values(vit_bench.run(*RUN, "model=mine.py:Net", out="r"))
    assert seen(tmp_path) == 800 - 512 + 200 + 797

    shard = sorted(own_cache.glob("features/*/00001.safetensors"))[0]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 255
    shard.write_bytes(content)
    assert values(vit_bench.run(*RUN, "model=mine.py:Net", out="apart/r")) == whole
    assert seen(tmp_path) in (800 - 512, 797 - 512)
    assert values(vit_bench.run(*RUN, "model=mine.py:Net", out="elsewhere/r")) == whole
    assert seen(tmp_path) == 0


@pytest.mark.usefixtures("own_cache")
@pytest.mark.slow
def test_what_changes_a_feature_misses_the_cache_and_what_does_not_hits(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(COUNTING)
    everything = 800 + 200 + 797
    for i, (words, images) in enumerate(
        [
            ((), everything),
            (("precision=bf16",), everything),
            (("resize=square",), everything),
            (("image_size=8",), everything),
            (("pool=100",), 100),
            (("batch_size=7", "l2=1"), 0),
            (("protocol=knn",), 0),
            (("protocol=logistic", "logistic_l2=1e5"), 0),
        ]
    ):
        frame = vit_bench.run(*RUN, "model=mine.py:Net", *words, out=f"apart{i}/r")
        assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
        assert seen(tmp_path) == images, words
        treatment = json.loads(frame[frame["metric"] == "top1"]["treatment"].iloc[0])
        assert treatment["precision"] == ("bf16" if "precision=bf16" in words else "fp32")


def test_precision_and_protocol_have_fingerprints_of_their_own() -> None:
    words = ("suite=fewshot", "task=digits", "model=ViT-mini", "image_size=16", "shots=5", "seed=0", "out=r")
    vit_bench.run(*words, "precision=fp32,bf16")
    vit_bench.run(*words, "protocol=knn")
    frame = load("r")
    top1 = frame[frame["metric"] == "top1"]
    assert len(top1) == 3
    assert top1["treatment_sha"].nunique() == 3
    assert top1["protocol_sha"].nunique() == 2
    assert sorted(top1["protocol"]) == ["knn", "ridge", "ridge"]


def test_the_cache_keeps_to_its_bound(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(COUNTING)
    old = own_cache / "features" / "0123456789abcdef"
    old.mkdir(parents=True)
    (old / "00000.safetensors").write_bytes(bytes(10_000))
    monkeypatch.setenv("BENCH_CACHE_GB", "0")
    vit_bench.run(*RUN, "model=mine.py:Net", out="r")
    assert not old.exists()
    assert len(list((own_cache / "features").iterdir())) == 3  # in use, so they stay
    monkeypatch.setenv("BENCH_CACHE_GB", "little")
    frame = vit_bench.run(*RUN, "model=mine.py:Net", "resize=square", out="r")
    assert "BENCH_CACHE_GB=little: expected a number of gigabytes" in frame["error"].iloc[-1]


@pytest.mark.slow
def test_cache_list_and_clear(own_cache: Path, typed) -> None:
    assert typed("cache", "list")[1].startswith("0 entries, 0 B, of 0 B of features in")
    vit_bench.run(*RUN, "model=ViT-mini", out="r")
    vit_bench.run(*RUN, "model=ViT-mini", "precision=bf16", "model.depth=1", out="r")
    code, out, _ = typed("cache", "list")
    assert code == 0
    assert out.count("resize_crop 64x64") == 6
    assert out.count("ViT-mini [depth=1]") == out.count("bf16") == 3
    assert "6 entries, 1.8 MB, of 1.8 MB" in out
    assert "at most 20.0 GB are kept (BENCH_CACHE_GB)" in out
    assert "`cache clear` leaves it alone" in out

    name = next((own_cache / "features").iterdir()).name
    assert "1 entry" in typed("cache", "list", f"{name[:8]}*")[1]
    assert "6 entries, 1.8 MB. Repeat the command with sure=yes" in typed("cache", "clear", "digits")[1]
    assert "Nothing to remove" in typed("cache", "clear", "all", "older=1h")[1]
    assert len(list((own_cache / "features").iterdir())) == 6
    assert typed("cache", "clear", name, "sure=yes")[1].startswith("Removed 1 entry")
    assert not (own_cache / "features" / name).exists()
    assert typed("cache", "clear", "all", "older=0m", "sure=yes")[1].startswith("Removed 5 entries")
    assert typed("cache", "list")[1].startswith("0 entries")
    assert (own_cache / "images").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("clear",), "error: say what to clear: `cache clear all`, a pattern such as 'ViT-*', or older=30d"),
        (("clear", "sure=yes"), "error: say what to clear"),
        (("clear", "all", "sure=maybe"), "error: sure=maybe: type sure=yes to remove"),
        (("clear", "all", "older=soon"), "error: older=soon: expected a number and m, h, d or w"),
        (("list", "odler=3d"), "error: cache list has no setting 'odler'. Did you mean 'older'?"),
        (("clear", "ViT-X*", "sure=yes"), "error: no features match ViT-X*. There are some of: ViT-mini, digits"),
    ],
)
def test_mistakes_remove_nothing(own_cache: Path, typed, words: tuple[str, ...], message: str) -> None:
    folder = own_cache / "features" / "0123456789abcdef"
    folder.mkdir(parents=True)
    about = {"model": "ViT-mini", "images": "digits"}
    (folder / "key.json").write_text(json.dumps({"key": {}, "about": about, "rows": 1}))
    code, _, errors = typed("cache", *words)
    assert code == 2
    assert message in errors
    assert folder.exists()


def test_a_launchers_environment_makes_a_team(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (process_group().rank, process_group().size, process_group().leads) == (0, 1, True)
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert (process_group().rank, process_group().size, process_group().leads) == (1, 2, False)
    with pytest.raises(
        vit_bench.UsageError, match=r"device=cuda:1: 2 processes were launched, .* device=auto, cuda or"
    ):
        process_group().meet("cuda:1")


LAUNCHERS = {
    "torchrun": "torch.distributed.run --nproc_per_node 2 --standalone -m",
    # not --cpu, with which accelerate starts one process whatever --num_processes says
    "accelerate": "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --main_process_port 0 -m",
}


def launched(folder: Path, *words: str, launcher: str = "torchrun") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *LAUNCHERS[launcher].split(), "bench"]
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.usefixtures("own_cache")
def test_two_processes_are_one_run(tmp_path: Path, launcher: str) -> None:
    source = COUNTING.replace('"seen"', '"seen" + os.environ.get("RANK", "")')
    (tmp_path / "mine.py").write_text(f"import os\n{source}")
    words = ("suite=fewshot,vtab-mini", "task=digits,photos", "model=mine.py:Net", "device=cpu")
    done = launched(tmp_path, "run", *words, "out=two", launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fewshot: top-1 accuracy") == 1
    looked_at = [int((tmp_path / f"seen{rank}").read_text()) for rank in (0, 1)]
    assert sum(looked_at) == 2 * (800 + 200 + 797) + 2 * (800 + 200 + 1000)  # two resizes, two image sets
    assert min(looked_at) > 0.2 * sum(looked_at)
    assert "2 processes" in (tmp_path / "two" / "log.txt").read_text()

    for path in tmp_path.glob("cache/features/*"):
        path.rename(tmp_path / f"gone-{path.name}")
    alone = vit_bench.run(*words, out="apart/one")
    without = ["seconds", "started_at"]
    pd.testing.assert_frame_equal(load("two").drop(columns=without), alone.drop(columns=without), check_like=True)


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_a_process_that_fails_fails_the_job_everywhere_and_the_next_goes_on(tmp_path: Path) -> None:
    unlucky = 'assert os.environ["RANK"] == "0" or images.std() == 0, "no such luck"'
    source = COUNTING.replace("        images = self.scale", f"        {unlucky}\n        images = self.scale")
    (tmp_path / "mine.py").write_text(f"import os\n{source}")
    done = launched(tmp_path, "run", *RUN, "model=mine.py:Net,ViT-mini", "device=cpu", "out=r")
    assert done.returncode == 1
    frame = load(tmp_path / "r")
    assert dict(zip(frame["model"], frame["status"], strict=True)) == {"ViT-mini": "ok", "mine.py:Net": "failed"}
    assert "no such luck" in frame[frame["status"] == "failed"]["error"].item()
