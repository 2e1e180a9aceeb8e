"""Chosen columns, sorted rows, captions; tables as JSON, and LaTeX tables that fit a page."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from vit_bench.registry import UsageError
from vit_bench.results.tables import Table
from vit_bench.results.tables.arrange import captioned, sorted_by, with_columns
from vit_bench.results.tables.render import SMALLEST, TEXT_WIDTH, _points, render, render_json

TABLE = Table(
    title="T",
    columns=("model", "data", "Mean", "pets", "mean rank"),
    rows=(
        ("B", "x", "70.5*", "9.0", "2-3"),
        ("A", "y", "", "10.1 ± 0.2", "1"),
        ("C", "z", "\N{MINUS SIGN}3.0", "n/a", "12"),
    ),
    labels=2,
    bold=frozenset({(1, 3)}),
    rules=frozenset({1}),
    sources={(0, 2): ("id of B",), (1, 3): ("id of A",)},
)


def test_columns_are_chosen_by_name_in_any_case_or_by_glob_and_keep_their_marks() -> None:
    (made,) = with_columns([TABLE], ["pets", "mean*"])
    assert made.columns == ("model", "data", "pets", "Mean", "mean rank")
    assert made.rows[1] == ("A", "y", "10.1 ± 0.2", "", "1")
    assert made.bold == {(1, 2)}
    assert made.sources == {(0, 3): ("id of B",), (1, 2): ("id of A",)}
    assert with_columns([TABLE], ()) == [TABLE]
    assert with_columns([TABLE], ["model", "pets"]) == with_columns([TABLE], ["pets"])
    other = replace(TABLE, columns=("model", "data", "a", "b", "c"))
    assert [one.columns for one in with_columns([TABLE, other], ["c"])] == [("model", "data", "c")]
    with pytest.raises(UsageError, match=r"columns=petz: no such column\. Did you mean 'pets'\?"):
        with_columns([TABLE], ["Mean", "petz"])
    assert with_columns([TABLE], ["model"])[0].columns == ("model", "data")  # they stand there anyway


def test_rows_are_sorted_by_numbers_from_the_largest_down_or_by_texts() -> None:
    def order(column: str) -> str:
        return "".join(row[0] for row in sorted_by([TABLE], column)[0].rows)

    assert order("Mean") == "BCA"  # no number: last
    assert order("-mean") == "CBA"
    assert order("pets") == "ABC"  # 10.1 above 9.0, and a text after both
    assert order("mean rank") == "CBA"
    assert order("model") == "ABC" and order("-MODEL") == "CBA"
    made = sorted_by([TABLE], "pets")[0]
    assert made.bold == {(0, 3)} and made.sources == {(1, 2): ("id of B",), (0, 3): ("id of A",)} and not made.rules
    with pytest.raises(UsageError, match="sort=-petz: no such column"):
        sorted_by([TABLE], "-petz")


def test_a_caption_is_of_one_table() -> None:
    (made,) = captioned([TABLE], "Ours", "tab:ours")
    assert r"\caption{Ours}" in render(made, "latex") and r"\label{tab:ours}" in render(made, "latex")
    assert captioned([TABLE, TABLE], "", "") == [TABLE, TABLE]
    with pytest.raises(UsageError, match="caption= is of one table, and here are 2: T; T"):
        captioned([TABLE, TABLE], "Ours", "")


NUMBERS = [
    ("+1.25", 1.25),
    ("\N{MINUS SIGN}1.2", -1.2),
    ("10,000", 10000),
    ("0.5", 0.5),
    ("007", "007"),
    ("1e999", "1e999"),
]


@pytest.mark.parametrize(("cell", "value"), NUMBERS)
def test_a_cell_that_is_a_number_alone_is_one_in_json(cell: str, value: object) -> None:
    (read,) = json.loads(render_json([Table(title="", columns=("a",), rows=((cell,),))]))
    assert read["rows"] == [[value]]


def test_json_has_numbers_as_numbers_and_other_cells_as_texts() -> None:
    (read,) = json.loads(render_json([TABLE]))
    assert read["rows"][0] == ["B", "x", "70.5*", 9.0, "2-3"]
    assert read["rows"][1] == ["A", "y", None, "10.1 ± 0.2", 1]
    assert read["columns"] == list(TABLE.columns) and read["title"] == "T" and read["notes"] == []


@pytest.mark.parametrize(("models", "tasks"), [(2, 3), (3, 19), (19, 3), (30, 30)])
def test_latex_fits_the_page_and_holds_every_cell(models: int, tasks: int) -> None:
    rows = tuple((f"model{i}", *(f"{i}{j:02}.25" for j in range(tasks))) for i in range(models))
    table = Table(title="T", columns=("model", *(f"task {j}" for j in range(tasks))), rows=rows, notes=("N",))
    text = render(table, "latex")
    parts = re.findall(r"(\\resizebox\S*)?\s*\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, re.DOTALL)
    for scaled, _, body in parts:
        cells = [line.removesuffix(r" \\").split(" & ") for line in body.splitlines() if " & " in line]
        columns = tuple(re.sub(r"\\shortstack\[r\]{(.*)}", r"\1", cell).replace(r"\\", " ") for cell in cells[0])
        width = _points(Table(title="", columns=columns, rows=tuple(map(tuple, cells[1:]))))
        assert width <= TEXT_WIDTH / SMALLEST
        assert bool(scaled) == (width > TEXT_WIDTH)
    assert all(cell in text for row in rows for cell in row)
    assert text.count("N\\\\") == 1  # the notes stand below the last part
