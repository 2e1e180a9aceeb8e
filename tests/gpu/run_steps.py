"""Runs the steps of tests/gpu/run.sh, each as a process with a time limit, and writes results.json, table.txt, log.txt.

The files are written anew every second, so that whatever is killed, what was measured until then is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from rows import TINY, Row, read

HERE = Path(__file__).parent
DEADLINE = 1800.0 if TINY else 300.0  # seconds of all steps; at tiny scale for the busiest machine
LEAST = 5.0  # seconds that a step is begun with
TAIL = 25  # lines of a failed step's output in the results
WIDTH = 79

State = Literal["waiting", "running", "ok", "failed", "timeout", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A script and the most seconds that it gets."""

    name: str
    script: Path
    seconds: float
    tiny_seconds: float = 300.0

    @property
    def limit(self) -> float:
        return self.tiny_seconds if TINY else self.seconds


# In order of worth. Those of one group run at the same time: compiling, which times nothing, beside exactness. What one
# leaves of its time, the next ones may use.
GROUPS: tuple[tuple[Step, ...], ...] = (
    (
        Step(name="exactness", script=HERE / "step_exactness.py", seconds=65),
        Step(name="compile", script=HERE / "step_compile.py", seconds=65),
    ),
    (Step(name="throughput", script=HERE / "step_throughput.py", seconds=100),),
    (Step(name="finetuning", script=HERE / "step_finetuning.py", seconds=60),),
    (Step(name="fewshot", script=HERE / "step_fewshot.py", seconds=30),),
    (Step(name="processes", script=HERE / "step_processes.py", seconds=25),),
    (Step(name="pytest", script=HERE / "step_pytest.py", seconds=20),),
)
if TINY:  # these two time nothing there
    GROUPS = (*GROUPS[:-2], (*GROUPS[-2], *GROUPS[-1]))


@dataclass(kw_only=True)
class StepResult:
    """What became of a step."""

    name: str
    state: State = "waiting"
    seconds: float = 0.0
    limit: float
    rows: list[Row] = field(default_factory=list)
    error: str = ""  # the end of what it printed, or why it did not run


class Report:
    """The results so far, and the files that show them."""

    def __init__(self, folder: Path, facts: dict[str, Any], steps: Sequence[Step]) -> None:
        self.folder, self.facts = folder, facts
        self.running: set[Path] = set()  # the files of rows of the steps that run
        self.results = {step.name: StepResult(name=step.name, limit=step.limit) for step in steps}
        self.closed = False  # whether the files stay as they are
        self._lock = Lock()

    def write(self) -> None:
        with self._lock:
            if self.closed:
                return
            body = {**self.facts, "steps": [asdict(result) for result in self.results.values()]}
            for name, text in (("results.json", json.dumps(body, indent=1)), ("table.txt", self.table())):
                temporary = self.folder / f".{name}"
                temporary.write_text(text + "\n", encoding="utf-8")
                temporary.replace(self.folder / name)

    def log(self, title: str, text: str) -> None:
        with self._lock, (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"\n== {title}\n{text}\n")

    def table(self) -> str:
        """The text table: a line a step, below it a line a row; no line is longer than WIDTH."""
        facts = [f"{name} {value}" for name, value in self.facts.items() if value not in ("", None)]
        lines = textwrap.wrap(", ".join(facts), WIDTH)
        for result in self.results.values():
            left = f"{result.name}: {result.state}"
            lines += ["", f"{left:<58}{result.seconds:>8.1f} of {result.limit:.0f} s"]
            for row in result.rows:
                lines += _lines(row)
            if result.state != "ok" and result.error:
                lines += [f"    | {line[: WIDTH - 6]}" for line in result.error.splitlines()[-8:]]
        return "\n".join(lines)


def _lines(row: Row) -> list[str]:
    """A row of the table: what, value, goal, verdict; a note in lines of its own."""
    value = "" if row.value is None else f"{row.value:.4g} {row.unit}".strip()
    verdict = {True: "met", False: "WRONG" if row.must else "MISSED", None: ""}[row.met]
    name = textwrap.wrap(row.what, 36) or [""]
    note = f"({row.note})" if row.note else ""
    first = f"  {name[0]:<36} {value:>15} {row.goal:>16} {verdict:>7}".rstrip()
    rest = [f"    {line}" for line in name[1:]]
    return [first, *rest, *(f"      {line}" for line in textwrap.wrap(note, WIDTH - 6))]


