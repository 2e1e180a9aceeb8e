"""Networks that timm and torchvision build: features, heads, weights, and what is said when they do not fit.

Nothing is downloaded: published weights are files of random numbers, put where the libraries would cache theirs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from vit_bench.models import Input, create_model, libraries, library_files
from vit_bench.models import build as building
from vit_bench.models.external import (
    ExternalBuilder,
    external_model,
)
from vit_bench.models.from_timm import TimmBackbone
from vit_bench.models.from_torchvision import Torchvision, TorchvisionBackbone, last_linear
from vit_bench.registry import UsageError

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches of the hub's and torch's, and no downloads."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("BENCH_OFFLINE", "1")


@pytest.fixture
def on_hub(tmp_path: Path) -> Callable[..., Path]:
    """Puts files into the hub's cache as a repository: tensors as safetensors, all else as JSON."""

    def put(repository: str, **files: Any) -> Path:
        top = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        folder = top / "snapshots" / "0123abc"
        folder.mkdir(parents=True)
        (top / "refs").mkdir()
        (top / "refs" / "main").write_text("0123abc")
        for name, content in files.items():
            if name == "model":
                save_file(content, folder / "model.safetensors")
            else:
                (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    return put


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
    row = replace(external_model(f"torchvision:{name}"), input=Input(size=(size, size)))
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
    row = replace(external_model(f"torchvision:{name}"), input=Input(size=(64, 64)))
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
    for name, file in libraries.names("timm").items():
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
    row = replace(external_model(f"timm:{name}"), input=Input(size=size))
    with torch.no_grad():
        batch = torch.randn(2, 3, *size)
        backbone = TimmBackbone(row, module, module.head_hidden_size)
        features, logits = backbone.features(batch), backbone(batch)
        assert features.shape == (2, module.head_hidden_size)
        assert torch.equal(logits, module(batch))
        torch.testing.assert_close(module.get_classifier()(features), logits)
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
    row = external_model("timm:test_vit", {"drop_path_rate": "0.1", "image_size": "32,64", "mean": "0.25"})
    assert dict(row.variant) == {"drop_path_rate": "0.1", "image_size": "32,64", "mean": "0.25"}
    backbone: Any = create_model(row)
    assert backbone.image_size == (32, 64)
    assert backbone.spec.input == Input(size=(32, 64), mean=(0.25,) * 3, interpolation="bicubic")
    assert backbone.module.blocks[-1].drop_path1.drop_prob == pytest.approx(0.1)
    assert create_model(row, image_size=64).image_size == (64, 64)


def test_a_tap() -> None:
    row = external_model("torchvision:shufflenet_v2_x0_5", {"tap": "stage2", "image_size": "64"})
    backbone: Any = create_model(row, num_classes=3)
    assert (backbone.num_features, backbone.tap) == (48, "stage2")
    assert backbone(images(backbone)).shape == (2, 3)
    with pytest.raises(
        UsageError, match=r"torchvision:shufflenet_v2_x0_5 has no submodule 'stage9'. Did you mean 'stage"
    ):
        create_model(external_model("torchvision:shufflenet_v2_x0_5", {"tap": "stage9", "image_size": "64"}))


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
        create_model(external_model(word, settings))


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
    monkeypatch.setattr(building, "free_memory", lambda: 1_000_000_000)
    with pytest.raises(
        UsageError, match=r"L2\) has 480,309,308 parameters, 1.9 GB as float32, and this machine has 1.0 GB"
    ):
        create_model("EfficientNet-L2", "random")


# Weights


def test_published_weights_of_timm(on_hub: Callable[..., Path]) -> None:
    module = made("test_vit")
    folder = on_hub("timm/test_vit.r160_in1k", model=module.state_dict())
    backbone: Any = create_model("timm:test_vit.r160_in1k")
    batch = images(backbone)
    with torch.no_grad():
        logits = module(batch)
        assert torch.equal(backbone(batch), logits)
        for word in ("pretrained", "r160_in1k"):
            assert torch.equal(create_model("timm:test_vit", word)(batch), logits)
        assert torch.equal(create_model("timm:test_vit", "pretrained", num_classes=1000)(batch), logits)
        new = create_model("timm:test_vit.r160_in1k", num_classes=5)
        assert torch.equal(new(batch), torch.zeros(2, 5))
        assert torch.equal(new.features(batch), backbone.features(batch))
        assert not torch.equal(create_model("timm:test_vit.r160_in1k", "random").features(batch), new.features(batch))
    assert backbone.source_files == (folder / "model.safetensors",)
    smaller: Any = create_model("timm:test_vit.r160_in1k", image_size=64)
    assert smaller(images(smaller)).shape == (2, 1000)


def test_published_weights_that_do_not_fit(on_hub: Callable[..., Path]) -> None:
    on_hub("timm/test_vit.r160_in1k", model=made("test_vit", num_classes=10).state_dict())
    with pytest.raises(
        UsageError, match=r"timm cannot build it for 160x160 pixels from .*model.safetensors: RuntimeError"
    ):
        create_model("timm:test_vit.r160_in1k")


def test_published_weights_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    module = torchvision.models.shufflenet_v2_x0_5(weights=None).eval()
    listed = torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    file = Path(torch.hub.get_dir()) / "checkpoints" / listed.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(module.state_dict(), file)
    with pytest.raises(
        UsageError, match=r"'.*shufflenetv2_x0.5-f707e7126e.pth' is damaged: its sha256 starts with .*Del"
    ):
        create_model("torchvision:shufflenet_v2_x0_5", "pretrained")
    monkeypatch.setattr(library_files, "HASH", re.compile("(?!)"))  # these random numbers have not the hash in the name
    for word, weights in (("shufflenet_v2_x0_5", "pretrained"), ("shufflenet_v2_x0_5.IMAGENET1K_V1", None)):
        backbone: Any = create_model(f"torchvision:{word}", weights)
        batch = images(backbone)
        with torch.no_grad():
            assert torch.equal(backbone(batch), module(batch))
        assert backbone.source_files == (file,)
    torch.save({"layer": nn.Linear(1, 1)}, file)
    with pytest.raises(UsageError, match=r"holds more than tensors: .torch.nn.modules.linear.Linear., which"):
        create_model("torchvision:shufflenet_v2_x0_5", "pretrained")


def test_the_hash_in_a_files_name_is_checked(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / f"net-{digest}.pth").write_bytes(b"weights")
    assert library_files.url_file("x", f"https://example.org/net-{digest}.pth").name == f"net-{digest}.pth"
    (folder / f"net-{digest}.pth").write_bytes(b"weight")
    with pytest.raises(UsageError, match="is damaged"):
        library_files.url_file("x", f"https://example.org/net-{digest}.pth")


@pytest.mark.parametrize(("classes", "suffix"), [(1000, ".pt"), (7, ".safetensors")])
def test_a_file_with_the_librarys_names(classes: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    save = torch.save if suffix == ".pt" else save_file
    for word, module in (
        ("timm:test_vit", made("test_vit", num_classes=classes)),
        ("torchvision:shufflenet_v2_x0_5", torchvision.models.shufflenet_v2_x0_5(num_classes=classes).eval()),
        ("torchvision:squeezenet1_1", torchvision.models.squeezenet1_1(num_classes=classes).eval()),
    ):
        save(module.state_dict(), path)
        backbone: Any = create_model(word, path)
        batch = images(backbone)
        with torch.no_grad():
            assert torch.equal(backbone(batch), module(batch))
            assert torch.equal(create_model(word, path, num_classes=3)(batch), torch.zeros(2, 3))
        assert backbone.source_files == (path,)


def test_a_file_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(made("test_resnet").state_dict(), path)
    with pytest.raises(UsageError, match=r"does not hold the weights of timm:test_vit:\n  not in the file .*cls_token"):
        create_model("timm:test_vit", path)
    with pytest.raises(UsageError, match=r"does not hold the weights of torchvision:shufflenet_v2_x0_5:\n  not in"):
        create_model("torchvision:shufflenet_v2_x0_5", path)


def test_torchvisions_transformers_keep_their_size() -> None:
    row = external_model("torchvision:vit_b_16.IMAGENET1K_V1", {"image_size": "64"})
    assert isinstance(row.architecture, ExternalBuilder)
    library = Torchvision(row, row.architecture, "IMAGENET1K_V1")
    with pytest.raises(UsageError, match=r"loads these weights for 224x224 pixels only, not for 64x64"):
        library.construct((64, 64), 1000, Path("weights.pth"))


# Repositories


CONFIG = {
    "architecture": "test_resnet",
    "num_classes": 4,
    "pretrained_cfg": {"input_size": [3, 96, 96], "mean": [0.1] * 3},
}


def test_a_repository(on_hub: Callable[..., Path]) -> None:
    module = made("test_resnet", num_classes=4)
    folder = on_hub("someone/net", config=CONFIG, model=module.state_dict())
    backbone: Any = create_model("hf:someone/net")
    batch = images(backbone)
    with torch.no_grad():
        assert torch.equal(backbone(batch), module(batch))
    assert (backbone.image_size, backbone.spec.input.mean) == ((96, 96), (0.1, 0.1, 0.1))
    assert backbone.source_files == (folder / "model.safetensors",)
    assert create_model("hf:someone/net", "random", num_classes=2)(batch).shape == (2, 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "vit"},
            "hf:a/b is not a repository in timm's format: it names no architecture of timm's. Write",
        ),
        ({"architecture": "nonet"}, r"'nonet' is no model of timm [\d.]+. Write a builder of yours that loads it"),
        ("{", "hf:a/b: its config.json is damaged"),
    ],
)
def test_repositories_of_another_kind(config: Any, message: str, on_hub: Callable[..., Path]) -> None:
    on_hub("a/b", config=config)
    with pytest.raises(UsageError, match=message):
        create_model("hf:a/b")


