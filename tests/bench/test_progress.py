"""What is shown of long things: at every width of a terminal, and in a log by a clock that the test sets."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import vit_bench
from rich.console import Console
from vit_bench.bench import config
from vit_bench.bench.console import Screen
from vit_bench.bench.data.unpack import unpack
from vit_bench.bench.distributed import ProcessGroup
from vit_bench.bench.engines.attempt import JobReporter
from vit_bench.bench.plan import make_plan
from vit_bench.bench.progress import Progress
from vit_bench.bench.run import execute
from vit_bench.meter import Meter, counted, telling
from vit_bench.suites.images.decoded import Decoded, with_digest
from vit_bench.suites.protocol import Split, Work
from vit_bench.suites.throughput import Throughput
from vit_bench.suites.timing import session
from vit_bench.suites.training.recipe import Recipe
from vit_bench.suites.training.runs import Candidate, _where
from vit_bench.transfer import _digests

NOTE = "candidate 2/3, seed 1/3, step 1,200/5,000, loss 1.23, 540 images/s, lr 0.01"
TITLE = "finetune R50+ViT-B/16 in21k Retinopathy"


class Time:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def at_45_percent(console: Console, time: Time, *, jobs: int) -> Progress:
    """A run whose first job is done, if there are several, and the next at 45 %, a percent every 2 seconds."""
    progress = Progress(console, time)
    progress.open([100.0] * jobs)
    if jobs > 1:
        progress.begin("fewshot ViT-mini random digits", total=10)
        time.now = 100.0
        progress.end("top1 25.7")
    progress.begin(TITLE, total=100)
    for _ in range(45):
        time.now += 2
        progress.advance(1, NOTE)
    return progress


def drawn(width: int, *, jobs: int) -> list[str]:
    """The rows that a terminal of this width shows."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, _environ={})
    progress = at_45_percent(console, Time(), jobs=jobs)
    shown = progress.drawn()
    progress.close()
    paper = Console(file=io.StringIO(), width=width, _environ={})
    paper.print(shown)
    return paper.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("width", "rows"),
    [
        (
            40,
            [
                "[2/5] finetune R50+ViT… 45 % ETA 0:01:50",
                "all 5 jobs              28 % ETA 0:11:50",
                "  candidate 2/3, seed 1/3",
            ],
        ),
        (
            60,
            [
                "[2/5] finetune R50+ViT-B/16 in21k Retinopa… 45 % ETA 0:01:50",
                "all 5 jobs                                  28 % ETA 0:11:50",
                "  candidate 2/3, seed 1/3, step 1,200/5,000, loss 1.23",
            ],
        ),
        (
            80,
            [
                "[2/5] finetune R50+ViT-B/16 in21k Retinopathy ━━━━━━━          45 % ETA 0:01:50",
                "all 5 jobs                                    ━━━━╸            28 % ETA 0:11:50",
                "  candidate 2/3, seed 1/3, step 1,200/5,000, loss 1.23, 540 images/s, lr 0.01",
            ],
        ),
        (
            100,
            [
                f"[2/5] {TITLE} {'━' * 16}{' ' * 20} 45 % ETA 0:01:50",
                f"all 5 jobs{' ' * 36}{'━' * 10}{' ' * 26} 28 % ETA 0:11:50",
                f"  {NOTE}, 0:01:30 so far",
            ],
        ),
        (
            160,
            [
                f"[2/5] {TITLE} {'━' * 18}{' ' * 22} 45 % ETA 0:01:50",
                f"all 5 jobs{' ' * 36}{'━' * 11}╸{' ' * 28} 28 % ETA 0:11:50",
                f"  {NOTE}, 0:01:30 so far",
            ],
        ),
    ],
)
def test_a_narrow_terminal_loses_what_is_least_needed(width: int, rows: list[str]) -> None:
    assert [row.rstrip() for row in drawn(width, jobs=5)] == rows


def test_what_how_far_and_when_stay_at_every_width() -> None:
    for width in range(34, 170, 9):
        first, *_, last = drawn(width, jobs=1)
        assert first.startswith("finetune")
        assert first.rstrip().endswith("45 % ETA 0:01:50")
        assert last.strip() in f"{NOTE}, 0:01:30 so far"
        assert len(last) <= width


