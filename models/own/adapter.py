"""Backbones around modules that this project did not build: features by a method of the module, or of a layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from ...errors import describe_error
from ...registry import UsageError, suggest
from ..networks.base import BackboneModule, check_classes

if TYPE_CHECKING:
    from pathlib import Path

    from ..spec import Model


OUTPUT = "output"  # the tap that is the module's own output, where no submodule is called so
OUR_HEAD = ("head.weight", "head.bias")


def saved_names(names: Iterable[str]) -> set[str]:
    """The names in files of a module with these names: bare, and as fine-tuning saves its Backbone with its head."""
    bare = set(names)
    return {*bare, *(f"module.{name}" for name in bare), *OUR_HEAD}


def is_backbone(names: Collection[str]) -> bool:
    """Whether the names in a file are a Backbone's, as fine-tuning saves it: those of the module, and maybe a head."""
    return any(name.startswith("module.") for name in names) and all(
        name.startswith(("module.", "head.")) for name in names
    )


def zero_head(num_features: int, num_classes: int) -> nn.Linear:
    """A new head of zeros, as in the official code."""
    check_classes(num_classes)
    head = cast(nn.Linear, skip_init(nn.Linear, num_features, num_classes))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class OthersBackbone(BackboneModule):
    """Base of the networks whose `module` a library or a user built; a head is new, or was taken out of `module`."""

    def __init__(self, spec: Model, module: nn.Module) -> None:
        super().__init__(spec, spec.input.size)
        self.module = module
        self.source_files: tuple[Path, ...] = ()  # the files that it was built from: a user's code, a library's weights
        self.tested: Mapping[str, Any] = {}  # how the library's own evaluation resizes images: Library.tested

    def try_forward(self, compute: Callable[[Tensor], Any]) -> Any:
        """The result of a function for two images of zeros. Raises UsageError where it fails."""
        device = next((parameter.device for parameter in self.module.parameters()), None)
        zeros = torch.zeros((2, 3, *self.image_size), device=device)
        try:
            with torch.no_grad():
                return compute(zeros)
        except UsageError:
            raise
        except Exception as error:  # whatever a library's or a user's code raises
            shape, settled = tuple(zeros.shape), getattr(self.spec.architecture, "settled", ("size",))
            words = "model.image_size=PIXELS, or image_size=PIXELS where the suite says the size"
            hint = "" if "size" in settled else f". Where it takes images of another size, type {words}"
            raise UsageError(
                f"{self.spec.name} failed on images of shape {shape}: {describe_error(error)}{hint}"
            ) from error


