"""The training loop: `loop.train` and `evaluate.predict`. Their arguments and results are in `contract`.

    trained = train(network, data, recipe, seed=0, compute=Compute(device=context.device), watch=Watch(work=folder))
    logits = predict(trained.network, split.images, transform, compute=compute)

A step depends only on the recipe, the seed, the step's number and the data: the order of the images, augmentation,
MixUp and dropout are drawn from generators seeded by (seed, stream, step). So a killed run resumes exactly, and the
split of a batch among processes and micro-batches changes rounding only (and, with dropout, which numbers are drawn).
"""
