"""Pre-training: nested sets, what is kept, probes that equal the few-shot suite's, and killed runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from vit_bench.bench import config
from vit_bench.bench.api import run
from vit_bench.bench.engines.attempt import JobReporter
from vit_bench.bench.plan import make_plan
from vit_bench.bench.verbs.plan import plan_verb
from vit_bench.models import create_model
from vit_bench.models.weights.sidecar import read_head, read_sidecar
from vit_bench.registry import UsageError
from vit_bench.results.comparison.compare import compare
from vit_bench.results.store import load
from vit_bench.results.tables.pretrain import PRETRAIN
from vit_bench.results.tables.table import TableRequest
from vit_bench.stable import sha
from vit_bench.suites.images.feeding import first_images
from vit_bench.suites.protocol import Split
from vit_bench.suites.sources.folder import Folder, folder_task
from vit_bench.suites.sources.fractals import Fractals, fractals_task
from vit_bench.suites.training import evaluate
from vit_bench.suites.training.augment import TrainingImages
from vit_bench.suites.training.probe import FewShotProbe
from vit_bench.suites.training.runs import Visits, _Visited

ROOT = Path(__file__).resolve().parents[2]
PROBE = "fractals:4:20"
LOSSES = ("loss_val", "top1_val", "top1_probe")
SMALL = {"batch": 32, "steps": 4, "visits": 2, "probe": PROBE, "images": 100, "lr": (1e-3, 3e-3)}


def pretrain(out: Path, **settings: Any) -> pd.DataFrame:
    return run(suite="pretrain", model="ViT-mini", task="fractals:5", out=out, **{**SMALL, **settings})


def kept(out: Path) -> Path:
    (path,) = out.glob("kept/*/seed0.safetensors")
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    out, scored, advanced = tmp_path_factory.mktemp("run") / "out", [], []
    with pytest.MonkeyPatch.context() as patch:
        predict = evaluate.predict
        patch.setattr(JobReporter, "advance", lambda _, images, note="": advanced.append((images, note)))
        patch.setattr(evaluate, "predict", lambda *args, **more: scored.append(1) or predict(*args, **more))
        frame = pretrain(out)
    assert len(scored) == 4  # the minival, once a visit
    words = [f"suite.{name}={value}" for name, value in SMALL.items() if name != "lr"]
    (job,) = make_plan(
        config.read(["suite=pretrain", "model=ViT-mini", "task=fractals:5", *words, "lr=1e-3,3e-3"])
    ).jobs
    assert job.work.passes == sum(images for images, _ in advanced)  # the probes, too
    assert job.work.images == 2 * 2 * (50 + 4 * (20 + 10 + 10))
    assert job.work.kept == pytest.approx(kept(out).stat().st_size, rel=0.01)
    notes = [note for _, note in advanced if note]
    assert notes[0].startswith("candidate 1/2, step 1/4, loss ")
    assert notes[-2].startswith("candidate 2/2, step 4/4, loss ")
    assert [note for note in notes if "step" not in note] == [
        f"candidate {candidate}/2, visit {visit}/2" for candidate in (1, 2) for visit in (1, 2)
    ]
    return frame, out


def test_the_curves_hold_images_and_the_accuracy_of_visits(done: tuple[pd.DataFrame, Path]) -> None:
    frame, out = done
    (path,) = out.glob("cells/*.curves.csv")
    curves = pd.read_csv(path)
    assert curves["images"].tolist() == [32, 64, 96, 128] * 2
    assert curves[["loss", "grad_norm", "images_per_second"]].notna().all(axis=None)
    assert set(curves["recipe"]) == {"short"}
    at_visits = curves.dropna(subset="top1_val").set_index(["lr", "images"])["top1_val"]
    visits = frame[frame["metric"] == "top1_val_visit"].set_index(["lr", "samples"])["value"]
    assert at_visits.to_dict() == pytest.approx(visits.to_dict())


def numbers(frame: pd.DataFrame) -> str:
    return frame[frame["unit"] != "s"][["metric", "value", "seed", "lr", "samples", "probe"]].to_csv(index=False)


def test_what_is_measured(done: tuple[pd.DataFrame, Path]) -> None:
    frame, out = done
    assert frame["metric"].value_counts().to_dict() == {
        "top1_val_visit": 4,
        "top1_probe_visit": 4,
        "training_seconds": 4,
        "top1_val": 2,
        "top1_probe": 1,
    }
    assert sorted(frame["samples"].dropna().unique()) == [64, 128]
    visits = frame[frame["metric"] == "top1_val_visit"].groupby("lr")["value"].max()
    of_candidates = frame[frame["metric"] == "top1_val"].set_index("lr")["value"]
    assert of_candidates.to_dict() == visits.to_dict()
    assert [path.name for path in sorted(kept(out).parent.iterdir())] == [
        "seed0.safetensors",
        "seed0.safetensors.yaml",
    ]


def test_the_weights_of_the_best_visit_are_kept(done: tuple[pd.DataFrame, Path]) -> None:
    frame, out = done
    task = fractals_task("fractals:5")
    minival = Fractals().load(task, "val", out, out)
    network = create_model("ViT-mini", weights=str(kept(out)), num_classes=5)
    pixels = torch.from_numpy(np.stack(list(minival.images))).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        right = network(pixels).argmax(dim=1).numpy() == minival.labels
    assert 100 * right.mean() == pytest.approx(frame[frame["metric"] == "top1_val"]["value"].max())


def test_a_probe_is_the_few_shot_suites(done: tuple[pd.DataFrame, Path]) -> None:
    frame, out = done
    few = run(suite="fewshot", model="ViT-mini", weights=str(kept(out)), task=PROBE, shots=5, out=out.parent / "few")
    expected = few[few["metric"] == "top1"]["value"].mean()
    assert frame[frame["metric"] == "top1_probe"]["value"].item() == pytest.approx(expected, abs=1e-9)
    assert few["pretrain"].iloc[0] == "fractals:5"
    assert few["pretrain.images"].iloc[0] == 100


def test_a_probe_is_fed_images_of_the_size_that_is_trained_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    frame = pretrain(out, image_size=32, steps=1, visits=1, lr=1e-3)
    assert set(frame["status"]) == {"ok"}
    words = {"weights": str(kept(out)), "task": PROBE, "shots": 5, "image_size": 32}
    few = run(suite="fewshot", model="ViT-mini", out=tmp_path / "few", **words)
    expected = few[few["metric"] == "top1"]["value"].mean()
    assert frame[frame["metric"] == "top1_probe"]["value"].item() == pytest.approx(expected, abs=1e-9)


def test_the_sidecar(done: tuple[pd.DataFrame, Path]) -> None:
    frame, out = done
    known, head = read_sidecar(kept(out)), read_head(kept(out))
    assert known is not None
    assert head is not None
    assert (known.pretrain, known.images, head.data) == ("fractals:5", 100, "fractals:5")
    of_visits = frame[frame["metric"] == "top1_val_visit"]
    best = of_visits.sort_values(["value", "lr", "samples"], ascending=[False, True, True], kind="stable").iloc[0]
    assert known.epochs == best["samples"] / 100
    assert known.recipe == f"short, lr {best['lr']:g}"
    macs = create_model("ViT-mini").spec.macs
    assert macs is not None
    assert known.exaflops == pytest.approx(6 * macs * best["samples"] / 1e18)
    assert known.device_hours is not None
    assert known.device_hours > 0
    assert known.commit
    assert known.commit.startswith(frame["env.commit"].iloc[0] or "vit_bench ")
    train = first_images(Fractals().load(fractals_task("fractals:5"), "train", out, out), 100)
    assert known.images_sha == sha(train.digest)


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Two runs, of which the probes find 30 and 60 percent at the first two visits, and no more later."""
    found = [30.0, 60.0, 30.0, 49.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FewShotProbe, "top1", lambda *_: found.pop(0))
        more = {"until": 50, "visits": 4, "lr": 1e-3, "seed": (0, 1), "steps": 2}
        return pretrain(tmp_path_factory.mktemp("race") / "out", **more)


