"""What `weights inspect` and `weights convert` print."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner
from vit_bench.bench.verbs.weights import convert_verb, inspect_verb
from vit_bench.models import create_model
from vit_bench.registry import UsageError


def call(*words: str) -> str:
    app = typer.Typer()
    app.command("inspect")(inspect_verb)
    app.command("convert")(convert_verb)
    done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_inspect(tmp_path: Path) -> None:
    state = dict(create_model("ViT-mini", num_classes=3).state_dict())
    state["head.bias"] = torch.full((3,), torch.nan)
    path = tmp_path / "w.pth"
    torch.save({"model_ema": state}, path)
    (tmp_path / "w.pth.yaml").write_text("pretrain: [bold]\nimages: 1000\nepochs: 2.5\ncore_days: 1\n")
    lines = [line.split(None, 1) for line in call("inspect", str(path)).splitlines()]
    said = {(name, text.strip()) for name, text in lines}
    assert said >= {
        ("names", "this project's"),
        ("part", "model_ema"),
        ("row", "ViT-mini"),
        ("types", f"float32 ({len(state)})"),
        ("head", "3 classes"),
        ("grid", "4x4 position embeddings, of images of 64x64 pixels"),
        ("note", "read model_ema of w.pth"),
        ("pre-trained", "on  ['bold']"),
        ("images", "1,000"),
        ("epochs", "2.5"),
        ("core-days", "1"),
        ("problem", "numbers that are not finite, in 1 tensors: head.bias"),
    }
    count = sum(value.numel() for value in state.values())
    assert ("parameters", f"{count:,} in {len(state)} tensors") in said


def test_convert(tmp_path: Path) -> None:
    torch.save({"model": create_model("ViT-mini").state_dict()}, tmp_path / "w.pth")
    out = call("convert", str(tmp_path / "w.pth"), str(tmp_path / "w.npz"))
    assert "read model of w.pth\n4 heads, as ViT-mini has\nwrote " in out
    assert "w.npz (3.6 MB)" in out
    back = call("convert", str(tmp_path / "w.npz"), str(tmp_path / "w.safetensors"))
    assert back.splitlines()[0].startswith("wrote ")
    with pytest.raises(UsageError, match="is there already"):
        call("convert", str(tmp_path / "w.npz"), str(tmp_path / "w.safetensors"))