def test_a_log_has_a_line_a_minute_between_start_and_end() -> None:
    time, log = Time(), io.StringIO()
    progress = at_45_percent(Console(file=log, width=20), time, jobs=5)
    time.now += 29
    progress.tick()  # as its thread does where nothing is counted
    time.now += 1
    progress.tick()
    progress.end("top1 90.1")
    progress.close()
    assert log.getvalue().splitlines() == [
        "[1/5] fewshot ViT-mini random digits",
        "[1/5] fewshot ViT-mini random digits  top1 25.7  (100.0 s)",
        f"[2/5] {TITLE}",
        f"[2/5] {TITLE}: 30 %, ETA 0:02:20, {NOTE}, 0:01:00 so far; all 5 jobs: 26 %, ETA 0:12:20",
        f"[2/5] {TITLE}: 45 %, ETA 0:01:20, {NOTE}, 0:02:00 so far; all 5 jobs: 28 %, ETA 0:11:20",
        f"[2/5] {TITLE}  top1 90.1  (120.0 s)",
    ]


def test_before_there_is_a_speed_the_time_that_was_expected_counts_down() -> None:
    time = Time()
    progress = Progress(Console(file=io.StringIO(), width=80), time)
    progress.open([300.0])
    progress.begin("throughput ViT-mini", total=40)
    rows: Any = progress._rows
    assert progress._line(rows) == "throughput ViT-mini: 0 %, ETA 0:05:00, 0:00:00 so far"
    time.now = 20.0
    assert progress._line(rows) == "throughput ViT-mini: 0 %, ETA 0:04:40, 0:00:20 so far"
    time.now = 301.0
    assert progress._line(rows) == "throughput ViT-mini: 0 %, ETA -:--:--, 0:05:01 so far"  # it took longer
    time.now = 20.0
    progress.advance(20, "row 3/4")
    assert progress._line(rows) == "throughput ViT-mini: 50 %, ETA 0:00:20, row 3/4, 0:00:20 so far"
    time.now += 20.0
    assert progress._line(rows) == "throughput ViT-mini: 50 %, ETA 0:00:40, row 3/4, 0:00:40 so far"  # overdue
    progress.advance(10, "row 4/4")
    assert progress._line(rows) == "throughput ViT-mini: 75 %, ETA 0:00:20, row 4/4, 0:00:40 so far"
    time.now += 300.0
    progress.advance(10, "fitting the probe")  # a job that has counted all its work and goes on
    assert progress._line(rows) == "throughput ViT-mini: 99 %, ETA -:--:--, fitting the probe, 0:05:40 so far"
    progress.close()


def test_what_an_earlier_process_did_says_nothing_of_the_speed() -> None:
    time = Time()
    progress = Progress(Console(file=io.StringIO(), width=80), time)
    progress.open([0.0])
    progress.begin("pretrain ViT-mini", total=1000)
    progress.advance(800, "candidate 2/2", found=True)
    for _ in range(3):
        time.now += 10
        progress.advance(10)
    rows: Any = progress._rows
    assert progress._line(rows) == "pretrain ViT-mini: 83 %, ETA 0:02:50, candidate 2/2, 0:00:30 so far"
    progress.close()


def test_nobody_looks_and_nothing_is_shown() -> None:
    log = io.StringIO()
    for console in (None, Console(file=log, quiet=True)):
        progress = at_45_percent(Console(file=log, quiet=True), Time(), jobs=2) if console else Progress(None)
        assert not progress.shows
        progress.advance(3)
        progress.close()
    assert log.getvalue() == ""


def test_a_download_in_a_log_says_how_far_it_is_once_a_minute() -> None:
    time, log = Time(), io.StringIO()
    meter = Meter(Console(file=log, width=20), time)
    meter.start("B_16.npz", total=400 << 20)
    for _ in range(13):
        time.now += 10
        meter.advance(10 << 20)
    meter.close()
    assert log.getvalue().splitlines() == [
        "B_16.npz: 15 %, ETA 0:05:40, 60.0/400.0 MiB, 1.0 MB/s",
        "B_16.npz: 30 %, ETA 0:04:40, 120.0/400.0 MiB, 1.0 MB/s",
    ]


def test_what_is_counted_is_followed_and_short_counts_are_not_shown() -> None:
    time, log = Time(), io.StringIO()
    meter = Meter(Console(file=log, width=20), time)
    with meter.following():
        assert list(counted([1, 2], "reading images", 2)) == [1, 2]
        for _ in counted(range(100), "unpacking a.zip, files"):
            time.now += 1
        assert meter._rows is not None
    assert meter._rows is None
    assert log.getvalue().splitlines() == ["unpacking a.zip, files: 63"]
    assert list(counted("ab", "unheard")) == ["a", "b"]


def test_a_step_counts_three_passes() -> None:
    assert Work(images=10, trained=100).passes == 310


