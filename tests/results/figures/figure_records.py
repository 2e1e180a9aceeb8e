"""Records of every kind that figures show, made up: models A and B of the catalog, two seeds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store

KEY = "ce11" * 4  # of the cell that `keep` makes
TASKS = ("ImageNet", "CIFAR-10", "CIFAR-100-full", "Oxford-IIIT Pets", "Oxford Flowers-102")
GROUPS = {"natural": 7, "specialized": 4, "structured": 8}
COSTS = {"images": 14_000_000, "epochs": 7.0}


def record(suite: str, model: str, value: float, **values) -> Record:
    task = values.get("task", "ImageNet")
    metric = values.get("metric", "top1")
    base = {
        "suite": suite,
        "protocol": suite,
        "model": model,
        "weights": "in21k",
        "task": task,
        "metric": metric,
        "value": value,
        "unit": "percent",
        "pretrain": "ImageNet-21k",
        "provenance": COSTS,
        "question": {"task": task, "metric": metric},
        "treatment": {"size": [224, 224]} if metric == "top1" else {},
        "started_at": "2026-01-01",
    }
    return Record(**base | values)


def finetuned(models=("ViT-B/32", "BiT-R50x1", "R50+ViT-B/32"), tasks=TASKS) -> list[Record]:
    """The i-th model scores 80 + i on every task, the two seeds 0.2 apart."""
    return [
        record("finetune", model, 80 + i + 0.2 * seed - 0.1, task=task, seed=seed)
        for i, model in enumerate(models)
        for task in tasks
        for seed in (0, 1)
    ]


def vtab(models=("ViT-B/16", "BiT-R50x1"), suite: str = "vtab") -> list[Record]:
    """The i-th model scores 60 + 5 i + 10 times the number of the group."""
    return [
        record(suite, model, 60 + 5 * i + 10 * g + seed, task=f"{group} {n}", group=group, seed=seed)
        for i, model in enumerate(models)
        for g, (group, count) in enumerate(GROUPS.items())
        for n in range(count)
        for seed in (0, 1)
    ]


def few(task: str = "ImageNet", shots: int = 5, models=("ViT-B/32", "ViT-L/16")) -> list[Record]:
    return [
        record("fewshot", model, 50 + 10 * i + seed, task=task, seed=seed, at={"shots": shots, "l2": 1024.0})
        for i, model in enumerate(models)
        for seed in (0, 1)
    ]


def speeds(models=("ViT-B/32", "ViT-L/16"), device: str = "one GPU") -> list[Record]:
    found = []
    for i, model in enumerate(models):
        for side in (128, 224, 384):
            speed = 4e8 / side**2 / (1 + 8 * i)
            for batch in (8, 64):
                at = {"image_size": side, "batch_size": batch, "mode": "inference", "precision": "bf16"}
                values = {"task": "", "weights": "random", "device": device, "at": at, "question": at}
                found.append(
                    record(
                        "throughput", model, speed * batch**0.1, metric="images_per_second", unit="images/s", **values
                    )
                )
            at = {"image_size": side, "mode": "inference"}
            values = {"task": "", "weights": "random", "device": device, "at": at, "question": at}
            largest = 2 ** (11 - i - side // 128)
            found.append(record("throughput", model, largest, metric="largest_batch", unit="images", **values))
    return found


def inside(models=("ViT-L/16", "R50+ViT-L/16"), examples: int = 4) -> Iterator[tuple[Record, dict[str, np.ndarray]]]:
    """Records of suite=internals with their arrays: position embeddings that are alike where they are near."""
    random = np.random.default_rng(0)
    rows = columns = 7
    row, column = np.divmod(np.arange(rows * columns), columns)
    near = np.exp(-np.hypot(row[:, None] - row, column[:, None] - column) / 2)
    ramp = np.broadcast_to(np.linspace(0, 255, 224)[None, :, None], (224, 224, 3)).astype(np.uint8)
    for i, model in enumerate(models):
        depth = 24 - 12 * i
        distance = np.clip(random.normal(110, 4, (depth, 16)) - np.linspace(90, 0, depth)[:, None], 5, None)
        yours = {"task": "photos", "weights": "in21k"}
        seen = {"size": [224, 224], "grid": [7, 7]}
        yield (
            record("internals", model, 80.0, metric="rgb_filters", **yours),
            {"components": random.normal(size=(28, 3, 16, 16)).astype(np.float32)},
        )
        yield (
            record("internals", model, 0.5, metric="position_similarity", unit="cosine", **yours),
            {"similarity": near.reshape(rows, columns, rows, columns).astype(np.float32)},
        )
        asked = {"task": "photos", "class_token": "left out", "identity": True}
        yield (
            record(
                "internals",
                model,
                float(distance.mean()),
                metric="attention_distance",
                unit="pixels",
                at={"images": 128},
                treatment=seen,
                question=asked,
                **yours,
            ),
            {"distance": distance.astype(np.float32), "uniform": np.float32(116)},
        )
        at = {"images": 128, "layer": 0}
        yield (
            record(
                "internals",
                model,
                20.0,
                metric="attention_distance",
                unit="pixels",
                at=at,
                treatment=seen,
                question=asked | {"layer": 0},
                **yours,
            ),
            {},
        )
        yield (
            record(
                "internals",
                model,
                50.0,
                metric="attention_rollout",
                at={"images": examples},
                treatment=seen,
                question=asked,
                **yours,
            ),
            {"rollout": random.random((examples, rows, columns)), "images": np.stack([ramp] * examples)},
        )


def keep(folder: Path, made, key: str = KEY) -> Path:
    """A run directory with one cell of these (record, arrays)."""
    from dataclasses import replace

    numbered = [(replace(one, measurement=f"{key}/{n}"), arrays) for n, (one, arrays) in enumerate(made)]
    kept = {f"{n}.{name}": array for n, (_, arrays) in enumerate(numbered) for name, array in arrays.items()}
    cell = Cell(
        key=key,
        slot=key,
        order=(0,),
        identity={"source": ""},
        status="ok",
        started_at="2026-01-01",
        records=tuple(one for one, _ in numbered),
    )
    Store(folder).put(cell, kept)
    return folder


def curves(path: Path, seeds: int = 2, steps: int = 200) -> Path:
    """A file of learning curves: a sweep over two rates, then final runs."""
    lines = ["phase,lr,seed,step,loss,learning_rate,grad_norm,images_per_second"]
    random = np.random.default_rng(1)
    for phase, rates in (("sweep", (0.01, 0.03)), ("final", (0.03,))):
        for rate in rates:
            for seed in range(seeds):
                for step in range(1, steps + 1):
                    loss = 2.3 * np.exp(-step * rate / 2) + 0.05 + 0.02 * random.random()
                    decayed = rate * (0.5 + 0.5 * np.cos(np.pi * step / steps))
                    lines.append(f"{phase},{rate},{seed},{step},{loss:.5f},{decayed:.6f},{1 + loss:.4f},{812 + seed}")
    path.write_text("\n".join(lines) + "\n")
    return path
