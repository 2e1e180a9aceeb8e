"""Tables 3 and 4: training settings of the papers, and this code's fine-tuning settings to compare."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from ..published import rows
from .table import Table, TableRequest, of_paper

PRE_TRAINING = {  # column of table3_pretraining.csv: heading
    "model": "model",
    "pretrain": "data",
    "epochs": "epochs",
    "base_lr": "base lr",
    "lr_decay": "decay",
    "weight_decay": "weight decay",
    "dropout": "dropout",
}
FINE_TUNING = {  # column of table4_finetuning.csv: heading
    "steps": "steps",
    "base_lr": "learning rates",
    "warmup_public_code": "warm-up",
    "chosen_on": "chosen on",
    "batch": "batch",
    "schedule": "schedule",
    "clip_norm": "clip norm",
    "mixup": "MixUp",
    "resolution": "pixels",
}


def table3(request: TableRequest) -> list[Table]:
    """Published pre-training settings, and which of the weights were released."""
    originals = [file for file in request.facts.releases if file["family"] == "ViT (original release)"]
    files = [file for file in originals if not file["finetune"]]
    lines = []
    for row in rows("table3_pretraining"):
        same_set = (file for file in files if file["pretrain"] == row["pretrain"])
        tags = " ".join(f"{file['model']}:{file['tag']}" for file in same_set if _fits(row["model"], file["model"]))
        released = (tags or "never released",) if request.facts.releases else ()
        lines.append((*(row[name] for name in PRE_TRAINING), *released))
    return [
        Table(
            title="ViT paper, Table 3: pre-training",
            columns=(*PRE_TRAINING.values(), *(("released weights",) if request.facts.releases else ())),
            rows=tuple(lines),
            labels=2,
            notes=(
                "Adam (0.9, 0.999), batch 4096, 10 000 steps of warm-up, 224 pixels, gradients clipped at norm 1 for "
                "ImageNet alone. suite=pretrain has these rows as recipe=scratch, scratch-in21k and scratch-jft.",
                f"Source: {rows('table3_pretraining')[0]['source']}.",
            ),
        )
    ]


def table4(request: TableRequest) -> list[Table]:
    """Fine-tuning settings, published and of this code, with the differences."""
    ours = {(recipe["table"], recipe["dataset"]): recipe for recipe in request.facts.recipes}
    published = rows("table4_finetuning")
    lines: list[tuple[str, ...]] = []
    rules = set()
    for row in published:
        label = (row["table"], row["dataset"])
        kinds: dict[str, Mapping[str, str]] = {}
        if request.show in ("ours", "both") and label in ours:
            kinds["ours"] = ours[label]
        if request.show in ("published", "both"):
            kinds["published"] = row
        if request.show in ("delta", "both") and (differences := _differences(ours.get(label, {}), row)):
            kinds["difference"] = differences
        rules |= {len(lines)} if lines and kinds else set()
        lines += [(*label, kind, *(values.get(name, "") for name in FINE_TUNING)) for kind, values in kinds.items()]
    notes = [
        "SGD with momentum 0.9, no weight decay. ViT: the text says that 0.06 is for ResNets and hybrids; the table "
        "lists it for ImageNet. The papers do not mention warm-up; the steps are the public code's.",
    ]
    if request.show != "published" and not ours:
        notes.append("Ours: this version has no fine-tuning settings to show.")
    notes += [f"BiT-HyperRule: {text}." for text in dict.fromkeys(row["note"] for row in published) if text]
    notes.append("Sources: " + "; ".join(dict.fromkeys(row["source"] for row in published)) + ".")
    single = len({line[2] for line in lines}) == 1
    return [
        Table(
            title="ViT paper, Table 4, and BiT-HyperRule: fine-tuning",
            columns=("published in", "dataset", *(() if single else ("",)), *FINE_TUNING.values()),
            rows=tuple((*line[:2], *line[3:]) if single else line for line in lines),
            labels=2 if single else 3,
            notes=tuple(notes),
            rules=frozenset() if single else frozenset(rules),
        )
    ]


def _differences(ours: Mapping[str, str], published: Mapping[str, str]) -> dict[str, str]:
    return {
        name: f"{ours[name] or 'none'}, not {published[name] or 'stated'}"
        for name in FINE_TUNING
        if ours.get(name) is not None and ours[name] != published[name]
    }


def _fits(pattern: str, model: str) -> bool:
    """Whether a model matches the name in a row of Table 3, such as "ViT-B/{16,32}" or "ViT-*"."""
    head, _, rest = pattern.partition("{")
    choices, _, end = rest.partition("}")
    return any(fnmatchcase(model, f"{head}{choice}{end}") for choice in choices.split(","))


TABLE3 = of_paper("3", "pre-training settings", table3, needs_facts=True)
TABLE4 = of_paper("4", "fine-tuning settings, this code's beside the paper's", table4, needs_facts=True)
