"""Rows with names: a registry is a dict with manners, and the one error that means "type something else".

Known to all four packages, like stable.py. It uses nothing but the standard library, so asking for a name never costs
an import of torch or pandas.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar


class UsageError(ValueError):
    """What was asked for cannot be done. The message says what was wrong, where, and what to type instead.

    The command line prints it without a traceback and exits with code 2.
    """


R = TypeVar("R")  # a row has `name`, `aliases` and `in_globs`, be it of its own or of its class


class Registry(Mapping[str, R]):
    """Rows by name, in the order of their files. A duplicate raises, an unknown name suggests, globs select.

    Names and aliases are matched as written first, then without regard to case.
    """

    def __init__(self, kind: str, rows: Iterable[R]) -> None:
        self.kind = kind
        self._rows: dict[str, R] = {}
        self._words: list[str] = []  # every name and alias as written
        self._names: dict[str, str] = {}  # every name and alias, and its lower-case form -> name
        for row in rows:
            self._add(row)

    def _add(self, row: Any) -> None:
        for word in dict.fromkeys((row.name, *row.aliases)):
            for key in dict.fromkeys((word, word.lower())):
                taken = self._names.setdefault(key, row.name)
                if taken != row.name or row.name in self._rows:
                    raise ValueError(f"two {self.kind}s are called '{word}': {taken} and {row.name}")
        self._rows[row.name] = row
        self._words += dict.fromkeys((row.name, *row.aliases))

    def __getitem__(self, name: str) -> R:
        """The row of this name or alias. Raises UsageError, with the nearest names, where there is none."""
        found = self._names.get(name) or self._names.get(name.lower())
        if found is None:
            raise UsageError(f"there is no {self.kind} '{name}'. {suggest(name, self._words, self.names())}")
        return self._rows[found]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._names or name.lower() in self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def names(self) -> list[str]:
        return list(self._rows)

    def select(self, pattern: str) -> list[R]:
        """The rows a name, an alias or a glob stands for, in registry order.

        A glob looks at names and aliases, and passes over rows that ask for it (`in_globs`): small demonstration
        models must be named. Raises UsageError where nothing matches.
        """
        if pattern in self or not is_glob(pattern):
            return [self[pattern]]
        rows = [row for row in self.values() if self._matches(row, pattern)]
        if not rows:
            raise UsageError(f"no {self.kind} matches '{pattern}'. There are: {', '.join(self.names())}")
        return rows

    @staticmethod
    def _matches(row: Any, pattern: str) -> bool:
        return row.in_globs and any(fnmatchcase(word.lower(), pattern.lower()) for word in (row.name, *row.aliases))


def is_glob(word: str) -> bool:
    """Whether a word selects by a pattern: it has `*`, `?` or `[` in it."""
    return any(sign in word for sign in "*?[")


def suggest(word: str, candidates: Iterable[str], everything: Sequence[str] = ()) -> str:
    """A sentence that names the nearest valid choices, or all of `everything` where nothing is near."""
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


def collect(package: str, row_type: type[R]) -> list[R]:
    """Every module-level row of a type in the modules of a package, also inside lists and tuples, in file order.

    `package` is a dotted name. Modules are read in alphabetical order unless the package says `ORDER`.
    """
    parent = importlib.import_module(package)
    found = [info.name for info in pkgutil.iter_modules(parent.__path__)]
    order = [name for name in getattr(parent, "ORDER", ()) if name in found]
    rows: list[R] = []
    for name in [*order, *(name for name in found if name not in order)]:
        for value in vars(importlib.import_module(f"{package}.{name}")).values():
            group = value if isinstance(value, list | tuple) else [value]
            rows += [item for item in group if isinstance(item, row_type) and not any(item is r for r in rows)]
    return rows
