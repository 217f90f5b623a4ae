"""The short way from the bytes of a disclosure record to the bytes of parts D and S, for the records that are common.

The ledger makes an entry for each person of each delivery, on one core: what happens here happens tens of thousands of
times a second, and the general way (`disclosures`: Avro to a dictionary, JSON from another) takes five times as long.

- A record is either stated here, or `read` returns `None` and the general way decides. What is stated here has the same
  bytes as there: a property test holds the two beside each other, with sound records and with damaged ones.
- It follows the layout of `schemas/ledger/disclosure/v1.avsc` by hand: lengths and integers of Avro (zigzag, seven bits
  a byte), and between them pieces that come again in most records (with what it was decided, the moment, the topic, the
  source). Their JSON is made once, and found again by their Avro bytes.
- Where the kernel is installed (`integrator.recording.engine`) it does what `Shortcut._read` says, with the same bytes.
- Left to the general way: other versions of the schema, mediated persons, nobody or somebody twice, negative or very
  long numbers, ids that JSON would escape, moments before 1970 or after 9999, whatever is cut short or goes on.
"""

from __future__ import annotations

from binascii import b2a_base64, hexlify
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import Final, NamedTuple, TypeVar

from integrator.domain.identifiers import Position
from integrator.encoding import record_type
from integrator.recording.engine import KERNEL, Kernel, Reader
from integrator_audit import part

_MOST: Final = 20_000
"""Pieces of one kind that are remembered; then they are forgotten together."""
_MOST_PART: Final = 0xFFFF
_LAST_MOMENT: Final = 253_402_300_800_000
"""The first millisecond after the year 9999."""
_MOST_NUMBER: Final = 1 << 52
_LONG: Final = 0x81
"""Bits of a length's first byte: set where it is 64 and more, or negative. Otherwise the length is the byte's half."""
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
# Printable ASCII that JSON does not escape.
_PLAIN: Final = bytes(code for code in range(0x20, 0x7F) if code not in b'"\\')

_Piece = TypeVar("_Piece")
_Found = TypeVar("_Found")


class Unusual(Exception):
    """A record that the general way must look at."""


_UNUSUAL: Final = (Unusual, IndexError, UnicodeDecodeError, OverflowError, ValueError)


class Head(NamedTuple):
    """With what and on which day a delivery was decided: the Avro bytes that say it, what they say, ends of part D.

    `ends` holds what part D says after an event's id, by the Avro bytes of its kind.
    """

    piece: bytes
    authorisation: str
    version: int
    directory_position: Position
    day: date
    engine: str
    ends: dict[bytes, bytes]


Person = tuple[bytes, bytes, bytes, bytes]
"""A person of a record: pseudonym, sealed number, role, part S."""


class Common(NamedTuple):
    """What a common record says: its head, the moment in milliseconds since 1970, part D, its persons."""

    head: Head
    at: int
    delivery: bytes
    people: list[Person]


