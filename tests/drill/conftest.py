"""What the fault drill stands on: commands in forked processes, a small world of every kind of file, and the table."""

from __future__ import annotations

import gc
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vit_bench
from hypothesis import HealthCheck, configuration, settings
from vit_bench.bench import cli

SEED = int(os.environ.get("SEED", "0"))
ONLY = os.environ.get("ONLY")  # the number of one case to repeat
TINY = ("model=ViT-mini", "model.width=32", "model.depth=1", "model.heads=1")
FEW = ("run", "suite=fewshot", "shots=1", "seed=0", "task=digits", *TINY)
JOBS = (*FEW, "weights=random,random:1,random:2")
TUNE = (
    *("run", "suite=finetune", "suite.recipe=short", "suite.lr=0.01,0.1", "suite.steps=8", "suite.batch=8"),
    *("suite.checkpoint_minutes=0.00001", "task=digits", *TINY),
)
TIMES = ["seconds", "started_at"]
ROWS: list[Kind] = []


@dataclass
class Kind:
    """A row of the table: how many faults of a kind struck, and what came of them."""

    name: str
    tried: int = 0
    struck: int = 0
    survived: int = 0
    detected: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(self, verdict: str, case: int, what: str) -> None:
        """Count a fault that struck: "survived", "detected", or what is wrong."""
        self.struck += 1
        if verdict == "survived":
            self.survived += 1
        elif verdict == "detected":
            self.detected += 1
        else:
            self.wrong.append(f"SEED={SEED} ONLY={case}: {what}: {verdict}")

    def cases(self, size: str, usual: int, share: float = 1.0) -> Iterator[tuple[int, random.Random]]:
        """The number of each case and its source of random numbers; `size` names the variable of how many there are."""
        count = max(1, round(int(os.environ.get(size, usual)) * share))
        for case in range(count) if ONLY is None else [int(ONLY)]:
            self.tried += 1
            yield case, random.Random(f"{SEED} {self.name} {case}")

    def check(self) -> None:
        assert self.struck, f"{self.name}: no fault struck"
        assert not self.wrong, "\n".join([f"{len(self.wrong)} of {self.struck} {self.name}", *self.wrong])


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a forked process ended: its exit code, below zero for a signal, and what it printed."""

    code: int
    output: str

    @property
    def clean(self) -> bool:
        return "Traceback (most recent call last)" not in self.output

    @property
    def last(self) -> str:
        return f"exit code {self.code}, {self.output.strip()[-300:]!r}"


def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis tries the same examples in every run, and keeps none in the tree."""
    configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir(), "vit-bench-hypothesis"))
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    tries = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": slow}
    settings.register_profile("drill", max_examples=300 if config.getoption("--slow") else 15, **tries)
    settings.load_profile("drill")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if ROWS:
        terminalreporter.section("fault drill")
        terminalreporter.line(f"{'fault':34}{'tried':>7}{'struck':>8}{'survived':>10}{'detected':>10}{'wrong':>7}")
        for row in ROWS:
            numbers = f"{row.tried:7}{row.struck:8}{row.survived:10}{row.detected:10}{len(row.wrong):7}"
            terminalreporter.line(f"{row.name:34}{numbers}")


@pytest.fixture
def kind() -> Callable[[str], Kind]:
    def new(name: str) -> Kind:
        ROWS.append(Kind(name))
        return ROWS[-1]

    return new


