"""Writes what the README and the pages show of runs: `python docs/write_outputs.py`, about four minutes of two cores.

The commands below run in one empty folder. A picture goes to docs/pictures; what a command prints goes to where a page
has the comment `<!-- output of: COMMAND -->`, into the block below it. Numbers are the same everywhere, but for
rounding; speeds are those of the machine.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
PICTURES = DOCS / "pictures"
PAGES = (DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md")))
MINIS = "model=ViT-mini,BiT-mini,R+ViT-mini"
SHOWN = (
    "python -m bench run suite=vtab",
    "python -m bench compare runs/vtab-mini by=weights",
)
DRAWN = (
    "python -m bench run suite=fewshot task=digits,photos model=BiT-mini weights=random,fractals shots=1,2,5,10,25",
    f"python -m bench figure shots runs/fewshot out={PICTURES}/shots.svg",
    f"python -m bench run suite=throughput {MINIS} suite.image_size=64 suite.scenario=offline",
    f"python -m bench figure pareto runs/vtab-mini runs/throughput out={PICTURES}/pareto.svg",
)


def printed(command: str, folder: str) -> str:
    """What a command prints, 84 columns wide."""
    words = shlex.split(command)
    environment = {**os.environ, "COLUMNS": "84"}
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")


def filled(page: str, command: str, output: str) -> str:
    """The page with this output in each block below the command's comment."""
    block = rf"(<!-- output of: {re.escape(command)} -->\n```\n)(?:.*?\n)??(```\n)"
    return re.sub(block, lambda found: f"{found[1]}{output}\n{found[2]}", page, flags=re.DOTALL)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for command in (*SHOWN, *DRAWN):
            output = printed(command, folder)
            for page in PAGES if command in SHOWN else ():
                page.write_text(filled(page.read_text(encoding="utf-8"), command, output), encoding="utf-8")


if __name__ == "__main__":
    main()
