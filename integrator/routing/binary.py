"""Encodes the few Avro primitives of which the integrator's most frequent records are made.

Source: Apache Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations


def long(number: int) -> bytes:
    """Encode an int or long: zigzag, seven bits a byte, the lowest first."""
    value = number << 1 if number >= 0 else (-number << 1) - 1
    if value < 128:
        return _BYTES[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_BYTES = tuple(bytes([value]) for value in range(128))


def text(value: str) -> bytes:
    """Encode a string: its length in bytes and its UTF-8."""
    data = value.encode()
    return long(len(data)) + data


def binary(data: bytes) -> bytes:
    """Encode bytes: their number, and they themselves."""
    return long(len(data)) + data


def optional_text(value: str | None) -> bytes:
    """Encode a value of the union `["null", "string"]`."""
    return b"\0" if value is None else b"\2" + text(value)


FALSE, TRUE = b"\0", b"\1"
