"""The checking cosigner: rebuilds the tries of each day, accounts for every entry, opens all that is unlisted.

For each day, in order, from the dossier that the operator hands over and the public files of all logs:

- each trie's root is the one in the day's leaf; each list is inside the day's ranges, ascending;
- each entry is listed under persons exactly once, or it is unlisted and opened: padding that says nothing, or withheld
  under an order of the supervisor that was in force; their number is U or a power of two above it. Fewer are told and
  are no lie: padding that a ledger owed when it stood still cannot be made up later;
- each entry but padding is listed under recipients exactly once, and padding never;
- each shard's root at the day's end is that of its public log, whose entries are all of type 0x01;
- the lists of a half-year are the union of its days' lists, person by person, less what was erased meanwhile: how many
  entries that is, is told, and the supervisor knows the orders;
- what is withheld is released, unchanged, by the end of the day after its order's last day.

What it cannot see: whether an entry stands under its own person's label (that takes a sample, `attribution`), and what
was never logged (that takes the recipients, `account`).
"""

from __future__ import annotations

import hmac
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from integrator_audit.completeness.dossier import PERIOD, PERSONS, RECIPIENTS, Dossier, Row
from integrator_audit.completeness.epoch import EpochLeaf, ShardRange
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.completeness.evidence import is_young
from integrator_audit.completeness.following import Follower
from integrator_audit.completeness.members import RETENTIONS
from integrator_audit.completeness.memory import Memory, Withheld
from integrator_audit.completeness.trie import check_places, pack_places, root_of
from integrator_audit.completeness.unlisted import (
    FourParts,
    are_unlisted_counts,
    check_padding,
    check_release,
    check_withheld,
    is_padding,
    read_release,
)
from integrator_audit.errors import Invalid, Tampered, Unavailable
from integrator_audit.halfyear import date_of, first_day, last_day, period_name
from integrator_audit.merkle import RightEdge, leaf_hash, root_from_inclusion
from integrator_audit.note import Verifier
from integrator_audit.opening import Recomputed
from integrator_audit.parts import LETTERS, SUBJECT_ENTRY

MAX_DAY: Final = 1 << 33
"""Entries of a day in a shard: two bits of memory for each."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the cosigner goes by: the key with which the supervisor signs orders, and the constant U."""

    supervisor: Verifier
    unlisted: int


class CheckedDay(NamedTuple):
    """What was accounted for on a day."""

    epoch: int
    listed: int
    padding: int
    withheld: int
    released: int
    short: bool = False
    """Whether the day has fewer unlisted entries than U."""
    erased: int = 0
    """On a half-year's last day: entries that its days list and it does not, because they were erased meanwhile."""


Logs = Mapping[str, Follower]
"""The followed logs, by their origins."""


def check_dossier(dossier: Dossier, epochs: EpochLog, *, logs: Logs, memory: Memory, rules: Rules) -> list[CheckedDay]:
    """Check the days that follow those in `memory`, and take them into it.

    When this returns, every day of the epoch log up to the dossier's last one was checked. Raises `Tampered` with the
    name of the lie, `Invalid` (`dossier-…`, `log-missing`) when something that is needed was not given; `memory` is of
    no use then.
    """
    header = dossier.header
    if header.origin != epochs.origin:
        raise Invalid("dossier-other", f"the dossier is about the epoch log {header.origin}, not {epochs.origin}")
    check_remembered(epochs, memory)
    first = max(memory.next_epoch, epochs.first)
    if header.first != first or header.last < first:
        message = f"the days to check begin with day {first}, the dossier is of {header.first} to {header.last}"
        raise Invalid("dossier-days", message)
    if header.last > epochs.newest:
        raise Invalid("dossier-days", "the dossier goes beyond the epoch log")
    checked: list[CheckedDay] = []
    for leaf in epochs.leaves[first : header.last + 1]:
        dossier.begin(leaf.epoch)
        checked.append(_Day(dossier, leaf, epochs, memory=memory, rules=rules).check(logs))
        memory.next_epoch = leaf.epoch + 1
    dossier.end()
    for follower in logs.values():
        follower.finish()
    memory.epochs_root = _root_of_days(epochs, memory.next_epoch)
    return checked


