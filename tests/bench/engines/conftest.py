"""What tests of workers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import vit_bench
from vit_bench.bench import environment

TIMES = ["seconds", "started_at"]


@pytest.fixture
def check_same() -> Callable[[Path, Path], None]:
    """Fails where two run directories have not the same jobs, or not the same numbers and predictions, bit for bit."""

    def check(one: Path, other: Path) -> None:
        frames = [vit_bench.load(folder).drop(columns=TIMES) for folder in (one, other)]
        pd.testing.assert_frame_equal(*frames)
        names = [{path.name for path in (folder / "cells").iterdir()} for folder in (one, other)]
        assert names[0] == names[1]
        for path in one.glob("cells/*.npz"):
            with np.load(path) as mine, np.load(other / "cells" / path.name) as theirs:
                assert mine.files == theirs.files
                assert all((mine[name] == theirs[name]).all() for name in mine.files)

    return check


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
