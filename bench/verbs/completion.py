"""Completes the words of a command line when the tab key is pressed: keys that have known values, and these values."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any, Literal, Union, get_args, get_origin

import typer

from ..words import options


def words_argument(metavar: str, *kinds: type) -> Any:
    """The argument `words` of a verb, whose `key=value` words are of these options.

    Files are the shell's own business: for an empty word, and for what is no key, nothing is offered.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        known = {name: one.kind for kind in kinds for name, one in options(kind).items()}
        before = list(ctx.params.get("words") or ())
        if before[-1:] == ["="] or incomplete == "=":  # bash makes three words of key=value, and replaces the last
            key = before[-2] if before[-1:] == ["="] else before[-1]
            return _values(key, known.get(key), incomplete.removeprefix("="))
        key, equals, text = incomplete.partition("=")
        if equals:
            return [f"{key}={value}" for value in _values(key, known.get(key), text)]
        keys = [name for name in known if key and name.startswith(key) and (name in NAMES or _words(known[name]))]
        return [f"{name}=" for name in keys] if len(keys) != 1 else [f"{keys[0]}={it}" for it in _all(keys[0], known)]

    return typer.Argument(metavar=metavar, show_default=False, autocompletion=complete)


def names_of(registry: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """The function that completes the names of a registry."""
    return lambda incomplete: [name for name in registry() if name.startswith(incomplete)]


def _all(key: str, known: dict[str, Any]) -> list[str]:
    return _values(key, known[key], "")


def _values(key: str, kind: Any, text: str) -> list[str]:
    """The values of a key that begin as typed; of a comma list, of its last item."""
    done, comma, last = text.rpartition(",")
    values = NAMES[key]() if key in NAMES else _words(kind)
    return [done + comma + value for value in values if value.startswith(last)]


def _words(kind: Any) -> list[str]:
    """The words that a type allows, where it allows only some."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(choice for choice in get_args(kind) if choice is not types.NoneType)
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return ["true", "false"] if kind is bool else []


def _suites() -> list[str]:
    from ...suites import suites

    return list(suites())


def _models() -> list[str]:
    from ...models import catalog

    return list(catalog())


def _tasks() -> list[str]:
    from ...suites.tasks import tasks

    return [*tasks(), *dict.fromkeys(task.collection for task in tasks().values())]


def _weights() -> list[str]:
    from ...models import catalog

    return ["random", *dict.fromkeys(tag for row in catalog().values() for tag in row.known_weights)]


NAMES: dict[str, Callable[[], list[str]]] = {
    "suite": _suites,
    "model": _models,
    "task": _tasks,
    "weights": _weights,
    "device": lambda: ["auto", "cpu", "cuda", "mps"],
}
