"""What tests of workers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from vit_bench.bench import environment


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process computes with one thread, as each worker that it starts does, and its records say so."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    environment.describe.cache_clear()
    yield
    torch.set_num_threads(before)
    environment.describe.cache_clear()
