"""Tables: coverage rules, both totals, majority flags, several seeds, and what refuses to stand side by side."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from vit_bench.registry import UsageError
from vit_bench.results.record import Record, frame_of
from vit_bench.results.tables import GROUP_SIZES, make, table_of, tables
from vit_bench.results.tables.render import FORMATS, render, show_table
from vit_bench.results.tables.table import Table

NATURAL, SPECIALIZED, STRUCTURED = ("digits", "photos"), ("tissue", "sensor", "lesions"), ("sx", "sa", "count", "near")
GROUP = {
    **dict.fromkeys(NATURAL, "natural"),
    **dict.fromkeys(SPECIALIZED, "specialized"),
    **dict.fromkeys(STRUCTURED, "structured"),
}


def score(model: str, task: str, value: float | None, metric: str = "top1", **values) -> Record:
    base = {
        "suite": "vtab-mini",
        "protocol": "probe",
        "model": model,
        "weights": "random",
        "task": task,
        "group": GROUP[task],
        "metric": metric,
        "value": value,
        "unit": "percent",
        "question": {"task": task, "metric": metric, "protocol": "ridge probe", "split": "s"},
        "treatment": {"size": [64, 64], "l2": 1.0} if metric == "top1" else {},
    }
    return Record(**base | values)


def full(models=("A", "B")) -> list[Record]:
    """Model i scores 10 (i + 1) + number of the task; the majority rate is 12 everywhere."""
    records = []
    for i, model in enumerate(models):
        for number, task in enumerate(GROUP):
            records += [score(model, task, 10.0 * (i + 1) + number), score(model, task, 12.0, "majority_rate")]
    return records


def cells(table) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_group_sizes_are_those_of_the_tasks() -> None:
    from vit_bench.suites.tasks import tasks

    for collection, sizes in GROUP_SIZES.items():
        found = [task.group for task in tasks().values() if task.collection == collection]
        assert {group: found.count(group) for group in sizes} == sizes
        assert len(found) == sum(sizes.values())


def test_a_row_a_model_a_column_a_task_group_means_both_totals_and_the_majority() -> None:
    (table,) = make("vtab", frame_of(full()))
    assert table.columns == (
        *("model", *GROUP, "natural", "specialized", "structured"),
        *("mean of 9", "mean of 3 groups"),
    )
    rows = cells(table)
    assert list(rows) == ["A", "B", "majority class"]
    assert rows["A"]["digits"] == "10.0*"
    assert rows["A"]["near"] == "18.0"
    assert (rows["A"]["natural"], rows["A"]["specialized"], rows["A"]["structured"]) == ("10.5", "13.0", "16.5")
    assert rows["A"]["mean of 9"] == "14.0"
    assert rows["B"]["mean of 3 groups"] == f"{(20.5 + 23 + 26.5) / 3:.1f}"
    assert rows["majority class"]["mean of 9"] == "12.0"
    assert table.rules == {2}
    assert any("not comparable with published VTAB" in note for note in table.notes)
    assert any("All weights are random: untrained networks" in note for note in table.notes)
    assert any(note.startswith("* Below the majority rate") for note in table.notes)


def test_a_mean_is_rounded_from_the_correctly_rounded_sum() -> None:
    """ViT-mini's structured tasks in the README: their mean lies at a tie, on whose wrong side pandas' sum ends."""
    values = dict(zip(STRUCTURED, (14.499999999999998, 13.700000000000001, 17.7, 36.7), strict=True))
    records = [replace(r, value=values.get(r.task, r.value)) if r.metric == "top1" else r for r in full(("A",))]
    assert cells(make("vtab", frame_of(records))[0])["A"]["structured"] == "20.6"


def test_no_mean_without_full_coverage() -> None:
    records = [r for r in full() if not (r.model == "A" and r.task == "sensor")]
    rows = cells(make("vtab", frame_of(records))[0])
    assert rows["A"]["specialized"] == "2/3"
    assert rows["A"]["mean of 9"] == rows["A"]["mean of 3 groups"] == "8/9"
    assert rows["A"]["natural"] == "10.5"
    assert rows["B"]["specialized"] == "23.0"


def test_failed_and_skipped_jobs_stand_in_their_cell_and_below() -> None:
    records = [r for r in full() if not (r.model == "A" and r.task in ("sensor", "count"))]
    records += [
        score("A", "sensor", None, "", status="failed", error="ValueError: broken", question={}, treatment={}),
        score("A", "count", None, "", status="skipped", error="no data", question={}, treatment={}),
    ]
    table = make("vtab", frame_of(records))[0]
    rows = cells(table)
    assert (rows["A"]["sensor"], rows["A"]["count"]) == ("failed", "skipped")
    assert rows["A"]["mean of 9"] == "7/9"
    assert "1 failed, the first: A on sensor: ValueError: broken" in table.notes


def test_seeds_become_mean_and_std() -> None:
    records = [score("A", task, value, seed=i) for task in GROUP for i, value in enumerate((20.0, 30.0, 40.0))]
    rows = cells(make("vtab", frame_of(records))[0])
    assert rows["A"]["digits"] == "30.0 ± 10.0"
    assert rows["A"]["mean of 9"] == "30.0 ± 0.0" or rows["A"]["mean of 9"].startswith("30.0")


def test_the_same_model_fed_in_two_ways_makes_two_rows_what_is_tuned_does_not() -> None:
    records = full(["A"]) + [
        score("A", task, 50.0, treatment={"size": [96, 96], "l2": float(i)}) for i, task in enumerate(GROUP)
    ]
    table = make("vtab", frame_of(records))[0]
    assert list(cells(table)) == ["A size=64x64", "A size=96x96", "majority class"]
    assert cells(table)["A size=96x96"]["mean of 9"] == "50.0"
    assert "Rows differ in how images are fed: size." in table.notes


def test_variants_and_weights_make_rows() -> None:
    records = full(["A"]) + [score("A", t, 50.0, variant="depth=2") for t in GROUP]
    assert list(cells(make("vtab", frame_of(records))[0])) == ["A", "A [depth=2]", "majority class"]
    records = full(["A"]) + [score("A", t, 50.0, weights="w.pt") for t in GROUP]
    table = make("vtab", frame_of(records))[0]
    assert list(cells(table)) == ["A (random)", "A (w)", "majority class"]
    assert any(note.startswith("Rows with random: untrained networks") for note in table.notes)


def test_different_questions_are_refused_by_the_name_of_the_field() -> None:
    other = {"task": "digits", "metric": "top1", "protocol": "ridge probe", "split": "t"}
    frame = frame_of([*full(), score("C", "digits", 99.0, question=other)])
    with pytest.raises(UsageError, match=r"do not answer the same question: for digits, split is s and t.*mix=true"):
        make("vtab", frame)
    table = make("vtab", frame, mix=True)[0]
    assert table.notes[0].startswith("MIXED (mix=true): for digits, split is s and t")


def test_suites_never_share_a_table() -> None:
    records = [*full(), score("A", "digits", 90.0, suite="vtab")]
    made = make("vtab", frame_of(records))
    assert [table.title for table in made] == ["vtab: top-1 accuracy, percent", "vtab-mini: top-1 accuracy, percent"]
    assert cells(made[0])["A"]["mean of 19"] == "1/19"


def few(task: str, shots: int, seed: int, value: float, **values) -> Record:
    question = {"task": task, "budget": f"{shots} images a class", "metric": "top1"}
    return score(
        "A",
        task,
        value,
        suite="fewshot",
        seed=seed,
        question=question,
        **{"at": {"shots": shots, "l2": 1024.0}} | values,
    )


def test_fewshot_has_a_column_a_number_of_shots() -> None:
    records = [few("digits", k, s, 10.0 * k + s) for k in (1, 5) for s in range(3)]
    records.append(score("A", "digits", 11.2, "majority_rate", suite="fewshot"))
    (table,) = make("fewshot", frame_of(records))
    assert table.columns == ("task", "model", "1-shot", "5-shot", "majority class")
    assert table.rows == (("digits", "A", "11.0 ± 1.0", "51.0 ± 1.0", "11.2"),)
    assert "Mean ± std (ddof 1) over 3 seeds." in table.notes
    assert "l2 = 1024." in table.notes


def test_what_was_measured_twice_counts_once_and_the_later_counts() -> None:
    records = [few("digits", 1, seed, 10.0, started_at="2026-01-02") for seed in range(3)]
    records += [few("digits", 1, seed, 50.0 + seed, started_at="2026-01-01") for seed in range(4)]
    records += [few("digits", 5, seed, 60.0 + seed, started_at="2026-01-01") for seed in range(2)]
    (table,) = make("fewshot", frame_of(records))
    assert table.rows == (("digits", "A", "20.8 ± 21.5¹", "60.5 ± 0.7", ""),)  # 10, 10, 10, 53
    assert "¹ Over 4 seeds; most numbers here are over 2." in table.notes


def test_fewshot_with_several_l2_has_a_row_each() -> None:
    records = [few("digits", 1, 0, l2, at={"shots": 1, "l2": l2}) for l2 in (1.0, 2.0)]
    (table,) = make("fewshot", frame_of(records))
    assert [row[:4] for row in table.rows] == [("digits", "A", "1", "1.0"), ("digits", "A", "2", "2.0")]


def test_unknown_tables_and_records_of_other_suites() -> None:
    with pytest.raises(UsageError, match=r"there is no table 'vtb'\. Did you mean 'vtab'\?"):
        make("vtb", frame_of(full()))
    with pytest.raises(UsageError, match="table fewshot shows suite fewshot; these records are of vtab-mini"):
        make("fewshot", frame_of(full()))
    assert table_of("vtab-mini").name == "vtab"
    assert table_of("nothing").name == "measurements"
    own = [
        "vtab",
        "fewshot",
        "finetune",
        "classify",
        "checkpoints",
        "throughput",
        "leaderboard",
        "measurements",
        "pretrain",
        "ranks",
    ]
    assert list(tables()) == [*own, *"123456789"]
    assert tables()["table2"].name == "2"


def test_every_format_holds_every_number_and_markup_is_escaped() -> None:
    records = [*full(), *(score("A|<b>", t, 77.7) for t in GROUP)]
    table = make("vtab", frame_of(records))[0]
    texts = {style: render(table, style) for style in FORMATS if style != "terminal"}
    for text in texts.values():
        assert text.count("77.7") == 14
        assert "14.0" in text
    assert "A\\|\\<b\\>" in texts["github"]
    assert "10.0\\*" in texts["github"]
    assert "A|&lt;b&gt;" in texts["html"]
    assert texts["csv"].splitlines()[0].startswith("model,digits,photos")
    assert r"\toprule" in texts["latex"]
    with pytest.raises(ValueError, match="no such format"):
        render(table, "word")


def shown(table, width: int, *, terminal: bool) -> str:
    file = io.StringIO()
    show_table(table, Console(file=file, width=width, force_terminal=terminal, no_color=True))
    return file.getvalue()


def test_a_variant_in_brackets_is_no_markup() -> None:
    records = [score("A", task, 50.0, variant="depth=2") for task in GROUP]
    table = make("vtab", frame_of(records))[0]
    assert "A [depth=2]" in shown(table, 300, terminal=True)


def test_a_terminal_that_is_too_narrow_gets_the_table_on_its_side_and_nothing_is_cut() -> None:
    table = make("vtab", frame_of(full()))[0]
    wide, narrow = shown(table, 300, terminal=True), shown(table, 60, terminal=True)
    lines = [line.split() for line in narrow.splitlines()]
    assert any(line[:1] == ["digits"] and "10.0*" in line and "20.0" in line for line in lines)
    assert "…" not in wide + narrow + shown(table, 20, terminal=True)
    assert "10.0*" in shown(table, 20, terminal=False)


def test_a_title_is_broken_at_the_screens_width_and_not_at_that_of_a_narrow_table() -> None:
    title = "which weights of 3 may be the best " * 3
    table = Table(title=title, columns=("a", "b"), rows=(("1", "2"),), labels=1)
    lines = re.sub("\x1b.*?m", "", shown(table, 80, terminal=True)).splitlines()
    assert lines[:2] == [title[:75], title[76:].strip()]


@pytest.mark.parametrize("width", [30, 80, 200])
def test_footnotes_are_wrapped_between_words_at_every_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/{'x' * 40}.csv"
    note = f"* {'word ' * 60}{path} {'a longer note ' * 9}".strip()
    table = Table(title="t", columns=("a", "b"), rows=(("1", "2" * 90),), labels=1, notes=(note,))

    def notes(*, terminal: bool) -> list[str]:
        lines = re.sub("\x1b.*?m", "", shown(table, width, terminal=terminal)).splitlines()
        return lines[next(i for i, line in enumerate(lines) if line.startswith("* ")) :]

    piped, asked = notes(terminal=False), notes(terminal=True)
    monkeypatch.setenv("COLUMNS", str(width))  # of a pipe it asks for what a terminal has
    assert notes(terminal=False) == asked
    for lines, most in ((piped, max(width, 96)), (asked, width)):
        assert " ".join(line.strip() for line in lines) == note
        assert max(len(line.rstrip()) for line in lines if path not in line) <= most


def test_a_probe_beside_a_training_makes_no_rows_of_its_own() -> None:
    trained = {"treatment": {"head": "linear", "size": [32, 32]}, "suite": "finetune", "protocol": "finetune"}
    probe = {**trained, "treatment": {"head": "ridge", "l2": 4.0}, "metric": "top1_untrained_probe"}
    records = [score("A", "digits", 90.0, **trained), score("A", "digits", 50.0, **probe)]
    (table,) = make("measurements", frame_of(records))
    assert table.columns == ("model", "digits top1", "digits top1_untrained_probe")
    assert table.rows == (("A", "90.0", "50.0"),)
    assert not any("fed" in note for note in table.notes)
    assert [note.partition(":")[0] for note in table.notes if "untrained networks" in note] == ["top1_untrained_probe"]
