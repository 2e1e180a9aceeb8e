"""The published points that figures show, read from results/published."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent.parent / "published"


@cache
def read(name: str) -> pd.DataFrame:
    """One of the tables of published numbers, as text but for the columns that hold numbers alone."""
    import pandas as pd

    return pd.read_csv(FOLDER / f"{name}.csv", keep_default_na=False)


def digitized(figure: str, panel: str = "") -> pd.DataFrame:
    """The points of one panel that were read from the paper's vector graphics: series, x, y (numbers), in order."""
    import pandas as pd

    table = read("figures_digitized")
    part = table[(table["figure"] == figure) & (table["panel"] == panel)].copy()
    part["y"] = pd.to_numeric(part["y"])
    numbers = pd.to_numeric(part["x"], errors="coerce")
    part["x"] = numbers if numbers.notna().all() else part["x"]
    return part


def our_name(published: str) -> str:
    """How this project writes a model that a figure or table of the papers names."""
    resnet = re.fullmatch(r"(?:ResNet-?|R)(\d+)(?:x(\d))?(?: \(BiT\))?", published)
    if resnet:
        return f"BiT-R{resnet[1]}x{resnet[2] or 1}"
    name = re.sub(r"^R(\d+)(?:x1)? ?\+ ?", r"R\1+", published)
    return re.sub(r"(^|\+)(?=(?:Ti|S|B|L|H)/)", r"\1ViT-", name)
