"""Frozen features: a pass over images in which decoding and the forward pass overlap."""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.backends import cudnn

from ...models.spec import Backbone
from ..protocol import Precision
from .loading import load_ahead
from .transforms import Transform


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """The settings of a pass over images."""

    transform: Transform
    precision: Precision = "fp32"  # "bf16": autocast; features are float32 in any case
    batch_size: int = 64  # features do not depend on it, but for rounding


def extract(
    backbone: Backbone,
    images: Sequence[np.ndarray] | np.ndarray,
    transform: Transform,
    *,
    batch_size: int,
    progress: Callable[[int], None] = lambda _: None,
    precision: Precision = "fp32",
) -> np.ndarray:
    """(N, D) float32 features of N images, each (H, W, 3) uint8 RGB, on the backbone's device and in its mode.

    `progress` is called with the number of images of each batch. Raises ValueError where an image cannot be read or its
    features have NaN or inf, naming the image, and where the width of the features varies.
    """
    extraction = Extraction(transform=transform, precision=precision, batch_size=batch_size)
    parts: list[np.ndarray] = []
    for _, part in extract_spans(backbone, images, extraction, [range(len(images))]):
        parts.append(part)
        progress(len(part))
    if not parts:
        raise ValueError("there are no images to extract features of")
    return np.concatenate(parts)


def extract_spans(
    backbone: Backbone, images: Sequence[np.ndarray] | np.ndarray, extraction: Extraction, spans: Iterable[range]
) -> Iterator[tuple[range, np.ndarray]]:
    """The spans of the batches and their (B, D) float32 features. No batch crosses the end of a span.

    The features of a batch are copied while the device computes the next. Raises as `extract` does.
    """
    device = next((tensor.device for tensor in backbone.state_dict().values()), torch.device("cpu"))
    batches = [
        range(start, min(start + extraction.batch_size, span.stop))
        for span in spans
        for start in range(span.start, span.stop, extraction.batch_size)
    ]
    width: int | None = None
    pending: deque[tuple[range, Callable[[], np.ndarray]]] = deque()
    with contextlib.closing(load_ahead(images, batches, device)) as loaded:
        for span, packed in loaded:
            autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=extraction.precision == "bf16")
            with torch.inference_mode(), exact_convolutions(device), autocast:
                features = backbone.features(extraction.transform.apply(packed, device)).float()
            if width not in (None, features.shape[1]):
                raise ValueError(
                    f"{backbone.spec.name} gives features of width {features.shape[1]} for images {span.start} to "
                    f"{span.stop - 1} of the split and of width {width} for those before"
                )
            width = features.shape[1]
            pending.append((span, fetch(features)))
            if len(pending) > 1:
                yield _wait_and_check(backbone, *pending.popleft())
    for span, fetched in pending:
        yield _wait_and_check(backbone, span, fetched)


def fetch(tensor: torch.Tensor) -> Callable[[], np.ndarray]:
    """Start to copy a tensor from its device. The returned function waits for it and returns it."""
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy
    copied = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copied.copy_(tensor, non_blocking=True)
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(tensor.device))  # also where that is not the first GPU

    def wait() -> np.ndarray:
        event.synchronize()
        return copied.numpy()

    return wait


def _wait_and_check(backbone: Backbone, span: range, fetched: Callable[[], np.ndarray]) -> tuple[range, np.ndarray]:
    """The span and its features. Raises ValueError where one is NaN or inf."""
    features = fetched()
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        image = span.start + int(finite.argmin())
        raise ValueError(f"{backbone.spec.name} gives NaN or inf for image {image} of the split")
    return span, features


@contextlib.contextmanager
def exact_convolutions(device: torch.device) -> Iterator[None]:
    """Turn TF32 off: by default convolutions on a GPU round their float32 inputs to it."""
    if device.type != "cuda":
        yield
        return
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) of names, types, shapes and bytes of a state dict, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
