"""How a tensor of ours and those of another convention hold the same numbers, and tables of which is which."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from .stored import StoredTensor

Shape = tuple[int, ...]


class TensorLayout:
    """One way in which tensors of another convention ("theirs") make tensors of ours, and the way back.

    Nothing but axes and splits change, never a bit of a number. This one: both sides hold the same tensor.
    """

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        """Our shapes, or None where theirs are no such tensors."""
        return list(theirs)

    def their_shapes(self, ours: Sequence[Shape], heads: int) -> list[Shape]:  # noqa: ARG002 -- attention's need it
        """The shapes that their files have where nothing else is known."""
        return list(ours)

    def heads(self, theirs: Sequence[Shape]) -> int | None:  # noqa: ARG002 -- attention's need it
        """How many heads the attention has, where their shapes say so: our fused projections do not."""
        return None

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return list(theirs)

    def to_theirs(self, ours: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
        """Theirs, in the given shapes. Raises ValueError where ours do not make such tensors."""
        return [tensor.reshape(shape) for tensor, shape in zip(ours, shapes, strict=True)]


SAME = TensorLayout()


class Vector(TensorLayout):
    """A norm's scale or a bias: (C,), in older files of the ViT release (1, 1, 1, C)."""

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        (shape,) = theirs
        return [shape[-1:]] if shape and math.prod(shape[:-1]) == 1 else None

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [theirs[0].reshape(-1)]


