"""The feature pass: the same numbers as a plain loop, decoding beside it, errors that name the image, a clean end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import vit_bench
from torch import nn
from vit_bench.models.spec import Input
from vit_bench.suites.images.features import Extraction, extract, extract_spans
from vit_bench.suites.images.loading import load_ahead
from vit_bench.suites.images.transforms import Transform, pack

CPU = torch.device("cpu")
SQUARE = Transform.for_input(Input(size=(8, 8)), "square")


def pictures(count: int, *, sizes: Sequence[int] = (8,)) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (sizes[i % len(sizes)], 9, 3), dtype=np.uint8) for i in range(count)]


class Net(nn.Module):
    spec = vit_bench.create_model("ViT-mini").spec

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(192, 5)
        nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(0))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


class Images(Sequence):
    """Pictures that are decoded on access, and note when and in which thread."""

    def __init__(self, count: int, *, concurrent: bool = False, bad: int | None = None) -> None:
        self.concurrent = concurrent
        self.seen: list[int] = []
        self.threads: set[str] = set()
        self._all = pictures(count, sizes=(8, 10))
        self._bad = bad

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        self.seen.append(index)
        self.threads.add(threading.current_thread().name)
        if index == self._bad:
            raise ValueError("picture.jpg is cut off")
        return self._all[index]


@pytest.mark.parametrize("sizes", [(8,), (8, 12, 7)])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_features_are_those_of_a_plain_loop(batch_size: int, sizes: tuple[int, ...]) -> None:
    net, images = Net().eval(), pictures(23, sizes=sizes)
    counted: list[int] = []
    found = extract(net, images, SQUARE, batch_size=batch_size, progress=counted.append)
    with torch.inference_mode():
        plain = torch.cat([net.features(SQUARE.batch([image], CPU)) for image in images]).numpy()
    np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-5)
    assert found.dtype == np.float32
    assert sum(counted) == 23
    assert max(counted) == min(batch_size, 23)


def test_images_in_one_array_and_one_by_one_are_the_same_pixels() -> None:
    images = pictures(5)
    packed = pack(images)
    assert len(packed) == 1
    assert torch.equal(SQUARE.apply(packed, CPU), torch.cat([SQUARE.batch([image], CPU) for image in images]))
    assert torch.equal(SQUARE.batch(np.stack(images), CPU), SQUARE.apply(packed, CPU))


def test_no_batch_reaches_across_two_spans() -> None:
    how = Extraction(transform=SQUARE, batch_size=4)
    spans = [range(6), range(10, 13)]
    found = list(extract_spans(Net(), pictures(20), how, spans))
    assert [(span.start, span.stop) for span, _ in found] == [(0, 4), (4, 6), (10, 13)]


def test_bf16_is_autocast_and_another_number() -> None:
    net, images = Net(), pictures(8)
    exact = extract(net, images, SQUARE, batch_size=8)
    rough = extract(net, images, SQUARE, batch_size=8, precision="bf16")
    assert rough.dtype == np.float32
    assert 1e-5 < np.abs(exact - rough).max() / np.abs(exact).max() < 0.03


def test_decoding_runs_ahead_in_the_background_but_not_far() -> None:
    images = Images(100)
    loaded = load_ahead(images, [range(i, i + 10) for i in range(0, 100, 10)], CPU)
    first, _ = next(loaded)
    deadline = time.monotonic() + 100  # of a hang
    while len(images.seen) < 40 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert first == range(10)
    assert len(images.seen) == 40  # the batch in hand, one being decoded and two that wait
    assert threading.current_thread().name not in images.threads
    loaded.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images")]
    assert len(images.seen) < 100


def test_order_is_kept_whoever_decodes() -> None:
    for concurrent in (False, True):
        images = Images(50, concurrent=concurrent)
        spans = [range(i, min(i + 3, 50)) for i in range(0, 50, 3)]
        got = list(load_ahead(images, spans, CPU))
        assert [span for span, _ in got] == spans
        alone = [torch.cat([part.flatten() for part in pack(images[span.start : span.stop])]) for span in spans]
        for (_, packed), expected in zip(got, alone, strict=True):
            assert torch.equal(torch.cat([part.flatten() for part in packed]), expected)


def test_an_image_that_cannot_be_read_is_named_and_the_threads_end() -> None:
    with pytest.raises(ValueError, match=r"^image 13 of the split cannot be read: picture.jpg is cut off$"):
        extract(Net(), Images(30, bad=13), SQUARE, batch_size=4)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images")]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            np.zeros((8, 8), np.uint8),
            r"image 2 of the split cannot be read: expected \(H, W, 3\) uint8, found \(8, 8\)",
        ),
        (np.zeros((8, 8, 3), np.float32), r"image 2 .* found \(8, 8, 3\) float32"),
        (np.zeros((0, 8, 3), np.uint8), r"image 2 .* found \(0, 8, 3\) uint8"),
    ],
)
def test_what_is_no_rgb_image_is_named(image: np.ndarray, message: str) -> None:
    images = pictures(6)
    images[2] = image
    with pytest.raises(ValueError, match=message):
        extract(Net(), images, SQUARE, batch_size=4)


def test_features_whose_width_changes_are_an_error_that_says_where() -> None:
    class Wider(Net):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            return super().features(images)[:, : len(images)]

    with pytest.raises(ValueError, match=r"gives features of width 2 for images 8 to 9 of the split and of width 4"):
        extract(Wider(), pictures(10), SQUARE, batch_size=4)


def test_nan_names_the_image_and_ctrl_c_passes_through() -> None:
    class Bad(Net):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            found = super().features(images)
            found[-1, 0] = float("inf")
            return found

    with pytest.raises(ValueError, match="gives NaN or inf for image 3 of the split"):
        extract(Bad(), pictures(10), SQUARE, batch_size=4)

    class Stopped(Net):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            raise KeyboardInterrupt(str(len(images)))

    with pytest.raises(KeyboardInterrupt):
        extract(Stopped(), Images(100), SQUARE, batch_size=4)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images")]


def test_no_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="there are no images"):
        extract(Net(), [], SQUARE, batch_size=4)


def test_features_are_waited_for_in_the_stream_of_their_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """With device=cuda:1 the current stream, without more words, is that of another GPU."""
    from vit_bench.suites.images import features

    recorded: list[object] = []

    class Event:
        def record(self, stream: object = "of the first GPU") -> None:
            recorded.append(stream)

    class OnSecond(torch.Tensor):
        device = torch.device("cuda", 1)

    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, **_: real(*shape))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: device)
    features.fetch(torch.zeros(2, 3).as_subclass(OnSecond))
    assert recorded == [torch.device("cuda", 1)]
