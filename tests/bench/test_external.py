"""Runs of a library's model: what records and cells say of its weights."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import vit_bench
from safetensors.torch import save_file
from vit_bench.bench import config
from vit_bench.bench.plan import make_plan

WORDS = ("suite=fewshot", "task=digits", "shots=1", "seed=0", "model=timm:test_vit.r160_in1k", "model.image_size=32")


def test_a_run_with_published_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    failed = vit_bench.run(*WORDS, out="r")
    assert set(failed["status"]) == {"failed"}
    assert failed["error"].str.contains("BENCH_OFFLINE=1 forbids a download").all()

    top = tmp_path / "hub" / "models--timm--test_vit.r160_in1k"
    weights = top / "snapshots" / "0" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    (top / "refs").mkdir()
    (top / "refs" / "main").write_text("0")
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), weights)
    frame = vit_bench.run(*WORDS, out="r")
    assert set(frame["status"]) == {"ok"}
    assert set(frame["weights"]) == {"r160_in1k"}
    assert set(frame["variant"]) == {"image_size=32"}
    assert set(frame["env.timm"]) == {timm.__version__}
    treatment = json.loads(frame.loc[frame["metric"] == "top1", "treatment"].iloc[0])
    assert (treatment["size"], treatment["interpolation"], treatment["tap"]) == ([32, 32], "bicubic", "features")
    (cell,) = (tmp_path / "r" / "cells").glob("*.json")
    assert str(weights) in [item["path"] for item in json.loads(cell.read_text())["inputs"]]

    def states() -> tuple[str, ...]:
        return make_plan(config.read([*WORDS, "out=r"])).states

    assert states() == ("done",)
    save_file(timm.create_model("test_vit").state_dict(), weights)
    assert states() == ("stale",)
