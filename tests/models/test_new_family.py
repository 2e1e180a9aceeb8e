"""What it takes to add a family of networks: three files, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vit_bench
from safetensors.torch import load_file

ROOT = Path(vit_bench.__file__).parent

CATALOG = '''
"""Mixers: two perceptrons a block, over the patches and over the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..geometry import check_positive, patch_grid
from ..native import NativeArchitecture, spellings
from ..spec import Input, Model


@dataclass(frozen=True, kw_only=True)
class Mixer(NativeArchitecture):
    network: ClassVar[str] = "mixer:MixerNetwork"
    weights_names: ClassVar[str] = "mixer"

    patch_size: int
    width: int
    depth: int

    def check(self, name: str) -> None:
        check_positive(name, patch_size=self.patch_size, width=self.width, depth=self.depth)

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        return patch_grid(image_size, self.patch_size)

    def sizes(self) -> dict[str, int]:
        return {"layers": self.depth, "width": self.width}

    def num_features(self) -> int:
        return self.width


ROWS = (
    Model(
        name="Mixer-toy/16",
        family="Mixer",
        architecture=Mixer(patch_size=16, width=8, depth=2),
        params=None,
        input=Input(size=(32, 32)),
        aliases=spellings("Mixer-toy/16"),
    ),
)
'''
NETWORK = '''
"""The mixer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, Tensor, nn

from ..catalog.mixer import Mixer
from ..spec import Model
from .base import Network, lecun_normal_


class Block(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.over_tokens = nn.Linear(tokens, tokens)
        self.over_channels = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # B N D
        x = x + self.over_tokens(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.over_channels(x).relu()


class MixerNetwork(Network):
    def __init__(self, spec: Model, num_classes: int | None, image_size: tuple[int, int]) -> None:
        mixer = cast(Mixer, spec.architecture)
        mixer.check(spec.name)
        super().__init__(spec, num_classes, image_size, num_features=mixer.width)
        rows, columns = mixer.grid(image_size)
        with torch.device("meta"):
            self.patches = nn.Conv2d(3, mixer.width, mixer.patch_size, stride=mixer.patch_size)
            self.layers = nn.ModuleList(Block(rows * columns, mixer.width) for _ in range(mixer.depth))

    def features(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        for block in self.layers:
            x = block(x)
        return x.mean(dim=1)

    def draw(self, generator: Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module is not self.head:
                lecun_normal_(module.weight, generator)
                nn.init.zeros_(cast(Tensor, module.bias))
'''
NAMES = '''
"""The names of the mixers' released weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...catalog.mixer import Mixer
from ..layout import FamilyWeights, Kernel, NameTable, Projection, Shape, count, flax_layer, flax_norm

LINEAR, BLOCK = Projection("io"), "Mixer/block_{layer}"
OFFICIAL = NameTable(
    *flax_layer("patches", "stem", Kernel()),
    *flax_norm("layers.{layer}.norm", f"{BLOCK}/LayerNorm_0"),
    *flax_layer("layers.{layer}.over_tokens", f"{BLOCK}/token_mixing", LINEAR),
    *flax_layer("layers.{layer}.over_channels", f"{BLOCK}/channel_mixing", LINEAR),
    *flax_layer("head", "head", LINEAR),
)


def official_names(names: Collection[str], grid: tuple[int, int] | None = None) -> NameTable:
    return OFFICIAL


