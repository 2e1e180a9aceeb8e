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
START = bytes.fromhex("54641f64")  # takes the register of crc32c from 0 to 0xFFFFFFFF, where it starts


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
    """The features of a tf.Example by name: bytes, and integers as int; floats are left out.

    Raises ValueError if `content` is no tf.Example.
    """
    entries = (entry for features in _messages(content, 1) for entry in _messages(features, 1))
    return {
        "".join(part.decode() for part in _messages(entry, 1)): [
            value for feature in _messages(entry, 2) for value in _values(feature)
        ]
        for entry in entries
    }


def _values(feature: bytes) -> Iterator[bytes | int]:
    """The values of a Feature."""
    for kind, values in _fields(feature):
        for number, value in _fields(values) if isinstance(values, bytes) else ():
            if number == 1 and kind == (1 if isinstance(value, bytes) else 3):
                yield value
            elif number == 1 and kind == 3 and isinstance(value, bytes):  # packed integers
                at = 0
                while at < len(value):
                    integer, at = _varint(value, at)
                    yield integer


def _messages(message: bytes, wanted: int) -> list[bytes]:
    """The contents of the fields with this number in a message; varints are left out."""
    return [value for number, value in _fields(message) if number == wanted and isinstance(value, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and content of each field of a message: an integer for a varint, bytes for all others."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind, size = key & 7, 0
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
            value = message[at : at + size]
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value = message[at : at + size]
        else:
            raise ValueError(f"no message: it has a field of type {kind}")
        if not 0 <= size <= len(message) - at:
            raise ValueError("no message: a field goes beyond its end")
        yield key >> 3, value
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The varint at this place, as a signed 64-bit integer, and the place after it."""
    last = next((place for place in range(at, min(at + 10, len(message))) if message[place] < 0x80), None)
    if last is None:
        raise ValueError("no message: a number goes beyond its end")
    digits = enumerate(message[at : last + 1])
    value = sum((byte & 0x7F) << 7 * place for place, byte in digits) & (1 << 64) - 1
    return value - (value >> 63 << 64), last + 1


def masked(crc: int) -> int:
    """A checksum as TFRecord files store it: rotated right by 15 bits, plus a constant."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(content: bytes) -> int:
    """CRC-32C (Castagnoli) of these bytes.

    The register after a block is linear (over XOR) in the register before it and in the block. So NumPy computes the
    contribution of each block at once, as the XOR of one table entry per byte, chosen by place and value. The register
    before a block is XORed onto the block's first four bytes, so it goes through the same table. Zeros leave a register
    of 0 as it is, so they fill the first block.
    """
    table, places = _contributions(), np.arange(BLOCK)
    filled = bytes(-len(START + content) % BLOCK) + START + content
    blocks = np.frombuffer(filled, dtype=np.uint8).reshape(-1, BLOCK)
    register = 0
    for block in np.bitwise_xor.reduce(table[places, blocks], axis=1).tolist():
        carried = np.frombuffer(register.to_bytes(4, "little"), dtype=np.uint8)
        register = block ^ int(np.bitwise_xor.reduce(table[places[:4], carried]))
    return register ^ 0xFFFFFFFF


@cache
def _contributions() -> np.ndarray:
    """(BLOCK, 256) uint32: what a byte at each place of a block adds to the register after the block."""
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, row >> 1 ^ np.uint32(0x82F63B78), row >> 1)
    rows = [row]
    for _ in range(BLOCK - 1):
        rows.append(rows[-1] >> 8 ^ row[rows[-1] & 0xFF])
    return np.stack(rows[::-1])
