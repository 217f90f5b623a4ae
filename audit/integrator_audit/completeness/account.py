"""The account of a recipient: everything that is listed under it, entry by entry, to be compared with what it received.

JSON lines (usually gzip), each a strict JSON object; bytes in base64:

    {"schema": "dienstenintegrator/account/v1", "recipient", "epochs": {"origin", "first", "last"},
     "shards": [{"period", "shard", "origin"}]}
    then for each day that has shards, in order:
    {"day": epoch, "siblings": […], "end": {"leaf": {"salt", "m"}}}      siblings from the end up to the trie's root
    or another "end": {"empty": true}, {"other": {"label", "hL"}}, {"erased": {"hL", "ground"}}
    and after a leaf its m entries, ascending by shard and index:
    {"entry": opening of A and D}
    {"erased": {"ground", "opening": opening of A}}                      where all but part A was erased

- A day's list is nowhere but in its entries: their places, with salt and m, are the hash in the trie, so none can be
  left out, added or repeated. The openings' proofs are at the size that their shard had at the end of the day.
- Neither side needs the other's goodwill: the list is whole by the day's trie, each listed entry is opened with A and
  D, and the recipient's own file says topic, partition, lane, sequence and SHA-256 of the value of each delivery.
- Differences do not end the check: each is a finding with its place, because the recipient has to see all of them.
- Deliveries around midnight may be entered on the next day. Where times are known (`at`), what was delivered before the
  first day or in the last minutes of the last one is not missed.
- Memory does not grow with the entries: what has to be compared is sorted outside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from integrator_audit.checkpoint import LogKeys
from integrator_audit.completeness.doubleentry import HELD, Comparison, Received
from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.completeness.evidence import (
    DayOrder,
    EntryCheck,
    EntryPlace,
    Erased,
    VerifiedEntry,
    check_asked,
    check_unlisted_end,
    place_of,
    read_end,
    read_ground,
    read_shards,
    repeated,
)
from integrator_audit.completeness.fields import Fields
from integrator_audit.completeness.labels import DAY, label_of
from integrator_audit.completeness.lines import Lines
from integrator_audit.completeness.members import delivery_of, recipient_of
from integrator_audit.completeness.sorting import Sorter
from integrator_audit.completeness.trie import (
    HASH_SIZE,
    INDEX_PREFIX,
    MAX_PLACES,
    Leaf,
    pack_places,
    verify_inclusion,
)
from integrator_audit.completeness.unlisted import RELEASE_MEMBER
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.findings import Finding
from integrator_audit.halfyear import date_of, start_of
from integrator_audit.opening import Recomputed, recompute
from integrator_audit.strictjson import read_object

SCHEMA: Final = "dienstenintegrator/account/v1"
GRACE_MS: Final = 300_000
"""How long after a delivery its entry may come: lanes stop when the ledger is a minute behind."""

_MAX_RECEIVED: Final = 1 << 16
_WHERE: Final = Struct(">HHQ")


class _List(NamedTuple):
    """An end that lists: salt, and how many entries follow."""

    salt: bytes
    entries: int


class _Day(NamedTuple):
    epoch: int
    siblings: tuple[bytes, ...]
    end: _List | Erased | Leaf | None


class AccountDocument:
    """An account as it was handed over: read once, from its first line to its last, and not believed."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Read the first line; raise `Tampered` (`document-malformed`, `shard-…`) when it is not of its form."""
        self._lines = Lines(lines, what="the account", code="account-order")
        fields = self._lines.take()
        if fields.text("schema") != SCHEMA:
            raise fields.error(f"is not of the schema {SCHEMA}")
        self.recipient = fields.text("recipient")
        self.shards = read_shards(fields)
        epochs = fields.object("epochs")
        fields.end()
        self.origin, self.first, self.last = epochs.text("origin"), epochs.number("first"), epochs.number("last")
        epochs.end()

    def days(self) -> Iterator[_Day]:
        """Yield the answers; the entries of each have to be used up before the next."""
        while (fields := self._lines.peek()) is not None:
            if not fields.has("day"):
                if fields.has("entry") or fields.has("erased"):
                    raise Tampered("entry-not-listed", "the account opens more entries than the list of their day has")
                raise fields.error("is neither a day nor an entry")
            self._lines.take()
            siblings = fields.hashes("siblings", size=HASH_SIZE)
            day = _Day(fields.number("day"), siblings, read_end(fields.object("end"), _list))
            fields.end()
            yield day

    def entries(self, day: _Day, count: int) -> Iterator[tuple[Recomputed, str | None]]:
        """Yield the entries of a day, recomputed and not believed, and why all but part A was erased, or None."""
        for done in range(count):
            fields = self._lines.peek()
            if fields is None or not (fields.has("entry") or fields.has("erased")):
                message = f"the list of {date_of(day.epoch)} has {count} entries, and {done} of them are opened"
                raise Tampered("entry-not-opened", message)
            self._lines.take()
            if fields.has("entry"):
                opening, ground = fields.mapping("entry"), None
            else:
                inner = fields.object("erased")
                opening, ground = inner.mapping("opening"), read_ground(inner)
                inner.end()
            fields.end()
            yield recompute(opening), ground


