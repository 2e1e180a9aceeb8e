"""Networks that timm and torchvision build: features, heads, settings, and what is said of images that do not fit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn
from vit_bench.models import Input, catalog, create_model
from vit_bench.models.external import listing as libraries
from vit_bench.models.external import timm as from_timm
from vit_bench.models.external.rows import external_models
from vit_bench.models.external.timm import TimmBackbone
from vit_bench.models.external.torchvision import TorchvisionBackbone, last_linear
from vit_bench.models.networks import base as network
from vit_bench.models.weights_choice import Random
from vit_bench.registry import UsageError

pytestmark = pytest.mark.usefixtures("empty_caches")
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def images(backbone: Any, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, *backbone.image_size, generator=torch.Generator().manual_seed(0))


def made(name: str, **arguments: Any) -> nn.Module:
    """timm's own module, with random weights that no two layers share."""
    torch.manual_seed(1)
    return timm.create_model(name, **arguments).eval()


# Features and heads


def assert_taps_the_classifier(name: str, size: int, **arguments: Any) -> None:
    """The features are what torchvision's last linear layer gets, and that layer makes torchvision's logits of them."""
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None, **arguments).eval()
    row = replace(external_models(f"torchvision:{name}")[0], input=Input(size=(size, size)))
    given: list[torch.Tensor] = []
    last = last_linear(module)
    assert last is not None
    classifier: Any = module.get_submodule(last)
    with torch.no_grad():
        batch = torch.randn(2, 3, size, size)
        handle = classifier.register_forward_hook(lambda _module, inputs, _output: given.append(inputs[0]))
        logits = module(batch)
        handle.remove()
        backbone = TorchvisionBackbone(row, module, classifier.in_features)
        assert torch.equal(backbone.features(batch), given[0])
        assert given[0].shape == (2, classifier.in_features)
        assert torch.equal(backbone(batch), logits)
        assert backbone.head is classifier
        assert torch.equal(classifier(backbone.features(batch)), logits)
        backbone.drop_library_head()
        assert torch.equal(backbone(batch), given[0])


SMALLEST = {  # one of each kind of head, and the smallest images it takes quickly
    "shufflenet_v2_x0_5": 64,  # `fc`
    "densenet121": 64,  # `classifier`, a linear layer
    "mobilenet_v3_small": 64,  # `classifier`, the last of several layers
    "vit_b_16": 32,  # `heads`
    "swin_t": 64,  # `head`
}


