"""Weights by name in plans and runs: tags, aliases that say them, globs, downloads, and where they come from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import vit_bench
from safetensors.torch import save_file
from vit_bench import create_model
from vit_bench.bench import config
from vit_bench.bench.api import _labels as api_labels
from vit_bench.bench.plan import Plan, make_plan
from vit_bench.models import catalog
from vit_bench.models.released import table as releases
from vit_bench.models.weights_choice import WeightsFile
from vit_bench.registry import UsageError
from vit_bench.results.store import Store, load
from vit_bench.results.tables import make
from vit_bench.results.tables.names import short_weights

TINY = ("suite=fewshot", "task=digits", "shots=1", "seed=0")
NARROW = {"width": 32, "depth": 1, "heads": 1}  # of the network where its size does not matter
NARROW_WORDS = tuple(f"model.{name}={value}" for name, value in NARROW.items())


def plan(*words: str) -> Plan:
    return make_plan(config.read([*TINY, *words]))


def pairs(*words: str) -> list[tuple[str, str]]:
    return [(job.model.name, str(job.weights)) for job in plan(*words).jobs]


def mini_file(path: Path, seed: int = 5, **settings: int) -> bytes:
    """The file of a ViT-mini with these settings, and its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(create_model(catalog()["ViT-mini"].derive(**settings), seed=seed).state_dict()), path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("model=ViT-B/16 weights=in21k", [("ViT-B/16", "in21k")]),
        ("model=vit_b16 weights=IN21K,augreg_in21k", [("ViT-B/16", "augreg-in21k"), ("ViT-B/16", "in21k")]),
        ("model=ViT-B/16 weights=vit_base_patch16_224.augreg_in21k", [("ViT-B/16", "augreg-in21k")]),
        (
            "model=BiT-R50x1 weights=bit-*",
            [("BiT-R50x1", "bit-m"), ("BiT-R50x1", "bit-m-in1k"), ("BiT-R50x1", "bit-s")],
        ),
        ("model=BiT-M-R50x1", [("BiT-R50x1", "bit-m")]),
        ("model=BiT-M-R50x1,BiT-S-R50x1", [("BiT-R50x1", "bit-m"), ("BiT-R50x1", "bit-s")]),
        ("model=BiT-M-R50x1 weights=bit-m", [("BiT-R50x1", "bit-m")]),
        ("model=vit_base_patch16_224.augreg_in21k", [("ViT-B/16", "augreg-in21k")]),
        ("model=vit_base_patch16_224 weights=random:1", [("ViT-B/16", "random:1")]),
        ("model=BiT-M-R50x1,ViT-mini", [("ViT-mini", "random"), ("BiT-R50x1", "bit-m")]),
        ("model=ViT-*/16 weights=augreg-in21k", [(f"ViT-{size}/16", "augreg-in21k") for size in ("Ti", "S", "B", "L")]),
    ],
)
def test_words_that_name_weights(words: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(*words.split()) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "model=BiT-R50x1",
            r"BiT-R50x1 needs weights for suite=fewshot: type weights=TAG \(bit-s, bit-m, bit-m-in1k, distilled-224, "
            r"distilled-160 and 57 more \(`weights list BiT-R50x1`\)\), weights=FILE or, for the untrained network, "
            r"weights=random",
        ),
        ("model=BiT-R200x3", r"BiT-R200x3 needs weights for suite=fewshot: type weights=FILE"),
        (
            "model=BiT-M-R50x1 weights=bit-s",
            r"model=BiT-M-R50x1 says the weights, bit-m of BiT-R50x1, and weights=bit-s says others. "
            r"Type model=BiT-R50x1 weights=bit-s",
        ),
        ("model=BiT-M-R50x1 weights=random", r"says the weights, bit-m of BiT-R50x1, and weights=random says others"),
        (
            "model=ViT-B/16 weights=in21",
            r"weights=in21: there is no such file, and there are no weights 'in21' of ViT-B/16. Did you mean 'in21k'\? "
            r"There are: in21k, .*Type one of them, a path, or weights=random",
        ),
        (
            "model=ViT-B/16,ViT-H/14,ViT-S/16-gap weights=augreg-in21k",
            r"weights=augreg-in21k: ViT-H/14, ViT-S/16-gap have no such weights, only ViT-B/16. Type model=ViT-B/16,",
        ),
        ("model=ViT-B/16,BiT-R50x1 weights=bit-*", r"weights=bit-\*: ViT-B/16 has no such weights, only BiT-R50x1"),
        (
            "model=ViT-B/16 weights=bit-*",
            r"weights=bit-\*: no file matches, and no tag of ViT-B/16. Of ViT-B/16 there a",
        ),
        (
            "model=ViT-mini weights=x/*.pt",
            r"weights=x/\*.pt: no file matches, and no tag of ViT-mini. Type the path of",
        ),
        ("model=ViT-B/16 weights=ViT-B_16", r"'ViT-B_16' is the stem of 3 released files of ViT-B/16. Type one of the"),
        ('model=ViT-mini weights="a,b', r'weights="a,b: a quotation mark is not closed. Quote a whole item: "a,b.pt"'),
    ],
)
def test_mistakes_name_what_to_type_instead(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(*words.split())


def test_a_glob_selects_files_in_the_order_people_count(tmp_path: Path) -> None:
    for name in ("step10.pt", "step9.pt", "step100.pt", "notes.txt"):
        (tmp_path / "ckpts").mkdir(exist_ok=True)
        (tmp_path / "ckpts" / name).touch()
    steps = [f"ckpts/step{i}.pt" for i in (9, 10, 100)]
    assert pairs("model=ViT-mini", "weights=ckpts/*.pt") == [("ViT-mini", step) for step in steps]
    assert pairs("model=ViT-mini", "weights=ckpts/*9.pt,random") == [("ViT-mini", steps[0]), ("ViT-mini", "random")]
    assert len(pairs("model=ViT-mini", f"weights={tmp_path}/**/*.pt")) == 3


def test_a_path_with_a_comma_is_quoted(tmp_path: Path) -> None:
    for name in ("a,b.pt", "c.pt"):
        (tmp_path / name).touch()
    assert pairs("model=ViT-mini", 'weights="a,b.pt",c.pt') == [("ViT-mini", "a,b.pt"), ("ViT-mini", "c.pt")]
    from vit_bench.bench.words import text_of

    assert text_of("weights", [Path("a,b.pt"), "c.pt"]) == '"a,b.pt",c.pt'


def test_a_tag_goes_before_a_file_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "in21k").touch()
    assert pairs("model=ViT-B/16", "weights=in21k,./in21k") == [("ViT-B/16", "./in21k"), ("ViT-B/16", "in21k")]
    jobs = plan("model=ViT-B/16", "weights=in21k,./in21k").jobs
    assert [bool(job.release) for job in jobs] == [False, True]
    assert len({job.key for job in jobs}) == 2