def test_a_run_says_which_candidate_and_seed_it_is_of() -> None:
    recipe = Recipe(steps=10, batch=2, lr=(0.1, 0.2), seed=(0, 7))
    first, second = Candidate.of([("short", recipe)])
    assert _where("choose", second, 7) == "candidate 2/2, seed 2/2, "
    assert _where("final", first, 0) == "final run, seed 1/2, "
    alone = replace(recipe, lr=(0.1,), seed=(0,))
    assert _where("final", Candidate.of([("short", alone)])[0], 0) == ""


def test_throughput_counts_rows_against_planned_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[float, str]] = []
    stub = SimpleNamespace(over_budget=False, part=lambda at, numbers: iter(()), row=list, compare=list)  # noqa: ARG005
    monkeypatch.setattr(session, "Session", lambda *_: stub)
    from vit_bench.models import catalog

    context: Any = SimpleNamespace(
        model=catalog()["ViT-mini"],
        device=SimpleNamespace(type="cpu"),
        enter=lambda at: True,  # noqa: ARG005
        advance=lambda count, note="": said.append((count, note)),
    )
    suite = Throughput(against="BiT-mini", image_size=(64,))
    assert list(suite.run(context)) == []
    notes = [note for _, note in said if note]
    assert notes == [
        "row 1/3, 64 px batch 8 fp32 inference offline",
        "row 2/3, 64 px batch 8 fp32 inference offline against",
        "row 3/3, 64 px batch 1 fp32 inference single_stream",
    ]
    planned = suite.for_device("cpu").seconds(catalog()["ViT-mini"], False)[1]
    assert sum(seconds for seconds, _ in said) == pytest.approx(planned)


@pytest.mark.slow
def test_a_notebook_without_widgets_has_the_lines_of_a_log(tmp_path: Path) -> None:
    notebooks, client = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    if find_spec("ipywidgets") is not None:
        pytest.skip("ipywidgets draws the bars in place")
    words = "suite='fewshot', model='ViT-mini', task=['digits', 'photos'], shots=1, seed=0, out='r'"
    code = f"import vit_bench\nframe = vit_bench.run({words}, progress=True)"
    notebook = notebooks.v4.new_notebook(cells=[notebooks.v4.new_code_cell(code)])
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    lines = "".join(output["data"]["text/plain"] for output in notebook.cells[0].outputs).splitlines()
    assert [re.sub(r"  top1 .*", "", line) for line in lines] == [
        f"[{number}/2] fewshot ViT-mini random {task}" for number, task in ((1, "digits"), (2, "photos")) for _ in "se"
    ]


def test_what_takes_long_beside_networks_is_counted_where_it_happens(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    images = Decoded(lambda i: np.full((2, 2, 3), i, np.uint8), 2)
    split = Split(images=images, labels=np.zeros(2, np.int64), digest="")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.txt", "1")
    (tmp_path / "big").write_bytes(bytes((1 << 20) + 1))
    with telling(lambda *one: told.append(one)):
        with_digest(split, ["stamp"], tmp_path)
        unpack(tmp_path / "a.zip", tmp_path / "out")
        _digests(tmp_path / "big")
    assert told == [
        ("reading images", 1, 2),
        ("reading images", 2, 2),
        ("unpacking a.zip, files", 1, None),
        ("checking big, MiB", 1, 2),
        ("checking big, MiB", 2, 2),
    ]
    told.clear()
    with telling(lambda *one: told.append(one)):
        with_digest(split, ["stamp"], tmp_path)  # its digest is cached
    assert told == []


@pytest.mark.slow
def test_a_probe_says_what_it_passes_and_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))  # where nothing is computed yet
    said: list[tuple[float, str]] = []
    monkeypatch.setattr(JobReporter, "advance", lambda _, count, note="", **__: said.append((count, note)))
    vit_bench.run("suite=fewshot", "model=ViT-mini", "task=digits", "shots=0,1", "seed=0,1", "batch_size=500", out="r")
    counts = [note for count, note in said if count and note]
    assert [note for note in counts if note.endswith("797")] == [
        "images 500/797",
        "images 512/797",
        "images 797/797",
    ]
    assert sum(count for count, _ in said) == 1797
    fitting = [note for _, note in said if note.startswith("fitting")]
    assert fitting == [f"fitting, support sets {done}/3" for done in range(4)]


@pytest.mark.slow
def test_bars_and_folders_are_gone_after_ctrl_c_while_torch_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProcessGroup, "meet", interrupted)
    screen = Screen(file=io.StringIO(), force_terminal=True, width=80)
    with pytest.raises(KeyboardInterrupt):
        execute(make_plan(config.read(["suite=fewshot", "task=digits", "model=ViT-mini"])), Progress(screen))
    drawn = screen.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "loading torch" in drawn
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")  # the cursor is shown again
    assert not list(tmp_path.iterdir())
