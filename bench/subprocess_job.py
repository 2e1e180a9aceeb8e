"""A job in a process of its own, so that what kills that process ends one part of the job, and nothing else.

The child gets the job on its standard input and sends back measurements as they come, what it would say, and which part
it enters, through a pipe. Where it dies in a part, or a part raises, that part becomes a measurement without a number
and a new child goes on behind it.
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
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..registry import UsageError
from ..stable import canonical
from ..suites.protocol import Measurement

if TYPE_CHECKING:
    from .context import Folders, Reporter
    from .job import Job

MODULE = __spec__.name if __spec__ else __name__


@dataclass(frozen=True, kw_only=True)
class JobPayload:
    """What a child is sent."""

    job: Job
    folders: Folders
    device: str
    batch_size: int
    include: tuple[Path, ...] = ()  # whose files define what the job is made of
    entered: frozenset[str] = frozenset()  # parts that an earlier child entered


class ChildError(RuntimeError):
    """A process of a job's own died before it came to any part of the job."""


def can_travel(job: Job) -> bool:
    """Whether a job can be sent to another process; a module that was made in a notebook cannot."""
    try:
        pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def in_a_line(error: BaseException) -> str:
    """What an error says, without line breaks and colours; its type, too, unless it is a UsageError."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return text if isinstance(error, UsageError) else f"{type(error).__name__}: {text}"


def run_isolated(payload: JobPayload, reporter: Reporter) -> tuple[list[Measurement], str]:
    """What all parts of a job measure, in as many processes as it takes, and the traceback of those that failed.

    Raises ChildError where a process dies before any part.
    """
    measured: list[Measurement] = []
    trace = ""
    while True:
        child = _Child(payload, reporter)
        child.run()
        measured += child.measured
        if child.ended:
            return _without_repeats(measured), trace
        trace += child.death
        if child.part is None:
            raise ChildError(child.death)
        part, last = child.part, child.death.strip().splitlines()[-1]
        measured = [one for one in measured if one.error or not part.items() <= one.at.items()]
        measured.append(Measurement(metric="", value=None, unit="", at=part, error=last))
        words = " ".join(f"{name}={value}" for name, value in part.items())
        reporter.say(f"{payload.job.model.name} {words}: {last}")
        payload = replace(payload, entered=payload.entered | child.entered)


def _without_repeats(measured: list[Measurement]) -> list[Measurement]:
    """Without what a second child said again."""
    return list({(one.metric, canonical(dict(one.at))): one for one in reversed(measured)}.values())[::-1]


class _Child:
    """One process of a job, from its start to its end or death."""

    def __init__(self, payload: JobPayload, reporter: Reporter) -> None:
        self._payload, self._reporter = payload, reporter
        self.measured: list[Measurement] = []
        self.entered: set[str] = set()  # parts
        self.part: Mapping[str, Any] | None = None  # the one it was in last
        self.ended = False  # whether it came to the end of the job
        self.death = ""  # why it did not

    def run(self) -> None:
        read, write = os.pipe()
        with tempfile.TemporaryFile() as output:  # a pipe that nobody reads would fill up
            child = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(write)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[write],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            os.close(write)
            try:
                assert child.stdin is not None
                with contextlib.suppress(BrokenPipeError), child.stdin as stdin:
                    pickle.dump((sys.path, self._payload.include), stdin)  # users' code is found as it is here
                    pickle.dump(self._payload, stdin)
                with os.fdopen(read, "rb") as pipe:
                    for kind, value in _messages(pipe):
                        self._take(kind, value)
                child.wait()
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
            output.seek(0)
            errors = output.read().decode(errors="replace")
        self.death = self.death or f"{errors[-2000:]}\n{_cause(child.returncode)}"

    def _take(self, kind: str, value: Any) -> None:
        if kind == "enter":
            self.part = value
            self.entered.add(canonical(dict(value)))
        elif kind == "measured":
            self.measured.append(value)
        elif kind == "say":
            self._reporter.say(value)
        elif kind == "advance":
            self._reporter.advance(*value)
        elif kind == "raised":
            self.death = value
        elif kind == "end":
            self.ended = True


def _cause(code: int) -> str:
    if code >= 0:
        return f"the process ended with exit code {code}"
    name = signal.Signals(-code).name
    killed = " (the system does that to a process that takes more memory than there is)" if name == "SIGKILL" else ""
    return f"the process was ended by {name}{killed}"


def _messages(pipe: BinaryIO) -> Iterator[tuple[str, Any]]:
    while True:
        try:
            yield pickle.load(pipe)
        except (EOFError, pickle.UnpicklingError):  # it ended, maybe in the middle of a word
            return


def main() -> None:
    """The child."""
    pipe = os.fdopen(int(sys.argv[1]), "wb")

    def send(kind: str, value: Any = None) -> None:
        pickle.dump((kind, value), pipe)
        pipe.flush()

    from .select.user_rows import include

    sys.path[:], folders = pickle.load(sys.stdin.buffer)
    include(folders)
    payload: JobPayload = pickle.load(sys.stdin.buffer)
    from . import environment
    from .context import JobContext
    from .loaded_model import LoadedModel

    class ChildContext(JobContext):
        """The context of a job whose parts are entered once, whatever becomes of the process."""

        def enter(self, at: Mapping[str, Any]) -> bool:
            if canonical(dict(at)) in payload.entered:
                return False
            send("enter", dict(at))
            return True

    class Sender:
        """The reporter of a job whose user sits at another process."""

        def say(self, text: str) -> None:
            send("say", text)

        def advance(self, images: int, note: str = "") -> None:
            send("advance", (images, note))

    environment.keep_freed_memory()
    model = LoadedModel(payload.job, environment.pick_device(payload.device))
    context = ChildContext(payload.job, model, payload.folders, Sender(), batch_size=payload.batch_size)
    try:
        for one in payload.job.suite.run(context):
            send("measured", one)
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:  # noqa: BLE001  # whatever goes wrong in a part is that part's record
        send("raised", f"{traceback.format_exc()}\n{in_a_line(error)}")
        sys.exit(1)
    send("end")


if __name__ == "__main__":
    main()
