"""The HTML report: what stands in it, that nothing in a record can act on it, and that it stays small and the same."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from vit_bench.registry import UsageError
from vit_bench.results import report
from vit_bench.results.report.contests import contests
from vit_bench.results.report.drawings import inline
from vit_bench.results.report.numbers import Numbers
from vit_bench.results.store import Store, load

from .report_records import COMMAND, EVIL, asked, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "mini")


@pytest.fixture(scope="module")
def page(folder: Path) -> report.Page:
    return report.make(asked(folder))


class Elements(HTMLParser):
    """The elements of a page with their attributes; `script` is what the scripts hold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)


def records(html: str) -> dict:
    return json.loads(Elements(html).scripts[0])


def test_the_page_has_every_part(page: report.Page) -> None:
    ids = {attributes.get("id") for _, attributes in Elements(page.html).found}
    assert {"tables", "bars", "figures", "failures", "repeat", "versions", "numbers"} <= ids
    assert {"table-vtab", "figure-1"} <= ids
    assert page.html.count(COMMAND) >= 1
    assert "Built-in images" in page.html
    assert "1 record failed" in page.html
    assert "majority 20.0" in page.html
    assert "2 of 2 tasks" not in page.html
    assert "3 of 3" not in page.html
    assert page.parts["all"] == len(page.html.encode())


def test_every_number_of_a_table_names_its_records(page: report.Page, folder: Path) -> None:
    data = records(page.html)
    frame = load(folder)
    assert data["records"]["n"] == len(frame) == 15 * 3 - 2
    table = page.html[page.html.index('id="table-vtab"') : page.html.index('id="bars"')]
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    first = next(row for row in rows if "ViT-mini" in row)
    refs = re.findall(r'data-r="([\d,-]+)">([^<]*)<', first)
    assert [text for _, text in refs][:2] == ["50.2 ± 0.4", "51.2 ± 0.4"]
    value = data["records"]["columns"]["value"]
    values = value.get("x") or [value["v"][i] for i in value["i"]]
    assert [values[int(place)] for place in refs[0][0].split("-")] == [50, 50.5]
    assert len(refs) == 5 + 2 + 2  # tasks, groups, and both means, of which 5 of 9 tasks are there


