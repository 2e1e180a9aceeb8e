"""The trained weights that come with the package: found by tag everywhere, and the same numbers as were recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import vit_bench
from vit_bench.models import create_model, select_model
from vit_bench.models.released.table import PACKAGED
from vit_bench.registry import UsageError
from vit_bench.suites.images.features import weights_digest

DIGESTS = {
    "BiT-mini": "8b9d274977d7edafbb215cd5ceedcdbd6af4c52e6a754402db836a94280b1ac8",
    "R+ViT-mini": "a23af6cc27a32dd6c6561d10eb72a7b2dfd94b20ce0b3641a571a2554be341e6",
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


def test_their_probe_is_what_was_recorded(tmp_path: Path) -> None:
    frame = vit_bench.run(
        "suite=vtab-mini", "model=BiT-mini", "task=digits", "weights=fractals", f"out={tmp_path / 'run'}"
    )
    (top1,) = frame[frame["metric"] == "top1"]["value"]
    assert top1 == pytest.approx(97.24, abs=0.3)
    assert set(frame["pretrain"]) == {"fractals:50:400:white"}
