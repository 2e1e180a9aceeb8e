"""A head that was trained on a folder of images answers the same images at another path, and what the user says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vit_bench import run
from vit_bench.models import create_model
from vit_bench.models.weights.sidecar import read_head
from vit_bench.registry import UsageError
from vit_bench.results.comparison.compare import compare
from vit_bench.suites.heads.classes import answers
from vit_bench.suites.images.transforms import Transform
from vit_bench.suites.sources.folder import folder_task
from vit_bench.suites.training.runs import _save


def images(folder: Path, seed: int) -> Path:
    draw = np.random.default_rng(seed)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for i in range(4):
                pixels = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")
    return folder


def test_a_head_knows_its_folder_by_the_listing(tmp_path: Path) -> None:
    first, other = images(tmp_path / "first", 0), images(tmp_path / "other", 1)
    (other / "test" / "cat" / "0.png").rename(other / "test" / "cat" / "9.png")
    shutil.copytree(first, tmp_path / "elsewhere")
    task, same, another = map(folder_task, (first, tmp_path / "elsewhere", other))
    (tmp_path / "w.safetensors.yaml").write_text(f"head: 'folder:{first}'\nlisting: {task.revision}\n")
    head = read_head(tmp_path / "w.safetensors")
    assert head is not None
    assert [answers(head, one) for one in (task, same, another)] == [True, True, False]
    (tmp_path / "w.safetensors.yaml").write_text(f"head: 'folder:{first}'\n")  # as files of before have it
    head = read_head(tmp_path / "w.safetensors")
    assert head is not None
    assert [answers(head, one) for one in (task, same)] == [True, False]


@pytest.mark.slow
def test_a_kept_head_of_a_folder(tmp_path: Path) -> None:
    first, other = images(tmp_path / "first", 0), images(tmp_path / "other 2", 1)
    (other / "test" / "cat" / "0.png").write_bytes((first / "test" / "cat" / "1.png").read_bytes() + b"\0")
    network: Any = create_model("ViT-mini", num_classes=2)
    weights = tmp_path / "kept.safetensors"
    torch.nn.init.normal_(network.head.weight)
    _save(
        network, weights, folder_task(first, name=f"folder:{first}"), Transform.for_input(network.spec.input, "square")
    )
    frames = []
    shutil.copytree(first, tmp_path / "elsewhere")
    for place in (first, tmp_path / "elsewhere"):
        words = ("suite=classify", "model=ViT-mini", f"weights={weights}", f"out={tmp_path / 'out' / place.name}")
        frames.append(run(*words, task=[f"folder:{place}"]))
    assert [set(frame["status"]) for frame in frames] == [{"ok"}, {"ok"}]
    (pair,) = compare(*frames, ("first", "elsewhere")).pairs
    assert (pair.difference.value, pair.key["task"]) == (0.0, f"folder:{first}")
    words = (*words[:3], f"out={tmp_path / 'third'}")
    with pytest.raises(UsageError, match=rf"its head was trained for folder:{first} .*, or head=folder:{other} if"):
        run(*words, task=[f"folder:{other}"])
    named = run(*words, task=[f"folder:{other}"], head=f"folder:{other}")
    assert set(named["status"]) == {"ok"}
    assert '"head":"folder:' in named["treatment"][0] and "as head= says" in named["treatment"][0]
    with pytest.raises(UsageError, match=r"its head was trained for ImageNet \(1000 classes\)"):
        run(*words, task=[f"folder:{first}"], head="ImageNet")
