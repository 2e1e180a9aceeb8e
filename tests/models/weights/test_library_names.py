"""The names of ViT in torchvision's and transformers' files: exact numbers, and parts that no network here has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from vit_bench.models import catalog, create_model
from vit_bench.models.weights.convert import convert
from vit_bench.models.weights.inspect import inspect
from vit_bench.registry import UsageError

ROW = catalog()["ViT-mini"].derive(depth=2, width=64, heads=2)
SIZE, PATCH = ROW.input.size[0], ROW.architecture.patch_size  # type: ignore[attr-defined]


@pytest.mark.parametrize("tanh_layer", [None, 24])
def test_torchvisions_network_gives_the_same_logits(tanh_layer: int | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.VisionTransformer(
        image_size=SIZE,
        patch_size=PATCH,
        num_layers=2,
        num_heads=2,
        hidden_dim=64,
        mlp_dim=256,
        num_classes=5,
        representation_size=tanh_layer,
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.1)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    network = create_model(ROW, tmp_path / "w.pth")
    for block in theirs.encoder.layers:
        block.mlp[1] = nn.GELU(approximate="tanh")  # the release's, which this project has
    images = torch.randn(2, 3, SIZE, SIZE)
    torch.testing.assert_close(network(images), theirs(images), rtol=1e-4, atol=1e-4)
    report = inspect(tmp_path / "w.pth")
    assert (report.convention, report.classes, report.pre_logits) == ("torchvision", 5, tanh_layer)


def of_transformers(state: dict[str, torch.Tensor], model: str) -> dict[str, torch.Tensor]:
    """A state dict as transformers' ViT has it (modeling_vit.py): `model` is "vit." or "", of ViTModel itself."""
    made = {
        f"{model}embeddings.cls_token": state["class_token"],
        f"{model}embeddings.position_embeddings": torch.cat(
            [state["position.token"], state["position.grid"].flatten(1, 2)], dim=1
        ),
    }

    def linear(theirs: str, weight: torch.Tensor, bias: torch.Tensor) -> None:
        made.update({f"{theirs}.weight": weight.clone(), f"{theirs}.bias": bias.clone()})

    def layer(theirs: str, ours: str) -> None:
        linear(theirs, state[f"{ours}.weight"], state[f"{ours}.bias"])

    layer(f"{model}embeddings.patch_embeddings.projection", "embedding")
    for i in range(2):
        theirs, ours = f"{model}encoder.layer.{i}", f"blocks.{i}"
        for part, name in enumerate(("query", "key", "value")):
            rows = slice(64 * part, 64 * (part + 1))
            qkv = state[f"{ours}.attention.qkv.weight"][rows], state[f"{ours}.attention.qkv.bias"][rows]
            linear(f"{theirs}.attention.attention.{name}", *qkv)
        layer(f"{theirs}.attention.output.dense", f"{ours}.attention.out")
        layer(f"{theirs}.intermediate.dense", f"{ours}.mlp.expand")
        layer(f"{theirs}.output.dense", f"{ours}.mlp.contract")
        layer(f"{theirs}.layernorm_before", f"{ours}.norm1")
        layer(f"{theirs}.layernorm_after", f"{ours}.norm2")
    layer(f"{model}layernorm", "norm")
    if "pre_logits.weight" in state:
        layer(f"{model}pooler.dense", "pre_logits")
    if "head.weight" in state:
        layer("classifier", "head")
    return made


def drawn(num_classes: int | None = 5, row: Any = ROW) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    state = create_model(row, num_classes=num_classes).state_dict()
    return {name: torch.randn(value.shape, generator=generator) for name, value in state.items()}


@pytest.mark.parametrize(
    ("row", "model", "classes"), [(ROW, "vit.", 5), (ROW.derive(pre_logits=64), "", None)], ids=["classifier", "model"]
)
def test_transformers_names(row: Any, model: str, classes: int | None, tmp_path: Path) -> None:
    state = drawn(classes, row)
    theirs = of_transformers(state, model)
    save_file(theirs, tmp_path / "model.safetensors")
    network: Any = create_model(ROW, tmp_path / "model.safetensors")
    assert network.notes == ()
    read = network.state_dict()
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)
    report = inspect(tmp_path / "model.safetensors")
    assert (report.convention, report.classes, report.grid) == ("transformers", classes, (4, 4))
    assert report.problems == ("no row of the catalog has these shapes",)
    torch.save({"state_dict": {f"model.{name}": value for name, value in theirs.items()}}, tmp_path / "last.ckpt")
    wrapped: Any = create_model(ROW, tmp_path / "last.ckpt")
    assert wrapped.notes == ("read state_dict of last.ckpt", "took 'model.' off the names")
    assert all(torch.equal(wrapped.state_dict()[name], state[name]) for name in state)
    convert(tmp_path / "model.safetensors", tmp_path / "ours.safetensors")
    again = create_model(ROW, tmp_path / "ours.safetensors").state_dict()
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_a_missing_part_has_the_files_name(tmp_path: Path) -> None:
    theirs = of_transformers(drawn(), "vit.")
    del theirs["vit.encoder.layer.1.attention.attention.key.bias"]
    save_file(theirs, tmp_path / "w.safetensors")
    missing = r"vit.encoder.layer.1.attention.attention.key.bias \(here blocks.1.attention.qkv.bias\)"
    with pytest.raises(UsageError, match=rf"not in the file \(1\): {missing}$"):
        create_model(ROW, tmp_path / "w.safetensors")


def test_parts_that_no_network_here_has_are_named(tmp_path: Path) -> None:
    state, token = drawn(), torch.zeros(1, 1, 64)
    distilled = {f"deit.{name}": value for name, value in of_transformers(state, "").items()}
    distilled["deit.embeddings.distillation_token"] = token
    hybrid = of_transformers(state, "vit.")
    hybrid["vit.embeddings.patch_embeddings.backbone.bit.embedder.convolution.weight"] = torch.zeros(8, 3, 7, 7)
    timm = {"module.dist_token": token, **{f"module.{name}": value for name, value in state.items()}}
    said = {
        "it is a distilled DeiT, with a second token that learns from a teacher, and no network here has one": (
            distilled,
            timm,
        ),
        "it is a hybrid under transformers' names, which are not read: the release and timm have the same weights": (
            hybrid,
        ),
    }
    for sentence, files in said.items():
        for content in files:
            torch.save(content, tmp_path / "w.pth")
            with pytest.raises(UsageError) as caught:
                create_model(ROW, tmp_path / "w.pth")
            assert str(caught.value).splitlines()[0].endswith(f": {sentence}")
