"""Names with commas, equals signs, spaces, quotes and any Unicode go round: typed, YAML, repeated, from Python."""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner
from vit_bench.bench import api
from vit_bench.bench.api import run
from vit_bench.bench.cli import app
from vit_bench.bench.config import read, read_file
from vit_bench.bench.plan import make_plan
from vit_bench.bench.reproduce import run_commands
from vit_bench.bench.words import as_typed, text_of
from vit_bench.models import create_model
from vit_bench.registry import UsageError
from vit_bench.results.record import Cell, Record, read_variant, variant_of

CHARACTERS = ",,,===  ''\"\"${}[]#&*!|>%@`~^\\:;?-+.\t\n\r\x85\u00a0\u2028\ufeff\x1b\x7fàé한\U0001f600e\u0301abcnull01"
PICKED = [
    "lr=0.1,wd=0.05",
    'a"b',
    '"a"',
    '"a',
    'a,"b"',
    " lead",
    "trail ",
    "${x}",
    "a${b",
    "null",
    "1e5",
    "- x",
    "a: b",
    "é\x85",
]


def hostile(count: int) -> list[str]:
    draw = random.Random(0)
    return PICKED + ["".join(draw.choices(CHARACTERS, k=draw.randint(1, 12))) + "x" for _ in range(count)]


def cell_of(weights: str, **changes: str) -> Cell:
    record = Record(suite="fewshot", model="ViT-mini", task="digits", weights=weights, metric="top1", **changes)
    return Cell(key="0" * 16, slot="0" * 16, order=(), identity={}, status="ok", started_at="2026", records=(record,))


def test_lists_go_round(tmp_path: Path) -> None:
    names = hostile(120)
    for first, second in zip(names, names[::-1], strict=True):
        paths = (f"/w/{first}/step1.safetensors", f"{second}.pt")
        typed = f"weights={as_typed(list(paths))}"
        assert read([typed]).weights == paths
        config = read([typed, f"out=/runs/{first}", f"include={as_typed([second])}", f"model.note={first}"])
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.describe(), sort_keys=False), encoding="utf-8")
        again = read([f"config={tmp_path / 'config.yaml'}"])
        assert (again.weights, again.out, again.include) == (config.weights, config.out, config.include)
        assert again.model_settings == {"note": first}
        assert read([f"weights={text_of('weights', list(paths))}"]).weights == paths
        assert read([f"weights={text_of('weights', Path(paths[0]), several=True)}"]).weights == (str(Path(paths[0])),)
        assert read(api._models([f"/m/{first}.py:net", "ViT-mini"])[0]).model == (f"/m/{first}.py:net", "ViT-mini")


def test_the_command_that_repeats_goes_round() -> None:
    for name in hostile(100):
        note = f"/w/{name} b=c"
        cell = cell_of(f"/w/{name}.pt", variant=variant_of([("note", note), ("depth", "2")]))
        config = {"include": as_typed([name]), "data": f"/d/{name}"}
        (line,) = run_commands([cell], config, f"/runs/{name}")
        words = shlex.split(line)
        assert words[:4] == ["python", "-m", "bench", "run"]
        typed = read(words[4:])
        assert (typed.weights, typed.out, typed.data) == ((f"/w/{name}.pt",), Path(f"/runs/{name}"), Path(f"/d/{name}"))
        assert typed.include == (Path(name),)
        assert typed.model_settings == {"note": note, "depth": "2"}


def test_variants_of_before_are_read_as_ever() -> None:
    assert read_variant("depth=2 pool=gap") == {"depth": "2", "pool": "gap"}
    assert read_variant("image_size=(64, 64) note=a,b c") == {"image_size": "(64, 64)", "note": "a,b c"}
    assert variant_of([("depth", "2"), ("note", "a,b c")]) == "depth=2 note=a,b c"
    assert read_variant("") == {}


def test_a_quotation_mark_that_is_not_closed_is_said() -> None:
    for text in ('"a,b', 'a,"b', '"a"b', '"a""'):
        with pytest.raises(UsageError, match="a quotation mark is not closed"):
            read([f"weights={text}"])
    with pytest.raises(UsageError, match="empty item"):
        read(["weights=a,,b"])


def test_a_key_twice_in_yaml_is_said(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("suite: vtab\nsuite: fewshot\n")
    with pytest.raises(UsageError, match="suite is there twice"):
        read_file(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("")
    assert read_file(tmp_path / "c.yaml") == {}


@pytest.mark.slow
def test_a_run_with_hostile_paths_is_repeated_by_its_command(tmp_path: Path) -> None:
    folder = tmp_path / "lr=0.1, [wd='5' \"é\" ${x"
    folder.mkdir()
    file = folder / "step 1,2.safetensors"
    save_file(dict(create_model("ViT-mini").state_dict()), file)
    frame = run(
        "suite=fewshot", "model=ViT-mini", "task=digits", "draws=2", shots=[1], weights=[file], out=folder / "out"
    )
    assert set(frame["status"]) == {"ok"}
    assert set(frame["weights"]) == {str(file)}
    shown = CliRunner().invoke(app, ["explain", str(folder / "out"), frame["measurement"][0]])
    start = shown.output.index("python -m bench run")
    words = shlex.split(shown.output[start:].splitlines()[0])[4:]
    assert make_plan(read(words)).with_state("reuse")
    typed = [f"config={folder / 'out' / 'config.yaml'}"]
    assert make_plan(read(typed)).with_state("done")
