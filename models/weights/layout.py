"""Tables of names in other conventions beside ours, and how the axes of their tensors differ."""

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
    """Base of the conversions between tensors of another convention ("theirs") and ours.

    Conversions permute, reshape, split and join; numbers never change. In the base both sides have the same tensors.
    """

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        """Our shapes; None where theirs do not fit this layout."""
        return list(theirs)

    def their_shapes(self, ours: Sequence[Shape], heads: int) -> list[Shape]:  # noqa: ARG002 -- attention uses it
        """The usual shapes in their files."""
        return list(ours)

    def heads(self, theirs: Sequence[Shape]) -> int | None:  # noqa: ARG002 -- attention uses it
        """The number of attention heads, where their shapes show it; our fused projections do not."""
        return None

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return list(theirs)

    def to_theirs(self, ours: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
        """Their tensors, in the given shapes. Raises ValueError where ours do not fit."""
        return _reshaped(ours, shapes)


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
        return _reshaped([ours[0].permute(2, 3, 1, 0)], shapes)


@dataclass(frozen=True)
class Projection(TensorLayout):
    """Linear layers: (*inputs, *outputs) there, (out, in) here; several there are stacked in one here.

    `axes` names their axes: i input, o output, h heads, d the width of a head, 1 an axis of size 1. In "hdo" heads are
    an input.
    """

    axes: str

    @property
    def inputs(self) -> int:
        """How many of their axes, from the first, are the input's."""
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
        flat = [tensor.flatten(0, self.inputs - 1).flatten(1).T for tensor in theirs]  # out in
        return [torch.cat(flat)] if len(flat) > 1 else flat

    def to_theirs(self, ours: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
        sizes = [math.prod(shape[self.inputs :]) for shape in shapes]
        return _reshaped([part.T for part in ours[0].split(sizes)], shapes)


class HeadsBias(TensorLayout):
    """The biases of queries, keys and values: each (heads, D / heads) there, (3 D,) here."""

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        fits = len(set(theirs)) == 1 and len(theirs[0]) == 2
        return [(sum(map(math.prod, theirs)),)] if fits else None

    def their_shapes(self, ours: Sequence[Shape], heads: int) -> list[Shape]:
        return [(heads, ours[0][0] // 3 // heads)] * 3

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [torch.cat([tensor.flatten() for tensor in theirs])]

    def to_theirs(self, ours: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
        return _reshaped(ours[0].split(list(map(math.prod, shapes))), shapes)


@dataclass(frozen=True)
class PositionEmbeddings(TensorLayout):
    """Position embeddings: (1, T, D) there; here the class token's (1, 1, D), if any, and (1, rows, columns, D).

    A file does not show which grid its T tokens form: it is a square, or else `grid`.
    """

    token: bool  # whether their first vector is the class token's
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
        return _reshaped([torch.cat([*ours[:-1], ours[-1].flatten(1, 2)], dim=1)], shapes)


class ConvolutionalHead(TensorLayout):
    """A head: a 1x1 convolution in PyTorch's order, (K, D, 1, 1), there; (K, D) here."""

    def our_shapes(self, theirs: Sequence[Shape]) -> list[Shape] | None:
        (shape,) = theirs
        return [shape[:2]] if len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)) else None

    def to_ours(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [theirs[0].flatten(1)]


def _reshaped(tensors: Iterable[Tensor], shapes: Sequence[Shape]) -> list[Tensor]:
    """The tensors in these shapes. Raises ValueError for another number of them, RuntimeError for another size."""
    return [tensor.reshape(shape) for tensor, shape in zip(tensors, shapes, strict=True)]


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


def translate(table: NameTable, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors under our names, still unread; a tensor without a rule keeps its name.

    A tensor whose shape does not fit its rule gets our name and keeps its shape, which loading reports.
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
            names = tuple(name for part in parts for name in part.names)
            ours[name] = StoredTensor(
                shape=shape, dtype=kind, read=partial(_read, match.layout, parts, index), names=names
            )
        taken.update(match.theirs)
    return ours | {name: stored for name, stored in tensors.items() if name not in taken}


def _read(layout: TensorLayout, parts: Sequence[StoredTensor], index: int) -> Tensor:
    return layout.to_ours([part.read() for part in parts])[index]