def test_a_race_ends_at_the_first_visit_that_reaches_its_target(race: pd.DataFrame) -> None:
    assert set(race["status"]) == {"ok"}  # also of the run that does not get there
    names = ("target_reached", "seconds_to_target", "training_seconds", "top1_probe_visit")
    reached, to_target, training, probed = (
        race[race["metric"] == name].groupby("seed")["value"].last() for name in names
    )
    assert reached.to_dict() == {0: 100, 1: 0}
    assert to_target.to_dict() == {0: training[0]}
    assert training[0] > 0
    assert probed.to_dict() == {0: 60, 1: 49}
    questions = race[race["metric"].ne("seconds_to_target") & race["metric"].ne("target_reached")]["question"]
    assert all('"until":"the mean of the probes is 50 %"' in text for text in questions)
    (table,) = PRETRAIN.build(TableRequest(frame=race))
    assert table.columns[-1] == "seconds to 50 %"
    assert table.rows[0][-1].endswith(" (1 of 2 runs)")
    (table,) = PRETRAIN.build(TableRequest(frame=race[race["seed"] == 1]))
    assert table.rows[0][-1] == "not reached"


def test_of_two_races_the_verdict_engine_says_which_is_faster(race: pd.DataFrame) -> None:
    one = race[race["metric"] == "seconds_to_target"]
    how = [{"lr": 1e-3, "images": 100, "model": "BiT-mini"}, {"lr": 3e-3, "images": 50, "model": "BiT-R50x1"}]
    sides = [
        pd.concat([one.assign(seed=seed, value=20.0 + 10 * i + seed % 3, **how[i]) for seed in range(10)])
        for i in (0, 1)
    ]
    for (a, b), word in {(0, 1): "better", (1, 0): "worse", (0, 0): "no difference seen"}.items():
        options = {"metric": "seconds_to_target", "by": "model"}
        (pair,) = compare(sides[a].reset_index(), sides[b].reset_index(), ("A", "B"), **options).pairs
        assert (pair.verdict, pair.unit, pair.ratio) == (word, "s", True)
    other = sides[1].assign(question=sides[1]["question"].str.replace("50 %", "60 %"))
    with pytest.raises(UsageError, match="do not answer the same question"):
        compare(sides[0].reset_index(), other.reset_index(), ("A", "B"), by="model")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_keeps_the_same_bytes(
    done: tuple[pd.DataFrame, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def killed(probe: FewShotProbe, network: Any) -> float:
        calls.append(probe)
        if len(calls) == 4:  # the last visit of the second candidate
            raise KeyboardInterrupt
        return measure(probe, network)

    measure = FewShotProbe.top1
    monkeypatch.setattr(FewShotProbe, "top1", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "out", checkpoint_minutes=1e-9)
    frame = pretrain(tmp_path / "out", checkpoint_minutes=1e-9)
    assert 5 <= len(calls) <= 6  # visits before the last checkpoint are not repeated
    assert numbers(frame) == numbers(done[0])
    assert kept(done[1]).read_bytes() == kept(tmp_path / "out").read_bytes()


def test_sets_of_growing_numbers_are_jobs_of_their_own_and_nested() -> None:
    words = ["suite=pretrain", "model=ViT-mini", "task=fractals:5", "suite.images=50,100", "suite.probe=digits"]
    jobs = make_plan(config.read(words)).jobs
    assert [job.suite.images for job in jobs] == [50, 100]
    assert len({job.key for job in jobs}) == 2
    assert [task for job in jobs for task in job.beside] == ["digits", "digits"]
    assert [job.work.trained for job in jobs] == [3 * 128 * round(10 * n / 128) for n in (50, 100)]
    assert [job.swept for job in jobs] == ["images=50", "images=100"]


def test_the_plan_states_cost_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=ViT-mini", "task=fractals:5", "images=50,100", "suite.probe=digits", "device=cpu"]
    plan_verb(["suite=pretrain", *words])
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if "fractals:5" in line or " random " in line]
    assert [[word for word in row if word.startswith("images=")] for row in rows][:2] == [["images=50"], ["images=100"]]
    said = " ".join(out.split())
    assert "3 candidates (short at lr 0.0003, 0.001, 0.003), 1 seed each, and held-out images choose" in said
    images, trained = 2 * 3 * 4 * (50 + 1797), 3 * 128 * (4 + 8)
    macs = create_model("ViT-mini").spec.macs or 0
    operations = 2 * macs * (images + 3 * trained)
    assert f"{images:,} images through a network and {trained:,} trained on (forward and backward)" in said
    assert f"TFLOP ({operations / 1e18:.3g} exaFLOPs), very roughly " in said
    assert " of disk, of which 6.8 MiB stay" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["suite.epochs=2", "suite.steps=5"], "suite.epochs=2 beside suite.steps=: type one"),
        (["suite.images=5000"], "suite.images=5000: fractals:5 has 500 images to train on"),
        (["suite.visits=0"], "suite.visits=0: a number above 0"),
        (["suite.probe=nothing"], "nothing"),
        (["suite.until=0"], "suite.until=0: percent, above 0 and up to 100"),
        (["suite.until=50", "suite.probe=none"], "suite.until=50 is of the probes: type suite.probe="),
        (["suite.objective=masked_patch", "model=BiT-mini"], "BiT-mini has none"),
        (["suite.rule=regularised", "suite.dropout=0.1"], "do not type them"),
    ],
)
def test_mistakes_are_told_before_any_work(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        make_plan(config.read(["suite=pretrain", "task=fractals:5", *words]))
    assert message in str(error.value)


def test_a_network_in_pieces_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as accelerate launch --use_fsdp sets it
    with pytest.raises(UsageError, match=r"in pieces \(FSDP\) .* type: torchrun --nproc-per-node 2 -m bench run"):
        make_plan(config.read(["suite=pretrain", "task=fractals:5"]))


@pytest.mark.slow
def test_two_processes_pre_train_as_one(done: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [f"suite.{name}={value}" for name, value in SMALL.items() if name != "lr"]
    words += ["suite=pretrain", "model=ViT-mini", "task=fractals:5", "lr=1e-3,3e-3", "device=cpu", "out=two"]
    subprocess.run([*torchrun, "-m", "vit_bench", "run", *words], cwd=tmp_path, check=True, timeout=300)
    assert "2 processes" in (tmp_path / "two" / "log.txt").read_text()
    two, one = load(tmp_path / "two"), done[0]
    same = ["metric", "seed", "lr", "samples", "probe", "images"]
    pd.testing.assert_frame_equal(two[same], one[same])
    assert (two["value"] - one["value"]).abs().max() <= 2.5  # of 40 and 50 images one, whose logits nearly tie
    theirs, ours = load_file(kept(tmp_path / "two")), load_file(kept(done[1]))
    assert theirs.keys() == ours.keys()
    apart = sum(float((theirs[name] - ours[name]).square().sum()) for name in ours) ** 0.5
    assert apart < 1e-5 * sum(float(ours[name].square().sum()) for name in ours) ** 0.5


@pytest.mark.parametrize(
    "words",
    [
        "fewshot task=digits shots=5",
        "fewshot task=digits protocol=knn shots=5",
        "vtab-mini task=digits",
        "classify task=fractals:5",
        "finetune task=digits recipe=short steps=1 suite.batch=8 lr=0.01 seed=0",
        "internals task=digits",
        "throughput suite.batch_size=1 device=cpu",
        "nearest-mean task=digits include=OWN",
    ],
)
@pytest.mark.slow
def test_every_suite_knows_where_kept_weights_are_from(done: tuple[pd.DataFrame, Path], words: str) -> None:
    suite, *more = words.replace("OWN", str(ROOT / "examples" / "own")).split()
    frame = run(f"suite={suite}", "model=ViT-mini", f"weights={kept(done[1])}", *more, out="r")
    assert set(frame["status"]) == {"ok"}
    known = read_sidecar(kept(done[1]))
    assert known is not None
    for name, value in asdict(known).items():
        if value is not None:
            assert set(frame["pretrain" if name == "pretrain" else f"pretrain.{name}"]) == {value}


def test_a_folder_pre_trains_on_its_first_images_in_the_order_of_hashed_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vit_bench.suites.training import runs

    for number in range(45):
        path = tmp_path / "photos" / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    task = folder_task(tmp_path / "photos")
    train = Folder().load(task, "train", tmp_path, tmp_path)
    trained: list[list[np.ndarray]] = []

    def images(fitted: list[Split], *rest: Any) -> TrainingImages:
        trained.append(list(fitted[0].images[: len(fitted[0])]))
        return TrainingImages(fitted, *rest)

    monkeypatch.setattr(runs, "TrainingImages", images)
    words = ("suite=pretrain", "model=ViT-mini", f"task=folder:{tmp_path / 'photos'}", "images=10,20", "steps=1")
    run(*words, "batch=4", "lr=1e-3", "probe=none", "visits=1", out="r")
    assert [len(found) for found in trained] == [10, 20]
    for found in trained:  # so the smaller set is the beginning of the larger one
        np.testing.assert_array_equal(found, list(train.images[: len(found)]))
    assert set(train.labels[:10]) == {0, 1, 2}
    sidecars = {known.images: known for path in Path("r").glob("kept/*/*.safetensors") if (known := read_sidecar(path))}
    assert {count: known.images_sha for count, known in sidecars.items()} == {
        count: sha(first_images(train, count).digest) for count in (10, 20)
    }


@pytest.mark.slow
def test_masked_patches_have_a_table_of_their_own(done: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    """And no minival score of theirs shares a question with one of classes."""
    frame = done[0]
    made = pretrain(tmp_path / "out", objective="masked_patch", steps=2, visits=1, lr=1e-3, images=50)
    losses, colours, probes = (made[made["metric"] == name]["value"].item() for name in LOSSES)
    both = pd.concat([frame, made], ignore_index=True)
    supervised, masked = PRETRAIN.build(TableRequest(frame=both))
    assert supervised.title == "pre-training on fractals:5, supervised: top-1 accuracy, percent"
    assert supervised.columns == ("model", "images", "rate", "minival", PROBE)
    assert masked.title.startswith("pre-training on fractals:5, masked_patch: loss in nats")
    assert masked.columns == ("model", "images", "rate", "loss", "entropy", "right colours", PROBE)
    ((_, images, rate, loss, _, right, probed),) = masked.rows
    assert (images, rate) == ("50", "0.001")
    assert [float(cell) for cell in (loss, right, probed)] == pytest.approx([losses, colours, probes], abs=0.05)
    assert float(loss) == pytest.approx(losses, abs=0.001)
    asked = [set(part[part["metric"] == "top1_val"]["protocol_sha"]) for part in (frame, made)]
    assert not asked[0] & asked[1]


@pytest.mark.slow
def test_masked_patches_are_learned_from_images_without_labels(tmp_path: Path) -> None:
    settings = {"objective": "masked_patch", "images": 500, "steps": 200, "batch": 64, "lr": 1e-3, "visits": 2}
    frame = pretrain(tmp_path / "out", **settings, recipe="short")
    loss, entropy = (frame[frame["metric"] == f"{name}_val_visit"]["value"].tolist() for name in ("loss", "entropy"))
    assert loss[-1] < loss[0]
    assert loss[-1] < entropy[-1]
    assert read_head(kept(tmp_path / "out")) is None
    few = run(
        suite="fewshot", model="ViT-mini", weights=str(kept(tmp_path / "out")), task="digits", out=tmp_path / "few"
    )
    assert few["pretrain"].iloc[0] == "fractals:5, masked_patch"


@pytest.mark.parametrize("damage", ["digit", "gone", "half"])
def test_a_run_whose_visits_are_damaged_says_so_and_starts_again(tmp_path: Path, damage: str) -> None:
    def resumed() -> tuple[_Visited, list[str]]:
        visits = Visits(
            steps=frozenset({1, 2}),
            measure=lambda *_: {"score": 50.5},
            enough=lambda _: False,
            self_supervised=None,
            provenance=lambda visit: {"epochs": visit["step"]},
        )
        task, said = fractals_task("fractals:5"), []
        visited = _Visited(
            visits, path, task, lambda *_: np.zeros(0), lambda *_: None, lambda step: tmp_path / f"kept-{step}"
        )
        visited.resume(said.append)
        return visited, said

    path = tmp_path / "run" / "visits.json"
    visited, said = resumed()
    assert (said, visited.all()) == ([], [])
    visited.visit(1, "network", 1.5)
    (checkpoint := path.with_name("step-00000001.pt")).touch()
    again, said = resumed()
    assert (said, again.all()) == ([], visited.all())
    text = path.read_text()
    path.unlink() if damage == "gone" else path.write_text(text.replace("50.5", "51.5") if damage == "digit" else "{")
    again, said = resumed()
    assert (said, again.all()) == ([f"{path} is damaged or gone; the run starts again"], [])
    assert not checkpoint.exists()


def visited(folder: Path, scores: list[float]) -> _Visited:
    visits = Visits(
        steps=frozenset({1, 2, 3}),
        measure=lambda *_: {"score": scores.pop(0)},
        enough=lambda visit: visit["score"] >= 60,
        self_supervised=None,
        provenance=lambda visit: {"epochs": visit["step"]},
    )

    def save(path: Path, network: str, _task: Any, provenance: Mapping[str, Any]) -> None:
        path.write_text(network)
        path.with_name(f"{path.name}.yaml").write_text(str(dict(provenance)))

    task = fractals_task("fractals:5")
    kept = lambda step: folder / f"kept-{step}"  # noqa: E731
    made = _Visited(visits, folder / "run" / "visits.json", task, lambda *_: np.zeros(0), save, kept)
    made.resume(lambda _: None)
    return made


def names_and_texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("kept-*")}


def test_of_three_visits_the_best_ones_weights_are_kept(tmp_path: Path) -> None:
    looks = visited(tmp_path, [50.0, 60.0, 55.0])
    for step in (1, 2, 3):
        looks.visit(step, f"network {step}", 1.5)
    assert names_and_texts(tmp_path) == {"kept-2": "network 2", "kept-2.yaml": "{'epochs': 2}"}
    assert [visit["score"] for visit in looks.all()] == [50.0, 60.0, 55.0]


def test_a_visit_of_before_a_kill_counts_as_it_was(tmp_path: Path) -> None:
    """Where a second visit after the same step would find other numbers, as on a GPU."""
    before = visited(tmp_path, [50.0, 60.0])
    for step in (1, 2):
        before.visit(step, f"network {step}", 1.5)
    looks = visited(tmp_path, [55.0])  # the checkpoint was of step 1
    assert looks.enough()
    for step in (2, 3):
        looks.visit(step, f"network {step}, again", 1.5)
    assert names_and_texts(tmp_path) == {"kept-2": "network 2", "kept-2.yaml": "{'epochs': 2}"}
    assert [visit["score"] for visit in looks.all()] == [50.0, 60.0, 55.0]


def test_weights_of_a_visit_that_was_never_written_down_are_no_best_ones(tmp_path: Path) -> None:
    """A kill between the weights of a visit and its numbers, and other numbers the second time."""
    visited(tmp_path, [50.0]).visit(1, "network 1", 1.5)
    (tmp_path / "kept-2").write_text("network 2")
    looks = visited(tmp_path, [45.0])
    looks.visit(2, "network 2, again", 1.5)
    assert names_and_texts(tmp_path)["kept-1"] == "network 1"
    assert max(looks.all(), key=lambda visit: visit["score"])["step"] == 1
