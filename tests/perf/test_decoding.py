"""Images decoded and transformed a second, beside torchvision's ImageFolder and DataLoader on the same files.

pytest tests/perf/test_decoding.py --benchmark-only
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from vit_bench.models.spec import Input
from vit_bench.suites.images.decode import read_image
from vit_bench.suites.images.decoded import Decoded
from vit_bench.suites.images.transforms import Transform

SIZE, BATCH, IMAGES = 224, 64, 1536
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Arithmetic in one thread, as in DataLoader's workers: the cores are for decoding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG files of 224 pixels: pieces of two photographs, in two classes."""
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for name, photo in (("astronaut", data.astronaut()), ("coffee", data.coffee())):
        (root / name).mkdir()
        for i in range(IMAGES // 2):
            top, left = (int(generator.integers(0, side - SIZE)) for side in photo.shape[:2])
            Image.fromarray(photo[top : top + SIZE, left : left + SIZE]).save(root / name / f"{i:04d}.jpg", quality=90)
    return root


def ours(folder: Path) -> Callable[[], int]:
    paths = sorted(folder.rglob("*.jpg"))
    transform = Transform.for_input(Input(size=(SIZE, SIZE)), "square")

    def epoch() -> int:
        images = Decoded(lambda i: read_image(paths[i]), len(paths))
        return sum(len(transform.batch(images[start : start + BATCH], CPU)) for start in range(0, len(paths), BATCH))

    return epoch


def plain(folder: Path) -> Callable[[], int]:
    loader = loader_of(folder)
    return lambda: sum(len(images) for images, _ in loader)


def loader_of(folder: Path) -> DataLoader:
    steps = [transforms.Resize((SIZE, SIZE)), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
    return DataLoader(
        ImageFolder(str(folder), transforms.Compose(steps)), batch_size=BATCH, num_workers=2, persistent_workers=True
    )


@pytest.mark.benchmark(group="an epoch of 1536 JPEG files of 224 px")
@pytest.mark.parametrize("way", [ours, plain])
def test_an_epoch(benchmark, folder: Path, way: Callable[[Path], Callable[[], int]]) -> None:
    epoch = way(folder)
    epoch()
    assert benchmark.pedantic(epoch, rounds=5) == IMAGES


@pytest.mark.benchmark(group="ratio")
def test_at_least_a_fifth_faster_with_the_same_pixels(benchmark, folder: Path) -> None:
    """In turn, so that whatever else the machine does hits both. Printed: images a second of each, and the ratio."""
    paths = sorted(folder.rglob("*.jpg"))
    first, _ = next(iter(loader_of(folder)))
    images = Decoded(lambda i: read_image(paths[i]), len(paths))
    batch = Transform.for_input(Input(size=(SIZE, SIZE)), "square").batch(images[:BATCH], CPU)
    torch.testing.assert_close(batch, first, atol=1e-6, rtol=0)
    ways = {"ours": ours(folder), "plain": plain(folder)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(8):
        for name, epoch in ways.items():
            begun = time.perf_counter()
            epoch()
            seconds[name].append(time.perf_counter() - begun)
    pairs = list(zip(seconds["plain"][1:], seconds["ours"][1:], strict=True))  # the first epoch starts the workers
    ratio = statistics.median(theirs / mine for theirs, mine in pairs)
    rates = {name: IMAGES / statistics.median(times[1:]) for name, times in seconds.items()}
    benchmark.extra_info.update(rates, ratio=ratio)
    print(f"\n{rates['ours']:.0f} images/s, plain {rates['plain']:.0f}: {ratio:.2f} x")  # noqa: T201
    benchmark.pedantic(ways["ours"], rounds=1)
    assert ratio >= 1.2


@pytest.mark.benchmark(group="memory")
def test_memory_is_flat_over_an_epoch(benchmark, folder: Path) -> None:
    epoch = ours(folder)
    epoch()
    before = resident()
    benchmark.pedantic(epoch, rounds=3)
    assert resident() - before < 64 << 20


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
