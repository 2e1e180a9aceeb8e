"""Provenance in a small YAML file beside a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from vit_bench.models.provenance import Provenance
from vit_bench.models.weights.sidecar import read_head, read_sidecar
from vit_bench.registry import UsageError


def test_a_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "run.pth"
    assert read_sidecar(path) is None
    path.with_name("run.pth.yaml").write_text(
        "pretrain: ImageNet-21k\nimages: 14_197_122\nepochs: 90\ncore_days: 2.5\n"
    )
    known = Provenance(pretrain="ImageNet-21k", images=14_197_122, epochs=90.0, core_days=2.5)
    assert read_sidecar(path) == read_sidecar(str(path)) == known
    path.touch()
    assert read_sidecar(f"{path}:model_ema") == known


def test_what_only_readers_need_is_no_provenance(tmp_path: Path) -> None:
    (tmp_path / "run.pth.yaml").write_text("model: ViT-mini\nhead: digits\nclasses: [zero, 'one']\nepochs: 2\n")
    assert read_sidecar(tmp_path / "run.pth") == Provenance(epochs=2.0)
    head = read_head(tmp_path / "run.pth")
    assert head is not None
    assert head.data == "digits"


def test_fields_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("pretrain: JFT-300M\nepochs:\nimages: 3.03e+8\n")
    assert read_sidecar(tmp_path / "run.npz") == Provenance(pretrain="JFT-300M", images=303_000_000)
    assert Provenance() == Provenance(pretrain=None, images=None, epochs=None, core_days=None)


def test_a_training_scripts_own_settings_are_none(tmp_path: Path) -> None:
    for text in ("lr: 0.1\nmodel: vit\n", "- 1\n", "a: [\n"):
        (tmp_path / "run.yaml").write_text(text)
        assert read_sidecar(tmp_path / "run.pth") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("core-days: 3", r"run.pth.yaml' has an unknown field 'core-days'. Did you mean 'core_days'\?"),
        ("images: many", r"run.pth.yaml': images='many' should be a number from 0"),
        ("images: 1.5", r"images=1.5 should be a whole number"),
        ("epochs: -1", r"epochs=-1 should be a number from 0"),
        ("epochs: true", r"epochs=True should be a number from 0"),
        ("classes: cat", r"classes='cat' should be a list of names"),
        ("- 1", r"run.pth.yaml' should hold lines such as `pretrain: ImageNet-21k` and `epochs: 90`"),
        ("a: [", r"run.pth.yaml' is not a YAML file of provenance: while parsing"),
        ("a: !!python/object/apply:os.getcwd []", r"run.pth.yaml' is not a YAML file of provenance"),
    ],
)
def test_what_is_wrong_with_one(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.pth.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_sidecar(tmp_path / "run.pth")
