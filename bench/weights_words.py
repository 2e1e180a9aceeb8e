"""What the words of `weights=` mean for each model: random, a tag of a released file, a file, or several by a glob."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..models import releases
from ..models.spec import Model
from ..registry import UsageError
from ..suites.protocol import Suite

SUFFIXES = (".npz", ".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".json")  # of weights in a folder


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A selected model, and what its name says of its weights."""

    model: Model
    said: str | None = None  # the tag, where the name says weights: BiT-M-R50x1
    word: str = ""  # the name as typed


def choose_weights(suite: Suite, chosen: Sequence[Choice], words: Sequence[str]) -> Iterator[tuple[Model, str]]:
    """Each model with each of its weights: "random", "random:7", a tag, a file's path, or "own".

    Every word must mean something for every model. Raises UsageError where one does not, where weights are needed and
    not said, and where they are said twice. No file is opened and none is downloaded.
    """
    for word in words:
        _check(word, [choice.model for choice in chosen if choice.model.family != "own"])
    for choice in chosen:
        for weights in _of_choice(suite, choice, words):
            yield choice.model, weights


def _of_choice(suite: Suite, choice: Choice, words: Sequence[str]) -> list[str]:
    model = choice.model
    if model.family == "own":
        if words:
            raise UsageError(f"weights={','.join(words)}: {model.name} brings its own; load them in its builder")
        return ["own"]
    meant = list(dict.fromkeys(weights for word in words for weights in _meant(model, word) or ()))
    if choice.said is not None:
        if meant and meant != [choice.said]:
            raise UsageError(
                f"model={choice.word} says the weights, {choice.said} of {model.name}, and weights={','.join(words)} "
                f"says others. Type model={model.name} weights={','.join(words)}"
            )
        return [choice.said]
    if meant:
        return meant
    if model.small or "weights" not in suite.needs:
        return ["random"]
    tags = f"weights=TAG ({releases.summary(model.name)}), " if model.known_weights else ""
    raise UsageError(
        f"{model.name} needs weights for suite={suite.name}: type {tags}weights=FILE or, for the untrained "
        "network, weights=random"
    )


def _meant(model: Model, word: str) -> list[str] | None:
    """What a word stands for with a model, or None where it stands for nothing. A tag goes before a file."""
    kind, colon, seed = word.partition(":")
    if kind == "random":
        if colon and not (seed.isascii() and seed.isdecimal() and int(seed) < 2**63):
            raise UsageError(f"weights={word}: the seed after 'random:' is a whole number from 0 to 2^63 - 1")
        return ["random" if not colon or int(seed) == 0 else f"random:{int(seed)}"]
    release = releases.find(model.name, word)
    if release is not None:
        return [release.tag]
    path = Path(word).expanduser()
    if files_of(word):
        return [word]
    if is_glob(word):
        tags = [release.tag for release in releases.matching(model.name, word)]
        files = [] if tags else glob.glob(str(path), recursive=True)  # noqa: PTH207 -- takes an absolute pattern, too
        return tags or sorted((file for file in files if Path(file).is_file()), key=in_natural_order) or None
    return None


def files_of(word: str) -> list[Path]:
    """The files on this machine behind FILE, FILE:PART or a folder of the hub's kind, for their digests; maybe none.

    The shards that an index (`….index.json`) lists lie beside it and are taken to be all of that kind there.
    """
    path = Path(word).expanduser()
    if not path.exists() and ":" in word:
        path = Path(word.rpartition(":")[0]).expanduser()
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if not path.is_file():
        return []
    shards = path.parent.glob(f"*{Path(path.name.removesuffix('.index.json')).suffix}")
    return [path, *(sorted(shards) if path.name.endswith(".index.json") else [])]


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
        f"weights={word}: there is no such file, and {releases.unknown(known[0], word)}. Type one of them, a path, or "
        "weights=random for the untrained network"
    )


def _named(models: Sequence[str]) -> str:
    return ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")


def _tags(models: Sequence[str]) -> str:
    known = [name for name in models if releases.of_model(name)]
    return f"Of {known[0]} there are: {releases.summary(known[0])}" if known else "Type the path of a file"


def is_glob(word: str) -> bool:
    """Whether a word may stand for several."""
    return any(sign in word for sign in "*?[")


def in_natural_order(word: str) -> str:
    """A text that sorts as people count: step9 before step10."""
    return re.sub(r"\d+", lambda digits: digits.group().zfill(12), word)