def read_shapes(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    patches = shapes.get("patches.weight", ())
    if len(patches) != 4:
        return {}
    depth = count(r"layers\\.(\\d+)\\.", shapes)
    return {"network": Mixer.network, "patch_size": patches[-1], "width": patches[0], "depth": depth}


MIXER = FamilyWeights(
    titles=("a mixer",), tables={"official": official_names}, read_shapes=read_shapes, first="patches.weight"
)
'''
FILES = {
    "models/catalog/mixer.py": CATALOG,
    "models/networks/mixer.py": NETWORK,
    "models/weights/names/mixer.py": NAMES,
}


class Clone:
    """A copy of this project with the family in it, and its commands and scripts in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("tests", ".git", "__pycache__", "*.egg-info", "runs", "data")
        shutil.copytree(ROOT, folder / "vit_bench", ignore=ignored)

    def add_family(self) -> None:
        for name, text in FILES.items():
            (self.folder / "vit_bench" / name).write_text(text.lstrip(), encoding="utf-8")

    def script(self, text: str) -> subprocess.CompletedProcess[str]:
        return self._start("-c", f"import vit_bench\nassert 'clone' in vit_bench.__file__\n{text}")

    def bench(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._start("-m", "vit_bench", *words)

    def _start(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder.parent,
            env={**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return done


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def released_file(path: Path) -> Path:
    """A file as the mixers' release writes it."""
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"stem/kernel": (16, 16, 3, 8), "stem/bias": (8,)}
    for layer in range(2):
        block = f"Mixer/block_{layer}"
        shapes |= {f"{block}/LayerNorm_0/scale": (8,), f"{block}/LayerNorm_0/bias": (8,)}
        shapes |= {f"{block}/token_mixing/kernel": (4, 4), f"{block}/token_mixing/bias": (4,)}
        shapes |= {f"{block}/channel_mixing/kernel": (8, 8), f"{block}/channel_mixing/bias": (8,)}
    shapes |= {"head/kernel": (8, 10), "head/bias": (10,)}
    arrays: dict[str, Any] = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    np.savez(path, **arrays)
    return path


KEYS = """
from vit_bench.bench.config import read
from vit_bench.bench.plan import make_plan
for model in ("ViT-mini", "BiT-mini", "R+ViT-mini"):
    (job,) = make_plan(read(["suite=fewshot", "task=digits", f"model={model}", "device=cpu"])).jobs
    print(job.key)
"""


@pytest.mark.slow
def test_a_family_is_three_files(clone: Clone, tmp_path: Path) -> None:
    before = clone.script(KEYS)
    clone.add_family()
    after = clone.script(KEYS)
    assert before.returncode == after.returncode == 0, before.stderr + after.stderr
    assert before.stdout == after.stdout, "another family's jobs have other keys"

    listed = clone.bench("list", "models")
    assert "Mixer-toy/16" in listed.stdout, listed.stderr

    file = released_file(tmp_path / "mixer.npz")
    built = clone.script(
        "import torch, numpy as np\n"
        "from vit_bench import create_model, list_models\n"
        "assert list_models('Mixer-*') == ['Mixer-toy/16']\n"
        f"network = create_model('mixer_toy16', weights={str(file)!r})\n"
        f"arrays = np.load({str(file)!r})\n"
        "kernel = torch.from_numpy(arrays['stem/kernel']).permute(3, 2, 0, 1)\n"
        "assert torch.equal(network.state_dict()['patches.weight'], kernel)\n"
        "assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)\n"
        "assert network.notes == ()\n"
        "from vit_bench.bench.facts import facts\n"
        "assert 'Mixer-toy/16' in {row['name'] for row in facts().models}\n"
    )
    assert built.returncode == 0, built.stderr

    inspected = clone.bench("weights", "inspect", str(file))
    assert "the official release's" in inspected.stdout, inspected.stderr
    assert "Mixer-toy/16" in inspected.stdout
    assert "problem" not in inspected.stdout
    converted = clone.bench("weights", "convert", str(file), "mixer.safetensors")
    assert converted.returncode == 0, converted.stderr
    assert "layers.0.over_tokens.weight" in load_file(tmp_path / "mixer.safetensors")
    converted = clone.bench("weights", "convert", "mixer.safetensors", "again.npz")
    assert converted.returncode == 0, converted.stderr
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()

    probe = ("run", "suite=fewshot", "task=digits", "model=Mixer-toy/16", "shots=1", "seed=0", "device=cpu", "out=r")
    ran = clone.bench(*probe, f"weights={file}")
    assert ran.returncode == 0, ran.stderr
    results = (tmp_path / "r" / "results.csv").read_text(encoding="utf-8")
    assert "Mixer-toy/16" in results
    assert ",ok," in results

    mistyped = clone.bench(*probe, "weights=in21")
    assert mistyped.returncode == 2
    assert "weights=in21" in mistyped.stderr
    wrong = clone.script(f"from vit_bench import create_model\ncreate_model('ViT-mini', weights={str(file)!r})")
    assert "these look like Mixer-toy/16" in wrong.stderr
