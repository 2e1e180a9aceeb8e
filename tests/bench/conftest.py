"""What tests of the command share: a small ImageNet, and files with heads for it (toy_imagenet.py)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def toys() -> ModuleType:
    """The module toy_imagenet.py; pytest's importlib mode puts no folder of tests on the path."""
    spec = importlib.util.spec_from_file_location("toy_imagenet", Path(__file__).with_name("toy_imagenet.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toy(toys: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, know_tasks) -> Any:
    """Pictures in ImageNet's layout, tasks as small as they are, and a folder of weights that is looked in."""
    made = toys.make(tmp_path)
    made.write_pictures()
    made.weights.mkdir()
    know_tasks(toys.small_tasks())
    monkeypatch.setenv("BENCH_WEIGHTS", str(made.weights))
    monkeypatch.setenv("BENCH_DATA", str(made.data))
    return made


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """`publish(tag, "81.5")`: one more row of the table of releases, of ViT-mini, file FOLDER/TAG.npz."""
    from vit_bench.models import catalog
    from vit_bench.models.released import table as releases

    memories = (releases.releases, releases.of_model, releases._words, releases._names, releases._same_name, catalog)
    columns = releases.TABLE.read_text(encoding="utf-8").splitlines()[0].split(",")
    table = tmp_path / "checkpoints.csv"
    table.write_text(releases.TABLE.read_text(encoding="utf-8"), encoding="utf-8")

    def add(tag: str, top1: str, **more: str) -> None:
        row = {"model": "ViT-mini", "tag": tag, "pretrain": "ImageNet-21k", "finetune": "ImageNet", "resolution": "64"}
        row |= {"published_top1": top1, "published_top1_basis": "a page", "top1_of": "file" if top1 else ""}
        row |= {"file_name": f"toys/{tag}.npz", "size": "4 MiB"} | more
        with table.open("a", encoding="utf-8") as file:
            file.write(",".join(row.get(name, "") for name in columns) + "\n")
        for memory in memories:
            memory.cache_clear()

    monkeypatch.setattr(releases, "TABLE", table)
    yield add
    monkeypatch.undo()
    for memory in memories:
        memory.cache_clear()
