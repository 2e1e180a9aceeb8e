"""The trained weights that come with the package: found by tag everywhere, and the same numbers as were recorded."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import vit_bench
from vit_bench.models import create_model, select_model
from vit_bench.models.released.table import PACKAGED
from vit_bench.registry import UsageError
from vit_bench.suites.images.features import weights_digest
from vit_bench.suites.pretrain import Pretrain

DIGESTS = {
    "BiT-mini": "8b9d274977d7edafbb215cd5ceedcdbd6af4c52e6a754402db836a94280b1ac8",
    "R+ViT-mini": "a23af6cc27a32dd6c6561d10eb72a7b2dfd94b20ce0b3641a571a2554be341e6",
}

# Of the first twenty steps of the runs that the files are of: the norm of the gradient, which shows weights and images.
FIRST_STEPS = {
    ("BiT-mini", 1e-3, 94): "1.9669181 2.0988147 2.3524671 2.3950853 1.8560735 2.2590344 1.8480583 2.2487504 1.9762938 "
    "2.2258384 1.8215021 2.3125219 2.2015367 2.213402 1.8463668 2.0981398 2.1242411 2.3501925 2.3374486 2.3439004",
    ("R+ViT-mini", 3e-4, 71): "2.5770607 2.7579806 3.0523381 3.1736197 2.4147172 2.901336 2.416975 2.9113538 2.5897892 "
    "2.897017 2.420325 3.0505366 2.8913395 2.9212687 2.4288156 2.7370052 2.7585077 3.0442832 3.0540049 3.0496039",
}


@pytest.mark.parametrize("model", DIGESTS)
def test_weights_load_by_their_tag(model: str) -> None:
    network = create_model(model, "fractals")
    assert network.notes == ()
    assert network.has_own_head
    assert weights_digest(network.state_dict()) == DIGESTS[model]
    assert weights_digest(create_model(f"{model}-fractals").state_dict()) == DIGESTS[model]


@pytest.mark.parametrize("model", DIGESTS)
def test_the_sidecar_says_how_they_were_trained(model: str) -> None:
    weights = select_model(f"{model}-fractals").weights
    assert weights is not None
    known, head = weights.provenance(), weights.head()
    assert known.pretrain == weights.release.provenance.pretrain == "fractals:50:400:white"
    assert (known.images, known.exaflops) == (20_000, pytest.approx(4.5e-6, rel=1e-3))
    assert head is not None
    assert (head.data, head.antialias) == (known.pretrain, True)
    assert [path.name for path in weights.sidecars()] == [f"{model}-fractals.safetensors.yaml"]


def test_files_are_small() -> None:
    sizes = [path.stat().st_size for path in (PACKAGED / "fractals").glob("*.safetensors")]
    assert len(sizes) == len(DIGESTS)
    assert max(sizes) < 2_000_000


def test_a_family_without_them_says_so() -> None:
    with pytest.raises(UsageError, match="there are no weights 'fractals' of ViT-mini"):
        create_model("ViT-mini", "fractals")


@pytest.mark.slow
def test_their_probe_is_what_was_recorded(tmp_path: Path) -> None:
    frame = vit_bench.run(
        "suite=vtab-mini", "model=BiT-mini", "task=digits", "weights=fractals", f"out={tmp_path / 'run'}"
    )
    (top1,) = frame[frame["metric"] == "top1"]["value"]
    assert top1 == pytest.approx(97.24, abs=0.3)
    assert set(frame["pretrain"]) == {"fractals:50:400:white"}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "lr", "visits"), FIRST_STEPS)
def test_their_command_still_begins_as_the_runs_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, lr: float, visits: int
) -> None:
    monkeypatch.setattr(Pretrain, "_enough", lambda *_: True)  # at the first visit, after twenty steps
    words = ("config=bench/pretrain_minis.yaml", f"model={model}", f"suite.lr={lr}", f"suite.visits={visits}")
    vit_bench.run(*words, "device=cpu", f"out={tmp_path / 'run'}")
    (path,) = tmp_path.glob("run/cells/*.curves.csv")
    then = [float(norm) for norm in FIRST_STEPS[model, lr, visits].split()]
    assert pd.read_csv(path)["grad_norm"].tolist() == pytest.approx(then, rel=1e-3)
