"""Free main memory. All packages use this module, which imports only the standard library."""

from __future__ import annotations

from pathlib import Path


def free_memory() -> int | None:
    """Bytes of main memory that this process can get without swapping; None if unknown, as outside Linux.

    It is the lesser of the machine's free memory and that of the container (control group).
    """
    machine = _available(Path("/proc/meminfo"))
    known = [machine, *(_left_in_group(*map(Path, files)) for files in GROUP_FILES)]
    return min((number for number in known if number is not None), default=None)


GROUP_FILES = (  # limit, usage and statistics of a control group; versions 2 and 1
    tuple(f"/sys/fs/cgroup/memory.{name}" for name in ("max", "current", "stat")),
    tuple(f"/sys/fs/cgroup/memory/memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat")),
)


def _available(file: Path) -> int | None:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else None


def _left_in_group(limit: Path, used: Path, parts: Path) -> int | None:
    try:
        left = int(limit.read_text()) - int(used.read_text())
        lines = dict(line.split() for line in parts.read_text().splitlines())
        cached = sum(int(lines.get(name, 0)) for name in ("active_file", "inactive_file"))  # freed when needed
    except (OSError, ValueError):  # no such file, or "max" for no limit
        return None
    return max(left + cached, 0)
