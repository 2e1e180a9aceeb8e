"""A table of our own: the accuracy of every model on every task."""

from vit_bench.results.tables import Recipe, Table


def accuracies(frame):
    top1 = frame[frame["metric"] == "top1"].pivot(index="model", columns="task", values="value")
    rows = tuple((model, *(f"{value:.1f}" for value in values)) for model, *values in top1.itertuples(name=None))
    return Table(title="Nearest class mean: top-1 accuracy, percent", columns=("model", *top1.columns), rows=rows)


MEANS = Recipe(name="means", summary="nearest class means", suites=("nearest-mean",), make=accuracies)
