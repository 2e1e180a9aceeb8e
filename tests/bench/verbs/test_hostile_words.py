"""Words that nobody should type: each is one message and exit code 2, or means what it says; never a traceback.

The found cases run by default; all settings of all suites, models and verbs with every hostile value are slow.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from PIL import Image
from vit_bench.bench import cli, config
from vit_bench.bench.plan import make_plan
from vit_bench.bench.verbs import cache, compare, export, figure, import_, predict, report, table, verify, weights
from vit_bench.bench.words import options
from vit_bench.models import select_model
from vit_bench.registry import UsageError
from vit_bench.suites import suites

OLD_RUN = Path(__file__).parents[2] / "data" / "old_runs" / "fewshot"
LONG = "x" * 300
NO_NUMBER = ("nan", "inf", "-inf", "1e999", "-1^0.5", "=", "🙂", "a\0b", '"', LONG, "\udcff", "", ",")
VALUES = (*NO_NUMBER, "9" * 30, "-1", "0", "1e9", "none", "~no-such-user/x", "/dev/null/x")
SIGNED = {"head_bias"}  # settings that may be negative
MODEL = ("suite=fewshot", "task=digits", "model=ViT-mini")


@pytest.fixture(autouse=True)
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run directory `r`, and no trace of a command in this process."""
    shutil.copytree(OLD_RUN, "r")
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield


