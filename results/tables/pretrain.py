"""Pre-training: accuracy on the minival and of few-shot probes, by number of images pre-trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .rows import mean_in_words, measurements, protocol_notes, provenance_notes, row_labels
from .table import PRETRAINED, Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import pandas as pd


def pretrain(request: TableRequest) -> Sequence[Table]:
    """A table a pre-training set."""
    assert request.frame is not None
    shown = request.frame[request.frame["metric"].isin(["top1_val", "top1_probe"]) | (request.frame["status"] != "ok")]
    return [_table(str(task), part) for task, part in shown.groupby("task", sort=False)]


def _table(task: str, frame: pd.DataFrame) -> Table:
    """A row a model and number of images: the minival's accuracy, each probe's, and the mean of the probes."""
    probes = list(frame["probe"].dropna().unique()) if "probe" in frame else []
    several = len(probes) > 1
    rows: list[tuple[str, ...]] = []
    rules: set[int] = set()
    sources: dict[tuple[int, int], tuple[str, ...]] = {}
    for label, of_model in row_labels(frame):
        rules.add(len(rows))
        ok = of_model[of_model["status"] == "ok"]
        for images, part in ok.groupby("images"):
            of_probes = part[part["metric"] == "top1_probe"]
            rate, minival = _chosen(part[part["metric"] == "top1_val"], of_probes)
            cells = [minival, *(of_probes[of_probes["probe"] == name] for name in probes)]
            cells += [of_probes.groupby("seed", as_index=False)["value"].mean().assign(status="ok")] if several else []
            for column, cell in enumerate(cells[: 1 + len(probes)], start=3):
                sources[len(rows), column] = measurements(cell)
            rows.append((label, f"{images:,.0f}", rate, *(mean_in_words(cell)[1] for cell in cells)))
        if ok.empty:
            rows.append((label, "", "", str(of_model["status"].iloc[0]), *[""] * (len(probes) + several)))
    notes = protocol_notes(frame)
    notes.append(
        "minival: held-out images of the same set, on which the candidate (learning rate; with rule=regularised "
        "regularisation) and when to stop are chosen."
    )
    if probes:
        notes.append("Probes: closed-form few-shot probes of the kept weights, the mean over three support sets.")
    if (seeds := frame["seed"].dropna().nunique()) > 1:
        notes.append(f"Mean ± std (ddof 1) over {seeds} seeds.")
    return Table(
        title=f"pre-training on {task}: top-1 accuracy, percent",
        columns=("model", "images", "rate", "minival", *probes, *(["mean of probes"] if several else [])),
        rows=tuple(rows),
        labels=3,
        notes=(*notes, *provenance_notes(frame)),
        rules=frozenset(rules - {0}),
        sources=sources,
    )


def _chosen(minival: pd.DataFrame, of_probes: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The rate of the chosen candidate in words, and its records: that of the probes, without them the best."""
    candidates = minival.set_index(["lr", "recipe"]).index
    if of_probes.empty:
        chosen = candidates == minival.groupby(["lr", "recipe"])["value"].mean().idxmax()
    else:
        chosen = candidates == (of_probes["lr"].iloc[0], of_probes["recipe"].iloc[0])
    return f"{minival[chosen]['lr'].iloc[0]:g}", minival[chosen]


PRETRAIN = TableSpec(
    name="pretrain",
    summary="pre-training here: held-out accuracy and few-shot probes by number of images (ViT paper, Figure 4)",
    suites=(PRETRAINED,),
    published=False,
    build=pretrain,
)
