"""Columns on models, releases and recipes for tables. They are plain rows: `results` imports no other package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_type_hints

from ..models import catalog
from ..models.released.table import Release, releases
from ..models.spec import Model
from ..models.weights.paths import split_part
from ..models.weights.sidecar import read_sidecar
from ..registry import first_few
from ..results.record import read_variant
from ..results.tables import Facts
from ..suites.training import paper_recipes as recipes
from .console import stderr
from .words import read_value

if TYPE_CHECKING:
    import pandas as pd


def facts() -> Facts:
    """Rows of the catalog without the demonstration models, released files without those of single VTAB tasks."""
    rows = [row for row in catalog().values() if row.in_globs]
    files = [asdict(release) for release in releases() if not release.tag.startswith("vtab-")]
    return Facts(models=tuple(map(_model, rows)), releases=tuple(files), recipes=tuple(_recipes()))


def _model(row: Model) -> dict[str, Any]:
    gflop = None if row.macs is None else 2 * row.macs / 1e9
    return {"name": row.name, "family": row.family, "params": row.params, "macs": row.macs, "gflop": gflop} | dict(
        row.architecture.sizes()
    )


IMAGES = {  # by data set as in ViT paper, Table 4: our task, and the number of images that the final run trains on
    "ImageNet": ("ImageNet", 1_281_167),
    "CIFAR-100": ("CIFAR-100-full", 50_000),
    "CIFAR-10": ("CIFAR-10", 50_000),
    "Oxford-IIIT Pets": ("Oxford-IIIT Pets", 3_680),
    "Oxford Flowers-102": ("Oxford Flowers-102", 1_020),
}
BIT_SIZES = {  # by regime of the HyperRule: a number of images in it
    "fewer than 20 000 labelled images": 1_000,
    "fewer than 500 000 labelled images": 50_000,
    "500 000 labelled images and more": 1_281_167,
}


def _recipes() -> Iterator[dict[str, Any]]:
    """The fine-tuning recipes of this code, in the columns of results/published/table4_finetuning.csv."""
    for dataset, (task, images) in IMAGES.items():
        yield {"table": "ViT Table 4", "dataset": dataset} | _settings(recipes.vit(task, images))
    yield {"table": "ViT Table 4", "dataset": "VTAB (19 tasks)"} | _settings(recipes.vtab())
    for dataset, images in BIT_SIZES.items():
        yield {"table": "BiT-HyperRule", "dataset": dataset} | _settings(recipes.bit(images, (224, 224)))


def _settings(recipe: Any) -> dict[str, str]:
    decay = ", ".join(f"{100 * step // recipe.steps} %" for step in recipe.decay_at)
    return {
        "steps": str(recipe.steps),
        "base_lr": ", ".join(f"{lr:g}" for lr in recipe.lr),
        "warmup_public_code": str(recipe.warmup or ""),
        "batch": str(recipe.batch),
        "schedule": recipe.schedule if recipe.schedule == "cosine" else f"lr / 10 at {decay}",
        "clip_norm": f"{recipe.clip_norm:g}" if recipe.clip_norm else "none",
        "mixup": f"{recipe.mixup:g}" if recipe.mixup else "none",
        "resolution": str(recipe.image_size),
    }


def model_facts(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns model, variant, family and macs of the models in these records; macs is empty where not known."""
    import pandas as pd

    rows = []
    for model, variant in frame[["model", "variant"]].drop_duplicates().itertuples(index=False, name=None):
        if model not in catalog():
            continue
        row = catalog()[model]
        hints = get_type_hints(type(row.architecture))
        changes = read_variant(str(variant))
        if not set(changes) <= set(hints):
            continue  # from another version of this project
        row = row.derive(**{key: read_value(key, text, hints[key]) for key, text in changes.items()})
        rows.append({"model": model, "variant": variant, "family": row.family, "macs": row.macs})
    return pd.DataFrame(rows, columns=["model", "variant", "family", "macs"])


def with_sidecars(frame: pd.DataFrame) -> pd.DataFrame:
    """The records with what files beside their weights say now, where nothing was known when they were measured.

    What a record knows of its weights stands. Raises UsageError for a file that cannot be read.
    """
    facts = [name for name in map(str, frame) if name.startswith("pretrain.")]
    unknown = frame["pretrain"].eq("") & frame[facts].isna().all(axis=1)
    weights = [name for name in frame[unknown]["weights"].unique() if name and split_part(name)[0].exists()]
    found = {name: known for name in weights if (known := read_sidecar(name)) is not None}
    if not found:
        return frame
    told = frame.copy()
    for name, known in found.items():
        rows = unknown & frame["weights"].eq(name)
        for field, value in asdict(known).items():
            if value is not None:
                told.loc[rows, "pretrain" if field == "pretrain" else f"pretrain.{field}"] = value
    stderr().say(f"how these were trained is as the files beside them say now: {first_few(list(found))}")
    return told


def release_bytes(release: Release) -> int:
    """The stated size, otherwise that of float32 parameters with a head for the classes of the data."""
    if release.bytes is not None:
        return release.bytes
    row = catalog()[release.model]
    width = row.architecture.num_features() or 0
    data = release.finetune or release.provenance.pretrain or ""
    classes = {"ImageNet": 1000, "ImageNet-21k": 21_843}.get(data, 0)  # a VTAB-1k task's head is small
    return 4 * round((row.params or 0) + (classes - 1000) * (width + 1))
