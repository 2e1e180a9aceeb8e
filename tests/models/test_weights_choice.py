"""What a word for weights stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from vit_bench.models import catalog, create_model, external_models, given_model
from vit_bench.models.parse_weights import parse_random, parse_weights, read_weights
from vit_bench.models.weights_choice import LibraryWeights, OwnWeights, Random, WeightsFile
from vit_bench.random_weights import is_random
from vit_bench.registry import UsageError


@pytest.mark.parametrize(
    ("word", "seed"), [("random", None), ("random:0", 0), ("random:7", 7), (f"random:{2**63 - 1}", 2**63 - 1)]
)
def test_random_weights_are_read_and_written_as_they_were_typed(word: str, seed: int | None) -> None:
    choice = parse_random(word)
    assert choice == Random(seed)
    assert choice is not None and choice.random and str(choice) == ("random" if seed == 0 else word)
    assert is_random(word)


@pytest.mark.parametrize(
    "word", ["", "in21k", "randomly.npz", "random.npz", "random/x.npz", "Random", "a:random", "own"]
)
def test_other_words_are_not_random(word: str) -> None:
    assert parse_random(word) is None
    assert not is_random(word)


def test_words_are_written_as_they_were_read(tmp_path: Path) -> None:
    """Of every kind: what a plan reads, what `create_model` means, and the text of both, which reads as the same."""
    file = tmp_path / "w.npz"
    file.touch()
    (hub,) = external_models("timm:test_vit.r160_in1k")
    own = given_model(torch.nn.Linear(1, 1), {"tap": "0"})
    for row, word, choice in (
        (catalog()["ViT-B/16"], "random", Random()),
        (catalog()["ViT-B/16"], "random:7", Random(7)),
        (catalog()["ViT-B/16"], "in21k", None),
        (catalog()["ViT-B/16"], str(file), WeightsFile(str(file))),
        (hub, "r160_in1k", LibraryWeights("r160_in1k")),
        (hub, "random:7", Random(7)),
        (hub, str(file), WeightsFile(str(file))),
    ):
        (planned,) = read_weights(row, word)
        assert str(planned) == word
        assert parse_weights(row, word) == planned
        assert choice in (None, planned)
        assert planned.random == is_random(word)
    assert str(own.architecture.default_weights(own, "vtab")) == "own"


def test_seed_0_of_a_command_is_what_random_is() -> None:
    row = catalog()["ViT-mini"]
    assert read_weights(row, "random:0") == [Random()]
    assert parse_weights(row, "random:0").seed_or(5) == 0


def test_weights_of_another_kind_of_model_are_refused() -> None:
    (library,) = external_models("torchvision:squeezenet1_1")
    own = given_model(torch.nn.Linear(1, 1), {"tap": "0"})
    for row, weights in ((catalog()["ViT-mini"], LibraryWeights("a1")), (catalog()["ViT-mini"], OwnWeights()),
                         (library, OwnWeights()), (own, LibraryWeights("a1"))):  # fmt: skip
        with pytest.raises(UsageError, match=f"cannot have the weights '{weights}': they are of another kind of mod"):
            create_model(row, weights)


@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", " 1", "²", str(2**63)])
def test_a_seed_is_a_whole_number(seed: str) -> None:
    with pytest.raises(
        UsageError, match=r"weights=random:.*: the seed after 'random:' is a whole number from 0 to 2\^63"
    ):
        parse_random(f"random:{seed}")
    assert is_random(f"random:{seed}")


def test_a_path_is_a_file_whatever_it_is_called(tmp_path: Path) -> None:
    (library,) = external_models("torchvision:squeezenet1_1")
    for row in (catalog()["ViT-mini"], library):
        with pytest.raises(UsageError, match=r"random"):
            create_model(row, tmp_path / "random")
    with pytest.raises(UsageError, match="weights=3: give a word, the path of a file, or None"):
        create_model("ViT-mini", 3)  # pyright: ignore[reportArgumentType]
