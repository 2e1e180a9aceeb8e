"""Names in other conventions beside ours, how the axes of their tensors differ, and which family's names they are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any, Literal

import torch
from torch import Tensor

from .stored import StoredTensor

Shape = tuple[int, ...]


class TensorLayout:
    """Base of the conversions between tensors of another convention ("theirs") and ours.

    Conversions permute, reshape, split and join; numbers never change. In the base both sides have the same tensors.
    """

    has_heads = False  # whether their shapes depend on the number of attention heads

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        """Our tensors. Raises ValueError, IndexError or RuntimeError where theirs do not fit this layout."""
        return list(theirs)

    def to_theirs(self, ours: Sequence[Tensor], heads: int) -> list[Tensor]:  # noqa: ARG002 -- attention uses it
        """Their tensors, in the usual shapes of a network with this many attention heads."""
        return list(ours)

    def heads(self, theirs: Sequence[Shape]) -> int | None:  # noqa: ARG002 -- attention uses it
        """The number of attention heads, where their shapes show it; our fused projections do not."""
        return None

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        """Our shapes; None where theirs do not fit this layout."""
        try:
            ours = self.to_ours([torch.empty(shape, device="meta") for shape in theirs])
        except (ValueError, IndexError, RuntimeError):
            return None
        return [tuple(tensor.shape) for tensor in ours]


class Vector(TensorLayout):
    """A norm's scale or a bias: (C,), in older files of the ViT release (1, 1, 1, C)."""

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [theirs[0].reshape(theirs[0].shape[-1:])]


class Kernel(TensorLayout):
    """A convolution's weight: (H, W, in, out) there, (out, in, H, W) here."""

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [theirs[0].permute(3, 2, 0, 1)]

    def to_theirs(self, ours: Sequence[Tensor], heads: int) -> list[Tensor]:  # noqa: ARG002
        return [ours[0].permute(2, 3, 1, 0)]


@dataclass(frozen=True)
class Projection(TensorLayout):
    """Linear layers: (*inputs, *outputs) there, (out, in) here; queries, keys and values are stacked in one here.

    `axes` names their axes: i input, o output, h heads, d the width of a head, 1 an axis of size 1. In "hdo" heads are
    an input; "ihd" and "hd" are the weights and the biases of queries, keys and values.
    """

    axes: Literal["io", "ihd", "hd", "hdo", "11io"]

    @property
    def has_heads(self) -> bool:
        return "h" in self.axes

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        shapes = {tensor.shape for tensor in theirs}
        fit = all(len(shape) == len(self.axes) and (shape[:2] == (1, 1) or self.axes != "11io") for shape in shapes)
        if len(shapes) > 1 or not fit:
            raise ValueError(f"{shapes} are not {self.axes}")
        if self.axes == "hd":
            return [torch.cat([tensor.flatten() for tensor in theirs])]
        inputs = {"io": 1, "ihd": 1, "hdo": 2, "11io": 3}[self.axes]
        flat = [tensor.flatten(0, inputs - 1).flatten(1).T for tensor in theirs]  # out in
        return [torch.cat(flat)] if len(flat) > 1 else flat

    def to_theirs(self, ours: Sequence[Tensor], heads: int) -> list[Tensor]:
        parts = ours[0].chunk(3 if self.axes.endswith("hd") else 1)
        sizes = {"i": parts[0].shape[-1], "o": parts[0].shape[0], "h": heads, "d": -1, "1": 1}
        return [part.t().reshape([sizes[axis] for axis in self.axes]) for part in parts]

    def heads(self, theirs: Sequence[Shape]) -> int | None:
        fits = self.has_heads and len(theirs[0]) == len(self.axes)
        return theirs[0][self.axes.index("h")] if fits else None


