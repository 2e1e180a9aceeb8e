"""What a weights file is said to hold."""

from __future__ import annotations

from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from vit_bench.models import catalog, create_model
from vit_bench.models.provenance import Provenance
from vit_bench.models.weights.inspect import inspect


def test_an_official_file(official: ModuleType, tmp_path: Path) -> None:
    row = catalog()["R+ViT-mini"].derive(pre_logits=24)
    arrays = official.official_arrays(row.architecture, tokens=17, classes=9)
    arrays["head/bias"] = arrays["head/bias"].astype(np.float16)
    arrays["head/bias"][0] = np.inf
    saved: dict[str, Any] = {f"opt/target/{name}": array for name, array in arrays.items()}
    saved["opt/state/step"] = np.array(4)
    path = official.save_npz(tmp_path / "w.npz", saved)
    (tmp_path / "w.npz.yaml").write_text("epochs: 7")
    report = inspect(path)
    assert (report.path, report.format, report.convention, report.part) == (path, ".npz", "official", None)
    assert report.tensors == len(arrays)
    assert report.parameters == sum(prod(array.shape) for array in arrays.values())
    assert report.dtypes == (("float32", len(arrays) - 1), ("float16", 1))
    assert (report.classes, report.pre_logits) == (9, 24)
    assert (report.grid, report.image_size) == ((4, 4), (64, 64))
    assert report.candidates == ("R+ViT-mini",)
    assert report.notes == ("left out 1 tensors of the training's state: opt/state/step",)
    assert report.problems == ("numbers that are not finite, in 1 tensors: opt/target/head/bias",)
    assert report.provenance == Provenance(epochs=7.0)


def test_a_checkpoint(tmp_path: Path) -> None:
    state = create_model("BiT-mini", num_classes=3).state_dict()
    torch.save({"state_dict_ema": state, "epoch": 1}, tmp_path / "w.pth")
    report = inspect(tmp_path / "w.pth")
    assert (report.format, report.convention, report.part) == (".pth", "ours", "state_dict_ema")
    assert report.candidates == ("BiT-mini",)
    assert (report.classes, report.grid, report.image_size, report.pre_logits) == (3, None, None, None)
    assert report.problems == ()
    assert report.provenance is None


def test_a_file_that_is_not_whole(tmp_path: Path) -> None:
    state = dict(create_model("ViT-mini").state_dict())
    del state["blocks.2.norm1.bias"]
    torch.save(state, tmp_path / "w.pt")
    report = inspect(tmp_path / "w.pt")
    assert report.candidates == ("ViT-mini",)
    assert "not in the file (1): blocks.2.norm1.bias" in "".join(report.problems)
    torch.save({name: value.to(torch.float8_e4m3fn) for name, value in state.items()}, tmp_path / "v.pt")
    assert inspect(tmp_path / "v.pt").dtypes == (("float8_e4m3fn", len(state)),)


def test_a_file_of_no_row(official: ModuleType, tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.ones(3), "steps": torch.tensor(4)}, tmp_path / "w.pt")
    report = inspect(tmp_path / "w.pt")
    assert (report.convention, report.candidates) == ("unknown", ())
    assert report.problems == ("no row of the catalog has these shapes",)
    row = catalog()["ViT-mini"].derive(depth=1)
    arrays = official.official_arrays(row.architecture, tokens=9)
    report = inspect(official.save_npz(tmp_path / "w.npz", arrays))
    assert report.problems == (
        "9 position embeddings, which are no square grid of patches",
        "no row of the catalog has these shapes",
    )
