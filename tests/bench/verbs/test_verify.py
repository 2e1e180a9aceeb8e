"""`verify`: published numbers replayed from official files, and the link that is named when one is wrong."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vit_bench
from typer.testing import CliRunner
from vit_bench.bench import config
from vit_bench.bench.cli import app
from vit_bench.bench.plan import make_plan
from vit_bench.bench.verify import diagnose
from vit_bench.registry import UsageError
from vit_bench.suites.images.features import extract
from vit_bench.suites.images.transforms import View
from vit_bench.suites.metrics import top1
from vit_bench.suites.tasks import tasks

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def verify(*words: str) -> tuple[int, str, list[dict[str, str]]]:
    """Exit code, what was printed, and the rows of verify.csv."""
    done = CliRunner().invoke(app, ["verify", *words], env={"COLUMNS": "200"})
    if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
        raise done.exception
    path = Path("runs/verify/verify.csv")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    return done.exit_code, " ".join(done.output.split()), rows


def test_a_file_that_is_as_published_agrees_and_is_not_measured_twice(toy: Any, publish: Callable[..., None]) -> None:
    right = toy.write_file("good")
    assert 60 < right < 99
    publish("good", f"{right:.2f}")
    code, text, (row,) = verify("ViT-mini")
    assert code == 0, text
    assert (row["verdict"], float(row["measured"])) == ("agrees", pytest.approx(right))
    assert float(row["low"]) < right < float(row["high"])
    assert "agrees" in text
    code, again, _ = verify("ViT-mini")
    assert code == 0
    assert "at most 160 images through networks, 0.00" in text
    assert "images through networks" not in again


@pytest.mark.parametrize(
    ("link", "fitted"),
    [
        ("normalisation", {**IMAGENET}),
        ("channel order", {"bgr": True}),
        pytest.param("resize", {"resize": "shorter_crop", "crop_pct": 0.875}, marks=pytest.mark.slow),
        pytest.param("resolution", {"image_size": 96}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_the_link_that_is_wrong_is_named(
    link: str, fitted: dict[str, Any], toy: Any, publish: Callable[..., None]
) -> None:
    right = toy.write_file("other", View(**fitted).over(View(resize="square", antialias=False, image_size=64)))
    publish("other", f"{right:.2f}")
    code, text, (row,) = verify("ViT-mini", "sample=100")
    assert (code, row["verdict"]) == (1, "differs"), text
    assert row["suspect"] == link, row
    assert f"suspect: {link}" in text


def test_permuted_labels_are_named(toy: Any, publish: Callable[..., None]) -> None:
    right = toy.write_file("permuted", order=np.roll(np.arange(8)[::-1], 3))
    publish("permuted", f"{right:.2f}")
    code, text, (row,) = verify("ViT-mini")
    assert (code, row["verdict"], row["suspect"]) == (1, "differs", "label order"), text
    assert "in another order" in row["because"]


@pytest.mark.slow
def test_a_head_of_nothing_is_named(toy: Any, publish: Callable[..., None]) -> None:
    toy.write_file("blind", blind=True)
    publish("blind", "85.0")
    code, text, (row,) = verify("ViT-mini")
    assert (code, row["verdict"], row["suspect"]) == (1, "differs", "head"), text
    assert "a probe on 80 images' features before it scores" in row["because"]


@pytest.mark.slow
def test_two_links_that_are_wrong_together_are_named(toy: Any, publish: Callable[..., None]) -> None:
    view = View(bgr=True, resize="shorter_crop", crop_pct=0.875)
    right = toy.write_file("two", view.over(View(antialias=False, image_size=64)))
    publish("two", f"{right:.2f}")
    _, text, (row,) = verify("ViT-mini")
    assert set(row["suspect"].split(" and ")) == {"channel order", "resize"}, text


@pytest.mark.slow
def test_a_number_of_another_split_is_named(toy: Any, toys: Any, publish: Callable[..., None]) -> None:
    """A head that was fitted to the validation images of `digits`, and published with its score on those."""
    from vit_bench.suites.sources.miniature.builtin import Builtin

    val = Builtin().load(tasks()["digits"], "val", toy.data, toy.data)
    network, transform = toys.fitted(toys.OFFICIAL, val.images, val.labels, 10)
    toy.save(network, "split")
    logits = extract(toys.Logits(network), val.images, transform, batch_size=64)
    publish("split", f"{top1(logits.argmax(1), val.labels):.1f}", finetune="digits")
    code, text, (row,) = verify("ViT-mini", "sample=200")
    assert (code, row["suspect"], row["task"]) == (1, "split", "digits"), text
    assert "on the val images it is" in row["because"]


def test_what_no_single_change_explains_names_none(
    toy: Any, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = [("normalisation", "with ImageNet's mean and std", View(**IMAGENET))]
    monkeypatch.setattr(diagnose, "alternatives", lambda _: iter(tried))
    toy.write_file("good")
    publish("good", "99.50")
    code, _, (row,) = verify("ViT-mini")
    assert (code, row["verdict"], row["suspect"]) == (1, "differs", ""), row
    assert "no single change explains it (published 99.50, measured" in row["because"]
    assert "Tried on 80 images: normalisation" in row["because"]


def test_a_number_of_another_run_is_no_proof_of_a_mistake(toy: Any, publish: Callable[..., None]) -> None:
    right = toy.write_file("good")
    publish("good", "60.0", top1_of="configuration")
    code, text, (row,) = verify("ViT-mini", "diagnose=false")
    assert (code, row["verdict"], row["of"]) == (0, "differs", "its configuration")
    assert "differs *" in text
    assert "* not this file's own number" in text
    code, _, (row,) = verify("ViT-mini", "diagnose=false", f"tolerance={right - 60:.1f}")
    assert (code, row["verdict"]) == (0, "agrees")


def test_timms_numbers_are_replayed_as_timm_tests_and_real_shares_the_pass(
    toy: Any, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vit_bench.suites.images import feeding
    from vit_bench.suites.images.features import extract_spans

    passed = []

    def counting(backbone, images, how, spans):
        for span, part in extract_spans(backbone, images, how, spans):
            passed.append((how.transform.resize, how.transform.interpolation, len(part)))
            yield span, part

    monkeypatch.setattr(feeding, "extract_spans", counting)
    view = View(resize="shorter_crop", crop_pct=0.9, image_size=64, interpolation="bicubic")
    right = toy.write_file("timms", view)
    publish("timms", "", timm_top1=f"{right:.3f}", timm_real_top1="90.0", timm_resolution="64", hub_timm="timm/vit.x")
    code, text, (imagenet, real) = verify("ViT-mini", "diagnose=false")
    assert code == 0, text  # none is this file's own
    assert (imagenet["verdict"], imagenet["of"], imagenet["task"]) == ("agrees", "timm's copy", "ImageNet")
    assert (real["task"], real["n_test"]) == ("ImageNet ReaL", "150")
    assert {how[:2] for how in passed} == {("shorter_crop", "bicubic")}
    assert sum(count for _, _, count in passed) == 160
    words = ["suite=classify", "model=ViT-mini", "weights=timms", "task=ImageNet,ImageNet-ReaL", "out=elsewhere"]
    assert make_plan(config.read(words)).work()[0].images == 160
    frame = vit_bench.run(*words[:-1], "image_size=32")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    top1_of = frame[frame["metric"] == "top1"].set_index("task")
    assert top1_of["n_test"].to_dict() == {"ImageNet": 160, "ImageNet ReaL": 150}
    assert frame[frame["task"] == "ImageNet ReaL"]["metric"].tolist() == ["top1", "top5", "majority_rate", "ece"]


def test_what_is_not_here_is_listed_with_its_place(
    toy: Any, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish("gone", "81.2")
    code, text, rows = verify("list", "ViT-mini")
    assert (code, rows) == (0, [])
    where = toy.weights / "toys" / "gone.npz"
    assert f"missing: weights ViT-mini:gone: place {where}, or `weights download ViT-mini:gone`" in text
    assert "no weights" in text
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match=r"nothing of the 1 published numbers can be replayed here\. Place what"):
        verify("ViT-mini")


def test_what_is_typed_wrong() -> None:
    with pytest.raises(UsageError, match=r"verify has no setting 'tolerence'. Did you mean 'tolerance'\?"):
        verify("tolerence=1")
    with pytest.raises(UsageError, match="no accuracy is published of BiT-R50x1:vtab-run0-svhn"):
        verify("BiT-R50x1:vtab-run0-svhn")
    with pytest.raises(UsageError, match=r"sample=10: a diagnosis needs at least 50 images"):
        verify("sample=10")
    with pytest.raises(UsageError, match=r"of=mine: Choose from: file, configuration, copy"):
        verify("of=mine")


def test_every_published_number_has_a_run_that_measures_it() -> None:
    """Every anchor of the real table: its settings are read, its head fits, and timm's rule is timm's."""
    import timm
    from vit_bench.bench.verify.published import anchors
    from vit_bench.models import catalog
    from vit_bench.models.released import table as releases
    from vit_bench.models.weights_choice import Released
    from vit_bench.suites import suites

    known = anchors(releases.releases())
    assert len(known) > 70
    assert {anchor.of for anchor in known} == {"this file", "its configuration", "timm's copy"}
    for anchor in known:
        model = catalog()[anchor.release.model]
        (suite,) = config.apply(config.read(["suite=classify", *anchor.settings]), [suites()["classify"]])
        suite.check()
        assert suite.unfit(model, Released(anchor.release), tasks()[anchor.task]) == ""
        view = suite.view(model, Released(anchor.release))
        if not anchor.settings:
            assert (view.resize, view.antialias) == ("square", False)
            assert view.image_size == anchor.release.resolution or anchor.release.resolution is None
            continue
        cfg = timm.get_pretrained_cfg(anchor.release.hub_timm.removeprefix("timm/"))
        assert cfg is not None
        assert (view.crop_pct, view.interpolation, view.image_size) == (
            cfg.crop_pct,
            cfg.interpolation,
            cfg.input_size[1],
        ), anchor.release.hub_timm
        assert (tuple(cfg.mean), tuple(cfg.std)) == (model.input.mean, model.input.std)
