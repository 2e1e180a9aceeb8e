"""The words of every verb: all mistakes of a command are told together, and help shows every option as it is read."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pytest
from typer.testing import CliRunner
from vit_bench.bench.cli import VERBS, app, load
from vit_bench.bench.config import Config, read
from vit_bench.bench.verbs import cache, compare, data, export, figure, import_, predict, report, table, verify, weights
from vit_bench.bench.verbs.command import both, listed, read_runs, read_words
from vit_bench.bench.verbs.explain import FIELDS
from vit_bench.bench.verify import replay
from vit_bench.bench.words import Mistakes, Several, at_least, option, options
from vit_bench.registry import UsageError
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store
from vit_bench.suites.protocol import Precision

Size = Literal["small", "large"]


@dataclass(frozen=True, kw_only=True)
class Fruit:
    """An example of options."""

    size: Size = option("small", "how large")
    count: int = option(3, "how many", check=at_least(1, "take one at least"))
    ripe: bool = option(True, "whether to wait")
    out: Path | None = option(None, "where to", shown="BASKET")
    tags: tuple[str, ...] = option((), "what is on it")
    origin: str = ""  # no option


def test_words_are_options_and_names_and_later_words_win() -> None:
    words = ["a", "count=many", "b", "tags=x,y", "count=4", "out=p=q", "ripe=no"]
    assert read_words(words, Fruit, "fruit", name=str.upper) == (
        ["A", "B"],
        Fruit(count=4, tags=("x", "y"), out=Path("p=q"), ripe=False),
    )


def test_a_word_with_an_equals_sign_that_is_a_path_on_disk_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "lr=0.1").mkdir()
    (tmp_path / "size=large").mkdir()
    assert read_runs(["lr=0.1", "size=large", "count=2"], Fruit, "fruit") == (
        [Path("lr=0.1"), Path("size=large")],
        Fruit(count=2),
    )
    assert read_words(["size=large"], Fruit, "fruit", name=str) == ([], Fruit(size="large"))
    title = f"tags={'x' * 5000}"  # no name of a file
    assert read_runs([title], Fruit, "fruit")[1].tags == ("x" * 5000,)


def test_a_single_mistake_is_told_in_its_own_words_and_several_a_line_each() -> None:
    with pytest.raises(UsageError) as single:
        read_runs(["cuont=2"], Fruit, "fruit")
    assert str(single.value) == "fruit has no setting 'cuont'. Did you mean 'count'?"
    with pytest.raises(Several) as several:
        read_runs(["nowhere", "cuont=2", "out=", "size=huge", "count=0", "ripe=perhaps", "tags=a,,b"], Fruit, "fruit")
    assert str(several.value).splitlines() == [
        "7 mistakes:",
        "  there is no run directory or CSV file at nowhere",
        "  fruit has no setting 'cuont'. Did you mean 'count'?",
        "  'out=' says no value for out",
        "  size=huge: Choose from: small, large",
        "  count=0: take one at least",
        "  ripe=perhaps: 'perhaps' is not true or false",
        "  tags=a,,b: there is an empty item between the commas",
    ]


def test_mistakes_of_two_readings_are_joined_and_other_errors_are_not_kept_back() -> None:
    def wrong(text: str) -> str:
        raise UsageError(text)

    def two() -> str:
        mistakes = Mistakes()
        mistakes.note("b")
        mistakes.note("c")
        mistakes.note("b")  # for another reason
        mistakes.tell()
        return ""

    with pytest.raises(Several) as raised:
        both(lambda: wrong("a"), two)
    assert raised.value.mistakes == ("a", "b", "c")
    assert both(lambda: 1, lambda: "x") == (1, "x")
    with pytest.raises(ZeroDivisionError):
        both(lambda: 1 / 0, two)


def test_help_is_made_of_what_is_declared() -> None:
    assert listed(Fruit).splitlines() == [
        "- `size=small|large`: how large (default: `small`)",
        "- `count=N`: how many (default: `3`)",
        "- `ripe=false`: whether to wait",
        "- `out=BASKET`: where to",
        "- `tags=TEXT`: what is on it",
    ]
    assert listed(Fruit, ["tags"]) == "- `tags=TEXT`: what is on it"


DECLARED = {
    "list": ("include",),
    "run": tuple(options(Config)),
    "plan": tuple(options(Config)),
    "table": tuple(options(table.TableOptions)),
    "figure": tuple(options(figure.FigureOptions)),
    "compare": tuple(options(compare.CompareOptions)),
    "verify": tuple(options(verify.VerifyOptions)),
    "report": tuple(options(report.ReportOptions)),
    "export": tuple(options(export.ExportOptions)),
    "import": tuple(options(import_.ImportOptions)),
    "cache list": tuple(options(cache.CacheOptions)),
    "cache clear": tuple(options(cache.ClearOptions)),
    "weights list": tuple(options(weights.ListOptions)),
    "data list": data.OPTIONS,
    "data verify": data.OPTIONS,
    "data prepare": data.PREPARE,
    "explain": FIELDS,
    "predict": tuple(options(predict.PredictOptions)),
}
WITHOUT_OPTIONS = {"weights download", "weights inspect", "weights convert"}


def test_every_verb_is_here() -> None:
    commands = {name: load(name) for name in VERBS}
    verbs = {name for name, command in commands.items() if not hasattr(command, "commands")}
    verbs |= {f"{name} {one}" for name, command in commands.items() for one in getattr(command, "commands", ())}
    assert verbs == {*DECLARED, *WITHOUT_OPTIONS}


@pytest.mark.parametrize("verb", DECLARED)
@pytest.mark.parametrize("columns", ["80", "160"])
def test_help_shows_each_option(verb: str, columns: str) -> None:
    done = CliRunner().invoke(app, [*verb.split(), "--help"], env={"COLUMNS": columns, "TERM": "dumb"})
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= int(columns)
    for name in DECLARED[verb]:
        assert f" {name}=" in done.output, name


def test_what_is_passed_on_has_the_choices_and_defaults_of_what_takes_it() -> None:
    own, run = options(verify.VerifyOptions), options(Config)
    assert get_args(own["precision"].kind) == get_args(Precision)
    shared = [name for name in verify.PASSED if name != "precision"]
    assert [own[name] for name in shared] == [run[name] for name in shared]
    assert set(own) >= set(verify.PASSED)


WRONG = {
    "run": (["run", "vtab", "suite=", "batch_size=0", "models.depth=2", "division=half", "config=none.yaml"], [
        "'vtab' is not a setting: settings are key=value, for example suite=vtab model=ViT-mini",
        "'suite=' says no value for suite",
        "config=none.yaml: there is no such file",
        "there is no setting 'models.depth'. Did you mean 'model.X'?",
        "batch_size=0: a batch holds at least one image",
        "division=half: Choose from: own, 800/200",
    ]),
    "settings of a suite": (["plan", "suite=fewshot,internals", "shos=1", "shots=many", "modle=x", "precision=fp64"], [
        "no selected suite (fewshot, internals) has a setting 'shos'. Did you mean 'shots'?",
        "no selected suite (fewshot, internals) has a setting 'modle'. Did you mean 'model'?",
        "suite.shots=many: 'many' is not a whole number (10^6 is one, too)",
        "suite.precision=fp64: Choose from: fp32, bf16",
    ]),
    "names of a plan": (["plan", "suite=fewshott,finetun"], [
        "there is no suite 'fewshott'. Did you mean 'fewshot'?",
        "there is no suite 'finetun'. Did you mean 'finetune'?",
    ]),
    "what a plan selects": (
        ["plan", "suite=fewshot", "shots=-1", "task=digitz,photoz", "model=ViT-mini,ViT-mni", "division=800/200"], [
        "division says how to divide a folder of images, and no task=folder:PATH is named",
        "suite.shots=-1: images a class are whole numbers from 1 up, or 0 for all",
        "there is no task 'digitz'. Did you mean 'digits'?",
        "there is no task 'photoz'. Did you mean 'photos'?",
        "there is no model 'ViT-mni'. Did you mean 'ViT-mini' or 'R+ViT-mini' or 'vit_mini'?",
    ]),
    "weights and settings of models": (
        ["plan", "suite=fewshot", "task=digits", "model=ViT-mini", "weights=nope,nap", "model.dpth=3"], [
        "weights=nope: there is no such file. Type a path, or weights=random for the untrained network",
        "weights=nap: there is no such file. Type a path, or weights=random for the untrained network",
        "no selected model has a setting 'dpth'. Did you mean 'depth' or 'width'?",
    ]),
    "table": (["table", "vtba", "nowhere", "fromat=csv", "show=all", "mix=perhaps"], [
        "there is no table 'vtba'. Did you mean 'vtab'?",
        "there is no run directory or CSV file at nowhere",
        "table has no setting 'fromat'. Did you mean 'format'?",
        "show=all: Choose from: ours, published, both, delta",
        "mix=perhaps: 'perhaps' is not true or false",
    ]),
    "figure": (["figure", "55", "shw=ours", "out=f.txt", "task="], [
        "there is no figure '55'. Did you mean '5'?",
        "figure has no setting 'shw'. Did you mean 'show'?",
        "'task=' says no value for task",
        "out=f.txt: a figure is written as .pdf, .png, .svg. Choose from: pdf, png, svg",
    ]),
    "compare": (["compare", "a", "b,c", "fromat=csv", "fail_if=better", "map=x"], [
        "there is no run directory or CSV file at a",
        "there is no run directory or CSV file at b",
        "there is no run directory or CSV file at c",
        "compare has no setting 'fromat'. Did you mean 'format'?",
        "fail_if=better: there is fail_if=worse, missing or worse,missing",
        "map=x: expected OURS:THEIRS with commas, for example map=model:name,value:top1",
    ]),
    "verify": (["verify", "ViT-B/61", "devise=cpu", "sample=10", "tolerance=-1", "precision=fp64", "batch_size=0"], [
        "'ViT-B/61' is neither a model nor a tag. Did you mean 'ViT-B/16' or 'ViT-B/8' or 'ViT-S/16'?",
        "verify has no setting 'devise'. Did you mean 'device'?",
        "sample=10: a diagnosis needs at least 50 images",
        "tolerance=-1: percentage points from 0 up",
        "precision=fp64: Choose from: fp32, bf16",
        "batch_size=0: a batch holds at least one image",
    ]),
    "report": (["report", "nothing", "titel=x", "title=", "out=a.pdf"], [
        "there is no run directory or CSV file at nothing",
        "report has no setting 'titel'. Did you mean 'title'?",
        "'title=' says no value for title",
        "out=a.pdf: a report is written as .html, for example out=a.html",
    ]),
    "export": (["export", "tim", "nothing", "uot=x", "trailer=2"], [
        "there is no format 'tim'. Did you mean 'timm'?",
        "there is no run directory or CSV file at nothing",
        "export has no setting 'uot'. Did you mean 'out'?",
        "trailer=2: '2' is not true or false",
    ]),
    "import": (["import", "timm", "a.csv", "uot=x", "out="], [
        "there is no file or run directory at a.csv",
        "import has no setting 'uot'. Did you mean 'out'?",
        "'out=' says no value for out",
    ]),
    "cache list": (["cache", "list", "odler=3d", "older=soon"], [
        "cache list has no setting 'odler'. Did you mean 'older'?",
        "older=soon: expected a number and m, h, d or w, for example older=30d",
    ]),
    "cache clear": (["cache", "clear", "srue=yes", "sure=maybe", "older=none"], [
        "cache clear has no setting 'srue'. Did you mean 'sure'?",
        "sure=maybe: type sure=yes to remove, or leave it out to see what would go",
        "older=none: expected a number and m, h, d or w, for example older=30d",
    ]),
    "weights list": (["weights", "list", "ViT-B/61", "in21", "fromat=csv", "format=xml"], [
        "'ViT-B/61' is neither a model nor a tag. Did you mean 'ViT-B/16' or 'ViT-B/8' or 'ViT-S/16'?",
        "'in21' is neither a model nor a tag. Did you mean 'in21k'?",
        "weights list has no setting 'fromat'. Did you mean 'format'?",
        "format=xml: Choose from: terminal, csv, json",
    ]),
    "weights download": (["weights", "download", "ViT-B/17:sam", "ViT-H*:sam"], [
        "there is no model 'ViT-B/17'. Did you mean 'ViT-B/16' or 'ViT-B/8' or 'ViT-S/16'?",
        "there are no weights 'sam' of ViT-H/14. There are: in21k. Type one of them",
    ]),
    "data list": (["data", "list", "shots=5", "suorce=raw", "division=half", "model.depth=2"], [
        "`data` has no setting 'shots'. Choose from: data, source, include, task, division, division_seed, range",
        "`data` has no setting 'suorce'. Did you mean 'source'?",
        "`data` has no setting 'model.depth'. Choose from: data, source, include, task, division, division_seed, range",
        "division=half: Choose from: own, 800/200",
    ]),
    "tasks of data": (["data", "verify", "Petz", "SVNH", "task=Kiti"], [
        "there is no task 'Petz'. Did you mean 'pets'?",
        "there is no task 'SVNH'. Did you mean 'svhn'?",
        "there is no task 'Kiti'. Did you mean 'kitti'?",
    ]),
    "data prepare": (["data", "prepare", "Pets", "shots=5", "suit=vtab", "data="], [
        "'data=' says no value for data",
        "`data` has no setting 'shots'. Choose from: suite, data, source, include, task, division, division_seed, "
        "range",
        "`data` has no setting 'suit'. Did you mean 'suite'?",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_every_verb_tells_all_mistakes_together(case: str) -> None:
    words, messages = WRONG[case]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UsageError), done.output
    assert str(done.exception) == "\n  ".join([f"{len(messages)} mistakes:", *messages])


def test_explain_tells_all_columns_that_records_do_not_have(tmp_path: Path) -> None:
    record = Record(suite="fewshot", protocol="ridge", model="M", task="x", metric="top1", value=1.0, unit="percent")
    cell = Cell(
        key="0" * 16, slot="0" * 16, order=(1,), identity={}, status="ok", started_at="2026-01-01", records=(record,)
    )
    Store(tmp_path / "run").put(cell, None)
    done = CliRunner().invoke(app, ["explain", "run", "modle=M", "tsak=x", "metric=top1"])
    assert isinstance(done.exception, Several)
    assert done.exception.mistakes == (
        "records have no 'modle'. Did you mean 'model'?",
        "records have no 'tsak'. Did you mean 'task'?",
    )


def test_data_prepare_takes_all_settings_of_a_run_where_a_suite_is_named() -> None:
    words = ["suite=fewshot", "shots=5", "model=ViT-mini", "device=cpu"]
    assert read(words, verb="`data`", only=data.PREPARE) == read(words)


def test_options_have_no_default_that_their_own_check_refuses() -> None:
    modules = (cache, compare, export, figure, import_, report, table, replay, weights)
    kinds = [kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)
             if kind.__module__ == module.__name__ and kind.__name__.endswith("Options")]  # fmt: skip
    assert len(kinds) == 10
    for one in [one for kind in (*kinds, Config) for one in options(kind).values()]:
        assert one.text
        assert one.default in (None, "") or one.check is None or not one.check(one.default), one.name
