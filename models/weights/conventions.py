"""Recognises the naming convention of a weights file (official, big_vision's, timm's, ours), gives its tensors our
names, and reads the network's fields from their shapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from ...registry import collect, first_few
from ..geometry import resnet_stride
from .containers import INSIDE, one_network
from .files import open_weights
from .layout import FLAX, NO_RULES, Convention, FamilyWeights, NameTable, Shape, translate
from .stored import Contents, StoredTensor

# The prefixes of the parameters in re-saved official files, the longest first.
PREFIXES = ("opt/target/params/", "optimizer/target/params/", "opt/target/", "optimizer/target/", "params/")
# The names of a training's state in them, which is no part of the network.
TRAINING_STATE = re.compile(r"(opt|optimizer|opt_state|state|step|extra|chrono|rng|accum_\w+|ema)(/.*)?")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The tensors of a file under our names, unread. A tensor that no table knows keeps its name.

    `heads` is the number of attention heads, where the file shows it; fused projections do not.
    """

    contents: Contents
    tensors: Mapping[str, StoredTensor]
    convention: Convention
    table: NameTable = NO_RULES  # without rules where the names are ours
    prefix: str = ""  # before every name of an official file
    heads: int | None = None
    notes: tuple[str, ...] = ()

    def shapes(self) -> dict[str, Shape]:
        return shapes_of(self.tensors)

    def their_names(self, ours: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The names in a file of this convention for our names."""
        return {name: match.theirs for match in self.table.matches_of_ours(ours) for name in match.ours}

    def changed(self, tensors: Mapping[str, StoredTensor], *notes: str) -> Weights:
        """The same file with other tensors, and more notes."""
        return replace(self, tensors=tensors, notes=(*self.notes, *notes))


def under_our_names(contents: Contents, grid: tuple[int, int] | None = None) -> Weights:
    """The tensors of the network in an open file under our names.

    `grid` is the rows and columns of its position embeddings where they are no square, which only files with our names
    show; of timm's also where as many could be a square, with a note. Loading checks what is missing. Raises UsageError
    where the file holds several networks (containers.py).
    """
    contents = contents if contents.path.suffix == ".npz" else one_network(contents, networks_in)
    prefix = next((text for text in PREFIXES if any(name.startswith(text) for name in contents.tensors)), "")
    tensors, ignored = _parameters(contents.tensors, prefix)
    convention, table = _convention(tensors, grid)
    notes = list(contents.notes)
    if convention not in FLAX:  # elsewhere a name such as "step" is a tensor of the user's
        tensors = dict(contents.tensors)
    elif ignored:
        notes.append(f"left out {len(ignored)} tensors of the training's state: {first_few(ignored)}")
    ours = translate(table, tensors)
    taken = ours["position.grid"].shape[1:3] if "position.grid" in ours else ()
    if grid is not None and taken == grid and convention == "timm" and grid[0] != grid[1]:
        count = math.prod(grid)
        if math.isqrt(count) ** 2 == count:
            asked = f"{grid[0]}x{grid[1]}, as the image size says, and not as a square"
            notes.append(f"its {count} position embeddings are taken as {asked}")
    stated = (match.layout.heads([tensors[name].shape for name in match.theirs]) for match in table.matches(tensors))
    return Weights(
        contents=contents,
        tensors=ours,
        convention=convention,
        table=table,
        prefix=prefix if convention in FLAX else "",
        heads=next((heads for heads in stated if heads is not None), None),
        notes=tuple(notes),
    )


def under_module_names(contents: Contents, known: Collection[str]) -> Weights:
    """The tensors of an open file for a module of a library or a user, whose names are `known`.

    Raises UsageError where the file holds them several times (containers.py).
    """
    if contents.path.suffix != ".npz":
        compiled = any(map(INSIDE.search, known))
        contents = one_network(contents, partial(modules_in, known=known), unwrap=not compiled)
    return Weights(contents=contents, tensors=contents.tensors, convention="ours", notes=contents.notes)


def networks_in(tensors: Mapping[str, StoredTensor]) -> list[str]:
    """What stands before the names of each network of ours among these tensors; the first layer's names find them."""
    found: dict[str, None] = {}
    for name, stored in tensors.items():
        first = next((first for first in _first_layers() if f".{name}".endswith(f".{first}")), None)
        if first is not None and len(stored.shape) == 4:
            found[name.removesuffix(first)] = None
    return _outermost([prefix for prefix in found if _is_network(_below(tensors, prefix))])


def modules_in(tensors: Mapping[str, StoredTensor], known: Collection[str]) -> list[str]:
    """What stands before the names of a module among these tensors, wherever most of them are."""
    hits: dict[str, list[str]] = {}
    for name in tensors:
        for start in (0, *(match.end() for match in re.finditer(r"\.", name))):
            if name[start:] in known:
                hits.setdefault(name[:start], []).append(name)
    most = max(map(len, hits.values()), default=0)
    whole = [prefix for prefix, names in hits.items() if len(names) == most]
    # Of two names for the same tensors, that of a module and of its Backbone, the one with less beside it.
    whole.sort(key=lambda prefix: (len(_below(tensors, prefix)), len(prefix)))
    single = {tuple(hits[prefix]): prefix for prefix in reversed(whole)}.values()
    return _outermost([prefix for prefix in hits if prefix in single])


def _outermost(prefixes: Sequence[str]) -> list[str]:
    """The prefixes that are not inside another."""
    return [inner for inner in prefixes if not any(inner != outer and inner.startswith(outer) for outer in prefixes)]


def _below(tensors: Mapping[str, StoredTensor], prefix: str) -> dict[str, StoredTensor]:
    return {name.removeprefix(prefix): stored for name, stored in tensors.items() if name.startswith(prefix)}


@cache
def _first_layers() -> tuple[str, ...]:
    """The names of the first layer's weight in all conventions, the longest first."""
    tables = [table_of((), None) for family in families() for table_of in family.tables.values()]
    firsts = {family.first for family in families()}
    theirs = {rule.theirs[0] for table in tables for rule in table.rules if rule.ours[0] in firsts}
    return tuple(sorted(firsts | theirs, key=len, reverse=True))


def _is_network(tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether some family has these tensors, and layers of them."""
    _, table = _convention(tensors, None)
    fields = fields_from_shapes(shapes_of(translate(table, tensors)))
    return bool(fields.get("depth") or fields.get("units"))


def _parameters(tensors: Mapping[str, StoredTensor], prefix: str) -> tuple[dict[str, StoredTensor], list[str]]:
    """The tensors without the prefix and without the training's state, and the names of that state."""
    below = {name for name in tensors if prefix and name.startswith(prefix)}
    ignored = [name for name in tensors if name not in below and TRAINING_STATE.fullmatch(name)]
    kept = tensors.keys() - ignored
    return {name.removeprefix(prefix): stored for name, stored in tensors.items() if name in kept}, ignored


@cache
def families() -> tuple[FamilyWeights, ...]:
    """The families of models/weights/names."""
    return tuple(collect(f"{__package__}.names", FamilyWeights))


def _convention(tensors: Mapping[str, StoredTensor], grid: tuple[int, int] | None) -> tuple[Convention, NameTable]:
    """The convention of most names, and the table of the family that has them, without rules for our own names.

    A table counts with the names that it changes, since some are equal to ours (timm's `blocks.0.norm1`), and only if
    the result is of its family.
    """
    most = 0
    best: tuple[Convention, NameTable] = ("ours", NO_RULES)
    for family in families():
        for convention, table_of in family.tables.items():
            table = table_of(tensors.keys(), grid)
            changed = sum(len(match.theirs) for match in table.matches(tensors) if match.ours != match.theirs)
            if changed > most and family.read_shapes(shapes_of(translate(table, tensors))):
                most = changed
                best = (convention, table)
    return best


def refused_parts(names: Iterable[str]) -> list[str]:
    """Sentences on the parts of a network, by the names in a file, that no network here has."""
    known = [part for family in families() for part in family.refused]
    bare = {name.removeprefix(next(filter(name.startswith, PREFIXES), "")) for name in names}
    return list(dict.fromkeys(said for pattern, said in known if any(re.match(pattern, name) for name in bare)))


def shapes_of(tensors: Mapping[str, StoredTensor]) -> dict[str, Shape]:
    return {name: stored.shape for name, stored in tensors.items()}


# ------------------------------------------------------------------------------------------- what shapes say


def family_of(shapes: Mapping[str, Shape]) -> FamilyWeights | None:
    """The family that has these tensors under our names; None where none has."""
    return next((family for family in families() if family.read_shapes(shapes)), None)


def fields_from_shapes(shapes: Mapping[str, Shape], heads: int | None = None) -> dict[str, Any]:
    """The fields of an architecture that shapes under our names show, and its `network`.

    It is empty where no family has the names.
    """
    fields = next(filter(None, (family.read_shapes(shapes) for family in families())), {})
    return fields | {"heads": heads} if fields and heads is not None else fields


def trained_size(shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
    """The image size, (H, W) in pixels, that a file's position embeddings are for; None where it is not known."""
    grid, fields = shapes.get("position.grid", ()), fields_from_shapes(shapes)
    if len(grid) != 4 or "patch_size" not in fields:
        return None
    stride = fields["patch_size"] * (resnet_stride(fields["units"]) if "units" in fields else 1)
    return grid[1] * stride, grid[2] * stride


def trained_at(word: str | Path) -> int | None:
    """The side in pixels of the square images that a file's position embeddings are for; None where it has none.

    Only names and shapes are read. Raises UsageError where the file cannot be read.
    """
    with open_weights(word) as contents:
        size = trained_size(under_our_names(contents).shapes())
    return size[0] if size is not None and size[0] == size[1] else None