class Shortcut:
    """Reads common records; remembers pieces of them. Owned by one recorder."""

    def __init__(self) -> None:
        kind = record_type("ledger/disclosure")
        # With a second version of the schema its records go the general way, until this follows it.
        self._prefix = kind.prefix if len(kind.known) == 1 else b"\xff" * len(kind.prefix)
        self._delivery_start = part("dienstenintegrator/delivery/v1", {"at": ""})[:-2]
        self._subject_start = part("dienstenintegrator/subject/v1", {"subject": ""})[:-2]
        # The head that came last under each authorisation: the next one is mostly the same.
        self._heads: dict[bytes, Head] = {}
        self._moments: dict[bytes, tuple[int, bytes]] = {}
        self._routes: dict[bytes, bytes] = {}
        self._sources: dict[bytes, bytes] = {}
        self._roles: dict[tuple[bytes, int], bytes] = {}
        # The persons that came last, with the bytes and the moment that say them: one event goes to several agencies.
        self._last: tuple[bytes, tuple[int, bytes], list[Person]] = (b"", (0, b""), [])
        self._native = None if KERNEL is None else self._twin(KERNEL)

    def read(self, value: bytes) -> Common | None:
        """Return what a common record says, or `None` for every other one."""
        if self._native is not None:
            return self._native.read(value)
        try:
            return self._read(value) if value.startswith(self._prefix) else None
        except _UNUSUAL:
            return None

    def _twin(self, kernel: Kernel) -> Reader:
        """Return what reads in native code as `_read` does, with the same pieces."""
        return kernel.Shortcut(
            prefix=self._prefix,
            delivery_start=self._delivery_start,
            subject_start=self._subject_start,
            heads=(self._heads, self._new_head),
            moments=(self._moments, _moment),
            routes=(self._routes, _route),
            sources=(self._sources, _source),
            roles=(self._roles, _role),
            new_end=_end,
            keep=_kept,
            common=Common,
            unusual=_UNUSUAL,
        )

    def _read(self, v: bytes) -> Common:
        # `at` is where a field or piece begins, `end` where it ends.
        at = len(self._prefix)
        head = self._heads.get(v[at : at + 1 + (v[at] >> 1)])
        if head is None or not v.startswith(head.piece, at):
            head = self._new_head(v, at)
        at += len(head.piece)
        end = at + 6  # of a moment until the year 2039
        moment = self._moments.get(v[at:end])
        if moment is None:
            end = _pass(v, at)
            moment = _kept(self._moments, v[at:end], _moment)
        at = end  # topic, partition, lane
        length = v[at]
        end = at + (length >> 1) + 3
        if length & _LONG or v[end - 1] > 127 or v[end - 2] > 127:
            end = _pass(v, _pass(v, _skip(v, at)))
        route = self._routes.get(v[at:end]) or _kept(self._routes, v[at:end], _route)
        sequence, at = _number(v, end)
        length = v[at]  # source, its partition
        end = at + (length >> 1) + 2
        if length & _LONG or v[end - 1] > 127:
            end = _pass(v, _skip(v, at))
        source = self._sources.get(v[at:end]) or _kept(self._sources, v[at:end], _source)
        position, at = _number(v, end)
        length = v[at]
        end = at + 1 + (length >> 1)
        event_id = v[at + 1 : end]
        if length & _LONG or event_id.translate(None, _PLAIN):
            raise Unusual
        at = end
        end = at + 1 + (v[at] >> 1)
        close = head.ends.get(v[at:end]) or _kept(head.ends, v[at:end], partial(_end, head))
        at = end + 32
        delivery = b"".join(
            (
                self._delivery_start,
                moment[1],
                route,
                b"%d" % sequence,
                source,
                b"%d" % position,
                b',"eventId":"',
                event_id,
                close,
                hexlify(v[end:at]),
                b'"}',
            )
        )
        if len(delivery) > _MOST_PART:
            raise Unusual
        rest = v[at:]
        if self._last[:2] != (rest, moment):
            people, at = self._people(v, at, moment[1])
            if _pass(v, at) != len(v):  # unidentified
                raise Unusual
            self._last = (rest, moment, people)
        return Common(head, moment[0], delivery, self._last[2])

    def _people(self, v: bytes, at: int, moment: bytes) -> tuple[list[Person], int]:
        blocks = v[at]
        if not blocks or blocks & _LONG:
            raise Unusual  # nobody, or more than 63
        at += 1
        people: list[Person] = []
        for _ in range(blocks >> 1):
            pseudonym = v[at : at + 32]
            version, length = v[at + 32], v[at + 33]
            end = at + 34 + (length >> 1)
            role_end = end + 1 + (v[end] >> 1)
            if (version | length | v[end]) & _LONG or v[role_end]:
                raise Unusual  # long, or mediated
            role = v[end:role_end]
            said = self._roles.get((role, version)) or _kept(self._roles, (role, version), _role)
            # 32 bytes are 43 characters without the filling and the line's end.
            name = b2a_base64(pseudonym, newline=False)[:43].translate(_URL_SAFE)
            subject = b"".join((self._subject_start, name, said, moment, b'"}'))
            people.append((pseudonym, v[at + 34 : end], role, subject))
            at = role_end + 1
        # One block of the array, then its end; somebody twice is for the general way.
        if v[at] or (blocks > 2 and len({person[0] for person in people}) << 1 != blocks):
            raise Unusual
        return people, at + 1

    def _new_head(self, v: bytes, start: int) -> Head:
        authorisation, at = _text(v, start)
        version, at = _number(v, at)
        position, at = _number(v, at)
        engine, at = _text(v, at)
        days, at = _number(v, at)
        day = date.fromordinal(date(1970, 1, 1).toordinal() + days)
        head = Head(v[start:at], authorisation, version, Position(position), day, engine, {})
        return _kept(self._heads, v[start : start + 1 + (v[start] >> 1)], lambda _: head)


