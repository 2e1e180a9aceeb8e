"""The README and the pages of docs/: every command that they show runs, or says why it is not run; the parts that the
site takes from the code are whole; and every file that is no text has its licence stated."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from vit_bench.bench import cli
from vit_bench.registry import UsageError
from vit_bench.results.record import Record
from vit_bench.suites import suites

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
OURS = re.compile(r"(?:python -m (?:bench|vit_bench)|vit-bench) ")

# Commands that are not run here, by what they begin with, and why. Of `run` the words are planned: read, selected and
# looked for on the machine. All others are run as they are.
NOT_RUN = {
    r"python -m venv|source ": "set up an environment; .ci/run does",
    r"pip ": "needs a network; .ci/run and tests/test_wheel.py install",
    r"pytest|\.ci/run|tests/gpu/run\.sh|\w+=\S+ (\w+=\S+ )?tests/gpu/run\.sh": "the tests themselves",
    r"trackio show": "serves a page, and is trackio's",
    r"python -c ": "needs kept weights of hours of training",
    r"mkdocs|python docs/write_outputs\.py": "builds the site, as .ci/run does; writes its pictures",
    OURS.pattern + r"(verify real|weights download|data prepare)": "needs a network",
    OURS.pattern + r"verify ViT": "needs ImageNet",
}


def commands(page: Path) -> Iterator[str]:
    """The commands in the page's blocks of code, and those of ours in its sentences, without what they stand for."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        lines = block.replace("\\\n", "").splitlines()
        yield from (line for line in lines if line.strip() and not line.startswith("#"))
    for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE):
        lines = re.sub(r"\n {10,}", " ", block).splitlines()  # a command goes on in a line that is far to the right
        typed = [line.strip().removeprefix("$ ") for line in lines]
        yield from (line for line in typed if OURS.match(line) and not re.search(r"…|\.\.\.|=YOURS\b", line))
    for span in re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)):
        span = " ".join(span.split())
        if OURS.match(span) and not re.search(r"…|\.\.\.|\[|--| (VERB|[A-Z]+\b(?!/))", span):
            yield span


def reason(command: str) -> str:
    return next((why for start, why in NOT_RUN.items() if re.match(start, command)), "")


def words_of(command: str) -> list[str]:
    words = shlex.split(command.partition(" > ")[0], comments=True)
    return words[1:] if words[0] == "vit-bench" else words[3:]


ALL = {page.relative_to(ROOT).as_posix(): list(commands(page)) for page in PAGES}


def test_every_command_is_one_of_ours_or_says_why_it_is_not_run() -> None:
    shown = [command for found in ALL.values() for command in found]
    assert len(shown) > 100
    for command in shown:
        assert reason(command) or words_of(command)[0] in cli.VERBS, command
    assert [start for start in NOT_RUN if not any(re.match(start, command) for command in shown)] == []


# What the commands speak of, in small: models and files of a user's own, a folder of images, and runs of other days.