@dataclass(frozen=True)
class PositionEmbeddings(TensorLayout):
    """Position embeddings: (1, T, D) there; here the class token's (1, 1, D), if any, and (1, rows, columns, D).

    A file does not show which grid its T tokens form: it is a square, as the releases' own code takes it, or else
    `grid`; with `prefers_grid`, `grid` where it has as many, or else a square.
    """

    token: bool  # whether their first vector is the class token's
    grid: tuple[int, int] | None = None
    prefers_grid: bool = False

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        (both,) = theirs
        patches = both.shape[1] - self.token
        side = math.isqrt(patches)
        rows, columns = (side, side) if side**2 == patches else self.grid or (0, 0)
        if self.prefers_grid and self.grid and math.prod(self.grid) == patches:
            rows, columns = self.grid
        grid = both[:, int(self.token) :].reshape(1, rows, columns, both.shape[2])
        return [both[:, :1], grid] if self.token else [grid]

    def to_theirs(self, ours: Sequence[Tensor], heads: int) -> list[Tensor]:  # noqa: ARG002
        return [torch.cat([*ours[:-1], ours[-1].flatten(1, 2)], dim=1)]


@dataclass(frozen=True)
class PatchPositions(TensorLayout):
    """big_vision's position embeddings of the patches alone, (1, N, D), and the class token, (1, 1, D), there.

    Here they are the grid, the class token's position embedding, which is zero, and the class token. Backwards, the
    class token's position embedding is added to it, as the network does.
    """

    grid: tuple[int, int] | None = None

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        patches, token = theirs
        if token.shape != (1, 1, patches.shape[-1]):
            raise ValueError(f"{token.shape} is no class token")
        return [*PositionEmbeddings(False, self.grid).to_ours([patches]), torch.zeros_like(token), token]

    def to_theirs(self, ours: Sequence[Tensor], heads: int) -> list[Tensor]:  # noqa: ARG002
        grid, position, token = ours
        return [grid.flatten(1, 2), torch.where(position == 0, token, token + position)]  # -0 + 0 would be 0


class Stacked(TensorLayout):
    """Queries, keys and values: three tensors there, stacked in one here."""

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [torch.cat(list(theirs))]

    def to_theirs(self, ours: Sequence[Tensor], heads: int) -> list[Tensor]:  # noqa: ARG002
        return list(ours[0].chunk(3))


class ConvolutionalHead(TensorLayout):
    """A head: a 1x1 convolution in PyTorch's order, (K, D, 1, 1), there; (K, D) here."""

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [theirs[0].reshape(theirs[0].shape[:2])]


SAME = TensorLayout()
NUMBER = re.compile(r"\{(\w+)(\+1)?(:02)?\}")


