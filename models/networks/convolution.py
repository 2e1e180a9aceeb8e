"""Weight-standardised convolutions, their norm, and TensorFlow's padding, as the two releases have them."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..geometry import NORM_GROUPS
from .fused import is_recorded, wants_gradient

Formula = Literal["bit", "vit"]  # of big_transfer or of vision_transformer: standardisation and padding


def bottleneck_stages(unit: Callable[[int, int, int], nn.Module], units: Sequence[int], root: int) -> nn.Sequential:
    """The stages of a ResNet behind `root` channels. `unit` makes one from channels in, inner channels and stride."""
    stages, channels = nn.Sequential(), root
    for stage, count in enumerate(units):
        inner = root * 2**stage
        first = unit(channels, inner, 1 if stage == 0 else 2)
        channels = 4 * inner
        stages.append(nn.Sequential(first, *(unit(channels, inner, 1) for _ in range(count - 1))))
    return stages


def standardise(weight: Tensor, release: Formula) -> Tensor:
    """A convolution's weight (out, in, H, W), each output filter with mean 0 and standard deviation 1.

    Both releases use the population variance over in, H and W, but epsilon differs: BiT divides by sqrt(var + 1e-10),
    the ViT release by std + 1e-5.
    """
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))  # 1e-10 is zero in half precision
    variance, mean = torch.var_mean(exact, dim=(1, 2, 3), keepdim=True, correction=0)
    deviation = torch.sqrt(variance + 1e-10) if release == "bit" else torch.sqrt(variance) + 1e-5
    return ((exact - mean) / deviation).to(weight.dtype)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after a side under TensorFlow's "SAME": the output is ceil(size / stride).

    An odd pixel goes after, so a stride of 2 pads an even side asymmetrically and an odd one symmetrically.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """`x` (B, C, H, W) padded as TensorFlow's "SAME" pads it for this kernel and stride."""
    rows, columns = (same_padding(size, kernel, stride) for size in x.shape[-2:])
    return F.pad(x, (*columns, *rows)) if any((*rows, *columns)) else x


def max_pool_same(x: Tensor) -> Tensor:
    """3x3 max pool of stride 2 with "SAME" padding of -inf, which is never the maximum.

    An odd side is padded by one on both ends, an even one at its end only: there ceil_mode cuts the last window short.
    """
    before = x.shape[-2] % 2, x.shape[-1] % 2
    return _maxima(x, before, -torch.inf) if _is_slow(x) else F.max_pool2d(x, 3, 2, padding=before, ceil_mode=True)


def max_pool_zeros(x: Tensor) -> Tensor:
    """3x3 max pool of stride 2 with one zero around the map, as BiT has it: a padded zero wins over negative values.

    On a GPU it pools with -inf outside and then raises the windows that reach outside to zero, which saves a padded
    copy of `x`.
    """
    if _is_slow(x):
        return _maxima(x, (1, 1), 0.0)
    pooled = F.max_pool2d(x, 3, 2, padding=1)
    outside = torch.full(pooled.shape[-2:], -torch.inf, dtype=x.dtype, device=x.device)
    rows, columns = x.shape[-2:]
    outside[0] = outside[:, 0] = 0
    if rows % 2:
        outside[-1] = 0
    if columns % 2:
        outside[:, -1] = 0
    return torch.maximum(pooled, outside)


def _is_slow(x: Tensor) -> bool:
    """Whether PyTorch's own pool is slow for `x`: on a CPU it took a fifth of BiT-mini's time."""
    return x.device.type == "cpu" and not (wants_gradient(x) or is_recorded() or torch.compiler.is_compiling())


def _maxima(x: Tensor, before: tuple[int, int], outside: float) -> Tensor:
    """The maxima of 3x3 windows at a stride of 2, first of rows, then of columns; the same numbers as a pool's.

    A side n gives ceil(n / 2), with `before` values of `outside` before it and as many after it as that takes.
    """
    border = [(first, 1 + side % 2 - first) for first, side in zip(before, x.shape[-2:], strict=True)]
    x = F.pad(x, (*border[1], *border[0]), value=outside)
    x = x[..., :-2:2, :].maximum(x[..., 1:-1:2, :]).maximum(x[..., 2::2, :])
    return x[..., :-2:2].maximum(x[..., 1:-1:2]).maximum(x[..., 2::2])


