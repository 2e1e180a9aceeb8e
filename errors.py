"""One-line descriptions of errors in other people's code, and the end that a batch system asks for."""

from __future__ import annotations

import traceback
from pathlib import Path


def describe_error(error: BaseException) -> str:
    """Type and message of an error, and the file and line where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).strip()}{place}"


class Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems send before they end a process. It is handled as Ctrl-C, but for the exit code."""


def exit_code_of(stop: KeyboardInterrupt) -> int:
    """As shells say it: 143 after SIGTERM, 130 after Ctrl-C."""
    return 143 if isinstance(stop, Terminated) else 130
