"""Each selected model with each of its weights, as `weights=` says them for all models of a command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...models.released import table as releases
from ...models.spec import Model
from ...models.weights_choice import Released, WeightsChoice
from ...registry import UsageError, is_glob
from ...suites.protocol import Suite
from ..verbs.words import each


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A selected model, and what its name says of its weights."""

    model: Model
    said: Released | None = None  # the release, where the name says weights: BiT-M-R50x1
    word: str = ""  # the name as typed


def choose_weights(
    suite: Suite, chosen: Sequence[Choice], words: Sequence[str]
) -> Iterator[tuple[Model, WeightsChoice]]:
    """Each model with each of its weights.

    Every word must mean something for every model. Raises UsageError where one does not, where weights are needed and
    not said, and where they are said twice. No file is opened and none is downloaded.
    """
    each(lambda word: _check(word, [choice.model for choice in chosen]), words)
    for choice in chosen:
        for weights in _of_choice(suite, choice, words):
            yield choice.model, weights


def _of_choice(suite: Suite, choice: Choice, words: Sequence[str]) -> Sequence[WeightsChoice]:
    model = choice.model
    meant = list(dict.fromkeys(weights for word in words for weights in _meant(model, word) or ()))
    if choice.said is not None:
        if meant and meant != [choice.said]:
            raise UsageError(
                f"model={choice.word} says the weights, {choice.said} of {model.name}, and weights={','.join(words)} "
                f"says others. Type model={model.name} weights={','.join(words)}"
            )
        return [choice.said]
    return meant or [model.architecture.default_weights(model, suite.name if "weights" in suite.needs else None)]


def _meant(model: Model, word: str) -> list[WeightsChoice] | None:
    return model.architecture.read_weights(model, word)


def _check(word: str, models: Sequence[Model]) -> None:
    """Raises UsageError where the word stands for nothing with some model, naming all of them."""
    without = list(dict.fromkeys(model.name for model in models if _meant(model, word) is None))
    if not without:
        return
    within = list(dict.fromkeys(model.name for model in models if model.name not in without))
    if within:
        raise UsageError(
            f"weights={word}: {', '.join(without)} {'has' if len(without) == 1 else 'have'} no such weights, only "
            f"{', '.join(within)}. Type model={','.join(within)}, or say weights that all of them have"
        )
    if is_glob(word):
        raise UsageError(f"weights={word}: no file matches, and no tag of {_named(without)}. {_tags(without)}")
    known = [name for name in without if releases.of_model(name)]
    if not known:
        raise UsageError(
            f"weights={word}: there is no such file. Type a path, or weights=random for the untrained network"
        )
    raise UsageError(
        f"weights={word}: there is no such file, and {releases.unknown_tag(known[0], word)}. Type one of them, a "
        "path, or weights=random for the untrained network"
    )


def _named(models: Sequence[str]) -> str:
    return ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")


def _tags(models: Sequence[str]) -> str:
    known = [name for name in models if releases.of_model(name)]
    return f"Of {known[0]} there are: {releases.tags_in_short(known[0])}" if known else "Type the path of a file"
