"""Compare runs number by number: `compare A B [fail_if=worse,missing]`; many models: `compare RUN... by=model`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...registry import UsageError
from ...results.exports.foreign_csv import is_foreign, read_foreign
from ...results.store import load
from ..words import Mistakes, each, from_python, is_on_disk, option
from .command import Side, TableOutput, listed, name_of, path_on_disk, read_words, runs_of, show_tables, single
from .completion import words_argument

if TYPE_CHECKING:
    import pandas as pd

    from ...results.comparison.shown import Compared


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


def compare(  # noqa: PLR0913  # users call it
    *sides: Side,
    metric: str = "",
    by: str = "",
    a: str = "",
    b: str = "",
    label: Sequence[str] = (),
    margin: float | None = None,
    mix: bool = False,
    map: str | Mapping[str, str] = "",
    columns: Sequence[str] = (),
    sort: str = "",
) -> Compared:
    """Two sides number by number, `compare(a, b)`; or many models, `compare(run, by="model")`: as the command does.

    sides        run directories, bundles, CSVs, and DataFrames of `run` or `load`; several of one side in a list
    metric       which metric, several with commas; without it top1, or the only one on both sides
    by           "model", "weights", "variant" or "source": ranks of all; with `a` and `b` two of them alone
    label        the names to show for the two sides
    margin       percentage points: says where the true difference is smaller than this, and `.worse` is more than it
    mix          answers to different questions, all the same
    map          the columns of a CSV from elsewhere: {"model": "name", "value": "top1"}
    columns, sort   as of `table`

    A notebook shows the result with its verdicts and notes; `.frame` is a DataFrame, a row a pair, `.found` has every
    number, and `.worse` and `.missing` are what `fail_if=` asks of two sides. docs/verdicts.md shows how often
    verdicts are wrong. Raises UsageError, as the command does, where nothing can be compared.
    """
    mapping = map if isinstance(map, str) else ",".join(f"{ours}:{theirs}" for ours, theirs in map.items())
    words = {"metric": metric, "by": by, "a": a, "b": b, "label": label, "margin": margin, "mix": mix, "map": mapping}
    return _compared(sides, from_python(CompareOptions, **words, columns=columns, sort=sort))


def compare_verb(words: Words = None) -> None:
    """A and B are run directories or CSV files; several runs of one side with commas (A1,A2). Each pair has its
    difference, 95 % interval, p and a verdict: tested on the same images where both sides kept predictions (by video,
    patient, scene where images are not independent), over seeds or runs otherwise, corrected for the number of cells
    and of means of groups (Holm). One seed a side: the verdict is on these weights. docs/verdicts.md shows how often
    verdicts are wrong.

    `compare RUN... by=model` tests every pair of models in every cell and mean, corrected for all of these, and shows
    the ranks that each model may have; of more than 50 models each against the best. `format=csv` has every pair.
    """
    sources, options = read_words(words or [], CompareOptions, "compare", name=_side, paths=True)
    compared = _compared(sources, options)
    show_tables(compared, options)
    if ("worse" in options.fail_if and compared.worse) or ("missing" in options.fail_if and compared.missing):
        raise typer.Exit(1)


def _compared(sources: Sequence[Side], options: CompareOptions) -> Compared:
    """Two sides, or with `by=` alone all models. Raises UsageError for words that do not go together."""
    from ...results.comparison import compare as comparing
    from ...results.comparison.shown import Compared

    _check(sources, options)
    by, metric = options.by, options.metric
    mapping = {ours: theirs for ours, _, theirs in _pairs(options.map)}
    frames = [_load(source, mapping, metric) for source in sources]
    sides = [",".join(map(name_of, runs_of(source))) for source in sources]
    if by and not options.a:
        return _ranked(load(*frames), ", ".join(sides), options)
    frames = frames if len(frames) == 2 else frames * 2
    names = options.label or (sides[0], sides[-1])
    if not options.label and options.a == options.b:
        names = _told_apart(sources, (sides[0], sides[-1]))
    if by:
        chosen = [_name(by, side) for side in (options.a, options.b)]
        frames = [
            comparing.select(frame, by, word, where) for frame, word, where in zip(frames, chosen, names, strict=True)
        ]
        names = tuple(f"{w} ({n})" if len(sources) == 2 else w for w, n in zip(chosen, names, strict=True))
        if len(sources) == 1 and set(frames[0]["measurement"]) & set(frames[1]["measurement"]) - {""}:
            raise UsageError(f"a={chosen[0]} and b={chosen[1]} have records in common{_variants(frames[0])}")
    found = comparing.compare(
        frames[0], frames[1], (names[0], names[1]), metric=metric, by=by, mix=options.mix, margin=options.margin
    )
    return Compared(found, options, options.margin)


def _ranked(frame: pd.DataFrame, name: str, options: CompareOptions) -> Compared:
    """All models of these runs."""
    from ...results.comparison.many import compare_all
    from ...results.comparison.shown import Compared

    found = compare_all(frame, name, by=options.by, metric=options.metric, mix=options.mix, margin=options.margin)
    return Compared(found, options)


def _check(sources: Sequence[Side], options: CompareOptions) -> None:
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


def _side(word: str) -> Side:
    """The runs of one side, several with commas. Raises UsageError for one that does not exist."""
    if is_on_disk(word):
        return path_on_disk(word)
    found = each(path_on_disk, word.split(","))
    return found if len(found) > 1 else found[0]


def _told_apart(sources: Sequence[Side], names: tuple[str, str]) -> tuple[str, str]:
    """The names of two sides; those of two DataFrames of the same run with A and B."""
    frames = len(sources) == 2 and not all(isinstance(run, str | Path) for side in sources for run in runs_of(side))
    return (f"{names[0]} (A)", f"{names[1]} (B)") if frames and names[0] == names[1] else names


def _pairs(text: str) -> list[tuple[str, str, str]]:
    return [word.partition(":") for word in text.split(",") if word]


def _load(side: Side, mapping: dict[str, str], metric: str) -> pd.DataFrame:
    if isinstance(side, str | Path) and (mapping or is_foreign(Path(side))):
        return read_foreign(Path(side), mapping, metric)
    return load(*runs_of(side))


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
