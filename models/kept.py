"""Standardised weights that are kept between forward passes, and the operation that compiled programs call for them.

A compiled program may not look at a weight's version, so it cannot know by itself whether a kept copy still stands.
It calls `vit_bench::standardised_convolution`, one opaque step to the compiler, which looks anew every time.
"""

from __future__ import annotations

import itertools
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .convolution import StdConv

SAMPLED = 256  # numbers of a weight that are compared at every call

_numbers = itertools.count()
_layers: weakref.WeakValueDictionary[int, StdConv] = weakref.WeakValueDictionary()


def enlist(layer: StdConv) -> int:
    """A number by which compiled programs find a layer while it lives."""
    number = next(_numbers)
    _layers[number] = layer
    return number


@dataclass(frozen=True, kw_only=True)
class KeptWeight:
    """A standardised weight, and what its source looked like when it was made."""

    weight: Tensor  # standardised, in the input's type
    source: Tensor  # the storage of the weight: held, so that its address goes to no other
    version: int  # counts the changes in place that autograd sees
    sample: Tensor | None  # numbers of the weight; on a CPU alone: elsewhere a look at them waits for the device

    @classmethod
    def of(cls, weight: Tensor, standardised: Tensor) -> Self:
        return cls(
            weight=standardised,
            source=weight.detach(),
            version=weight._version,
            sample=_sample(weight).clone() if weight.device.type == "cpu" else None,
        )

    def stands(self, weight: Tensor, input: Tensor) -> bool:
        """Whether it is still what the weight would give for this input."""
        return (
            self.version == weight._version
            and self.source.data_ptr() == weight.data_ptr()
            and self.source.stride() == weight.stride()
            and self.weight.dtype == input.dtype
            and (self.sample is None or torch.equal(self.sample, _sample(weight)))
        )


def _sample(weight: Tensor) -> Tensor:
    flat = weight.detach().flatten() if weight.is_contiguous() else weight.detach().permute(0, 2, 3, 1).flatten()
    return flat[:: max(1, flat.numel() // SAMPLED)]


@torch.library.custom_op("vit_bench::standardised_convolution", mutates_args=())
def standardised_convolution(input: Tensor, weight: Tensor, layer: int) -> Tensor:
    return _layers[layer].convolve_kept(input, weight)


@standardised_convolution.register_fake
def _(input: Tensor, weight: Tensor, layer: int) -> Tensor:
    return _layers[layer].convolve(input, weight.to(input.dtype))
