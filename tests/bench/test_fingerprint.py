"""What a job's key covers: the code that runs for its numbers and no more, whatever is only said or moved."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vit_bench.bench import config
from vit_bench.bench import fingerprint as identity
from vit_bench.bench.fingerprint import NOT_COUNTED, ROOT, is_counted, module_of
from vit_bench.bench.job import Job
from vit_bench.bench.plan import make_plan
from vit_bench.bench.progress import Progress
from vit_bench.bench.run import execute
from vit_bench.models import given_model

# A process that is started with this file on its path writes down which files of ours ran in it: throughput's child.
RECORDER = """
import atexit, os, sys, threading
root, out, seen, loading = os.environ["RECORD_ROOT"], os.environ["RECORD_OUT"], set(), threading.local()
loading.depth = 0

def note(frame, event, argument):
    code = frame.f_code
    if code.co_name == "<module>" and frame.f_back.f_code.co_filename.startswith("<frozen importlib"):
        loading.depth = getattr(loading, "depth", 0) + 1
        return until_loaded
    if not getattr(loading, "depth", 0) and code.co_filename.startswith(root):
        seen.add(code.co_filename)

def until_loaded(frame, event, argument):
    loading.depth -= event == "return"
    return until_loaded

def write():
    sys.settrace(None)
    with open(out, "a") as file:
        file.writelines(name + chr(10) for name in seen)
"""
START = """
sys.settrace(note)
threading.settrace(note)
atexit.register(write)
"""


class Recorder:
    """Which modules of ours run, in threads of this process and in those it starts; an import is no run."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.inside: dict[str, Any] = {}
        exec(RECORDER, self.inside)

    @property
    def modules(self) -> set[str]:
        written = self.out.read_text(encoding="utf-8").split() if self.out.exists() else []
        files = {Path(name).relative_to(ROOT).with_suffix("") for name in {*self.inside["seen"], *written}}
        names = {".".join(file.parts).removesuffix(".__init__") for file in files if file.parts[0] != "tests"}
        return names - {"__init__"}


@contextmanager
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    (tmp_path / "recorder").mkdir()
    (tmp_path / "recorder" / "sitecustomize.py").write_text(RECORDER + START, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "recorder"))
    monkeypatch.setenv("RECORD_ROOT", str(ROOT))
    monkeypatch.setenv("RECORD_OUT", str(tmp_path / "ran.txt"))
    recorder = Recorder(tmp_path / "ran.txt")
    threading.settrace(recorder.inside["note"])
    sys.settrace(recorder.inside["note"])
    try:
        yield recorder
    finally:
        sys.settrace(None)
        threading.settrace(None)  # pyright: ignore[reportArgumentType]


def counted(job: Job) -> set[str]:
    """The modules whose code is in a job's key."""
    return identity._closure(job.modules) | {module_of(type(job.suite))}


def job_of(*words: str, given: Any = None) -> Job:
    (job,) = make_plan(config.read(words), given).jobs
    return job