@dataclass(frozen=True, slots=True)
class AskedAccount:
    """What a recipient asks: everything under its 32-byte secret, seen from the day `today`.

    `today`, `first` and `last` are numbers of days; without the latter two all days of the log are asked for. With
    `keys`, of shards by origin, the checkpoints of these shards must be signed by them. What is too much for memory
    goes encrypted to a nameless file in `spill`, by default in the system's place for temporary files.
    """

    secret: bytes = field(repr=False)
    today: int
    first: int | None = None
    last: int | None = None
    keys: Mapping[str, LogKeys] = field(default_factory=dict[str, LogKeys])
    spill: Path | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What the comparison gave. `listed` are the entries of each day (its number), `received` the deliveries compared.

    `erased` entries can no longer be compared; so `uncompared` deliveries may be what they were about, or were never
    logged. `outside` deliveries were not of these days.
    """

    recipient: str
    listed: Mapping[int, int]
    received: int
    outside: int
    erased: int
    uncompared: int
    findings: tuple[Finding, ...]
    left_out: int


def read_received(lines: Iterable[bytes]) -> Iterable[Received]:
    """Yield the deliveries in a recipient's file, a JSON object on each line; raise `Invalid` (`received-line`)."""
    for at, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            members = read_object(line, what="it", limit=_MAX_RECEIVED)
            yield _received(Fields(members, "it"), members)
        except (Invalid, Tampered) as error:
            raise Invalid("received-line", f"line {at} of what was received: {error.message}") from error


def verify_account(
    document: AccountDocument, epochs: EpochLog, received: Iterable[Received], asked: AskedAccount
) -> Account:
    """Check an account and compare it with what was received; reads both to their ends, the account first.

    Raises `Tampered` with the name of the lie when the document does not hold: `document-malformed`, `opening-…`,
    `account-other-log`, `day-missing`, `day-twice`, `day-unknown`, `trie-proof…`, `list-order`, `list-outside`,
    `entry-not-opened` or `entry-not-listed` (fewer or more entries than the list has), `entry-repeated`, what
    `EntryCheck` raises, `recipient-other` (an entry of somebody else in the list), `part-members`; `Invalid`
    (`no-days`). Findings are those of `Comparison.compare`.
    """
    if document.origin != epochs.origin:
        message = f"the document is about the epoch log {document.origin}, the key is that of {epochs.origin}"
        raise Tampered("account-other-log", message)
    first = epochs.first if asked.first is None else max(asked.first, epochs.first)
    last = epochs.newest if asked.last is None else asked.last
    check_asked(first, last, newest=epochs.newest)
    start = None if first == epochs.first else start_of(first)
    with (
        closing(Comparison(start, start_of(last + 1) - GRACE_MS, spill=asked.spill)) as comparison,
        closing(Sorter(directory=asked.spill, held=HELD)) as commitments,
    ):
        reading = _Reading(document, asked, commitments)
        order = DayOrder(epochs.leaves, asked=(first, last), given=(document.first, document.last))
        listed: dict[int, int] = {}
        for day in document.days():
            leaf = order.leaf(day.epoch)
            order.meet(day.epoch, start=day.epoch)
            listed[day.epoch] = 0
            for entry in reading.day(day, leaf):
                listed[day.epoch] += 1
                _add_listed(comparison, entry, start)
        order.end()
        reading.end()
        for item in received:
            comparison.add_received(item)
        found, left_out = comparison.compare(reading.erased + reading.erased_lists)
    counts = comparison.received, comparison.outside, reading.erased, comparison.uncompared
    return Account(document.recipient, listed, *counts, found, left_out)


