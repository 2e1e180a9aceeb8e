"""Pre-training: accuracy on the minival and of few-shot probes, by number of images pre-trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .rows import mean_in_words, measurements, protocol_notes, provenance_notes, row_labels
from .table import PRETRAINED, Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import pandas as pd


MINIVAL = {  # of each objective: metrics on the minival, and their columns
    "supervised": {"top1_val": "minival"},
    "masked_patch": {"loss_val": "loss", "entropy_val": "entropy", "top1_val": "right colours"},
}

TITLES = {"supervised": "top-1 accuracy, percent", "masked_patch": "loss in nats, top-1 accuracy of probes in percent"}


def pretrain(request: TableRequest) -> Sequence[Table]:
    """A table a pre-training set and objective: right colours of patches are no accuracy of classes."""
    assert request.frame is not None
    metrics = [*MINIVAL["masked_patch"], "top1_probe", "target_reached", "seconds_to_target"]
    shown = request.frame[request.frame["metric"].isin(metrics) | (request.frame["status"] != "ok")]
    tables = []
    for task, part in shown.groupby("task", sort=False):
        objectives = part["question"].map(_objective)
        objectives = objectives.mask(objectives.eq("") & part["status"].eq("ok"), "supervised")  # an edited CSV
        first, *others = list(dict.fromkeys(objectives[part["status"] == "ok"])) or ["supervised"]
        tables.append(_table(str(task), first, part[objectives.isin([first, ""])]))
        tables += [_table(str(task), other, part[objectives == other]) for other in others]
    return tables


def _objective(question: str) -> str:
    """The objective of a record; "" of a job that failed, which is in the first table of its task."""
    return str(json.loads(question or "{}").get("objective", ""))


def _table(task: str, objective: str, frame: pd.DataFrame) -> Table:
    """A row a model and number of images: what was found on the minival, each probe's accuracy, and their mean."""
    probes = list(frame["probe"].dropna().unique()) if "probe" in frame else []
    several, of_minival = len(probes) > 1, MINIVAL[objective]
    targets = sorted(frame["until"].dropna().unique()) if "until" in frame else []
    rows: list[tuple[str, ...]] = []
    rules: set[int] = set()
    sources: dict[tuple[int, int], tuple[str, ...]] = {}
    for label, of_model in row_labels(frame):
        rules.add(len(rows))
        ok = of_model[of_model["status"] == "ok"]
        for images, part in ok.groupby("images"):
            chosen = _chosen(part)
            cells = [chosen[chosen["metric"] == metric] for metric in of_minival]
            of_probes = chosen[chosen["metric"] == "top1_probe"]
            cells += [of_probes[of_probes["probe"] == name] for name in probes]
            for column, cell in enumerate(cells, start=3):
                sources[len(rows), column] = measurements(cell)
            if several:
                mean = of_probes.groupby("seed", as_index=False)["value"].mean()
                cells.append(mean.assign(status="ok", unit="percent"))
            rate = f"{chosen['lr'].iloc[0]:g}"
            words = [mean_in_words(cell, 3 if cell["unit"].eq("nats").any() else 1)[1] for cell in cells]
            rows.append((label, f"{images:,.0f}", rate, *words, *(_race(chosen, until) for until in targets)))
        if ok.empty:
            empty = [""] * (len(of_minival) - 1 + len(probes) + several + len(targets))
            rows.append((label, "", "", str(of_model["status"].iloc[0]), *empty))
    means = [*(["mean of probes"] if several else []), *(f"seconds to {until:g} %" for until in targets)]
    return Table(
        title=f"pre-training on {task}, {objective}: {TITLES[objective]}",
        columns=("model", "images", "rate", *of_minival.values(), *probes, *means),
        rows=tuple(rows),
        labels=3,
        notes=(*_notes(frame, objective, probes), *provenance_notes(frame)),
        rules=frozenset(rules - {0}),
        sources=sources,
    )


def _race(chosen: pd.DataFrame, until: float) -> str:
    """The seconds to a target, and of how many runs, where others did not reach it."""
    runs = chosen[chosen["until"] == until]
    seconds, asked = runs[runs["metric"] == "seconds_to_target"], (runs["metric"] == "target_reached").sum()
    if len(seconds) == asked:
        return mean_in_words(seconds)[1]
    return f"{mean_in_words(seconds)[1]} ({len(seconds)} of {asked} runs)" if len(seconds) else "not reached"


def _chosen(part: pd.DataFrame) -> pd.DataFrame:
    """The records of the chosen candidate: that of the probes, without them the best on the minival."""
    of_probes, candidates = part[part["metric"] == "top1_probe"], part.set_index(["lr", "recipe"]).index
    if not of_probes.empty:
        return part[candidates == (of_probes["lr"].iloc[0], of_probes["recipe"].iloc[0])]
    losses, accuracies = (
        part[part["metric"] == metric].groupby(["lr", "recipe"])["value"].mean() for metric in ("loss_val", "top1_val")
    )
    return part[candidates == (accuracies.idxmax() if losses.empty else losses.idxmin())]


def _notes(frame: pd.DataFrame, objective: str, probes: Sequence[str]) -> list[str]:
    what = "minival" if objective == "supervised" else "loss, entropy (nats) and right colours (percent of patches)"
    notes = protocol_notes(frame)
    notes.append(
        f"{what}: {'' if objective == 'supervised' else 'on the minival, '}held-out images of the same set, on which "
        "the candidate (learning rate; with rule=regularised regularisation) and when to stop are chosen."
    )
    if objective == "masked_patch":
        notes.append("entropy: the loss of who knows how often each colour is and nothing of the image.")
    if probes:
        notes.append("Probes: closed-form few-shot probes of the kept weights, the mean over three support sets.")
    if "until" in frame:
        notes.append("seconds: of training alone, until the first visit at which the mean of the probes was so high.")
    if (seeds := frame["seed"].dropna().nunique()) > 1:
        notes.append(f"Mean ± std (ddof 1) over {seeds} seeds.")
    return notes


PRETRAIN = TableSpec(
    name="pretrain",
    summary="pre-training here: held-out accuracy and few-shot probes by number of images (ViT paper, Figure 4)",
    suites=(PRETRAINED,),
    published=False,
    build=pretrain,
)
