"""Fixture records for the paper's tables: invented numbers in the shapes that the suites write."""

from __future__ import annotations

from vit_bench.results.record import Record

DATASETS = ("ImageNet", "ImageNet ReaL", "CIFAR-10", "CIFAR-100-full", "Oxford-IIIT Pets", "Oxford Flowers-102")
VTAB = {
    "natural": ("Caltech101", "CIFAR-100", "DTD", "Flowers102", "Pets", "Sun397", "SVHN"),
    "specialized": ("Camelyon", "EuroSAT", "Resisc45", "Retinopathy"),
    "structured": (
        *("Clevr-Count", "Clevr-Dist", "DMLab", "dSpr-Loc"),
        *("dSpr-Ori", "KITTI-Dist", "sNORB-Azim", "sNORB-Elev"),
    ),
}


def score(model: str, task: str, value: float | None, **values) -> Record:
    seed = values.get("seed")
    base = {
        "suite": "finetune",
        "protocol": "finetune",
        "model": model,
        "weights": "in21k",
        "pretrain": "ImageNet-21k",
        "task": task,
        "group": "transfer",
        "source": "torchvision",
        "metric": "top1",
        "value": value,
        "unit": "percent",
        "seconds": 1800.0,
        "device": "NVIDIA H200",
        "measurement": f"{model.replace('/', '')}-{values.get('weights', 'in21k')}-{task}-{seed}/0",
        "protocol_sha": task,
        "question": {"task": task, "metric": "top1", "protocol": "fine-tuning"},
        "treatment": {"size": [384, 384], "recipe": {"steps": len(task)}},
    }
    return Record(**base | values)


def transfer() -> list[Record]:
    """ViT-L/16 and BiT-R50x1 of ImageNet-21k, 3 seeds each, and an untrained ViT-B/32, 1 seed."""
    records = []
    for i, task in enumerate(DATASETS):
        records += [score("ViT-L/16", task, 85.0 + i + 0.1 * seed, seed=seed) for seed in range(3)]
        records += [score("BiT-R50x1", task, 80.0 + i + 0.1 * seed, seed=seed, weights="bit-m") for seed in range(3)]
        records.append(score("ViT-B/32", task, 10.0 + i, seed=0, weights="random", pretrain="none"))
    return records


def vtab(model: str = "ViT-L/16", without: tuple[str, ...] = (), **values) -> list[Record]:
    """19 tasks, 3 seeds: task number i scores 50 + i + seed."""
    tasks = [(group, task) for group, names in VTAB.items() for task in names]
    return [
        score(model, task, 50.0 + i + seed, seed=seed, **{"suite": "vtab", "group": group} | values)
        for i, (group, task) in enumerate(tasks)
        for seed in range(3)
        if task not in without
    ]