TINY = "task=folder:pictures"
TRAINED = ("steps=2", "batch=4", "seed=0", "image_size=32")
FEWSHOT = ("suite=fewshot", TINY, "shots=1", "seed=0", "image_size=32")
OWN = """
import torch

class Net(torch.nn.Module):
    def features(self, images):
        return images.mean(dim=(2, 3))
"""


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path) -> None:
    """A folder of twenty small images of two classes, so that a job takes no time."""
    for number in range(20):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str, given: Any = None) -> tuple[Job, set[str]]:
    """The one job of a command, and the modules that ran for it, with an empty cache."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    plan = make_plan(config.read([*words, "out=r", "device=cpu"]), given)
    (job,) = plan.jobs
    with recording(tmp_path, monkeypatch) as recorder:
        outcome = execute(plan, Progress(None))
    assert outcome.computed == 1
    assert not outcome.failed, outcome.failed[0].records[0].error
    return job, recorder.modules


def check(job: Job, modules: set[str], *expected: str) -> None:
    assert {"bench.run", "bench.context", *expected} <= modules, "the recorder missed what must have run"
    assert sorted(name for name in modules if is_counted(name) and name not in counted(job)) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            (*FEWSHOT, "model=ViT-mini"),
            ("suites.fewshot", "suites.probes.ridge", "suites.images.features", "models.networks.vit"),
        ),
        (
            (*FEWSHOT, "model=BiT-mini", "protocol=knn"),
            ("suites.probes.knn", "models.networks.bit", "suites.probes.support"),
        ),
        pytest.param(
            ("suite=finetune", TINY, "model=BiT-mini", *TRAINED),
            ("suites.finetune", "suites.training.runs", "suites.training.step"),
            marks=pytest.mark.slow,
        ),
        (
            ("suite=internals", TINY, "model=R+ViT-mini", "images=2", "examples=1"),
            ("suites.probes.attention", "models.networks.hybrid"),
        ),
        ((*FEWSHOT, "model=torchvision:squeezenet1_1", "weights=random"), ("models.external.torchvision",)),
        pytest.param(
            ("suite=vtab-mini", "task=digits", "model=R+ViT-mini", "image_size=32"),
            ("suites.probes.ridge", "suites.sources.miniature.builtin"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("suite=vtab-mini", "task=digits", "model=ViT-mini", "protocol=finetune", *TRAINED),
            ("suites.vtab", "suites.training.paper_recipes", "suites.finetune", "suites.training.loop"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (*FEWSHOT, "model=ViT-mini", "protocol=logistic", "suite.logistic_l2=1"),
            ("suites.probes.logistic",),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (*FEWSHOT, "model=timm:test_vit", "weights=random"),
            ("models.external.timm", "models.external.backbone"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and "=" not in value[0] else "",
)
def test_what_runs_is_in_the_key(
    words: tuple[str, ...], expected: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One small job of every suite and kind of model: each module that runs is in its key, or said not to count."""
    check(*ran(tmp_path, monkeypatch, *words), *expected)


def test_what_runs_for_kept_weights_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("suite=finetune", TINY, "model=ViT-mini", *TRAINED, "save=weights", "out=kept")
    execute(make_plan(config.read(words)), Progress(None))
    (kept,) = Path("kept/kept").glob("*/*seed0.safetensors")
    words = ("suite=classify", TINY, "model=ViT-mini", f"weights={kept}")
    check(*ran(tmp_path, monkeypatch, *words), "suites.classify", "models.logits_as_features", "models.weights.load")


def test_what_runs_for_a_users_model_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(OWN, encoding="utf-8")
    words = (*FEWSHOT, "model=net.py:Net")
    check(*ran(tmp_path, monkeypatch, *words), "models.own.rows", "models.own.network", "models.own.adapter")


def test_what_runs_for_a_module_passed_from_python_is_in_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = given_model(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4)), {"tap": "1"})
    words = (*FEWSHOT, f"model={row.name}", "model.image_size=32", "model.tap=1")
    check(*ran(tmp_path, monkeypatch, *words, given={row.name: row}), "models.own.rows", "models.own.adapter")


@pytest.mark.slow
def test_what_runs_in_throughputs_own_process_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = ("suite.warm_up_seconds=0", "suite.warm_up_steps=1", "suite.min_seconds=0", "suite.max_seconds=0.01")
    words = ("suite=throughput", "model=ViT-mini", *quick, "suite.image_size=64", "suite.batch_size=2")
    check(
        *ran(tmp_path, monkeypatch, *words),
        *(
            "bench.subprocess_job",
            "suites.throughput",
            "suites.timing.session",
            "suites.timing.report",
            "models.networks.vit",
        ),
    )


