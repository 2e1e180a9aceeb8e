"""Table 1: sizes and parameters of the models, as this code builds them beside the printed ones."""

from __future__ import annotations

from ..published import rows
from .table import Request, Table

COLUMNS = ("layers", "width", "MLP", "heads")


def table1(request: Request) -> list[Table]:
    """A row a model. Without facts of the catalog, the printed rows alone."""
    stated = {_size(row["model"]): row for row in rows("table1_variants")}
    if request.show == "published" or not request.facts.models:
        lines = [
            (row["model"], row["layers"], row["width"], row["mlp"], row["heads"], row["params_millions"], row["note"])
            for row in stated.values()
        ]
        return [
            Table(
                title="ViT paper, Table 1 (and AugReg, Tables 1 and 2): model variants",
                columns=("model", *COLUMNS, "parameters, M", "note"),
                rows=tuple(lines),
                notes=_sources(),
            )
        ]
    lines = []
    for model in request.facts.models:
        row = stated.get(_size(model["name"]))
        if row is None and request.show == "delta":
            continue
        built = model["params"] / 1e6
        text = f"{built:.1f}"
        sizes = [_text(model, name) for name in ("layers", "width", "mlp", "heads")]
        published = "" if row is None else row["params_millions"]
        away = "" if row is None else f"{built - float(published):+.1f}"
        shown = {"ours": (text,), "both": (text, published, away), "delta": (away,)}[request.show]
        lines.append((model["name"], *sizes, *shown, _text(model, "gflop")))
    names = {"ours": ("parameters, M",), "both": ("ours, M", "published, M", "difference"), "delta": ("difference, M",)}
    return [
        Table(
            title="ViT paper, Table 1: model variants as this code builds them",
            columns=("model", *COLUMNS, *names[request.show], "GFLOP at 224"),
            rows=tuple(lines),
            notes=(
                "Ours: parameters with a 1000-class head at 224 pixels (the tests count them); GFLOP: 2 x multiply-"
                "accumulates of one image, no head. The paper has one number a size, whatever its patches.",
                *_sources(),
            ),
        )
    ]


def _sources() -> tuple[str, ...]:
    return ("Published: " + "; ".join(dict.fromkeys(row["source"] for row in rows("table1_variants"))) + ".",)


def _size(name: str) -> str:
    """What a row of the paper and ours have in common: "ViT-Base" and "ViT-B/16" are ViT-B."""
    long = {"ViT-Base": "ViT-B", "ViT-Large": "ViT-L", "ViT-Huge": "ViT-H"}
    if name in long:
        return long[name]
    return name.split("/")[0] if name.startswith("ViT-") else name.replace("ViT-", "")


def _text(model, name: str) -> str:
    value = model.get(name)
    return "" if value is None else f"{value:,.1f}" if isinstance(value, float) else str(value)
