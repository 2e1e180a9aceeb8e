"""Words into settings: nothing is ignored, every mistake is named, YAML and the environment are below the words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from vit_bench.bench.config import apply, read
from vit_bench.bench.plan import make_plan
from vit_bench.bench.words import read_value
from vit_bench.registry import UsageError


@dataclass(frozen=True, kw_only=True)
class Probe:
    name: ClassVar[str] = "probe"
    shots: tuple[int, ...] = (1, 5)
    l2: tuple[float, ...] = (1024.0,)
    size: int | None = None
    rule: Literal["fixed", "chosen"] = "fixed"


@dataclass(frozen=True, kw_only=True)
class Speed:
    name: ClassVar[str] = "speed"
    compile: bool = False


def test_words_select_and_set() -> None:
    config = read(
        ["suite=fewshot,vtab", "model=*", "task=digits", "suite.l2=512", "shots=5", "model.depth=8", "out=r/x"]
    )
    assert config.suite == ("fewshot", "vtab")
    assert config.model == ("*",)
    assert config.out == Path("r/x")
    assert config.settings == {"l2": "512", "shots": "5"}
    assert config.model_settings == {"depth": "8"}


def test_a_value_may_hold_an_equals_sign() -> None:
    assert read(["suite=vtab", "data=a=b"]).data == Path("a=b")


def test_later_words_win() -> None:
    assert read(["suite=vtab", "batch_size=1", "batch_size=2"]).batch_size == 2


def test_a_bare_name_is_the_suites_own_where_one_suite_is_selected_that_has_it() -> None:
    config = read(["suite=speed", "batch_size=8,16", "model=ViT-mini"])  # speed: throughput
    assert (config.batch_size, config.settings) == (64, {"batch_size": "8,16"})
    assert config.origin["suite.batch_size"] == "command"
    assert config.describe()["suite.batch_size"] == "8,16"
    assert read(["suite=fewshot", "batch_size=8"]).batch_size == 8
    assert read(["suite=fewshot,throughput", "suite.batch_size=8"]).batch_size == 64
    with pytest.raises(
        UsageError,
        match=r"^batch_size=8 has two meanings here: type suite\.batch_size=8 for what suite=throughput asks, or run "
        "suite=fewshot by itself$",
    ):
        make_plan(read(["suite=fewshot,throughput", "batch_size=8", "model=ViT-mini"]))


def test_mistakes_of_words_and_of_suites_are_told_together() -> None:
    with pytest.raises(UsageError) as told:
        read(["suite=fewshot", "batch_size=0", "shots=x", "batc=2", "pooling"])
    assert str(told.value).splitlines()[0] == "4 mistakes:"
    assert "batch_size=0: a batch holds" in str(told.value)
    assert "suite.shots=x: 'x' is not a whole number" in str(told.value)
    assert "no selected suite (fewshot) has a setting 'batc'" in str(told.value)
    assert "'pooling' is not a setting" in str(told.value)


def test_settings_reach_the_suites_that_have_them() -> None:
    config = read(["suite=x", "shots=5", "suite.compile=true"])
    probe, speed = apply(config, [Probe(), Speed()])
    assert (probe, speed) == (Probe(shots=(5,)), Speed(compile=True))


@pytest.mark.parametrize(
    ("text", "number"), [("10^3", 1000), ("2**10", 1024), ("10^-1", 0), ("10^99", 0), ("1^9999", 0)]
)
def test_a_whole_number_may_be_a_power(text: str, number: int) -> None:
    if number:
        assert [one.shots for one in apply(read(["suite=x", f"shots={text}"]), [Probe()])] == [(number,)]
        return
    with pytest.raises(UsageError, match=r"is not a whole number \(10\^6 is one, too\)"):
        apply(read(["suite=x", f"shots={text}"]), [Probe()])


def test_a_comma_list_is_a_tuple_or_a_sweep() -> None:
    config = read(["suite=x", "l2=1,2^10", "size=64,none", "rule=fixed,chosen"])
    assert apply(config, [Probe()]) == [
        Probe(l2=(1.0, 1024.0), size=size, rule=rule) for size in (64, None) for rule in ("fixed", "chosen")
    ]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("shot=5", r"no selected suite \(probe\) has a setting 'shot'\. Did you mean 'shots'\?"),
        ("suite.shots=five", r"suite\.shots=five: 'five' is not a whole number"),
        ("l2=1,,2", r"suite\.l2=1,,2: there is an empty item between the commas"),
        ("rule=fixd", r"suite\.rule=fixd: Did you mean 'fixed'\?"),
        ("modle=ViT", r"has a setting 'modle'\. Did you mean 'model'\?"),
        ("size=big", r"suite\.size=big: 'big' is not a whole number"),
    ],
)
def test_what_no_suite_takes_is_an_error_that_names_the_nearest(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        apply(read(["suite=x", word]), [Probe()])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["suite"], r"'suite' is not a setting: settings are key=value"),
        (["suite="], r"'suite=' says no value for suite"),
        (["=vtab"], r"'=vtab' is not a setting"),
        (["batch_size=many"], r"batch_size=many: 'many' is not a whole number"),
        (["batch_size=0"], r"batch_size=0: a batch holds at least one image"),
        (["models.depth=3"], r"there is no setting 'models\.depth'\. Did you mean 'model\.X'"),
        (["config=nowhere.yaml"], r"config=nowhere\.yaml: there is no such file"),
    ],
)
def test_words_that_cannot_be_read(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(words)


def test_a_file_says_the_same_keys_and_words_win(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("suite: fewshot\nmodel: [A, B]\nsuite.l2: [1, 2.5]\nbatch_size: 1\nsource: null\n")
    config = read(["batch_size=8", f"config={tmp_path / 'a.yaml'}"])
    assert (config.suite, config.model, config.batch_size, config.source) == (("fewshot",), ("A", "B"), 8, None)
    assert config.settings == {"l2": "1,2.5"}
    assert config.origin["batch_size"] == "command"
    assert config.origin["model"] == f"file {tmp_path / 'a.yaml'}"


def test_a_file_that_ships_is_found_from_every_folder_but_a_file_there_wins(tmp_path: Path) -> None:
    assert read(["config=bench/gpu_throughput.yaml"]).suite == ("throughput",)  # the working folder is empty
    with pytest.raises(UsageError, match=r"config=gpu_throughput\.yaml: there is no such file"):
        read(["config=gpu_throughput.yaml"])
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "gpu_throughput.yaml").write_text("suite: fewshot\n")
    assert read(["config=bench/gpu_throughput.yaml"]).suite == ("fewshot",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suite: {l2: 5}", "write them flat"),
        ("- a\n- b", "expected keys and values"),
        ("a: [1", "not readable as YAML"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read([f"config={tmp_path / 'a.yaml'}"])


def test_what_describe_says_reads_back_the_same(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    config = read(["suite=fewshot", "model=A,B", "out=x", "l2=1,2", "model.depth=4", "batch_size=3"])
    OmegaConf.save(OmegaConf.create(config.describe()), tmp_path / "config.yaml")
    again = read([f"config={tmp_path / 'config.yaml'}"])
    assert again.describe() == config.describe()


def test_the_environment_says_where_data_is_and_words_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "somewhere")
    assert read(["suite=vtab"]).data == Path("somewhere")
    assert read(["suite=vtab", "data=else"]).data == Path("else")


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [("2^10", float, 1024.0), ("2**-3", float, 0.125), ("1e-3", float, 1e-3), ("yes", bool, True), ("0", bool, False)],
)
def test_values(text: str, hint: type, value: object) -> None:
    assert read_value("x", text, hint) == value


def test_none_is_a_choice_where_a_field_has_it_as_one_and_else_leaves_the_field_empty() -> None:
    hint = Literal["bit", "none"] | None
    assert [read_value("crop", text, hint) for text in ("none", "null", "bit")] == ["none", None, "bit"]
    assert read_value("size", "none", int | None) is None
