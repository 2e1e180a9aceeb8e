"""What the papers and releases printed: CSV files of facts, each number with its source and how it was verified.

The files are taken over as they are; nothing in them was measured by this project. Rows are plain text, as printed
("85.30" keeps its zero), so that a published table costs no import of pandas; `frame` gives a DataFrame.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import UsageError, suggest

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent
RELEASES = ("ViT (original release)", "BiT")  # whose weights the ViT and BiT papers' tables are of
Row = Mapping[str, str]


def names() -> list[str]:
    """The files there are, without their ending."""
    return sorted(path.stem for path in FOLDER.glob("*.csv"))


@cache
def rows(name: str) -> tuple[Row, ...]:
    """The rows of a file, each value as it is printed. Raises UsageError for a name that is none of `names()`."""
    path = FOLDER / f"{name}.csv"
    if not path.is_file():
        raise UsageError(f"there are no published numbers '{name}'. {suggest(name, names())}")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def frame(name: str) -> pd.DataFrame:
    """The rows of a file as a DataFrame: `value`, `std` and other columns of numbers alone as numbers.

    Empty cells are NaN in columns of numbers and "" elsewhere. Raises UsageError as `rows` does.
    """
    import pandas as pd

    made = pd.DataFrame(list(rows(name)))
    for column in made:
        filled = made[column].where(made[column] != "")
        numbers = pd.to_numeric(filled, errors="coerce")
        if filled.notna().any() and numbers.notna().sum() == filled.notna().sum():
            made[column] = numbers
    return made


def model_name(spelling: str) -> str:
    """The catalog's name of a model as a published table writes it; other words come back unchanged."""
    text = re.sub(r",.*| \(.*\)$", "", spelling)
    if spelling.startswith("Noisy Student"):
        return "Noisy Student (EfficientNet-L2)"
    if found := re.search(r"\bBiT-[SML] \((?:ResNet|R)(\d+x\d+)\)", spelling):
        return f"BiT-R{found[1]}"
    if found := re.fullmatch(r"(?:ResNet|BiT-[SML]-R|R)(\d+x\d+)", text):
        return f"BiT-R{found[1]}"
    if found := re.fullmatch(r"R50x1\+ViT-([A-Z][a-z]?/\d+)", text):
        return f"R50+ViT-{found[1]}"
    if found := re.fullmatch(r"(R\d*)\+([A-Z][a-z]?/\d+)", text):  # AugReg's tables leave "ViT-" out
        return f"{found[1]}+ViT-{found[2]}"
    if re.fullmatch(r"[A-Z][a-z]?/\d+", text):
        return f"ViT-{text}"
    return text


@cache
def _released() -> frozenset[tuple[str, str]]:
    return frozenset(
        (model_name(row["name"]), row["pretrain"])
        for row in rows("checkpoints")
        if row["family"] in RELEASES and row["file_name"]
    )


def is_reproducible(model: str, pretrain: str) -> bool:
    """False where the weights behind a number were never released by those who printed it. Names as published.

    JFT-300M weights never were; neither were the ViTs that the ViT paper trained on ImageNet alone. Of models of
    neither paper nothing is known: True.
    """
    name = model_name(model)
    if name.startswith("Noisy Student"):
        return True
    ours = name.startswith(("ViT-", "BiT-")) or "+ViT-" in name
    return (name, pretrain) in _released() if ours else not pretrain.startswith("JFT-300M")