class Drill:
    """Forks this process, which has imported everything and runs no job itself, so that a command costs no start."""

    def __init__(self) -> None:
        import matplotlib.pyplot  # noqa: F401
        import vit_bench.bench.context
        import vit_bench.bench.loaded_model
        import vit_bench.bench.run
        import vit_bench.suites.training.loop  # noqa: F401
        from vit_bench.bench import config, environment
        from vit_bench.bench.facts import facts
        from vit_bench.bench.plan import make_plan

        for words in (JOBS, TUNE):  # so that every process finds what is cached: the code's digests, the catalog
            make_plan(config.read([*words[1:], "out=nowhere"]))
        environment.describe()
        facts()

    def start(self, folder: Path, act: Callable[[], Any], cache: Path | None = None) -> tuple[int, Path]:
        """Start `act` in a process of its own, in a folder, with a cache. Returns its number and its output's file."""
        handle, name = tempfile.mkstemp()
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            process = os.fork()
        if process:
            os.close(handle)
            return process, Path(name)
        code = 1
        try:
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            os.chdir(folder)
            os.environ |= {"BENCH_CACHE": str(cache or folder / "cache"), "COLUMNS": "200"}
            os.environ.pop("PYTEST_CURRENT_TEST", None)
            act()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:  # noqa: BLE001  # as the interpreter does
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except OSError:
                    code = code or 120
            os._exit(code)

    def wait(self, started: tuple[int, Path], seconds: float = 600) -> Ended:
        """Wait for the end of a process. One that takes longer than `seconds` is killed, and its code is -14."""
        process, output = started
        deadline, late = time.monotonic() + seconds, False
        while not (ended := os.waitpid(process, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                late = True
                os.kill(process, signal.SIGKILL)
            time.sleep(0.002)
        text = output.read_text(errors="replace")
        output.unlink()
        return Ended(code=-14 if late else os.waitstatus_to_exitcode(ended[1]), output=text)

    def run(self, folder: Path, *words: str, before: Callable[[], Any] = lambda: None, **where: Any) -> Ended:
        """A command line, to its end, after `before` in the same process."""
        return self.wait(self.start(folder, lambda: (before(), command(words)), **where))


def command(words: tuple[str, ...]) -> None:
    sys.argv = ["bench", *words]
    cli.main()


@pytest.fixture(scope="session")
def drill() -> Drill:
    return Drill()


def frame(folder: Path) -> pd.DataFrame:
    return vit_bench.load(folder)


def differs(got: pd.DataFrame, expected: pd.DataFrame, leave: list[str] = TIMES) -> str:
    """ "" where two frames are the same but for these columns, else what differs."""
    try:
        pd.testing.assert_frame_equal(got.drop(columns=leave), expected.drop(columns=leave), check_dtype=False)
    except AssertionError as error:
        return " ".join(str(error).split())[:200]
    return ""


def arrays(folder: Path) -> dict[str, np.ndarray]:
    """Every array of a run directory's cells."""
    read = {}
    for path in sorted(folder.glob("cells/*.npz")):
        with np.load(path) as file:
            read |= {f"{path.stem} {name}": file[name] for name in file.files}
    return read


def same_run(got: Path, expected: Path) -> str:
    """ "" where two run directories hold the same but for times, else what differs."""
    wrong = differs(frame(got), frame(expected)) or differs(frame(got / "results.csv"), frame(expected / "results.csv"))
    mine, theirs = arrays(got), arrays(expected)
    if not wrong and (mine.keys() != theirs.keys() or any((mine[name] != theirs[name]).any() for name in mine)):
        wrong = "other predictions"
    return wrong


@pytest.fixture(scope="session")
def world(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs, weights, sidecars, pictures, a bundle, a cache and an interrupted fine-tuning."""
    top = tmp_path_factory.mktemp("world")

    def done(*words: str, before: Callable[[], Any] = lambda: None) -> None:
        ended = drill.run(top, *words, before=before)
        assert ended.code == 0, ended.output

    done(*TUNE, "out=tune/r", before=note_modules)
    for name in (top / "modules").read_text().split():  # so that no other process has to
        with suppress(Exception), warnings.catch_warnings(action="ignore"):
            import_module(name)
    gc.freeze()
    done(*JOBS, "out=few/r")
    done("export", "bundle", "few/r", "out=few.zip")
    assert drill.wait(drill.start(top, write_weights)).code == 0
    write_pictures(top / "pictures")
    for path in (top / "weights").iterdir():
        done(*FEW, f"weights=weights/{path.name}", f"out={path.suffix[1:]}/r")
    for path in (top / "weights").glob("*.*"):
        path.with_name(f"{path.name}.yaml").write_text("pretrain: ImageNet-21k\nimages: 14000000\nepochs: 90\n")
    done(*FEW, "weights=weights/w.pt", "out=sidecar/r")
    interrupt(drill, top)
    return top


def note_modules() -> None:
    """Let this process write, when its work is done, what it has imported."""
    begun = set(sys.modules)
    exits = sys.exit

    def leave(code: Any = None) -> None:
        Path("modules").write_text("\n".join(name for name in sys.modules if name not in begun))
        exits(code)

    sys.exit = leave


def interrupt(drill: Drill, top: Path) -> None:
    """Stop a fine-tuning when it has one result, two checkpoints and curves: a SIGKILL at its third checkpoint."""

    def stop() -> None:
        from vit_bench.suites.training.checkpoint import Checkpoints

        save, count = Checkpoints.save, iter(range(1000))

        def saving(self: Any, *values: Any) -> None:
            save(self, *values)
            if self.folder.parent.glob("*/done.npz") and next(count) == 4:
                os.kill(os.getpid(), signal.SIGKILL)

        Checkpoints.save = saving

    ended = drill.run(top, *TUNE, "out=stopped/r", before=stop)
    assert ended.code == -9, ended.output
    left = {path.suffix for path in (top / "stopped/r/work").rglob("*")}
    assert {".pt", ".json", ".csv"} <= left, left


def write_weights() -> None:
    import safetensors.torch
    import torch
    from vit_bench.models import catalog, create_model

    network = create_model(catalog()["ViT-mini"].derive(width=32, depth=1, heads=1), seed=5)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    folder = Path("weights")
    folder.mkdir()
    torch.save(state, folder / "w.pt")
    safetensors.torch.save_file(state, folder / "w.safetensors")
    np.savez(folder / "w.npz", allow_pickle=False, **{name: tensor.numpy() for name, tensor in state.items()})


def write_pictures(folder: Path) -> None:
    from PIL import Image

    for split, number in (("train", 6), ("test", 4)):
        for label in ("cat", "dog"):
            place = folder / split / label
            place.mkdir(parents=True)
            for i in range(number):
                pixels = np.random.default_rng([number, len(label), i, label == "dog"]).integers(0, 256, (24, 30, 3))
                ending = ("png", "jpg", "bmp", "webp")[i % 4]
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.{ending}")


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Callable[..., Path]:
    """`copy("few", "cache")`: a fresh folder with these of the world, for one fault."""
    count = iter(range(10**6))

    def make(*names: str) -> Path:
        folder = tmp_path / f"case{next(count)}"
        folder.mkdir()
        for name in names:
            source = world / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
            else:
                shutil.copy2(source, folder / name)
        return folder

    return make


def limit_files(size: int) -> None:
    """From now on no file of this process grows beyond `size` bytes: a full disk without one."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def toolbox() -> Any:
    """The functions of this file, for the tests beside it, which pytest imports without it."""
    return sys.modules[__name__]
