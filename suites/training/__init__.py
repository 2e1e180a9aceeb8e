"""The training loop: `train` and `predict`, with what they are given (Batches, Place, Watch) and give back (Trained).

    trained = train(network, data, recipe, seed=0, place=Place(device=context.device), watch=Watch(work=folder))
    logits = predict(trained.network, split.images, transform, place)

What a step computes is a function of the recipe, the seed, the step's number and the data alone: the order of the
images, their augmentation, MixUp and dropout are drawn from generators seeded by (seed, stream, step), never by what
happened before. So a run that was killed goes on as if nothing had been, and how a batch is split among processes and
micro-batches changes rounding only (and with dropout, which numbers are drawn).
"""

from .contract import Batches, Place, Precision, Trained, TrainingError, Watch
from .evaluate import predict
from .loop import train

__all__ = ["Batches", "Place", "Precision", "Trained", "TrainingError", "Watch", "predict", "train"]
