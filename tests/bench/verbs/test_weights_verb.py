"""`weights list` and `weights download` as a user meets them."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest
from vit_bench.bench.cli import main
from vit_bench.bench.verbs.weights import selected, size_of, total
from vit_bench.models.released import table as releases


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`typed("list", …)`: the verb in this process; exit code, output and errors."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "weights", *words])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as raised:
            main()
        return (int(raised.value.code or 0), *capsys.readouterr())

    return call


def test_list_shows_what_is_known(typed) -> None:
    code, shown, _ = typed("list", "ViT-B/16", "BiT-R50x1")
    assert code == 0
    lines = [line.split() for line in shown.splitlines()]
    assert ["ViT-B/16", "in21k-ft-in1k-384", "ImageNet-21k", "→", "ImageNet", "384", "83.97", "331.4", "MiB"] in lines
    assert ["BiT-R50x1", "bit-m", "ImageNet-21k", "224", "~260.4", "MiB"] in lines
    assert "vtab-* (57 files)" in shown
    assert "vtab-run0" not in shown
    assert "ViT-H/14" not in shown


def test_list_shows_everything_and_where_it_is(typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sam").mkdir(parents=True)
    (tmp_path / "mine" / "sam" / "ViT-L_16.npz").touch()
    monkeypatch.setenv("BENCH_WEIGHTS", "mine")
    code, shown, _ = typed("list", "sam")
    assert code == 0
    (line,) = [line for line in shown.splitlines() if "ViT-L/16" in line]
    assert line.rstrip().endswith("mine/sam")
    _, shown, _ = typed("list")
    for row in releases.releases():
        assert row.model in shown
    assert "vtab-* (57 files)" in shown


def test_list_as_csv_has_every_file_and_its_source(typed) -> None:
    code, shown, _ = typed("list", "format=csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert len(rows) == len(releases.releases())
    assert {(row["model"], row["tag"]) for row in rows} == {(one.model, one.tag) for one in releases.releases()}
    assert all(row["source"] and row["verification"] for row in rows)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ViT-H/14"], ["ViT-H/14:in21k"]),
        (["vit_h14:in21k"], ["ViT-H/14:in21k"]),
        (["BiT-M-R50x1"], ["BiT-R50x1:bit-m"]),
        (["BiT-R50x1:bit-?"], ["BiT-R50x1:bit-s", "BiT-R50x1:bit-m"]),
        (["teacher-224", "teacher-224"], ["BiT-R152x2:teacher-224"]),
        (["sam"], ["ViT-B/16:sam", "ViT-B/32:sam", "ViT-L/16:sam", "ViT-L/32:sam"]),
        (["ViT-*/32:sam"], ["ViT-B/32:sam", "ViT-L/32:sam"]),
        (["vit_large_patch16_224.augreg_in21k_ft_in1k"], ["ViT-L/16:augreg-in21k-ft-in1k-224"]),
    ],
)
def test_words_that_stand_for_files(words: list[str], expected: list[str]) -> None:
    assert [f"{one.model}:{one.tag}" for one in selected(words)] == expected


def test_sizes_are_stated_or_computed() -> None:
    sam = selected(["sam"])
    assert size_of(sam[0]) == "330.3 MiB"
    assert total(sam) == "4 files, 2.9 GiB"
    (bit,) = selected(["BiT-M-R50x1"])
    assert size_of(bit) == "~260.4 MiB"
    assert total([bit]) == "1 file, about 260.4 MiB"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "ViT-B/61"], "'ViT-B/61' is neither a model nor a tag. Did you mean 'ViT-B/16'"),
        (["list", "in21"], "'in21' is neither a model nor a tag. Did you mean 'in21k'"),
        (["list", "qqqq"], "'qqqq' is neither a model nor a tag. Choose from: see `weights list`"),
        (["list", "ViT-mini"], "no released file fits ViT-mini"),
        (["list", "Q*"], "no model matches 'Q*'"),
        (["list", "format=xml"], "format=xml: Choose from: terminal, csv"),
        (["list", "fromat=csv"], "weights list has no setting 'fromat'. Did you mean 'format'"),
        (["download", "ViT-H/14:sam"], "there are no weights 'sam' of ViT-H/14. There are: in21k"),
        (["download", "ViT-H*:sam"], "there are no weights 'sam' of ViT-H/14"),
        (["download", "BiT-*:sam"], "no model that 'BiT-*' selects has weights 'sam'. See `weights list 'BiT-*'`"),
        (["download", "ViT-B/17:sam"], "there is no model 'ViT-B/17'"),
        (
            ["download", "BiT-R50x1"],
            "'BiT-R50x1' has 62 released files. Say which, BiT-R50x1:TAG, or BiT-R50x1:* for all of them: bit-s, bit-m",
        ),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(typed, words: list[str], message: str) -> None:
    code, _, errors = typed(*words)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


@pytest.mark.usefixtures("mini_release")
def test_download_fetches_and_says_where(typed, bucket, tmp_path: Path) -> None:
    bucket.files["mini_models/mini.safetensors"] = b"x" * 1000
    place = tmp_path / "cache" / "weights" / "mini_models" / "mini.safetensors"
    code, shown, errors = typed("download", "ViT-mini:mini")
    assert (code, shown) == (0, "")
    assert f"1 file, 4.0 MiB to {tmp_path / 'cache' / 'weights'}" in errors
    assert f"downloading ViT-mini weights=mini (4 MiB): {bucket.url}/mini_models/mini.safetensors to {place}" in errors
    assert f"ViT-mini:mini downloaded to {place}" in errors
    assert place.read_bytes() == b"x" * 1000
    code, _, errors = typed("download", "mini")
    assert code == 0
    assert f"ViT-mini:mini is at {place}" in errors
    assert len(bucket.seen) == 1


@pytest.mark.usefixtures("mini_release")
def test_one_failed_download_does_not_stop_the_others(typed, bucket) -> None:
    bucket.files["mini_models/mini.safetensors"] = b"x" * 1000
    code, _, errors = typed("download", "BiT-M-R50x1", "ViT-mini:mini")
    assert code == 1
    assert "FAILED BiT-R50x1 weights=bit-m cannot be downloaded. Tried http://127.0.0.1" in errors
    assert "ViT-mini:mini downloaded to" in errors
    assert "1 of 2 failed. Repeat the command to go on" in errors
    assert "Traceback" not in errors


def test_download_is_off_where_it_was_switched_off(typed) -> None:
    code, _, errors = typed("download", "BiT-M-R50x1")
    assert code == 1
    assert (
        "downloads are off (BENCH_OFFLINE=1). Get https://storage.googleapis.com/bit_models/BiT-M-R50x1.npz" in errors
    )


def test_help_says_how(typed) -> None:
    assert all(verb in typed("--help")[1] for verb in ("list", "download"))
    said = typed("download", "--help")[1]
    assert all(word in said for word in ("BENCH_CACHE", "BENCH_WEIGHTS_URL", "BENCH_OFFLINE", "ViT-B/16:in21k"))
