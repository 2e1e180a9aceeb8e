"""Checkpoints of training scripts: the network is found in its wrappers, or several are asked about."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner
from vit_bench.bench.cli import app
from vit_bench.models import catalog, create_model
from vit_bench.models.weights.conventions import under_module_names
from vit_bench.models.weights.files import open_weights
from vit_bench.models.weights.inspect import inspect
from vit_bench.registry import UsageError

pytestmark = pytest.mark.contract

TINY = catalog()["ViT-mini"].derive(depth=1, width=64, heads=2)


def state_of(network: Any) -> dict[str, torch.Tensor]:
    return dict(network.state_dict())


def equal(ours: Any, theirs: Any) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def drawn(row: Any = TINY, num_classes: int | None = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    state = create_model(row, num_classes=num_classes).state_dict()
    return {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in state.items()}


CONTAINERS: dict[str, tuple[Any, str | None]] = {
    "model": (lambda s: {"model": s, "optimizer": {"state": {0: s["norm.bias"]}}, "epoch": 3}, "read model of w.pth"),
    "state_dict": (lambda s: {"arch": "vit", "state_dict": s}, "read state_dict of w.pth"),
    "ema": (lambda s: {"ema": s}, "read ema of w.pth"),
    "nested": (lambda s: {"ema": {"module": s, "updates": 8}}, "read ema of w.pth"),
    "both": (
        lambda s: {"model_ema": {name: value + 1 for name, value in s.items()}, "model": s},
        "read model of w.pth (not w.pth:model_ema)",
    ),
    "module": (lambda s: {f"module.{name}": value for name, value in s.items()}, "took 'module.' off the names"),
    "compiled": (
        lambda s: {"model": {f"_orig_mod.module.{name}": value for name, value in s.items()}},
        "took 'module.' off the names",
    ),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers(kind: str, tmp_path: Path) -> None:
    state = drawn()
    make, note = CONTAINERS[kind]
    torch.save(make(state), tmp_path / "w.pth")
    network: Any = create_model(TINY, tmp_path / "w.pth")
    assert equal(state_of(network), state)
    assert note in network.notes


def test_a_part_can_be_named(tmp_path: Path) -> None:
    state = drawn()
    average = {name: value + 1 for name, value in state.items()}
    torch.save({"model": state, "model_ema": average, "teacher": average}, tmp_path / "w.pth")
    network: Any = create_model(TINY, f"{tmp_path / 'w.pth'}:model_ema")
    assert equal(state_of(network), average)
    assert network.notes == ("read model_ema of w.pth",)
    assert equal(state_of(create_model(TINY, f"{tmp_path / 'w.pth'}:teacher")), average)
    with pytest.raises(UsageError, match=r"w.pth' has no part 'model_emma'. Did you mean 'model_ema'"):
        create_model(TINY, f"{tmp_path / 'w.pth'}:model_emma")
    torch.save({"teacher": state, "student": average, "epoch": 3}, tmp_path / "two.pth")
    both = rf"holds 2 networks. Say which to read: {tmp_path}/two.pth:teacher or {tmp_path}/two.pth:student$"
    with pytest.raises(UsageError, match=both):
        create_model(TINY, tmp_path / "two.pth")
    torch.save(state, tmp_path / "bare.pth")
    with pytest.raises(UsageError, match=r"bare.pth' has no part 'model'. It has no parts: name the file alone"):
        create_model(TINY, f"{tmp_path / 'bare.pth'}:model")


def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


PAIR = {"w": torch.ones(2)}
ADAM = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
WRAPPED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "averaged": (
        lambda s: {"n_averaged": torch.tensor(3), **under("module.", s)},
        ("took 'module.' off the names; left out 1 others: n_averaged",),
    ),
    "loss beside": (
        lambda s: {"state_dict": under("model.", s) | under("criterion.", PAIR), "optimizer": ADAM, "epoch": 1},
        ("read state_dict of w.pth", "took 'model.' off the names; left out 1 others: criterion.w"),
    ),
    "loss apart": (lambda s: {"model": s, "dino_loss": PAIR}, ("read model of w.pth; left out dino_loss",)),
    "lightning": (
        lambda s: {"pytorch-lightning_version": "2", "state_dict": under("vit.", s), "hyper_parameters": {"lr": 1}},
        ("read state_dict of w.pth", "took 'vit.' off the names"),
    ),
    "teacher": (
        lambda s: {"teacher": under("backbone.", s) | under("head.mlp.", PAIR), "epoch": 3},
        ("read teacher of w.pth", "took 'backbone.' off the names; left out 1 others: head.mlp.w"),
    ),
    "compiled blocks": (
        lambda s: {name.replace("blocks.0.", "blocks.0._orig_mod."): value for name, value in s.items()},
        ("took '_orig_mod.' off the names",),
    ),
    "sharded": (
        lambda s: {
            f"_fsdp_wrapped_module.{name}".replace(
                "s.0.", "s.0._fsdp_wrapped_module._checkpoint_wrapped_module."
            ): value
            for name, value in s.items()
        },
        ("took '_fsdp_wrapped_module.' and '_checkpoint_wrapped_module.' off the names",),
    ),
    "shadow": (lambda s: {"decay": 0.9, "shadow": s}, ("read shadow of w.pth",)),
    "optimizer by name": (
        lambda s: {"net": s, "optim": {"exp_avg": s}},
        ("read net of w.pth",),
    ),
    "average in the module": (
        lambda s: {"state_dict": under("model.", s) | under("ema_model.module.", {n: v + 1 for n, v in s.items()})},
        ("read state_dict of w.pth (not w.pth:state_dict.ema_model)", "took 'model.' off the names"),
    ),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_the_network_is_found_in_its_wrappers(kind: str, tmp_path: Path) -> None:
    state = drawn()
    make, notes = WRAPPED[kind]
    torch.save(make(state), tmp_path / "w.pth")
    network: Any = create_model(TINY, tmp_path / "w.pth")
    assert equal(state_of(network), state)
    assert network.notes == notes
    assert inspect(tmp_path / "w.pth").notes == notes


def test_two_whole_networks_are_a_question_whose_answers_work(tmp_path: Path) -> None:
    student, teacher = drawn(), {name: value + 1 for name, value in drawn().items()}
    folder = tmp_path / "lr=0.1, wd=0"
    folder.mkdir()
    dino = {
        "student": under("module.backbone.", student) | under("module.head.", PAIR),
        "teacher": under("backbone.", teacher) | under("head.", PAIR),
        "optimizer": ADAM,
        "epoch": 3,
    }
    torch.save(dino, folder / "dino.pth")
    torch.save({"state_dict": under("student.vit.", student) | under("teacher.vit.", teacher)}, folder / "one.ckpt")
    save_file(under("student.", student) | under("teacher.", teacher), folder / "flat.safetensors")
    for name in ("dino.pth", "one.ckpt", "flat.safetensors"):
        with pytest.raises(UsageError, match=r"holds 2 networks\. Say which to read: ") as caught:
            create_model(TINY, folder / name)
        first, second = shlex.split(str(caught.value).partition("to read: ")[2].replace(" or ", " "))
        for word, expected in ((first, student), (second, teacher)):
            network: Any = create_model(TINY, word)
            assert equal(state_of(network), expected)
            shown = CliRunner().invoke(app, ["weights", "inspect", word])
            assert shown.exit_code == 0, shown.output
            assert word.rpartition(":")[2] in shown.output


def test_a_module_of_a_users_is_found_in_its_wrappers(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    state = dict(module.state_dict())
    names = {*state, *under("module.", state), "head.weight", "head.bias"}
    kinds: dict[str, tuple[dict[str, Any], dict[str, torch.Tensor]]] = {
        "averaged": ({"n_averaged": torch.tensor(3), **under("module.", state)}, state),
        "attribute": ({"state_dict": under("encoder.", state) | under("loss.", PAIR)}, state),
        "ours": (under("module.", state) | {"head.bias": torch.ones(1)}, under("module.", state) | {"head.bias": PAIR}),
        "compiled": (under("_orig_mod.", state), state),
    }
    for kind, (saved, expected) in kinds.items():
        torch.save(saved, tmp_path / "w.pt")
        with open_weights(tmp_path / "w.pt") as contents:
            assert under_module_names(contents, names).tensors.keys() == expected.keys(), kind
    torch.save(under("a.", state) | under("b.", state), tmp_path / "w.pt")
    with (
        open_weights(tmp_path / "w.pt") as contents,
        pytest.raises(UsageError, match=r"holds 2 networks. Say which to read: \S*w.pt:a or \S*w.pt:b$"),
    ):
        under_module_names(contents, names)


def test_lightnings_checkpoints(tmp_path: Path) -> None:
    state = drawn()
    saved = {f"model.{name}": value for name, value in state.items()} | {"criterion.weight": torch.ones(3)}
    torch.save(
        {"pytorch-lightning_version": "2.5", "state_dict": saved, "hyper_parameters": {"lr": 1e-3}, "epoch": 1},
        tmp_path / "last.ckpt",
    )
    network: Any = create_model(TINY, tmp_path / "last.ckpt")
    assert equal(state_of(network), state)
    assert network.notes == (
        "read state_dict of last.ckpt",
        "took 'model.' off the names; left out 1 others: criterion.weight",
    )
