"""Table 1: sizes and parameters of the models, as this code builds them and as printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..published import rows
from .table import Table, TableRequest, of_paper

SIZES = ("layers", "width", "mlp", "heads")
HEADINGS = ("layers", "width", "MLP", "heads")


def table1(request: TableRequest) -> list[Table]:
    """A row a model: ours and published sizes; published rows alone without facts of the catalog."""
    published = {_size(row["model"]): row for row in rows("table1_variants")}
    sources = f"Published: {'; '.join(dict.fromkeys(row['source'] for row in published.values()))}."
    if request.show == "published" or not request.facts.models:
        columns = ("model", *SIZES, "params_millions", "note")
        return [
            Table(
                title="ViT paper, Table 1 (and AugReg, Tables 1 and 2): model variants",
                columns=("model", *HEADINGS, "parameters, M", "note"),
                rows=tuple(tuple(row[name] for name in columns) for row in published.values()),
                notes=(sources,),
            )
        ]
    headings = {
        "ours": ["parameters, M"],
        "both": ["ours, M", "published, M", "difference"],
        "delta": ["difference, M"],
    }
    lines = []
    for model in request.facts.models:
        row = published.get(_size(model["name"]))
        if row is None and request.show == "delta":
            continue
        built = model["params"] / 1e6
        printed, delta = "", ""
        if row is not None:
            printed, delta = row["params_millions"], f"{built - float(row['params_millions']):+.1f}"
        shown = {"ours": [f"{built:.1f}"], "both": [f"{built:.1f}", printed, delta], "delta": [delta]}[request.show]
        lines.append((model["name"], *(_text(model, name) for name in SIZES), *shown, _text(model, "gflop")))
    return [
        Table(
            title="ViT paper, Table 1: model variants as this code builds them",
            columns=("model", *HEADINGS, *headings[request.show], "GFLOP at 224"),
            rows=tuple(lines),
            notes=(
                "Ours: parameters with a 1000-class head at 224 pixels (the tests count them); GFLOP: 2 x multiply-"
                "accumulates of one image, no head. The paper has one number a size, whatever its patches.",
                sources,
            ),
        )
    ]


def _size(name: str) -> str:
    """The size in a model's name, to match the paper's rows with ours: ViT-B for "ViT-Base" and "ViT-B/16"."""
    long = {"ViT-Base": "ViT-B", "ViT-Large": "ViT-L", "ViT-Huge": "ViT-H"}
    if name in long:
        return long[name]
    return name.split("/")[0] if name.startswith("ViT-") else name.replace("ViT-", "")


def _text(model: Mapping[str, Any], name: str) -> str:
    value = model.get(name)
    return "" if value is None else f"{value:,.1f}" if isinstance(value, float) else str(value)


TABLE1 = of_paper("1", "model variants: sizes and parameters", table1, needs_facts=True)