@pytest.mark.parametrize(
    ("words", "outside"),
    [
        (
            ("suite=vtab-mini", "task=digits", "model=ViT-mini"),
            (
                *(
                    "suites.finetune",
                    "suites.training.loop",
                    "suites.training.paper_recipes",
                    "suites.fewshot",
                    "suites.probes.logistic",
                ),
                *("suites.probes.knn", "suites.throughput", "suites.probes.attention", "suites.classify"),
                *(
                    "models.networks.bit",
                    "models.networks.hybrid",
                    "models.networks.convolution",
                    "models.own.adapter",
                    "models.own.rows",
                ),
                *(
                    "models.own.user_code",
                    "models.external.backbone",
                    "models.external.timm",
                    "models.external.torchvision",
                ),
                *("models.external.download", "suites.sources.published", "suites.sources.sets.imagenet"),
                "suites.sources.sets.clevr",
            ),
        ),
        (
            (*FEWSHOT, "model=ViT-mini"),
            ("suites.probes.logistic", "suites.probes.knn", "suites.vtab"),
        ),
        (
            (*FEWSHOT, "model=ViT-mini", "protocol=knn"),
            ("suites.probes.ridge", "suites.probes.scorer", "suites.probes.logistic"),
        ),
        (
            (*FEWSHOT, "model=timm:test_vit", "weights=random"),
            ("models.external.torchvision", "models.networks.vit", "models.build_native"),
        ),
        (("suite=finetune", "task=digits", "model=BiT-mini"), ("suites.vtab", "suites.fewshot", "models.networks.vit")),
        (
            ("suite=throughput", "model=ViT-mini"),
            ("suites.images.feeding", "suites.images.features", "suites.finetune", "models.networks.bit"),
        ),
    ],
)
def test_other_code_is_outside_the_key(words: tuple[str, ...], outside: tuple[str, ...]) -> None:
    """Error texts, other libraries' adapters, other protocols and networks, tables and figures, by name."""
    inside = counted(job_of(*words, "device=cpu"))
    every = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in ROOT.rglob("*.py")]
    always = {"models.weights.guess_row", "models.selection", "models.native", "bench.plan", "errors", "registry"}
    always |= {name for name in every if name.startswith(("results.", "bench."))}
    assert {*always, *outside} <= set(every), "one of these names is no module"
    assert not inside & {*always, *outside}


def test_what_does_not_count_is_there_and_has_a_reason() -> None:
    for pattern, reason in NOT_COUNTED.items():
        path = ROOT.joinpath(*pattern.removesuffix(".*").split("."))
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), pattern
        assert len(reason.split()) > 2


# What an edit changes


JOBS: dict[str, tuple[str, ...]] = {
    "vtab finetune": ("suite=vtab-mini", "task=digits", "model=ViT-mini", "protocol=finetune"),
    "vtab probe": ("suite=vtab-mini", "task=digits", "model=ViT-mini"),
    "fewshot ridge": ("suite=fewshot", "task=digits", "model=ViT-mini"),
    "fewshot knn": ("suite=fewshot", "task=digits", "model=BiT-mini", "protocol=knn"),
    "finetune": ("suite=finetune", "task=digits", "model=ViT-mini"),
    "internals": ("suite=internals", "model=ViT-mini"),
    "throughput": ("suite=throughput", "model=ViT-mini", "device=cpu"),
    "timm": ("suite=vtab-mini", "task=digits", "model=timm:test_vit", "weights=random"),
}
FED = {"vtab finetune", "vtab probe", "fewshot ridge", "fewshot knn", "finetune", "internals", "timm"}


def keys() -> dict[str, str]:
    identity._code.cache_clear()
    identity.code_sha.cache_clear()
    return {name: job_of(*words).key for name, words in JOBS.items()}


