"""The rows of a step: what was measured, its goal, and whether it is met; a line each, so that a kill loses none."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

TINY = os.environ.get("SCALE") == "tiny"
ENDS = time.monotonic() + float(os.environ.get("LIMIT") or "inf")  # when this step is stopped


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of a step.

    `must` rows are right or wrong: one that is not met fails the step. Other goals are of speed, for a large GPU; a
    missed one is told, and at tiny scale none is judged.
    """

    what: str
    value: float | None = None
    unit: str = ""
    goal: str = ""
    met: bool | None = None  # None: there is no goal, or it is not judged
    must: bool = False
    note: str = ""


def judged(
    what: str,
    value: float,
    unit: str = "",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    must: bool = False,
) -> Row:
    """A row with a goal. NaN meets none."""
    goal = f"at least {at_least:.3g}" if at_least is not None else f"at most {at_most:.3g}"
    met = value >= at_least if at_least is not None else value <= (at_most if at_most is not None else float("inf"))
    return Row(what=what, value=value, unit=unit, goal=goal, met=bool(met) if must or not TINY else None, must=must)


def write(row: Row) -> None:
    """Append a row to the file that the variable ROWS names; print it where there is none."""
    line = json.dumps(asdict(row)) + "\n"
    path = os.environ.get("ROWS")
    if path is None:
        os.write(1, line.encode())
        return
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(line)


def needs_cuda(what: str) -> None:
    """Write that a figure is of a GPU alone, and that this step has none."""
    write(Row(what=what, note="needs CUDA"))


ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, OSError)


@contextlib.contextmanager
def going_on(what: str) -> Iterator[None]:
    """Write an error of the block as a row that is wrong, print it, and go on after it."""
    try:
        yield
    except (*ERRORS, subprocess.SubprocessError) as error:
        traceback.print_exc()
        why = " ".join(str(error).split())[:300]
        write(Row(what=what, met=False, must=True, note=f"{type(error).__name__}: {why}"))


def left() -> float:
    """Seconds until this step is stopped."""
    return ENDS - time.monotonic()


def read(path: Path) -> list[Row]:
    """The rows that a step has written so far; half a line, which a killed process may leave, is none."""
    rows: list[Row] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        rows.append(Row(**{item.name: values[item.name] for item in fields(Row)}))
    return rows
