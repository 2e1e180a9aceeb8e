"""Registries of named rows, and UsageError for mistakes that users can correct.

All packages use this module. It imports only the standard library, so looking up a name imports neither torch nor
pandas.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

SHOWN = 60  # characters of a text that is no path


class UsageError(ValueError):
    """A request cannot be fulfilled. The message says what was wrong, where, and what to type instead.

    The command line prints it without a traceback and exits with code 2.
    """


def path_of(text: str | Path) -> Path:
    """The path that a text is, `~` expanded where it is a user's. Raises UsageError where none can be looked for."""
    text = str(text)
    try:
        text.encode()  # records and settings are UTF-8
        path = Path(text)
        with suppress(RuntimeError):  # a name may begin with `~`
            path = path.expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
    except (OSError, ValueError) as error:  # too long, or not to be read; a NUL
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
        raise UsageError(f"{shown!r} cannot be a path: {getattr(error, 'strerror', None) or error}") from None
    return path


R = TypeVar("R")  # a row has `name`, `aliases` and `in_globs`, on the instance or its class


class Registry(Mapping[str, R]):
    """A mapping from names and aliases to rows, in the given order.

    A duplicate name raises ValueError, and the error for an unknown name suggests similar ones. Names are matched
    exactly first, then without regard to case.
    """

    def __init__(self, kind: str, rows: Iterable[R]) -> None:
        self.kind = kind
        self._rows: dict[str, R] = {}
        self._words: list[str] = []  # every name and alias as written
        self._names: dict[str, str] = {}  # every name and alias, and its lower-case form -> name
        known: Iterable[Any] = rows
        for row in known:
            words = dict.fromkeys((row.name, *row.aliases))
            for word in words:
                for key in {word, word.lower()}:
                    taken = self._names.setdefault(key, row.name)
                    if taken != row.name or row.name in self._rows:
                        raise ValueError(f"two {kind}s are called '{word}': {taken} and {row.name}")
            self._rows[row.name] = row
            self._words += words

    def __getitem__(self, name: str) -> R:
        """The row of this name or alias. Raises UsageError, with the nearest names, if there is none."""
        row_name = self._names.get(name) or self._names.get(name.lower())
        if row_name is None:
            raise UsageError(f"there is no {self.kind} '{name}'. {suggest(name, self._words, self.names())}")
        return self._rows[row_name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._names or name.lower() in self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def names(self) -> list[str]:
        return list(self._rows)

    def select(self, pattern: str) -> list[R]:
        """The rows that a name, an alias or a glob matches, in registry order.

        A glob skips rows with in_globs=False, such as small demonstration models, which must be named. Raises
        UsageError if nothing matches.
        """
        if pattern in self or not is_glob(pattern):
            return [self[pattern]]
        rows = []
        for row in list[Any](self.values()):
            if row.in_globs and any(fnmatchcase(word.lower(), pattern.lower()) for word in (row.name, *row.aliases)):
                rows.append(row)
        if not rows:
            raise UsageError(f"no {self.kind} matches '{pattern}'. There are: {', '.join(self.names())}")
        return rows


def is_glob(word: str) -> bool:
    """Whether a word is a glob: whether it contains `*`, `?` or `[`."""
    return any(sign in word for sign in "*?[")


def suggest(word: str, candidates: Iterable[str], everything: Sequence[str] = ()) -> str:
    """A sentence that names the nearest candidates, or all of `everything` if none is near."""
    original = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(word.lower(), list(original), n=3, cutoff=0.6)
    if near:
        return "Did you mean " + " or ".join(f"'{original[key]}'" for key in near) + "?"
    choices = list(everything) or list(original.values())
    return "Choose from: " + ", ".join(choices)


def first_few(names: Sequence[str], most: int = 8) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f", … and {more} more" if more > 0 else "")


def plain_word(value: Any) -> str:
    """A setting's value as one would type it, in lists, in messages, and in the words of a changed model."""
    if isinstance(value, tuple):
        return ",".join(map(plain_word, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value).lower() if value is None else str(value)


def collect(package: str, row_type: type[R]) -> list[R]:
    """All module-level rows of a type in the files of a package, also in lists and tuples, in file order.

    `package` is a dotted name. Modules come in the order of the package's `ORDER`, then alphabetically.
    """
    parent = importlib.import_module(package)
    modules = [info.name for info in pkgutil.iter_modules(parent.__path__) if not info.ispkg]
    order = [name for name in getattr(parent, "ORDER", ()) if name in modules]
    rows: list[R] = []
    for name in dict.fromkeys([*order, *modules]):
        for value in vars(importlib.import_module(f"{package}.{name}")).values():
            group = value if isinstance(value, list | tuple) else [value]
            rows += [item for item in group if isinstance(item, row_type) and not any(item is r for r in rows)]
    return rows
