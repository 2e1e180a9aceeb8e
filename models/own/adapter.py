"""A user's module as a Backbone: features by its own method, or at a named layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from ...errors import describe_error
from ...registry import UsageError, suggest
from ..networks.base import check_classes

if TYPE_CHECKING:
    from pathlib import Path

    from ..spec import Model


def zero_head(num_features: int, num_classes: int) -> nn.Linear:
    """A new head: zero, as the official code starts one, so nothing is drawn for it."""
    check_classes(num_classes)
    head = cast(nn.Linear, skip_init(nn.Linear, num_features, num_classes))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class OwnBackbone(nn.Module):
    """Wraps a module that has `features(images)`, or a tap: the dotted name of the submodule whose output is used.

    A tap's (B, D) is used as it is, its (B, C, H, W) is averaged over H and W. `source_files` are the user's files that
    building it read, empty for a module that was passed from Python.
    """

    def __init__(self, spec: Model, module: nn.Module, tap: str | None, num_classes: int | None) -> None:
        super().__init__()
        self.spec = spec
        self.notes: tuple[str, ...] = ()
        self.image_size = spec.input.size
        self.source_files: tuple[Path, ...] = ()
        self.tested: Mapping[str, Any] = {}  # how its library's own evaluation resizes images; see published.Library
        self.module = module.eval()
        self.tap = self._find_tap(tap)
        self.num_features = self._probe()
        self.head = None if num_classes is None else zero_head(self.num_features, num_classes)
        self.eval()

    def _find_tap(self, tap: str | None) -> str | None:
        """The tap to use: the one that was set, none where there is a method, else the one the object declares."""
        method = getattr(self.module, "features", None)
        declared = getattr(self.module, "tap", None)
        if tap is None and callable(method) and not isinstance(method, nn.Module):
            return None  # torchvision's VGG has a submodule called `features`, which is no such method
        if tap is None and isinstance(declared, str):
            tap = declared
        names = [name for name, _ in self.module.named_modules() if name]
        if tap is None:
            children = [name for name, _ in self.module.named_children()]
            raise UsageError(
                f"{self.spec.name} has no features(images) method and names no tap. Add the method, or set the tap to "
                f"a submodule that gives (B, D) or (B, C, H, W): {', '.join(children[-8:]) or 'it has none'}"
            )
        if tap not in names:
            children = [name for name, _ in self.module.named_children()]
            raise UsageError(f"{self.spec.name} has no submodule '{tap}'. {suggest(tap, names, children)}")
        return tap

    def _probe(self) -> int:
        """The width of the features, from one forward pass of zeros."""
        parameter = next(
            (p for p in self.module.parameters() if p.is_floating_point()), torch.zeros((), dtype=torch.float32)
        )
        if parameter.dtype != torch.float32:
            raise UsageError(f"{self.spec.name} has {parameter.dtype} weights; return it as float32: module.float()")
        shape = (2, 3, *self.image_size)
        zeros = torch.zeros(shape, device=parameter.device, dtype=parameter.dtype)
        try:
            with torch.no_grad():
                return self.features(zeros).shape[1]
        except UsageError:
            raise
        except Exception as error:  # whatever a user's code raises
            raise UsageError(f"{self.spec.name} failed on images of shape {shape}: {describe_error(error)}") from error

    def features(self, images: Tensor) -> Tensor:
        """The representation (B, D) of (B, 3, H, W) images. Raises UsageError where it is anything else."""
        if self.tap is None:
            features: Any = self.module.features(images)  # type: ignore[operator]
            origin = "features(images)"
        else:
            features = self._output_of(self.tap, images)
            origin = f"the tap '{self.tap}'"
            if isinstance(features, Tensor) and features.ndim == 4:
                features = features.mean(dim=(2, 3))  # B C
        batch = len(images)
        if not isinstance(features, Tensor):
            raise UsageError(f"{self.spec.name}: {origin} gives a {type(features).__name__}, not a tensor (B, D)")
        if features.ndim == 2 and len(features) == batch and features.shape[1] and features.is_floating_point():
            return features
        problem = f"{self.spec.name}: {origin} gives {tuple(features.shape)} of {features.dtype} for {batch} images, "
        advice = "and (B, D) floats are needed"
        if features.ndim == 3:
            advice += ": tokens? Tap a layer behind their pooling, or write a features(images) method that pools them"
        elif self.tap is None and features.ndim == 4:
            advice += ": average over H and W in the method, or set the tap"
        raise UsageError(problem + advice)

    def _output_of(self, tap: str, images: Tensor) -> Any:
        outputs: list[Any] = []
        handle = self.module.get_submodule(tap).register_forward_hook(lambda _module, _inputs, out: outputs.append(out))
        try:
            self.module(images)
        finally:
            handle.remove()
        if not outputs:
            raise UsageError(f"{self.spec.name}: its forward pass never runs the tap '{tap}'")
        return outputs[-1]

    @property
    def has_own_head(self) -> bool:
        """Of a user's module it is taken for granted: it is its own judge."""
        return True

    def own_logits(self, images: Tensor) -> Tensor:
        """What the user's module itself says. Raises UsageError where that is anything else than (B, K)."""
        try:
            logits = self.module(images)
        except Exception as error:  # whatever a user's code raises
            raise UsageError(
                f"{self.spec.name} failed as a classifier, module(images): {describe_error(error)}"
            ) from error
        if isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == len(images):
            return logits
        what = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(
            f"{self.spec.name}: module(images) gives {what} for {len(images)} images; expected (B, K) logits"
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the new head, or the features where there is none."""
        features = self.features(images)
        return features if self.head is None else self.head(features)
