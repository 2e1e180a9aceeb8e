"""What the site takes from the code as it is built, wherever a page has one of these comments:

`<!-- the README -->`, `<!-- the file FILE.py -->`, `<!-- settings of SUITE -->`, `<!-- columns of a record -->`,
`<!-- public names -->` and `<!-- help of every verb -->`. mkdocs calls `on_page_markdown` (mkdocs.yml names this file).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import vit_bench
from vit_bench.bench import cli
from vit_bench.bench.verbs.list import _default as default_word  # as `list suites` shows it
from vit_bench.registry import plain_word
from vit_bench.results.record import Record
from vit_bench.suites import suites

ROOT = Path(vit_bench.__file__).resolve().parent
Row = Sequence[str]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    inside = partial(_inside, folder=(ROOT / "docs" / page.file.src_uri).parent)
    return re.sub(r"\[[^\]]+\]\((\.\./[^)]+)\)", inside, re.sub(r"<!-- (.+?) -->", _part, markdown))


def _inside(link: re.Match[str], folder: Path) -> str:
    """A link; of a file of the project that is no page of the site, its name."""
    target = (folder / link[1].partition("#")[0]).resolve()
    other = target.exists() and not target.is_relative_to(ROOT / "docs")
    return f"`{target.relative_to(ROOT)}`" if other else link[0]


def _part(comment: re.Match[str]) -> str:
    """What stands in place of a comment; itself where it asks for nothing."""
    for pattern, write in PARTS.items():
        if asked := re.fullmatch(pattern, comment[1]):
            return write(*asked.groups())
    return comment[0]


def readme() -> str:
    """The README, with links as they are from docs/."""
    return (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")


def python_file(name: str) -> str:
    return f"```python\n{(ROOT / name).read_text(encoding='utf-8')}```"


def settings(name: str) -> str:
    """A table of the settings of a suite, its own before those that it shares with others."""
    suite = suites()[name]
    hints, left = get_type_hints(type(suite)), {item.name: item for item in fields(suite)}
    rows = []
    for kind in type(suite).__mro__:
        comments = _comments(kind) if "__dataclass_fields__" in vars(kind) else {}
        for field in [left.pop(field) for field in comments if field in left]:
            words = [word for word, value in field.metadata.get("words", {}).items() if word != value]
            default = default_word(field, getattr(suite, field.name)).replace("True", "true").replace("False", "false")
            shown = f"`{default}`" if default else ""
            rows.append((f"`{field.name}`", _values(hints[field.name], words), shown, comments[field.name]))
    return _table(("setting", "values", "default", "what it is"), rows)


def columns() -> str:
    """A table of the columns of a record, as results/record.py declares them."""
    comments, hints = _comments(Record), get_type_hints(Record)
    rows = []
    for field in fields(Record):
        default = "" if field.default in (MISSING, "", None) else f" (default: `{field.default}`)"
        rows.append((f"`{field.name}`", _values(hints[field.name], ()), comments[field.name] + default))
    return _table(("field", "values", "what it is"), rows)


def public_names() -> str:
    """The reference of every public name, by mkdocstrings."""
    return "\n\n".join(f"::: vit_bench.{name}" for name in vit_bench.__all__ if not name.startswith("__"))


def verbs() -> str:
    """The help of every verb, and of its own commands, as `--help` shows it."""
    texts = []
    for name in cli.VERBS:
        command = cli.load(name)
        of_group = [(f"{name} {part.name}", part) for part in getattr(command, "commands", {}).values()]
        for heading, each in [(name, command), *of_group]:
            texts.append(f"{'##' if each is command else '###'} {heading}\n\n{inspect.cleandoc(each.help or '')}")
    return "\n\n".join(texts)


PARTS: dict[str, Callable[..., str]] = {
    "the README": readme,
    r"the file (\S+\.py)": python_file,
    "settings of (.+)": settings,
    "columns of a record": columns,
    "public names": public_names,
    "help of every verb": verbs,
}


def _comments(kind: type) -> dict[str, str]:
    """The comments above and beside each field of a dataclass, in its order; of the class itself, not of its bases."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(kind).partition("\n    def ")[0].splitlines():
        if field := re.match(r"    (\w+): .*?(?:  # (.*))?$", line):
            found[field[1]] = " ".join(filter(None, (*above, field[2])))
        above = [*above, line.strip("# ")] if line.startswith("    # ") else []
    return found


KINDS = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text", NoneType: "`none`"}


def _values(kind: Any, words: Sequence[str]) -> str:
    """The values of a type in words, and the words of its own that may be typed."""
    several = get_origin(kind) is tuple
    choices = get_args(kind)[:1] if several else get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    texts = []
    for choice in choices:
        if get_origin(choice) is Literal:
            texts += [f"`{plain_word(value)}`" for value in get_args(choice)]
        elif choice is not NoneType or not words:
            texts.append(KINDS.get(choice, "mapping"))
    return ", ".join(dict.fromkeys([*texts, *(f"`{word}`" for word in words)])) + ("; several" if several else "")


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in line) + " |" for line in lines
    )