@cache
def keys_before() -> dict[str, str]:
    return keys()


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`edit("suites.vtab", "old", "new")`: the module's text as if it had been edited."""
    read = identity.read_text

    def change(module: str, old: str, new: str) -> None:
        assert old in read(module)
        monkeypatch.setattr(
            identity, "read_text", lambda name: read(name).replace(old, new) if name == module else read(name)
        )

    change.undo = lambda: monkeypatch.setattr(identity, "read_text", read)  # pyright: ignore[reportFunctionMemberAccess]
    yield change
    monkeypatch.undo()
    identity._code.cache_clear()
    identity.code_sha.cache_clear()


@pytest.mark.parametrize(
    ("module", "old", "new", "changed"),
    [
        ("suites.vtab", 'return "short"', 'return "vtab"', {"vtab finetune", "vtab probe", "timm"}),
        ("suites.training.paper_recipes", "steps=2500", "steps=2600", {"vtab finetune", "finetune"}),
        ("suites.images.transforms", "* 8 / 7", "* 7 / 8", FED),
        (
            "suites.probes.support",
            "indices[:count]",
            "indices[-count:]",
            FED - {"internals", "finetune", "vtab finetune"},  # training draws no support set
        ),
        ("suites.fewshot", "range(self.draws)", "range(1, self.draws)", {"fewshot ridge", "fewshot knn"}),
        ("suites.images.feeding", "split.labels[:count]", "split.labels[-count:]", FED),
        ("models.networks.vit", "LAYER_NORM_EPS = 1e-6", "LAYER_NORM_EPS = 1e-5", {*JOBS} - {"fewshot knn", "timm"}),
        ("models.catalog.vit", "4 * self.width", "5 * self.width", {*JOBS} - {"fewshot knn", "timm"}),
        ("models.catalog.vit", 'vit_row("ViT-B/8", 86_576_872', 'vit_row("ViT-B/8", 86_576_873', set()),
        (
            "models.catalog.vit",
            "GAP = (",
            'MORE = (\n    vit_row("ViT-X/16", 1, ViT(patch_size=16, **BASE)),\n)\nGAP = (',
            set(),
        ),
        ("models.weights.names.vit", '"Transformer/encoder_norm"', '"encoder_norm"', {*JOBS} - {"fewshot knn", "timm"}),
        ("models.weights.names.bit", '"resnet/head/conv2d"', '"resnet/conv2d"', {"fewshot knn"}),
        ("models.external.timm", "pre_logits=True", "pre_logits=False", {"timm"}),
        ("models.weights.guess_row", "these look like", "this looks like", set()),
        ("models.parse_weights", "brings its own", "brings its", set()),
        ("models.native", "needs weights for", "wants weights for", set()),
        ("models.external.rows", "has no such weights", "has not such weights", set()),
        ("results.tables.grid", "import", "import ", set()),
        ("bench.run", "HEADLINES", "FIRST", set()),
    ],
)
def test_an_edit_changes_the_keys_it_should_and_no_others(
    module: str, old: str, new: str, changed: set[str], edit: Any
) -> None:
    before = keys_before()
    edit(module, old, new)
    after = keys()
    assert {name for name in JOBS if before[name] != after[name]} == changed


