"""The training loop: `loop.train` and `evaluate.predict`; what they are given and give back is in `contract`.

    trained = train(network, data, recipe, seed=0, compute=Compute(device=context.device), watch=Watch(work=folder))
    logits = predict(trained.network, split.images, transform, compute=compute)

What a step computes is a function of the recipe, the seed, the step's number and the data alone: the order of the
images, their augmentation, MixUp and dropout are drawn from generators seeded by (seed, stream, step), never by what
happened before. So a run that was killed goes on as if nothing had been, and how a batch is split among processes and
micro-batches changes rounding only (and with dropout, which numbers are drawn).
"""
