"""Seal a day: where it ends in every log, who is listed under which label, one leaf of the epoch log for all of it.

A sealing goes: the cut → label keys durable in the vault → pages of the tries durable in the index → the day's leaf
durable there → the epoch log takes the leaf: the commit point.

| crash or failure                       | on disk                         | recovery                                 |
|----------------------------------------|---------------------------------|------------------------------------------|
| before the leaf is in the index        | pages of a day without a leaf   | the next sealing forgets and rebuilds it |
| before the epoch log has it            | the index is one day ahead      | the next sealing appends that leaf       |
| the epoch log failed, not persisted    | the same                        | open both anew; the same                 |
| the epoch log failed, yet persisted    | both have the day               | open both anew: it is sealed             |
| after                                  | both have the day               | it is sealed                             |

- A day takes what its logs had when it ended, whenever it is sealed: days that were missed are sealed one after the
  other, each with its own cut. A half-year's last day takes its closed logs to their ends.
- A rebuilt day has other salts; nothing of the former attempt was shown to anybody. Once its leaf is in the index a day
  is not rebuilt: some of its entries may have been erased since.
- Memory does not grow with the day: what must be sorted goes through `integrator_audit.completeness.sorting`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from integrator_audit.completeness.beginning import first_leaves
from integrator_audit.completeness.epoch import (
    EpochLeaf,
    ShardRange,
    check_sequence,
)
from integrator_audit.completeness.index import Altered, Cut, IndexStore, Shape, Trie
from integrator_audit.completeness.labels import LabelKey
from integrator_audit.completeness.listing import LabelService, altered_lists, list_persons, list_recipients
from integrator_audit.completeness.pages import PLACE_SIZE
from integrator_audit.completeness.recipients import RecipientSecrets
from integrator_audit.completeness.trie import EMPTY
from integrator_audit.errors import Busy, Refused, Tampered, Unavailable
from integrator_audit.findings import Progress, no_progress
from integrator_audit.halfyear import day_of, first_day, last_day, period_name, period_of, start_of
from integrator_audit.keystore import KeyStore
from integrator_audit.merkle import EMPTY_ROOT, RightEdge
from integrator_audit.rawlog import RawLog
from integrator_audit.store import Head, Reading, consumed_digest
from integrator_audit.tiles import Tiles, subtree_reader

SETTLING_MS: Final = 60_000
"""How long a day's last commit may take: a day is not sealed before that time after its end."""
MAX_BEHIND_MS: Final = 1_000
"""By how much the clock may be behind the last sealing, which is then counted on by a millisecond."""


@dataclass(frozen=True, slots=True)
class PeriodLogs:
    """The logs of one half-year, their owner's to close: shards by number, None where a log was not made yet."""

    shards: Mapping[int, Reading | None]
    institution: Reading | None


@dataclass(frozen=True, slots=True)
class Secrets:
    """From where labels get their keys: the vault keeps those of persons, which the service makes.

    `spill` is a directory for what is too much to sort in memory, by default the system's for temporary files.
    """

    vault: KeyStore
    service: LabelService
    recipients: RecipientSecrets
    spill: Path | None = None


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where a day lies in its shards, and the institution log's head at its end."""

    ranges: tuple[ShardRange, ...]
    consumed: bytes
    institution: Head
    notes: tuple[Cut, ...]


@dataclass(frozen=True, slots=True)
class _Built:
    """A day whose pages are in the index, and what has to be kept beside its leaf."""

    leaf: EpochLeaf
    notes: tuple[Cut, ...]
    shapes: Mapping[Trie, Shape]
    altered: Sequence[Altered]


