"""What the tables need to know of models, releases and recipes, as plain rows: `results` imports none of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..models import catalog
from ..models.releases import releases
from ..models.spec import BiT, Model, ViT
from ..results.tables import Facts


def facts() -> Facts:
    """Rows of the catalog without the demonstration models, released files without those of single VTAB tasks."""
    rows = [row for row in catalog().values() if not row.small and isinstance(row.architecture, ViT | BiT)]
    files = [asdict(one) for one in releases() if not one.tag.startswith("vtab-")]
    return Facts(models=tuple(map(_model, rows)), releases=tuple(files), recipes=())


def _model(row: Model) -> dict[str, Any]:
    network = row.architecture
    sizes: dict[str, Any] = {}
    if isinstance(network, ViT):
        mlp = network.mlp_dim or 4 * network.width
        sizes = {"layers": network.depth, "width": network.width, "mlp": mlp, "heads": network.heads}
    elif isinstance(network, BiT):
        sizes = {"layers": 3 * sum(network.units) + 2}
    gflop = None if row.macs is None else 2 * row.macs / 1e9
    return {"name": row.name, "family": row.family, "params": row.params, "macs": row.macs, "gflop": gflop, **sizes}
