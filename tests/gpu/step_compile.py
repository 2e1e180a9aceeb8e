"""Compiling, beside exactness: runs once what the throughput step times later, all at the same time.

What this leaves is on disk, in the compiler's cache; the rows are the seconds of first passes, compiling included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from rows import Row, left, write
from step_throughput import COMPILE, HERE, PAIRS, WARM, command, records

SPARE = 8.0  # seconds before the limit at which whoever still compiles is ended, and the rows are read


def main() -> None:
    out = Path(os.environ.get("SCRATCH") or ".") / "compiled"
    # One after the other on a small machine would take as long as the sum; each compiler uses a few threads.
    processes = {"the command": subprocess.Popen(command([*COMPILE, *WARM], out))}
    for pair in PAIRS:
        if True in pair.compiled:
            words = [sys.executable, str(HERE / "pair_in_turn.py"), *pair.words(), "untimed"]
            processes[f"{pair.model} {pair.mode}"] = subprocess.Popen(words)
    failed = []
    while processes and left() > SPARE:
        time.sleep(0.1)
        for name, process in list(processes.items()):
            if process.poll() is not None:
                del processes[name]
                failed += [name] if process.returncode else []
    for name, process in processes.items():
        process.kill()
        write(Row(what=name, note="not compiled in time; what it times may be not reached"))
    if (out / "results.csv").exists():
        frame = records(out)
        for line in frame[frame["metric"] == "first_pass"].to_dict("records"):
            write(Row(what=f"{line['model']} by the command: first", value=line["value"] / 1e3, unit="s"))
    for name in failed:
        write(Row(what=name, met=False, must=True, note="failed"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
