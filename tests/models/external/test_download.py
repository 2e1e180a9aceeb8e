"""Published weights of timm, torchvision and the hub: read, checked, refused, and where they are looked for offline.

Nothing is downloaded: they are files of random numbers, put where the libraries would cache theirs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from vit_bench import transfer
from vit_bench.models import create_model
from vit_bench.models.external import download as library_files
from vit_bench.models.external.rows import ExternalBuilder, external_models
from vit_bench.models.external.torchvision import Torchvision
from vit_bench.registry import UsageError

pytestmark = pytest.mark.usefixtures("empty_caches")


def images(backbone: Any, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, *backbone.image_size, generator=torch.Generator().manual_seed(0))


def made(name: str, **arguments: Any) -> nn.Module:
    """timm's own module, with random weights that no two layers share."""
    torch.manual_seed(1)
    return timm.create_model(name, **arguments).eval()


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
    assert library_files.file_at_url("x", f"https://example.org/net-{digest}.pth").name == f"net-{digest}.pth"
    (folder / f"net-{digest}.pth").write_bytes(b"weight")
    with pytest.raises(UsageError, match="is damaged"):
        library_files.file_at_url("x", f"https://example.org/net-{digest}.pth")


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
    with pytest.raises(
        UsageError, match=r"does not hold the weights of timm:test_vit: no tensor .*\n  not in the file .*cls_token"
    ):
        create_model("timm:test_vit", path)
    with pytest.raises(UsageError, match=r"does not hold the weights of torchvision:shufflenet_v2_x0_5:\n  not in"):
        create_model("torchvision:shufflenet_v2_x0_5", path)


def test_torchvisions_transformers_keep_their_size() -> None:
    row = external_models("torchvision:vit_b_16.IMAGENET1K_V1", {"image_size": "64"})[0]
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
    monkeypatch.setattr("urllib.request.urlopen", broken)
    monkeypatch.setattr(transfer, "PAUSE", 0)
    for word, reason in (
        ("timm:test_vit.r160_in1k", "ConnectionError: no route"),
        ("torchvision:resnet18.IMAGENET1K_V1", r"the connection broke off \(no route\) \(5 attempts\)"),
    ):
        with pytest.raises(UsageError, match=rf"{word}: .*; downloading failed: {reason}. Place .*weights=FILE"):
            create_model(word)


def test_a_download_is_checked_and_kept_where_the_library_looks(
    bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    bucket.files |= {f"net-{digest}.pth": b"weights", "net-0123abcd.pth": b"weights"}
    bucket.orders = ["cut 3"]
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    assert library_files.file_at_url("x", f"{bucket.url}/net-{digest}.pth") == folder / f"net-{digest}.pth"
    assert [path.name for path in folder.iterdir() if path.name[0] != "."] == [f"net-{digest}.pth"]
    assert f"downloading {bucket.url}/net-{digest}.pth to {folder}" in capsys.readouterr().err
    with pytest.raises(
        UsageError, match=r"net-0123abcd.pth is not what was published: its sha256 is .*, expected one that begins with"
    ):
        library_files.file_at_url("x", f"{bucket.url}/net-0123abcd.pth")
    assert not (folder / "net-0123abcd.pth").exists()


def test_a_damaged_archive_is_not_given_to_its_library(on_hub: Callable[..., Path]) -> None:
    folder = on_hub("timm/test_vit.r160_in1k")
    torch.save(made("test_vit").state_dict(), folder / "pytorch_model.bin")
    assert create_model("timm:test_vit.r160_in1k")
    content = bytearray((folder / "pytorch_model.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(UsageError, match=r"pytorch_model.bin' is damaged: its entry 'pytorch_model/data/.*Download"):
        create_model("timm:test_vit.r160_in1k")
