"""Replay published weights files on the data at hand: does each score what was published of it? `verify real` fetches
what it needs and replays a list of them, from the cheapest up.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from ...registry import UsageError
from ...results.tables import Table
from ...results.tables.render import show_table
from ...results.tables.shown import Tables
from ...suites.tasks import tasks
from ..console import Screen, stderr, stdout
from ..distributed import process_group
from ..expected.speeds import USUAL
from ..verify.published import anchors
from ..verify.real import PASSED as REAL_PASSED
from ..verify.real import WRONG, RealOptions, replay_all, verdicts_table, write_summary
from ..verify.replay import PASSED, Check, VerifyOptions, check_available, cost, described, needs, replay, write
from ..verify.replays import all_tables, chosen, list_table, page
from ..words import each
from .command import TableOutput, listed, print_json, read_words, show_tables, single
from .report import report_verb
from .weights import known as known_weights
from .weights import selected

VTAB = (
    "Of BiT's files for single VTAB-1k tasks only means over tasks are (19 tasks: 73.51 of R152x4, 72.65 of R101x3): "
    "`run suite=classify task=vtab model=BiT-R101x3 'weights=vtab-run*'` measures the files one by one."
)
SUSTAINED = round(USUAL["GPU"].flops[1] / 1e12)  # TFLOP/s, assumed for the estimate of time
FIRST = 5  # missing weights files to name where nothing can be replayed
KINDS = {"file": "this file", "configuration": "its configuration", "copy": "timm's copy"}


def verify_verb(
    words: Annotated[list[str] | None, typer.Argument(metavar="[list] [MODEL[:TAG]|TAG]... [KEY=VALUE]...")] = None,
) -> None:
    """`verify list` shows what there is to replay, what each needs, what of that is not here and the compute; nothing
    is run. `verify ViT-B/16 data=~/data` measures what is here and says `agrees` or `differs`, and by how many images.
    A file's own number on the very images agrees where at most a few images, 12 of 50,000, are beyond its rounding: as
    far as repeats on other devices are apart. Where it differs, each link is changed alone and scored again; the one
    that brings the accuracy nearest to the published one is scored on other images of the test set, and named if it
    does so there, too: normalisation, channel order, resize, resolution, label order, split, or head.

    MODEL, MODEL:TAG and TAG are files, as for `weights list`, globs too (`'ViT-B/16:augreg-*'`); without one, all.

    A number of another run of the same configuration, or of timm's copy of a file, is of other weights. That is a test
    of another kind, whether the accuracy lies in the binomial 95 % interval, and never counts as wrong. Exit codes: 0
    all agree, 1 one of a file's own numbers differs or fails, 2 nothing could be replayed.

    `verify real [NAME|GLOB|weekly]... [KEY=VALUE]...` says sizes and times, downloads weights and images (BENCH_MIRROR
    first), replays, goes on after failures, and leaves `runs/real/real.csv`, `report.html`, and for each deviation a
    text to be pasted into an issue. Repeating it does only what is missing. `verify list real` shows its list, what was
    replayed so far, and what cannot be; `format=github` writes them as docs/replayed.md has them.
    """
    asked = list(words or [])
    only_list = asked[:1] in (["list"], ["plan"])
    if asked[only_list : only_list + 1] == ["real"]:
        raise typer.Exit((_list_real if only_list else _replay_real)(asked[only_list + 1 :]))
    patterns, options = read_words(asked[only_list:], VerifyOptions, "verify", name=known_weights)
    options = replace(options, passed=tuple(word for word in asked if word.partition("=")[0] in PASSED))
    files = selected(patterns or ["*"])
    of_tasks = {task.name for chosen in each(tasks().select, options.task) for task in chosen}
    known = [anchor for anchor in anchors(files) if not options.task or anchor.task in of_tasks]
    known = [anchor for anchor in known if options.of is None or anchor.of == KINDS[options.of]]
    if not known:
        on = f" on {','.join(options.task)}" if options.task else ""
        vtab = f" {VTAB}" if any(release.tag.startswith("vtab-") for release in files) else ""
        what = " ".join(patterns) or "these files"
        raise UsageError(f"no accuracy is published of {what}{on}.{vtab} `verify list` shows of which there is one")
    out = stdout()
    checks = check_available(known, options)
    if only_list and options.format == "json":
        print_json([described(check) | dict(zip(("images", "tflop"), cost(check), strict=True)) for check in checks])
        return
    if only_list:
        _print_needs(checks, out)
        _print_cost(checks, options, out)
        if patterns:
            out.say("`verify list real` shows what `verify real` fetches and replays, and what cannot be replayed")
        else:
            _list_real([])
        return
    if all(check.lacks for check in checks):
        _print_lacks(checks, out, most=FIRST)
        raise UsageError(
            f"nothing of the {len(checks)} published numbers can be replayed here. Place what is listed above, or type "
            "data=DIR and set BENCH_WEIGHTS to the folders that hold it"
        )
    raise typer.Exit(_measure(checks, options, out))


def _list_real(words: list[str]) -> int:
    """Print the tables of docs/replayed.md, the list with these names alone. Returns the exit code."""
    names, options = read_words(words, TableOutput, "verify list real", name=str)
    tables = all_tables(names)
    if options.style == "github" and options.out is None:
        sys.stdout.write(page(tables))
    else:
        show_tables(Tables(tables, options), options)
    return 0


def _replay_real(words: list[str]) -> int:
    """Replay the list, or these rows of it. Returns the exit code."""
    names, options = read_words(words, RealOptions, "verify real", name=str)
    options = replace(options, passed=tuple(word for word in words if word.partition("=")[0] in REAL_PASSED))
    rows, out, screen = chosen(names), stdout(), stderr()
    show_table(list_table(rows), out)
    done = list(replay_all(rows, options, screen))
    show_table(verdicts_table(done), out)
    out.say(f"Written to {options.out / 'real.csv'} and {write_summary(done, options.out)}")
    deviations = [options.out / "deviations" / f"{one.replay.name}.md" for one in done if one.verdict in WRONG]
    for path in deviations:
        out.say(f"A text for an issue: {path}")
    if any(one.cells for one in done):
        try:
            report_verb([str(options.out), f"out={options.out / 'report.html'}", "title=Replays of published numbers"])
        except UsageError as error:
            out.say(f"no page: {error}")
    wrong = any(one.wrong for one in done)
    return 1 if wrong else 0 if any(one.measured is not None for one in done) else 2


def _measure(checks: Sequence[Check], options: VerifyOptions, out: Screen) -> int:
    """Run the checks that are possible here, print the results, and return the exit code."""
    screen = stderr(quiet=not process_group().leads)
    images, tflop = needs(checks, options)
    if images:
        screen.say(f"at most {images:,} images through networks{_flop(tflop)}")
    done = replay(checks, options, screen)
    if not process_group().leads:
        return 0
    here = [check for check in done if not check.lacks]
    written = write(done, options.out)
    if options.format == "json":
        print_json([described(check) for check in done])
    else:
        _print_verdicts(here, out)
        if lacking := len(done) - len(here):
            out.say(f"{lacking} published numbers cannot be replayed here; `verify list` says what they need.")
        out.say(f"Written to {written}")
    wrong = [c for c in here if c.verdict == "failed" or (c.verdict == "differs" and c.anchor.binding)]
    return 1 if wrong else 0


def _print_verdicts(checks: Sequence[Check], out: Screen) -> None:
    def texts(check: Check) -> tuple[str, ...]:
        if check.measured is None:
            return "", "", "", check.verdict
        note = "" if check.anchor.binding else " *"
        low, high = check.interval
        apart = f"{check.stated.images_apart(check.measured):+,} of {check.stated.n:,} images".replace("+0", "0")
        return f"{low:.3f} to {high:.3f}", f"{check.measured:.3f}", apart, check.verdict + note

    _print_checks(checks, ("agrees from", "measured", "beyond the rounding", "verdict"), texts, out)
    measured = [check for check in checks if check.measured is not None]
    if own := [check for check in measured if check.anchor.binding]:
        few = " and ".join(f"{flips} of {n:,}" for n, flips in {c.stated.n: c.stated.flips for c in own}.items())
        out.say(f"agrees: at most {few} images beyond the rounding, as far as 95 % of timm's own repeats are apart")
    if len(own) < len(measured):
        out.say(
            "* not this file's own number: another training run, or timm's copy; a test of another kind, by the "
            "binomial 95 % interval, and no proof of a mistake"
        )
    for check in checks:
        who = f"{check.anchor.release.model} {check.anchor.release.tag} on {check.task.name}"
        if check.error:
            out.say(f"FAILED {who}: {check.error}")
        if check.diagnosis is not None:
            suspect = f"suspect: {check.diagnosis.link}" if check.diagnosis.link else "no link to suspect"
            out.say(f"{who}: {suspect}; {check.diagnosis.words}")


def _print_needs(checks: Sequence[Check], out: Screen) -> None:
    def texts(check: Check) -> tuple[str, ...]:
        images, tflop = cost(check)
        lack = " and ".join(text.split(":")[0].split(" ")[0] for text in check.lacks)
        return f"{images:,}", "" if tflop is None else _number(tflop), f"no {lack}" if lack else "here"

    _print_checks(checks, ("images", "TFLOP", "here"), texts, out)
    _print_lacks(checks, out)


def _print_checks(
    checks: Sequence[Check], columns: tuple[str, ...], texts: Callable[[Check], tuple[str, ...]], out: Screen
) -> None:
    """Print a table with one row a check: the published number with a letter for who states it, and more `texts`."""
    statements = list(dict.fromkeys((check.anchor.of, check.anchor.basis) for check in checks))
    letters = {statement: chr(ord("a") + i) for i, statement in enumerate(statements)}
    rows = []
    for check in checks:
        release, letter = check.anchor.release, letters[check.anchor.of, check.anchor.basis]
        published = f"{check.anchor.stated} ({letter})"
        rows.append((release.model, release.tag, check.task.name, published, *texts(check)))
    columns = ("model", "weights", "task", "published", *columns)
    show_table(Table(title="", columns=columns, rows=tuple(rows), labels=3), out)
    for (of, words), letter in letters.items():
        out.say(f"({letter}) of {of}: {words}")


def _print_lacks(checks: Sequence[Check], out: Screen, most: int | None = None) -> None:
    """Print what is not here, images first; of weights files `most` at the most."""
    lacks = list(dict.fromkeys(lack for check in checks for lack in check.lacks))
    lacks.sort(key=lambda lack: lack.startswith("weights"))
    images = sum(not lack.startswith("weights") for lack in lacks)
    shown = lacks if most is None else lacks[: images + most]
    for lack in shown:
        out.say(f"missing: {lack}")
    if len(shown) < len(lacks):
        out.say(f"… and {len(lacks) - len(shown)} more files of weights: `verify list` names them")


def _print_cost(checks: Sequence[Check], options: VerifyOptions, out: Screen) -> None:
    if any(not check.lacks for check in checks):
        images, tflop = needs(checks, options)
        out.say(f"what is here and not measured yet: at most {images:,} images{_flop(tflop)}")
    # tasks of a file share passes
    passes = {(check.anchor.release.file_name, check.anchor.settings): cost(check)[1] or 0.0 for check in checks}
    per_file: Counter[str] = Counter()
    for (file, _), work in passes.items():
        per_file[file] += work  # pyright: ignore[reportArgumentType]  # a Counter takes any numbers
    known = sorted(per_file.values())
    if len(known) >= 3:
        spans = sorted({sum(known[:3]), sum(known[-3:])})  # the least and the most
        out.say(
            f"three of these files come to {' to '.join(f'{_number(span)} TFLOP' for span in spans)}: on a GPU that "
            f"sustains {SUSTAINED} TFLOP/s, {' to '.join(_minutes(span / SUSTAINED) for span in spans)}, if images are "
            "decoded as fast (precision=bf16: faster)"
        )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"


def _flop(tflop: float | None) -> str:
    return "" if tflop is None else f", {_number(tflop)} TFLOP"


def _number(tflop: float) -> str:
    return f"{tflop:,.0f}" if tflop >= 10 else f"{tflop:.2g}"


app = single(verify_verb, listed(VerifyOptions), "**`verify real`**", listed(RealOptions))
