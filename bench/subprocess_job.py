"""Runs a job in a child process, so that what kills the process fails one part of the job and nothing else.

The child gets the job on its standard input. Through a pipe it sends measurements, messages, and which part it enters.
Where it dies in a part, or a part raises, that part becomes a measurement without a number, and a new child goes on
with the next part.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..registry import UsageError
from ..stable import FULL, canonical, describe_os_error
from ..suites.protocol import Measurement

if TYPE_CHECKING:
    from .context import Folders, Reporter
    from .job import Job

MODULE = __spec__.name if __spec__ else __name__


@dataclass(frozen=True, kw_only=True)
class JobPayload:
    """What a child process is sent."""

    job: Job
    folders: Folders
    device: str
    batch_size: int
    include: tuple[Path, ...] = ()  # folders of the user's files that the job may need
    entered: frozenset[str] = frozenset()  # parts that earlier children entered


class ChildError(RuntimeError):
    """The child process of a job died before it entered any part of the job."""


class ForeignCodeError(RuntimeError):
    """The job holds code that another process cannot import: of a script, `__main__`, or a notebook."""


def can_be_pickled(job: Job) -> bool:
    """Whether a job can be sent to another process; one with a module defined in a notebook cannot."""
    try:
        pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def one_line(error: BaseException) -> str:
    """An error's message on one line, without colours; with its type, unless it says itself what to do.

    The lines of our own errors are parts: the first says what is wrong (`results.record.conclusion`).
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return describe_os_error(error)
    lines = [" ".join(line.split()) for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()]
    if not isinstance(error, UsageError):
        return f"{type(error).__name__}: {' '.join(filter(None, lines))}"
    return re.sub(r"(?<=[:.;,])\n", " ", "\n".join(filter(None, lines))).replace("\n", "; ")


def run_isolated(payload: JobPayload, reporter: Reporter) -> tuple[list[Measurement], str]:
    """The measurements of all parts of a job, and the tracebacks of failed parts. A failed part costs one more process.

    Raises ChildError where a process dies before it enters a part, and ForeignCodeError.
    """
    measured: list[Measurement] = []
    trace = ""
    while True:
        child = _run_child(payload, reporter)
        if child.cannot_import:
            raise ForeignCodeError(child.cannot_import)
        measured += child.measured
        if child.ended:
            return _without_repeats(measured), trace
        trace += child.death
        if not child.entered:
            raise ChildError(child.death)
        part, last = child.entered[-1], child.death.strip().splitlines()[-1]
        measured = [item for item in measured if item.error or not part.items() <= item.at.items()]
        measured.append(Measurement(metric="", value=None, unit="", at=part, error=last))
        place = " ".join(f"{name}={value}" for name, value in part.items())
        reporter.say(f"{payload.job.model.name} {place}: {last}")
        payload = replace(payload, entered=payload.entered.union(canonical(dict(at)) for at in child.entered))


def _without_repeats(measured: list[Measurement]) -> list[Measurement]:
    """Without measurements that a later child sent again: the last of each is kept."""
    return list({(item.metric, canonical(dict(item.at))): item for item in reversed(measured)}.values())[::-1]


@dataclass
class _Child:
    """What one child process sent, and how it ended."""

    measured: list[Measurement] = field(default_factory=list)
    entered: list[Mapping[str, Any]] = field(default_factory=list)  # parts of the job
    ended: bool = False  # whether it finished the job
    death: str = ""  # why it did not
    cannot_import: str = ""  # what of the job, and why


def _run_child(payload: JobPayload, reporter: Reporter) -> _Child:
    """Start a child process and listen to it until it ends or dies."""
    child = _Child()
    read, write = os.pipe()
    with tempfile.TemporaryFile() as output:  # a pipe that is not read would fill up
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(write)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[write],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        os.close(write)
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                pickle.dump((sys.path, payload.include), process.stdin)  # so that the child finds the user's code
                pickle.dump(payload, process.stdin)
                process.stdin.flush()  # and stays open: its end tells the child that this process has died
            with os.fdopen(read, "rb") as pipe, contextlib.suppress(EOFError, pickle.UnpicklingError):
                while True:  # until the child ends, maybe within a message
                    kind, value = pickle.load(pipe)
                    _take(kind, value, child, reporter)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        output.seek(0)
        errors = output.read().decode(errors="replace")
    child.death = child.death or f"{errors[-2000:]}\n{_cause(process.returncode)}"
    return child


def _take(kind: str, value: Any, child: _Child, reporter: Reporter) -> None:
    if kind == "say":
        reporter.say(value)
    elif kind == "advance":
        count, note, found = value
        reporter.advance(count, note, found=found)
    elif kind == "raised":
        child.death = value
    elif kind == "cannot import":
        child.cannot_import = value
    elif kind == "end":
        child.ended = True
    else:
        {"enter": child.entered, "measured": child.measured}[kind].append(value)


def _cause(code: int) -> str:
    if code >= 0:
        return f"the process ended with exit code {code}"
    name = signal.Signals(-code).name
    killed = " (the system does that to a process that takes more memory than there is)" if name == "SIGKILL" else ""
    return f"the process was ended by {name}{killed}"


def _end_with_the_parent() -> None:
    """End this process when its standard input ends, which the parent holds open for as long as it lives."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> None:
    """What the child process runs."""
    pipe = os.fdopen(int(sys.argv[1]), "wb")

    def send(kind: str, value: Any = None) -> None:
        pickle.dump((kind, value), pipe)
        pipe.flush()

    from .select.user_rows import include

    sys.path[:], folders = pickle.load(sys.stdin.buffer)
    include(folders)
    try:
        payload: JobPayload = pickle.load(sys.stdin.buffer)
    except (AttributeError, ImportError) as error:
        return send("cannot import", one_line(error))
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    from . import environment
    from .context import JobContext
    from .loaded_model import LoadedModel

    class ChildContext(JobContext):
        """A context that enters no part that an earlier child entered."""

        def enter(self, at: Mapping[str, Any]) -> bool:
            if canonical(dict(at)) in payload.entered:
                return False
            send("enter", dict(at))
            return True

    class Sender:
        """Sends messages and progress to the parent process."""

        def say(self, text: str) -> None:
            send("say", text)

        def advance(self, count: float, note: str = "", *, found: bool = False) -> None:
            send("advance", (count, note, found))

    environment.keep_freed_memory()
    model = LoadedModel(payload.job.model, payload.job.weights, environment.pick_device(payload.device))
    context = ChildContext(payload.job, model, payload.folders, Sender(), batch_size=payload.batch_size)
    try:
        for measurement in payload.job.suite.run(context):
            send("measured", measurement)
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:  # noqa: BLE001  # any error in a part becomes the record of that part
        send("raised", f"{traceback.format_exc()}\n{one_line(error)}")
        sys.exit(1)
    send("end")


if __name__ == "__main__":
    main()
