"""The command line as a user meets it: verbs, exit codes, messages without tracebacks, foreign folders."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import vit_bench
from vit_bench.bench.cli import as_words, main
from vit_bench.bench.verbs.plan import plan_verb
from vit_bench.results.store import load

TINY = ("suite=fewshot", "task=digits", "model=ViT-mini", "shots=1", "seed=0")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`typed("run", "suite=…")`: the command line in this process; exit code, output and errors."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *words])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as raised:
            main()
        return (int(raised.value.code or 0), *capsys.readouterr())

    return call


@pytest.mark.slow
def test_a_plan_on_a_narrow_screen_breaks_names_and_keeps_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "a_network_with_a_name_that_is_as_long_as_those_of_timm_are"
    (tmp_path / f"{name}.py").write_text("def build(): pass\n")
    plan_verb(["suite=fewshot", "task=digits", f"model={name}.py:build"])
    table = capsys.readouterr().out.partition("suite = ")[0]
    assert "…" not in table
    assert re.search(r"fewshot +a_network.* own +digits +builtin +to do", table)


WITHOUT_TORCH = """
import sys
from vit_bench.bench.cli import app
app(sys.argv[1:], standalone_mode=False)
assert 'torch' not in sys.modules
"""


def test_words_are_read_as_people_type_them() -> None:
    assert as_words(["run", "--weights", "epoch=1.ckpt"]) == ["run", "epoch=1.ckpt", "weights=true"]  # no such file
    assert as_words(["run", "--weights", "ckpts/epoch=1.ckpt"]) == ["run", "weights=ckpts/epoch=1.ckpt"]
    assert as_words(["compare", "--mix", "A", "B"]) == ["compare", "A", "B", "mix=true"]
    assert as_words(["run", "--task", "digits", "--suite=vtab", "--skip-bad"]) == [
        *("run", "task=digits", "suite=vtab", "skip_bad=true")
    ]
    assert as_words(["table", "--mix", "--show", "ours", "2", "runs/x"]) == [
        "table",
        "2",
        "runs/x",
        "mix=true",
        "show=ours",
    ]
    assert as_words(["run", "--mix", "suite=vtab"]) == ["run", "suite=vtab", "mix=true"]
    assert as_words(["help", "run"]) == ["run", "--help"]
    assert as_words(["run", "model=a", "-h", "--help"]) == ["run", "model=a", "-h", "--help"]


def test_version_short_help_and_the_same_settings_with_dashes(typed) -> None:
    assert typed("--version") == (0, f"vit-bench {version('vit-bench')}\n", "")
    assert vit_bench.__version__ == version("vit-bench")
    assert "--version" in typed("-h")[1]
    assert typed("help", "table")[1] == typed("table", "-h")[1]
    assert typed("table", "--show", "published", "2", "--format=csv")[1] == typed("table", "2", "format=csv")[1]
    assert "table has no setting 'formt'. Did you mean 'format'" in typed("table", "2", "--formt", "csv")[2]


def test_tables_are_written_to_files_in_the_format_of_their_ending(typed, tmp_path: Path) -> None:
    out = tmp_path / "t.tex"
    code, printed, said = typed("table", "5", f"out={out}", "sort=ViT-L/16", "columns=ViT-L/*", "latex_label=tab:five")
    assert (code, printed) == (0, "") and f"written: {out}" in said
    text = out.read_text(encoding="utf-8")
    assert r"\label{tab:five}" in text and "ViT-H/14 &" not in text
    assert text.index("99.61") < text.index("97.86") < text.index("76.53")
    assert typed("table", "5", f"out={tmp_path / 't.doc'}")[0] == 2
    assert not (tmp_path / "t.doc").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("vit-bench comp", ["compare"]),
        ("vit-bench run suite = fi", ["finetune"]),  # as bash divides suite=fi
        ("vit-bench run suite = vtab,few", ["vtab,fewshot"]),
        ("vit-bench run model=ViT-m", ["model=ViT-mini"]),
        ("vit-bench table vtab format=la", ["format=latex"]),
        ("vit-bench compare a b mi", ["mix=true", "mix=false"]),
        ("vit-bench table lead", ["leaderboard"]),
    ],
)
def test_the_tab_key_completes_verbs_keys_and_values(line: str, words: list[str], monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["vit-bench"])
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None)  # as of the command, also under python -m pytest
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    monkeypatch.setenv("_VIT_BENCH_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.split() == words


def test_run_table_and_again(bench, typed, tmp_path: Path) -> None:
    first = bench("run", *TINY)
    assert first.returncode == 0, first.stderr
    assert "fewshot: top-1 accuracy" in first.stdout
    assert "[1/1] fewshot ViT-mini random digits  top1 " in first.stderr
    assert "1 job: 1 computed, in " in first.stderr
    before = (tmp_path / "runs" / "fewshot" / "results.csv").read_bytes()

    again = [sys.executable, "-c", WITHOUT_TORCH, "run", *TINY]
    wide = {**os.environ, "COLUMNS": "200"}  # as the first
    second = subprocess.run(again, cwd=tmp_path, env=wide, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    assert "1 job: 1 done before" in second.stderr
    assert (tmp_path / "runs" / "fewshot" / "results.csv").read_bytes() == before

    _, planned, _ = typed("plan", *TINY)
    assert "done" in planned
    assert "shots = 1   (command)" in planned
    assert "1 job, 0 to run: at most 0 images" in planned

    _, shown, _ = typed("table", "fewshot")
    assert shown == first.stdout
    _, csv, _ = typed("table", "fewshot", "runs/fewshot", "format=csv")
    assert csv.startswith("task,model,1-shot,majority class\ndigits,ViT-mini,")
    _, from_csv, _ = typed("table", "fewshot", "runs/fewshot/results.csv", "format=github")
    assert from_csv.startswith("**fewshot: top-1 accuracy")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run",), "error: say what to run: suite=vtab"),
        (("run", "suite=vtb"), "error: there is no suite 'vtb'. Did you mean 'vtab'?"),
        (("run", "vtab"), "error: 'vtab' is not a setting: settings are key=value"),
        (("run", *TINY, "shos=1"), "has a setting 'shos'. Did you mean 'shots'?"),
        (("run", *TINY, "model=nowhere.py:build"), "error: "),
        (("plan", "suite=fewshot", "shots=many"), "error: suite.shots=many: 'many' is not a whole number"),
        (("run", "suite=vtab", "model=ViT-mini", "protocol=probe"), "error: no data for Caltech101"),
        (("run", "suite=vtab", "data=x", "weights=random", "protocol=probe"), "error: no data for Caltech101"),
        (("table", "vtba"), "error: there is no table 'vtba'. Did you mean 'vtab'?"),
        (("table", "vtab", "show=ours"), "error: no run to show: there is no runs/vtab or runs/vtab-mini here"),
        (("table", "vtab", "nowhere"), "error: there is no run directory or CSV file at nowhere"),
        (("table", "vtab", "format=word"), "error: format=word: Choose from: terminal, github"),
        (("table", "vtab", "fromat=csv"), "error: table has no setting 'fromat'. Did you mean 'format'?"),
        (("list", "model"), "error: there is no list of 'model'. Did you mean 'models'?"),
        (("list", "models", "ViT-X*"), "error: no model matches 'ViT-X*'"),
        (("rum",), "No such command 'rum'"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(typed, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, _, errors = typed(*words)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_a_failed_job_is_exit_code_1_and_named_at_the_end(typed, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def build():\n    raise ValueError('not today')\n")
    code, _, errors = typed("run", *TINY[:2], "model=mine.py:build,ViT-mini", "shots=1")
    assert code == 1
    assert "2 jobs: 1 computed, 1 failed" in errors
    assert "not today" in errors
    assert "Traceback (most" not in errors
    assert "Tracebacks: runs/fewshot/log.txt. Repeat the command to try again." in errors
    assert "Traceback" in (tmp_path / "runs" / "fewshot" / "log.txt").read_text()


FOREIGN = """
import torch
from torch import nn
from models.layers import double
from results import NAME

