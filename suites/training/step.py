"""One training step: forward and backward passes of its micro-batches, then the update by the summed gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ...registry import UsageError
from ..images.resize import to_device
from . import order
from .augment import TrainingImages
from .contract import Compute
from .parallel import TrainingProcesses
from .recipe import Recipe

StepOutcome = Literal["done", "interrupted", "out of memory"]


class TrainState:
    """A network in training with its optimizer. Only `apply` changes weights: the state is always between two steps."""

    def __init__(
        self,
        network: nn.Module,
        data: TrainingImages,
        recipe: Recipe,
        *,
        seed: int,
        compute: Compute,
        processes: TrainingProcesses,
    ) -> None:
        self.data, self.recipe, self.seed, self.processes, self.compute = data, recipe, seed, processes, compute
        self.network = network.to(compute.device)
        if compute.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        self._classes = torch.from_numpy(_classes_of_images(data, recipe)).to(compute.device)  # N L, -1: no class
        self.optimizer = _optimizer(recipe, self.network, compute.device)
        called, self._stepping = processes.wrap(self.network, self.optimizer)
        self._called: Any = torch.compile(called) if compute.compile else called
        named = self.network.named_parameters()
        self.named_parameters = {name: parameter for name, parameter in named if parameter.requires_grad}
        self.parameters = list(self.named_parameters.values())
        self.averages = [parameter.detach().clone() for parameter in self.parameters] if recipe.polyak else []
        self._average = get_ema_multi_avg_fn(recipe.polyak) if recipe.polyak else None
        # A step is not dropped half way if each pass changes running means.
        self.has_batch_norm = any(isinstance(module, _BatchNorm) for module in self.network.modules())
        self._can_drop_step = not self.has_batch_norm and not processes.averages
        self._loss = torch.zeros((), device=compute.device)

    def trial_loss(self, count: int) -> Tensor:
        """The loss of `count` images in this process alone, to measure the memory that it takes."""
        part = np.arange(count)
        images = self._images(self._indices(0), part, 0)
        with self.processes.accelerator.autocast():
            return self._each_loss(self.network(images), part, 0).sum()

    def accumulate(self, step: int, micro_batch: int, interrupted: Callable[[], bool]) -> StepOutcome:
        """Compute the gradient of this process's part of a step. Unless it is "done", the step can be repeated."""
        self.network.zero_grad(set_to_none=True)
        self._loss = torch.zeros((), device=self.compute.device)
        parts = order.split(self.recipe.batch, self.processes.size, self.processes.rank, micro_batch)
        try:
            for near in (
                step,
                step + 1,
            ):  # decoded while the device computes; of this step, what is missing
                self._announce(near, parts)
            for number, part in enumerate(parts):
                if self._can_drop_step and interrupted():
                    return "interrupted"
                if len(part) or self.processes.averages:
                    self._backward(step, part, last=number == len(parts) - 1)
        except KeyboardInterrupt:
            return "interrupted"
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self.network.zero_grad(set_to_none=True)
            return "out of memory"
        return "done"

    def _backward(self, step: int, part: np.ndarray, *, last: bool) -> None:
        shown = part if len(part) else np.arange(1)  # a process without images takes part with weight 0
        torch.manual_seed(order.stream(self.seed, order.DROPOUT, step, int(shown[0])))
        images = self._images(self._indices(step), shown, step)
        scale = (self.processes.size if self.processes.averages else 1) / self.recipe.batch
        with self.processes.sync(self._called, last):
            with self.processes.accelerator.autocast():
                logits = self._called(images)
            loss = self._each_loss(logits, shown, step).sum() * (scale if len(part) else 0.0)
            self.processes.accelerator.backward(loss)
        self._loss += loss.detach() / (self.processes.size if self.processes.averages else 1)

    def _announce(self, step: int, parts: list[np.ndarray]) -> None:
        """Let this process's images of a step be decoded in the background. After the last step there are none."""
        positions = [self._shown(part, step) for part in parts if len(part)]
        if positions and step < self.recipe.steps:
            self.data.ahead(self._indices(step)[np.concatenate(positions)])

    def _shown(self, part: np.ndarray, step: int) -> np.ndarray:
        """The positions of a micro-batch's images, with MixUp after that of the image before the first."""
        mixed = order.mixing(self.recipe.mixup, self.seed, step) != 1
        return np.concatenate([[(part[0] - 1) % self.recipe.batch], part]) if mixed else part

    def _indices(self, step: int) -> np.ndarray:
        return order.indices(len(self.data), self.recipe.batch, self.seed, step)

    def _images(self, indices: np.ndarray, part: np.ndarray, step: int) -> Tensor:
        """(P, 3, H, W) the images at `part`, mixed by MixUp with the image before each in the batch."""
        share = order.mixing(self.recipe.mixup, self.seed, step)
        generator = torch.Generator().manual_seed(order.stream(self.seed, order.AUGMENT, step))
        images = self.data.batch(indices, self._shown(part, step), generator, self.compute.device)
        if share != 1:
            images = images[1:].mul(share).add_(images[:-1], alpha=1 - share)  # as torchvision's MixUp mixes
        return images.contiguous(memory_format=torch.channels_last) if self.compute.channels_last else images

    def _each_loss(self, logits: Tensor, part: np.ndarray, step: int) -> Tensor:
        """(P,) losses; for mixed images, the weighted sum of those of both images' classes."""
        if getattr(self.network, "gives_losses", False):
            return logits.float()
        indices, smoothing = self._indices(step), self.recipe.label_smoothing
        share = order.mixing(self.recipe.mixup, self.seed, step)

        def loss(positions: np.ndarray) -> Tensor:
            classes = self._classes[to_device(indices[positions], self._classes.device)]  # P L
            if self.recipe.loss == "sigmoid":
                return sigmoid_losses(logits.float(), multi_hot(classes, logits.shape[1]))
            return F.cross_entropy(logits.float(), classes[:, 0], reduction="none", label_smoothing=smoothing)

        if share == 1:
            return loss(part)
        return share * loss(part) + (1 - share) * loss((part - 1) % len(indices))

    def apply(self, step: int) -> tuple[Tensor, Tensor]:
        """Update the weights. Returns the loss of the batch and the norm of its gradient, as tensors on the device."""
        loss = self.processes.sum_gradients(self.parameters, self._loss)
        limit = self.recipe.clip_norm or float("inf")
        norm: Any = self.processes.accelerator.clip_grad_norm_(self.parameters, limit)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate(step)
        self._stepping.step()
        if self._average is not None:
            with torch.no_grad():
                self._average(self.averages, [parameter.detach() for parameter in self.parameters], step)
        return loss, torch.as_tensor(norm)

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint, unsharded and on the CPU. All processes must call this together."""
        moments = {
            name: {key: _to_cpu(value) for key, value in self.optimizer.state[parameter].items()}
            for name, parameter in self.named_parameters.items()
            if parameter in self.optimizer.state
        }
        scaler = self.processes.accelerator.scaler
        return {
            "network": {name: _to_cpu(tensor) for name, tensor in self.network.state_dict().items()},
            "optimizer": moments,
            "averages": [_to_cpu(tensor) for tensor in self.averages],
            "scaler": {} if scaler is None else scaler.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        network = self.network.state_dict()
        with torch.no_grad():
            for name, tensor in network.items():
                tensor.copy_(_laid_out_like(state["network"][name], tensor))
            for average, tensor in zip(self.averages, state["averages"], strict=True):
                average.copy_(_laid_out_like(tensor, average))
        for name, parameter in self.named_parameters.items():
            for key, value in state["optimizer"].get(name, {}).items():
                shaped = isinstance(value, Tensor) and value.shape == parameter.shape
                self.optimizer.state[parameter][key] = (
                    _laid_out_like(value, parameter) if shaped else value.to(self.compute.device)
                )
        if state["scaler"] and self.processes.accelerator.scaler is not None:
            self.processes.accelerator.scaler.load_state_dict(state["scaler"])

    @contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        """The network as `finish` would leave it, in the middle of the training."""
        trained = [parameter.detach().clone() for parameter in self.parameters] if self.averages else []
        self.finish()
        try:
            yield self.network
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, trained, strict=False):
                    parameter.copy_(value)
            self.network.train()

    def finish(self) -> None:
        """Put averaged weights, if any, into the network, drop gradients, and switch to evaluation mode."""
        self.network.zero_grad(set_to_none=True)
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.averages, strict=False):
                parameter.copy_(average)
        self.network.eval()


def sigmoid_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """(P,) sums over K classes of binary cross-entropies, from (P, K) logits and (P, K) targets in [0, 1].

    It is linear in the targets, so that of mixed targets is the mixture of both losses.
    """
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1)


def multi_hot(classes: Tensor, num_classes: int) -> Tensor:
    """(P, K) targets: 1 at each of an image's classes, given as (P, L) numbers with -1 where there are fewer than L."""
    targets = torch.zeros((len(classes), num_classes + 1), device=classes.device)
    return targets.scatter_(1, classes.where(classes >= 0, num_classes), 1.0)[:, :num_classes]


