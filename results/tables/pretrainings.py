"""Pre-training done here (suite=pretrain): its probes, and other suites' records of the weights that it kept.

A pre-training is one job: a model, a set, a number of images. It keeps a file a seed, `kept/<key>/seed<seed>.…`; what
is measured on these files are seeds of one model, not so many models.
"""

from __future__ import annotations

import json
from math import nan
from typing import TYPE_CHECKING

from ..questions import canonical_treatment
from .rows import once
from .table import PRETRAINED

if TYPE_CHECKING:
    import pandas as pd

MEAN_OF_PROBES = "mean of probes"
# As suites/pretrain.py names what it keeps
KEPT = r"^(?:.*[/\\])?kept[/\\](?P<key>[0-9a-f]{16})[/\\]seed(?P<file>\d+)\.[^/\\ ]+$"
CANDIDATE = ["pretraining", "lr", "recipe"]


def pooled(frame: pd.DataFrame) -> pd.DataFrame:
    """Records with the kept weights of one pre-training as seeds of one model.

    Adds the columns `pretraining`, the key of the job that trained the weights ("" for other weights), `rule`, how its
    regularisation was chosen, and `file`, the seed in a kept file's name. Of kept files `weights` becomes the set and
    number of images, `seed` that of pre-training, and `value` the mean over the suite's own seeds, which are no
    independent draws of such weights. Where one file alone was measured, its records keep the suite's seeds.
    """
    if "pretraining" not in frame:
        frame = frame.assign(pretraining="", rule="", file=float("nan"))
    names = frame["weights"].astype(str).str.extract(KEPT)
    if "pretrain.images" not in frame:
        return frame
    kept = names["key"].notna() & frame["pretrain.images"].notna()  # a file without its sidecar is any file
    if not kept.any():
        return frame
    recipes = frame["pretrain.recipe"].astype(str) if "pretrain.recipe" in frame else frame["pretrain"]
    rules = recipes.str.contains(", weight decay ").map({True: "regularised", False: "fixed"})
    frame = frame.assign(
        pretraining=names["key"].where(kept, frame["pretraining"]),
        rule=rules.where(kept, frame["rule"]),
        file=names["file"].astype("float64").where(kept, frame["file"]),
        fed=[canonical_treatment(str(text)) for text in frame["treatment"]],
    )
    frame = _named(frame, kept)
    if "label" in frame:  # the labels of single files are none of their pre-training
        labels = frame[kept].groupby("pretraining")["label"].nunique(dropna=False)
        frame["label"] = frame["label"].where(~kept | (frame["pretraining"].map(labels) == 1), "")
    same = ["pretraining", "suite", "protocol", "model", "variant", "task", "source", "metric", "question", "fed"]
    same += [name for name in ("shots", "l2", "k") if name in frame]
    ok = frame[kept & frame["status"].eq("ok")]
    files = ok[ok.groupby(same, dropna=False)["file"].transform("nunique") > 1]
    if len(files):
        by_file = files.groupby([*same, "file"], dropna=False)
        alone = by_file["value"].transform("size") == 1
        files = files.assign(
            value=by_file["value"].transform("mean"),
            measurement=files["measurement"].where(alone, ""),  # no single one has the mean's predictions
            seed=files["file"].astype("Int64"),
        )
        if "cell" in files:
            files["cell"] = files.groupby(same, dropna=False)["cell"].transform("min")
        first = files.drop_duplicates([*same, "file"])
        frame = frame.drop(files.index.difference(first.index))
        for name in ("value", "measurement", "seed", *(["cell"] if "cell" in files else [])):
            frame.loc[first.index, name] = first[name]
    return frame.drop(columns="fed")


def _named(frame: pd.DataFrame, here: pd.Series) -> pd.DataFrame:
    """The records, those of pre-training done `here` with its set and number of images as `weights`.

    Where two pre-trainings of a model have the same, the start of their jobs' keys follows.
    """
    names = frame["pretrain"].astype(str) + [f", {float(count):,.0f} images" for count in frame["pretrain.images"]]
    same = [frame["model"], frame["variant"], names]
    several = frame["pretraining"].where(frame["pretraining"] != "").groupby(same).transform("nunique") > 1
    names = names + (", " + frame["pretraining"].astype(str).str[:8]).where(several, "")
    return frame.assign(weights=names.where(here, frame["weights"]))