class StdConv(nn.Conv2d):
    """A convolution without bias whose weight is standardised.

    release="bit" pads symmetrically by half the kernel, whatever the stride; release="vit" pads as "SAME" does.

    In training mode, and where a gradient flows, every call standardises the weight. In evaluation mode the result is
    cached, which saves a third of the time for one image and costs a second copy of the weights. The cache is renewed
    when the weight is replaced, changed in place (its version counter, storage and a sample of its numbers are
    compared), moved or cast, and when the mode is set. A single number written past autograd, through `.data` or NumPy,
    can go unnoticed; call `eval()` then.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, release: Formula
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.release: Formula = release
        self._cached: CachedWeight | None = None
        self._number = register(self)

    def forward(self, input: Tensor) -> Tensor:
        weight, device = self.weight, input.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            input = input.to(torch.get_autocast_dtype(device))
        if self.training or wants_gradient(input, weight) or is_recorded() or device == "meta":
            return self.convolve(input, standardise(weight, self.release).to(input.dtype))
        if torch.compiler.is_compiling():
            return torch.ops.vit_bench.standardised_convolution(input, weight, self._number)
        return self.convolve_cached(input, weight)

    def convolve(self, input: Tensor, standardised: Tensor) -> Tensor:
        """The convolution with a standardised weight."""
        input, padding = self._padded(input)
        return F.conv2d(input, standardised, stride=self.stride, padding=padding)

    def convolve_cached(self, input: Tensor, weight: Tensor) -> Tensor:
        """The convolution with the cached standardised weight, which is renewed where it is out of date."""
        # A weight made in inference mode has no version, and a CUDA graph replays without checking the cache.
        if weight.is_inference() or (weight.is_cuda and torch.cuda.is_current_stream_capturing()):
            return self.convolve(input, standardise(weight, self.release).to(input.dtype))
        state = (weight._version, weight.data_ptr(), weight.stride(), input.dtype)
        sample = _sample(weight) if weight.device.type == "cpu" else None
        cached = self._cached
        if cached is None or cached.state != state or (sample is not None and not torch.equal(cached.sample, sample)):
            standardised = standardise(weight.detach(), self.release).to(input.dtype)
            kept = None if sample is None else sample.clone()
            cached = self._cached = CachedWeight(standardised, weight.detach(), state, kept)
        return self.convolve(input, cached.weight)

    def _padded(self, input: Tensor) -> tuple[Tensor, int]:
        """The input, padded where "SAME" is asymmetric, and the padding left to the convolution itself."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if self.release == "bit" or stride == 1:  # at stride 1 an odd kernel's "SAME" is symmetric as well
            return input, kernel // 2
        return pad_same(input, kernel, stride), 0

    def train(self, mode: bool = True) -> Self:
        self._cached = None
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:  # .to(), .half(), .cuda()
        self._cached = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cached": None}

    def __setstate__(self, state: dict[str, Any]) -> None:  # of a copy, too
        super().__setstate__(state)
        self._number = register(self)


class GroupNorm(nn.GroupNorm):
    """GroupNorm of 32 groups that also takes a single value per group, as in a 1x1 map of a narrow network.

    PyTorch's own refuses that for one image, but not for two. On a CPU the input is made contiguous, since PyTorch sums
    squares less exactly for channels-last maps: BiT-R50x1's error is six times as large.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(NORM_GROUPS, channels, eps=eps)

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type == "cpu":
            input = input.contiguous()
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


# ------------------------------------------------------------------ standardised weights, cached between forward passes
#
# A compiled program cannot read a weight's version, so it cannot tell whether a cached copy is current. It calls
# `vit_bench::standardised_convolution` instead, which is opaque to the compiler and checks every time.

SAMPLED = 256  # numbers of a weight that are compared at every call

_numbers = itertools.count()
_layers: weakref.WeakValueDictionary[int, StdConv] = weakref.WeakValueDictionary()


def register(layer: StdConv) -> int:
    """A number by which compiled programs find a layer while it exists."""
    number = next(_numbers)
    _layers[number] = layer
    return number


class CachedWeight(NamedTuple):
    """A standardised weight, and the state of the original weight when it was made."""

    weight: Tensor  # standardised, in the input's type
    source: Tensor  # the original weight: held, so that its address is not used again
    state: tuple[object, ...]  # its count of changes in place, its address and strides; the input's type
    sample: Any  # numbers of the weight; on a CPU only, since reading them from a GPU waits for it


def _sample(weight: Tensor) -> Tensor:
    flat = weight.detach().flatten() if weight.is_contiguous() else weight.detach().permute(0, 2, 3, 1).flatten()
    return flat[:: max(1, flat.numel() // SAMPLED)]


@torch.library.custom_op("vit_bench::standardised_convolution", mutates_args=())
def standardised_convolution(input: Tensor, weight: Tensor, layer: int) -> Tensor:
    return _layers[layer].convolve_cached(input, weight)


@standardised_convolution.register_fake
def _(input: Tensor, weight: Tensor, layer: int) -> Tensor:
    return _layers[layer].convolve(input, weight.to(input.dtype))
