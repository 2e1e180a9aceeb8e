"""The names of rows, for tables, figures, comparisons and reports: the labels that people chose, else short ones.

A short name is no more than tells the rows apart: of a user's own model its builder and the settings in which its rows
differ, of a file its stem. A variant of the catalog's rows always says its settings, since it is another network than
the name alone says. A label is a column of records and no part of any question: whoever changes it computes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ..record import read_variant

if TYPE_CHECKING:
    import pandas as pd

Thing = tuple[str, str, str]  # what a name is of: model, variant, weights
THING = ["model", "variant", "weights"]
DIGEST = " sha "  # in the name of weights, where a name stands for several files
LIBRARIES = ("timm", "torchvision", "hf")  # before the colon in names of other libraries' models
BUILDER = re.compile(rf"(?!(?:{'|'.join(LIBRARIES)}):)(.+):(\w+)")  # file.py:builder, package.module:builder
GIVEN = re.compile(r"(\w+)@[0-9a-f]{8}")  # a module passed from Python
WEIGHTS_FILE = re.compile(r"\.(npz|safetensors|pt|pth|bin|ckpt|tar)$")
BROUGHT = ("", "own")  # weights that a row need not name


@dataclass(frozen=True, kw_only=True)
class Name:
    """The name of a row: its model, or the label that was chosen, its weights, and the text with both, where needed."""

    model: str
    weights: str
    text: str
    chosen: bool = False  # whether it is a label, which says all that somebody wants said


def thing_of(record: Any) -> Thing:
    """What a record, or a job's columns, is of."""
    return str(record["model"]), str(record["variant"]), str(record["weights"])


def names(frame: pd.DataFrame, *, plain: bool = False) -> dict[Thing, Name]:
    """The name of each model, variant and weights in these records; no two are the same.

    Raises UsageError for one of them with two labels; `plain`: it has none.
    """
    rows = frame[THING].astype(str).drop_duplicates()
    things: list[Thing] = list(rows.itertuples(index=False, name=None))
    models, weights = short_models([thing[0] for thing in things]), short_weights([thing[2] for thing in things])
    several, of_variant = len(weights) > 1, Counter(thing[:2] for thing in things)
    of_model: dict[str, list[Mapping[str, str]]] = {}
    for model, variant, _ in things:
        of_model.setdefault(model, []).append(read_variant(variant))
    made: dict[Thing, Name] = {}
    for thing in things:
        model, variant, brought = thing
        of_catalog = f"[{variant}]" if variant else ""
        base = f"{models[model]} {_settings(variant, of_model[model]) if _is_own(model) else of_catalog}".rstrip()
        quiet = not several or not brought or (brought in BROUGHT and of_variant[thing[:2]] == 1)
        made[thing] = Name(model=base, weights=weights[brought], text=base if quiet else f"{base} ({weights[brought]})")
    made = _all_different(made)
    labels = _labels(frame, plain=plain)
    taken = Counter([*labels.values(), *(name.text for thing, name in made.items() if thing not in labels)])
    for thing, label in labels.items():
        text = label if taken[label] == 1 else f"{label}: {made[thing].text}"
        made[thing] = Name(model=text, weights=made[thing].weights, text=text, chosen=True)
    return made


def names_or_plain(frame: pd.DataFrame) -> dict[Thing, Name]:
    """The same; without a label what has two."""
    return names(frame, plain=True)


def shown_values(frame: pd.DataFrame, column: str) -> dict[str, str]:
    """What to show for each value of model, variant, weights or source: the label that all of it has, else its name."""
    values = list(dict.fromkeys(frame[column].astype(str)))
    shorten = {"model": short_models, "weights": short_weights}.get(column)
    short = shorten(values) if shorten else {value: value or "none" for value in values}
    labels, of_value = _labels(frame, plain=True), dict[str, set[str]]()
    for *thing, value in frame[[*THING, column]].astype(str).drop_duplicates().itertuples(index=False, name=None):
        of_value.setdefault(value, set()).add(labels.get((thing[0], thing[1], thing[2]), ""))
    shown = {value: (of_value[value].pop() if len(of_value[value]) == 1 else "") or short[value] for value in values}
    return shown if len(set(shown.values())) == len(shown) else {value: value for value in values}


def short_models(models: Sequence[str]) -> dict[str, str]:
    """Of each of these models the builder or class alone, with as much of its place as tells it from the others."""
    return told_apart({model: list(_model_words(model)) for model in models})


def short_weights(weights: Sequence[str]) -> dict[str, str]:
    """Of each of these weights the stem of its file, with as many folders as tell it from the others."""
    return told_apart({name: list(_weights_words(name)) for name in weights})


def told_apart(words: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """For each text the first of its words, the shortest first, that is no word of another text; else the text."""
    counts = Counter(word for of_text in words.values() for word in set(of_text))
    return {text: next((word for word in own if counts[word] == 1), text) for text, own in words.items()}


def _model_words(model: str) -> Iterator[str]:
    if given := GIVEN.fullmatch(model):
        yield given[1]
    elif builder := BUILDER.fullmatch(model):
        place, name = builder.groups()
        yield name
        parts = PurePath(place).parts if place.endswith(".py") else place.split(".")
        joined = "/" if place.endswith(".py") else "."
        yield from (f"{joined.join(parts[-depth:])}:{name}" for depth in range(1, len(parts)))
    yield model


def _weights_words(name: str) -> Iterator[str]:
    path, mark, digest = name.partition(DIGEST)
    parts = PurePath(path).parts
    for depth in range(1, len(parts) + 1):
        tail = str(PurePath(*parts[-depth:]))
        yield WEIGHTS_FILE.sub("", tail) + mark + digest
        yield tail + mark + digest


def _is_own(model: str) -> bool:
    return bool(GIVEN.fullmatch(model) or BUILDER.fullmatch(model))


def _settings(variant: str, of_model: Sequence[Mapping[str, str]]) -> str:
    """The settings of a user's model in which its rows differ; of a file its stem alone."""
    told = []
    for name, value in read_variant(variant).items():
        values = [settings.get(name, "") for settings in of_model]
        if WEIGHTS_FILE.search(value):
            told.append(short_weights(values)[value])
        elif len(set(values)) > 1:
            told.append(f"{name}={value}")
    return " ".join(told)


def _all_different(made: Mapping[Thing, Name]) -> dict[Thing, Name]:
    """The same names, in full where two would be the same text."""
    counts = Counter(name.text for name in made.values())
    different: dict[Thing, Name] = {}
    for thing, name in made.items():
        model, variant, weights = thing
        full = f"{model} [{variant}]" if variant else model
        text = f"{full} ({weights})" if weights else full
        different[thing] = name if counts[name.text] == 1 else Name(model=full, weights=name.weights, text=text)
    return different


def _labels(frame: pd.DataFrame, *, plain: bool) -> dict[Thing, str]:
    """The labels in these records. A record without one is of the same thing as those with one."""
    if "label" not in frame:
        return {}
    found: dict[Thing, str] = {}
    twice: set[Thing] = set()
    labelled = frame[frame["label"].fillna("").ne("")][[*THING, "label"]].astype(str).drop_duplicates()
    for *thing, label in labelled.itertuples(index=False, name=None):
        model, variant, weights = thing
        if found.setdefault((model, variant, weights), label) != label:
            twice.add((model, variant, weights))
            if plain:
                continue
            raise UsageError(
                f"'{found[model, variant, weights]}' and '{label}' are two labels of one thing here, "
                f"{' '.join(filter(None, thing))}: repeat one of the runs with label=, which costs no work"
            )
    return {thing: label for thing, label in found.items() if thing not in twice}