def visits(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The visits of each pre-training's chosen candidate, and of each of its seeds the visit whose weights were kept.

    As suites/pretrain.py chooses: the best score on the minival, the accuracy or, of masked patches, minus the loss;
    of equal visits the first, of equal candidates the smaller learning rate.
    """
    here = frame[frame["suite"].eq(PRETRAINED) & frame["status"].eq("ok") & frame["metric"].str.endswith("_visit")]
    here = once(here)
    here = here.assign(pretraining=here["measurement"].astype(str).str.partition("/")[0])
    losses = here[here["metric"] == "loss_val_visit"]
    scored = here[(here["metric"] == "top1_val_visit") & ~here["pretraining"].isin(losses["pretraining"])]
    import pandas as pd

    scored = pd.concat([scored.assign(order=-scored["value"]), losses.assign(order=losses["value"])])
    best = scored.sort_values(["order", "samples"], kind="stable")
    best = best.drop_duplicates([*CANDIDATE, "seed"])
    means = best.groupby(CANDIDATE)[["order"]].mean().reset_index()
    means = means.sort_values(["order", "lr"], kind="stable").drop_duplicates("pretraining")
    return here.merge(means[CANDIDATE]), best.merge(means[CANDIDATE])


def with_probes(frame: pd.DataFrame) -> pd.DataFrame:
    """The records with the probes of pre-training as few-shot records of the probe's task, and of the probes' mean.

    They carry what a sidecar says of kept weights: set, images, epochs up to the visit that was kept. A mean is over
    probes of one pre-training: of the same question but for the probe, and the same treatment.
    """
    import pandas as pd

    if "probe" not in frame:
        return frame
    others = frame[frame["suite"] != PRETRAINED]
    probes = once(frame[(frame["metric"] == "top1_probe") & (frame["status"] == "ok")])
    questions = [json.loads(str(text)) for text in probes["question"]]
    probes = probes.assign(
        **{
            "task": probes["probe"],
            "metric": "top1",
            "shots": [question["probe"]["shots"] for question in questions],
            "trained": [json.dumps({**question, "probe": None}, sort_keys=True) for question in questions],
            "rule": [str(question.get("protocol", "")).rpartition(", ")[2] for question in questions],
            "pretraining": probes["measurement"].astype(str).str.partition("/")[0],
            "pretrain": [
                f"{task}, {kind}" if (kind := question.get("objective", "supervised")) != "supervised" else task
                for task, question in zip(probes["task"], questions, strict=True)
            ],
            "pretrain.images": probes["images"],
            "file": probes["seed"].astype("float64"),
        }
    )
    if "samples" in frame:
        kept = visits(frame)[1].drop_duplicates(["pretraining", "seed"]).set_index(["pretraining", "seed"])["samples"]
        runs = zip(probes["pretraining"], probes["seed"], probes["images"], strict=True)
        probes["pretrain.epochs"] = [float(kept.get((key, seed), nan)) / float(images) for key, seed, images in runs]
    probes = _named(probes, probes["suite"].eq(PRETRAINED))
    made = [others.assign(pretraining="", rule="", file=float("nan")), probes.drop(columns="trained")]
    if probes["task"].nunique() > 1:
        same = ["model", "variant", "weights", "source", "pretraining", "pretrain.images", "seed", "shots"]
        same += ["trained", "treatment"]
        means = probes.assign(value=probes.groupby(same, dropna=False)["value"].transform("mean"))
        means = means.assign(task=MEAN_OF_PROBES, question=means["trained"]).drop_duplicates(same)
        made.append(means.drop(columns="trained"))
    joined = pd.concat([part for part in made if len(part)], ignore_index=True)
    joined.attrs = frame.attrs
    return joined