class Kernel(TensorLayout):
    """A convolution's weight: (H, W, in, out) there, (out, in, H, W) here."""

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        (shape,) = theirs
        return [(shape[3], shape[2], *shape[:2])] if len(shape) == 4 else None

    def their_shapes(self, ours: Sequence[Shape], heads: int) -> list[Shape]:  # noqa: ARG002
        (shape,) = ours
        return [(*shape[2:], shape[1], shape[0])]

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [theirs[0].permute(3, 2, 0, 1)]

    def to_theirs(self, ours: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
        return _as([ours[0].permute(2, 3, 1, 0)], shapes)


@dataclass(frozen=True)
class Projection(TensorLayout):
    """A linear layer: (*inputs, *outputs) there, (out, in) here; several side by side there are stacked here.

    `axes` names theirs: i input, o output, h heads, d a head's width, 1 an axis of one. "hdo" sums over heads.
    """

    axes: str

    @property
    def inputs(self) -> int:
        """How many of their axes are the input's."""
        return {"io": 1, "ihd": 1, "hdo": 2, "11io": 3}[self.axes]

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        flat = [(math.prod(shape[: self.inputs]), math.prod(shape[self.inputs :])) for shape in theirs]
        if any(len(shape) != len(self.axes) for shape in theirs) or len(set(theirs)) != 1:
            return None
        if self.axes == "11io" and theirs[0][:2] != (1, 1):
            return None
        return [(sum(out for _, out in flat), flat[0][0])]

    def their_shapes(self, ours: Sequence[Shape], heads: int) -> list[Shape]:
        ((out, width),) = ours
        split = {"i": width, "o": out, "h": heads, "1": 1, "d": width // heads}
        parts = 3 if self.axes == "ihd" else 1
        return [tuple(split[axis] for axis in self.axes)] * parts

    def heads(self, theirs: Sequence[Shape]) -> int | None:
        fits = self.axes == "ihd" and len(theirs[0]) == 3
        return theirs[0][1] if fits else None

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        flat = [each.flatten(0, self.inputs - 1).flatten(1).T for each in theirs]  # out in
        return [torch.cat(flat)] if len(flat) > 1 else flat

    def to_theirs(self, ours: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
        sizes = [math.prod(shape[self.inputs :]) for shape in shapes]
        return _as([part.T for part in ours[0].split(sizes)], shapes)


class HeadsBias(TensorLayout):
    """The biases of queries, keys and values: each (heads, D / heads) there, (3 D,) here."""

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        fits = len(set(theirs)) == 1 and len(theirs[0]) == 2
        return [(sum(map(math.prod, theirs)),)] if fits else None

    def their_shapes(self, ours: Sequence[Shape], heads: int) -> list[Shape]:
        return [(heads, ours[0][0] // 3 // heads)] * 3

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [torch.cat([each.flatten() for each in theirs])]

    def to_theirs(self, ours: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
        return _as(ours[0].split(list(map(math.prod, shapes))), shapes)


@dataclass(frozen=True)
class PositionEmbeddings(TensorLayout):
    """Position embeddings: (1, T, D) there; here the grid's (1, rows, columns, D), and before it the class token's.

    A file does not say which grid its T tokens are. `grid` is what else is known of that; without it, a square.
    """

    token: bool  # whether the first of theirs is the class token's
    grid: tuple[int, int] | None = None

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        (shape,) = theirs
        if len(shape) != 3 or shape[0] != 1:
            return None
        patches, width = shape[1] - self.token, shape[2]
        side = math.isqrt(max(patches, 0))
        rows, columns = side, side
        if side**2 != patches or patches < 1:
            if self.grid is None or math.prod(self.grid) != patches:
                return None
            rows, columns = self.grid
        return [*([(1, 1, width)] if self.token else []), (1, rows, columns, width)]

    def their_shapes(self, ours: Sequence[Shape], heads: int) -> list[Shape]:  # noqa: ARG002
        _, rows, columns, width = ours[-1]
        return [(1, self.token + rows * columns, width)]

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        (both,) = theirs
        _, rows, columns, width = (self.our_shapes([tuple(both.shape)]) or [(0, 0, 0, 0)])[-1]
        grid = both[:, int(self.token) :].reshape(1, rows, columns, width)
        return [both[:, :1], grid] if self.token else [grid]

    def to_theirs(self, ours: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
        return _as([torch.cat([*ours[:-1], ours[-1].flatten(1, 2)], dim=1)], shapes)


class ConvolutionalHead(TensorLayout):
    """A head that is a 1x1 convolution in PyTorch's order, (K, D, 1, 1), there; (K, D) here."""

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        (shape,) = theirs
        return [shape[:2]] if len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)) else None

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [theirs[0].flatten(1)]


def _as(tensors: Iterable[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
    """Reshaped where that keeps the order of the axes; anything else is a ValueError of zip or a RuntimeError."""
    return [tensor.reshape(shape) for tensor, shape in zip(tensors, shapes, strict=True)]


SAME = TensorLayout()


NUMBER = re.compile(r"\{(\w+)(\+1)?(:02)?\}")


@dataclass(frozen=True, kw_only=True)
class NameRule:
    """Names that hold the same numbers on both sides.

    A number in a name is written {block}, counted from 0; {unit+1} counts from 1, {unit+1:02} has two digits.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    layout: TensorLayout

    def filled(self, template: str, name: str) -> NameRule | None:
        """This rule with the numbers with which one of its names, `template`, is `name`; None where there are none."""
        found = _pattern(template).fullmatch(name)
        if found is None:
            return None
        first = {each[1]: int(bool(each[2])) for each in NUMBER.finditer(template)}
        numbers = {each: int(digits) - first[each] for each, digits in found.groupdict().items()}
        if min(numbers.values(), default=0) < 0:
            return None
        ours, theirs = (tuple(_fill(each, numbers) for each in names) for names in (self.ours, self.theirs))
        return NameRule(ours=ours, theirs=theirs, layout=self.layout)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    text, end = "", 0
    for found in NUMBER.finditer(template):
        digits = r"\d{2,}" if found[3] else r"0|[1-9]\d*"
        text += re.escape(template[end : found.start()]) + f"(?P<{found[1]}>{digits})"
        end = found.end()
    return re.compile(text + re.escape(template[end:]))


def _fill(template: str, numbers: Mapping[str, int]) -> str:
    return NUMBER.sub(lambda found: format(numbers[found[1]] + bool(found[2]), (found[3] or ":")[1:]), template)


def rule(ours: str, theirs: str, layout: TensorLayout = SAME) -> NameRule:
    """One tensor on both sides."""
    return NameRule(ours=(ours,), theirs=(theirs,), layout=layout)


def same_layers(*pairs: tuple[str, str]) -> tuple[NameRule, ...]:
    """Layers that differ in name only, ours and theirs: each has a weight and a bias on both sides."""
    return tuple(rule(f"{ours}.{part}", f"{theirs}.{part}") for ours, theirs in pairs for part in ("weight", "bias"))


def flax_norm(ours: str, theirs: str) -> tuple[NameRule, ...]:
    return rule(f"{ours}.weight", f"{theirs}/scale", Vector()), rule(f"{ours}.bias", f"{theirs}/bias", Vector())


def flax_layer(ours: str, theirs: str, layout: TensorLayout) -> tuple[NameRule, ...]:
    """A linear layer or a convolution."""
    return rule(f"{ours}.weight", f"{theirs}/kernel", layout), rule(f"{ours}.bias", f"{theirs}/bias", Vector())


class NameTable:
    """The rules of one convention. Where two give the same name of ours, the first is the one that is written."""

    def __init__(self, *rules: NameRule) -> None:
        self.rules = rules

    def matches(self, names: Iterable[str]) -> Iterator[NameRule]:
        """The rules that names of theirs fill, each whole and once for every name of ours."""
        there = set(names)
        made: set[str] = set()
        for name in names:
            for each in self.rules:
                match = each.filled(each.theirs[0], name)
                if match is not None and there.issuperset(match.theirs) and made.isdisjoint(match.ours):
                    made.update(match.ours)
                    yield match

    def matches_of_ours(self, names: Iterable[str]) -> Iterator[NameRule]:
        """The first rule for each name of ours; a name that no rule has is passed over."""
        there = set(names)
        for name in names:
            filled = (each.filled(each.ours[0], name) for each in self.rules)
            match = next((match for match in filled if match is not None), None)
            if match is not None and there.issuperset(match.ours):
                yield match


def translate(table: NameTable, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Tensors under our names, still unread; what no rule takes keeps its name.

    One whose shape does not fit its rule has the file's own shape under our name, which no network expects.
    """
    ours: dict[str, StoredTensor] = {}
    taken: set[str] = set()
    for match in table.matches(tensors):
        parts = [tensors[name] for name in match.theirs]
        shapes = match.layout.our_shapes([part.shape for part in parts])
        kind = parts[0].dtype
        for part in parts[1:]:
            kind = torch.promote_types(kind, part.dtype)
        for index, name in enumerate(match.ours):
            shape = parts[0].shape if shapes is None else shapes[index]
            names = tuple(each for part in parts for each in part.names)
            ours[name] = StoredTensor(
                shape=shape, dtype=kind, read=partial(_read, match.layout, parts, index), names=names
            )
        taken.update(match.theirs)
    return ours | {name: stored for name, stored in tensors.items() if name not in taken}


def _read(layout: TensorLayout, parts: Sequence[StoredTensor], index: int) -> Tensor:
    return layout.to_ours([part.read() for part in parts])[index]
