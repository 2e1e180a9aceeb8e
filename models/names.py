"""How a model's name is written elsewhere: as a slug, as a released file's stem, in the papers' tables."""

from __future__ import annotations


def slug(name: str) -> str:
    """The name as an identifier: ViT-B/16-gap is vit_b16_gap, R50+ViT-B/16 is r50_vit_b16."""
    return name.lower().replace("/", "").replace("-", "_").replace("+", "_")


def stem(name: str) -> str:
    """The name as the released files have it: ViT-B/16 is ViT-B_16."""
    return name.replace("/", "_")


def spellings(name: str, *published: str) -> tuple[str, ...]:
    """The aliases of a row: its slug, its file's stem, and the spellings that published tables use."""
    return tuple(word for word in dict.fromkeys((slug(name), stem(name), *published)) if word != name)
