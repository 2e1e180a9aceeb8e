"""Records and run directories: round trips, one number a row, atomic files, what is superseded or damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from vit_bench.registry import UsageError
from vit_bench.results.arrays import read_arrays
from vit_bench.results.record import COLUMNS, Cell, Record, frame_of, read_variant
from vit_bench.results.store import Store, load
from vit_bench.stable import replacing

K1, K2, K3 = ("1" * 16, "2" * 16, "3" * 16)  # keys of cells


def record(**values) -> Record:
    base = {
        "suite": "fewshot",
        "protocol": "fewshot",
        "model": "M",
        "task": "digits",
        "metric": "top1",
        "value": 81.25,
        "unit": "percent",
        "n_test": 797,
        "seed": 1,
        "seconds": 0.5,
        "at": {"shots": 5, "l2": 1024.0},
        "question": {"task": "digits"},
        "treatment": {"size": [64, 64]},
        "env": {"python": "3.11", "cpus": "2"},
    }
    return Record(**base | values)


def cell(key: str = K1, slot: str = "s1", order: tuple = (0, "a"), started_at: str = "2026-01-01", **values) -> Cell:
    records = tuple(record(value=float(i), measurement=f"{key}/{i}", **values) for i in range(2))
    return Cell(
        key=key,
        slot=slot,
        order=order,
        identity={"suite": "fewshot"},
        status="ok",
        started_at=started_at,
        records=records,
        inputs=({"path": "x", "size": 1, "mtime_ns": 2, "sha256": "ab"},),
    )


def test_a_cell_reads_back_as_it_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(cell(), {"0": np.array([1, 2, 3], dtype=np.int16)})
    assert Store(tmp_path).get(K1) == cell()
    with np.load(tmp_path / "cells" / f"{K1}.npz", allow_pickle=False) as arrays:
        assert arrays["0"].tolist() == [1, 2, 3]
    assert Store(tmp_path).get(K2) is None


def test_what_records_share_is_written_once_and_read_as_one(tmp_path: Path) -> None:
    records = tuple(record(seed=i, question={"shots": i % 2}, treatment={"l2": i}) for i in range(4))
    store = Store(tmp_path)
    store.put(replace(cell(), records=records))
    text = store.path(K1).read_text()
    assert text.count('"shots": 0') == text.count('"shots": 1') - 0 == 1
    read = Store(tmp_path).get(K1)
    assert read is not None
    assert read.records == records
    assert read.records[0].question is read.records[2].question


def test_cells_of_the_first_format_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(cell())
    body = json.loads(store.path(K1).read_text())
    whole = [vars(one) for one in cell().records]
    body = {name: value for name, value in body.items() if name not in ("several", "sha256")}
    store.path(K1).write_text(json.dumps(body | {"format": 1, "shared": {}, "records": whole}))
    assert Store(tmp_path).get(K1) == cell()
    store.path(K1).write_text(json.dumps(body | {"format": 5, "shared": {}, "records": whole}))
    with pytest.raises(UsageError, match="written by another version of this project"):
        Store(tmp_path).get(K1)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_copy_with_the_line_ends_of_another_system_is_the_same_cell(tmp_path: Path, end: str) -> None:
    store = Store(tmp_path)
    store.put(cell())
    text = store.path(K1).read_text()
    store.path(K1).write_text(text, newline=end)
    assert store.path(K1).read_bytes().count(b"\r") == (text.count("\n") if end == "\r\n" else 0)
    assert store.get(K1) == cell()


def of_records(shared: Mapping[str, Any], *own: Mapping[str, Any], several: Mapping[str, Any] | None = None) -> str:
    """A cell's file without a digest, with these parts."""
    body = {name: value for name, value in vars(cell()).items() if name not in ("records", "curves_digest")}
    return json.dumps(body | {"format": 2, "shared": shared, "records": own, "several": several or {}})