A_MODEL = """
import torch

class Small(torch.nn.Module):
    input = {"size": (32, 32)}
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.ModuleDict({"norm": torch.nn.AdaptiveAvgPool2d(2)})
        self.head = torch.nn.Linear(12, 5)
    def forward(self, images):
        return self.head(self.encoder["norm"](images).flatten(1))

builder = Small
"""
OLD = ("internals", "classify")  # of tests/data/old_runs
PHOTOS = "suite=fewshot task=folder:photos shots=1,2"
RUNS = (
    "suite=vtab-mini task=digits model=ViT-mini,BiT-mini weights=random",
    "suite=vtab-mini task=digits model=BiT-mini weights=fractals",
    f"{PHOTOS} model=ViT-mini,BiT-mini weights=random",
    f"{PHOTOS} model=path/file.py:builder weights='ckpts/*.ckpt' out=runs/checkpoints",
    "suite=finetune task=digits model=ViT-mini steps=2 batch=4 lr=0.01 seed=0,1 save=weights",
    "suite=pretrain task=fractals:4:20 model=ViT-mini,BiT-mini suite.images=8,16 epochs=1 batch=4 lr=0.01 visits=1 "
    "seed=0,1 probe=fractals:4:20",
    "suite=pretrain task=fractals:4:20 model=BiT-mini suite.images=8 suite.until=1 epochs=1 batch=4 lr=0.01 visits=1 "
    "seed=0,1 probe=fractals:4:20 out=runs/speedrun",
    "suite=pretrain task=fractals:4:20 model=ViT-mini suite.images=8 suite.objective=masked_patch epochs=1 batch=4 "
    "lr=0.01 visits=1 seed=0 probe=none out=runs/masked",
    "suite=finetune task=digits model=ViT-mini,BiT-mini weights='runs/pretrain/kept/*/seed0.safetensors' recipe=short "
    "steps=2 batch=4 lr=0.01 seed=0",
    "suite=throughput model=ViT-mini,BiT-mini suite.image_size=64 suite.scenario=offline max_seconds=0.1 "
    "min_seconds=0.1 ceilings=false",
    "suite=nearest-mean include=. model=model.py:Thumbnail,ViT-mini",
)
COPIES: dict[str, tuple[str, ...]] = {  # files and run directories by the names of the pages
    "runs/fewshot": ("runs/before", "runs/after"),
    "runs/finetune": ("A", "B"),
    "runs/pretrain": ("runs/crossover-cpu",),
    "runs/vtab-mini/results.csv": ("other",),
    "runs/speedrun": ("runs/yours",),
    "runs/finetune/kept/*/*.safetensors*": (
        "runs/finetune/kept/KEY/NAME.safetensors",
        "runs/finetune/kept/KEY/ViT-mini-digits-seed0.safetensors",
        "runs/finetune/kept/KEY/ViT-B-16-moths-seed0.safetensors",
        "kept.safetensors",
    ),
    "runs/masked/kept/*/seed0.safetensors*": ("w/masked.safetensors",),
}
# Commands that end with exit code 1 here, and what their page says of it.
ENDS_WITH_1 = {"python -m bench data verify": "exit code 1 if one differs or is not here"}
# What a command may lack here: the published images, and runs on them. Its words were read then.
LACKING = re.compile(r" *(?:\d+ mistakes:$|no data for|there is no run directory or CSV file at runs/vtab)")


def type_in(*words: str) -> str:
    """What a command says is wrong with it, if anything; also that it ends with an exit code."""
    try:
        code = cli.app(cli.as_words(words), standalone_mode=False)
    except UsageError as error:
        return "\n".join(line for line in str(error).splitlines() if not LACKING.match(line))
    return f"ends with exit code {code}" if code else ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Path:
    """A folder with everything that the pages' commands and Python name."""
    top = tmp_path_factory.mktemp("world")
    lay_out(top)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(session_cache))
        enter(top, patch)
        for words in RUNS:
            assert not type_in("run", *shlex.split(words), "device=cpu")
        copy_to_the_pages_names()
        assert not type_in("run", *shlex.split(f"{PHOTOS} model=ViT-mini weights=w/masked.safetensors device=cpu"))
    return top


