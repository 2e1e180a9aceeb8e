"""The file of a cell: written with a digest of its text, and checked whenever it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import NoneType
from typing import Any

from ..registry import UsageError
from ..stable import canonical
from .checks import JUDGED, KEY, STATUSES, Damaged, fault
from .record import COLUMNS, NUMBERS, Cell, Record

# Of a cell's file. Formats that are still read: 1 repeats every question and treatment, 2 has no digest of its text,
# 3 none of its curves.
FORMAT = 4
DIGEST = b',\n "sha256": "'  # before the digest of all that precedes it
TEXT, WHOLE, NUMBER = (str,), (int, NoneType), (float, int)  # compared exactly: isinstance takes True for an int
PLAIN = ("at", "provenance", "env")  # dicts of plain values: a column each
REPEATED = ("question", "treatment", "provenance", "env")  # dicts that many records of a cell share
_KINDS = {"slot": TEXT, "label": TEXT, "curves_digest": TEXT}
_KINDS |= {**dict.fromkeys(COLUMNS, TEXT), **dict.fromkeys(NUMBERS, WHOLE)}
_KINDS |= dict.fromkeys(("value", "seconds"), (float, int, NoneType))
REMEDY = "Delete it, and the job it belongs to runs again"
LARGEST = 2**63  # beyond the size of numbers


def dump(cell: Cell) -> str:
    """A cell as JSON, a line a record. Fields that all records share, and repeated dicts, are written once.

    Raises UsageError for one that is nested too deeply.
    """
    try:
        return _dump(cell)
    except RecursionError as error:
        raise UsageError(f"the cell {cell.key} is nested too deeply to be written") from error


def _dump(cell: Cell) -> str:
    rows = [asdict(record) for record in cell.records]
    shared = (
        {name: rows[0][name] for name in rows[0] if all(row[name] == rows[0][name] for row in rows)} if rows else {}
    )
    own = [{name: value for name, value in row.items() if name not in shared} for row in rows]
    several: dict[str, list[Any]] = {}
    for name in [name for name in REPEATED if name not in shared]:
        places: dict[str, int] = {}
        for row in own:
            row[name] = places.setdefault(canonical(row[name]), len(places))
        several[name] = [json.loads(text) for text in places]
    body = {name: value for name, value in asdict(cell).items() if name != "records"}
    head = json.dumps(body | {"format": FORMAT, "shared": shared, "several": several}, indent=1, allow_nan=False)
    lines = ",\n  ".join(json.dumps(row, allow_nan=False) for row in own)
    text = head.removesuffix("\n}") + f',\n "records": [\n  {lines}\n ]'
    return f'{text}{DIGEST.decode()}{_digest(text.encode())}"\n}}\n'


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _is_input(item: Any) -> bool:
    """Whether this is an entry of `Cell.inputs`: path, size, time and digest of a file."""
    kinds = {"path": str, "size": int, "mtime_ns": int, "sha256": str}
    return isinstance(item, dict) and all(type(item.get(name)) is kind for name, kind in kinds.items())


def read_cell(path: Path) -> Cell:
    """The cell in a file. Raises Damaged, a UsageError, where it is not as it was written, or cannot be right."""
    cell, shared, own = read_columns(path)
    return replace(cell, records=tuple(map(_record, _rows(shared, own))))


def read_columns(path: Path) -> tuple[Cell, dict[str, Any], dict[str, list[Any]]]:
    """As `read_cell`: the cell without records, the fields that all records share, and the others as columns.

    So nothing is made of each number: columns are all that a table needs.
    """
    try:
        data, key = path.read_bytes(), path.stem
        if b"\r" in data:  # a copy may have another system's line ends
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        text = data.decode()
        body = _DECODER.decode(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(body, ensure_ascii=False).encode()  # raises for half of a character, which cannot be written
        made, digest = body.pop("format"), body.pop("sha256", None)
        if made not in range(1, FORMAT + 1):
            raise UsageError(f"{path} was written by another version of this project; use another `out=`")
        if body["key"] != key or not KEY.fullmatch(key):
            raise TypeError(f"its key is {body['key']!r}, which is not 16 hexadecimal digits and the file's name")
        shared, several = body.pop("shared"), body.pop("several", {})
        _check({name: [value] for name, value in shared.items()})
        shared, own = _columns(shared, body.pop("records"))
        _check(own)
        for name, choices in several.items():
            if name not in REPEATED:
                raise TypeError(f"column {name} is one of those that are not repeated")
            own[name] = [choices[number] for number in own[name]]  # one dict for all records that share it
        if not isinstance(body["identity"], dict) or not all(_is_input(item) for item in body["inputs"]):
            raise TypeError("its identity or a file that it read is not described as cells describe them")
        for name in ("question", "treatment", *PLAIN):
            _check_dicts(name, [shared[name], *(several.get(name) or own.get(name, ()))])
        _check({name: [body.get(name, "")] for name in ("slot", "started_at", "curves_digest")})
        if body["status"] not in STATUSES:
            raise TypeError(f"column status: '{body['status']}' is not {', '.join(STATUSES)}")
        if type(body["order"]) is not list or {type(part) for part in body["order"]} - {int, str}:
            raise TypeError("its order is no list of numbers and texts")
        judged = {name: own[name] for name in JUDGED if name in own} or own
        if impossible := next(filter(None, map(fault, _rows({name: shared[name] for name in JUDGED}, judged))), ""):
            raise TypeError(impossible)
        if (digest is not None or made > 2) and digest != _digest(data[: data.rfind(DIGEST)]):
            raise TypeError("its text is not what its sha256 says: it was changed after it was written")
        return Cell(**body | {"order": tuple(body["order"]), "inputs": tuple(body["inputs"])}, records=()), shared, own
    except UsageError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(path, error, REMEDY) from error


def _columns(shared: dict[str, Any], records: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The fields that all records share, defaults among them, and the others as columns.

    Raises TypeError for unknown fields, and where there are no records.
    """
    if not records:
        raise TypeError("no records")
    if len(set(map(tuple, records))) > 1:  # some have fields that others have not
        shared, records = {}, [vars(Record(**shared | record)) for record in records]
    named = shared | records[0]
    if not named.keys() <= _DEFAULTS.keys() or "suite" not in named:
        Record(**named)  # raises an error that names the wrong field
    shared, own = _DEFAULTS | shared, {name: [record[name] for record in records] for name in records[0]}
    return shared, own or {"measurement": [shared["measurement"]] * len(records)}  # one record shares everything


