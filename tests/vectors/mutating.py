"""Damages openings at random, on each of their layers: the file, its members, the proof and the parts inside."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import strategies as st

from tests.vectors.make import load

_BASES = [
    vector
    for vector in load("openings-accepted.json")
    if vector["name"] in ("citizen", "supervisor, somebody acted", "first of 2", "cosigned by groups of groups")
]
_SNIPPETS = [
    b"\n",
    b" ",
    b'"',
    b"\\",
    b",",
    b"{",
    b"}",
    b"=",
    b"\xff",
    b"\0",
    b"-0",
    b"1e0",
    b"null",
    "\u2014 a AAAAAAA=\n".encode(),
]
_VALUES: list[Any] = [0, 1, 2, -1, True, "", "AAAA", [], {}, "\u0000", 2**53 - 1, ["A"]]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """Return an accepted vector with a file to which one to three things were done."""
    vector = draw(st.sampled_from(_BASES))
    data: bytes = vector["file"].encode()
    for _ in range(draw(st.integers(1, 3))):
        layer = draw(st.sampled_from(["file", "members", "proof", "part"]))
        data = draw(_bytes(data)) if layer == "file" else draw(_inside(data, layer))
    kept = {name: value for name, value in vector.items() if name != "file"}
    return kept | {"base64": base64.b64encode(data).decode()}


@st.composite
def _bytes(draw: st.DrawFn, data: bytes) -> bytes:
    at, length = draw(st.integers(0, len(data))), draw(st.integers(1, 8))
    match draw(st.sampled_from(["flip", "cut", "insert", "repeat", "move"])):
        case "flip" if at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        case "cut":
            return data[:at] + data[at + length :]
        case "repeat":
            return data[:at] + data[at : at + length] * 2 + data[at + length :]
        case "move":
            to = draw(st.integers(0, len(data)))
            return data[:to] + data[at : at + length] + data[to:]
        case _:
            return data[:at] + draw(st.sampled_from(_SNIPPETS)) + data[at:]


@st.composite
def _inside(draw: st.DrawFn, data: bytes, layer: str) -> bytes:
    try:
        opening = json.loads(data)
    except (ValueError, RecursionError):
        return draw(_bytes(data))
    if not isinstance(opening, dict):
        return draw(_bytes(data))
    if layer == "members":
        key = draw(st.sampled_from([*sorted(opening), "hA", "A", "note"]))
        other = draw(st.sampled_from([*_VALUES, *(opening[name] for name in sorted(opening))]))
        opening = {name: value for name, value in opening.items() if name != key or draw(st.booleans())}
        opening |= {key: other} if draw(st.booleans()) else {}
    else:
        holder, key = (opening, "proof") if layer == "proof" else (opening.get("A"), "bytes")
        if not isinstance(holder, dict) or not isinstance(holder.get(key), str):
            return draw(_bytes(data))
        try:
            holder[key] = base64.b64encode(draw(_bytes(base64.b64decode(holder[key])))).decode()
        except ValueError:
            return draw(_bytes(data))
    return json.dumps(opening).encode()