def enter(top: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(top)
    patch.syspath_prepend(top)
    patch.setenv("HOME", str(top))


def lay_out(top: Path) -> None:
    import torch

    for place in ("path/file.py", "package/module.py"):
        (top / place).parent.mkdir()
        (top / place).write_text(A_MODEL)
    shutil.copytree(ROOT / "examples" / "own", top, dirs_exist_ok=True)
    for folder in ("photos", "newphotos", "examples/own/shapes"):
        shutil.copytree(ROOT / "examples" / "own" / "shapes", top / folder)
    namespace: dict[str, Any] = {}
    exec(A_MODEL, namespace)
    (top / "ckpts").mkdir()
    for name in ("epoch=1-step=40", "epoch=2-step=80"):
        torch.save(namespace["Small"]().state_dict(), top / "ckpts" / f"{name}.ckpt")
    for name in OLD:
        shutil.copytree(ROOT / "tests" / "data" / "old_runs" / name, top / "runs" / name)


def copy_to_the_pages_names() -> None:
    for pattern, names in COPIES.items():
        found = sorted(Path().glob(pattern))[:2]  # of weights, a file and its sidecar
        assert found
        for source, name in product(found, names):
            copy = Path(name + source.suffix.replace(".safetensors", "") if source.is_file() else name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy)


@pytest.mark.slow
def test_every_command_runs_or_is_planned(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(world, monkeypatch)
    shown = [(command, page) for page, found in ALL.items() for command in found if not reason(command)]
    failed = {}
    for command, page in dict(shown).items():
        verb, *words = words_of(command)
        wrong = type_in("plan" if verb == "run" else verb, *words)
        told = [text for start, text in ENDS_WITH_1.items() if command.startswith(start)]
        if wrong and not (wrong == "ends with exit code 1" and told and told[0] in (ROOT / page).read_text("utf-8")):
            failed[command] = wrong
    assert not failed, "\n".join(f"{command}\n  {wrong}" for command, wrong in failed.items())


PYTHON = {  # the Python of every page, block by block
    f"{page.relative_to(ROOT).as_posix()} {number}": block
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.M), 1)
}
IN_PLACE_OF = {  # what needs a network or is another's, and what runs here
    '"ViT-B/16", "in21k"': '"ViT-mini", "random"',
    '"timm:vit_base_patch16_dinov3.lvd1689m", "timm:resnetv2_50x1_bit.goog_in21k"': '"ViT-mini", "BiT-mini"',
    '"/data/moths"), name="moths", division="800/200"': '"photos"), name="moths"',  # 1000 images and more
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PYTHON)
def test_the_pages_python_runs(place: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    enter(world, monkeypatch)
    from path.file import Small  # pyright: ignore[reportMissingImports]  # A_MODEL

    block = PYTHON[place]
    for shown, here in IN_PLACE_OF.items():
        block = block.replace(shown, here)
    features, labels = torch.randn(40, 4), torch.arange(40) % 10
    names = {"my_module": Small(), "first": Small(), "second": Small()}
    exec(block, names | dict.fromkeys(("x_train", "x_test"), features) | dict.fromkeys(("y_train", "y_test"), labels))


def test_what_stands_in_place_of_python_is_in_a_page() -> None:
    assert [shown for shown in IN_PLACE_OF if not any(shown in block for block in PYTHON.values())] == []


def generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated_parts", DOCS / "generated_parts.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_site_explains_every_setting_and_column() -> None:
    parts = generated()
    for name, suite in suites().items():
        assert f"<!-- settings of {name} -->" in (DOCS / "suites" / f"{name}.md").read_text(encoding="utf-8")
        rows = [line.split(" | ") for line in parts.settings(name).splitlines()[2:]]
        assert {row[0] for row in rows} == {f"| `{item.name}`" for item in fields(suite)}
        assert all(row[-1].strip(" |") for row in rows), name
    rows = [line.split(" | ") for line in parts.columns().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"| `{item.name}`" for item in fields(Record)]
    assert all(row[-1].strip(" |") for row in rows)


def test_a_page_is_given_what_its_comments_ask_for() -> None:
    parts = generated()
    for page in PAGES[1:]:
        file = SimpleNamespace(file=SimpleNamespace(src_uri=page.relative_to(DOCS).as_posix()))
        made = parts.on_page_markdown(page.read_text(encoding="utf-8"), page=file)
        assert not re.search(r"<!-- (the |settings|columns|public|help)", made), page
    assert "::: vit_bench.run" in parts.public_names()
    assert "](verdicts.md)" in parts.readme()
    own = SimpleNamespace(file=SimpleNamespace(src_uri="suites/vtab.md"))
    told = parts.on_page_markdown("[a](../data.md), [b](../../setup.py), [c](../../nowhere.py)", page=own)
    assert told == "[a](../data.md), `setup.py`, [c](../../nowhere.py)"
    assert "format=terminal|github" in parts.verbs()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_every_file_that_is_no_text_has_its_licence_stated() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a clone: what belongs to the project is what git says")
    page = (DOCS / "licences.md").read_text(encoding="utf-8")
    stated = re.findall(r"^\| `([^`]+)`", page.partition("## Not shipped")[0], re.MULTILINE)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pictures = (".svg", ".png", ".jpg", ".gif")
    shipped = [
        name
        for name in listed.splitlines()
        if (ROOT / name).is_file() and (name.endswith(pictures) or b"\0" in (ROOT / name).read_bytes()[:4096])
    ]
    assert len(shipped) > 40
    assert [name for name in shipped if not any(fnmatch(name, pattern) for pattern in stated)] == []
    assert [pattern for pattern in stated if not any(fnmatch(name, pattern) for name in shipped)] == []