def said(words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The one message of a command that is refused; "" of one that is not."""
    monkeypatch.setattr(sys, "argv", ["vit-bench", *words])
    capsys.readouterr()
    sys.stderr.reconfigure(errors="backslashreplace")  # as Python's own is
    try:
        cli.main()
        code: Any = 0
    except SystemExit as end:
        code = end.code
    message = capsys.readouterr().err if code else ""
    assert code in (0, 2), (words, code, message)
    assert message.count("error: ") == (code == 2), (words, message)
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plan", *MODEL, "model.dropout=nan"), "model.dropout=nan: 'nan' is not a finite number"),
        (("plan", *MODEL, "model.dropout=2"), "ViT-mini: dropout=2.0 is not in [0, 1)"),
        (("plan", *MODEL, "model.depth=0"), "ViT-mini: depth=0 must be above zero"),
        (("plan", *MODEL, "model.depth=1000000000"), "depth=1000000000 is more than 10000, the largest that is built"),
        (("plan", *MODEL, "model.width=7"), "ViT-mini: width=7 is not a multiple of heads=4"),
        (("plan", *MODEL, "model.heads=5"), "ViT-mini: width=128 is not a multiple of heads=5"),
        (("plan", *MODEL[:2], "model=R+ViT-mini", "model.units=1,0"), "units=1,0 must name at least one residual unit"),
        (("plan", *MODEL[:2], "model=BiT-mini", "model.widen=0.3"), "makes 19 channels, which 32 norm groups do not"),
        (("plan", "suite=throughput", "interval=nan"), "suite.interval=nan: 'nan' is not a finite number"),
        (("plan", "suite=throughput", "model=ViT-mini", "model.heads=5"), "width=128 is not a multiple of heads=5"),
        (("plan", *MODEL, "l2=-1^0.5"), "suite.l2=-1^0.5: '-1^0.5' is not a finite number"),
        (("plan", *MODEL, "l2=0^-1"), "suite.l2=0^-1: '0^-1' is not a finite number"),
        (("plan", *MODEL, "device=nan"), "device=nan: not usable here (no such device). Type device=auto, cpu, cuda"),
        (("plan", *MODEL, "device=meta"), "device=meta: not usable here (no such device)"),
        (("plan", *MODEL, "device=cuda:-1"), "device=cuda:-1: not usable here (no such device)"),
        (("plan", *MODEL, "seed=" + "9" * 30), "is not a whole number"),
        (("run", *MODEL, f"out={LONG}"), f"out: '{LONG[:60]}…' cannot be a path: File name too long"),
        (("plan", *MODEL[:2], f"model={LONG}.py:build"), "cannot be a path: File name too long"),
        (("plan", *MODEL, f"weights={LONG}"), "cannot be a path: File name too long"),
        (("plan", *MODEL, f"task=folder:{LONG}"), "cannot be a path: File name too long"),
        (("plan", *MODEL, "data=a\udcff"), "b'data=a\\xff' is not UTF-8, in which settings are kept"),
        (("report", "r", "out="), "'out=' says no value for out"),
        (("explain", LONG), "cannot be a path: File name too long"),
        (("report", "fifo.pt"), "fifo.pt is a pipe or a device; save it as a file"),
        (("compare", "fifo.pt", "r"), "fifo.pt is a pipe or a device; save it as a file"),
        (("weights", "inspect", "fifo.pt"), "'fifo.pt' is a pipe or a device; save it as a file"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value[-30:],
)
def test_found_cases(words: tuple[str, ...], message: str, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("fifo.pt")
    assert message in said(words, capsys, monkeypatch)
    assert not Path("runs").exists()


def fill(folder: str, classes: str = "ab") -> None:
    for number in range(12):
        path = Path(folder) / classes[number % len(classes)] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), (number, 0, 0)).save(path)


def test_a_folder_of_images_with_an_equals_sign_is_verified(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("pictures/lr=0.1")
    monkeypatch.setattr(sys, "argv", ["vit-bench", "data", "verify", "folder:pictures/lr=0.1"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert capsys.readouterr().out.endswith("verified\n")


@pytest.mark.parametrize(("train", "test", "split"), [("abc", "ab", "test"), ("ab", "abc", "train")])
def test_a_class_without_images_in_a_split_is_said(train: str, test: str, split: str, capsys, monkeypatch) -> None:
    fill("pictures/train", train)
    fill("pictures/test", test)
    monkeypatch.setattr(sys, "argv", ["vit-bench", "data", "verify", "folder:pictures"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    out = capsys.readouterr().out
    assert f"  DEVIATION {split}: no image of c\n1 deviation from what a folder of classes has.\n" in out
    assert "verified" not in out


def test_names_that_are_no_text_and_folders_that_cannot_be_read_are_named(capsys, monkeypatch) -> None:
    fill("pictures")
    (Path("pictures") / os.fsdecode(b"a/x\xff.png")).touch()
    words = ("plan", "suite=fewshot", "model=ViT-mini", "task=folder:pictures")
    assert r"pictures holds b'a/x\xff.png', a name that is not UTF-8: rename it" in said(words, capsys, monkeypatch)

    def scandir(folder: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", scandir)
    assert "pictures/a cannot be read: Permission denied" in said(words, capsys, monkeypatch)


def test_output_survives_an_encoding_without_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("картинки")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    monkeypatch.setattr(sys, "argv", ["vit-bench", "data", "verify", "folder:картинки"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    sys.stdout.flush()
    text = written.getvalue().decode("cp1252")
    assert text.startswith("folder:????????, from source folder in ????????\n")
    assert text.endswith("verified\n")


def numbers(kind: type) -> dict[str, Any]:
    """The fields whose values are numbers, or lists of them."""
    plain = {int, float}
    return {
        item.name: hint
        for item in fields(kind)
        if plain & {(hint := get_type_hints(kind)[item.name]), *get_args(hint)} and get_origin(hint) is not Literal
    }


@pytest.mark.slow
@pytest.mark.parametrize("suite", suites().names())
def test_all_settings_of_suites(suite: str) -> None:
    Path("w.pt").touch()
    row = suites()[suite]
    task = (f"task={row.default_tasks if suite.startswith('vtab-mini') else 'digits'}",) if "task" in row.needs else ()
    base = [f"suite={suite}", "model=ViT-mini", "device=cpu", *task, *(["weights=w.pt"] if suite == "classify" else [])]
    of_numbers = numbers(type(row))
    for item in fields(row):
        for value in VALUES:
            refused = is_refused([*base, f"suite.{item.name}={value}"])
            if item.name in of_numbers:
                negative = value == "-1" and item.name not in SIGNED
                assert refused or (value not in NO_NUMBER and not negative), (item.name, value)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ViT-mini", "R+ViT-mini", "BiT-mini"])
def test_all_settings_of_models(model: str) -> None:
    row = select_model(model).row
    of_numbers = numbers(type(row.architecture))
    for name in row.settable():
        for value in VALUES:
            refused = is_refused([*MODEL[:2], f"model={model}", f"model.{name}={value}"])
            may_be_zero = value == "0" and name in ("dropout", "pre_logits")
            wrong = name in of_numbers and value in (*NO_NUMBER, "-1", "0") and not may_be_zero
            assert refused or not wrong, (name, value)


def is_refused(words: list[str]) -> bool:
    try:
        jobs = make_plan(config.read(words)).jobs
    except UsageError as error:
        assert 0 < len(str(error)) < 3000, words
        return True
    assert jobs
    return False


VERBS: tuple[tuple[tuple[str, ...], type], ...] = (
    (("table", "fewshot", "r"), table.TableOptions),
    (("figure", "curves", "r", "out=f.png"), figure.FigureOptions),
    (("compare", "r", "r"), compare.CompareOptions),
    (("export", "bundle", "r", "out=e"), export.ExportOptions),
    (("import", "timm", "r/results.csv", "out=i"), import_.ImportOptions),
    (("cache", "list"), cache.CacheOptions),
    (("cache", "clear"), cache.ClearOptions),
    (("weights", "list"), weights.ListOptions),
    (("verify", "list"), verify.VerifyOptions),
    (("report", "r", "out=p.html"), report.ReportOptions),
    (("predict", "r", "model=ViT-mini"), predict.PredictOptions),
    (("plan", *MODEL), config.Config),
    (("data", "list"), config.Config),
)


@pytest.mark.slow
@pytest.mark.parametrize(("words", "kind"), VERBS, ids=[" ".join(words[:2]) for words, _ in VERBS])
def test_all_options_of_verbs(words: tuple[str, ...], kind: type, capsys, monkeypatch) -> None:
    for name in options(kind):
        for value in VALUES:
            said((*words, f"{name}={value}"), capsys, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "verb",
    [
        *("table", "figure", "explain", "compare", "report", "export", "import", "list", "cache list", "cache clear"),
        *("weights list", "weights inspect", "weights download", "weights convert", "data list", "data verify"),
        *("data prepare", "run", "plan", "explain r", "table fewshot", "compare r", "export bundle", "nosuch"),
        *("predict", "predict r"),
    ],
)
def test_names_after_every_verb(verb: str, capsys, monkeypatch) -> None:
    for value in (
        *VALUES,
        *(f"{key}{value}" for key in ("folder:", "task=folder:", "timm:", "hf:") for value in VALUES),
    ):
        monkeypatch.setattr(sys, "argv", ["vit-bench", *verb.split(), value])
        sys.stderr.reconfigure(errors="backslashreplace")  # as Python's own is
        with pytest.raises(SystemExit) as ended:
            cli.main()
            raise SystemExit(0)
        message = capsys.readouterr().err
        assert ended.value.code in (0, 2), (value, message)
        assert "Traceback" not in message