class Sealer:
    """The one writer of an epoch log and its index. Not safe to share between threads."""

    def __init__(
        self,
        epochs: RawLog,
        index: IndexStore,
        *,
        logs: Callable[[int], PeriodLogs],
        secrets: Secrets,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Take over an epoch log and the index beside it; `logs` gives the logs of a period by its number.

        Open the index before the epoch log: it has the lock, and a day that another process sealed in between would be
        taken for one that was never finished.

        `clock` gives milliseconds since 1970.

        Raises `Refused` (`index-behind`, `index-other`) when the index is not this epoch log's: it holds what nothing
        else could give back, so restore the one that belongs to it.
        """
        self._epochs = epochs
        self._index = index
        self._logs = logs
        self._secrets = secrets
        self._clock = clock
        self._unknown_outcome = False
        # Fingerprints of keys whose shape was checked, which takes a while.
        self._label_keys: dict[bytes, bytes] = {}
        if epochs.size:
            newest, last = index.newest(), epochs.size - 1
            if newest is None or newest < last:
                message = (
                    f"the epoch log has the days up to {last} and its index only up to {newest}; restore the index"
                )
                raise Refused("index-behind", message)
            if index.leaf(last) != epochs.leaf(last):
                message = f"the index has another leaf for day {last} than the epoch log {epochs.origin}"
                raise Refused("index-other", message)

    def begin(self) -> int:
        """Give a new epoch log the leaves of all days before today, which is its first; return today.

        The days of this half-year are there, without entries: what the shards hold already is of the first day sealed.
        Nothing happens when the log has begun.
        """
        self._check_outcome()
        now = self._clock()
        today = day_of(now)
        if self._epochs.size:
            return self._epochs.size
        period = period_of(today)
        leaves = first_leaves(now, shards=self._logs(period).shards, label_key=self._label_key(period))
        self._index.begin(0)
        self._index.fill(0, leaves)
        self._append(leaves, now)
        return today

    def due(self) -> range:
        """Return the days that are over and not sealed, oldest first; before `begin` there are none."""
        newest = day_of(self._clock() - SETTLING_MS) - 1
        return range(self._epochs.size, newest + 1) if self._epochs.size else range(0)

    def seal_due(self, progress: Progress = no_progress) -> list[EpochLeaf]:
        """Seal every day that is over and was not sealed, one after the other."""
        return [self.seal(epoch, progress) for epoch in self.due()]

    def seal(self, epoch: int, progress: Progress = no_progress) -> EpochLeaf:
        """Seal the next day of the epoch log; when this returns, it is final.

        Raises `Refused` (`epoch-not-next`, `epoch-clock-back`, `label-…`), `Busy` (`epoch-not-over`,
        `epoch-log-open`: the half-year's logs are not closed) and `Tampered` when a log, or what was sealed, does not
        fit together: `epoch-shard-behind`, `epoch-recounted`, and the codes of `check_sequence`. Then nothing is
        sealed.
        """
        self._check_outcome()
        now = self._clock()
        if epoch != self._epochs.size or not epoch:
            message = f"day {epoch} is not the next of {self._epochs.origin}, which has {self._epochs.size} days"
            raise Refused("epoch-not-next", message)
        ready = start_of(epoch + 1) + SETTLING_MS
        if now < ready:
            raise Busy("epoch-not-over", f"day {epoch} is not over", retry_after=(ready - now) / 1000)
        previous = EpochLeaf.parse(self._epochs.leaf(epoch - 1))
        if previous.sealed_at > now + MAX_BEHIND_MS:
            behind = (previous.sealed_at - now) / 1000
            message = f"the clock is {behind:.0f} seconds behind the sealing of day {epoch - 1}; set it right"
            raise Refused("epoch-clock-back", message)
        finished = self._index.leaf(epoch)
        if finished is not None:
            leaf = EpochLeaf.parse(finished)
            check_sequence(previous, leaf, epoch)
            self._append([finished], now)
            return leaf
        built = self._build(epoch, previous, progress)
        leaf, data = built.leaf, built.leaf.encode()
        check_sequence(previous, leaf, epoch)
        self._index.finish(epoch, data, shapes=built.shapes, cuts=built.notes, altered=built.altered)
        self._append([data], leaf.sealed_at)
        return leaf

    def _append(self, leaves: Sequence[bytes], now: int) -> None:
        """Come to the commit point. After a failure the day may be final: its pages must not be forgotten."""
        self._unknown_outcome = True
        self._epochs.append_leaves(leaves, now_ms=now)
        self._unknown_outcome = False

    def _check_outcome(self) -> None:
        if self._unknown_outcome:
            message = (
                "whether the last day was sealed is unknown; close the epoch log and its index and open them again"
            )
            raise Unavailable("epoch-outcome-unknown", message)

    def _build(self, epoch: int, previous: EpochLeaf, progress: Progress) -> _Built:
        period = period_of(epoch)
        logs = self._logs(period)
        label_key = self._label_key(period)
        if previous.period == period and previous.label_key != label_key:
            message = f"the label key of {period_name(period)} is another one than on the day before; give that key"
            raise Refused("label-key-changed", message)
        cut = self._cut(epoch, logs, previous)
        self._index.begin(epoch)
        day = [(logs.shards[item.shard], item) for item in cut.ranges]
        covered = sum(item.count for item in cut.ranges)
        persons = list_persons(self._index, epoch, Trie.PERSONS, ranges=day, secrets=self._secrets, progress=progress)
        recipients = list_recipients(self._index, epoch, ranges=day, secrets=self._secrets.recipients)
        unlisted = sum(len(log.unlisted_between(item.start, item.end)) for log, item in day if log is not None)
        # What is on no list, or on two, must not be signed away.
        if persons.places + unlisted != covered or recipients.places > covered:
            message = (
                f"day {epoch} covers {covered} entries; under persons are listed {persons.places}, under recipients "
                f"{recipients.places}, and {unlisted} are unlisted. Run fsck on the shards"
            )
            raise Tampered("epoch-recounted", message)
        listings, altered = [persons, recipients], list[Altered]()
        period_root = EMPTY
        if epoch == last_day(period):
            whole = [(log, ShardRange(item.shard, 0, item.end, item.root_at_end)) for log, item in day]
            closing = list_persons(
                self._index,
                epoch,
                Trie.PERIOD,
                ranges=whole,
                secrets=self._secrets,
                progress=progress,
            )
            days = [EpochLeaf.parse(data) for data in self._epochs.leaves(first_day(period), epoch)]
            altered = altered_lists(self._index, days, whole)
            on_days = persons.places + sum(leaf.listed for leaf in days)
            lost = sum(len(one.was) - len(one.left) for one in (*altered, *self._index.altered(period))) // PLACE_SIZE
            if closing.places != on_days - lost:
                message = (
                    f"the days of {period_name(period)} list {on_days} entries, of which {lost} were erased, and the "
                    f"half-year lists {closing.places}. Run fsck on the shards"
                )
                raise Tampered("epoch-recounted", message)
            listings.append(closing)
            period_root = closing.root
        sealed_at = max(self._clock(), previous.sealed_at + 1)
        leaf = EpochLeaf(
            epoch,
            period,
            sealed_at,
            label_key,
            cut.consumed,
            cut.institution.size,
            cut.institution.root,
            cut.ranges,
            persons.places,
            unlisted,
            persons.root,
            recipients.root,
            period_root,
        )
        return _Built(leaf, cut.notes, {listing.trie: listing.shape for listing in listings}, altered)

    def _cut(self, epoch: int, logs: PeriodLogs, previous: EpochLeaf) -> _Cut:
        closing = epoch == last_day(period_of(epoch))
        ranges: list[ShardRange] = []
        notes: list[Cut] = []
        consumed: list[tuple[int, bytes]] = []
        for shard, log in sorted(logs.shards.items()):
            head = _head_at(log, epoch, closing=closing, name=f"shard {shard}")
            before = previous.range_of(shard) if previous.period == period_of(epoch) else None
            start = 0 if before is None else before.end
            if before is not None:
                _check_continues(log, head, (start, before.root_at_end), what=f"shard {shard}", epoch=epoch)
            ranges.append(ShardRange(shard, start, head.size, head.root))
            consumed.append((shard, head.consumed))
            identity = None if log is None else log.identity()
            if identity is not None and head.size:
                notes.append(Cut(shard, identity.origin, head.size, head.note))
        institution = _head_at(logs.institution, epoch, closing=closing, name="the institution log")
        if previous.period == period_of(epoch):
            then = (previous.inst_size, previous.inst_root)
            _check_continues(logs.institution, institution, then, what="the institution log", epoch=epoch)
        return _Cut(tuple(ranges), _consumed(consumed), institution, tuple(notes))

    def _label_key(self, period: int) -> bytes:
        spki = self._secrets.service.spki(period)
        if spki not in self._label_keys:
            self._label_keys[spki] = LabelKey.read(spki).fingerprint
        return self._label_keys[spki]


def _head_at(log: Reading | None, epoch: int, *, closing: bool, name: str) -> Head:
    """Return a log's head at the end of a day; on its half-year's last day, the end of the closed log."""
    empty = Head(0, EMPTY_ROOT, b"", consumed_digest({}), 0)
    if log is None:
        return empty
    with log.snapshot():
        if closing:
            if not log.is_closed():
                message = f"{name} is not closed, and day {epoch} is the last of its half-year: freeze it first"
                raise Busy("epoch-log-open", message)
            return log.head() or empty
        return log.last_before(start_of(epoch + 1)) or empty


def _check_continues(log: Reading | None, head: Head, then: tuple[int, bytes], *, what: str, epoch: int) -> None:
    """Raise `Tampered` (`epoch-shard-behind`) unless a log goes on from its size and root of the day before."""
    size, root = then
    tile: Tiles = (lambda _level, _index: None) if log is None else log.tile
    if head.size < size or RightEdge.load(size, subtree_reader(tile)).root() != root:
        message = (
            f"{what} does not have the {size} entries any more with which day {epoch - 1} was sealed: its store is an "
            "older backup or another log. Do not go on with it"
        )
        raise Tampered("epoch-shard-behind", message)


def _consumed(shards: list[tuple[int, bytes]]) -> bytes:
    """Return the digest of what one shard's sources were consumed to; with several, one over each shard's (ADR 14)."""
    if len(shards) == 1:
        return shards[0][1]
    return sha256(b"".join(shard.to_bytes(2, "big") + digest for shard, digest in shards)).digest()
