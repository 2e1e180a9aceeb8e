"""What the papers and releases printed: CSV files of facts, each number with its source and how it was verified.

The files are taken over as they are; nothing in them was measured by this project. Rows are plain text, as printed
("85.30" keeps its zero), so that a published table costs no import of pandas; `frame` gives a DataFrame.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import UsageError, suggest
from ..record import as_numbers

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent
NOISY_STUDENT = "Noisy Student (EfficientNet-L2)"
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
    return _with_numbers(rows(name))


def drawn(figure: str, panel: str = "") -> list[Row]:
    """The points of one panel of a paper's figure, read from its vector graphics: series, x, y, in order."""
    return [row for row in rows("figures_digitized") if (row["figure"], row["panel"]) == (figure, panel)]


def digitized(figure: str, panel: str = "") -> pd.DataFrame:
    """The points of `drawn` as a DataFrame; y is a number, and x where all of the panel's are."""
    return _with_numbers(drawn(figure, panel))


def _with_numbers(found: Iterable[Row]) -> pd.DataFrame:
    import pandas as pd

    made = pd.DataFrame(list(found))
    for name in made:
        made[name] = as_numbers(made[name]) if (made[name] != "").any() else made[name]
    return made


def model_name(spelling: str) -> str:
    """The catalog's name of a model as a published table or figure writes it; other words come back unchanged."""
    if spelling.startswith("Noisy Student"):
        return NOISY_STUDENT
    text = re.sub(r",.*| \(.*\)$", "", spelling)
    resnet = re.search(r"\bBiT-[SML] \((?:ResNet|R)(\d+)x(\d+)\)", spelling)
    resnet = resnet or re.fullmatch(r"(?:ResNet-?|BiT-[SML]-R|R)(\d+)(?:x(\d+))?", text)
    if resnet:
        return f"BiT-R{resnet[1]}x{resnet[2] or 1}"
    hybrid = re.sub(r"^R(\d+)(?:x1)? ?\+ ?", r"R\1+", text)
    return re.sub(r"(^|\+)(?=[A-Z][a-z]?/\d+$)", r"\1ViT-", hybrid)  # AugReg's tables leave "ViT-" out


def is_reproducible(model: str, pretrain: str) -> bool:
    """False where the weights behind a number were never released by those who printed it. Names as published.

    JFT-300M weights never were; of the ViT paper's models those of ImageNet-21k alone were. Of models of neither the
    ViT nor the BiT paper nothing is known: True. The tests hold this against the list of released files.
    """
    name = model_name(model)
    if name == NOISY_STUDENT:
        return True
    return pretrain == "ImageNet-21k" if "ViT-" in name else not pretrain.startswith("JFT-300M")