def run_step(step: Step, report: Report, scratch: Path, ends: float) -> None:
    """Run a step until it ends, at the latest until the time `ends`, and keep its result in the report."""
    result = report.results[step.name]
    begun = time.monotonic()
    if ends - begun < LEAST:
        result.state, result.error = "skipped", "the time of all steps was over"
        report.write()
        return
    limit = result.limit = ends - begun
    rows, output = scratch / f"{step.name}.jsonl", scratch / f"{step.name}.txt"
    own = scratch / step.name
    own.mkdir()
    environment = os.environ | {"ROWS": str(rows), "SCRATCH": str(own), "LIMIT": str(limit)}
    result.state = "running"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(step.script)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=own,
            env=environment,
        )
        report.running.add(rows)
        try:
            code: int | None = None
            while code is None and time.monotonic() - begun < limit:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(min(1.0, max(0.01, limit - (time.monotonic() - begun))))
                result.seconds, result.rows = time.monotonic() - begun, read(rows)
                report.write()
        finally:
            end_processes(rows)
            process.kill()
            process.wait()
            report.running.discard(rows)
    result.seconds, result.rows = time.monotonic() - begun, read(rows)
    printed = output.read_text(encoding="utf-8", errors="replace")
    wrong = [row.what for row in result.rows if row.must and row.met is False]
    result.state = "timeout" if code is None else "ok" if code == 0 and not wrong else "failed"
    if result.state != "ok":
        why = {"timeout": f"stopped after {limit:.0f} s", "failed": f"exit code {code}; wrong: {', '.join(wrong)}"}
        result.error = "\n".join([*printed.splitlines()[-TAIL:], why[result.state]])
    report.log(f"{step.name}: {result.state} after {result.seconds:.1f} s", printed)
    report.write()


def end_processes(rows: Path) -> None:
    """End a step's process and all that it started, whatever sessions they are in: all that have its ROWS."""
    mark = f"\0ROWS={rows}\0".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # of another user, or ended by now
            if mark in b"\0" + environment.read_bytes():
                os.kill(int(environment.parent.name), signal.SIGKILL)


def run(groups: Sequence[Sequence[Step]], report: Report, scratch: Path, ends: float) -> int:
    """Run all steps until the time `ends`. Returns the exit code: 0 where all are ok."""
    report.write()
    for number, group in enumerate(groups):
        later = sum(max(step.limit for step in after) for after in groups[number + 1 :])
        with ThreadPoolExecutor(len(group)) as pool:
            list(pool.map(partial(run_step, report=report, scratch=scratch, ends=ends - later), group))
        for step in group:
            result = report.results[step.name]
            say(f"{step.name}: {result.state}, {result.seconds:.1f} s, {len(result.rows)} rows")
    return 0 if all(result.state == "ok" for result in report.results.values()) else 1


def chosen(groups: Sequence[Sequence[Step]], words: str) -> list[list[Step]]:
    """The steps that STEPS= names, in their order; all where it is empty. Raises ValueError for an unknown name."""
    wanted = [word for word in words.replace(",", " ").split() if word]
    known = [step.name for group in groups for step in group]
    unknown = [word for word in wanted if word not in known]
    if unknown:
        raise ValueError(f"STEPS={words}: there is no step {', '.join(unknown)}; there are {', '.join(known)}")
    picked = [[step for step in group if not wanted or step.name in wanted] for group in groups]
    return [group for group in picked if group]


def deadline(words: Mapping[str, str]) -> float:
    """The seconds of all steps. Raises ValueError for a word that is none."""
    if words.get("SCALE", "tiny") not in ("", "tiny"):
        raise ValueError(f"SCALE={words['SCALE']}: type tiny, or leave it out")
    typed = words.get("DEADLINE", "")
    try:
        return float(typed or DEADLINE)
    except ValueError as error:
        raise ValueError(f"DEADLINE={typed}: type a number of seconds") from error


FACTS = """
import json, os, sys
from vit_bench.bench import environment
facts = environment.describe() | environment.machine(os.environ.get("DEVICE") or "auto")
print(json.dumps({name: value for name, value in facts.items() if value}))
"""


def facts() -> dict[str, Any]:
    """Device, driver, versions and commit, from a process of its own; "error" where that fails."""
    own = {"scale": "tiny" if TINY else "full", "command": os.environ.get("COMMAND") or "tests/gpu/run.sh"}
    own |= {name.lower(): os.environ[name] for name in ("STEPS", "DEVICE", "COMMIT") if os.environ.get(name)}
    own["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        done = subprocess.run([sys.executable, "-c", FACTS], capture_output=True, text=True, timeout=120, check=False)
        return json.loads(done.stdout.splitlines()[-1]) | own
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return own | {"error": f"the device could not be asked: {type(error).__name__}"}


@contextlib.contextmanager
def output_folder() -> Iterator[Path]:
    """The folder OUT, made where it is missing, or a new one below the folder of temporary files."""
    out = os.environ.get("OUT")
    folder = Path(out) if out else Path(tempfile.mkdtemp(prefix="vit-bench-gpu-"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("results.json", "table.txt", "log.txt"):
        (folder / name).unlink(missing_ok=True)
    yield folder.resolve()


def stop(report: Report) -> None:
    """End at once, with all processes; the files show what was measured."""
    report.closed = True  # what is killed here has not failed
    for rows in tuple(report.running):
        end_processes(rows)
    os._exit(128 + signal.SIGTERM)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    begun = time.monotonic()
    try:
        groups = chosen(GROUPS, os.environ.get("STEPS", ""))
        ends = begun + deadline(os.environ)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with output_folder() as folder, tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH")) as scratch:
        say(f"results: {folder}")
        report = Report(folder, facts(), [step for group in groups for step in group])
        signal.signal(signal.SIGTERM, lambda *_: stop(report))
        code = run(groups, report, Path(scratch), ends)
        say("\n" + report.table())
        return code


if __name__ == "__main__":
    sys.exit(main())