@pytest.mark.parametrize("name", SMALLEST)
def test_features_are_what_torchvisions_classifier_gets(name: str) -> None:
    assert_taps_the_classifier(name, SMALLEST[name], **({"image_size": 32} if name == "vit_b_16" else {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models(torchvision.models))
def test_features_of_every_model_of_torchvision(name: str) -> None:
    if name.startswith("squeezenet"):
        assert_squeezes(name)
    else:
        sized = {"image_size": 224} if name.startswith("vit") else {}
        auxiliary = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        assert_taps_the_classifier(name, 299 if name == "inception_v3" else 224, **sized, **auxiliary)


def assert_squeezes(name: str) -> None:
    torch.manual_seed(0)
    module: Any = torchvision.models.get_model(name, weights=None).eval()
    row = replace(external_models(f"torchvision:{name}")[0], input=Input(size=(64, 64)))
    with torch.no_grad():
        batch = torch.randn(2, 3, 64, 64)
        logits, maps = module(batch), module.features(batch)
        backbone = TorchvisionBackbone(row, module, 512)
        assert torch.equal(backbone(batch), logits)
        assert torch.equal(backbone.features(batch), maps.mean(dim=(2, 3)))
        backbone.drop_library_head()
        assert torch.equal(backbone(batch), backbone.features(batch))


def test_squeezenet_ends_in_a_convolution() -> None:
    assert_squeezes("squeezenet1_1")


@pytest.mark.parametrize("name", timm.list_models("test_*"))
def test_timms_classifier_makes_its_logits_of_the_features(name: str) -> None:
    assert_pools_for_the_classifier(name)


def first_of_each_file() -> list[str]:
    """A model of every file of timm's: the first with "tiny", "nano" or such in its name, else the first."""
    files: dict[Path, list[str]] = {}
    for name, file in libraries.model_names("timm").items():
        files.setdefault(file, []).append(name)
    small = re.compile("tiny|nano|pico|femto|atto|_xx?s|_0[0-9]{2}|18")
    return [next(filter(small.search, names), names[0]) for names in files.values()]


@pytest.mark.slow
@pytest.mark.parametrize("name", first_of_each_file())
def test_timms_classifier_in_each_of_its_files(name: str) -> None:
    assert_pools_for_the_classifier(name)


def assert_pools_for_the_classifier(name: str) -> None:
    module: Any = made(name)
    size = timm.get_pretrained_cfg(name).input_size[1:]
    row = replace(external_models(f"timm:{name}")[0], input=Input(size=size))
    with torch.no_grad():
        batch = torch.randn(2, 3, *size)
        backbone = TimmBackbone(row, module, module.head_hidden_size)
        features, logits = backbone.features(batch), backbone(batch)
        assert features.shape == (2, module.head_hidden_size)
        assert torch.equal(logits, module(batch))
        classifier = module.get_classifier()
        if isinstance(classifier, tuple | nn.ModuleList):  # several heads, each on a part of what timm pools
            pooled = module.forward_head(module.forward_features(batch), pre_logits=True)
            assert torch.equal(features, pooled)
        else:
            last = classifier.fc if hasattr(classifier, "global_pool") else classifier
            given = features[..., None, None] if isinstance(last, nn.Conv2d) else features
            torch.testing.assert_close(last(given).flatten(1), logits)
        backbone.drop_library_head()
        assert torch.equal(backbone.features(batch), features)
        assert torch.equal(backbone(batch), features)


@pytest.mark.parametrize("word", ["timm:test_vit", "torchvision:shufflenet_v2_x0_5", "torchvision:squeezenet1_1"])
def test_random_weights_have_no_head_or_a_zero_one(word: str) -> None:
    state = torch.get_rng_state()
    backbone = create_model(word, image_size=64)
    assert torch.equal(torch.get_rng_state(), state)
    batch = images(backbone)
    with torch.no_grad():
        assert backbone(batch).shape == (2, backbone.num_features)
        assert torch.equal(backbone(batch), backbone.features(batch))
        other = create_model(word, "random:0", num_classes=7, image_size=64)
        assert torch.equal(other(batch), torch.zeros(2, 7))
        assert torch.equal(other.features(batch), backbone.features(batch))
        alone = backbone.features(batch[:1])
        torch.testing.assert_close(alone, backbone.features(batch)[:1], rtol=1e-4, atol=1e-5)
        assert not torch.equal(create_model(word, "random:1", image_size=64).features(batch), backbone.features(batch))
    assert not any(part.training for part in backbone.modules())
    with pytest.raises(UsageError, match="num_classes=0: a head needs at least one class"):
        create_model(word, num_classes=0)


def test_auxiliary_classifiers_go() -> None:
    backbone: Any = create_model("torchvision:googlenet", num_classes=3, image_size=64)
    assert not any("aux" in name for name in backbone.state_dict())
    assert backbone.module.transform_input
    backbone.train()
    assert backbone(images(backbone)).shape == (2, 3)


def test_no_graph_breaks() -> None:
    for word in ("timm:test_vit", "torchvision:squeezenet1_1"):
        backbone: Any = create_model(word, num_classes=2, image_size=64)
        compiled: Any = torch.compile(backbone, backend="eager", fullgraph=True)
        with torch.no_grad():
            assert torch.equal(compiled(images(backbone)), backbone(images(backbone)))


# The input contract and the settings


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("timm:test_efficientnet", Input(size=(160, 160), interpolation="bicubic", **IMAGENET)),
        ("timm:test_resnet", Input(size=(160, 160), interpolation="bilinear")),
        ("torchvision:shufflenet_v2_x0_5", Input(size=(224, 224), interpolation="bilinear", **IMAGENET)),
        ("torchvision:swin_v2_t", Input(size=(256, 256), interpolation="bicubic", **IMAGENET)),
    ],
)
def test_the_contract_is_the_librarys(word: str, expected: Input) -> None:
    backbone = create_model(word)
    assert backbone.spec.input == expected
    assert backbone.image_size == expected.size


