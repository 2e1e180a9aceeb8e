"""Measured ceilings of a step: the device's matmul rate and memory bandwidth, and the time of a model's own products.

A network's products are its matrix products, convolutions and attention, fused or not. They are recorded during one run
of the network with their actual shapes, types and strides. This gives the FLOPs (where no closed form is known), the
least time by the roofline, and, with each product timed alone on random numbers, a tighter ceiling: the time of the
network's products without anything else.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .clock import Clock

ALONE_SECONDS = 0.02  # time for each product
ALONE_STEPS = 3  # the least number of times it is timed


@dataclass(frozen=True, kw_only=True)
class Product:
    """One operation at one set of shapes, and how often a step runs it."""

    operation: Any
    arguments: tuple[Any, ...]  # with a Shape in place of each tensor
    options: tuple[tuple[str, Any], ...]
    flops: int
    bytes: int  # read and written, each operand once
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Size, stride and type of a tensor."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: Any

    def fill(self, device: torch.device) -> torch.Tensor:
        """A tensor of random numbers, whose entries may share memory, as those of an expanded one do."""
        entries = 1 + sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))
        flat = torch.empty(entries if all(self.size) else 0, dtype=self.dtype, device=device)
        return (flat.normal_() if flat.is_floating_point() else flat.zero_()).as_strided(self.size, self.stride)

    @property
    def bytes(self) -> int:
        """Bytes of distinct entries: a stride of 0 repeats them."""
        pairs = zip(self.size, self.stride, strict=True)
        return math.prod(size for size, stride in pairs if stride) * self.dtype.itemsize


def formulas() -> dict[Any, Callable[..., int]]:
    """Operations that are products, with functions for their floating point operations.

    They are those of torch's FLOP counter, and fused attention on a CPU, which some releases lack (2.14, for one).
    """

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return _attention(query, key, value, products=2)

    def backward(_grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return _attention(query, key, value, products=5)  # the scores again, and four gradients

    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    back_on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    return {on_cpu: forward, back_on_cpu: backward, **flop_registry}


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, products: int) -> int:
    """FLOPs of `products` products between all queries and all keys, (B, heads, N, D) each."""
    batch, heads, queries, width = query.shape
    assert value.shape[-1] == width, "queries, keys and values are as wide as each other here"
    return products * 2 * batch * heads * queries * key.shape[-2] * width


def products_of(run: Callable[[], Any]) -> list[Product]:
    """The distinct products during `run`, with their counts."""
    known = formulas()
    recorded: dict[tuple[Any, ...], list[int]] = {}

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(
            self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            options = kwargs or {}
            formula = known.get(operation._overloadpacket)
            if formula is None:
                with self:  # in inference mode a linear layer is one operation, not yet decomposed
                    parts = operation.decompose(*args, **options)
                return operation(*args, **options) if parts is NotImplemented else parts
            out = operation(*args, **options)
            result = out[0] if isinstance(out, tuple) else out
            shapes = (tuple(map(_shape, args)), tuple((name, _shape(value)) for name, value in options.items()))
            moved = sum(map(_bytes, (*args, *options.values(), result)))
            flops = int(formula(*args, **options, out_val=out))
            recorded.setdefault((operation, *shapes), [flops, moved, 0])[2] += 1
            return out

    backend = torch.backends.mha
    fused = backend.get_fastpath_enabled()
    backend.set_fastpath_enabled(False)  # nn.TransformerEncoderLayer as one operation, of which nothing is counted
    try:
        with Recorder():
            run()
    finally:
        backend.set_fastpath_enabled(fused)
    return [
        Product(operation=key[0], arguments=key[1], options=key[2], flops=flops, bytes=moved, count=count)
        for key, (flops, moved, count) in recorded.items()
    ]


def _shape(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return Shape(size=tuple(value.shape), stride=tuple(value.stride()), dtype=value.dtype)
    return tuple(value) if isinstance(value, list) else value


def _bytes(value: Any) -> int:
    shape = _shape(value)
    return shape.bytes if isinstance(shape, Shape) else 0


def seconds_alone(products: list[Product], device: torch.device, clock: Clock) -> float:
    """The sum over a step's products of the median seconds alone times the count."""
    total = 0.0
    for product in products:
        with torch.no_grad():
            arguments = [_filled(value, device) for value in product.arguments]
            options = {name: _filled(value, device) for name, value in product.options}
            times = _repeated(lambda: product.operation(*arguments, **options), clock)  # noqa: B023
            total += product.count * statistics.median(times)
    return total


def _filled(value: Any, device: torch.device) -> Any:
    return value.fill(device) if isinstance(value, Shape) else list(value) if isinstance(value, tuple) else value


def _repeated(call: Callable[[], Any], clock: Clock, seconds: float = ALONE_SECONDS) -> list[float]:
    """Seconds of each call, repeated for about `seconds`, after a warm-up call."""
    call()
    clock.wait()
    start = clock.now()
    call()
    clock.wait()
    estimate = max(clock.now() - start, 1e-9)
    repeats = max(ALONE_STEPS, min(200, int(seconds / estimate)))
    marks = [clock.mark()]
    for _ in range(repeats):
        call()
        marks.append(clock.mark())
    clock.wait()
    return [clock.between(*pair) for pair in pairwise(marks)]


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """The best rates measured on this device in this run."""

    flops: float  # floating point operations per second of square matrix products
    bandwidth: float  # bytes per second, read plus written, of copying a large tensor

    def better(self, other: Roofline) -> Roofline:
        """The higher rates of two measurements: disturbances can only lower them."""
        return Roofline(flops=max(self.flops, other.flops), bandwidth=max(self.bandwidth, other.bandwidth))

    def seconds(self, products: list[Product]) -> float:
        """The least time for the products: each is bound by arithmetic or by memory."""
        return sum(item.count * max(item.flops / self.flops, item.bytes / self.bandwidth) for item in products)


def measure_roofline(device: torch.device, dtype: torch.dtype, clock: Clock) -> Roofline:
    """The matmul rate in a number format, the best of a few sizes, and the bandwidth, in about half a second.

    The fastest repetition counts, because disturbances can only slow it down.
    """
    sides, megabytes = ((2048, 4096, 8192), 1024) if device.type == "cuda" else ((512, 1024, 1536), 128)
    rates = []
    for side in sides:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        rates.append(2 * side**3 / min(_repeated(lambda: a @ b, clock, 0.1)))  # noqa: B023
    source = torch.empty(megabytes * 2**18, dtype=torch.float32, device=device).fill_(1.0)
    target = torch.empty_like(source)
    bandwidth = 2 * source.nbytes / min(_repeated(lambda: target.copy_(source), clock, 0.1))
    return Roofline(flops=max(rates), bandwidth=bandwidth)
