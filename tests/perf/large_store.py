"""Makes a run directory of many cells for measurements: `python tests/perf/large_store.py FOLDER [CELLS]`.

Each cell is that of a real fine-tuning of a tiny network, with another model, task, seed and value. The models of a
fifth of the cells have predictions of 1,000 images, too. Nothing is flushed to disk: 20,000 cells take half a minute.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import vit_bench
from vit_bench.models import catalog
from vit_bench.results.arrays import write_arrays
from vit_bench.results.cell_file import dump
from vit_bench.results.record import Cell, short
from vit_bench.results.store import Store

TASKS, SEEDS, IMAGES = 20, 10, 1000
NAMES = catalog().names()  # `expected` reads cells of models that it looks for
TINY = ("model=ViT-mini", "model.depth=1", "model.width=32", "model.heads=1", "weights=random", "task=digits")
SHORT = ("suite=finetune", "recipe=short", "steps=1", "batch=8", "lr=0.01", "seed=0")


def template() -> Cell:
    """A cell of a real job."""
    with tempfile.TemporaryDirectory() as folder:
        vit_bench.run(*SHORT, *TINY, out=f"{folder}/run")
        (cell,) = Store(Path(folder, "run")).cells()
    return cell


def one_of(cell: Cell, model: int, task: int, seed: int, values: Mapping[str, float]) -> Cell:
    """The cell of another job: its key, its place, its names and its numbers, by metric."""
    name = f"{NAMES[model % len(NAMES)]} {model}"
    digest = hashlib.sha256(f"{model}/{task}/{seed}".encode()).hexdigest()
    key, slot, split = digest[:16], digest[16:32], f"{task:016x}"
    records = []
    for number, record in enumerate(cell.records):
        question = {**record.question, "task": f"T{task}", "split": split}
        records.append(
            replace(
                record,
                model=name,
                variant="",
                task=f"T{task}",
                seed=None if record.seed is None else seed,
                value=values.get(record.metric, record.value),
                n_test=IMAGES,
                split_sha=split,
                weights_sha=f"{model:016x}",
                protocol_sha=short(question),
                question=question,
                measurement=f"{key}/{number}",
            )
        )
    identity = {
        **cell.identity,
        "model": name,
        "task": {**cell.identity["task"], "name": f"T{task}"},
        "settings": {**cell.identity["settings"], "seed": [seed]},
    }
    order = (*cell.order[:1], model, "", "random", task)
    return replace(cell, key=key, slot=slot, order=order, identity=identity, records=tuple(records))


def fill(folder: Path, cells: int) -> Path:
    """Write a run directory of `cells` cells: 20 tasks, 10 seeds, and as many models as that takes."""
    made, random = template(), np.random.default_rng(0)
    store = Store(folder)
    store.cells_folder.mkdir(parents=True)
    hard = random.normal(size=(TASKS, IMAGES))  # the same images for all models
    labels = random.integers(0, 10, IMAGES).astype(np.int16)
    for number in range(cells):
        model, task, seed = number // (TASKS * SEEDS), number // SEEDS % TASKS, number % SEEDS
        right = hard[task] + random.normal(size=IMAGES) < 1 + 0.01 * model
        per_class = np.bincount(labels, right) / np.bincount(labels)
        values = {"top1": 100 * float(right.mean()), "mean_per_class": 100 * float(per_class.mean())}
        cell = one_of(made, model, task, seed, values)
        store.path(cell.key).write_text(dump(cell), encoding="utf-8")
        if model % 5 == 0:
            predicted = np.where(right, labels, (labels + 1) % 10)
            write_arrays(store.arrays(cell.key), {"0": predicted, "labels": labels})
    return folder


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20_000)
