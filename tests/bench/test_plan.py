"""Plans: pure, stable across processes, and kind to whoever mistypes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from vit_bench.bench import config
from vit_bench.bench.fingerprint import ROOT, changed, code_sha, input_entry
from vit_bench.bench.plan import make_plan
from vit_bench.bench.select.tasks import AvailableData
from vit_bench.registry import UsageError
from vit_bench.results.store import Store
from vit_bench.suites import suites
from vit_bench.suites.protocol import Work
from vit_bench.suites.tasks import tasks


def plan(*words: str):
    return make_plan(config.read(list(words)))


def test_every_suite_names_models_and_tasks_that_exist() -> None:
    from vit_bench.models import select_model

    assert list(suites())[:3] == ["vtab", "vtab-mini", "fewshot"]
    files = {path.stem for path in (ROOT / "suites").glob("*.py")} - {"__init__", "protocol", "metrics"}
    assert {type(suite).__module__.rpartition(".")[2] for suite in suites().values()} == files
    for suite in suites().values():
        assert type(suite).__doc__
        assert [select_model(name) for name in suite.default_models]
        if "task" in suite.needs:
            assert AvailableData(config.read(["data=."])).select(suite.default_tasks)


def test_every_task_keeps_its_contract() -> None:
    for task in tasks().values():
        vtab = task.collection.startswith("vtab")
        assert task.group in (("natural", "specialized", "structured") if vtab else (task.collection,))
        assert set(task.splits) == {"train", "val", "test"}
        assert not vtab or (task.splits["train"], task.splits["val"]) == (800, 200)
        assert task.num_classes > 1
        assert task.label
        assert task.classes == () or len(task.classes) == task.num_classes
    assert len([task for task in tasks().values() if task.collection == "vtab"]) == 19


def test_the_bare_command_falls_back_and_says_so() -> None:
    made = plan("suite=vtab")
    assert {job.suite.name for job in made.jobs} == {"vtab-mini"}
    assert len(made.jobs) == 36
    assert made.out == Path("runs/vtab-mini")
    (note,) = made.notes
    assert "looked in" in note
    assert "\n" not in note
    assert plan("suite=vtab", "out=elsewhere").out == Path("elsewhere")


def test_the_trained_models_of_the_main_job_give_way_to_what_is_typed() -> None:
    def weights(*words: str) -> list[str]:
        jobs = plan("suite=vtab-mini", "task=digits", *words).jobs
        return [f"{job.model.name} {job.weights}" for job in jobs]

    assert len(weights()) == 4
    assert weights("weights=random:1") == ["ViT-mini random:1", "BiT-mini random:1", "R+ViT-mini random:1"]
    assert weights("model.depth=1") == ["ViT-mini random", "BiT-mini random", "R+ViT-mini random"]
    assert weights("model=BiT-mini") == ["BiT-mini random"]
    assert weights("model=BiT-mini-fractals") == ["BiT-mini fractals"]


def test_planning_is_pure(tmp_path: Path) -> None:
    cache = Path(os.environ["BENCH_CACHE"])
    before = sorted(cache.rglob("*"))
    first, second = plan("suite=vtab-mini", "out=x"), plan("suite=vtab-mini", "out=x")
    assert first.jobs == second.jobs
    assert list(tmp_path.iterdir()) == []
    assert sorted(cache.rglob("*")) == before


def test_keys_are_the_same_in_every_process() -> None:
    words = ["suite=vtab-mini,fewshot", "shots=1,5", "model=ViT-mini,R+ViT-mini", "model.depth=1,2", "weights=random:3"]
    script = (
        "import sys, json; from vit_bench.bench import config; from vit_bench.bench.plan import make_plan;"
        "print(json.dumps([j.key for j in make_plan(config.read(sys.argv[1:])).jobs]))"
    )
    keys = [job.key for job in plan(*words).jobs]
    assert len(set(keys)) == len(keys) == 2 * 2 * 2 * 9
    others = [  # side by side
        subprocess.Popen(
            [sys.executable, "-c", script, *words],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    printed = [other.communicate()[0] for other in others]
    for other, said in zip(others, printed, strict=True):
        assert other.returncode == 0
        assert json.loads(said) == keys


def test_a_key_is_the_identity_and_nothing_else() -> None:
    base = ["suite=fewshot", "task=digits", "model=ViT-mini"]
    (job,) = plan(*base).jobs
    same = [
        plan(*base, *words).jobs[0].key for words in (["out=y"], ["batch_size=7"], ["device=cpu"], ["shots=1,5,10,25"])
    ]
    assert set(same) == {job.key}
    others = [
        plan(*base, *words).jobs[0].key
        for words in (["shots=1"], ["l2=1"], ["seed=0"], ["weights=random:1"], ["model.depth=1"], ["image_size=96"])
    ]
    others.append(plan("suite=fewshot", "task=photos", "model=ViT-mini").jobs[0].key)
    others.append(plan("suite=fewshot", "task=digits", "model=BiT-mini").jobs[0].key)
    assert len({job.key, *others}) == 9
    assert job.identity == json.loads(json.dumps(job.identity))


def test_equal_settings_said_in_other_words_are_one_job() -> None:
    assert (
        len(plan("suite=fewshot", "task=digits,digits", "model=ViT-mini,vit_mini", "weights=random,random:0").jobs) == 1
    )


@pytest.mark.parametrize("suite", ["fewshot", "vtab-mini", "finetune recipe=big-vision", "internals"])
def test_a_models_own_kernel_typed_is_no_other_job(suite: str) -> None:
    task = () if suite == "internals" else ("task=digits",)
    words = (*f"suite={suite}".split(), *task, "model=ViT-mini")
    (job,), (typed,) = (plan(*words, *more).jobs for more in ((), ("interpolation=bilinear",)))
    same = "big-vision" not in suite  # whose kernel is `area`
    assert (typed.slot == job.slot, typed.key == job.key) == (same, same)
    Path("own.py").write_text("def build():\n    raise SystemExit\n", encoding="utf-8")
    words = [*words[:-1], "model=own.py:build"]
    (job,), (typed,) = (plan(*words, *more).jobs for more in ((), ("interpolation=bilinear",)))
    assert typed.key != job.key  # what it wants is known once it is built


def test_jobs_stand_in_table_order_whatever_was_typed_first() -> None:
    made = plan("suite=vtab-mini", "model=BiT-mini,ViT-mini", "task=count,digits")
    assert [(job.model.name, job.task.name) for job in made.jobs] == [
        ("ViT-mini", "digits"),
        ("ViT-mini", "count"),
        ("BiT-mini", "digits"),
        ("BiT-mini", "count"),
    ]


def test_jobs_that_share_images_run_side_by_side_and_count_once() -> None:
    made = plan("suite=vtab-mini", "model=ViT-mini,BiT-mini", "task=sprite-x,nearest,sprite-angle")
    assert [job.task.image_set for job in made.pending][:3] in (
        ["sprites", "sprites", "scenes"],
        ["scenes", "sprites", "sprites"],
    )
    work, macs = made.work()
    assert work == Work(images=2 * 2 * 2000)
    assert macs is not None
    assert macs == 2 * 2000 * sum(job.model.macs or 0 for job in made.jobs if job.task.name == "nearest")


def test_passes_of_differently_resized_images_count_each() -> None:
    made = plan("suite=vtab-mini,fewshot", "model=ViT-mini", "task=digits", "antialias=true", "rounding=none")
    assert made.work()[0] == Work(images=2 * sum(made.jobs[0].task.splits.values()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", r"say what to run: suite=vtab, suite=vtab-mini, suite=fewshot"),
        ("suite=vtab-mni", r"there is no suite 'vtab-mni'\. Did you mean 'vtab-mini'"),
        ("suite=vtab-mini model=ViT-B/61", r"there is no model 'ViT-B/61'\. Did you mean 'ViT-B/16'"),
        ("suite=vtab-mini model=Q*", r"no model matches 'Q\*'"),
        ("suite=vtab-mini task=digit", r"there is no task 'digit'\. Did you mean 'digits'"),
        ("suite=vtab-mini task=Pets", r"suite=vtab-mini is 9 tasks, and 'Pets' is none of them: digits, photos"),
        ("suite=vtab-mini protocol=prob", r"suite\.protocol=prob: Did you mean 'probe'"),
        ("suite=vtab-mini lr=0.1", r"suite\.lr is a setting of protocol=finetune and changes nothing in"),
        ("suite=vtab-mini shots=5", r"no selected suite \(vtab-mini\) has a setting 'shots'"),
        ("suite=vtab-mini l2=0", r"suite\.l2=0: vtab-mini needs finite numbers above 0"),
        ("suite=fewshot shots=-1", r"suite\.shots=-1: images a class are whole numbers from 1 up, or 0 for all"),
        ("suite=fewshot seed=-1", r"suite\.seed=-1: seeds are whole numbers from 0 up"),
        ("suite=fewshot image_size=0", r"suite\.image_size=0"),
        (
            "suite=fewshot interpolation=lanczos",
            r"interpolation=lanczos: .*bilinear, bicubic, nearest, area, legacy",
        ),
        (
            "suite=vtab-mini interpolation=area antialias=true",
            r"suite\.antialias=true: interpolation=area has no antialiasing; bilinear and bicubic have",
        ),
        ("suite=internals rounding=pillow antialias=false", r"suite\.rounding=pillow: Pillow always antialiases"),
        (
            "suite=finetune recipe=vtab-sweep task=digits antialias=true",
            r"suite\.antialias=true: interpolation=legacy has no antialiasing",
        ),
        ("suite=vtab-mini model.dpth=3", r"no selected model has a setting 'dpth'\. Did you mean 'depth'"),
        ("suite=vtab-mini model=BiT-mini model.depth=3", r"no selected model has a setting 'depth'\. Choose from: "),
        ("suite=vtab-mini model.depth=deep", r"model\.depth=deep: 'deep' is not a whole number"),
        (
            "suite=vtab-mini model=ViT-B/16",
            r"ViT-B/16 needs weights for suite=vtab-mini: type weights=TAG \(in21k, .*weights=FILE .* weights=random",
        ),
        ("suite=vtab-mini weights=rand", r"weights=rand: there is no such file"),
        ("suite=vtab-mini weights=random:x", r"weights=random:x: the seed after 'random:' is a whole number"),
        ("suite=vtab-mini weights=random:99999999999999999999", r"a whole number from 0 to 2\^63 - 1"),
        ("suite=vtab-mini l2=inf", r"suite\.l2=inf: 'inf' is not a finite number"),
        ("suite=vtab-mini image_size=7", r"7x7"),
        ("suite=vtab-mini model=mine.py", r"mine\.py"),
        (
            "suite=vtab-mini source=disk",
            r"there is no source 'disk'\. Choose from: builtin, torchvision, raw, imagenet",
        ),
        ("suite=vtab-mini source=vtab-1k", r"no data for digits, photos.* in source=vtab-1k"),
        (
            "suite=vtab-mini model=timm:resnet18",
            r"timm:resnet18 needs weights for suite=vtab-mini: type weights=pretrained \(a1_in1k; or weights=a2_in1k"
            r", .*weights=random",
        ),
        ("suite=vtab-mini model=timm:resnet18 weights=a9", r"weights=a9: timm:resnet18 has no such weights"),
        ("suite=vtab-mini model=timm:resnet81", r"timm [\d.]+ has no model 'resnet81'\. Did you mean '"),
        ("suite=vtab-mini model=EfficientNet-L2 weights=tag", r"weights=tag: Noisy Student .* has no such weights"),
        ("suite=vtab protocol=probe", r"no data for Caltech101, .* Type data=DIR or set BENCH_DATA"),
        ("suite=vtab model=ViT-mini protocol=probe", r"no data for Caltech101"),
        ("suite=vtab data=nowhere protocol=probe", r"no data for Caltech101.* in nowhere"),
        ("suite=vtab model=ViT-mini", r"no data for Caltech101, CIFAR-100"),
        ("suite=fewshot task=Pets", r"no data for Pets"),
        ("suite=vtab-mini model=gone.py:build", r"gone\.py"),
    ],
)
def test_mistakes_name_what_to_type_instead(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(*words.split())


def test_the_code_digest_follows_imports_and_only_those() -> None:
    from vit_bench.bench import fingerprint as identity

    fewshot = identity._closure(["suites.fewshot"])
    assert {
        "suites.fewshot",
        "suites.images.transforms",
        "suites.protocol",
        "suites.metrics",
    } <= fewshot
    assert "suites.images.features" in identity._closure(["suites.images.feeding"])  # of every job that is fed images
    assert not any(name.startswith(("bench", "results")) or name in ("suites.vtab", "registry") for name in fewshot)
    assert "suites.probes.ridge" in identity._closure(["suites.vtab"])
    network = identity._closure(["models.build_native", "models.networks.vit"])
    assert "models.spec" in network
    assert not network & {"models.released.table", "models.released.download", "transfer", "meter"}  # no numbers there
    assert code_sha("suites.fewshot") != code_sha("suites.vtab")
    assert all(
        (ROOT / f"{name.replace('.', '/')}.py").exists() or (ROOT / name.replace(".", "/")).is_dir() for name in fewshot
    )


def test_a_file_counts_as_changed_by_content_not_by_date(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"abc")
    note = input_entry(path)
    assert changed([note]) is None
    os.utime(path, ns=(1, 1))
    assert changed([note]) is None
    path.write_bytes(b"abd")
    assert changed([note]) == str(path.resolve())
    path.unlink()
    assert changed([note]) is None


def test_a_damaged_cell_is_to_do_again() -> None:
    made = plan("suite=fewshot", "task=digits", "model=ViT-mini", "out=r")
    store = Store(made.out)
    store.cells_folder.mkdir(parents=True)
    store.path(made.jobs[0].key).write_text("{")
    assert plan("suite=fewshot", "task=digits", "model=ViT-mini", "out=r").states == ("to do",)


def test_models_of_other_libraries() -> None:
    jobs = plan(
        "suite=vtab-mini",
        "task=digits",
        "weights=pretrained",
        "model=timm:test_vit,timm:test_res*,torchvision:resnet50",
    ).jobs
    named = {(job.model.name, str(job.weights)) for job in jobs}
    assert {("timm:test_vit", "r160_in1k"), ("torchvision:resnet50", "IMAGENET1K_V2")} <= named
    (tagged,) = plan("suite=vtab-mini", "task=digits", "model=timm:resnet18.a2_in1k").jobs
    assert (tagged.model.name, str(tagged.weights)) == ("timm:resnet18.a2_in1k", "a2_in1k")
    (noisy,) = plan("suite=vtab-mini", "task=digits", "model=EfficientNet-L2", "model.drop_path_rate=0.1").jobs
    assert (str(noisy.weights), noisy.variant) == ("ns_jft_in1k", "drop_path_rate=0.1")


def test_another_version_of_a_library_makes_results_outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    from vit_bench.models.external import listing as libraries

    words = ("suite=vtab-mini", "task=digits", "model=timm:resnet18.a2_in1k")
    (now,) = plan(*words).jobs
    monkeypatch.setattr(libraries, "version", lambda _: "99.0")
    (then,) = plan(*words).jobs
    assert now.key != then.key
    assert now.slot == then.slot


def test_typed_resizing_tells_jobs_of_ones_own_network_apart(tmp_path: Path) -> None:
    """Its input is known only once it is built, so that what typed settings come to cannot stand for them."""
    (tmp_path / "mine.py").write_text("def build(num_classes=None): ...\n", encoding="utf-8")
    words = ("suite=fewshot", f"model={tmp_path}/mine.py:build", "task=digits", "shots=1", "seed=0")
    ways = [(), ("antialias=false",), ("antialias=true",), ("interpolation=area",)]
    keys = {plan(*words, *way).jobs[0].key for way in ways}
    assert len(keys) == len(ways)