@dataclass(frozen=True, kw_only=True)
class NameRule:
    """Names of tensors that hold the same numbers, ours and theirs.

    {block} stands for a number that counts from 0; {unit+1} counts from 1, and {unit+1:02} has two digits.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    layout: TensorLayout

    def filled(self, template: str, name: str) -> NameRule | None:
        """This rule with the numbers that make `template`, one of its names, equal to `name`; None where none do."""
        match = _pattern(template).fullmatch(name)
        if match is None:
            return None
        first = {field[1]: int(bool(field[2])) for field in NUMBER.finditer(template)}
        numbers = {field: int(digits) - first[field] for field, digits in match.groupdict().items()}
        if min(numbers.values(), default=0) < 0:
            return None
        ours, theirs = (tuple(_fill(text, numbers) for text in names) for names in (self.ours, self.theirs))
        return NameRule(ours=ours, theirs=theirs, layout=self.layout)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    text, end = "", 0
    for field in NUMBER.finditer(template):
        digits = r"\d{2,}" if field[3] else r"0|[1-9]\d*"
        text += re.escape(template[end : field.start()]) + f"(?P<{field[1]}>{digits})"
        end = field.end()
    return re.compile(text + re.escape(template[end:]))


def _fill(template: str, numbers: Mapping[str, int]) -> str:
    return NUMBER.sub(lambda field: format(numbers[field[1]] + bool(field[2]), (field[3] or ":")[1:]), template)


def rule(ours: str, theirs: str, layout: TensorLayout = SAME) -> NameRule:
    """A rule for one tensor on both sides."""
    return NameRule(ours=(ours,), theirs=(theirs,), layout=layout)


def renamed_layers(*pairs: tuple[str, str]) -> tuple[NameRule, ...]:
    """Rules for layers with a weight and a bias that differ in name only, as pairs of ours and theirs."""
    return tuple(rule(f"{ours}.{part}", f"{theirs}.{part}") for ours, theirs in pairs for part in ("weight", "bias"))


def flax_norm(ours: str, theirs: str) -> tuple[NameRule, ...]:
    """Rules for a norm of Flax."""
    return rule(f"{ours}.weight", f"{theirs}/scale", Vector()), rule(f"{ours}.bias", f"{theirs}/bias", Vector())


def flax_layer(ours: str, theirs: str, layout: TensorLayout) -> tuple[NameRule, ...]:
    """Rules for a linear layer or a convolution of Flax."""
    return rule(f"{ours}.weight", f"{theirs}/kernel", layout), rule(f"{ours}.bias", f"{theirs}/bias", Vector())


class NameTable:
    """The rules of a convention. Where two have the same name of ours, files are written with the first."""

    def __init__(self, *rules: NameRule) -> None:
        self.rules = rules

    def matches(self, names: Iterable[str]) -> Iterator[NameRule]:
        """The filled rules whose names are all among these names of theirs, one for each name of ours."""
        all_names = set(names)
        made: set[str] = set()
        for name in names:
            for template in self.rules:
                match = template.filled(template.theirs[0], name)
                if match is not None and all_names.issuperset(match.theirs) and made.isdisjoint(match.ours):
                    made.update(match.ours)
                    yield match

    def matches_of_ours(self, names: Iterable[str]) -> Iterator[NameRule]:
        """The first filled rule for each of these names of ours; names without a rule are skipped."""
        all_names = set(names)
        for name in names:
            filled = (template.filled(template.ours[0], name) for template in self.rules)
            match = next((match for match in filled if match is not None), None)
            if match is not None and all_names.issuperset(match.ours):
                yield match


NO_RULES = NameTable()


def translate(table: NameTable, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors under our names, still unread; a tensor without a rule keeps its name.

    A tensor whose shape does not fit its rule gets our name and keeps its shape, which loading reports.
    """
    ours: dict[str, StoredTensor] = {}
    taken: set[str] = set()
    for match in table.matches(tensors):
        parts = [tensors[name] for name in match.theirs]
        shapes = match.layout.our_shapes([part.shape for part in parts])
        kind = reduce(torch.promote_types, (part.dtype for part in parts))
        for index, name in enumerate(match.ours):
            shape = parts[0].shape if shapes is None else shapes[index]
            names = tuple(name for part in parts for name in part.names)
            ours[name] = StoredTensor(
                shape=shape, dtype=kind, read=partial(_read, match.layout, parts, index), names=names
            )
        taken.update(match.theirs)
    return ours | {name: stored for name, stored in tensors.items() if name not in taken}


def _read(layout: TensorLayout, parts: Sequence[StoredTensor], index: int) -> Tensor:
    return layout.to_ours([part.read() for part in parts])[index]


# ---------------------------------------------------------------------------------------- families of released weights

Convention = Literal["official", "big_vision", "timm", "transformers", "torchvision", "ours"]
FLAX: tuple[Convention, ...] = ("official", "big_vision")  # whose files may hold a training's state, and have a prefix


@dataclass(frozen=True, kw_only=True)
class FamilyWeights:
    """How a family's weights files are recognised by their names, and its sizes by the shapes."""

    titles: tuple[str, ...]  # of its networks, for messages: "a ViT"
    first: str  # our name of the weight of the first layer that all its networks have
    # The table for a file with these names, the file's or ours. The grid is the rows and columns of its position
    # embeddings where they are no square.
    tables: Mapping[Convention, Callable[[Collection[str], tuple[int, int] | None], NameTable]]
    # The fields of the architecture, and `network`, that shapes under our names show; empty where the names are not
    # this family's.
    read_shapes: Callable[[Mapping[str, Shape]], dict[str, Any]]
    # Parts that networks of the family have elsewhere and not here: a pattern of their names in files, and a sentence.
    refused: tuple[tuple[str, str], ...] = ()


def count(pattern: str, names: Collection[str]) -> int:
    """The number of blocks in these names, numbered from 0; the pattern's first group is a block's number."""
    matches = (re.match(pattern, name) for name in names)
    return 1 + max((int(match[1]) for match in matches if match), default=-1)


def resnet_units(names: Collection[str], prefix: str = "") -> tuple[int, ...]:
    """Residual units of each stage, counted in our names of tensors."""
    stages = count(rf"{prefix}stages\.(\d+)\.", names)
    return tuple(count(rf"{prefix}stages\.{stage}\.(\d+)\.", names) for stage in range(stages))
