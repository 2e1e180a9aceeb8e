"""The few-shot probe of networks in training."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from ...models.spec import Backbone
from ..fewshot import FewShot
from ..images.features import Extraction, extract
from ..images.feeding import Feeder
from ..protocol import Context, Split, Task, fingerprint

BATCH = 64  # images a forward pass


class FewShotProbe(Feeder):
    """The closed-form few-shot probe of one task, on networks in training. Their features are not cached.

    `image_size` is the side in pixels that the network is built for; None: the model's own.
    """

    def __init__(self, context: Context, task: Task, shots: int, image_size: int | None = None) -> None:
        self.model, self.task, self.device = context.model, task, context.device
        self.rank, self.processes, self.batch_size = 0, 1, BATCH  # every process probes by itself
        self.advance = lambda count, *_, **__: context.advance(count)  # the run's note stays
        self.beside, self.source, self.skip_bad = context.beside, None, False
        self._suite, self._context = FewShot(shots=(shots,), image_size=image_size), context
        self._read: dict[str, Split] = {}
        parts = [self.images(task, split) for split in ("train", "val", "test") if task.splits.get(split)]
        asked = {"task": task.name, "shots": shots, **fingerprint(*parts)}
        self.question = {"metric": "top1", "probe": asked}

    def images(self, task: Task, split: str) -> Split:
        if split not in self._read:
            self._read[split] = self._context.images(task, split)
        return self._read[split]

    def top1(self, network: Backbone) -> float:
        """The mean accuracy over support sets, in percent, as suite=fewshot measures it."""
        self._loaded = SimpleNamespace(backbone=network, resized=lambda _: network)
        return float(
            np.mean([one.value or 0.0 for one in self._suite.run(cast("Context", self)) if one.metric == "top1"])
        )

    def output_key(self) -> tuple[dict[str, Any], dict[str, Any]]:
        raise AssertionError("features of a network in training are not cached")

    def _outputs(self, split: Split, how: Extraction, treatment: Mapping[str, Any]) -> np.ndarray:  # noqa: ARG002
        features = extract(
            self._loaded.backbone, split.images, how.transform, batch_size=how.batch_size, precision=how.precision
        )
        self.advance(len(split))
        return features
