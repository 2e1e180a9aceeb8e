"""Compare runs number by number: `compare A B [fail_if=worse,missing]`; many models: `compare RUN... by=model`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...registry import UsageError
from ...results.exports.foreign_csv import is_foreign, read_foreign
from ...results.store import load
from ..words import Mistakes, each, is_on_disk, option
from .command import TableOutput, listed, path_on_disk, read_words, show_tables, single
from .completion import words_argument

if TYPE_CHECKING:
    import pandas as pd


def _wrong_map(text: str) -> str:
    good = all(colon and theirs for _, colon, theirs in _pairs(text))
    return "" if good else "expected OURS:THEIRS with commas, for example map=model:name,value:top1"


def _wrong_reason(text: str) -> str:
    return "" if set(text.split(",")) <= {"worse", "missing"} else "there is fail_if=worse, missing or worse,missing"


def _wrong_margin(value: float | None) -> str:
    return "" if value is None or 0 < value < 100 else "expected percentage points above 0, for example margin=0.5"


@dataclass(frozen=True, kw_only=True)
class CompareOptions(TableOutput):
    """What is compared, and how the result is written."""

    metric: str = option("", "which metric, several with commas", shown="top1")
    by: str = option(
        "",
        "compare all models of the runs with each other, and rank them; with `a=` and `b=` two of them alone: "
        "`by=model a=ViT-B/16 b=BiT-R50x1`, within one run or across",
        shown="model|weights|variant|source",
    )
    a: str = option("", "the side A of `by=`; of `by=variant` none is the model as it is", shown="NAME")
    b: str = option("", "the side B of `by=`", shown="NAME")
    label: tuple[str, ...] = option((), "the names to show for the runs A and B", shown="NAME,NAME")
    fail_if: str = option(
        "",
        "exit code 1: `worse` where A is significantly worse than B in any cell or mean of a group, `missing` where A "
        "lacks a cell that B has, or a job of A failed or was skipped",
        shown="worse,missing",
        check=_wrong_reason,
    )
    margin: float | None = option(
        None,
        "percentage points: says of which cells and means of groups the true difference is smaller than this "
        "(equivalent, docs/verdicts.md), of many models which pairs; and "
        "`fail_if=worse` fails only where A is significantly worse by more than this",
        shown="0.5",
        check=_wrong_margin,
    )
    mix: bool = option(False, "compare answers to different questions all the same")
    map: str = option(
        "",
        "the columns of a CSV from elsewhere (timm, clip_benchmark and mteb ones are known); with "
        "`map=model:name,value:score_of_theirs metric=top1` an unknown column is accuracy in percent",
        shown="model:name,value:top1",
        check=_wrong_map,
    )


Words = Annotated[
    list[str] | None,
    words_argument("A [B] [KEY=VALUE]...", CompareOptions),
]


def compare_verb(words: Words = None) -> None:
    """A and B are run directories or CSV files; several runs of one side with commas (A1,A2). Each pair has its
    difference, 95 % interval, p and a verdict: tested on the same images where both sides kept predictions (by video,
    patient, scene where images are not independent), over seeds or runs otherwise, corrected for the number of cells
    and of means of groups (Holm). One seed a side: the verdict is on these weights. docs/verdicts.md shows how often
    verdicts are wrong.

    `compare RUN... by=model` tests every pair of models in every cell and mean, corrected for all of these, and shows
    the ranks that each model may have; of more than 50 models each against the best. `format=csv` has every pair.
    """
    from ...results.comparison import compare as comparing
    from ...results.comparison.tables import tables

    sources, options = _read(words or [])
    by, metric = options.by, options.metric
    mapping = {ours: theirs for ours, _, theirs in _pairs(options.map)}
    frames = [_load(source, mapping, metric) for source in sources]
    if by and not options.a:
        _rank(frames, sources, options)
        return
    frames = frames if len(frames) == 2 else frames * 2
    names = options.label or (str(sources[0]), str(sources[-1]))
    if by:
        chosen = [_name(by, side) for side in (options.a, options.b)]
        frames = [
            comparing.select(frame, by, word, where) for frame, word, where in zip(frames, chosen, names, strict=True)
        ]
        names = tuple(f"{w} ({n})" if len(sources) == 2 else w for w, n in zip(chosen, names, strict=True))
        if len(sources) == 1 and set(frames[0]["measurement"]) & set(frames[1]["measurement"]) - {""}:
            raise UsageError(f"a={chosen[0]} and b={chosen[1]} have records in common{_variants(frames[0])}")
    comparison = comparing.compare(
        frames[0], frames[1], (names[0], names[1]), metric=metric, by=by, mix=options.mix, margin=options.margin
    )
    show_tables(tables(comparison, every=options.style != "terminal"), options)
    worse = "worse" in options.fail_if and comparison.worse_by(options.margin or 0.0)
    if worse or ("missing" in options.fail_if and comparison.missing):
        raise typer.Exit(1)


def _rank(frames: Sequence[pd.DataFrame], sources: Sequence[Path], options: CompareOptions) -> None:
    """Print the ranks of all models of these runs; as CSV every pair."""
    import pandas as pd

    from ...results.comparison.many import compare_all
    from ...results.comparison.rank_tables import pairs_table, rank_tables

    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    frame.attrs["folders"] = tuple(folder for one in frames for folder in one.attrs.get("folders", ()))
    name = ", ".join(map(str, sources))
    found = compare_all(frame, name, by=options.by, metric=options.metric, mix=options.mix, margin=options.margin)
    show_tables([pairs_table(found)] if options.style in ("csv", "json") else rank_tables(found), options)


def _read(words: list[str]) -> tuple[list[Path], CompareOptions]:
    sources, options = read_words(words, CompareOptions, "compare", name=_side, paths=True)
    by, sides = bool(options.by), bool(options.a) + bool(options.b)
    mistakes = Mistakes()
    if not (sources if by and not sides else len(sources) in ((1, 2) if by else (2,))):
        mistakes.note(
            f"compare needs two runs, and {len(sources)} were named: `compare A B`, or, within one run, "
            "`compare A by=model`, or two of its models, `compare A by=model a=ViT-B/16 b=BiT-R50x1`"
        )
    if sides not in ((0, 2) if by else (0,)):
        mistakes.note(
            "by=, a= and b= belong together: by=model a=ViT-B/16 b=BiT-R50x1, or by=model alone for all models"
        )
    if options.label and (len(options.label) != 2 or (by and (not sides or len(sources) < 2))):
        mistakes.note(
            "label= has the names of the two runs A and B: label=before,after. Those of models are given by run"
        )
    if by and not sides and options.fail_if:
        mistakes.note("fail_if= is of two sides: add a= and b=")
    mistakes.tell()
    return sources, options


def _side(word: str) -> Path:
    """The runs of one side, several with commas. Raises UsageError for one that does not exist."""
    each(path_on_disk, [word] if is_on_disk(word) else word.split(","))
    return Path(word)


def _pairs(text: str) -> list[tuple[str, str, str]]:
    return [word.partition(":") for word in text.split(",") if word]


def _load(source: Path, mapping: dict[str, str], metric: str) -> pd.DataFrame:
    if mapping or is_foreign(source):
        return read_foreign(source, mapping, metric)
    several = not source.exists() and "," in str(source)
    return load(*(str(source).split(",") if several else [source]))


def _variants(frame: pd.DataFrame) -> str:
    shown = [f"'{text or 'none'}'" for text in frame["variant"].unique()]
    return f": name variants, by=variant a={shown[0]} b={shown[1]}" if len(shown) > 1 else ""


def _name(by: str, word: str) -> str:
    """The name of the model where the word is an alias; any other word unchanged."""
    if by != "model":
        return word
    from ...models import catalog

    rows = catalog()
    return rows[word].name if word in rows else word


app = single(compare_verb, listed(CompareOptions))
