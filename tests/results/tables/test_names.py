"""The names of rows: as short as they can be, and labels in their place; in tables, comparisons and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from vit_bench.bench.verbs.compare import compare_verb
from vit_bench.models.external.rows import ROWS
from vit_bench.models.weights.paths import SUFFIXES
from vit_bench.registry import UsageError
from vit_bench.results.comparison.compare import compare
from vit_bench.results.comparison.many import compare_all
from vit_bench.results.comparison.tables import tables
from vit_bench.results.record import Record, frame_of
from vit_bench.results.tables import make
from vit_bench.results.tables.names import LIBRARIES, WEIGHTS_FILE, names, names_or_plain, shown_values
from vit_bench.results.tables.rows import provenance_notes

OWN = "work/bench_models.py:swirl"


def frame(*things: tuple[str, ...]) -> pd.DataFrame:
    """A record of each model, variant, weights and label."""
    columns = ("model", "variant", "weights", "label")
    common = {"suite": "fewshot", "protocol": "ridge", "task": "x", "metric": "top1", "unit": "percent", "value": 50.0}
    common |= {"question": {"task": "x"}, "n_test": 100, "seed": 0}
    return frame_of(Record(**common | dict(zip(columns, thing, strict=False))) for thing in things)


def texts(*things: tuple[str, ...]) -> list[str]:
    return [name.text for name in names(frame(*things)).values()]


def test_what_counts_as_a_file_and_as_a_library_is_the_models_own() -> None:
    assert set(LIBRARIES) == set(ROWS)
    assert all(WEIGHTS_FILE.search(f"a{suffix}") for suffix in SUFFIXES)


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        (
            [(OWN, f"ckpt=ckpts/epoch={i}-step={40 * i}.ckpt", "own") for i in (1, 2)],
            ["swirl epoch=1-step=40", "swirl epoch=2-step=80"],
        ),
        (
            [(OWN, "", f"ckpts/epoch={i}-step={40 * i}.ckpt") for i in (1, 2)],
            ["swirl (epoch=1-step=40)", "swirl (epoch=2-step=80)"],
        ),
        ([(OWN, "", "own"), (OWN, "", "a/1.pt")], ["swirl (own)", "swirl (1)"]),
        ([(OWN, "", "own"), ("ViT-mini", "", "random")], ["swirl", "ViT-mini (random)"]),
        ([(OWN, "depth=2 width=8", "own"), (OWN, "depth=2 width=9", "own")], ["swirl width=8", "swirl width=9"]),
        ([(OWN, "depth=2 width=8", "own")], ["swirl"]),
        ([(OWN, "", "own"), (OWN, "width=8", "own")], ["swirl", "swirl width=8"]),
        ([("a/net.py:b", "", "own"), ("a/old.py:b", "", "own")], ["net.py:b", "old.py:b"]),
        ([("a/net.py:b", "", "own"), ("c/net.py:b", "", "own")], ["a/net.py:b", "c/net.py:b"]),
        ([("my.nets:build", "", "own")], ["build"]),
        ([("Net@01234567", "", "own"), ("Big@01234567", "", "own")], ["Net", "Big"]),
        ([("Net@01234567", "", "own"), ("Net@89abcdef", "", "own")], ["Net@01234567", "Net@89abcdef"]),
        ([("timm:vit_tiny", "", "a/1.pt"), ("hf:me/net", "", "a/1.pt")], ["timm:vit_tiny", "hf:me/net"]),
        ([("ViT-B/16", "pool=gap", "in21k")], ["ViT-B/16 [pool=gap]"]),
        ([("ViT-B/16", "", "in21k"), ("ViT-B/16", "", "x/in21k.npz")], ["ViT-B/16 (in21k)", "ViT-B/16 (in21k.npz)"]),
        ([("swirl", "", "w"), (OWN, "", "w")], ["swirl", "bench_models.py:swirl"]),
        ([("A", "", "w", "ours"), ("B", "", "w")], ["ours", "B"]),
        ([("A", "", "w", ""), ("A", "", "w", "ours"), ("A", "", "v")], ["ours", "A (v)"]),
        ([("A", "", "w", "ours"), ("A", "", "v", "ours"), ("B", "", "v")], ["ours: A (w)", "ours: A (v)", "B (v)"]),
        ([("A", "", "w", "B"), ("B", "", "w")], ["B: A", "B"]),
    ],
)
def test_names_are_as_short_as_they_can_be(things: list[tuple[str, ...]], expected: list[str]) -> None:
    assert texts(*things) == expected


def test_two_labels_of_one_thing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'a' and 'b' are two labels of one thing here, ViT-mini random: repeat one"):
        make("fewshot", frame(("ViT-mini", "", "random", "a"), ("ViT-mini", "", "random", "b")).assign(seed=[0, 1]))


def test_where_one_thing_has_two_labels_the_others_keep_theirs() -> None:
    both = frame(("A", "", "w", "before"), ("A", "", "w", "after"), ("B", "", "w", "ours"), ("B", "", "w"))
    assert [name.text for name in names_or_plain(both).values()] == ["A", "ours"]
    assert shown_values(both, "model") == {"A": "A", "B": "ours"}
    assert shown_values(frame(("A", "", "w"), ("A", "depth=2", "w")), "variant") == {"": "none", "depth=2": "depth=2"}


def test_results_of_before_have_no_labels() -> None:
    old = frame(("A", "", "w"))
    assert "label" not in old
    assert [name.text for name in names(old).values()] == ["A"]
    mixed = pd.concat([old, frame(("B", "", "w", "ours"))], ignore_index=True)
    assert [name.text for name in names(mixed).values()] == ["A", "ours"]


def test_notes_on_files_are_no_difference_in_how_images_are_fed() -> None:
    records = frame(("A", "", "1.pt"), ("A", "", "2.pt"))
    notes = [f'{{"size": [8, 8], "weights_notes": ["read {name}"]}}' for name in "ab"]
    records = records.assign(treatment=notes)
    said = [*provenance_notes(records), *compare_all(records, "run", by="weights").notes]
    assert not any("weights_notes" in note for note in said)


def scored(folder: Path, levels: dict[tuple[str, ...], float]) -> pd.DataFrame:
    """A frame with predictions of 400 images."""
    (folder / "cells").mkdir(parents=True)
    records = frame(*levels)
    for i, level in enumerate(levels.values()):
        wrong = (np.random.default_rng(i).random(400) > level).astype(np.int8)
        np.savez(folder / "cells" / f"k{i}.npz", **{"0": wrong, "labels": np.zeros(400, dtype=np.int8)})
        records.loc[i, ["value", "measurement"]] = [100 * float(1 - wrong.mean()), f"k{i}/0"]
    records["n_test"] = 400
    records.attrs["folders"] = (str(folder),)
    records.to_csv(folder / "results.csv", index=False)
    return records


def test_comparisons_show_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps: dict[tuple[str, ...], float] = {(OWN, "", f"ckpts/{i}.ckpt"): 0.5 + i / 10 for i in (1, 2)}
    frames = [scored(tmp_path / name, steps) for name in "ab"]
    table, _ = tables(compare(frames[0], frames[1], ("a", "b")))
    assert table.columns[0] == "model"
    assert [row[0] for row in table.rows] == ["swirl (1)", "swirl (2)"]
    assert any(
        note.endswith("In every row: suite fewshot, protocol ridge, task x, metric top1.") for note in table.notes
    )
    labelled = [part.assign(label=[f"{side} 1", f"{side} 2"]) for part, side in zip(frames, "ab", strict=True)]
    table, _ = tables(compare(labelled[0], labelled[1], ("a", "b")))
    assert [row[0] for row in table.rows] == ["swirl (1)", "swirl (2)"]  # the sides have other labels
    table, _ = tables(compare(labelled[0], labelled[0], ("a", "b")))
    assert [row[0] for row in table.rows] == ["a 1", "a 2"]
    for part, expected in ((frames[0], {"1", "2"}), (labelled[0], {"a 1", "a 2"})):
        found = compare_all(part, "run", by="weights")
        assert set(found.sides) == set(found.contests[0].sides) == expected
    run, other = (str(tmp_path / name / "results.csv") for name in "ab")
    compare_verb([run, "by=weights", "a=1", "b=ckpts/2.ckpt", "format=csv"])
    assert "worse on these weights" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"has no weights '3'. Choose from: ckpts/1.ckpt, ckpts/2.ckpt, 1, 2"):
        compare_verb([run, "by=weights", "a=3", "b=1"])
    compare_verb([run, other, "label=before,after"])
    assert "A = before, B = after" in capsys.readouterr().out
    with pytest.raises((UsageError, typer.Exit), match=r"label= has the names of the two runs"):
        compare_verb([run, other, "label=before"])