class _Reading:
    """Reads an account day by day, and believes an entry for good when the day and the whole have come to their ends.

    `erased` counts the entries, `erased_lists` the lists of which there is no more than a hash.
    """

    def __init__(self, document: AccountDocument, asked: AskedAccount, commitments: Sorter) -> None:
        self.erased = 0
        self.erased_lists = 0
        self._document = document
        self._secret = asked.secret
        self._today = date_of(asked.today)
        self._check = EntryCheck("AD", today=self._today, keys=asked.keys)
        self._periods = {where: origin for origin, where in document.shards.items()}
        self._commitments = commitments

    def day(self, day: _Day, leaf: EpochLeaf) -> Iterator[VerifiedEntry]:
        """Yield the listed entries of a day; they are all that are listed when this comes to its end."""
        label = label_of(self._secret, DAY, leaf.epoch)
        if not isinstance(day.end, _List):
            check_unlisted_end(day.end, label, day.siblings, leaf, root=leaf.recipients_root, today=self._today)
            self.erased_lists += isinstance(day.end, Erased)
            return
        salt, count = day.end
        content = sha256(INDEX_PREFIX + salt + count.to_bytes(4, "big"))
        former = (-1, -1)
        for opening, ground in self._document.entries(day, count):
            place = place_of(opening, self._document.shards)
            self._check_place(place, leaf, former)
            former = place.shard, place.number
            content.update(pack_places([former]))
            yield self._entry(opening, place, leaf, ground=ground)
        verify_inclusion(Leaf(label, content.digest()), day.siblings, root=leaf.recipients_root)

    def end(self) -> None:
        """See that no entry is the copy of another; raise `Tampered` (`entry-repeated`)."""
        former = b""
        for batch in self._commitments.sorted():
            for item in batch:
                if item[:HASH_SIZE] == former:
                    period, shard, number = _WHERE.unpack(item[HASH_SIZE:])
                    raise repeated(number, self._periods[period, shard])
                former = item[:HASH_SIZE]

    def _entry(self, opening: Recomputed, place: EntryPlace, leaf: EpochLeaf, *, ground: str | None) -> VerifiedEntry:
        entry = self._check.entry(opening, place, leaf, ground=ground)
        # The first byte is the type, which all have in common: the sorter divides by the first bytes.
        self._commitments.extend([opening.leaf[1:] + _WHERE.pack(*place)])
        if ground is not None:
            self.erased += 1
        elif recipient_of(entry.parts["A"], entry.parts["D"]) != self._document.recipient:
            recipient = self._document.recipient
            message = f"entry {entry.place.number} of {entry.origin} is listed under {recipient}, not its own"
            raise Tampered("recipient-other", message)
        return entry

    def _check_place(self, place: EntryPlace, leaf: EpochLeaf, former: tuple[int, int]) -> None:
        when, (period, shard, number) = date_of(leaf.epoch), place
        item = leaf.range_of(shard)
        # SPEC ledger §5: "m ≥ 1, strictly ascending, inside the ranges"
        if period != leaf.period or item is None or not item.start <= number < item.end:
            message = f"the list of {when} names entry {number} of shard {shard}: not of that day"
            raise Tampered("list-outside", message)
        if (shard, number) <= former:
            message = f"the entries in the list of {when} are not in strictly ascending order"
            raise Tampered("list-order", message)


def _add_listed(comparison: Comparison, entry: VerifiedEntry, start: int | None) -> None:
    if entry.erased is not None or RELEASE_MEMBER in (said := entry.parts["D"]):
        return
    at = _milliseconds(said.get("at"))
    # Earlier than that no entry comes so late: an invented delivery could say any time.
    early = start is not None and at is not None and start - GRACE_MS <= at < start
    comparison.add_listed(delivery_of(said), early=early)


def _list(fields: Fields) -> _List:
    salt, count = fields.data("salt", size=HASH_SIZE), fields.number("m")
    if not 0 < count <= MAX_PLACES:
        raise fields.error(f"has a list of no entries, or of more than {MAX_PLACES}")
    return _List(salt, count)


def _received(fields: Fields, members: Mapping[str, object]) -> Received:
    for name in ("topic", "partition", "lane", "sequence", "valueSha256"):
        fields.value(name)
    at = fields.text("at") if fields.has("at") else None
    persons = fields.number("persons") if fields.has("persons") else None
    fields.end()
    milliseconds = _milliseconds(at)
    if at is not None and milliseconds is None:
        raise fields.error("has an at that is no moment in UTC such as 2026-08-01T12:00:00.000Z")
    return Received(delivery_of(members), milliseconds, persons)


def _milliseconds(at: object) -> int | None:
    """Return a moment of RFC 3339 in ms since 1970, None when it is none."""
    if type(at) is not str or not at.endswith("Z"):
        return None
    try:
        return int(datetime.fromisoformat(at).timestamp() * 1000)
    except ValueError:
        return None
