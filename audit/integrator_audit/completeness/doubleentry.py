"""Double entry: deliveries that are listed against those that were received, by sequence and number; names differences.

- Each side is an item of some 100 bytes that is sorted outside memory by number, then by sequence: what is said of one
  delivery comes together, and memory does not grow with their number. It does with the number of sequences (a topic's
  partitions and lanes), of each of which the last number is kept.
- Several entries about one delivery share its sequence and value, one for each person. A release is no delivery.
- The first 100 differences are kept, the others counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from integrator_audit.completeness.members import Delivery, DeliverySequence
from integrator_audit.completeness.sorting import Sorter
from integrator_audit.findings import MAX_FINDINGS, Finding, Findings

HELD: Final = 100_000
"""Items in memory: some 20 MB, and as much again while they are sorted."""
_LISTED, _RECEIVED = 0, 1
_SIDE: Final = Struct(">BQ32sqq")
"""What follows an item's key: side, in which order it came, value, and two things that the side says."""
_PLACE: Final = Struct(">QQ")
_UNKNOWN: Final = -1
_NEVER: Final = -(1 << 63)
_key = itemgetter(slice(None, -_SIDE.size))


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as the recipient noted it. `at` is in ms since 1970, `persons` their number; or None."""

    delivery: Delivery
    at: int | None = None
    persons: int | None = None


class _Difference(NamedTuple):
    sequence: DeliverySequence
    number: int
    code: str
    message: str


class _Differences:
    """The first differences, and how many there are."""

    def __init__(self) -> None:
        self.first: list[_Difference] = []
        self.count = 0

    def add(self, difference: _Difference) -> None:
        self.count += 1
        if len(self.first) < MAX_FINDINGS:
            self.first.append(difference)


class Comparison:
    """Two sets of deliveries; to be closed.

    `start` and `stop` are moments in ms: what was received before `start` (None: the log's beginning) or from `stop` on
    need not be listed. Too much to hold goes to a nameless, encrypted file in `spill`, by default the system's place.
    """

    def __init__(self, start: int | None, stop: int, *, spill: Path | None = None) -> None:
        self.received = 0
        self.outside = 0
        self.uncompared = 0
        self._start = start
        self._stop = stop
        self._items = Sorter(directory=spill, held=HELD)
        self._found = _Differences()
        self._missing = _Differences()
        self._next: dict[bytes, int] = {}

    def close(self) -> None:
        """Give up what was collected."""
        self._items.close()

    def add_listed(self, delivery: Delivery, *, early: bool) -> None:
        """Take an entry; `early`: it may be about something that was received before the days of the comparison."""
        self._add(delivery, _LISTED, int(early), 0)

    def add_received(self, item: Received) -> None:
        """Take what was received; of two notes of one delivery the first counts."""
        self.received += 1
        at = _NEVER if item.at is None else item.at
        self._add(item.delivery, _RECEIVED, at, _UNKNOWN if item.persons is None else item.persons)

    def compare(self, erased: int) -> tuple[tuple[Finding, ...], int]:
        """Return the differences by sequence and number, and how many were left out; once.

        So many entries as `erased` cannot be compared any more. Codes: `not-logged`, `invented`, `value-changed`,
        `received-twice`, `listed-twice`, `gap`, `persons-differ`.
        """
        for key, items in groupby(chain.from_iterable(self._items.sorted()), key=_key):
            self._compare(key, map(_SIDE.unpack, (item[-_SIDE.size :] for item in items)))
        found = list(self._found.first)
        count = self._found.count
        # LIMIT: of an erased entry nobody can say which delivery it was about.
        if self._missing.count <= erased:
            self.uncompared = self._missing.count
        else:
            found += self._missing.first
            count += self._missing.count
        findings = Findings()
        for sequence, number, code, message in sorted(found, key=itemgetter(0, 1))[:MAX_FINDINGS]:
            topic, partition, lane = sequence
            findings.add(code, f"{topic}, partition {partition}, lane {lane}, number {number}", message)
        return findings.items, count - len(findings.items)

    def _add(self, delivery: Delivery, side: int, one: int, other: int) -> None:
        key = _key_of(delivery.sequence, delivery.number)
        self._items.extend([key + _SIDE.pack(side, self._items.total, delivery.value, one, other)])

    def _compare(self, key: bytes, said: Iterator[tuple[int, int, bytes, int, int]]) -> None:
        """Compare what both sides say of one delivery: what is listed comes first, each side in its order."""
        listed: bytes | None = None
        received: tuple[bytes, int, int] | None = None
        count, early, two_listed, two_received = 0, False, False, False
        for side, _, value, one, other in said:
            if side == _LISTED:
                listed = value if listed is None else listed
                two_listed = two_listed or value != listed
                early = early or bool(one)
                count += 1
            else:
                received = (value, one, other) if received is None else received
                two_received = two_received or value != received[0]
        if two_listed:
            self._find(key, "listed-twice", "the ledger has entries about two values under this one number")
        if two_received:
            self._find(key, "received-twice", "two values were received under this one number")
        if received is None:
            if not early:
                self._find(key, "invented", "the ledger has an entry, and nothing was received")
        elif listed is None:
            self._not_listed(key, at=received[1], persons=received[2])
        else:
            if listed != received[0]:
                self._find(key, "value-changed", "the ledger has an entry about another value")
            if received[2] not in (_UNKNOWN, count):
                message = f"the ledger has {count} entries about it, and it was about {received[2]} persons"
                self._find(key, "persons-differ", message)
        self._see_gap(key)

    def _not_listed(self, key: bytes, *, at: int, persons: int) -> None:
        if at != _NEVER and (at >= self._stop or (self._start is not None and at < self._start)):
            self.outside += 1
        elif persons != 0:
            message = "it was received, and the ledger has no entry about it"
            self._missing.add(_Difference(*_read_key(key), "not-logged", message))

    def _see_gap(self, key: bytes) -> None:
        sequence, number = key[1 + key[0] :], int.from_bytes(key[1 : 1 + key[0]], "big")
        # Sequences are counted from 1; who asks for the whole log has all of them.
        expected = self._next.get(sequence, 1 if self._start is None else number)
        if number > expected:
            what = f"numbers {expected} to {number - 1}" if number - 1 > expected else "this number"
            message = f"{what} were neither received nor entered"
            self._found.add(_Difference(_read_key(key)[0], expected, "gap", message))
        self._next[sequence] = number + 1

    def _find(self, key: bytes, code: str, message: str) -> None:
        self._found.add(_Difference(*_read_key(key), code, message))


def _key_of(sequence: DeliverySequence, number: int) -> bytes:
    """Return bytes in the order of numbers, then of sequences; no key begins another.

    The length stands before a number, so that the keys of small numbers differ soon: the sorter divides by first bytes.
    """
    digits = number.to_bytes((number.bit_length() + 7) // 8, "big")
    # No partition begins with a byte of 255, so that the end of a topic is no escaped zero in a longer one.
    topic = sequence.topic.encode().replace(b"\0", b"\0\xff") + b"\0\0"
    return bytes([len(digits)]) + digits + topic + _PLACE.pack(sequence.partition, sequence.lane)


def _read_key(key: bytes) -> tuple[DeliverySequence, int]:
    topic = key[1 + key[0] : -_PLACE.size - 2].replace(b"\0\xff", b"\0").decode()
    return DeliverySequence(topic, *_PLACE.unpack(key[-_PLACE.size :])), int.from_bytes(key[1 : 1 + key[0]], "big")