def _classes_of_images(data: TrainingImages, recipe: Recipe) -> np.ndarray:
    """(N, L) the classes of each image, with -1 where it has fewer than L.

    Raises UsageError for loss=softmax if an image has no class or several.
    """
    if data.label_sets is None:
        return np.ascontiguousarray(data.labels, dtype=np.int64)[:, None]
    if recipe.loss == "softmax":
        for row, found in enumerate(data.label_sets):
            if len(set(found)) != 1:
                has = f"training image {row} has {len(set(found))} classes"
                raise UsageError(f"{has}, and loss=softmax takes one an image: type suite.loss=sigmoid")
    classes = np.full((len(data), max(1, *map(len, data.label_sets))), -1, dtype=np.int64)
    for row, found in enumerate(data.label_sets):
        classes[row, : len(found)] = found
    return classes


def out_of_memory(error: BaseException) -> bool:
    """Whether a device or the system raised this because memory ran out."""
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, Exception) and (should_reduce_batch_size(error) or "ALLOC_FAILED" in str(error))


def _optimizer(recipe: Recipe, network: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    parameters = _by_decay(recipe, network)
    rates: dict[str, Any] = {"lr": recipe.learning_rate(0), "weight_decay": recipe.weight_decay}
    rates["fused"] = device.type in ("cuda", "cpu")
    if recipe.optimizer == "adam":
        return torch.optim.AdamW(parameters, betas=recipe.betas, **rates)
    return torch.optim.SGD(parameters, momentum=recipe.momentum, **rates)


def _by_decay(recipe: Recipe, network: nn.Module) -> list[Any]:
    """The parameters to train, as torch's optimizers take them; without weight decay those that have none."""
    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    if recipe.decay_on == "all" or not recipe.weight_decay:
        return [parameter for _, parameter in named]
    kernels = [parameter for name, parameter in named if is_kernel(name, parameter)]
    others = [parameter for name, parameter in named if not is_kernel(name, parameter)]
    return [{"params": kernels}, {"params": others, "weight_decay": 0.0}]


def is_kernel(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is the matrix of a linear layer, a convolution or an attention, by torch's names for them."""
    return name.endswith("weight") and parameter.ndim > 1


def _to_cpu(value: Any) -> Any:
    """A copy of a tensor on the CPU, gathered from all shards. Other values are returned as they are."""
    if not isinstance(value, Tensor):
        return value
    full = value.full_tensor() if hasattr(value, "full_tensor") else value  # type: ignore[operator]  # a DTensor
    return full.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)


def _laid_out_like(value: Tensor, other: Tensor) -> Tensor:
    """An unsharded tensor with the layout, device and sharding of another."""
    if hasattr(other, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(value.to(other.device), other.device_mesh, other.placements)  # type: ignore[attr-defined]
    return torch.empty_like(other, dtype=value.dtype).copy_(value)
