"""`key=value` words, and YAML files of the same keys, read into one frozen Config. Nothing is ignored.

A word is split at its first `=`. `suite`, `model` and `task` select; `suite.X` and `model.X` are settings of what was
selected; any other key is one of Config's own fields or else a setting of the selected suites. Later words win over
earlier ones, words over `config=FILE`, and both over the environment.
"""

from __future__ import annotations

import csv
import difflib
import itertools
import os
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..registry import UsageError, suggest

SuiteT = TypeVar("SuiteT")


@dataclass(frozen=True, kw_only=True)
class Config:
    """One command, read. What a suite or a model makes of its settings is decided when those are known (plan.py)."""

    suite: tuple[str, ...] = ()  # names, aliases, globs
    model: tuple[str, ...] = ()  # the same, or path/file.py:builder, package.module:builder; none: the suite's own
    task: tuple[str, ...] = ()  # names, aliases, globs, or a collection; none: the suite's own
    weights: tuple[str, ...] = ()  # random, random:SEED, a tag of a released file or a file; globs of either
    data: Path | None = None  # the folder that holds data sets; BENCH_DATA otherwise
    source: str | None = None  # one kind of data source; none: the first that has the task
    include: tuple[Path, ...] = ()  # folders with Python files that hold tasks and sources of the user's
    division: Literal["own", "800/200"] = "own"  # of folder:PATH: its own, or VTAB-1k's 800 to fit and 200 to choose
    division_seed: int = 0  # of what folder:PATH leaves undivided
    device: str = "auto"  # cpu, cuda, cuda:1, mps; auto: a GPU if there is one
    batch_size: int = 64  # images a forward pass; changes no result
    skip_bad: bool = False  # leave images that cannot be read out of a split, and record how many, instead of failing
    out: Path | None = None  # the run directory; none: runs/<suite>
    trailer: Literal["none", "timm"] = "none"  # what is printed behind the tables: timm's --result, for its bulk runner
    settings: Mapping[str, str] = field(default_factory=dict)  # of the selected suites
    model_settings: Mapping[str, str] = field(default_factory=dict)  # of the selected models
    origin: Mapping[str, str] = field(default_factory=dict)  # key -> where its value was said

    def describe(self) -> dict[str, Any]:
        """The settings that were said, as plain values under the keys that would say them again."""
        said: dict[str, Any] = {}
        for name in TOP_LEVEL:
            value = getattr(self, name)
            if name in self.origin:
                said[name] = [*map(_plain, value)] if isinstance(value, tuple) else _plain(value)
        said |= {f"suite.{name}": value for name, value in self.settings.items()}
        return said | {f"model.{name}": value for name, value in self.model_settings.items()}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


TOP_LEVEL = tuple(item.name for item in fields(Config) if item.name not in ("settings", "model_settings", "origin"))
ENVIRONMENT = {"data": "BENCH_DATA"}
NONE = ("none", "null")


def read(words: Sequence[str], *, extra: Iterable[str] = ()) -> Config:
    """The Config that these words say. `extra` names further keys that the caller takes out first, for suggestions.

    Raises UsageError for a word without `=`, an empty value, a value of the wrong type, or a YAML file that cannot be
    read. Whether every setting is used is only known with the suites: see `apply`.
    """
    said: dict[str, tuple[str, str]] = {}  # key -> text, origin
    for key, variable in ENVIRONMENT.items():
        if os.environ.get(variable):
            said[key] = (os.environ[variable], f"environment variable {variable}")
    pairs = [_split(word) for word in words]
    for file in [value for key, value in pairs if key == "config"]:
        said |= {key: (value, f"file {file}") for key, value in _read_file(Path(file)).items()}
    said |= {key: (value, "command") for key, value in pairs if key != "config"}

    hints = get_type_hints(Config)
    values: dict[str, Any] = {}
    settings: dict[str, str] = {}
    model_settings: dict[str, str] = {}
    for key, (text, _) in said.items():
        if key in TOP_LEVEL:
            values[key] = read_value(key, text, hints[key])
        elif key.startswith("model."):
            model_settings[key.removeprefix("model.")] = text
        elif "." in key and not key.startswith("suite."):
            raise UsageError(f"there is no setting '{key}'. {suggest(key, [*TOP_LEVEL, 'suite.X', 'model.X', *extra])}")
        else:
            settings[key.removeprefix("suite.")] = text
    config = Config(
        **values,
        settings=settings,
        model_settings=model_settings,
        origin={_full(key): where for key, (_, where) in said.items()},
    )
    if config.batch_size < 1:
        raise UsageError(f"batch_size={config.batch_size}: a batch holds at least one image")
    return config


