"""Entries that no person finds: padding, entries withheld under an order, and the later entries that release them.

- An unlisted entry is one of exactly two things, and the checking cosigner opens all four parts of each.
- **Padding** says nothing and belongs to nobody: its parts are the bytes that `padding` returns, its P is empty.
- **Withheld**: part A carries, as `order`, a note that the supervisor signed before the entry was appended: five lines,
  `dienstenintegrator/order/v1`, its id, the recipient, the first and the last day. No person stands in it. It lasts at
  most twelve months; on the day after its last day, at the latest, the entry is released.
- **Release**: a new, listed entry that says what the old one said, without the order, and whose part D carries, as
  `releases`, the whole opening of the old one. So recipient and supervisor see that nothing was changed.
- How many entries of a day are unlisted is no secret and tells nothing: U, or above it the next power of two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Final, NamedTuple, cast

from integrator_audit.completeness.members import RETENTIONS, Members, recipient_of
from integrator_audit.encoding import from_base64, to_base64
from integrator_audit.errors import Invalid, Refused, Tampered
from integrator_audit.note import Signer, Verifier, verify_note
from integrator_audit.parts import (
    LETTERS,
    SALT_SIZE,
    SUBJECT_ENTRY,
    commitment,
    leaf_entry,
    part,
    part_hash,
    read_part,
)

PADDING: Final = "dienstenintegrator/padding/v1"
ORDER: Final = "dienstenintegrator/order/v1"
NOBODY: Final = sha256(b"dienstenintegrator/nobody/v1\0").digest()
"""The pseudonym under which padding is kept: of no number in the world."""

ORDER_MEMBER: Final = "order"
RELEASE_MEMBER: Final = "releases"
_MAX_NAME: Final = 200


class FourParts(NamedTuple):
    """The bytes of the four parts of an entry."""

    a: bytes
    d: bytes
    s: bytes
    p: bytes


def padding(retention: int) -> FourParts:
    """Return the parts of a padding entry that is kept as long as others with this retention."""
    nothing = part(PADDING, {})
    return FourParts(part(PADDING, {"retention": retention}), nothing, nothing, b"")


def is_padding(a: Members) -> bool:
    """Say whether part A is that of padding; `check_padding` tells whether the whole entry is."""
    return a.get("schema") == PADDING


def check_padding(parts: Mapping[str, bytes]) -> None:
    """Check the bytes of all four parts; raise `Tampered` (`padding-somebody`) when they say anything at all."""
    if tuple(parts[letter] for letter in LETTERS) not in {padding(retention) for retention in RETENTIONS}:
        raise Tampered("padding-somebody", "an entry that says to be padding says something in another part")


@dataclass(frozen=True, slots=True)
class Order:
    """A supervisor's leave to withhold: for which recipient, from the first to the last day. It names no person."""

    id: str
    recipient: str
    first: date
    last: date

    def __post_init__(self) -> None:
        for text in (self.id, self.recipient):
            if not 0 < len(text) <= _MAX_NAME or not text.isprintable():
                raise Invalid("order", f"an order has an id and a recipient, printable, of at most {_MAX_NAME} signs")
        # SPEC ledger §5: "order id, end ≤ 12 months, supervisor's signature"
        if not self.first <= self.last <= _a_year_after(self.first):
            raise Invalid("order", "an order ends at most twelve months after it begins")

    @property
    def text(self) -> bytes:
        """Return what the supervisor signs."""
        lines = (ORDER, self.id, self.recipient, self.first.isoformat(), self.last.isoformat(), "")
        return "\n".join(lines).encode()

    @classmethod
    def parse(cls, text: bytes) -> Order:
        """Read the text of an order; raise `Invalid` (`order`) for any other form."""
        try:
            lines = text.decode().split("\n")
            header, identifier, recipient, first, last, end = lines
            order = cls(identifier, recipient, date.fromisoformat(first), date.fromisoformat(last))
        except ValueError as error:
            raise Invalid("order", "an order is five lines: its kind, id, recipient, first and last day") from error
        if header != ORDER or end or order.text != text:
            raise Invalid("order", "an order is not in its one form")
        return order

    def sign(self, supervisor: Signer) -> bytes:
        """Return the order as a note that the supervisor signed."""
        return supervisor.sign(self.text)