def role_text(piece: bytes) -> str:
    """Return the text of a role from its Avro bytes."""
    role, at = _text(piece, 0)
    _ends(piece, at)
    return role


def _kept(pieces: dict[_Piece, _Found], piece: _Piece, make: Callable[[_Piece], _Found]) -> _Found:
    if len(pieces) >= _MOST:
        pieces.clear()
    found = pieces[piece] = make(piece)
    return found


def _pass(v: bytes, at: int) -> int:
    """Return where the number at `at` ends."""
    while v[at] > 127:
        at += 1
    return at + 1


def _skip(v: bytes, at: int) -> int:
    """Return where the text at `at` ends."""
    length = v[at]
    if length & _LONG:
        length, at = _number(v, at)
        return at + length
    return at + 1 + (length >> 1)


def _number(v: bytes, at: int) -> tuple[int, int]:
    """Read a number that is not negative, and where it ends."""
    byte = v[at]
    at += 1
    coded = byte & 127
    shift = 7
    while byte > 127:
        byte = v[at]
        at += 1
        coded |= (byte & 127) << shift
        shift += 7
        if shift > 63:
            raise Unusual
    if coded & 1 or coded >= _MOST_NUMBER:
        raise Unusual
    return coded >> 1, at


def _text(v: bytes, at: int) -> tuple[str, int]:
    length, at = _number(v, at)
    if at + length > len(v):
        raise Unusual
    return v[at : at + length].decode(), at + length


def _json(**members: object) -> bytes:
    """Return members as they stand in a part, each with its comma before it."""
    return part("x/v1", members)[len(b'{"schema":"x/v1"') : -1]


def _ends(piece: bytes, at: int) -> None:
    if at != len(piece):
        raise Unusual


def _moment(piece: bytes) -> tuple[int, bytes]:
    milliseconds, at = _number(piece, 0)
    _ends(piece, at)
    if milliseconds >= _LAST_MOMENT:
        raise Unusual
    text = datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()[:19].encode()
    return milliseconds, b"%b.%03dZ" % (text, milliseconds % 1000)


def _route(piece: bytes) -> bytes:
    topic, at = _text(piece, 0)
    partition, at = _number(piece, at)
    lane, at = _number(piece, at)
    _ends(piece, at)
    return b'"' + _json(topic=topic, partition=partition, lane=lane) + b',"sequence":'


def _source(piece: bytes) -> bytes:
    source, at = _text(piece, 0)
    partition, at = _number(piece, at)
    _ends(piece, at)
    return _json(source=source, sourcePartition=partition) + b',"sourcePosition":'


def _end(head: Head, piece: bytes) -> bytes:
    kind, at = _text(piece, 0)
    _ends(piece, at)
    said = _json(kind=kind, directoryPosition=head.directory_position, engine=head.engine)
    return b'"' + said + b',"valueSha256":"'


def _role(said: tuple[bytes, int]) -> bytes:
    role, coded = said
    return b'"' + _json(keyVersion=coded >> 1, role=role_text(role)) + b',"at":"'
