"""TFRecord files and the tf.Example messages in them, read without TensorFlow.

A file is a sequence of records: length (8 bytes), its checksum, the content, its checksum. The checksums are CRC-32C,
rotated and shifted. An Example is a protobuf message. Its field 1, Features, is a map (field 1, repeated) from a name
(field 1) to a Feature (field 2), which is a list of bytes (1), floats (2) or integers (3), in the list's field 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .reading import BadArchive

LARGEST = 1 << 26  # bytes of a record, which holds one image
BLOCK = 1024  # bytes that crc32c handles at once


def records(path: Path) -> Iterator[tuple[int, bytes]]:
    """First byte and content of each record of a TFRecord file.

    Raises BadArchive, naming the file and the place, if the file is cut short or a checksum is wrong.
    """
    at = 0
    try:
        with path.open("rb") as file:
            while head := file.read(12):
                if len(head) < 12:
                    raise BadArchive(path, f"it is cut short at byte {at}")
                length, check = struct.unpack("<QI", head)
                if masked(crc32c(head[:8])) != check or length > LARGEST:
                    raise BadArchive(path, f"there is no record at byte {at}: its length is damaged")
                content = file.read(length + 4)
                if len(content) < length + 4:
                    raise BadArchive(path, f"it is cut short in the record at byte {at}")
                (check,) = struct.unpack("<I", content[length:])
                if masked(crc32c(content[:length])) != check:
                    raise BadArchive(path, f"the record at byte {at} is damaged: its checksum does not fit")
                yield at + 12, content[:length]
                at += 12 + length + 4
    except OSError as error:
        raise BadArchive(path, f"it cannot be read: {error.strerror}") from error


def example(content: bytes) -> Mapping[str, list[Any]]:
    """The features of a tf.Example by name: bytes as (begin, end) in `content`, integers as int; floats are left out.

    Raises ValueError if `content` is no tf.Example.
    """
    features: dict[str, list[Any]] = {}
    for message in _inside(content, (0, len(content)), 1):
        for entry in _inside(content, message, 1):
            name = "".join(content[slice(*at)].decode() for at in _inside(content, entry, 1))
            features[name] = [value for feature in _inside(content, entry, 2) for value in _values(content, feature)]
    return features


def _inside(content: bytes, message: tuple[int, int], wanted: int) -> list[tuple[int, int]]:
    """Begin and end of the fields with this number in a message; varints are left out."""
    return [(begin, end) for number, begin, end in _fields(content, *message) if number == wanted and end >= 0]


def _values(content: bytes, feature: tuple[int, int]) -> Iterator[Any]:
    """The values of a Feature."""
    for kind, begin, end in _fields(content, *feature):
        for number, first, last in _fields(content, begin, end):
            if number != 1:
                continue
            if kind == 1:
                yield first, last
            elif kind == 3 and last < 0:  # one integer
                yield first
            elif kind == 3:  # packed integers
                while first < last:
                    value, first = _varint(content, first, last)
                    yield value


def _fields(content: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each field of a message: its number, and begin and end of its content; for a varint, its value and -1."""
    while at < end:
        key, at = _varint(content, at, end)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at, end)
            yield key >> 3, value, -1
            continue
        if kind == 2:
            size, at = _varint(content, at, end)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"no message: it has a field of type {kind}")
        if not 0 <= size <= end - at:
            raise ValueError("no message: a field goes beyond its end")
        yield key >> 3, at, at + size
        at += size


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    """The varint at this place, as a signed 64-bit integer, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            value &= (1 << 64) - 1
            return value - (1 << 64) if value >> 63 else value, at
    raise ValueError("no message: a number goes beyond its end")


def masked(crc: int) -> int:
    """A checksum as TFRecord files store it: rotated right by 15 bits, plus a constant."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(content: bytes) -> int:
    """CRC-32C (Castagnoli) of these bytes.

    The register after a block is linear (over XOR) in the register before it and in the block. So NumPy computes the
    contribution of each block at once, as the XOR of one table entry per byte, chosen by place and value. The register
    before a block is XORed onto the block's first four bytes, so it goes through the same table.
    """
    table = _contributions()
    register = 0xFFFFFFFF
    whole = len(content) // BLOCK * BLOCK
    blocks = np.frombuffer(content, dtype=np.uint8, count=whole).reshape(-1, BLOCK)
    places = np.arange(BLOCK - 1, -1, -1) * 256
    contributions = np.bitwise_xor.reduce(table[places[None, :] + blocks], axis=1) if whole else ()
    # Table rows of a block's first four bytes, for the register before it.
    first = [table[(BLOCK - 1 - i) * 256 : (BLOCK - i) * 256].tolist() for i in range(4)] if whole else []
    for block in contributions:
        carried = [first[i][register >> 8 * i & 0xFF] for i in range(4)]
        register = int(block) ^ carried[0] ^ carried[1] ^ carried[2] ^ carried[3]
    step = table[:256].tolist() if whole < len(content) else []
    for byte in content[whole:]:
        register = register >> 8 ^ step[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF


@cache
def _contributions() -> np.ndarray:
    """(BLOCK * 256,) uint32: at 256 n + byte, what a byte followed by n others adds to the register."""
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, row >> 1 ^ np.uint32(0x82F63B78), row >> 1)
    rows = [row]
    for _ in range(BLOCK - 1):
        rows.append(rows[-1] >> 8 ^ row[rows[-1] & 0xFF])
    return np.concatenate(rows)