class OwnBackbone(OthersBackbone):
    """Wraps a module that has `features(images)`, or a tap: the dotted name of the submodule whose output is used.

    A tap's (B, D) is used as it is, its (B, C, H, W) is averaged over H and W. Without either the features are what
    enters the module's last linear layer, where that gives the module's output.
    """

    def __init__(self, spec: Model, module: nn.Module, tap: str | None, num_classes: int | None) -> None:
        super().__init__(spec, module.eval())
        self.classifier: str | None = None  # the linear layer whose input the features are
        self.tap = self._find_tap(tap)
        self.num_features = self._find_width()
        self.head = None if num_classes is None else zero_head(self.num_features, num_classes)

    @property
    def feature(self) -> str:
        """What the features are, in a word: the part that is tapped, the last layer that they enter, or the method."""
        return self.tap or self.classifier or "features"

    def _find_tap(self, tap: str | None) -> str | None:
        """The tap to use: the one that is set; else none where there is a method; else the one the module declares.

        Without all of these, `classifier` is found. Raises UsageError where there is none, with what could be tapped.
        """
        method = getattr(self.module, "features", None)
        declared = getattr(self.module, "tap", None)
        if tap is None and callable(method) and not isinstance(method, nn.Module):
            return None  # a module is no method: torchvision's VGG has a submodule called `features`
        if tap is None and isinstance(declared, str):
            tap = declared
        if tap is None:
            self.classifier = self._find_classifier()
            self.notes = (f"features are what enters '{self.classifier}', its last layer; model.tap= names others",)
            return None
        names = [name for name, _ in self.module.named_modules() if name]
        if tap not in (*names, OUTPUT):
            children = [name for name, _ in self.module.named_children()]
            raise UsageError(f"{self.spec.name} has no submodule '{tap}'. {suggest(tap, names, [*children, OUTPUT])}")
        return tap

    def _find_classifier(self) -> str:
        """The linear layer that gives the module's output, from one forward pass of zeros."""
        seen: dict[str, tuple[Any, Any]] = {}  # in the order of the forward pass

        def keep(name: str) -> Any:
            return lambda _module, inputs, output: seen.update({name: (inputs[0] if inputs else None, output)})

        parts = {name: part for name, part in self.module.named_modules() if name}
        handles = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
        try:
            output = self.try_forward(self.module)
        finally:
            for handle in handles:
                handle.remove()
        outputs = list(output.values()) if isinstance(output, Mapping) else [output]
        if isinstance(output, Mapping) and "logits" in output:
            outputs = [output["logits"]]
        for name, (entering, leaving) in reversed(seen.items()):
            is_last = isinstance(parts[name], nn.Linear) and any(leaving is one for one in outputs)
            if is_last and isinstance(entering, Tensor) and entering.ndim == 2:
                return name
        gives = {name: leaving for name, (_, leaving) in seen.items()} | {OUTPUT: output}
        fitting = [
            f"{name} ({', '.join(map(str, ('B', *value.shape[1:])))})"
            for name, value in gives.items()
            if isinstance(value, Tensor) and value.ndim in (2, 4) and len(value) == 2 and value.is_floating_point()
        ]
        raise UsageError(
            f"{self.spec.name} has no features(images) method, names no tap and does not end in a linear layer. Type "
            "model.tap=NAME, the part whose output is the feature, (B, D) or (B, C, H, W), which is averaged: "
            f"{', '.join(fitting[-8:]) or 'none of its parts gives one; add the method'}"
        )

    def _find_width(self) -> int:
        """The width of the features, from one forward pass of zeros."""
        dtype = next((part.dtype for part in self.module.parameters() if part.is_floating_point()), torch.float32)
        if dtype != torch.float32:
            raise UsageError(f"{self.spec.name} has {dtype} weights; return it as float32: module.float()")
        return self.try_forward(self.features).shape[1]

    def features(self, images: Tensor) -> Tensor:
        """The representation (B, D) of (B, 3, H, W) images. Raises UsageError where it is anything else."""
        if self.classifier is not None:
            features: Any = self._seen_at(self.classifier, images)[0]
            origin = f"what enters '{self.classifier}'"
        elif self.tap is None:
            features = self.module.features(images)  # type: ignore[operator]
            origin = "features(images)"
        else:
            features = self._seen_at(self.tap, images)[1]
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

    def _seen_at(self, tap: str, images: Tensor) -> tuple[Any, Any]:
        """What enters and what leaves a part of the module in a forward pass."""
        seen: list[tuple[Any, Any]] = []
        is_part = any(name == tap for name, _ in self.module.named_modules())
        part = self.module.get_submodule(tap if is_part else "")  # else it is OUTPUT
        handle = part.register_forward_hook(lambda _module, inputs, out: seen.append((inputs[0] if inputs else 0, out)))
        try:
            self.module(images)
        finally:
            handle.remove()
        if not seen:
            raise UsageError(f"{self.spec.name}: its forward pass never runs the tap '{tap}'")
        return seen[-1]

    @property
    def has_own_head(self) -> bool:
        """True: `own_logits` checks what the module gives."""
        return True

    def own_logits(self, images: Tensor) -> Tensor:
        """The (B, K) output of the head that a file brought, else of the module itself.

        Raises UsageError where it gives anything else.
        """
        if self.head is not None:
            return self(images)
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
