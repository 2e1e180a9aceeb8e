"""Model cards with a model-index, read back by huggingface_hub and by this project. No network."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from vit_bench.bench.verbs.export import export_verb
from vit_bench.bench.verbs.import_ import import_verb
from vit_bench.registry import UsageError
from vit_bench.results.exports.model_index import read
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store, load
from vit_bench.stable import sha


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two models on two tasks at 1 and 5 shots, two seeds: 50 + 10 per model + shots + seed; and a majority rate."""
    for i, model in enumerate(("ViT-mini", "my/net: #1")):
        for task in ("digits", "yes"):
            key = sha([model, task])
            base = Record(
                suite="fewshot", protocol="ridge", model=model, weights="in21k", task=task, unit="percent",
                split_sha=f"split of {task}", n_test=100, question={"task": task},
            )  # fmt: skip
            made = [
                Record(**vars(base) | {"metric": "top1", "value": 50.0 + 10 * i + shots + seed, "seed": seed,
                                       "at": {"shots": shots}, "measurement": f"{key}/{shots}{seed}"})
                for shots in (1, 5) for seed in (0, 1)
            ]  # fmt: skip
            made.append(Record(**vars(base) | {"metric": "majority_rate", "value": 10.0, "measurement": f"{key}/9"}))
            cell = Cell(key=key, slot=key, order=(i, task), identity={}, status="ok", started_at="2026",
                        records=tuple(made))  # fmt: skip
            Store(tmp_path / "run").put(cell)
    return tmp_path / "run"


def test_the_hubs_own_reader_finds_every_number(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_verb("model_index", [str(run), f"out={tmp_path / 'cards'}"])
    assert "left out: 4 records of majority_rate" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == ["ViT-mini_in21k.md", "my_net___1_in21k.md"]
    card = ModelCard.load(tmp_path / "cards" / "my_net___1_in21k.md", ignore_metadata_errors=False)
    assert card.data.model_name == "my/net: #1"
    found = {
        (one.dataset_name, one.metric_args["shots"]): (one.metric_type, one.metric_value, one.metric_args["seeds"])
        for one in card.data.eval_results or ()
    }
    assert found == {
        (task, shots): ("accuracy", pytest.approx((60 + shots + 0.5) / 100), [0, 1])
        for task in ("digits", "yes")
        for shots in (1, 5)
    }
    assert {one.dataset_revision for one in card.data.eval_results or ()} == {"split of digits", "split of yes"}


def test_a_card_is_imported_again(run: Path, tmp_path: Path) -> None:
    export_verb("model_index", [str(run), f"out={tmp_path / 'cards'}"])
    import_verb("model_index", [str(tmp_path / "cards" / "ViT-mini_in21k.md"), f"out={tmp_path / 'back'}"])
    frame = load(tmp_path / "back")
    assert frame[["model", "weights", "task", "metric", "shots", "value"]].to_numpy().tolist() == [
        ["ViT-mini", "in21k", task, "top1", shots, 50.5 + shots] for task in ("digits", "yes") for shots in (1, 5)
    ]
    assert set(frame["protocol"]) == {"fewshot ridge"}


@pytest.mark.parametrize(
    "text", ["", "# no head", "---\ntags: [a]\n---\n", "---\nmodel-index: 3\n---\n", "---\n{\n---\n"]
)
def test_what_holds_no_results_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.md").write_text(text)
    with pytest.raises(UsageError, match=r"card\.md"):
        read(tmp_path / "card.md")
