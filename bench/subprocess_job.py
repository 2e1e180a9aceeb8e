"""A job in a process of its own, so that what kills that process ends one part of the job, and nothing else.

The child gets the job on its standard input and sends back measurements as they come, what it would say, and which part
it enters, through a pipe. Where it dies in a part, or a part raises, that part becomes a measurement without a number
and a new child goes on behind it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from ..registry import UsageError
from ..stable import canonical
from ..suites.protocol import Measurement

if TYPE_CHECKING:
    from .context import Folders, Teller
    from .job import Job

MODULE = __spec__.name if __spec__ else __name__


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a child is told."""

    job: Job
    folders: Folders
    device: str
    batch_size: int
    passed: frozenset[str]  # parts that an earlier child entered
    path: tuple[str, ...]  # sys.path: users' models are found as they are here


@dataclass(kw_only=True)
class Outcome:
    """What came back of all children of a job."""

    measured: list[Measurement] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    trace: str = ""  # of the parts that raised
    lost: int = 0  # parts that a process did not survive, or that raised


def can_travel(job: Job) -> bool:
    """Whether a job can be sent to another process; a module that was made in a notebook cannot."""
    try:
        pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def run_isolated(errand: Errand, teller: Teller) -> Outcome:
    """All parts of a job, in as many processes as it takes. Raises ChildError where one dies before any part."""
    outcome = Outcome()
    passed = set(errand.passed)
    while True:
        part, death = _one_child(errand, passed, teller, outcome)
        if not death:
            outcome.measured = _once(outcome.measured)
            return outcome
        outcome.trace += death
        if part is None:
            raise ChildError(death)
        outcome.lost += 1
        outcome.measured = [one for one in outcome.measured if not _is_of(one, part) or one.error]
        last = death.strip().splitlines()[-1]
        outcome.measured.append(Measurement(metric="", value=None, unit="", at=part, error=last))
        teller.say(f"{errand.job.model.name} {_words(part)}: {last}")


def _once(measured: list[Measurement]) -> list[Measurement]:
    """Without what a second child said again."""
    return list({(one.metric, canonical(dict(one.at))): one for one in reversed(measured)}.values())[::-1]


class ChildError(RuntimeError):
    """A process of a job's own died before it came to any part of the job."""


def _is_of(one: Measurement, part: Mapping[str, Any]) -> bool:
    return all(one.at.get(name) == value for name, value in part.items())


def _words(part: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in part.items())


def _one_child(
    errand: Errand, passed: set[str], teller: Teller, outcome: Outcome
) -> tuple[Mapping[str, Any] | None, str]:
    """Run one child. Returns the part it was in and how it died, or "" where it came to the end."""
    read, write = os.pipe()
    told = Errand(**{**vars(errand), "passed": frozenset(passed)})
    command = [sys.executable, "-m", MODULE, str(write)]
    heard = tempfile.TemporaryFile()  # noqa: SIM115  # a pipe that nobody reads would fill up
    search = os.pathsep.join(path for path in errand.path if path)
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=heard,
        stderr=heard,
        pass_fds=[write],
        env={**os.environ, "PYTHONPATH": search},
    )
    os.close(write)
    part: Mapping[str, Any] | None = None
    ended = False
    death = ""
    try:
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError), child.stdin as stdin:
            pickle.dump(errand.path, stdin)
            pickle.dump(told, stdin)
        with os.fdopen(read, "rb") as pipe:
            for kind, value in _messages(pipe):
                if kind == "enter":
                    part = value
                    passed.add(canonical(dict(value)))
                elif kind == "measured":
                    outcome.measured.append(value)
                elif kind == "say":
                    teller.say(value)
                elif kind == "advance":
                    teller.advance(*value)
                elif kind == "raised":
                    death = value
                elif kind == "end":
                    outcome.notes, ended = value, True
        child.wait()
        heard.seek(0)
        errors = heard.read().decode(errors="replace")
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        heard.close()
    if ended:
        return None, ""
    return part, death or f"{errors[-2000:]}\n{_cause(child.returncode)}"


def _cause(code: int) -> str:
    if code >= 0:
        return f"the process ended with exit code {code}"
    name = signal.Signals(-code).name
    killed = " (the system does that to a process that takes more memory than there is)" if name == "SIGKILL" else ""
    return f"the process was ended by {name}{killed}"


def _messages(pipe: BinaryIO) -> Any:
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

    sys.path[:] = pickle.load(sys.stdin.buffer)
    errand: Errand = pickle.load(sys.stdin.buffer)
    from . import environment
    from .context import JobContext
    from .loaded_model import Network

    class Away(JobContext):
        """The context of a job whose user sits at another process."""

        def enter(self, at: Mapping[str, Any]) -> bool:
            if canonical(dict(at)) in errand.passed:
                return False
            send("enter", dict(at))
            return True

    class Sender:
        def say(self, text: str) -> None:
            send("say", text)

        def advance(self, images: int, note: str = "") -> None:
            send("advance", (images, note))

    environment.keep_freed_memory()
    network = Network(errand.job, environment.pick_device(errand.device))
    context = Away(errand.job, network, errand.folders, Sender(), batch_size=errand.batch_size)
    try:
        for one in errand.job.suite.run(context):
            send("measured", one)
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:  # noqa: BLE001  # whatever goes wrong in a part is that part's record
        text = (
            str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {' '.join(str(error).split())}"
        )
        send("raised", f"{traceback.format_exc()}\n{text}")
        sys.exit(1)
    send("end", tuple(network.notes))


if __name__ == "__main__":
    main()