def test_settings() -> None:
    row = external_models("timm:test_vit", {"drop_path_rate": "0.1", "image_size": "32,64", "mean": "0.25"})[0]
    assert dict(row.variant) == {"drop_path_rate": "0.1", "image_size": "32,64", "mean": "0.25"}
    backbone: Any = create_model(row)
    assert backbone.image_size == (32, 64)
    assert backbone.spec.input == Input(size=(32, 64), mean=(0.25,) * 3, interpolation="bicubic")
    assert backbone.module.blocks[-1].drop_path1.drop_prob == pytest.approx(0.1)
    assert create_model(row, image_size=64).image_size == (64, 64)


def test_a_tap() -> None:
    row = external_models("torchvision:shufflenet_v2_x0_5", {"tap": "stage2", "image_size": "64"})[0]
    backbone: Any = create_model(row, num_classes=3)
    assert (backbone.num_features, backbone.tap) == (48, "stage2")
    assert backbone(images(backbone)).shape == (2, 3)
    with pytest.raises(
        UsageError, match=r"torchvision:shufflenet_v2_x0_5 has no submodule 'stage9'. Did you mean 'stage"
    ):
        create_model(external_models("torchvision:shufflenet_v2_x0_5", {"tap": "stage9", "image_size": "64"})[0])


@pytest.mark.parametrize(
    ("word", "settings", "message"),
    [
        ("timm:test_vit", {"widht": "3"}, r"timm cannot build it with widht=3 for 160x160 pixels: TypeError: .*widht"),
        ("timm:test_vit", {"num_classes": "3"}, r"model.num_classes is not set here. In its place: the suite's task"),
        ("timm:test_vit", {"img_size": "64"}, r"model.img_size is not set here. In its place: model.image_size="),
        (
            "timm:test_vit",
            {"pretrained": "True"},
            r"model.pretrained is not set here. In its place: weights=pretrained",
        ),
        ("timm:test_vit", {"interpolation": "cubic"}, "interpolation='cubic'. Did you mean 'bicubic'"),
        ("timm:test_vit", {"image_size": "70"}, r"test_vit failed on images of shape \(2, 3, 70, 70\): .*divisible"),
        ("torchvision:vit_b_16", {"image_size": "32,64"}, "torchvision builds it for square images, not for 32x64"),
        ("torchvision:vit_b_16", {"image_size": "30"}, "torchvision cannot build it for 30x30 pixels: .*divisible"),
        ("torchvision:alexnet", {"image_size": "8"}, r"alexnet failed on images of shape \(2, 3, 8, 8\)"),
        ("timm:inception_v4", {"image_size": "8"}, r"inception_v4 failed on images of shape \(2, 3, 8, 8\)"),
    ],
)
def test_settings_that_fail(word: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(external_models(word, settings)[0])


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ((2, 3, 32, 32), "float32", r"Another size is chosen when it is built: create_model\(..., image_size=\(32, 32"),
        ((2, 1, 64, 64), "float32", r"timm:test_vit takes images of shape \(B, 3, 64, 64\), floats"),
        ((2, 64, 64, 3), "float32", "Channels come first"),
        ((3, 64, 64), "float32", r"One image makes a batch with images\[None\]"),
        ((2, 3, 64, 64), "uint8", "Scale integers first"),
    ],
)
def test_images_that_do_not_fit(shape: tuple[int, ...], kind: str, message: str) -> None:
    backbone = create_model("timm:test_vit", num_classes=2, image_size=64)
    for call in (backbone, backbone.features):
        with pytest.raises(UsageError, match=message):
            call(torch.zeros(shape, dtype=getattr(torch, kind)))


def test_a_model_too_large_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "free_memory", lambda: 1_000_000_000)
    with pytest.raises(
        UsageError, match=r"L2\) has 480,309,308 parameters, 1.9 GB as float32, and this machine has 1.0 GB"
    ):
        create_model("EfficientNet-L2", "random")


def test_a_row_of_the_catalog_is_not_a_librarys() -> None:
    row = catalog()["ViT-mini"]
    with pytest.raises(TypeError, match=r"ViT-mini is no model of another library. Call create_model"):
        from_timm.build(row, Random(), None, None, 0)
    with pytest.raises(TypeError, match=r"ViT-mini is no model of another library"):
        from_timm.count_parameters(row, None)
