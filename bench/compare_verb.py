"""`compare`: is one run, or one model, really better than another, or is it noise?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..registry import UsageError, suggest
from . import config as settings
from .words import read_words

if TYPE_CHECKING:
    import pandas as pd

OPTIONS = ("metric", "by", "a", "b", "format", "fail_if", "mix", "map")
Words = Annotated[list[str] | None, typer.Argument(metavar="A [B] [KEY=VALUE]...", show_default=False)]


def compare_verb(words: Words = None) -> None:
    """Compare two runs cell by cell: `compare A B [metric=top1] [by=model a=NAME b=NAME] [fail_if=worse]`.

    A and B are run directories or CSV files; several runs of one side with commas (A1,A2). Each pair has its
    difference, 95 % interval, p and a verdict: tested on the same images where both sides kept predictions (by video,
    patient, scene where images are not independent), over seeds or runs otherwise, corrected for the number of pairs
    (Holm).

    - `metric=top1`: which metric, several with commas
    - `by=model a=ViT-B/16 b=BiT-R50x1`: two models, within one run or across; also `by=weights`, `variant`, `source`
    - `format=terminal|github|latex|csv|html`
    - `fail_if=worse`: exit code 1 where A is significantly worse than B anywhere
    - `mix=true`: compare answers to different questions all the same
    - `map=model:name,value:top1`: the columns of a CSV from elsewhere (timm, clip_benchmark and mteb ones are known);
      with `map=model:name,value:score_of_theirs metric=top1` an unknown column is accuracy in percent
    """
    from ..results import compare as comparing
    from ..results.render import FORMATS, render, show
    from ..results.verdicts import tables

    sources, options = _read(words or [])
    style = options.get("format", "terminal")
    if style not in FORMATS:
        raise UsageError(f"format={style}: {suggest(style, FORMATS)}")
    if options.get("fail_if", "worse") != "worse":
        raise UsageError(f"fail_if={options['fail_if']}: there is fail_if=worse, exit code 1 where A is worse than B")
    by = options.get("by", "")
    mapping = _mapping(options.get("map", ""))
    frames = [_load(source, mapping, options.get("metric", "")) for source in sources]
    frames = frames if len(frames) == 2 else frames * 2
    names = (str(sources[0]), str(sources[-1]))
    if by:
        chosen = [_name(by, options[side]) for side in "ab"]
        frames = [
            comparing.select(frame, by, word, where) for frame, word, where in zip(frames, chosen, names, strict=True)
        ]
        names = tuple(f"{w} ({n})" if len(sources) == 2 else w for w, n in zip(chosen, names, strict=True))
    mix = settings.read_value("mix", options.get("mix", "false"), bool)
    made = comparing.compare(
        frames[0], frames[1], (names[0], names[1]), metric=options.get("metric", ""), by=by, mix=mix
    )
    for table in tables(made, every=style != "terminal"):
        if style == "terminal":
            show(table, Console(file=sys.stdout))
        else:
            sys.stdout.write(render(table, style))
    if "fail_if" in options and made.worse:
        raise typer.Exit(1)


def _read(words: list[str]) -> tuple[list[Path], dict[str, str]]:
    sources, options = read_words(words, OPTIONS, "compare")
    by = "by" in options
    if len(sources) not in ((1, 2) if by else (2,)):
        raise UsageError(
            f"compare needs two runs, and {len(sources)} were named: `compare A B`, or, within one run, "
            "`compare A by=model a=ViT-B/16 b=BiT-R50x1`"
        )
    missing = [side for side in "ab" if by and side not in options]
    if missing or (not by and ("a" in options or "b" in options)):
        raise UsageError("by=, a= and b= belong together: by=model a=ViT-B/16 b=BiT-R50x1")
    return sources, options


def _mapping(text: str) -> dict[str, str]:
    pairs = [word.partition(":") for word in text.split(",") if word]
    if any(not colon or not theirs for _, colon, theirs in pairs):
        raise UsageError(f"map={text}: expected OURS:THEIRS with commas, for example map=model:name,value:top1")
    return {ours: theirs for ours, _, theirs in pairs}


def _load(source: Path, mapping: dict[str, str], metric: str) -> pd.DataFrame:
    from ..results.foreign import is_foreign, read_foreign
    from ..results.record import load

    if mapping or is_foreign(source):
        return read_foreign(source, mapping, metric)
    several = not source.exists() and "," in str(source)
    return load(*(str(source).split(",") if several else [source]))


def _name(by: str, word: str) -> str:
    """The catalog's name for a model's alias; any other word as it is."""
    if by != "model":
        return word
    from ..models import catalog

    rows = catalog()
    return rows[word].name if word in rows else word