class Net(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.input = {"size": (side, side)}
        self.weight = nn.Parameter(torch.randn(3 * side * side, 32))

    def features(self, images):
        return double(images.flatten(1) @ self.weight)

def build(side=16):
    return Net(side)
"""


def make_foreign_folder(folder: Path) -> None:
    for package in ("models", "suites", "results"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("NAME = 'theirs'\n")
    (folder / "models" / "layers.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "models" / "mine.py").write_text(FOREIGN)


@pytest.mark.slow
def test_a_foreign_folder_with_packages_of_our_names(tmp_path: Path) -> None:
    make_foreign_folder(tmp_path)
    words = ["suite=fewshot", "task=digits", "shots=5", "seed=0", "model=models.mine:build,models/mine.py:build"]
    for command in (["-m", "vit_bench", "plan"], ["-m", "bench", "run"]):
        done = subprocess.run(
            [sys.executable, *command, *words, "model.side=8"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    frame = load(tmp_path / "runs" / "fewshot")
    top1 = frame[frame["metric"] == "top1"].set_index("model")
    assert set(top1.index) == {"models.mine:build", "models/mine.py:build"}
    assert (top1["value"] > 30).all()
    assert top1["value"].nunique() == 1  # the same seed, the same network


def test_the_script_is_the_same_command(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("vit-bench")
    done = subprocess.run([script, "list", "suites"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "vtab-mini" in done.stdout
    assert "clip_norm=recipe" in done.stdout


def test_list_shows_every_registry(typed) -> None:
    code, shown, _ = typed("list")
    assert code == 0
    for word in ("ViT-H/14", "BiT-R152x4", "R50+ViT-L/32", "sNORB-Elev", "sprite-angle", "fewshot", "304.3"):
        assert word in shown


def test_list_takes_a_pattern(typed) -> None:
    code, shown, _ = typed("list", "models", "BiT*")
    assert code == 0
    assert "BiT-R50x1" in shown
    assert "ViT-B/16" not in shown
    assert "BiT-mini" not in shown


@pytest.mark.slow
def test_list_leaves_columns_out_of_which_nothing_is_known(typed) -> None:
    _, shown, _ = typed("list", "models", "timm:vit_tiny_patch16_224")
    assert shown.split()[:2] == ["model", "family"]
    assert "aliases" not in shown


def test_plan_tells_what_a_run_would_download(typed, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("plan", *TINY[:2], "model=BiT-M-R50x1,vit_base_patch16_224.augreg_in21k")
    code, shown, _ = typed(*words)
    assert code == 0
    assert "missing: weights bit-m of BiT-R50x1 (bit_models/BiT-M-R50x1.npz, ~260.4 MiB)" in shown
    assert "downloads are off (BENCH_OFFLINE=1): these jobs will fail" in shown
    monkeypatch.delenv("BENCH_OFFLINE")
    assert "run downloads 2 files, about 651.4 MiB to " in typed(*words)[1]
    assert "missing" not in typed("plan", *TINY)[1]


def test_help_names_every_verb_and_the_settings(typed) -> None:
    _, top, _ = typed("--help")
    assert all(verb in top for verb in ("run", "plan", "table", "list", "weights"))
    _, said, _ = typed("run", "--help")
    assert all(word in said for word in ("suite=", "model=", "task=", "weights=", "BENCH_DATA", "out=", "config="))


@pytest.mark.slow
def test_a_terminal_gets_a_bar_with_the_time_to_go(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    words = [*TINY[:2], "model=ViT-mini,BiT-mini", "shots=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "run", *words], cwd=tmp_path, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    output, deadline = b"", time.monotonic() + 300
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 1)[0]:
            try:
                chunk = os.read(ours, 65536)
            except OSError:
                break
            if not chunk:
                break
            output += chunk
    assert process.wait(timeout=300) == 0
    text = output.decode()
    assert "ETA" in text
    assert "images" in text
    assert "fewshot: top-1 accuracy" in text


def test_records_that_fit_no_common_table_are_kept_and_the_run_has_not_failed(typed) -> None:
    words = ("task=digits", "model=ViT-mini", "shots=1", "seed=0", "pool=200,300")
    code, _, errors = typed("run", "suite=fewshot", *words)
    assert "no table: these records do not answer the same question" in errors
    assert "2 jobs: 2 computed, in " in errors
    assert code == 0
