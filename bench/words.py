"""The words of a command: `key=value` options, how their values are read, and all mistakes reported together.

The options of a command are declared as a frozen dataclass whose fields are `option`s.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..registry import UsageError, path_of, suggest

NONE = ("none", "null")
A = TypeVar("A")
B = TypeVar("B")


class Several(UsageError):
    """Several mistakes of one command, a line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n  ".join([f"{len(mistakes)} mistakes:", *mistakes]))
        self.mistakes = tuple(mistakes)


class Mistakes:
    """Collects the mistakes of one command: `with mistakes:` notes a UsageError and goes on; `tell` raises them all."""

    def __init__(self) -> None:
        self._noted: dict[str, None] = {}  # in order, each text once

    def note(self, text: str) -> None:
        self._noted[text] = None

    def __bool__(self) -> bool:
        return bool(self._noted)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, UsageError):
            return False
        for text in error.mistakes if isinstance(error, Several) else (str(error),):
            self.note(text)
        return True

    def tell(self) -> None:
        """Raise what was noted, if anything: a single mistake in its own words, more as Several."""
        if self._noted:
            raise Several(list(self._noted)) if len(self._noted) > 1 else UsageError(*self._noted)


def each(read: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """The results of `read` for all items. Raises UsageError with the mistakes of all of them."""
    mistakes = Mistakes()
    results: list[B] = []
    for item in items:
        with mistakes:
            results.append(read(item))
    mistakes.tell()
    return results


def option(default: Any, text: str, *, shown: str = "", check: Callable[[Any], str] | None = None) -> Any:
    """A field of a dataclass of options: `format: Format = option("csv", "how it is written")`.

    `text` is its description in help; `shown` stands for its value there, where the type is not enough. `check` returns
    what is wrong with a value of the right type, "" if nothing; it may also raise UsageError.
    """
    return field(default=default, metadata={"option": {"text": text, "shown": shown, "check": check}})


def at_least(least: float, why: str) -> Callable[[Any], str]:
    """The check of a number with a minimum."""
    return lambda value: "" if value >= least else why


def option_of(kind: type, name: str) -> Any:
    """The field of this name of another dataclass of options, for a verb that passes it on."""
    same = kind.__dataclass_fields__[name]
    return field(default=same.default, metadata=same.metadata)


def only(word: str, why: str) -> Callable[[Any], str]:
    """The check of an option that takes only one word."""
    return lambda value: "" if value == word else why


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option, as declared."""

    name: str
    kind: Any  # its type
    default: Any
    text: str
    shown: str
    check: Callable[[Any], str] | None

    def read(self, text: str) -> Any:
        """The value of a text. Raises UsageError that says what is expected."""
        value = read_value(self.name, text, self.kind)
        if value is not None and self.check is not None and (wrong := self.check(value)):
            raise UsageError(f"{self.name}={text}: {wrong}")
        return value


@cache
def options(kind: type) -> Mapping[str, Option]:
    """The options that a dataclass declares, by name."""
    hints = get_type_hints(kind)
    return {
        item.name: Option(name=item.name, kind=hints[item.name], default=item.default, **item.metadata["option"])
        for item in fields(kind)
        if "option" in item.metadata
    }


def read_values(texts: Mapping[str, str], known: Mapping[str, Option], mistakes: Mistakes) -> dict[str, Any]:
    """The values of these texts, by key. Mistakes are noted."""
    values = {}
    for key, text in texts.items():
        with mistakes:
            values[key] = known[key].read(text)
    return values


def no_setting(verb: str, key: str, known: Iterable[str]) -> str:
    return f"{verb} has no setting '{key}'. {suggest(key, known)}"


def is_on_disk(word: str) -> bool:
    """Whether a word is the path of an existing file or folder."""
    try:
        return Path(word).exists()
    except (OSError, ValueError):  # too long for a path
        return False


def split_word(word: str) -> tuple[str, str]:
    """Key and value. Raises UsageError for a word that is no setting, or has no value."""
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UsageError(f"'{word}' is not a setting: settings are key=value, for example suite=vtab model=ViT-mini")
    if not value:
        raise UsageError(f"'{word}' says no value for {key}")
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{word.encode(errors='surrogateescape')!r} is not UTF-8, in which settings are kept"
        ) from None
    return key, value


def read_sweep(key: str, text: str, hint: Any, words: Mapping[str, Any] | None = None) -> list[Any]:
    """The values of a setting: one for a tuple-typed field, one for each comma part of any other.

    `words` are special words of the field with their values: {"recipe": None, "none": 0.0}. Raises UsageError for
    `none` where a field has such words, but not this one.
    """
    values = []
    for part in [text] if get_origin(hint) is tuple else _parts(key, text):
        word = "none" if part.lower() in NONE else part
        if words and word == "none" and word not in words:
            without = f"{key}={next(iter(words))}"
            raise UsageError(f"{key}={part}: it cannot be none; type a value, or leave it out ({without})")
        values.append(words[word] if words and word in words else read_value(key, part, hint))
    return values


def read_value(key: str, text: str, hint: Any) -> Any:
    """The value of a text for a field of this type. Raises UsageError with the key and what is expected."""
    origin, choices = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (hint,) = (choice for choice in choices if choice is not type(None))
        is_choice = text in get_args(hint)  # crop=none is a way to crop
        if text.lower() in NONE and type(None) in choices and not is_choice:
            return None
        return read_value(key, text, hint)
    if origin is tuple:
        return tuple(read_value(key, part, choices[0]) for part in _parts(key, text))
    if origin is Literal:
        if text not in choices:
            raise UsageError(f"{key}={text}: {suggest(text, map(str, choices))}")
        return text
    read, expected = _SCALARS[hint]
    try:
        return read(text)
    except UsageError as error:
        raise UsageError(f"{key}: {error}") from None
    except (ValueError, ArithmeticError, KeyError):
        raise UsageError(f"{key}={text}: '{text}' is not {expected}") from None


def _at_power(text: str) -> tuple[str, str, str]:
    """A base, the sign of a power, and the exponent; only a base where there is no sign."""
    return text.replace("**", "^").partition("^")


def _int(text: str) -> int:
    """A whole number of 64 bits. Raises ValueError for any other."""
    base, power, exponent = _at_power(text)
    if power and not 0 <= int(exponent) < 64:
        raise ValueError
    number = int(base) ** int(exponent) if power else int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _float(text: str) -> float:
    """A finite number. Raises ValueError for any other."""
    base, power, exponent = _at_power(text)
    number = float(base) ** float(exponent) if power else float(text)
    if isinstance(number, complex) or not math.isfinite(number):
        raise ValueError
    return number


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_SCALARS: dict[Any, tuple[Callable[[str], Any], str]] = {  # by type: the function that reads it, and what is expected
    str: (str, "a text"),
    int: (_int, "a whole number (10^6 is one, too)"),
    float: (_float, "a finite number (2^10 is one, too)"),
    bool: (lambda text: _BOOLEANS[text.lower()], "true or false"),
    Path: (path_of, "a path"),
}


def plain(value: Any) -> Any:
    """A value of a dataclass field in the types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def as_typed(value: Any) -> str:
    """A value as one types it to repeat it exactly: an item that is no word of a comma list by itself is quoted."""
    if isinstance(value, list | tuple):
        return ",".join(_quoted(as_typed(item)) for item in value)
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def text_of(key: str, value: Any, *, several: bool = False) -> str:
    """A Python value as one types it. A Path alone is one item where `several` are taken; a text is as typed.

    Raises UsageError for what is no text, number, path, or a list of them.
    """
    items = [value] if isinstance(value, Path) and several else value
    if items is None or isinstance(items, str | Path | bool | int | float):
        return as_typed(items)
    if isinstance(items, Sequence):
        return as_typed([text_of(key, item) for item in items])
    raise UsageError(f"{key}={value!r}: expected a text, a number or a list of them, not {type(value).__name__}")


def from_python(kind: type[A], **values: Any) -> A:
    """The options of a verb with these Python values, read and checked as if they were typed.

    Raises UsageError with all mistakes.
    """
    known, mistakes = options(kind), Mistakes()
    texts: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, list):
            value = tuple(value)
        if value != known[key].default:
            with mistakes:
                texts[key] = text_of(key, value, several=get_origin(known[key].kind) is tuple)
    chosen = read_values(texts, known, mistakes)
    mistakes.tell()
    return kind(**chosen)


def _quoted(item: str) -> str:
    plain = item and item == item.strip() and "," not in item and item[0] != '"'
    return item if plain else '"' + item.replace('"', '""') + '"'


ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*|([^",][^,]*)?)(,|\Z)')  # quoted or not, and what ends it


def _parts(key: str, text: str) -> list[str]:
    parts: list[str] = []
    place, more = 0, True
    while more:
        item = ITEM.match(text, place)
        if item is None:
            raise UsageError(f'{key}={text}: a quotation mark is not closed. Quote a whole item: "a,b.pt",c.pt')
        quoted, bare, end = item.groups()
        parts.append((bare or "").strip() if quoted is None else quoted.replace('""', '"'))
        place, more = item.end(), bool(end)
    if not all(parts):
        raise UsageError(f"{key}={text}: there is an empty item between the commas")
    return parts
