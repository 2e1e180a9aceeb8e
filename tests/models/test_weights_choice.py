"""What a word for weights stands for."""

from __future__ import annotations

import pytest
from vit_bench.models.weights_choice import Random
from vit_bench.random_weights import is_random
from vit_bench.registry import UsageError


@pytest.mark.parametrize(
    ("word", "seed"), [("random", None), ("random:0", 0), ("random:7", 7), (f"random:{2**63 - 1}", 2**63 - 1)]
)
def test_random_weights_are_read_and_written_as_they_were_typed(word: str, seed: int | None) -> None:
    choice = Random.read(word)
    assert choice == Random(seed)
    assert choice is not None and choice.random and str(choice) == word
    assert is_random(word)


@pytest.mark.parametrize(
    "word", ["", "in21k", "randomly.npz", "random.npz", "random/x.npz", "Random", "a:random", "own"]
)
def test_other_words_are_not_random(word: str) -> None:
    assert Random.read(word) is None
    assert not is_random(word)


@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", " 1", "²", str(2**63)])
def test_a_seed_is_a_whole_number(seed: str) -> None:
    with pytest.raises(
        UsageError, match=r"weights=random:.*: the seed after 'random:' is a whole number from 0 to 2\^63"
    ):
        Random.read(f"random:{seed}")
    assert is_random(f"random:{seed}")
