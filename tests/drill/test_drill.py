"""The fault drill: kills, damage to every kind of file, full disks, races, malformed words, hostile files; each seeded.

    OMP_NUM_THREADS=1 pytest --slow tests/drill                                      at most 15 minutes on two cores
    KILLS=20 DAMAGED=50 LINES=30 HOSTILE=10 FULL=4 RACES=2 pytest --slow tests/drill    a tenth of it
    SEED=7 ONLY=12 pytest --slow tests/drill -k weights                         one case again, as a failure names it

It ends with a table of what was tried, what struck (a kill that came too late and a fault that changed nothing do not),
what survived (the results are those of an undisturbed run), what was detected (one message, and no wrong number), and
what is wrong.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vit_bench

pytestmark = pytest.mark.slow


def test_random_kills_and_the_repeat(
    toolbox: Any, drill: Any, world: Path, copy: Callable[..., Path], kind: Any
) -> None:
    """A run, a fine-tuning and an import, each killed up to four times in one folder and then left to end."""
    imports = ("import", "bundle", "few.zip")
    works = {
        "a run": (toolbox.JOBS, "few/r"),
        "a fine-tuning": (toolbox.TUNE, "tune/r"),
        "an import": (imports, "few/r"),
    }
    for name, (words, expected) in works.items():
        begun = time.monotonic()
        assert drill.run(copy("few.zip"), *words, "out=out/r").code == 0
        usual = time.monotonic() - begun
        row = kind(f"kills of {name}")
        for case, chance in row.cases("KILLS", 200, 0.33 / 2.5):
            folder, killed = copy("few.zip"), 0
            for _ in range(4):
                started = drill.start(folder, lambda words=words: toolbox.command((*words, "out=out/r")))
                time.sleep(chance.uniform(0.02, 1.0) * usual)
                os.kill(started[0], chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                ended = drill.wait(started)
                if ended.code in (-9, -15, 130):
                    killed += 1
                else:
                    break
            ended = drill.run(folder, *words, "out=out/r")
            if killed:
                wrong = ended.last if ended.code else toolbox.same_run(folder / "out/r", world / expected)
                row.note(wrong or "survived", case, name)
                row.struck += killed - 1
                row.survived += 0 if wrong else killed - 1
                row.tried += killed - 1
        row.check()


Damage = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, chance: random.Random) -> bytes:
    i = chance.randrange(len(data))
    return data[:i] + bytes([data[i] ^ 1 << chance.randrange(8)]) + data[i + 1 :]


def another_digit(data: bytes, chance: random.Random) -> bytes:
    digits = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
    if not digits:
        return flip(data, chance)
    i = chance.choice(digits)
    return data[:i] + chance.choice("0123456789").encode() + data[i + 1 :]


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def zeros(data: bytes, chance: random.Random) -> bytes:
    i = chance.randrange(len(data))
    return data[:i] + bytes(len(data[i : i + 64])) + data[i + 64 :]


def lost(data: bytes, chance: random.Random) -> bytes:
    i = chance.randrange(len(data))
    return data[:i] + data[i + chance.randrange(1, 64) :]


DAMAGE: tuple[Damage, ...] = (flip, flip, another_digit, another_digit, cut, zeros, lost)
# Kind: the files, what is copied, the command after it, the run that it is compared with, whether it must survive, and
# the column that says that it is another file, where the format holds no checksum.
CACHE = ("few", "cache")
FILES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], str, bool, str]] = {
    "cells": ("few/r/cells/*.json", CACHE, ("JOBS", "out=few/r"), "few/r", True, ""),
    "predictions": ("few/r/cells/*.npz", CACHE, ("JOBS", "out=few/r"), "few/r", True, ""),
    "results.csv": ("few/r/results.csv", CACHE, ("JOBS", "out=few/r"), "few/r", True, ""),
    "config.yaml": ("few/r/config.yaml", CACHE, ("JOBS", "out=few/r"), "few/r", True, ""),
    "curves of a finished job": ("tune/r/cells/*.csv", ("tune", "cache"), ("TUNE", "out=tune/r"), "tune/r", True, ""),
    "work folder": ("stopped/r/work/**/*.*", ("stopped", "cache"), ("TUNE", "out=stopped/r"), "tune/r", True, ""),
    "cached features": ("cache/features/*/*", ("cache",), ("JOBS", "out=again/r"), "few/r", True, ""),
    "cached images and digests": ("cache/[id]*/*", ("cache",), ("JOBS", "out=again/r"), "few/r", True, ""),
    "bundles": ("few.zip", ("few.zip", "cache"), ("import", "bundle", "few.zip", "out=again/r"), "few/r", False, ""),
    "weights .pt": (
        "weights/w.pt",
        ("weights", "cache"),
        ("FEW", "weights=weights/w.pt", "out=a/r"),
        "pt/r",
        False,
        "",
    ),
    "weights .npz": (
        "weights/w.npz",
        ("weights", "cache"),
        ("FEW", "weights=weights/w.npz", "out=a/r"),
        "npz/r",
        False,
        "",
    ),
    "weights .safetensors": (
        *("weights/w.safetensors", ("weights", "cache"), ("FEW", "weights=weights/w.safetensors", "out=a/r")),
        *("safetensors/r", False, "weights_sha"),
    ),
    "sidecars": (
        *("weights/w.pt.yaml", ("weights", "cache"), ("FEW", "weights=weights/w.pt", "out=a/r"), "sidecar/r", False),
        "pretrain",
    ),
    "pictures": (
        *("pictures/*/*/*.*", ("pictures", "cache")),
        *(("run", "suite=fewshot", "shots=1", "seed=0", "task=folder:pictures", "TINY", "out=a/r"), "", False),
        "split_sha",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_damage(name: str, toolbox: Any, drill: Any, world: Path, copy: Callable[..., Path], kind: Any) -> None:
    """One damage to one file; then the command that reads it. What it says and stores is held against the right one."""
    pattern, needed, typed, expected, must_survive, says = FILES[name]
    words = [part for word in typed for part in getattr(toolbox, word, (word,))]
    row = kind(f"damaged {name}")
    right = toolbox.frame(world / expected) if expected else None
    for case, chance in row.cases("DAMAGED", 500, 1 / len(FILES)):
        folder = copy(*needed)
        path = chance.choice(sorted(found for found in folder.glob(pattern) if found.is_file()))
        if not expected:  # where the folder is part of what is asked
            assert drill.run(folder, *words[:-1], "out=right/r").code == 0
            right = toolbox.frame(folder / "right/r")
        damage, whole = chance.choice(DAMAGE), path.read_bytes()
        stat = path.stat()
        path.write_bytes(damage(whole, chance) if whole else b"?")
        if chance.random() < 0.5:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        if path.read_bytes() == whole:
            continue
        what = f"{damage.__name__} of {path.relative_to(folder)}"
        if path.parent.name == "cells":  # what reads a run without repeating it
            try:
                wrong = toolbox.differs(toolbox.frame(folder / expected), right, [])
                if wrong:
                    row.note(f"served: {wrong}", case, what)
                    continue
            except vit_bench.UsageError:
                pass
        ended = drill.run(folder, *words)
        out = folder / words[-1].partition("=")[2]
        if not ended.clean or ended.code not in (0, 1, 2):
            row.note(ended.last, case, what)
        elif ended.code:
            row.note(ended.last if must_survive else "detected", case, what)
        elif wrong := toolbox.differs(toolbox.frame(out), right):
            column = [says] if says else []
            told = bool(says) and (list(toolbox.frame(out)[says]) != list(right[says]) or says == "pretrain")
            row.note("detected" if told else wrong + str(column), case, what)
        else:
            row.note("survived", case, what)
        shutil.rmtree(folder)
    row.check()


def test_full_disks(toolbox: Any, drill: Any, world: Path, copy: Callable[..., Path], kind: Any) -> None:
    """No file grows beyond a random size, in a run, a fine-tuning, an import and others; then there is room again."""
    works = {
        "a run": ((*toolbox.JOBS, "out=out/r"), (), "few/r"),
        "a run with features": ((*toolbox.JOBS, "out=out/r"), ("cache",), "few/r"),
        "a fine-tuning": ((*toolbox.TUNE, "out=out/r"), ("cache",), "tune/r"),
        "an import": (("import", "bundle", "few.zip", "out=out/r"), ("few.zip",), "few/r"),
        "a table": (("table", "fewshot", "few.zip", "format=csv"), ("few.zip",), ""),
        "an export": (("export", "bundle", "few/r", "out=b.zip"), ("few",), ""),
        "weights": (("weights", "convert", "weights/w.pt", "b.safetensors"), ("weights",), ""),
        "a report": (("report", "few/r", "out=b.html"), ("few",), ""),
    }
    row = kind("full disks")
    for case, chance in row.cases("FULL", 80):
        name = chance.choice(sorted(works))
        words, needed, expected = works[name]
        folder = copy(*needed)
        before = {path for path in folder.rglob("*") if path.is_file()}
        size = int(10 ** chance.uniform(3, 5.3))  # what it says goes into a file, too
        ended = drill.run(folder, *words, before=lambda size=size: toolbox.limit_files(size))
        if ended.code == 0:
            continue
        what = f"{name}, files of at most {size} bytes"
        said = [line for line in ended.output.splitlines() if "cannot be written" in line]
        if not ended.clean or ended.code != 1 or not said:
            row.note(ended.last, case, what)
            continue
        left = [path for path in folder.rglob("*") if path.is_file() and path not in before]
        half = [path.name for path in left if path.name.startswith(".") or path.parent == folder]
        again = drill.run(folder, *words)
        wrong = f"left {half}" if half else again.last if again.code else ""
        if not wrong and expected:
            wrong = toolbox.same_run(folder / "out/r", world / expected)
        row.note(wrong or "survived", case, what)
    row.check()


def test_races(toolbox: Any, drill: Any, world: Path, copy: Callable[..., Path], kind: Any) -> None:
    """Four processes at once on one folder and one cache."""
    row = kind("races of four processes")
    for case, chance in row.cases("RACES", 15):
        words, expected = chance.choice([(toolbox.JOBS, "few/r"), (toolbox.JOBS, "few/r"), (toolbox.FEW, "")])
        folder, ended = copy(), []
        outs = [f"out={chance.choice(['out', 'other'])}/r" for _ in range(4)]
        started = [drill.start(folder, lambda words=words, out=out: toolbox.command((*words, out))) for out in outs]
        ended = [drill.wait(one) for one in started]
        bad = [one.last for one in ended if one.code]
        for out in {out.removeprefix("out=") for out in outs} if expected and not bad else ():
            bad += filter(None, [toolbox.same_run(folder / out, world / expected)])
        row.note(bad[0] if bad else "survived", case, f"{outs}")
    row.check()


VERBS = {
    "run": ["suite=fewshot", "model=ViT-mini", "task=digits", "shots=1", "seed=0", "weights=random", "out=r"],
    "plan": ["suite=vtab-mini", "model=BiT-mini", "task=digits", "weights=random:1", "device=cpu", "batch_size=8"],
    "table": ["fewshot", "few/r", "format=csv", "show=ours", "mix=true"],
    "figure": ["pareto", "few/r", "out=f.svg"],
    "explain": ["few/r", "few/r/results.csv"],
    "predict": ["few", "weights=weights/w.pt", "model=ViT-mini", "k=2", "out=p.csv"],
    "compare": ["few/r", "few/r", "metric=top1", "format=markdown", "fail_if=worse"],
    "report": ["few/r", "out=r.html"],
    "export": ["bundle", "few/r", "out=b.zip"],
    "import": ["bundle", "few.zip", "out=i"],
    "list": ["models", "suites", "tables"],
    "cache": ["list", "older=3d"],
    "weights": ["inspect", "weights/w.pt"],
    "data": ["list", "digits"],
    "verify": ["ViT-B/16", "out=v"],
}
KEYS = (
    "suite",
    "model",
    "task",
    "weights",
    "out",
    "shots",
    "seed",
    "l2",
    "device",
    "config",
    "include",
    "source",
    "data",
)
MORE = ("model.depth", "model.dropout", "suite.lr", "suite.steps", "division", "trailer", "skip_bad", "format", "map")
NASTY = (
    *("", "nan", "-1", "0", "1e999", "inf", "None", "null", "none", "true", "[", "{}", "%s", "../..", "/", "/dev/null"),
    *(
        "*",
        "?",
        "[a-z]",
        "**",
        "a" * 300,
        "a/" * 2000,
        "\udcff",
        "é",
        "‖",
        "²",
        "1,2,,3",
        '"',
        '"a',
        "'",
        "a=b",
        "=",
        " ",
    ),
    *(
        "\n",
        "\t",
        "\x00",
        "\x1b[31m",
        "[red]",
        "-",
        "--",
        "--help",
        "-x",
        "--model",
        "~",
        "~nobody",
        "$HOME",
        "`",
        "1-2",
    ),
    *("2^10", "-1^0.5", "1_000", "0x10", "9" * 400, "few/r", "few.zip", "weights/w.pt", "weights/w.pt:part", "folder:"),
    *(
        "folder:few",
        "random:",
        "random:-1",
        "random:x",
        "timm:",
        "timm:nope",
        "hf:x",
        "torchvision:",
        "x.py:build",
        "x:y",
    ),
)


def test_malformed_words(drill: Any, copy: Callable[..., Path], kind: Any) -> None:
    """Command lines with something wrong in them: never a traceback, and a message where the code is 2."""

    def run_nothing() -> None:
        from vit_bench.bench.verbs import run

        run.execute = lambda *_: (_ for _ in ()).throw(SystemExit(0))  # the words are right

    row = kind("malformed command lines")
    folder = copy("few", "few.zip", "weights", "cache")
    for case, chance in row.cases("LINES", 300):
        verb = chance.choice(sorted(VERBS))
        words = [word for word in VERBS[verb] if chance.random() < 0.9]
        for _ in range(chance.randint(1, 3)):
            nasty, key = chance.choice(NASTY), chance.choice([*KEYS, *MORE])
            how = chance.randrange(4)
            if how == 0 and words:
                i = chance.randrange(len(words))
                name, equals, _ = words[i].partition("=")
                words[i] = f"{name}={nasty}" if equals else nasty
            elif how == 1:
                words.insert(chance.randint(0, len(words)), f"{key}={nasty}")
            elif how == 2:
                words.insert(chance.randint(0, len(words)), nasty)
            else:
                verb = chance.choice([verb, nasty, verb.upper(), verb[:-1]])
        if any("\x00" in word for word in [verb, *words]):
            continue  # no process can be given one
        ended = drill.run(folder, verb, *words, before=run_nothing)
        good = ended.clean and ended.code in (0, 1, 2) and (ended.code == 0 or ended.output.strip())
        row.note(("survived" if ended.code == 0 else "detected") if good else ended.last, case, str([verb, *words]))
    row.check()