def apply(config: Config, suites: Sequence[SuiteT]) -> list[SuiteT]:
    """The selected suites with the settings, several of each where a setting sweeps (a comma list for one value).

    Raises UsageError for a setting that none of the suites has, naming the nearest, and for a value of the wrong type.
    """
    known = {name for suite in suites for name in _settable(suite)}
    for name, _ in config.settings.items():
        if name not in known:
            names = ", ".join(getattr(suite, "name", "?") for suite in suites)
            choices = [*(f"suite.{other}" for other in sorted(known)), *TOP_LEVEL]
            bare = difflib.get_close_matches(name, [*known, *TOP_LEVEL], n=1, cutoff=0.6)
            hint = f"Did you mean '{bare[0]}'?" if bare else suggest(name, [], choices)
            raise UsageError(f"no selected suite ({names}) has a setting '{name}'. {hint}")
    applied: list[SuiteT] = []
    for suite in suites:
        hints = _settable(suite)
        words = {item.name: item.metadata.get("words", {}) for item in fields(suite)}  # pyright: ignore[reportArgumentType]
        options = {
            name: read_sweep(f"suite.{name}", text, hints[name], words[name])
            for name, text in config.settings.items()
            if name in hints
        }
        applied += [
            replace(suite, **dict(zip(options, chosen, strict=True)))  # pyright: ignore[reportArgumentType]
            for chosen in itertools.product(*options.values())
        ]
    return applied


def _settable(suite: object) -> dict[str, Any]:
    hints = get_type_hints(type(suite))
    return {item.name: hints[item.name] for item in fields(suite)}  # pyright: ignore[reportArgumentType]


def read_sweep(key: str, text: str, hint: Any, words: Mapping[str, Any] | None = None) -> list[Any]:
    """The values of a setting: one for a tuple-typed field, one for each comma part of any other.

    `words` are a field's own, which say a value in its place: {"recipe": None, "none": 0.0}. Such a field is none only
    where they have it, and UsageError says so.
    """
    parts = [text] if get_origin(hint) is tuple else _parts(key, text)
    return [_read_part(key, part, hint, words or {}) for part in parts]


def _read_part(key: str, text: str, hint: Any, words: Mapping[str, Any]) -> Any:
    word = "none" if text.lower() in NONE else text
    if word in words:
        return words[word]
    if words and word == "none":
        raise UsageError(f"{key}={text}: it cannot be none; type a value, or leave it out ({key}={next(iter(words))})")
    return read_value(key, text, hint)


def read_value(key: str, text: str, hint: Any) -> Any:
    """The value that a text says for a field of this type. Raises UsageError naming the key and what is expected."""
    origin, choices = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (hint,) = (choice for choice in choices if choice is not type(None))
        meant = text in get_args(hint)  # crop=none is a way to crop
        if text.lower() in NONE and type(None) in choices and not meant:
            return None
        return read_value(key, text, hint)
    if origin is tuple:
        return tuple(read_value(key, part, choices[0]) for part in _parts(key, text))
    if origin is Literal:
        if text not in choices:
            raise UsageError(f"{key}={text}: {suggest(text, map(str, choices))}")
        return text
    try:
        return _SCALARS[hint](text)
    except (ValueError, OverflowError):
        raise UsageError(f"{key}={text}: '{text}' is not {_EXPECTED[hint]}") from None


def _float(text: str) -> float:
    base, power, exponent = text.replace("**", "^").partition("^")
    return float(base) ** float(exponent) if power else float(text)


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "yes", "1", "false", "no", "0"):
        raise ValueError(text)
    return text.lower() in ("true", "yes", "1")


_SCALARS: dict[Any, Any] = {
    str: str,
    int: int,
    float: _float,
    bool: _bool,
    Path: lambda text: Path(text).expanduser(),
}
_EXPECTED = {
    str: "a text",
    int: "a whole number",
    float: "a number (2^10 is one, too)",
    bool: "true or false",
    Path: "a path",
}


def _split(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UsageError(f"'{word}' is not a setting: settings are key=value, for example suite=vtab model=ViT-mini")
    if not value:
        raise UsageError(f"'{word}' says no value for {key}")
    return key, value


def _parts(key: str, text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True)) if '"' in text else [text.split(",")]
    except csv.Error:
        raise UsageError(f'{key}={text}: a quotation mark is not closed. Quote a whole item: "a,b.pt",c.pt') from None
    parts = [part.strip() for part in rows[0]]
    if not all(parts):
        raise UsageError(f"{key}={text}: there is an empty item between the commas")
    return parts


def _full(key: str) -> str:
    return key if key in TOP_LEVEL or "." in key else f"suite.{key}"


def _read_file(path: Path) -> dict[str, str]:
    """The keys of a YAML file, as the words would say them."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if not path.is_file():
        raise UsageError(f"config={path}: there is no such file")
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"config={path}: not readable as YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"config={path}: expected keys and values, for example `suite: vtab`")
    return {str(key): _text(f"config={path}: {key}", value) for key, value in loaded.items()}


def _text(where: str, value: Any) -> str:
    if isinstance(value, dict):
        raise UsageError(f"{where} holds further keys; write them flat, for example `suite.l2: 512`")
    if isinstance(value, list):
        return ",".join(_text(where, item) for item in value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)