def _rows(shared: Mapping[str, Any], own: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """The fields of each record."""
    for values in zip(*own.values(), strict=True):
        yield {**shared, **dict(zip(own, values, strict=True))}


def _record(fields: dict[str, Any]) -> Record:
    """`Record(**fields)` of all fields, ten times as fast: a frozen dataclass sets its 28 fields one by one."""
    record = object.__new__(Record)
    object.__setattr__(record, "__dict__", fields)
    return record


def curves_bytes(path: Path) -> bytes:
    """The training curves of a cell, as CSV. Raises Damaged where they are not what the cell beside them says."""
    data, beside = path.read_bytes(), path.with_name(path.name.replace(".curves.csv", ".json"))
    stated = read_cell(beside).curves_digest if beside.exists() else ""
    if stated and hashlib.sha256(data).hexdigest() != stated:
        remedy = "Delete it, and nothing but these curves is missing"
        raise Damaged(path, "its bytes are not those whose sha256 its cell has", remedy)
    return data


def _check(columns: Mapping[str, Sequence[Any]]) -> None:
    """Raise TypeError or ValueError unless these columns of records hold what they may."""
    for name, values in columns.items():
        kinds = _KINDS.get(name, ())
        for value in values if kinds else ():
            if type(value) not in kinds or (kinds is not TEXT and value is not None and not abs(value) < LARGEST):
                kind = "text" if kinds is TEXT else "whole number" if kinds is WHOLE else "number"
                raise TypeError(f"column {name}: {str(value)[:40]} is no {kind}")


def _check_dicts(name: str, found: Iterable[Any]) -> None:
    """Raise TypeError unless the values of this field are dicts, of plain values where these become columns."""
    for item in found:
        if type(item) is not dict or (name in PLAIN and not {dict, list}.isdisjoint(map(type, item.values()))):
            raise TypeError(f"its {name} is not described as cells describe it")


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


_DEFAULTS = vars(Record(suite=""))
_DECODER = json.JSONDecoder(parse_constant=_no_number)
