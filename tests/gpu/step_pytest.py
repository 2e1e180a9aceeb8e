"""The tests that need a GPU: those of tests/gpu, then those of tests/perf that compile nothing, then the rest of these.

Without a GPU those of tests/gpu are collected and skipped, which shows that they load.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rows import Row, needs_cuda, write
from step_throughput import has_cuda

ROOT = Path(__file__).resolve().parents[2]
RUNS = (
    ["tests/gpu"],
    ["tests/perf", "--benchmark-only", "-k", "test_gpu and autocast and False and 256 and not R152x4"],
    ["tests/perf", "--benchmark-only", "-k", "on_a_gpu"],
)


def main() -> None:
    cuda = has_cuda()
    codes = set()
    for words in RUNS if cuda else RUNS[:1]:
        options = ["-m", "gpu", "-v", "-p", "no:cacheprovider", *(["--gpu"] if cuda else [])]
        command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", *options, *words]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.write(line)
                told = re.match(r"\S*?([^/:]+::\S.*?) (PASSED|FAILED|ERROR|SKIPPED)", line)
                if told and told[2] != "SKIPPED":
                    write(Row(what=told[1], met=told[2] == "PASSED", must=True))
        codes.add(process.returncode)
    if not cuda:
        needs_cuda("tests marked gpu")
    sys.exit(1 if codes - {0} else 0)


if __name__ == "__main__":
    main()
