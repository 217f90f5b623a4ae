"""Packs the lines about one person into a few bytes, because there are fifty million of them.

A person's value is their lines one after another, the latest of each agency and capacity:

    version    4 bytes, big-endian, of the record's key
    offset     8 bytes, big-endian, of the record
    start, end 4 bytes each, big-endian, days since 0001-01-01 (1 is that day); an end of 0 is none
    phase      1 byte: 0 provisional, 1 definitive
    agency     1 byte length, ASCII
    capacity   1 byte length, ASCII
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from integrator.domain.authorisation import Phase
from integrator.domain.directory import StandingInscription
from integrator.domain.inscription import Inscription

_HEAD = struct.Struct(">IQIIB")
_PHASES: tuple[Phase, Phase] = ("provisional", "definitive")


@dataclass(frozen=True, slots=True)
class Line:
    """The latest record about one person, agency and capacity, with its place in the order."""

    version: int
    offset: int
    inscription: StandingInscription

    @property
    def about(self) -> tuple[str, str]:
        """Agency and capacity."""
        return self.inscription.agency, self.inscription.capacity

    @classmethod
    def of(cls, members: dict[str, Any], *, version: int, offset: int) -> Line:
        """Make a line from the decoded value of an inscription record."""
        standing = StandingInscription(
            members["agency"], members["capacity"], members["phase"], members["start"], members["end"]
        )
        return cls(version, offset, standing)

    def says(self, inscription: Inscription) -> bool:
        """Tell whether `inscription` would change nothing."""
        stands = self.inscription
        return (stands.phase, stands.start, stands.end) == (inscription.phase, inscription.start, inscription.end)


def pack(lines: Iterable[Line]) -> bytes:
    """Return the lines of one person as bytes."""
    out = bytearray()
    for line in lines:
        stands = line.inscription
        end = stands.end.toordinal() if stands.end else 0
        out += _HEAD.pack(line.version, line.offset, stands.start.toordinal(), end, _PHASES.index(stands.phase))
        for text in line.about:
            out.append(len(text))
            out += text.encode("ascii")
    return bytes(out)


def unpack(data: bytes) -> tuple[Line, ...]:
    """Read what `pack` wrote."""
    lines: list[Line] = []
    at = 0
    while at < len(data):
        head: tuple[int, int, int, int, int] = _HEAD.unpack_from(data, at)
        version, offset, start, end, phase = head
        at += _HEAD.size
        texts: list[str] = []
        for _ in range(2):
            texts.append(data[at + 1 : at + 1 + data[at]].decode("ascii"))
            at += 1 + data[at]
        last = date.fromordinal(end) if end else None
        standing = StandingInscription(texts[0], texts[1], _PHASES[phase], date.fromordinal(start), last)
        lines.append(Line(version, offset, standing))
    return tuple(lines)


def with_line(lines: tuple[Line, ...], line: Line) -> tuple[Line, ...]:
    """Return `lines` with `line` in the place of an older one about the same agency and capacity."""
    for at, before in enumerate(lines):
        if before.about == line.about:
            return lines if before.version >= line.version else (*lines[:at], line, *lines[at + 1 :])
    return (*lines, line)


def without_line(lines: tuple[Line, ...], agency: str, capacity: str, version: int) -> tuple[Line, ...]:
    """Return `lines` without the line that this version of the record made; a newer one stays."""
    return tuple(line for line in lines if line.about != (agency, capacity) or line.version != version)
