"""Show how one number was made: the command that repeats it, settings, seeds, digests, versions and files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ...registry import UsageError, path_of, suggest
from ...results.predictions import Predictions
from ...results.record import Cell, Record, frame_of
from ...results.store import Store
from ...results.tables.names import Name, Thing, names_or_plain
from ..config import read_config
from ..console import stdout
from ..reproduce import files_read, job_command, settings_of
from ..words import NONE, Mistakes, split_word
from .command import JsonOutput, listed, print_json, single, take_format

FIELDS = (
    *("suite", "protocol", "label", "model", "variant", "weights", "task", "source", "seed", "metric", "status"),
    "unit",
)
MANY = 12
COLUMNS = (
    f"Columns: {', '.join(f'`{name}=`' for name in FIELDS)}, and what varied inside jobs, `shots=5` for example. "
    "`none` stands for an empty one, `variant=none` for example. `model=` and `weights=` also take what tables show."
)


def explain_verb(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="a run directory")],
    words: Annotated[list[str] | None, typer.Argument(metavar="CELL", show_default=False)] = None,
) -> None:
    """CELL is a record's `measurement` (as in results.csv: key/number), the beginning of a key, or words that select
    one: `explain runs/vtab model=ViT-B/16 task=Pets metric=top1 seed=0`.
    """
    if not (path_of(str(run)) / "cells").is_dir():
        raise UsageError(f"{run} is no run directory: it has no cells/ folder")
    store = Store(run)
    rest, as_json = take_format(words or [])
    cell, record = _find(store, rest)
    if as_json:
        command = job_command(cell, read_config(store.folder), f"{store.folder}-again")
        print_json({**asdict(record), "cell": cell.key, "command": command, "settings": settings_of(cell),
                    "files_read": cell.inputs})  # fmt: skip
        return
    out = stdout()
    for heading, lines in _explained(store, cell, record):
        out.say(heading, style="bold")
        for line in lines:
            out.say(f"  {line}")


def _find(store: Store, words: Sequence[str]) -> tuple[Cell, Record]:
    """The one record that the words select, with its cell. Raises UsageError where they select several or none."""
    every = [(cell, record) for cell in store.cells() for record in cell.records]
    if not every:
        raise UsageError(f"{store.folder} holds no records yet")
    known = {*FIELDS, *(name for _, record in every for name in record.at)}
    pairs: list[tuple[str, str]] = []
    mistakes = Mistakes()
    for word in [word for word in words if "=" in word]:
        with mistakes:
            name, value = split_word(word)
            pairs.append((name, value))
            if name not in known:
                raise UsageError(f"records have no '{name}'. {suggest(name, sorted(known))}")
    mistakes.tell()
    shown = names_or_plain(frame_of(record for _, record in every))
    found = [
        (c, r)
        for c, r in every
        if all(any(_is(one, value) for one in _values(r, name, shown)) for name, value in pairs)
    ]
    for name in [word for word in words if "=" not in word]:
        exact = [(c, r) for c, r in found if r.measurement == name]
        found = exact or [(c, r) for c, r in found if c.key.startswith(name)]
    if not found:
        models = sorted({name.text for name in shown.values()})
        bare = [f"'{word}' is the beginning of no key; name=value selects. " for word in words if "=" not in word]
        raise UsageError(
            f"no record of {store.folder} is {' '.join(words)}. {''.join(bare[:1])}It has models {', '.join(models)}; "
            f"tasks {', '.join(sorted({record.task for _, record in every}))}"
        )
    if len(found) > 1 and not any(name == "metric" for name, _ in pairs):
        found = [pair for pair in found if pair[1].metric == "top1"] or found
    if len(found) > 1:
        shown = "\n  ".join(_short(record) for _, record in found[:MANY])
        more = f"\n  and {len(found) - MANY} more" if len(found) > MANY else ""
        raise UsageError(f"{len(found)} records are {' '.join(words) or 'in it'}; say which:\n  {shown}{more}")
    return found[0]


def _value(record: Record, name: str) -> Any:
    return getattr(record, name) if name in FIELDS else record.at.get(name)


def _values(record: Record, name: str, shown: Mapping[Thing, Name]) -> list[Any]:
    """What a record is selected by: its value, and of model and weights what tables show in its place."""
    here = shown[record.model, record.variant, record.weights]
    also = {"model": [here.model, here.text], "weights": [here.weights]}
    return [_value(record, name), *also.get(name, ())]


def _is(value: Any, word: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(word) == value
        except ValueError:
            return False
    return word.lower() in (NONE if value in (None, "") else (str(value).lower(),))


def _short(record: Record) -> str:
    """The words that select a record."""
    words = [f"{name}={_value(record, name)}" for name in ("model", "variant", "weights", "task", "seed", "metric")]
    words = [word for word in words if not word.endswith(("=", "=None"))]
    words += [f"{name}={value}" for name, value in record.at.items()]
    return f"{record.measurement or '(no number)'}  {' '.join(words)}"


def _explained(store: Store, cell: Cell, record: Record) -> list[tuple[str, list[str]]]:
    number = record.error if record.value is None else f"{record.value:.10g} {record.unit}"
    model = f"{record.model} [{record.variant}]" if record.variant else record.model
    who = f"{f'{record.label}: ' if record.label else ''}{model}, weights {record.weights or 'none'}"
    on = f" on {record.task}" if record.task else ""
    head = f"{record.metric or record.status} = {number}: {who}{on}"
    what = [
        f"cell {cell.key}, record {record.measurement or '(no number)'}, status {record.status}",
        f"suite {record.suite}, protocol {record.protocol}"
        + (f", seed {record.seed}" if record.seed is not None else ""),
        *(f"{name} {value}" for name, value in record.at.items()),
        f"images: {_count(record.n_train)} to train, {_count(record.n_test)} scored, "
        f"{_count(record.n_skipped)} skipped",
        f"made {record.started_at} on {record.device or 'an unknown device'}, the whole job in "
        f"{'?' if record.seconds is None else f'{record.seconds:.1f}'} s",
    ]
    revision = (cell.identity.get("task") or {}).get("revision", "")
    where = {"trained on": record.pretrain, "images from": record.source, "their revision": revision}
    where |= record.provenance
    digests = {"weights": record.weights_sha, "split": record.split_sha}
    digests |= {"question": record.protocol_sha, "treatment": record.treatment_sha}
    return [
        (head, what),
        ("Command that repeats it", [job_command(cell, read_config(store.folder), f"{store.folder}-again")]),
        ("Question (the same for all that may stand beside it)", _pairs(record.question)),
        ("Treatment (may differ between models)", _pairs(record.treatment)),
        ("Settings of the suite", _pairs(settings_of(cell))),
        ("Weights and data", _pairs({name: value for name, value in where.items() if value})),
        ("Digests", _pairs({name: value for name, value in digests.items() if value})),
        ("Versions and machine", _pairs(record.env)),
        ("Files read", files_read(cell) or ["none: everything was made by this package"]),
        ("Files behind it", _stored_files(store, cell, record)),
    ]


def _count(images: int | None) -> str:
    return "no images" if images is None else f"{images:,}"


def _pairs(values: Mapping[str, Any]) -> list[str]:
    width = max(map(len, values), default=0)
    return [f"{name:<{width}}  {_plain(value)}" for name, value in values.items()] or ["none"]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _stored_files(store: Store, cell: Cell, record: Record) -> list[str]:
    """The files of the job in the run directory."""
    paths = {
        store.path(cell.key): "the record",
        store.arrays(cell.key): _arrays(store, cell, record),
        store.curves(cell.key): "training curves",
        store.folder / "kept" / cell.key: "what the user asked the job to keep",
    }
    lines = []
    for path, what in paths.items():
        if path.exists():
            size = "" if path.is_dir() else f"{path.stat().st_size:,} bytes, "
            lines.append(f"{path}  {size}{what}")
    return lines


def _arrays(store: Store, cell: Cell, record: Record) -> str:
    number = record.measurement.partition("/")[2]
    names = Predictions([store.folder]).of_cell(cell.key)
    own = f"its predictions as '{number}'" if number in names else "no predictions of this number"
    beside = [name for name in names if name.startswith(f"{number}.") or not name[:1].isdigit()]
    return f"{own}; {', '.join(beside) or 'nothing'} beside"


app = single(explain_verb, COLUMNS, listed(JsonOutput))
