"""Records of pre-training and of suites that measured the weights it kept, made up."""

from __future__ import annotations

from collections.abc import Iterator
from math import log10

from vit_bench.results.record import Record
from vit_bench.stable import sha

SET = "fractals:20:1000"
NUMBERS = (1000, 10_000, 100_000)
# Probe accuracy at 1,000, 10,000 and 100,000 images: ViT-mini overtakes BiT-mini at 10^4.5
ACCURACIES = {"ViT-mini": (20.0, 40.0, 60.0), "BiT-mini": (32.0, 42.0, 58.0), "R+ViT-mini": (30.0, 44.0, 57.0)}
BATCH = 100
EPOCHS = 4
RULE = "regularised"
AROUND = {0: -1.0, 1: 0.0, 2: 1.0}  # what each seed adds
PROBES = {"digits": 0.0, "photos": -4.0}  # what each probe adds


def key_of(model: str, images: int, rule: str = "fixed", objective: str = "supervised") -> str:
    return sha((model, images, rule, objective))[:16]


def recipe_of(rule: str) -> str:
    return "short, weight decay 0.1, dropout 0, label smoothing 0" if rule == RULE else "short"


def numbers() -> Iterator[tuple[str, int, float]]:
    return ((m, n, value) for m, values in ACCURACIES.items() for n, value in zip(NUMBERS, values, strict=True))


def pretraining(rule: str = "fixed", objective: str = "supervised", models=tuple(ACCURACIES)) -> list[Record]:
    """Four visits, two learning rates; the third visit of lr 0.001 is best and kept, the last one equals it."""
    return [
        one
        for model, images, value in numbers()
        if model in models
        for one in _job(model, images, value, rule, objective)
    ]


def _job(model: str, images: int, value: float, rule: str, objective: str) -> Iterator[Record]:
    key = key_of(model, images, rule, objective)
    question = {"protocol": f"pretrain, {rule}", "objective": objective, "budget": f"{images} images"}
    count = iter(range(10_000))

    def record(metric: str, found: float, at: dict, unit: str = "percent", **asked) -> Record:
        return Record(
            suite="pretrain",
            protocol="pretrain",
            model=model,
            weights="random",
            pretrain="none",
            task=SET,
            metric=metric,
            value=found,
            unit=unit,
            measurement=f"{key}/{next(count)}",
            seed=at.pop("seed"),
            at=at,
            question=question | asked,
            treatment={"typed": {}, "recipe": {"optimizer": "adam"}},
        )

    for lr, behind in ((0.001, 0.0), (0.003, 5.0)):
        for seed, more in AROUND.items():
            here = {"images": images, "lr": lr, "recipe": recipe_of(rule), "seed": seed}
            for visit, late in ((1, 9.0), (2, 4.0), (3, 0.0), (4, 0.0)):
                now = here | {"samples": visit * images * EPOCHS // 4}
                yield record("top1_val_visit", value - behind - late + more, dict(now), on="the minival")
                if objective != "supervised":
                    loss = 4 + (behind + late) / 10
                    yield record("loss_val_visit", loss, dict(now), "nats", on="the minival")
                for probe, easier in PROBES.items():
                    at = now | {"probe": probe}
                    found = value + easier - late - behind + more
                    yield record("top1_probe_visit", found, at, probe={"task": probe, "shots": 5})
            yield record("top1_val", value - behind + more, dict(here), on="the minival")
            for probe, easier in PROBES.items() if not behind else ():
                at = here | {"probe": probe}
                yield record("top1_probe", value + easier + more, at, probe={"task": probe, "shots": 5})


def of_kept(suite: str = "finetune", tasks=("digits", "photos"), rule: str = "fixed", **more) -> list[Record]:
    """Kept weights of three seeds, each measured with two seeds of the suite: 10 + the probe's accuracy, 0.5 apart."""
    return [
        Record(
            suite=suite,
            protocol="ridge" if suite == "fewshot" else suite,
            model=model,
            weights=f"runs/pretrain/kept/{key_of(model, images, rule)}/seed{file}.safetensors",
            weights_sha=sha((model, images, rule, file)),
            pretrain=SET,
            task=task,
            metric="top1",
            value=10 + value + PROBES.get(task, 0.0) + apart + 0.5 * seed,
            unit="percent",
            seed=seed,
            measurement=f"{sha((suite, model, images, file, task, rule))[:16]}/{seed}",
            question={"task": task, "protocol": suite},
            at={"shots": 5, "l2": 1024.0} if suite == "fewshot" else {},
            provenance={
                "images": images,
                "epochs": 3.0,
                "recipe": f"{recipe_of(rule)}, lr 0.001",
                "exaflops": 1e-9 * images * (2 if model == "BiT-mini" else 1) * log10(images),
                "device_hours": 0.1,
            },
            **more,
        )
        for model, images, value in numbers()
        for file, apart in AROUND.items()
        for task in tasks
        for seed in (0, 1)
    ]