def open_order(note: bytes, supervisor: Verifier) -> Order:
    """Return the order that the supervisor signed; raise `Tampered` (`order-signature`, `order-malformed`)."""
    try:
        return Order.parse(verify_note(note, [supervisor]))
    except Tampered as error:
        raise Tampered("order-signature", "an order to withhold was not signed by the supervisor") from error
    except Invalid as error:
        raise Tampered("order-malformed", f"an order to withhold cannot be read: {error.message}") from error


def withheld_part(a: bytes, d: bytes, note: bytes, *, supervisor: Verifier, day: date) -> bytes:
    """Return part A of an entry to be withheld under the order in `note`, decided now and never later.

    `a` and `d` are the parts that the entry would have without it, `day` the day on which it is appended. Raises
    `Refused` (`order-other`) when the order is for another recipient or another time, `Tampered` as `open_order` does.
    """
    members = read_part(a)
    order = open_order(note, supervisor)
    if order.recipient != recipient_of(members, read_part(d)) or not order.first <= day <= order.last:
        raise Refused("order-other", f"order {order.id} is for another recipient or another time")
    schema = members.pop("schema")
    return part(cast(str, schema), {**members, ORDER_MEMBER: to_base64(note)})


def check_withheld(a: Members, d: Members, *, supervisor: Verifier, day: date) -> Order:
    """Return the order under which an unlisted entry that says `a` and `d`, appended on `day`, is withheld.

    Raises `Tampered`: `withheld-no-order`, `order-signature`, `order-malformed`, `order-other`.
    """
    given = a.get(ORDER_MEMBER)
    if type(given) is not str:
        raise Tampered("withheld-no-order", "an entry is hidden from its person, and no order says why")
    try:
        note = from_base64(given, what="the order")
    except Invalid as error:
        raise Tampered("order-malformed", f"an order to withhold cannot be read: {error.message}") from error
    order = open_order(note, supervisor)
    if order.recipient != recipient_of(a, d):
        raise Tampered("order-other", f"an entry is withheld under order {order.id}, which is for another recipient")
    if not order.first <= day <= order.last:
        raise Tampered("order-other", f"an entry is withheld under order {order.id}, which was not in force that day")
    return order


def is_overdue(order: Order, day: date) -> bool:
    """Say whether what this order withholds has to be released by the end of `day`."""
    return day > order.last


def release(opening: Mapping[str, object]) -> FourParts:
    """Return the parts of the entry that releases the old one whose opening, of all parts, this is.

    Raises `Tampered` (`release-malformed`) when it shows less, `Invalid` (`part`) when it is too large for a part D.
    """
    carried = {name: opening.get(name) for name in ("origin", "index", "type", *LETTERS)}
    return _restated(_read_released(carried), carried)


@dataclass(frozen=True, slots=True)
class Released:
    """The old entry that a release carries. `leaf` is the 33 bytes that have to stand at `index` of `origin`."""

    origin: str
    index: int
    leaf: bytes
    parts: FourParts


def read_release(d: Members) -> Released | None:
    """Return what part D releases, None when the entry is no release; raise `Tampered` (`release-malformed`)."""
    carried = d.get(RELEASE_MEMBER)
    return None if carried is None else _read_released(carried)


def check_release(parts: FourParts, *, leaf: bytes) -> None:
    """Check the parts of a release against the leaf that stands where the old entry has its place.

    Raises `Tampered`: `release-changed` (what it carries is not what was committed), `release-other` (it says something
    else than the old entry: another person, recipient or delivery).
    """
    carried = read_part(parts.d).get(RELEASE_MEMBER)
    released = _read_released(carried)
    if released.leaf != leaf:
        message = f"what is released as entry {released.index} of {released.origin} is not what was committed then"
        raise Tampered("release-changed", message)
    if _restated(released, carried) != parts:
        message = f"the release of entry {released.index} of {released.origin} says something else than that entry"
        raise Tampered("release-other", message)


