"""Say what images show: labels and probabilities, by weights with a head, such as fine-tuning kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ...registry import UsageError
from ...results.checks import csv_bytes, writable
from ...stable import replacing
from ..config import Config
from ..console import stderr, stdout
from ..words import at_least, is_on_disk, option, option_of, split_word
from .command import both, listed, path_on_disk, read_words, single, wrong_place
from .completion import words_argument

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20  # images on the terminal
MODEL = "model."  # how settings of the model begin


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Which network looks at the images, and where its answers go."""

    weights: str | None = option(
        None,
        "weights with a head: a file, such as `suite=finetune save=weights` keeps, or a released tag",
        shown="FILE|TAG",
    )
    model: str | None = option(None, "the model; without it, as the file beside the weights says", shown="NAME")
    out: Path | None = option(
        None,
        f"the CSV file; without it, a table of the first {SHOWN} images is printed",
        shown="FILE.csv",
        check=wrong_place,
    )
    k: int = option(5, "classes an image, the most probable first", check=at_least(1, "one class at least"))
    device: str = option_of(Config, "device")
    batch_size: int = option_of(Config, "batch_size")
    skip_bad: bool = option(False, "leave out and name images that cannot be read, instead of failing")


def predict_verb(
    words: Annotated[list[str] | None, words_argument("IMAGES... [KEY=VALUE]...", PredictOptions)] = None,
) -> None:
    """IMAGES are files, and folders, which are searched deep: `predict photos weights=FILE out=labels.csv`.

    Images are fed as `suite=classify` feeds the same weights, and as the last test of fine-tuning did. Class names are
    those in the file beside the weights, or of a task with these classes, else numbers. Columns are `file`, `label`,
    `probability`, `label_2`, `probability_2`, …; probabilities are the softmax of the head's outputs. `model.X=…` is
    as in `run`; of kept weights the file beside them says it.
    """
    images, settings, options = _read(words or [])
    from ..predict import choose, predict

    model, weights = choose(options.model, options.weights, settings)
    frame = predict(
        images,
        weights,
        model,
        options.k,
        device=options.device,
        batch_size=options.batch_size,
        skip_bad=options.skip_bad,
        progress=True,
    )
    if options.out is None:
        _show(frame)
        return
    with writable(f"out={options.out}", "Type another out="), replacing(options.out) as temporary:
        temporary.write_bytes(csv_bytes(frame))
    stderr().say(f"written: {options.out}, {len(frame)} images")


def _read(words: list[str]) -> tuple[list[Path], dict[str, str], PredictOptions]:
    """The images, the settings of the model, and the options."""
    of_model = [word for word in words if word.startswith(MODEL) and "=" in word and not is_on_disk(word)]
    rest = [word for word in words if word not in of_model]
    settings, (images, options) = both(
        lambda: {key.removeprefix(MODEL): value for key, value in map(split_word, of_model)},
        lambda: read_words(
            rest, PredictOptions, "predict", name=lambda word: path_on_disk(word, "image or folder"), paths=True
        ),
    )
    if not images:
        raise UsageError("predict: name images, files or folders: predict photos weights=FILE")
    return images, settings, options


def _show(frame: pd.DataFrame) -> None:
    """Print the first rows: the best class of each image, and the next ones beside it."""
    ends = [name.removeprefix("label") for name in map(str, frame) if name.startswith("label")]
    rows = []
    for row in frame.head(SHOWN).to_dict("records"):
        best, *others = [(str(row[f"label{end}"]), f"{row[f'probability{end}']:.3f}") for end in ends]
        rows.append((str(row["file"]), *best, ", ".join(map(" ".join, others))))
    screen = stdout()
    screen.table(("file", "label", "probability", "next"), rows, whole=("probability",))
    more = len(frame) - SHOWN
    if more > 0:
        screen.say(f"… and {more} more: out=FILE.csv writes all", style="dim")


app = single(predict_verb, listed(PredictOptions))
