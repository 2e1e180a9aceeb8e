"""What tests of models share: files as the official releases write them, and the libraries' caches."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
from safetensors.torch import save_file


@pytest.fixture(scope="session")
def official() -> ModuleType:
    """The module official_files.py; pytest's importlib mode puts no folder of tests on the path."""
    spec = importlib.util.spec_from_file_location("official_files", Path(__file__).with_name("official_files.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches of the hub's and torch's, and no downloads."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("BENCH_OFFLINE", "1")


@pytest.fixture
def on_hub(tmp_path: Path) -> Callable[..., Path]:
    """Puts files into the hub's cache as a repository: tensors as safetensors, all else as JSON."""

    def put(repository: str, **files: Any) -> Path:
        top = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        folder = top / "snapshots" / "0123abc"
        folder.mkdir(parents=True)
        (top / "refs").mkdir()
        (top / "refs" / "main").write_text("0123abc")
        for name, content in files.items():
            if name == "model":
                save_file(content, folder / "model.safetensors")
            else:
                (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    return put