def unlisted_count(used: int, constant: int) -> int:
    """Return how many entries a day has unlisted when `used` are withheld: U, above it the next power of two."""
    return constant if used <= constant else 1 << (used - 1).bit_length()


def is_unlisted_count(count: int, constant: int) -> bool:
    """Say whether a day may have so many unlisted entries."""
    return count == constant or (count > constant and count & (count - 1) == 0)


def share_of(constant: int, position: int, shards: int) -> int:
    """Return a shard's share of U, by its position among the shards: the shares of all come to U."""
    return constant // shards + (position < constant % shards)


def are_unlisted_counts(counts: Sequence[int], constant: int) -> bool:
    """Say whether a day may have so many unlisted entries in its shards, or fewer.

    Shards pad on their own: one with more withheld entries than its share goes to a power of two above that.
    """
    total = sum(counts)
    shares = [share_of(constant, position, len(counts)) for position in range(len(counts))]
    own = all(count <= share or is_unlisted_count(count, share) for count, share in zip(counts, shares, strict=True))
    return total <= constant or own or is_unlisted_count(total, constant)


def _restated(released: Released, carried: object) -> FourParts:
    a, d = read_part(released.parts.a), read_part(released.parts.d)
    a.pop(ORDER_MEMBER, None)
    schema_a, schema_d = cast(str, a.pop("schema")), cast(str, d.pop("schema"))
    return released.parts._replace(a=part(schema_a, a), d=part(schema_d, {**d, RELEASE_MEMBER: carried}))


def _read_released(carried: object) -> Released:
    try:
        return _released(carried)
    except Invalid as error:
        message = f"a release does not carry an opening that can be read: {error.message}"
        raise Tampered("release-malformed", message) from error


def _released(carried: object) -> Released:
    if not isinstance(carried, Mapping):
        raise Invalid("release", "it is an object")
    opening = cast(Mapping[str, object], carried)
    if set(opening) != {"origin", "index", "type", *LETTERS}:
        raise Invalid("release", "it has the origin, index, type and all four parts, and nothing else")
    origin, index, entry_type = opening["origin"], opening["index"], opening["type"]
    if type(origin) is not str or type(index) is not int or entry_type != SUBJECT_ENTRY or not origin.isprintable():
        raise Invalid("release", "it says the origin and the index of an entry about a person")
    salted = {letter: _salted(opening[letter]) for letter in LETTERS}
    for letter in "ADS":
        if "schema" not in read_part(salted[letter][1]):
            raise Invalid("release", f"its part {letter} is not empty")
    hashes = b"".join(part_hash(letter, *salted[letter]) for letter in LETTERS)
    leaf = leaf_entry(SUBJECT_ENTRY, commitment(origin, SUBJECT_ENTRY, hashes))
    return Released(origin, index, leaf, FourParts(*(data for _, data in salted.values())))


def _salted(value: object) -> tuple[bytes, bytes]:
    if not isinstance(value, Mapping):
        raise Invalid("release", "a part is a salt and bytes")
    members = cast(Mapping[str, object], value)
    salt, data = members.get("salt"), members.get("bytes")
    if set(members) != {"salt", "bytes"} or type(salt) is not str or type(data) is not str:
        raise Invalid("release", "a part is a salt and bytes")
    decoded = from_base64(salt, what="a salt")
    if len(decoded) != SALT_SIZE:
        raise Invalid("release", f"a salt has {SALT_SIZE} bytes")
    return decoded, from_base64(data, what="the bytes of a part")


def _a_year_after(day: date) -> date:
    if (day.month, day.day) == (2, 29):
        return date(day.year + 1, 2, 28)
    return day.replace(year=day.year + 1)