def test_an_edit_of_one_format_changes_the_keys_of_its_tasks_alone(edit: Any) -> None:
    """A source that reads several published data sets names the code of each."""
    from vit_bench.models import catalog
    from vit_bench.models.weights_choice import Random
    from vit_bench.suites import suites
    from vit_bench.suites.sources.as_published import AsPublished
    from vit_bench.suites.sources.hub import Hub
    from vit_bench.suites.sources.tfds import Tfds
    from vit_bench.suites.tasks import tasks

    def key(name: str, source: Any) -> str:
        job = Job(suite=suites()["fewshot"], model=catalog()["ViT-mini"], weights=Random(), task=tasks()[name],
                  order=(), source=source)  # fmt: skip
        return job.key

    sources = (AsPublished("raw"), AsPublished("torchvision"), Tfds(), Hub())
    names = ("Clevr-Count", "sNORB-Azim", "KITTI-Dist", "SVHN", "DTD", "dSpr-Ori")
    asked = {(name, source.name): key(name, source) for name in names for source in sources}
    every = {"raw", "torchvision", "tfds"}
    for module, old, changed in (
        ("suites.sources.sets.clevr", "return", {("Clevr-Count", source) for source in every}),
        ("suites.sources.sets.kitti", "return", {("KITTI-Dist", source) for source in every}),
        ("suites.sources.sets.smallnorb", "return", {("sNORB-Azim", source) for source in ("raw", "tfds")}),
        ("suites.sources.sets.dsprites", "return", {("dSpr-Ori", source) for source in ("raw", "tfds", "hub")}),
        ("suites.sources.sets.svhn", "return", {("SVHN", "torchvision")}),
        ("suites.sources.sets.dtd", "line", {("DTD", "torchvision")}),
        ("suites.sources.formats", "return", {(name, "torchvision") for name in ("SVHN", "DTD")}),
    ):
        edit(module, old, f"{old} (")
        identity._code.cache_clear()
        identity.code_sha.cache_clear()
        now = {(name, source.name): key(name, source) for name in names for source in sources}
        assert {one for one in asked if now[one] != asked[one]} == changed, module
        edit.undo()


@pytest.mark.parametrize("field", ["crop", "flip"])
def test_what_training_may_do_to_images_counts_for_training_alone(field: str) -> None:
    from vit_bench.suites.tasks import tasks

    task = tasks()["photos"]
    other = replace(task, **{field: not getattr(task, field)})
    for words, counts in (
        (("suite=finetune", "task=photos", "model=ViT-mini"), True),
        (("suite=vtab-mini", "task=photos", "model=ViT-mini", "protocol=finetune"), True),
        (("suite=vtab-mini", "task=photos", "model=ViT-mini"), False),
    ):
        job = job_of(*words)
        changed = replace(job, task=other)
        assert (changed.key != job.key) == counts
        assert changed.slot == job.slot


def test_a_users_model_that_is_timed_beside_counts(tmp_path: Path) -> None:
    words = ("suite=throughput", "model=ViT-mini", "device=cpu", "against=net.py:Net")
    (tmp_path / "net.py").write_text(OWN, encoding="utf-8")
    before = job_of(*words).key
    (tmp_path / "net.py").write_text(OWN + "# another\n", encoding="utf-8")
    assert job_of(*words).key != before


def test_the_code_behind_a_rule_that_is_no_plain_function() -> None:
    class Rule:
        def __call__(self, stored: int) -> int:
            return stored

    assert identity.source_sha(partial(OWN.count, "a")) == identity.source_sha(OWN.count)
    assert identity.source_sha(Rule()) == identity.source_sha(Rule)
    assert identity.source_sha(partial(partial(pytest.approx, 1), 2)) == identity.source_sha(pytest.approx)


def test_a_model_that_is_timed_beside_counts() -> None:
    words = ("suite=throughput", "model=ViT-Ti/16", "device=cpu")
    assert not {"models.external.timm", "models.networks.bit"} & counted(job_of(*words))
    assert {"models.external.timm", "models.external.backbone"} <= counted(job_of(*words, "against=timm"))
    assert "models.networks.bit" in counted(job_of(*words, "against=BiT-mini"))


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (
            "suites.probes.ridge",
            "from __future__ import annotations\n",
            "from __future__ import annotations  # a comment\n\n# x\n",
        ),
        ("suites.vtab", '"""VTAB: 19 tasks', '"""The 19 tasks'),
        ("suites.images.transforms", "def describe(self)", "def describe(\n        self  # a line more\n    )"),
        ("suites.images.features", "\n", "\r\n"),
    ],
)
def test_what_is_only_said_changes_no_key(module: str, old: str, new: str, edit: Any) -> None:
    before = keys_before()
    edit(module, old, new)
    assert keys() == before