def test_what_a_model_is_called_can_do_nothing(page: report.Page) -> None:
    elements = Elements(page.html)
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)
    assert "&lt;script&gt;" in page.html
    assert EVIL not in page.html
    data, script = elements.scripts
    assert EVIL in json.dumps(json.loads(data), ensure_ascii=False)
    policy = next(a["content"] for t, a in elements.found if t == "meta" and a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_the_page_names_no_address_to_fetch(page: report.Page) -> None:
    for tag, attributes in Elements(page.html).found:
        for name in ("src", "href", "xlink:href", "action", "data"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or not value, f"<{tag} {name}={value}>"
    assert "@import" not in page.html
    assert not re.search(r"url\((?!#)", page.html)


def test_ids_are_unique_and_labels_lead_somewhere(page: report.Page) -> None:
    elements = Elements(page.html).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in elements:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
    headings = [attributes for tag, attributes in elements if tag == "th"]
    assert all(one.get("scope") in ("col", "row") for one in headings)
    assert sum(tag == "caption" for tag, _ in elements) == sum(tag == "table" for tag, _ in elements)


def test_the_same_records_give_the_same_bytes(page: report.Page, folder: Path, tmp_path: Path) -> None:
    assert report.make(asked(folder)).html == page.html
    out = tmp_path / "page.html"
    report.save(page, out)
    assert out.read_text(encoding="utf-8") == page.html
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_versions_that_differ_and_questions_that_differ_are_said(folder: Path, tmp_path: Path) -> None:
    other = asked(run(tmp_path / "other", models=("ViT-mini",))).sources[0]
    newer = replace(other, frame=other.frame.assign(**{"env.torch": "2.15", "device": "one GPU"}))
    made = report.make(replace(asked(folder), sources=(*asked(folder).sources, newer)))
    assert "device is cpu and one GPU; torch is 2.14 and 2.15" in made.html
    question = other.frame["question"].str.replace("1000 images", "800 images")
    asks = replace(other, frame=other.frame.assign(question=question, started_at="2027"))
    mixed = report.make(replace(asked(folder), sources=(*asked(folder).sources, asks)))
    assert any("do not answer the same question" in note for note in mixed.notes)
    assert 'id="table-vtab"' not in mixed.html
    assert 'id="bars"' not in mixed.html


def test_numbers_that_do_not_fit_are_left_out_and_counted(folder: Path) -> None:
    frame, runs = asked(folder).frame()
    wanted = list(frame["measurement"][-4:-1])
    numbers = Numbers(frame, runs, asked(folder).sources, first=wanted)
    whole = len(numbers.text)
    assert numbers.left_out == ""
    numbers.fit(whole // 2)
    assert len(numbers.text) <= whole // 2
    assert 0 < numbers.kept < len(frame)
    assert numbers.left_out.startswith(f"{len(frame) - numbers.kept} of {len(frame)} numbers are left out")
    assert numbers.refs(wanted).count("-") == 1  # those that tables show stay, side by side
    assert numbers.refs(["unknown/0"]) == ""


def test_a_figure_stands_in_a_page_beside_others() -> None:
    svg = (
        '<?xml version="1.0"?>\n<svg width="10pt" height="5pt" viewBox="0 0 10 5" version="1.1">\n'
        " <metadata>x</metadata>\n"
        ' <defs>\n  <style type="text/css">*{a: b}</style>\n </defs>\n <g id="a">\n  <use xlink:href="#m"/>\n'
        '  <path clip-path="url(#p)"/>\n </g>\n</svg>\n'
    )
    body, width = inline(svg, "f1")
    assert width == 10
    assert body.startswith('<svg viewBox="0 0 10 5"')
    assert 'id="f1-a"' in body
    assert 'xlink:href="#f1-m"' in body
    assert "url(#f1-p)" in body
    assert "metadata" not in body
    assert "style" not in body


@pytest.mark.slow
def test_a_baseline_that_nothing_shows_is_said(tmp_path: Path) -> None:
    alone = asked(run(tmp_path / "alone", models=("ViT-mini",)), baseline="ViT-mini")
    assert contests(alone.frame()[0], alone)[1][-1] == "baseline=ViT-mini has no effect: no table of ranks is shown"


@pytest.mark.slow
def test_of_two_runs_a_job_that_one_skipped_is_the_others(folder: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    for cell in Store(folder).cells():
        records = tuple(replace(one, status="skipped", metric="", error="no data") for one in cell.records[:1])
        other.put(replace(cell, status="skipped", records=records))
    frame, runs = asked(folder, other.folder).frame()
    assert (len(frame), set(runs), "skipped" in set(frame["status"])) == (len(load(folder)), {0}, False)
    frame, runs = asked(other.folder, folder).frame()
    assert (len(frame), set(runs), "skipped" in set(frame["status"])) == (len(load(folder)), {1}, False)


def test_what_cannot_be_made_or_written_is_said(folder: Path, page: report.Page, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UsageError, match=r"out=page\.pdf: a report is written as \.html, for example out=page\.html"):
        report.save(page, Path("page.pdf"))
    with pytest.raises(UsageError, match="there is no folder nowhere"):
        report.save(page, Path("nowhere/page.html"))
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        report.save(page, tmp_path / "taken.html")
    empty = asked(folder)
    frame = empty.sources[0].frame[:0]
    with pytest.raises(UsageError, match="mini: there are no records to report yet"):
        report.make(replace(empty, sources=(replace(empty.sources[0], frame=frame),)))
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UsageError, match=re.escape("not installed here: pip install -e '.[report]'")):
        report.make(asked(folder))
