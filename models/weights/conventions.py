"""A file's tensors under this project's names, whichever convention they were saved in."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from ...registry import collect, first_few
from .containers import LIGHTNING, without_wrappers
from .family import Convention, FamilyWeights
from .layout import NameTable, Shape, translate
from .stored import Contents, StoredTensor

# Where re-saved official files keep the parameters, the longest first.
PREFIXES = ("opt/target/params/", "optimizer/target/params/", "opt/target/", "optimizer/target/", "params/")
# What they keep beside them, which is no part of the network.
TRAINING_STATE = re.compile(r"(opt|optimizer|opt_state|state|step|extra|chrono|rng|accum_\w+|ema)(/.*)?")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The tensors of a file under our names, unread. What no table knows keeps the file's name.

    `heads` is how many the attention of the file has, where it says so: fused projections do not show it.
    """

    contents: Contents
    tensors: Mapping[str, StoredTensor]
    convention: Convention
    table: NameTable | None = None  # None: the names are ours
    prefix: str = ""  # before every name of an official file
    heads: int | None = None
    notes: tuple[str, ...] = ()

    def shapes(self) -> dict[str, Shape]:
        return shapes_of(self.tensors)

    def their_names(self, ours: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The names that tensors of ours have in a file like this one."""
        if self.table is None:
            return {}
        return {name: match.theirs for match in self.table.matches_of_ours(ours) for name in match.ours}

    def changed(self, tensors: Mapping[str, StoredTensor], *notes: str) -> Weights:
        """The same file with other tensors, and what is to be said of that."""
        return replace(self, tensors=tensors, notes=(*self.notes, *notes))


def under_our_names(contents: Contents, grid: tuple[int, int] | None = None) -> Weights:
    """The tensors of an open file under our names.

    `grid` is what rows and columns its position embeddings may have if they are no square; files of other conventions
    than ours do not say. Nothing is an error here: a network that asks for its tensors finds what is wrong.
    """
    prefix = next((each for each in PREFIXES if any(name.startswith(each) for name in contents.tensors)), "")
    tensors, ignored = _parameters(contents.tensors, prefix)
    convention, table = _convention(tensors, grid)
    notes = list(contents.notes)
    if convention != "official":  # a name that looks like an optimiser's is the user's own
        tensors = dict(contents.tensors)
    elif ignored:
        notes.append(f"left out {len(ignored)} tensors of the training's state: {first_few(ignored)}")
    if table is None:
        return Weights(contents=contents, tensors=tensors, convention=convention, notes=tuple(notes))
    said = (match.layout.heads([tensors[each].shape for each in match.theirs]) for match in table.matches(tensors))
    return Weights(
        contents=contents,
        tensors=translate(table, tensors),
        convention=convention,
        table=table,
        prefix=prefix if convention == "official" else "",
        heads=next((heads for heads in said if heads is not None), None),
        notes=tuple(notes),
    )


def under_module_names(contents: Contents, known: Container[str]) -> Weights:
    """The tensors of an open file for a module that is not ours and has names of its own, `known`.

    The file is opened with its prefixes: they are taken off where no name of the file is known as it stands.
    """
    weights = Weights(contents=contents, tensors=contents.tensors, convention="ours", notes=contents.notes)
    if any(name in known for name in weights.tensors):
        return weights
    tensors, notes = without_wrappers(weights.tensors, lightning=LIGHTNING in contents.metadata)
    return weights.changed(tensors, *notes)


def _parameters(tensors: Mapping[str, StoredTensor], prefix: str) -> tuple[dict[str, StoredTensor], list[str]]:
    """What lies below the prefix, and the names of an optimiser's state beside it. All else stays, and is too much."""
    kept: dict[str, StoredTensor] = {}
    ignored: list[str] = []
    for name, stored in tensors.items():
        if prefix and name.startswith(prefix):
            kept[name.removeprefix(prefix)] = stored
        elif TRAINING_STATE.fullmatch(name):
            ignored.append(name)
        else:
            kept[name] = stored
    return kept, ignored


@cache
def families() -> tuple[FamilyWeights, ...]:
    """Every family whose released weights have names that are known."""
    return tuple(collect(f"{__package__}.names", FamilyWeights))


def _convention(
    tensors: Mapping[str, StoredTensor], grid: tuple[int, int] | None
) -> tuple[Convention, NameTable | None]:
    """The convention that most of the names are written in, and the table of the family that has them.

    A table counts where it gives names of its family, and for the names that it changes: some are ours as they stand,
    as timm's `blocks.0.norm1` is.
    """
    most = 0
    best: tuple[Convention, NameTable | None] = ("ours", None)
    for family in families():
        for convention, table_of in family.tables.items():
            table = table_of(tensors.keys(), grid)
            changed = sum(len(match.theirs) for match in table.matches(tensors) if match.ours != match.theirs)
            if changed > most and family.read_shapes(shapes_of(translate(table, tensors))):
                most = changed
                best = (convention, table)
    return best


def shapes_of(tensors: Mapping[str, StoredTensor]) -> dict[str, Shape]:
    return {name: stored.shape for name, stored in tensors.items()}
