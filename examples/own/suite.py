"""A suite of our own: an image is of the class whose mean feature is nearest."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from vit_bench.suites.protocol import Measurement, Suite, task_question


@dataclass(frozen=True, kw_only=True)
class NearestMean(Suite):
    """The class whose mean feature is nearest, of as many training images as `images`."""

    name: ClassVar[str] = "nearest-mean"
    version: ClassVar[int] = 1
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini", "BiT-mini")
    default_tasks: ClassVar[str] = "shapes"
    images: int | None = None  # None: all

    def run(self, context):
        train = context.features(context.task, ("train",), resize="square", first=self.images)
        test = context.features(context.task, ("test",), resize="square")
        means = [train.x[train.labels == label].mean(axis=0) for label in range(context.task.num_classes)]
        answers = np.linalg.norm(test.x[:, None] - np.stack(means), axis=2).argmin(axis=1)
        top1 = 100 * float(np.mean(answers == test.labels))
        question = task_question(context.task) | {"images": self.images}
        yield Measurement(metric="top1", value=top1, unit="percent", question=question, n_test=len(answers))


NEAREST_MEAN = NearestMean()
