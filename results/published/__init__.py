"""Numbers that papers and releases published, in CSV files with the source of each and how it was verified.

Nothing in these files was measured by this project. Rows are plain text, as printed
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
SET_IMAGES = {"ImageNet": 1.3e6, "ImageNet-21k": 14e6, "JFT-300M": 303e6}  # ViT paper, Section 4.1
Row = Mapping[str, str]


def names() -> list[str]:
    """The names of the CSV files, without their ending."""
    return sorted(path.stem for path in FOLDER.glob("*.csv"))


@cache
def rows(name: str) -> tuple[Row, ...]:
    """The rows of a file, each value as printed. Raises UsageError for a name that is not in `names()`."""
    path = FOLDER / f"{name}.csv"
    if not path.is_file():
        raise UsageError(f"there are no published numbers '{name}'. {suggest(name, names())}")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def frame(name: str) -> pd.DataFrame:
    """The rows of a file as a DataFrame. Columns of numbers alone, such as `value` and `std`, are numeric.

    Empty cells are NaN in numeric columns and "" elsewhere. Raises UsageError as `rows` does.
    """
    return _with_numbers(rows(name))


def drawn(figure: str, panel: str = "") -> list[Row]:
    """The points (series, x, y) of one panel of a paper's figure, as read from its vector graphics, in order."""
    return [row for row in rows("figures_digitized") if (row["figure"], row["panel"]) == (figure, panel)]


def digitized(figure: str, panel: str = "") -> pd.DataFrame:
    """The points of `drawn` as a DataFrame; y is numeric, and so is x if all x of the panel are numbers."""
    return _with_numbers(drawn(figure, panel))


def _with_numbers(table: Iterable[Row]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(list(table))
    for name in frame:
        frame[name] = as_numbers(frame[name]) if (frame[name] != "").any() else frame[name]
    return frame


def model_name(spelling: str) -> str:
    """The catalog's name for a published spelling of a model. Any other text is returned unchanged."""
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
    """Whether the weights of a published number were released by its authors. Names are as published.

    Weights trained on JFT-300M never were; of the ViT paper's models only those trained on ImageNet-21k were. For
    models of other papers it is not known, and the answer is True. The tests compare this with the released files.
    """
    name = model_name(model)
    if name == NOISY_STUDENT:
        return True
    return pretrain == "ImageNet-21k" if "ViT-" in name else not pretrain.startswith("JFT-300M")
