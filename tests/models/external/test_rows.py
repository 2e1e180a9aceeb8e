"""Models of timm and torchvision by name: what words stand for, and what is said of words that stand for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torchvision
from vit_bench.models import Input, catalog, create_model, list_models
from vit_bench.models.external import listing as libraries
from vit_bench.models.external.rows import ExternalBuilder, external_models, is_external, named_row
from vit_bench.models.own.settings import as_typed
from vit_bench.models.parse_weights import parse_weights, read_weights
from vit_bench.models.spec import Model
from vit_bench.models.weights_choice import LibraryWeights, Random, WeightsFile
from vit_bench.registry import UsageError


def external_model(word: str) -> Model:
    (row,) = external_models(word)
    return row


def published(row: Model, word: str) -> str:
    (choice,) = read_weights(row, word)
    assert isinstance(choice, LibraryWeights)
    return str(choice)


def by_default(row: Model, suite: str | None) -> str:
    return str(row.architecture.default_weights(row, suite))


# Names


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_the_names_read_from_the_sources_are_the_librarys(library: str) -> None:
    official = timm.list_models() if library == "timm" else torchvision.models.list_models(torchvision.models)
    assert set(libraries.model_names(library)) == set(official)


def official_tags(library: str, name: str) -> list[str]:
    if library == "torchvision":
        listed = torchvision.models.get_model_weights(name)
        return [listed.DEFAULT.name, *sorted({each.name for each in listed} - {listed.DEFAULT.name})] if listed else []
    default = timm.get_pretrained_cfg(name)
    found = {word.partition(".")[2] for word in timm.list_pretrained(f"{name}*") if word.partition(".")[0] == name}
    first = [default.tag or ""] if default and default.has_weights else []
    return [*first, *sorted(found - set(first))]


def assert_tags(library: str, name: str) -> None:
    tags = libraries.pretrained_tags(library, name)
    assert [*tags[:1], *sorted(tags[1:])] == official_tags(library, name), name


@pytest.mark.parametrize(
    "name",
    # usual; the default not the first; dicts in place of calls; none at all; computed, so that timm is asked
    ["resnet50", "tf_efficientnet_l2", "inception_v4", "vit_giant_patch14_224", "vit_base_patch32_clip_quickgelu_224"],
)
def test_the_tags_of_timm(name: str) -> None:
    assert_tags("timm", name)


def test_the_tags_of_torchvision() -> None:
    for name in torchvision.models.list_models(torchvision.models):
        assert_tags("torchvision", name)


@pytest.mark.slow
def test_the_tags_of_all_of_timm() -> None:
    for name in timm.list_models():
        assert_tags("timm", name)


def test_globs() -> None:
    assert list_models("timm:resnetv2_50x*") == ["timm:resnetv2_50x1_bit", "timm:resnetv2_50x3_bit"]
    assert list_models("timm:resnetv2_50x1*.*_in21k") == ["timm:resnetv2_50x1_bit.goog_in21k"]
    assert list_models("torchvision:vit_?_32") == ["torchvision:vit_b_32", "torchvision:vit_l_32"]
    assert list_models("torchvision:resnet50") == ["torchvision:resnet50"]
    with pytest.raises(
        UsageError, match=r"'timm:resnetv2_50x\*' is 2 models, and one is needed: timm:resnetv2_50x1_bit"
    ):
        create_model("timm:resnetv2_50x*")


def test_which_words_name_a_librarys_model() -> None:
    assert all(map(is_external, ("timm:a", "torchvision:b", "hf:c/d")))
    assert not any(map(is_external, ("timm", "timm.models:build", "ViT-B/16", "hf.py:build")))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("timm:resnet5O", r"timm [\d.]+ has no model 'resnet5O'. Did you mean 'resnet50'"),
        ("timm:0", r"has no model '0'. Choose from: the \d+ that `list models timm:\*` shows"),
        ("timm:resnet18.a1_in1", r"has no weights 'a1_in1' of resnet18. Did you mean 'resnet18.a1_in1k'"),
        ("timm:vit_tiny_patch16_224.", r"has no weights '' of vit_tiny_patch16_224"),
        ("timm:zz*", r"no model of timm matches 'zz\*'. `list models timm:\*` shows them all"),
        ("torchvision:resnet50.V2", r"torchvision [\d.]+ has no weights 'V2' of resnet50. .*resnet50.IMAGENET1K_V"),
        (
            "torchvision:fasterrcnn_resnet50_fpn",
            "'torchvision:fasterrcnn_resnet50_fpn' is not a classification model, and the suites ask for features",
        ),
        ("hf:resnet18", "'hf:resnet18' names no repository. Type hf:OWNER/NAME, or hf:OWNER/NAME@REVISION"),
        ("hf:timm/resnet*", "names no repository"),
    ],
)
def test_words_that_name_nothing(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        external_models(word)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("timm:resnet18", r"'timm:resnet18' is a model of timm, which is not installed here. Type: pip install 'vit-"),
        ("hf:timm/resnet18", r"a model of timm, which is not installed here. Type: pip install 'vit-bench\[timm\]'"),
        ("Noisy Student", r"'Noisy Student \(EfficientNet-L2\)' is a model of timm, which is not installed"),
        ("torchvision:resnet18", "a model of torchvision, which is not installed here. Type: pip install torchvision"),
    ],
)
def test_a_library_that_is_not_there(word: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "version", lambda _: None)
    with pytest.raises(UsageError, match=message):
        create_model(word)


# What `weights=` says


def test_weights_words(tmp_path: Path) -> None:
    plain, tagged = external_model("timm:resnet18"), external_model("timm:resnet18.a2_in1k")
    assert published(plain, "pretrained") == "a1_in1k"
    assert published(plain, "a3_in1k") == "a3_in1k"
    assert published(tagged, "pretrained") == "a2_in1k"
    assert published(external_model("torchvision:resnet50"), "pretrained") == "IMAGENET1K_V2"
    assert published(external_model("hf:a/b"), "pretrained") == "pretrained"
    assert read_weights(plain, "random:3") == [Random(3)]
    assert parse_weights(plain, "some.pt") == WeightsFile("some.pt")
    assert read_weights(plain, str(tmp_path)) == []
    (tmp_path / "some.pt").touch()
    assert read_weights(plain, str(tmp_path)) == [WeightsFile(str(tmp_path))]
    part = f"{tmp_path / 'some.pt'}:model_ema"
    assert read_weights(plain, part) == [WeightsFile(part)]
    for row, word, message in (
        (
            plain,
            "a1_in12k",
            "weights=a1_in12k: timm:resnet18 has no such weights, and there is no such file. Did you mean",
        ),
        (tagged, "a1_in1k", r"the name timm:resnet18.a2_in1k says a2_in1k. Type model=timm:resnet18.a1_in1k"),
        (
            external_model("timm:vit_giant_patch14_224"),
            "pretrained",
            "has no pretrained weights in timm. Type weights=FI",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            published(row, word)


def test_default_weights() -> None:
    assert by_default(external_model("timm:resnet18.a2_in1k"), "vtab") == "a2_in1k"
    assert by_default(external_model("hf:a/b"), "vtab") == "pretrained"
    assert by_default(catalog()["EfficientNet-L2"], "vtab") == "ns_jft_in1k"
    assert by_default(external_model("timm:resnet18"), None) == "random"
    message = r"torchvision:resnet50 needs weights for suite=vtab: type weights=pretrained \(IMAGENET1K_V2; or "
    message += r"weights=IMAGENET1K_V1\), weights=FILE \(.* torchvision's names\) or, .* weights=random"
    with pytest.raises(UsageError, match=message):
        by_default(external_model("torchvision:resnet50"), "vtab")


# The catalog's row


def test_noisy_student_is_what_timm_says() -> None:
    row = catalog()["Noisy Student (EfficientNet-L2)"]
    architecture = row.architecture
    assert isinstance(architecture, ExternalBuilder)
    cfg = timm.get_pretrained_cfg(f"{architecture.name}.{architecture.tag}")
    assert cfg.has_weights
    assert row.input == Input(size=cfg.input_size[1:], mean=cfg.mean, std=cfg.std, interpolation=cfg.interpolation)
    assert round((row.params or 0) / 1e6) == 480
    assert row.name in list_models()
    assert row.name not in list_models("*")


def test_a_row_of_the_catalog_takes_settings() -> None:
    row = named_row("Tiny", "timm:test_vit.r160_in1k", 1, Input(size=(160, 160)), "tiny")
    (small,), used = row.architecture.variants(row, {"image_size": "64"}, as_typed)
    assert used == {"image_size"}
    assert (small.name, small.params, small.variant) == ("Tiny", None, (("image_size", "64"),))
    assert create_model(small, "random").image_size == (64, 64)
    assert row.architecture.variants(row, {}, as_typed) == ([row], set())
