"""Rows of values held column by column: the different values of a column once, and which of them each row has."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np


class Columns:
    """Rows of hashable values. Values of a column that are equal (1 and 1.0) are one."""

    def __init__(self, names: Sequence[str]) -> None:
        # of each column its values, with their numbers, and the number that each row has
        self._columns = {name: _column((), np.arange(0)) for name in names}

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()))[1])

    def extend(self, shared: Mapping[str, Hashable], own: Mapping[str, Sequence[Hashable]], rows: int) -> None:
        """Add `rows` rows, given by what all share and by the columns of what each has of its own."""
        for name, (values, numbers) in self._columns.items():
            if name in own:
                numbers.fromlist([values[value] for value in own[name]])
            else:
                numbers.fromlist([values[shared[name]]] * rows)

    def append(self, other: Columns) -> None:
        """Add the rows of other columns of these names."""
        for name, (values, numbers) in self._columns.items():
            theirs, own = other._columns[name]
            known = np.array([values[value] for value in theirs], dtype=np.int32)
            numbers.frombytes(known[np.array(own, dtype=np.int32)].tobytes())

    def column(self, name: str, rows: np.ndarray | slice = slice(None)) -> tuple[list[Any], np.ndarray]:
        """The different values of these rows, in order of appearance, and which of them each row has."""
        import pandas as pd

        values, numbers = self._columns[name]
        codes, used = pd.factorize(np.array(numbers, dtype=np.int32)[rows])
        held = list(values)
        return [held[number] for number in used.tolist()], codes

    def select(self, rows: np.ndarray) -> Columns:
        """These rows alone, with the values that they have."""
        chosen = Columns(list(self._columns))
        for name in self._columns:
            values, numbers = self.column(name, rows)
            chosen._columns[name] = _column(values, numbers)
        return chosen

    def dump(self) -> dict[str, np.ndarray]:
        """All rows as two arrays: the values as JSON, and (columns, rows) their numbers."""
        text = json.dumps({name: list(values) for name, (values, _) in self._columns.items()})
        numbers = np.array([numbers for _, numbers in self._columns.values()], dtype=np.int32)
        return {"values": np.frombuffer(text.encode(), dtype=np.uint8), "numbers": numbers}

    @classmethod
    def load(cls, arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> Columns:
        """What `dump` returned. Raises ValueError or TypeError for anything else, and for columns of other names."""
        stated, numbers = json.loads(arrays["values"].tobytes()), arrays["numbers"]
        sizes = np.array([len(values) for values in stated.values()])
        if list(stated) != list(names) or numbers.ndim != 2 or len(numbers) != len(sizes):
            raise ValueError("these are not the columns that were asked for")
        if (numbers < 0).any() or (numbers >= sizes[:, None]).any():
            raise ValueError("a row has a value that there is not")
        loaded = cls(names)
        for name, own in zip(names, numbers, strict=True):
            loaded._columns[name] = _column(stated[name], own)
        return loaded


def _column(values: Iterable[Any], numbers: np.ndarray) -> tuple[dict[Any, int], array[int]]:
    """A column: a value that is asked for and not there gets the next number."""
    known = {value: number for number, value in enumerate(values)}
    numbered: defaultdict[Any, int] = defaultdict(count(len(known)).__next__, known)
    return numbered, array("i", numbers.astype(np.int32).tobytes())
