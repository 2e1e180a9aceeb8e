"""A checkpoint's own head: what it may be asked, how it is fed, and what is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import vit_bench
import yaml
from typer.testing import CliRunner
from vit_bench.bench import config
from vit_bench.bench.cli import app
from vit_bench.bench.plan import make_plan
from vit_bench.models import catalog, create_model
from vit_bench.models.parse_weights import parse_weights
from vit_bench.models.released.table import releases
from vit_bench.registry import UsageError
from vit_bench.suites import classify
from vit_bench.suites.heads import classes as heads
from vit_bench.suites.images.resize import check_resize
from vit_bench.suites.images.transforms import View
from vit_bench.suites.metrics import top_k
from vit_bench.suites.protocol import Features
from vit_bench.suites.tasks import tasks
from vit_bench.suites.training.paper_recipes import bit
from vit_bench.suites.training.runs import _file_name

SUITE = classify.CLASSIFY


def test_every_released_head_is_in_the_table_and_its_tasks_have_its_classes() -> None:
    for release in releases():
        drawn = release.head.data.startswith("fractals:")
        assert drawn or heads.tasks_of(release.head) or release.head.data in heads.OTHERS, release
    known = {release.head.data: heads.tasks_of(release.head) for release in releases()}
    for data, found in known.items():
        assert len({task.num_classes for task in found}) <= 1, (data, found)
    asked = {task.name for found in known.values() for task in found}
    assert {task.name for task in tasks().values() if task.collection == "vtab"} <= asked
    assert asked == {task.name for task in tasks().values() if task.head}
    assert [task.name for task in known["ImageNet"]] == ["ImageNet", "ImageNet ReaL", "ImageNet-V2", "ObjectNet"]
    assert [task.name for task in known["VTAB-1k cifar100"]] == ["CIFAR-100", "CIFAR-100-full"]
    vtab = [one for one in releases() if one.tag.startswith("vtab-")]
    assert len(vtab) == 285
    assert len({one.head.data for one in vtab}) == 19


@pytest.mark.parametrize(
    ("model", "weights", "size", "antialias"),
    [
        ("ViT-B/16", "in21k-ft-in1k-384", 384, False),
        ("ViT-B/16", "augreg-in21k-ft-in1k-224", 224, False),
        ("BiT-R50x1", "bit-m-in1k", 384, False),
        ("BiT-R152x4", "bit-m-in1k", 480, False),
        ("BiT-R50x1", "distilled-160", 160, False),
        ("BiT-R50x1", "vtab-run0-svhn", 128, False),
        ("BiT-R50x1", "vtab-run2-patch_camelyon", 384, False),
        ("BiT-R152x4", "vtab-run1-kitti-distance", 480, False),
        ("ViT-mini", "mine.npz", None, None),
    ],
)
def test_released_files_are_fed_as_their_release_tests_them(model, weights, size, antialias) -> None:
    row = catalog()[model]
    chosen = parse_weights(row, weights)
    view = SUITE.view(row, chosen)
    assert (view.image_size, view.antialias) == (size, antialias)
    assert view.resize == (None if size is None else "square")
    typed = replace(SUITE, image_size=64, resize="shorter_crop").view(row, chosen)
    assert (typed.image_size, typed.resize, typed.antialias) == (64, "shorter_crop", antialias)


@pytest.mark.parametrize(
    ("stated", "typed", "fed"),
    [
        ({"antialias": False}, {}, (None, False, None)),
        ({"antialias": False}, {"interpolation": "bilinear"}, ("bilinear", False, None)),
        ({"antialias": False}, {"interpolation": "bicubic"}, ("bicubic", None, None)),  # Pillow's
        ({"antialias": False}, {"rounding": "pillow"}, (None, None, "pillow")),
        ({"antialias": False}, {"rounding": "truncate"}, (None, False, "truncate")),
        ({"antialias": True, "rounding": "pillow"}, {"antialias": False}, (None, False, None)),
        ({"antialias": True, "rounding": "pillow"}, {"interpolation": "area"}, ("area", None, None)),
    ],
)
def test_what_a_release_states_of_its_kernel_yields_to_typed_settings(stated, typed, fed, monkeypatch) -> None:
    monkeypatch.setattr(classify, "view_of", lambda *_: View(resize="square", **stated))
    row = catalog()["ViT-mini"]
    view = replace(SUITE, **typed).view(row, parse_weights(row, "random"))
    assert (view.interpolation, view.antialias, view.rounding) == fed
    check_resize(view.interpolation, view.antialias, view.rounding)


def test_the_sizes_of_the_vtab_files_are_the_hyper_rules() -> None:
    pixels = {"CIFAR-100": 32, "SVHN": 32, "EuroSAT": 64, "dSpr-Loc": 64, "dSpr-Ori": 64, "Camelyon": 96}
    pixels |= {"sNORB-Azim": 96, "sNORB-Elev": 96}
    vtab = [task for task in tasks().values() if task.collection == "vtab"]
    assert len(vtab) == 19
    for task in vtab:
        side = pixels.get(task.name, 300)
        assert bit(1000, (side, side)).image_size == (128 if task.small else 384), task.name
        assert bit(1000, (side, side), model="BiT-R152x4").image_size == (128 if task.small else 480)
        assert bit(1000, (side, side), model="BiT-R152x2").image_size == (128 if task.small else 384)


def unfit(model: str, weights: str, task: str) -> str:
    row = catalog()[model]
    return SUITE.unfit(row, parse_weights(row, weights), tasks()[task])


def test_a_head_is_asked_only_about_its_own_classes() -> None:
    for task in ("ImageNet", "ImageNet ReaL", "ImageNet-V2", "ObjectNet"):
        assert unfit("ViT-B/16", "augreg-in21k-ft-in1k-384", task) == ""
    assert unfit("ViT-B/16", "in21k", "ImageNet").startswith(
        "ViT-B/16 with weights=in21k: its head was trained for ImageNet-21k (21843 classes), and ImageNet asks about "
        "1000 classes of its own. For ImageNet, type weights=sam or augreg-in1k-"
    )
    assert "It answers task=Clevr-Count. For SVHN, type weights=vtab-run0-svhn or vtab-run1-svhn" in unfit(
        "BiT-R50x1", "vtab-run0-clevr-count", "SVHN"
    )
    assert "ViT-B/16 with weights=random has no trained head to score. Type weights=sam" in unfit(
        "ViT-B/16", "random", "ImageNet"
    )
    assert "weights=FILE (no released file of ViT-mini has a head for digits), or train one" in unfit(
        "ViT-mini", "random:3", "digits"
    )
    assert unfit("ViT-mini", "somewhere/file.npz", "digits") == ""  # nothing is known beforehand


def test_of_models_and_tasks_the_pairs_that_fit_are_jobs(tmp_path: Path, vtab1k) -> None:
    vtab1k("svhn", "clevr_count")
    words = ["suite=classify", "model=BiT-R50x1", f"data={tmp_path / 'data'}"]
    tags = "weights=vtab-run0-svhn,vtab-run1-svhn,vtab-run0-clevr-count"
    made = make_plan(config.read([*words, tags, "task=SVHN,Clevr-Count"]))
    assert [(str(job.weights), job.task.name) for job in made.jobs] == [
        ("vtab-run0-clevr-count", "Clevr-Count"),
        ("vtab-run0-svhn", "SVHN"),
        ("vtab-run1-svhn", "SVHN"),
    ]
    with pytest.raises(UsageError, match="its head was trained for VTAB-1k clevr-count"):
        make_plan(config.read([*words, tags, "task=SVHN"]))
    with pytest.raises(UsageError, match="For Clevr-Count, type weights=vtab-run0-clevr-count"):
        make_plan(config.read([*words, "weights=vtab-run0-svhn", "task=SVHN,Clevr-Count"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("crop_pct=0.9", r"suite.crop_pct=0.9 is of a centre cut: type suite.resize=shorter_crop"),
        ("crop_pct=1.5", r"suite.crop_pct=1.5: a share of a side, above 0 and at most 1"),
        ("image_size=0", r"suite.image_size=0: pixels from 1 up"),
    ],
)
def test_settings_that_make_no_sense(words: str, message: str) -> None:
    name, _, value = words.partition("=")
    with pytest.raises(UsageError, match=message):
        replace(SUITE, **{name: float(value) if "." in value else int(value)}).check()


def said(logits: np.ndarray, labels: list[int], sets=None) -> Features:
    return Features(x=logits.astype(np.float32), labels=np.array(labels), digests=("d",), treatment={}, label_sets=sets)


def test_top5_counts_ties_as_arg_max_does() -> None:
    logits = np.array([[5, 4, 3, 2, 1, 0], [0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5]])
    assert top_k(logits, np.array([4, 5, 0])) == pytest.approx(100 / 3)
    assert top_k(logits, np.array([5, 4, 1])) == pytest.approx(200 / 3)
    assert top_k(logits, np.array([5, 5, 0]), [(5,), (0, 5), (0, 1)]) == pytest.approx(200 / 3)
    assert top_k(logits, np.array([0, 0, 5]), k=1) == 100


def test_objectnet_is_right_by_any_of_its_classes_and_also_among_them_alone() -> None:
    task = replace(tasks()["ObjectNet"], num_classes=8)
    logits = np.eye(8)[[1, 7, 3, 0]] * 3 + np.eye(8)[[0, 2, 2, 4]]
    found = {
        one.metric: one for one in classify._measurements(task, said(logits, [1, 2, 2, 4], ((1, 5), (2,), (2,), (4,))))
    }
    assert set(found) == {"top1", "top5", "top1_overlap", "majority_rate", "ece"}
    assert found["top1"].value == 25
    assert found["top1_overlap"].value == 100  # 7, 3 and 0 stand for none of its classes
    overlap = found["top1_overlap"].predictions
    assert overlap is not None
    assert overlap.tolist() == [1, 2, 2, 4]


def test_heads_that_cannot_be_of_the_task() -> None:
    task = tasks()["digits"]
    with pytest.raises(
        UsageError, match=r"ViT-mini: its head has 12 classes, and digits has 10\. Choose weights whose"
    ):
        classify.check_head("ViT-mini", task, said(np.eye(12), [*range(10), 0, 0]))
    with pytest.raises(UsageError, match="it is new, all zeros"):
        classify.check_head("ViT-mini", task, said(np.ones((4, 10)), [0, 1, 2, 3]))


# From here on, end to end.


TUNING = ("suite=finetune", "task=digits", "model=ViT-mini", "batch=16", "steps=12", "seed=0", "image_size=48")
TUNING += ("save=weights", "out=runs/finetune")


@pytest.fixture
def tuned() -> tuple[Path, dict[str, float]]:
    """Weights that a short fine-tuning kept, and what its record says of them."""
    frame = vit_bench.run(*TUNING)
    (kept,) = Path("runs/finetune/kept").glob("*/*seed0.safetensors")
    return kept, dict(zip(frame["metric"], frame["value"], strict=True))


def test_the_name_of_kept_weights_says_model_and_task() -> None:
    digits = tasks()["digits"]
    row = catalog()["ViT-B/16"]
    assert _file_name(row, digits) == "ViT-B-16-digits"
    assert _file_name(replace(row, name="a/net.py:build", family="own"), digits) == "build-digits"
    folder: Any = SimpleNamespace(name="folder:/data/my moths", published=False)
    assert _file_name(replace(row, name="hf:me/net@1"), folder) == "hf-me-net-1-my-moths"
    assert len(_file_name(replace(row, name="x" * 300), folder)) < 100


def test_weights_that_fine_tuning_kept_score_as_its_record_says(tuned) -> None:
    kept, recorded = tuned
    assert kept.name == "ViT-mini-digits-seed0.safetensors"
    sidecar = yaml.safe_load(kept.with_name(f"{kept.name}.yaml").read_text(encoding="utf-8"))
    assert (sidecar["model"], sidecar["head"]) == ("ViT-mini", "digits")
    assert f"Kept weights: {kept}" in CliRunner(env={"COLUMNS": "300"}).invoke(app, ["run", *TUNING]).output
    frame = vit_bench.run("suite=classify", "task=digits", "model=ViT-mini", f"weights={kept}")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    found = dict(zip(frame["metric"], frame["value"], strict=True))
    assert found["top1"] == recorded["top1"]
    assert found["mean_per_class"] == recorded["mean_per_class"]
    assert found["top5"] > found["top1"]
    treatment = json.loads(frame["treatment"].iloc[0])
    assert treatment["size"] == [48, 48]  # as the sidecar says
    assert treatment["head"] == "digits, as its sidecar file says"
    (archive,) = Path("runs/classify/cells").glob("*.npz")
    with np.load(archive) as arrays:
        assert 100 * np.mean(arrays["0"] == arrays["labels"]) == found["top1"]
    with pytest.raises(
        UsageError, match=r"its head was trained for digits \(as its sidecar file says\), and photos asks"
    ):
        vit_bench.run("suite=classify", "task=photos", "model=ViT-mini", f"weights={kept}")


@pytest.mark.slow
def test_a_file_alone_is_fed_at_the_size_of_its_position_embeddings(tuned) -> None:
    kept, recorded = tuned
    kept.with_name(f"{kept.name}.yaml").unlink()
    frame = vit_bench.run("suite=classify", "task=digits", "model=ViT-mini", f"weights={kept}")
    assert frame["value"].iloc[0] == recorded["top1"]
    frame = vit_bench.run("suite=classify", "task=photos,count", "model=ViT-mini", f"weights={kept}")
    failed = frame[frame["status"] == "failed"]
    assert failed["task"].tolist() == ["count"]
    assert "its head has 10 classes, and count has 8" in failed["error"].iloc[0]


def test_a_module_of_ones_own_is_its_own_classifier() -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input = {"size": 8}
            self.head = torch.nn.Linear(64, 10)
            torch.nn.init.normal_(self.head.weight, generator=torch.Generator().manual_seed(0))

        def features(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(1).flatten(1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.features(images))

    frame = vit_bench.run("suite=classify", "task=digits", model=Own())
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    assert frame["metric"].tolist() == ["top1", "top5", "mean_per_class", "majority_rate", "ece", "brier", "nll"]

    class Tokens(Own):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images

    frame = vit_bench.run("suite=classify", "task=digits", model=Tokens())
    assert r"module(images) gives (64, 3, 8, 8) for 64 images; expected (B, K) logits" in frame["error"].iloc[0]


@pytest.mark.slow
def test_kept_weights_of_a_librarys_model_score_as_they_did() -> None:
    words = ("task=digits", "model=timm:test_vit", "image_size=32")
    tuned = vit_bench.run(
        "suite=finetune",
        *words,
        "weights=random",
        "recipe=vit",
        "lr=0.01",
        "batch=8",
        "steps=2",
        "seed=0",
        "save=weights",
        "out=tuned",
    )
    assert set(tuned["status"]) == {"ok"}, tuned["error"].tolist()
    (kept,) = Path("tuned/kept").glob("*/*seed0.safetensors")
    frame = vit_bench.run("suite=classify", *words, f"weights={kept}", "resize=square")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    assert frame["value"].iloc[0] == tuned["value"].iloc[0]


def test_a_librarys_model_is_fed_as_its_library_tests_it(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    file = tmp_path / "w.pt"
    torch.save(timm.create_model("test_vit", num_classes=10).state_dict(), file)
    words = ("suite=classify", "task=digits", "model=timm:test_vit", f"weights={file}")
    frame = vit_bench.run(*words)
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    treatment = json.loads(frame["treatment"].iloc[0])
    cfg = timm.get_pretrained_cfg("test_vit")
    assert cfg is not None
    assert (treatment["resize"], treatment["crop_pct"]) == ("shorter_crop", cfg.crop_pct)
    assert (treatment["interpolation"], treatment["size"]) == (cfg.interpolation, list(cfg.input_size[1:]))
    assert treatment["head"] == "of 10 classes; whose is not known"


def test_torchvisions_own_resizing_is_known() -> None:
    network = create_model("torchvision:resnet18", "random")
    assert getattr(network, "tested", None) == {"resize": "shorter_crop", "crop_pct": 224 / 256}


def test_the_vtab_files_of_a_run_are_one_row() -> None:
    """The released files of single tasks stand in one row, a column a task, and a mean only where none is missing."""
    from vit_bench.results.tables import make

    def record(task: str, run: int, value: float) -> dict[str, object]:
        common = {"suite": "classify", "protocol": "classify", "model": "BiT-R50x1", "variant": "", "status": "ok"}
        common |= {"source": "raw", "seed": None, "metric": "top1", "unit": "percent", "n_test": 100, "error": ""}
        common |= {"verdict": "", "question": json.dumps({"task": task}), "treatment": "{}", "weights_sha": f"{run}"}
        common |= {"weights": f"vtab-run{run}-{task.lower()}", "task": task, "group": tasks()[task].group}
        return common | {"value": value, "measurement": f"{task}/{run}", "pretrain": "", "started_at": "2026"}

    names = [task.name for task in tasks().values() if task.collection == "vtab"]
    records = [record(name, 0, 50 + i) for i, name in enumerate(names)] + [record(names[0], 1, 40.0)]
    (table,) = make("classify", pd.DataFrame(records))
    first, second, _ = table.rows
    assert first[0] == "BiT-R50x1 (vtab-run0)"
    assert first[1:20] == tuple(f"{50 + i:.1f}" for i in range(19))
    assert table.columns[-2] == "mean of 19"
    assert (first[-2], second[-2]) == ("59.0", "1/19")
    assert any("The release states as mean of 19 tasks: 73.51 of BiT-M-R152x4, 72.65" in note for note in table.notes)


def test_a_permuted_head_is_marked_suspect() -> None:
    logits = np.eye(10)[np.arange(400) % 10]
    task = tasks()["digits"]
    ok = classify._measurements(task, said(logits, (np.arange(400) % 10).tolist()))
    assert {one.verdict for one in ok} == {""}
    order = np.roll(np.arange(10), 3)
    found = list(classify._measurements(task, said(logits[:, order], (np.arange(400) % 10).tolist())))
    assert found[0].verdict.startswith("suspect: label order; with the head's classes in another order (10 of 10")