def test_records_with_other_fields_each_are_read_with_what_they_have(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(cell())
    base = {"suite": "s", "value": 1.5, "at": {}}
    own = ({"metric": "a"}, {"measurement": f"{K1}/1", "value": 2.0}, {"suite": "other", "at": {"k": True}})
    for records in (own, ({},), ({"metric": "a"},)):
        store.path(K1).write_text(of_records(base, *records))
        truth = tuple(Record(**base | one) for one in records)
        read = store.get(K1)
        assert read is not None and read.records == truth
        pd.testing.assert_frame_equal(Store(tmp_path).frame([K1]), frame_of(truth))


@pytest.mark.parametrize(
    ("shared", "own", "several", "said"),
    [
        ({}, ({"value": 1.0},), {}, "missing 1 required keyword-only argument: 'suite'"),
        ({}, ({"suite": "s", "value": 1.0}, {"value": 2.0}), {}, "missing 1 required keyword-only argument: 'suite'"),
        ({"suite": "s", "colour": "red"}, ({"value": 1.0},), {}, "unexpected keyword argument 'colour'"),
        ({"suite": "s"}, ({"value": 1.0}, {"value": 1.0, "colour": 1}), {}, "unexpected keyword argument 'colour'"),
        ({"suite": "s"}, (), {}, "no records"),
        ({"suite": "s"}, ({"verdict": 0, "value": 1.0},), {"verdict": [{}]}, "column verdict: 0 is no text"),
        ({"suite": "s"}, ({"n_test": 0, "value": 1.0},), {"n_test": [{}]}, "column n_test is one of those that"),
        ({"suite": "s"}, ({"env": 1, "value": 1.0},), {"env": [{}]}, "list index out of range"),
        ({"suite": "s"}, ({"value": 1.0}, {"value": 101.0, "unit": "percent"}), {}, "101 percent for"),
        ({"suite": "s"}, ({"value": 1.0, "seconds": 1}, {"value": 1.0, "seconds": "1"}), {}, "column seconds: 1 is no"),
    ],
)
def test_records_that_cannot_be_read_are_named(
    tmp_path: Path, shared: dict[str, Any], own: tuple[dict[str, Any], ...], several: dict[str, Any], said: str
) -> None:
    store = Store(tmp_path)
    store.put(cell())
    store.path(K1).write_text(of_records(shared, *own, several=several))
    with pytest.raises(UsageError, match=rf"{K1}\.json is damaged \(.*{said}"):
        store.frame([K1])


def test_dicts_with_values_of_derived_classes_are_written_as_json() -> None:
    class Word(str):
        pass

    for word, number in ((Word("digits"), 2.0), (np.str_("digits"), np.float64(2))):
        (row,) = frame_of([record(question={"task": word, "size": (1, number)})]).to_dict("records")
        assert row["question"] == '{"size":[1,2.0],"task":"digits"}'


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ('"question": {"a": "\\udc00"}', "surrogates not allowed"),
        ('"at": {"a": "\\uDC00"}', "surrogates not allowed"),
        ('"question": {"a": 1e999}', "Out of range float values"),
        ('"question": ' + '{"a":' * 5000 + "1" + "}" * 5000, "recursion depth"),
    ],
    ids=["half of a character", "of a column", "infinity", "deep"],
)
def test_dicts_that_cannot_be_texts_are_damage(tmp_path: Path, own: str, said: str) -> None:
    store = Store(tmp_path)
    store.put(cell())
    text = of_records({"suite": "s"}, {"value": 1.0})
    store.path(K1).write_text(text.replace('"value": 1.0', f'"value": 1.0, {own}'))
    with pytest.raises(UsageError, match=rf"{K1}\.json is damaged \(.*{said}"):
        load(tmp_path)


def test_columns_are_the_records_fields_then_at_then_question_and_environment() -> None:
    frame = frame_of([record(), record(at={"batch_size": 4})])
    assert list(frame.columns) == [
        *COLUMNS,
        *("shots", "l2", "batch_size", "question", "treatment", "env.python", "env.cpus"),
    ]
    assert frame["shots"].tolist()[0] == 5
    assert pd.isna(frame["shots"][1])
    assert json.loads(frame["treatment"][0]) == {"size": [64, 64]}


