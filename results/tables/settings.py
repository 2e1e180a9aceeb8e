"""Tables 3 and 4: the papers' settings, and this code's beside them."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from ..published import rows
from .table import Request, Table

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


def table3(request: Request) -> list[Table]:
    """Pre-training as published, and which of these weights were released."""
    columns = ("epochs", "base_lr", "lr_decay", "weight_decay", "dropout")
    lines = []
    for row in rows("table3_pretraining"):
        tags = [
            f"{one['model']}:{one['tag']}"
            for one in request.facts.releases
            if one["pretrain"] == row["pretrain"]
            and one["family"] == "ViT (original release)"
            and not one["finetune"]
            and _fits(row["model"], one["model"])
        ]
        released = (" ".join(tags) or "never released",) if request.facts.releases else ()
        lines.append((row["model"], row["pretrain"], *(row[name] for name in columns), *released))
    return [
        Table(
            title="ViT paper, Table 3: pre-training",
            columns=(
                *("model", "data", "epochs", "base lr", "decay", "weight decay", "dropout"),
                *(("released weights",) if request.facts.releases else ()),
            ),
            rows=tuple(lines),
            labels=2,
            notes=(
                "Adam (0.9, 0.999), batch 4096, 10 000 steps of warm-up, 224 pixels, gradients clipped at norm 1 for "
                "ImageNet alone. This project does not pre-train; it has no settings of its own to show.",
                f"Source: {rows('table3_pretraining')[0]['source']}.",
            ),
        )
    ]


def table4(request: Request) -> list[Table]:
    """Fine-tuning as published and as this code does it, setting by setting."""
    ours = {(one["table"], one["dataset"]): one for one in request.facts.recipes}
    lines: list[tuple[str, ...]] = []
    rules = set()
    for row in rows("table4_finetuning"):
        label = (row["table"], row["dataset"])
        one = ours.get(label)
        shown: list[tuple[str, Mapping[str, str]]] = []
        if request.show in ("ours", "both") and one is not None:
            shown.append(("ours", one))
        if request.show in ("published", "both"):
            shown.append(("published", row))
        if request.show in ("delta", "both") and one is not None:
            differs = {
                name: f"{one[name] or 'none'}, not {row[name] or 'stated'}"
                for name in FINE_TUNING
                if one.get(name) is not None and one[name] != row[name]
            }
            shown += [("difference", differs)] if differs else []
        if lines and shown:
            rules.add(len(lines))
        lines += [(*label, kind, *(values.get(name, "") for name in FINE_TUNING)) for kind, values in shown]
    notes = [
        "SGD with momentum 0.9, no weight decay. ViT: the text says that 0.06 is for ResNets and hybrids; the table "
        "lists it for ImageNet. The papers do not mention warm-up; the steps are the public code's.",
    ]
    if request.show != "published" and not ours:
        notes.append("Ours: this version has no fine-tuning settings to show.")
    notes += [
        f"BiT-HyperRule: {text}." for text in dict.fromkeys(row["note"] for row in rows("table4_finetuning")) if text
    ]
    notes.append("Sources: " + "; ".join(dict.fromkeys(row["source"] for row in rows("table4_finetuning"))) + ".")
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


def _fits(pattern: str, model: str) -> bool:
    """Whether a model is one of those that a row of Table 3 names: "ViT-B/{16,32}", "ViT-*"."""
    head, brace, rest = pattern.partition("{")
    if not brace:
        return fnmatchcase(model, pattern)
    choices, _, end = rest.partition("}")
    return any(model == f"{head}{choice}{end}" for choice in choices.split(","))
