"""A table of our own: the accuracy of every model on every task."""

from vit_bench.results.tables import Table, TableSpec


def accuracies(request):
    top1 = request.frame.pivot(index="model", columns="task", values="value")
    rows = tuple((model, *(f"{value:.1f}" for value in values)) for model, *values in top1.itertuples(name=None))
    return [Table(title="Nearest class mean: top-1 accuracy, percent", columns=("model", *top1.columns), rows=rows)]


MEANS = TableSpec(name="means", summary="nearest class means", build=accuracies, suites=("nearest-mean",))