def test_results_csv_reads_back_as_the_same_frame(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(cell())
    failed = record(value=None, metric="", status="failed", error='ValueError: no, "really"\nnot', at={}, n_test=None)
    store.put(replace(cell(K2, "s2", (1,)), status="failed", records=(failed,)))
    path = store.write_results()
    pd.testing.assert_frame_equal(load(path), load(tmp_path), check_dtype=False)
    both = load(path, tmp_path)
    assert len(both) == 6
    assert both["error"].tolist()[2] == 'ValueError: no, "really"\nnot'


def test_cells_stand_in_table_order_numbers_before_words(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key, order in (("c", (1, 0)), ("b", (0, "own")), ("a", (0, 10)), ("d", (0, 9))):
        store.put(cell(key * 16, key, order))
    assert [one.key[0] for one in store.cells()] == ["d", "a", "b", "c"]


def test_of_two_cells_in_a_slot_the_later_counts(tmp_path: Path) -> None:
    store, old, new = Store(tmp_path), K2, K1
    store.put(cell(new, started_at="2026-02-02"))
    store.put(cell(old, started_at="2026-02-01"))
    assert [one.key for one in store.cells()] == [new]
    assert len(load(tmp_path)) == 2


def test_what_was_skipped_gives_way_to_what_was_measured_and_sources_stand_apart(tmp_path: Path) -> None:
    store, later, folder, official = Store(tmp_path), K1, K2, K3
    skipped = replace(cell(later, started_at="2027-01-01"), status="skipped", identity={"source": ""})
    store.put(skipped)
    assert [one.key for one in store.cells()] == [later]
    store.put(replace(cell(folder), identity={"source": "folder"}))
    store.put(replace(cell(official), identity={"source": "official"}))
    assert [one.key for one in store.cells()] == [folder, official]


def test_of_several_runs_a_skip_gives_way_to_what_another_has_and_is_told_once(tmp_path: Path) -> None:
    def skipped(key: str, task: str) -> Cell:
        lacking = record(task=task, status="skipped", error="no data in data", metric="", value=None, seed=None, at={})
        return replace(cell(key, slot=task), status="skipped", records=(lacking,))

    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    one.put(cell(K1, slot="digits"))
    one.put(skipped(K2, "photos"))
    two.put(skipped(K1, "digits"))
    two.put(skipped(K2, "photos"))
    together = load(one.folder, two.folder)
    assert together[["task", "status"]].values.tolist() == [["digits", "ok"], ["digits", "ok"], ["photos", "skipped"]]
    assert load(two.folder)["status"].tolist() == ["skipped", "skipped"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("before")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_damaged_cell_is_named_and_can_be_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(cell())
    store.path(K1).write_text('{"format": 1, "key"')
    with pytest.raises(UsageError, match=rf"{K1}\.json is damaged .* Delete it, and the job it belongs to runs again"):
        load(tmp_path)
    assert Store(tmp_path).set_damaged_aside() == [store.path(K1)]
    assert Store(tmp_path).cells() == []
    assert (tmp_path / "cells" / f"{K1}.json.damaged").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"value": 1.0', '"value": "abc"'),
        ('"seed": 1', '"seed": [1]'),
        ('"several": {', '"inputs": [{"path": 1}], "several": {'),  # of two, the later counts
        ('"several": {', '"inputs": [null], "several": {'),
        ('"identity": {', '"identity": null, "x": {'),
    ],
)
def test_a_cell_with_something_else_in_a_field_is_damaged(tmp_path: Path, before: str, after: str) -> None:
    store = Store(tmp_path)
    store.put(cell())
    text = store.path(K1).read_text()
    assert before in text
    store.path(K1).write_text(text.replace(before, after))
    with pytest.raises(UsageError, match=r"is no number|is no whole number|is not described as cells describe them"):
        Store(tmp_path).get(K1)


def test_a_cell_of_another_format_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(cell())
    path = store.path(K1)
    path.write_text(path.read_text().replace('"format": 4', '"format": 99'))
    with pytest.raises(UsageError, match="written by another version"):
        Store(tmp_path).get(K1)


def test_cells_copy_from_run_to_run(tmp_path: Path) -> None:
    source, target = Store(tmp_path / "a"), Store(tmp_path / "b")
    source.put(cell(), {"0": np.arange(3, dtype=np.int16)})
    target.copy_from(source, K1)
    assert target.get(K1) == cell()
    assert (target.cells_folder / f"{K1}.npz").read_bytes() == (source.cells_folder / f"{K1}.npz").read_bytes()


def test_arrays_of_any_name_are_kept(tmp_path: Path) -> None:
    kept = {"file": np.arange(3), "allow_pickle": np.zeros((2, 0)), "0.x": np.array(["é"]), "labels": np.array(7)}
    Store(tmp_path).put(cell(), kept)
    read = read_arrays(Store(tmp_path).arrays(K1))
    assert list(read) == list(kept)
    assert all(np.array_equal(read[name], kept[name]) and read[name].dtype == kept[name].dtype for name in kept)


def test_a_carriage_return_in_a_text_breaks_no_row_of_results(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(replace(cell(), records=(record(task="a\rb", at={"x\ry": "\r"}),)))
    read = load(store.write_results())
    assert (read["task"].tolist(), read["x y"].tolist()) == (["a b"], [" "])


def test_any_change_of_a_cells_text_is_damage_that_says_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(cell())
    path, written = store.path(K1), store.path(K1).read_bytes()
    said = rf"{K1}\.json is damaged \(its text is not what its sha256 says.*Delete it, and the job it belongs"
    digits = [i for i in range(len(written)) if written[i : i + 1].isdigit()]
    for i in digits[::7]:
        path.write_bytes(written[:i] + bytes([written[i] ^ 1]) + written[i + 1 :])
        with pytest.raises(UsageError, match=r"is damaged|written by another version"):
            Store(tmp_path).get(K1)
    for before, after in (('"value": 1.0', '"value": 93.56'), ('"M"', '"N"'), ('"n_test": 797', '"n_test": 0797')):
        path.write_text(written.decode().replace(before, after))
        with pytest.raises(UsageError, match=said if before != '"n_test": 797' else "is damaged"):
            load(tmp_path)
    path.write_bytes(written.replace(b"\n", b"\r\n"))  # as version control may check it out
    assert Store(tmp_path).get(K1) == cell()


IMPOSSIBLE = {
    "value: 250 percent for top1 of M on digits. A percentage is from 0 to 100": {"value": 250.0},
    "value: -1 percent": {"value": -1.0},
    "value: None for top1 of M on digits, whose status is ok": {"value": None},
    "n_test: -3 for top1 of M on digits is no number of images": {"n_test": -3},
    "n_train: 1.5 is no whole number": {"n_train": 1.5},
    "seed: 0.5 is no whole number": {"seed": 0.5},
    "status: 'great' is not ok, failed, skipped": {"status": "great"},
}


def test_a_dict_that_records_share_and_have_of_their_own_is_checked_in_both_places(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(replace(cell(), records=(record(treatment={"lr": 1}), record(treatment={"lr": 2}))))
    text = store.path(K1).read_text()
    assert '"treatment": 1' in text
    store.path(K1).write_text(text.replace('"shared": {', '"shared": {"treatment": -9223372036854775808,'))
    with pytest.raises(UsageError, match=rf"{K1}\.json is damaged \(its treatment is not described as cells"):
        Store(tmp_path).get(K1)


@pytest.mark.parametrize("said", IMPOSSIBLE)
def test_records_that_cannot_be_right_are_named_with_and_without_a_digest(tmp_path: Path, said: str) -> None:
    store, bad = Store(tmp_path), record(**IMPOSSIBLE[said])
    store.put(replace(cell(), records=(bad,)))
    path = store.path(K1)
    for old in (False, True):
        if old:  # as earlier commits wrote cells
            lines = path.read_text().replace('"format": 4', '"format": 2').splitlines()
            path.write_text("\n".join([*lines[:-2], "}"]).replace("],\n}", "]\n}"))
            assert "sha256" not in path.read_text().replace('"sha256": "ab"', "")
        with pytest.raises(UsageError, match=rf"{K1}\.json is damaged \(column {said}"):
            Store(tmp_path).get(K1)
    with pytest.raises(UsageError, match=rf"a\.csv(, row 2, column {said.split(':')[0]}|: .*'(1|0)\.5')"):
        values = vars(bad) | {name: json.dumps(getattr(bad, name)) for name in ("question", "treatment")}
        pd.DataFrame([{**values, "at": ""}]).to_csv(tmp_path / "a.csv", index=False)
        load(tmp_path / "a.csv")


def test_shares_of_other_things_than_images_and_rounded_ones_may_exceed_100(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(replace(cell(), records=(record(value=130.0, metric="share_of_matmul_rate"), record(value=100.000001))))
    assert [one.value for one in load(tmp_path).itertuples()] == [130.0, 100.000001]


@pytest.mark.parametrize("key", ["", "k1", "A" * 16, "1" * 17, f"{K1}\n", "../../../evil", "/tmp/evil"])
def test_what_is_no_key_names_no_file(tmp_path: Path, key: str) -> None:
    store = Store(tmp_path / "run")
    for way in (store.get, store.arrays, store.curves, lambda key: store.copy_from(Store(tmp_path), key)):
        with pytest.raises(UsageError, match=r"is no key of a cell, which is 16 hexadecimal digits"):
            way(key)
    with pytest.raises(UsageError, match="is no key of a cell"):
        store.put(replace(cell(), key=key), {"0": np.arange(3)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", [K2, "../../evil", "", 7])
def test_a_cell_whose_key_is_not_its_files_name_is_damaged(tmp_path: Path, key: object) -> None:
    store = Store(tmp_path)
    store.put(cell())
    path = store.path(K1)
    path.write_text(path.read_text().replace(f'"key": "{K1}"', f'"key": {json.dumps(key)}'))
    with pytest.raises(UsageError, match=rf"{K1}\.json is damaged \(its key is .*Delete it, and the job"):
        Store(tmp_path).get(K1)
    with pytest.raises(UsageError, match="is damaged"):
        load(tmp_path)
    assert Store(tmp_path).set_damaged_aside() == [path]


def test_a_cell_file_whose_name_is_no_key_is_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(cell())
    text = store.path(K1).read_text()
    (tmp_path / "cells" / "mine.json").write_text(text.replace(f'"key": "{K1}"', '"key": "mine"'))
    with pytest.raises(UsageError, match=r"mine\.json is damaged \(its key is 'mine', which is not 16 hexadecimal"):
        store.cells()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no results CSV: No columns"),
        ("a,b\n1,2\n", "has no column suite, protocol"),
    ],
)
def test_csv_files_that_are_no_results(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        load(tmp_path / "a.csv")


def test_a_csv_with_words_for_numbers_is_named(tmp_path: Path) -> None:
    frame = frame_of([record()]).astype(object)
    frame["value"] = "much"
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UsageError, match=r"a\.csv: .*much"):
        load(tmp_path / "a.csv")


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no run directory or CSV file at .*gone"):
        load(tmp_path / "gone")
    with pytest.raises(UsageError, match="is no run directory: it has no cells/ folder"):
        load(tmp_path)
    with pytest.raises(UsageError, match="at least one"):
        load()


def test_the_settings_of_a_variant_are_read_with_spaces_in_their_values() -> None:
    assert read_variant("") == {} and read_variant("of another version") == {}
    assert read_variant("depth=2 pool=gap") == {"depth": "2", "pool": "gap"}
    said = {"note": "two words, 1 = 1 and a-b=c", "größe": "", "path": "a=b"}
    assert read_variant(" ".join(f"{name}={value}" for name, value in said.items())) == said
