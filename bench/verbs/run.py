"""Measure: run what is missing of a plan, and print its table."""

from __future__ import annotations

import sys

import typer

from ...registry import UsageError, first_few
from ...results.cost import cost
from ...results.exports import formats
from ...results.tables import tables
from .. import config as settings
from ..console import stderr
from ..distributed import process_group
from ..plan import make_plan
from ..progress import Progress
from ..run import execute, records
from ..select.user_rows import include
from .command import TableOutput, listed, read_words, show_tables, single
from .plan import SETTINGS_HELP, Words, count_jobs, without_data
from .table import suite_tables


def run_verb(words: Words = None) -> None:
    """For example `run suite=vtab`, or `run suite=fewshot task=digits shots=1,5 model=my_model.py:build`."""
    how = [word for word in words or [] if word.startswith("format=")]
    _, output = read_words(how, TableOutput, "run", name=str)
    config = settings.read([word for word in words or [] if word not in how])
    screen = stderr(quiet=not process_group().leads)
    plan = make_plan(config)
    for note in (*plan.notes, *without_data(plan)):
        screen.say(note)
    result = execute(plan, Progress(screen))
    if not result.leads:
        raise typer.Exit(result.exit_code)
    frame = records(plan)
    if not frame.empty and not result.interrupted:
        try:
            show_tables(suite_tables(frame, include(config.include).added_to(tables())), output)
        except UsageError as error:  # the records are written all the same
            screen.say(f"no table: {error}")
        trailer = None if config.trailer == "none" else formats()[config.trailer].trailer
        if trailer is not None and not result.failed:
            sys.stdout.write(trailer(frame))
    counts = {
        "computed": result.computed - len(result.failed),
        "reused from runs beside": result.reused,
        "done before": result.kept,
        "skipped": result.skipped,
        "failed": len(result.failed),
    }
    text = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none computed"
    text += f" ({result.not_reached} rows not reached)" if result.not_reached else ""
    total = "" if frame.empty else str(cost(frame))
    cost_note = f" Cost of these records: {total}." if total else ""
    screen.say(
        f"{count_jobs(plan.jobs)}: {text}, in {result.seconds:.1f} s.{cost_note} Records: {plan.out / 'results.csv'}"
    )
    failed = {cell.key for cell in result.failed}  # an unfinished job's files are not its result
    jobs = [] if result.interrupted else [job for job in plan.jobs if job.key not in failed]
    kept = [str(path) for job in jobs for path in sorted((plan.out / "kept" / job.key).glob("*.safetensors"))]
    if kept:
        screen.say(f"Kept weights: {first_few(kept, most=6)}")
    for line in result.failures():
        screen.say(line)
    if result.failed:
        screen.say(f"Tracebacks: {plan.out / 'log.txt'}. Repeat the command to try again.")
    if result.interrupted:
        screen.say("Interrupted. What was finished is kept; repeat the command to go on.")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


app = single(run_verb, SETTINGS_HELP, "**The tables that it prints**", listed(TableOutput, ["format"]))