def test_a_part_of_a_file_a_folder_and_an_index_are_their_files(tmp_path: Path) -> None:
    for name in ("run.pth", "hub/model-1.safetensors", "hub/model-2.safetensors", "hub/model.safetensors.index.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "hub" / "README.md").touch()
    (tmp_path / "empty").mkdir()
    assert WeightsFile("run.pth:model_ema").files() == WeightsFile("run.pth").files() == [Path("run.pth")]
    index, *shards = [Path("hub/model.safetensors.index.json"), *sorted(Path("hub").glob("*.safetensors"))]
    assert WeightsFile(str(index)).files() == [index, *shards]
    assert set(WeightsFile("hub").files()) == {index, *shards}
    assert WeightsFile("empty").files() == WeightsFile("gone.pth").files() == WeightsFile("gone.pth:part").files() == []
    assert pairs("model=ViT-mini", "weights=run.pth:model_ema,hub") == [
        ("ViT-mini", "hub"),
        ("ViT-mini", "run.pth:model_ema"),
    ]


def test_labels_of_files_are_as_short_as_they_can_be() -> None:
    names = ["in21k", "random", "runs/a/last.pt", "runs/b/last.pt", "/data/best.pt"]
    assert list(short_weights(names).values()) == ["in21k", "random", "a/last", "b/last", "best"]
    assert short_weights(["x/last.pt", "last.pt"]) == {"x/last.pt": "x/last", "last.pt": "last.pt"}
    assert short_weights(["/a.pt"]) == {"/a.pt": "a"}
    assert short_weights(["/a.pt", "/a.npz", "/b.pt"]) == {"/a.pt": "a.pt", "/a.npz": "a.npz", "/b.pt": "b"}


# ------------------------------------------------------------------------------------------------------ plan and run


def test_planning_tells_what_is_missing_and_downloads_nothing(bucket, tmp_path: Path) -> None:
    made = plan("model=BiT-M-R50x1")
    assert [one.tag for one in made.downloads()] == ["bit-m"]
    assert bucket.seen == []
    assert not (tmp_path / "cache").exists()
    place = releases.cached_file(made.downloads()[0])
    place.parent.mkdir(parents=True)
    place.touch()
    assert plan("model=BiT-M-R50x1").downloads() == []


def test_a_folder_that_is_not_there_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", "nowhere")
    with pytest.raises(UsageError, match="BENCH_WEIGHTS=nowhere: there is no such folder"):
        plan("model=BiT-M-R50x1")


@pytest.mark.usefixtures("mini_release")
def test_a_run_downloads_measures_and_records(bucket, tmp_path: Path) -> None:
    bucket.files["mini_models/mini.safetensors"] = mini_file(tmp_path / "mini.safetensors")
    frame = vit_bench.run(*TINY, model="ViT-mini", weights="mini", out="r")
    assert set(frame["status"]) == {"ok"}
    assert set(frame["weights"]) == {"mini"}
    assert set(frame["pretrain"]) == {"doodles"}
    assert set(frame["pretrain.epochs"]) == {7}
    assert set(frame["pretrain.core_days"]) == {0.5}
    assert "pretrain.images" not in frame
    again = load(tmp_path / "r" / "results.csv")
    assert list(again["pretrain.epochs"]) == list(frame["pretrain.epochs"])
    path = tmp_path / "cache" / "weights" / "mini_models" / "mini.safetensors"
    (cell,) = Store(tmp_path / "r").cells()
    assert str(path) in [item["path"] for item in cell.inputs]
    assert cell.identity["weights"] == "mini"
    assert f"fetched {path}" in (tmp_path / "r" / "log.txt").read_text()

    same = vit_bench.run(*TINY, model="ViT-mini", weights="mini.safetensors", out="s")
    assert set(same["weights_sha"]) == set(frame["weights_sha"])
    assert list(same[same["metric"] == "top1"]["value"]) == list(frame[frame["metric"] == "top1"]["value"])
    assert set(same["pretrain"]) == {""}
    assert len(bucket.seen) == 1

    mini_file(path, seed=6)
    assert plan("model=ViT-mini", "weights=mini", "out=r").states == ("stale",)


@pytest.mark.usefixtures("mini_release")
def test_weights_that_cannot_be_had_fail_their_jobs_alone(bucket, tmp_path: Path) -> None:
    frame = vit_bench.run(*TINY, task="digits,photos", model="ViT-mini", weights="mini", out="r")
    assert list(frame["status"]) == ["failed", "failed"]
    error = str(frame["error"].iloc[0])
    assert error.startswith("ViT-mini weights=mini cannot be downloaded. Tried http://127.0.0.1")
    assert "404" in error
    assert len(bucket.seen) == 1  # not once a job

    frame = vit_bench.run(*TINY, model="ViT-mini", weights="mini,random", out="r")
    assert dict(frame.drop_duplicates("weights").set_index("weights")["status"]) == {"mini": "failed", "random": "ok"}
    assert set(frame[frame["weights"] == "random"]["pretrain"]) == {"none"}
    bucket.files["mini_models/mini.safetensors"] = mini_file(tmp_path / "mini.safetensors")
    assert set(vit_bench.run(*TINY, model="ViT-mini", weights="mini,random", out="r")["status"]) == {"ok"}


@pytest.mark.usefixtures("mini_release")
def test_create_model_downloads_and_takes_the_tag(bucket, tmp_path: Path) -> None:
    bucket.files["mini_models/mini.safetensors"] = mini_file(tmp_path / "mini.safetensors")
    network = create_model("ViT-mini", weights="mini", num_classes=3)
    assert network.spec.known_weights == ("mini",)
    expected = create_model("ViT-mini", seed=5).state_dict()
    assert all(torch.equal(network.state_dict()[name], value) for name, value in expected.items())


@pytest.mark.usefixtures("mini_release")
def test_several_checkpoints_make_a_row_each(tmp_path: Path) -> None:
    for step in (2, 10):
        mini_file(tmp_path / "ckpts" / f"step{step}.safetensors", seed=step, **NARROW)
    frame = vit_bench.run(*TINY, *NARROW_WORDS, model="ViT-mini", weights="ckpts/*.safetensors", out="r")
    (table,) = make("fewshot", frame)
    name = "ViT-mini [depth=1 heads=1 width=32]"
    assert [row[1] for row in table.rows] == [f"{name} (step2)", f"{name} (step10)"]
    treatment = [json.loads(text) for text in frame["treatment"]]
    assert not any("pretrain" in each for each in treatment)


def test_of_files_of_several_models_each_model_takes_its_own(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        mini_file(tmp_path / f"{name}.safetensors")
    (tmp_path / "a.safetensors.yaml").write_text("model: ViT-mini\n")
    (tmp_path / "b.safetensors.yaml").write_text("model: BiT-mini\n")

    def pairs(*words: str) -> list[str]:
        jobs = plan("suite=fewshot", "task=digits", "weights=*.safetensors", *words).jobs
        return [f"{job.model.name} {Path(str(job.weights)).stem}" for job in jobs]

    assert pairs("model=ViT-mini,BiT-mini") == ["ViT-mini a", "ViT-mini c", "BiT-mini b", "BiT-mini c"]
    assert pairs("model=ViT-mini") == ["ViT-mini a", "ViT-mini b", "ViT-mini c"]  # b fails, and says why
    with pytest.raises(UsageError, match=r"by their sidecar files none of these are of BiT-mini"):
        plan("suite=fewshot", "task=digits", "weights=a.safetensors", "model=ViT-mini,BiT-mini")


def test_what_a_sidecar_says_is_recorded(tmp_path: Path) -> None:
    mini_file(tmp_path / "mine.safetensors", **NARROW)
    (tmp_path / "mine.safetensors.yaml").write_text("pretrain: my photos\nimages: 1234\nepochs: 2.5\n")
    frame = vit_bench.run(*TINY, *NARROW_WORDS, model="ViT-mini", weights="mine.safetensors", out="r")
    assert set(frame["pretrain"]) == {"my photos"}
    assert set(frame["pretrain.images"]) == {1234}
    assert set(frame["pretrain.epochs"]) == {2.5}
    assert re.fullmatch(r"[0-9a-f]{16}", str(frame["weights_sha"].iloc[0]))


def test_what_was_done_to_fit_a_file_is_said_and_recorded(tmp_path: Path) -> None:
    import torch

    state = create_model("ViT-mini", seed=5).state_dict()
    torch.save({"model": state, "model_ema": state, "epoch": 3}, tmp_path / "run.pth")
    frame = vit_bench.run(*TINY, model="ViT-mini", weights="run.pth", image_size=32, out="r")
    log = Path("r/log.txt").read_text()
    (notes,) = {tuple(json.loads(text).get("weights_notes", ())) for text in frame["treatment"] if text != "{}"}
    assert any("position embeddings resized 4x4 -> 2x2 (spline)" in note for note in notes)
    assert any("model_ema" in note for note in notes)
    for note in notes:
        assert log.count(f"ViT-mini run.pth: {note}") == 1


# ------------------------------------------------------------------------------------------------------------ labels


OWN = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.image_size = 16
        self.stem, self.fc = torch.nn.Conv2d(3, width, 4, 4), torch.nn.Linear(width, 10)

    def forward(self, images):
        return self.fc(self.stem(images).relu().mean((2, 3)))
"""


def shown(run: str) -> list[str]:
    """The names of the rows in the table of a run."""
    (table,) = make("fewshot", load(run))
    return [row[1] for row in table.rows]


def test_a_label_is_shown_and_changing_it_costs_no_work(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(OWN)
    for step in (1, 2):
        state = create_model("net.py:Net", f"random:{step}").module.state_dict()
        torch.save({"state_dict": {f"model.{name}": value for name, value in state.items()}}, f"step{step}.pt")
    words = ("suite=fewshot", "task=digits", "seed=0", "model=net.py:Net", "weights=step*.pt", "out=r")
    first = vit_bench.run(*words, shots=1)
    assert shown("r") == ["Net (step1)", "Net (step2)"]
    assert first["weights_sha"].nunique() == 2  # a row a checkpoint, also of one's own model
    cells = Store(tmp_path / "r").cells()
    assert {Path(item["path"]).name for item in cells[0].inputs} >= {"net.py", "step1.pt"}
    identities = [(cell.key, cell.slot, cell.identity) for cell in cells]
    labelled = make_plan(config.read([*words, "shots=1", "label=start,end"]))
    assert [(job.key, job.slot, job.identity) for job in labelled.jobs] == identities
    assert labelled.states == ("done", "done")
    for labels, names in (("start,end", ["start", "end"]), ("none,late", ["Net (step1)", "late"])):
        again = vit_bench.run(*words, shots=1, label=labels)
        assert shown("r") == shown("r/results.csv") == names
        assert list(again["value"]) == list(first["value"])
        assert set(again["started_at"]) == set(first["started_at"])
    vit_bench.run(*words, shots=2)  # a label stays, also for what is measured later
    assert set(shown("r")) == {"Net (step1)", "late"}


def test_dicts_from_python_have_labels() -> None:
    models = {f"epoch {i}": torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten()) for i in (1, 2, 10)}
    for i, model in enumerate(models.values()):
        model.image_size, model.tap, model.scale = 16, "output", i
    frame = vit_bench.run(*TINY, model=models, out="r")
    assert list(dict.fromkeys(frame["label"])) == shown("r") == list(models)  # in the order of the dict
    seeds = {"first": "random:1", "second": "random:2"}
    given = make_plan(
        config.read([*TINY, "model=ViT-mini", "weights=random:1,random:2", "label=ours first,ours second"])
    )
    assert api_labels({"ours": "ViT-mini"}, seeds) == [job.label for job in given.jobs]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("label=a", r"label= says 1 name, and the rows that need one are 2, in this order: ViT-mini random, ViT-mini "),
        ("label=a,a", r"label=a,a: 'a' is the name of two rows"),
        (
            "label=a,b,none",
            r"says 3 names, and .* are 2, .*ViT-mini random, ViT-mini random:1\. Type one for each; `no",
        ),
    ],
)
def test_labels_that_do_not_fit(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan("model=ViT-mini", "weights=random,random:1", *words.split())
