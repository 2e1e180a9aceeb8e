"""What tests of models share: files as the official releases write them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def official() -> ModuleType:
    """The module official_files.py; pytest's importlib mode puts no folder of tests on the path."""
    spec = importlib.util.spec_from_file_location("official_files", Path(__file__).with_name("official_files.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