def check_remembered(epochs: EpochLog, memory: Memory) -> None:
    """Refuse an epoch log that does not extend the days that were checked before.

    Raises `Tampered`: `rollback` (it has fewer days), `fork` (it says something else of them).
    """
    if len(epochs.leaves) < memory.next_epoch:
        message = f"the epoch log has {len(epochs.leaves)} days, and had {memory.next_epoch} when it was cosigned"
        raise Tampered("rollback", message)
    if memory.epochs_root and memory.epochs_root != _root_of_days(epochs, memory.next_epoch):
        message = f"the epoch log says something else of its first {memory.next_epoch} days than when it was cosigned"
        raise Tampered("fork", message)


def _root_of_days(epochs: EpochLog, count: int) -> bytes:
    edge = RightEdge()
    edge.extend(leaf_hash(leaf.encode()) for leaf in epochs.leaves[:count])
    return edge.root()


class _Marks:
    """Which entries of a day were met: one bit each."""

    def __init__(self, shards: tuple[ShardRange, ...]) -> None:
        if any(item.count > MAX_DAY for item in shards):
            raise Invalid("dossier-days", f"a day of more than {MAX_DAY} entries in a shard cannot be checked here")
        self._start = {item.shard: item.start for item in shards}
        self._end = {item.shard: item.end for item in shards}
        self._bits = {item.shard: bytearray((item.count + 7) // 8) for item in shards}
        self.count = 0

    def has(self, shard: int, index: int) -> bool:
        """Say whether an entry was met."""
        at = index - self._start[shard]
        return bool(self._bits[shard][at >> 3] >> (at & 7) & 1)

    def within(self, shard: int, index: int) -> bool:
        """Say whether the day covers an entry."""
        return shard in self._bits and self._start[shard] <= index < self._end[shard]

    def mark(self, shard: int, index: int) -> None:
        """Meet an entry; raise `Tampered`: `list-outside`, `index-twice`."""
        if not self.within(shard, index):
            raise Tampered("list-outside", f"entry {index} of shard {shard} is listed on a day that it is not of")
        at = index - self._start[shard]
        bits, bit = self._bits[shard], 1 << (at & 7)
        if bits[at >> 3] & bit:
            raise Tampered("index-twice", f"entry {index} of shard {shard} is listed twice")
        bits[at >> 3] |= bit
        self.count += 1

    def first_missing(self) -> tuple[int, int]:
        """Return the first entry that was not met."""
        return next(
            (shard, index)
            for shard in self._bits
            for index in range(self._start[shard], self._end[shard])
            if not self.has(shard, index)
        )


class _Day:
    """One day under check."""

    def __init__(self, dossier: Dossier, leaf: EpochLeaf, epochs: EpochLog, *, memory: Memory, rules: Rules) -> None:
        self._dossier = dossier
        self._leaf = leaf
        self._epochs = epochs
        self._memory = memory
        self._rules = rules
        self._date = date_of(leaf.epoch)
        self._origins = {
            shard: name for (period, shard), name in dossier.header.shards.items() if period == leaf.period
        }
        self._unlisted = {item.shard: 0 for item in leaf.shards}

    def check(self, logs: Logs) -> CheckedDay:
        """Check the day, in the order in which the dossier tells it."""
        leaf, memory = self._leaf, self._memory
        self._check_logs(logs)
        # Only now is it known that the entries are there for which this takes memory.
        self._persons, self._recipients = _Marks(leaf.shards), _Marks(leaf.shards)
        if memory.period != leaf.period:
            memory.begin_period(leaf.period)
        self._root(PERSONS, self._person_rows(), leaf.persons_root)
        listed, erased = self._persons.count, 0
        self._root(RECIPIENTS, self._recipient_rows(), leaf.recipients_root)
        if leaf.epoch == last_day(leaf.period):
            self._root(PERIOD, self._period_rows(), leaf.period_root)
            erased = self._check_altered()
            if memory.period_sum:
                message = f"the lists of {period_name(leaf.period)} are not the union of its days' lists"
                raise Tampered("period-other", message)
        padding, withheld = self._check_unlisted()
        released = self._check_releases()
        self._check_counts(listed, padding + withheld, padding)
        overdue = memory.overdue(self._date)
        if overdue is not None:
            message = f"entry {overdue.number} of {overdue.origin} is withheld after the end of order {overdue.order}"
            raise Tampered("withheld-overdue", message)
        short = bool(leaf.covered) and padding + withheld < self._rules.unlisted
        return CheckedDay(leaf.epoch, listed, padding, withheld, released, short, erased)

    def _check_logs(self, logs: Logs) -> None:
        """Compare the roots that the leaf names with those of the public logs."""
        leaf, header = self._leaf, self._dossier.header
        # A shard without entries may not be a log yet; its root was compared with that of nothing.
        named = [(self._origins.get(item.shard), item.end, item.root_at_end) for item in leaf.shards if item.end]
        institution = header.institution.get(leaf.period)
        if institution is not None or leaf.inst_size:
            named.append((institution, leaf.inst_size, leaf.inst_root))
        for origin, size, root in named:
            follower = None if origin is None else logs.get(origin)
            if origin is None or follower is None:
                message = (
                    f"the public files of {origin or 'a log'} are needed to check {self._date}, and were not given"
                )
                raise Invalid("log-missing", message)
            if follower.root_at(size) != root:
                message = f"the public log {origin} has another root at size {size} than {self._date} names"
                raise Tampered("shard-root", message)

    def _root(self, trie: str, rows: Iterator[tuple[bytes, bytes]], expected: bytes) -> None:
        try:
            root = root_of(rows)
        except Invalid as error:
            raise Tampered("trie-order", f"the {trie} of {self._date} in the dossier: {error.message}") from error
        if root != expected:
            message = f"the {trie} that are listed in the dossier for {self._date} are not those of the epoch log"
            raise Tampered("trie-root", message)

    def _person_rows(self) -> Iterator[tuple[bytes, bytes]]:
        for row in self._dossier.rows(PERSONS):
            places = self._marked(row, self._persons)
            self._memory.add(self._digest(self._leaf.epoch, places))
            yield row.label, row.content

    def _recipient_rows(self) -> Iterator[tuple[bytes, bytes]]:
        for row in self._dossier.rows(RECIPIENTS):
            self._check_whole(row)
            # A recipient's list may be as long as the day: it is not kept.
            for piece in row.pieces:
                for shard, index in piece:
                    self._recipients.mark(shard, index)
            yield row.label, row.content

    def _period_rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Take the half-year's lists apart by days: each part has to be the list of one label of that day."""
        first = first_day(self._leaf.period)
        leaves = self._epochs.leaves[first : self._leaf.epoch + 1]
        ends = {item.shard: [leaf.shards[at].end for leaf in leaves] for at, item in enumerate(self._leaf.shards)}
        for row in self._dossier.rows(PERIOD):
            self._check_whole(row)
            by_day: dict[int, list[tuple[int, int]]] = {}
            for piece in row.pieces:
                for shard, index in piece:
                    if shard not in ends or index >= ends[shard][-1]:
                        raise Tampered("list-outside", f"a half-year lists entry {index} of shard {shard}: not its own")
                    by_day.setdefault(first + bisect_right(ends[shard], index), []).append((shard, index))
            for epoch, places in by_day.items():
                self._memory.add(-self._digest(epoch, places))
            yield row.label, row.content

    def _check_altered(self) -> int:
        """Take lists as they were out of the half-year's sum, and as they are into it; return how many entries went."""
        erased, first = 0, first_day(self._leaf.period)
        for epoch, was, left in self._dossier.altered():
            if not first <= epoch <= self._leaf.epoch:
                raise Tampered(
                    "altered-wrong", f"a list that lost entries is said to be of day {epoch}: not of this half"
                )
            try:
                check_places(was)
            except Invalid as error:
                message = f"a list of {date_of(epoch)} that lost entries was none: {error.message}"
                raise Tampered("altered-wrong", message) from error
            rest = iter(was)
            # In this order: each place that is left is found in what follows the one before.
            if len(left) == len(was) or not all(place in rest for place in left):
                raise Tampered("altered-wrong", f"a list of {date_of(epoch)} lost entries, and has others instead")
            self._memory.add(-self._digest(epoch, was))
            if left:
                self._memory.add(self._digest(epoch, left))
            erased += len(was) - len(left)
        return erased

    def _check_whole(self, row: Row) -> None:
        """Refuse a row whose list was erased: what it listed cannot be accounted for."""
        if row.ground is None:
            return
        if is_young(row.ground, self._leaf.period, RETENTIONS, today=date_of(self._epochs.newest)):
            message = f"a list of {self._date} is said to be erased for its age, and is younger than that"
            raise Tampered("erased-young", message)
        message = f"a list of {self._date} was erased before the checking cosigner saw it: that day is past checking"
        raise Unavailable("dossier-erased", message)

    def _marked(self, row: Row, marks: _Marks) -> list[tuple[int, int]]:
        self._check_whole(row)
        places: list[tuple[int, int]] = []
        for piece in row.pieces:
            for shard, index in piece:
                marks.mark(shard, index)
            places += piece
        return places

    def _digest(self, epoch: int, places: list[tuple[int, int]]) -> int:
        """Return a keyed hash of one list of a day.

        Sums of these, modulo 2^256, are equal when the lists are: who does not know the key finds no other set of lists
        with the same sum (Clarke et al., "Incremental multiset hash functions", MSet-Add-Hash).
        """
        message = epoch.to_bytes(4, "big") + pack_places(places)
        return int.from_bytes(hmac.digest(self._memory.period_key, message, "sha256"), "big")

    def _check_unlisted(self) -> tuple[int, int]:
        """Open all that is unlisted; return how many are padding and how many withheld."""
        padding = withheld = 0
        for opening in self._dossier.openings("unlisted"):
            shard = self._opened(opening)
            # It raises `index-twice` for what is listed under a person as well.
            self._persons.mark(shard, opening.index)
            self._unlisted[shard] += 1
            named = self._recipients.has(shard, opening.index)
            if is_padding(opening.parts["A"]):
                padding += 1
                check_padding(opening.stored)
                if named:
                    raise Tampered("padding-listed", f"padding in {opening.origin} is listed under a recipient")
            else:
                withheld += 1
                a, d = opening.parts["A"], opening.parts["D"]
                order = check_withheld(a, d, supervisor=self._rules.supervisor, day=self._date)
                self._memory.withhold(Withheld(opening.origin, opening.index, opening.leaf, order.id, order.last))
        return padding, withheld

    def _check_releases(self) -> int:
        released = 0
        for opening in self._dossier.openings("release"):
            self._opened(opening)
            old = read_release(opening.parts["D"])
            if old is None:
                message = f"entry {opening.index} of {opening.origin} is called a release and releases nothing"
                raise Tampered("release-malformed", message)
            withheld = self._memory.withheld.get((old.origin, old.index))
            if withheld is None:
                message = f"entry {old.index} of {old.origin} is released, and is not withheld (any more)"
                raise Tampered("release-unknown", message)
            parts = FourParts(*(opening.stored[letter] for letter in LETTERS))
            # After this it states no order, so `check_withheld` lets nobody hide it: it is listed under its person.
            check_release(parts, leaf=withheld.leaf)
            self._memory.release(withheld)
            released += 1
        return released

    def _opened(self, opening: Recomputed) -> int:
        """Return the shard of an opening of all four parts after checking its place; raise `Tampered`."""
        where = f"entry {opening.index} of the opened ones of {self._date}"
        shard = next((shard for shard, origin in self._origins.items() if origin == opening.origin), None)
        item = None if shard is None else self._leaf.range_of(shard)
        if shard is None or item is None or not item.start <= opening.index < item.end:
            raise Tampered("entry-not-listed", f"{where} is not of that day")
        if opening.type != SUBJECT_ENTRY:
            raise Tampered("entry-type", f"{where} is not of the type of entries about a person")
        if set(opening.stored) != set(LETTERS):
            raise Tampered("entry-parts", f"{where} is not opened in all four parts")
        root = root_from_inclusion(leaf_hash(opening.leaf), opening.index, item.end, opening.receipt.hashes)
        if root != item.root_at_end:
            raise Tampered("entry-root", f"{where} is not what is opened")
        return shard

    def _check_counts(self, listed: int, unlisted: int, padding: int) -> None:
        leaf = self._leaf
        if self._persons.count != leaf.covered:
            shard, index = self._persons.first_missing()
            message = f"entry {index} of shard {shard}, {self._date}, is neither listed under a person nor opened"
            raise Tampered("index-left-out", message)
        if (listed, unlisted) != (leaf.listed, leaf.unlisted):
            message = f"{self._date} says {leaf.listed} listed and {leaf.unlisted} unlisted entries, and has others"
            raise Tampered("count-wrong", message)
        if not are_unlisted_counts(list(self._unlisted.values()), self._rules.unlisted):
            message = f"{self._date} has {unlisted} unlisted entries: neither {self._rules.unlisted} nor a power of two"
            raise Tampered("unlisted-count", message)
        if self._recipients.count != leaf.covered - padding:
            message = (
                f"on {self._date}, {leaf.covered - padding} entries have recipients, who list {self._recipients.count}"
            )
            raise Tampered("recipient-left-out", message)