# No network


@pytest.mark.parametrize("variable", ["BENCH_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize(
    ("word", "what", "place"),
    [
        (
            "timm:test_vit.r160_in1k",
            "model.safetensors or pytorch_model.bin of the hub's timm/test_vit.r160_in1k",
            "hub",
        ),
        ("hf:someone/net", "config.json of the hub's someone/net", "hub"),
        ("torchvision:resnet18.IMAGENET1K_V1", "https://.*/resnet18-f37072fd.pth", "checkpoints/resnet18-f37072fd.pth"),
    ],
)
def test_offline(word: str, what: str, place: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_OFFLINE")
    monkeypatch.setenv(variable, "1")
    message = (
        rf"{word}: its weights need {what}, looked for in .*{place}; {variable}=1 forbids a download. Place it there"
    )
    with pytest.raises(UsageError, match=message):
        create_model(word)


def test_a_download_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.delenv("BENCH_OFFLINE")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    monkeypatch.setattr(torch.hub, "download_url_to_file", broken)
    for word in ("timm:test_vit.r160_in1k", "torchvision:resnet18.IMAGENET1K_V1"):
        with pytest.raises(
            UsageError, match=rf"{word}: .*; downloading failed: ConnectionError: no route .*weights=FILE"
        ):
            create_model(word)
