"""Erase entries: their keys, bodies, index rows and lists go; hashes, part A and every other proof stay.

By order, in one transaction of the log: the person's key destroyed, or entries that stay sealed under a newer one →
keys of actors destroyed → bodies and the person's index rows erased; then an older key that entries were sealed anew
from is destroyed. By retention the same for some entries at a time, and the keys of the whole class at the end. Then
the lists under the persons' labels are erased, and their label keys destroyed; the register is brought up to what the
logs say. It is complete when the generation of keys has changed (`finish`).

| crash                             | on disk                               | recovery                               |
|-----------------------------------|---------------------------------------|----------------------------------------|
| after a key is destroyed          | bodies or actors that nobody opens    | the next run erases the rest           |
| after the log's transaction       | erased entries, not in the register   | the next run notes them too            |
|                                   | a person's older key beside a newer   | the next run destroys it               |
| before the lists are erased       | erased entries, still listed by place | the next run goes over all lists again |
| between rewrap and retire         | two generations                       | `finish` goes on                       |

- Everything can be done again: what is erased is passed over. So a run that was stopped is started anew.
- An entry of a day that is not sealed yet waits: its day must list it once.
- Of a person from whom only some entries go, the others are sealed anew under a new key first, because the old key,
  which older backups hold, must be destroyed. That key is the same in all shards of a half-year: all have to be given.
- What is withheld under a supervisor's order is not reached by an order to erase, which must not tell that it is there:
  it stays, and opens. Once it was released it goes with the entry that released it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Final

from cryptography.exceptions import InvalidTag

from integrator_audit.bodies import Erased as Gone
from integrator_audit.bodies import open_body
from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.index import IndexStore, Trie
from integrator_audit.completeness.labels import DAY, PERIOD, label_of, label_secret
from integrator_audit.completeness.pages import PLACE_SIZE, erase_leaves, find, leaves_of, places_of
from integrator_audit.completeness.unlisted import RELEASE_MEMBER, read_release
from integrator_audit.errors import Invalid, Refused
from integrator_audit.findings import Progress, no_progress
from integrator_audit.forgetting.orders import ErasureOrder
from integrator_audit.forgetting.register import Pending, Register
from integrator_audit.forgetting.resealing import reseal, unopened
from integrator_audit.forgetting.retention import LENGTHS, due_lengths
from integrator_audit.halfyear import first_day, last_day, period_of_origin
from integrator_audit.keystore import KeyStore, key_class
from integrator_audit.parts import SALT_SIZE, read_part
from integrator_audit.store import EntryRow, Erasure, Ground, Store

CHUNK: Final = 2_000
"""Entries in one transaction."""
RELEASES: Final = f'"{RELEASE_MEMBER}":'.encode()
"""What part D of an entry that releases another one has in it."""


@dataclass(frozen=True, slots=True)
class Log:
    """A log from which something may be erased; `shard` is its number in the day's lists, None for another log."""

    origin: str
    shard: int | None
    store: Store

    @property
    def period(self) -> int:
        """Return the log's half-year."""
        return period_of_origin(self.origin)


@dataclass(frozen=True, slots=True)
class Erased:
    """What a run did: entries erased by ground, lists erased, and entries that wait for their day to be sealed."""

    entries: Mapping[Ground, int]
    lists: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A change of generation: the new one, those destroyed, and what became complete."""

    generation: int
    retired: tuple[int, ...]
    complete: Pending


class Eraser:
    """Erases from the logs of one installation. One process at a time; the logs' writers may go on beside it."""

    def __init__(
        self,
        logs: Sequence[Log],
        *,
        keys: KeyStore,
        index: IndexStore | None,
        register: Register,
        clock: Callable[[], int],
    ) -> None:
        """`index` is that of the epoch log, None where there is none; `clock` gives milliseconds since 1970."""
        self._logs = logs
        self._keys = keys
        self._index = index
        self._register = register
        self._clock = clock
        self._shards = {(log.period, log.shard): log for log in logs if log.shard is not None}

    def by_retention(self, today: int, progress: Progress = no_progress) -> Erased:
        """Erase what is due on the day `today` (epoch) in every log.

        Logs without a half-year (period 0) have no retention of their own and are left alone. Raises `Refused`
        (`erase-open-log`) for a log that is due and was never closed: its writer may hold the keys; and (`erase-index`)
        when days were sealed over a log and the index was not given.
        """
        erased = lists = waiting = done = 0
        due = [(log, years) for log in self._logs if log.period for years in due_lengths(log.period, today)]
        total = max(sum(_size(log) for log, _ in due), 1)
        for log, years in due:
            size = _size(log)
            if not log.store.is_closed():
                message = f"{log.origin} is due and was not closed; close it first (its half-year is long over)"
                raise Refused("erase-open-log", message)
            # Label keys are made when a day is sealed, and go with the last list: one is enough to know of lists.
            if log.shard is not None:
                self._need_index(listed=self._keys.has_labels(log.period))
            limit = self._sealed_end(log, size)
            for start in range(0, size, CHUNK):
                stop = min(start + CHUNK, size)
                # All of it before anything is erased: a store may read within a transaction that writes nothing.
                found = list(log.store.with_retention(years, start, stop))
                ready = [index for index in found if index < limit]
                waiting += len(found) - len(ready)
                erased += self._erase(log, ready, "retention")
                progress(done + stop, total)
            done += size
            if limit == size:
                self._keys.destroy_class(key_class(log.period, years))
        for period in sorted({log.period for log, _ in due}):
            lists += self._erase_lists(period)
            if self._has_all_shards(period):
                self._keys.destroy_labels(period, keeping=self._left(period))
        self._note()
        return Erased({"retention": erased} if erased else {}, lists, waiting)

    def by_order(self, order: ErasureOrder, progress: Progress = no_progress) -> Erased:
        """Erase what an order means.

        Raises `Refused` (`order-not-theirs`) when it names an entry that is not about its person, or not here any
        more, `Refused` (`erase-shards`, `erase-index`) or `Invalid` (`order-no-log`) when a log or the index was not
        given. Then nothing was erased.
        """
        wanted = self._wanted(order)
        periods = sorted({log.period for log in wanted})
        if not all(map(self._has_all_shards, periods)):
            raise Refused("erase-shards", "give all shards of the half-year: a person's key is the same in all of them")
        for period in periods:
            self._need_index(listed=bool(self._keys.labels([order.subject], period)))
        erased = lists = waiting = 0
        for number, period in enumerate(periods, 1):
            ready: dict[Log, list[int]] = {}
            for log in (log for log in wanted if log.period == period):
                limit = self._sealed_end(log, _size(log))
                ready[log] = [index for index in wanted[log] if index < limit]
                waiting += len(wanted[log]) - len(ready[log])
            erased += self._erase_theirs(period, order.subject, ready)
            progress(number, len(periods))
        # Of all half-years: lists and keys may be left of entries that went when the run before this one broke off.
        for period in filter(self._has_all_shards, sorted({log.period for log in self._logs})):
            lists += self._erase_lists_of(order.subject, period)
            self._destroy_unused(order.subject, period)
        self._note()
        return Erased({"order": erased} if erased else {}, lists, waiting)

    def finish(self, progress: Progress = no_progress) -> Finished:
        """Bring all keys to a new generation and destroy the former ones: what was erased is complete then.

        Raises `Refused` (`generation-keys`) where generation keys cannot be made.
        """
        generation = self._keys.rewrap(progress)
        retired = self._keys.retire()
        return Finished(generation, tuple(retired), self._register.complete(generation, at=self._clock()))

    def _wanted(self, order: ErasureOrder) -> dict[Log, list[int]]:
        wanted: dict[Log, list[int]] = {}
        if order.chosen is None:
            wanted = {log: found for log in self._logs if (found := _indices_of(log, order.subject))}
        for origin, indices in sorted((order.chosen or {}).items()):
            log = self._log(origin)
            theirs = set(_indices_of(log, order.subject))
            if not indices <= theirs and any(log.store.erased(index) is None for index in indices - theirs):
                raise Refused("order-not-theirs", f"the order names an entry of {origin} that is not its person's")
            wanted[log] = sorted(indices & theirs)
        for log, index in self._released(wanted, order.subject):
            wanted.setdefault(log, []).append(index)
        return wanted

    def _released(self, wanted: Mapping[Log, Sequence[int]], subject: bytes) -> list[tuple[Log, int]]:
        """Return the entries that were withheld until one of these released them."""
        found: list[tuple[Log, int]] = []
        for log, indices in wanted.items():
            for index in indices:
                row = log.store.entry(index)
                if row is None or row.is_erased:
                    continue
                try:
                    d = open_body(row, self._keys, origin=log.origin, period=log.period)["D"][SALT_SIZE:]
                except Gone:
                    continue
                except InvalidTag as error:
                    raise unopened(index, log.origin) from error
                released = read_release(read_part(d)) if RELEASES in d else None
                if released is not None:
                    old = self._log(released.origin)
                    hidden = old.store.entry(released.index)
                    if hidden is not None and hidden.subject == subject:
                        found.append((old, released.index))
        return found

    def _log(self, origin: str) -> Log:
        for log in self._logs:
            if log.origin == origin:
                return log
        raise Invalid("order-no-log", f"the order means an entry of the log {origin}, which was not given")

    def _erase_theirs(self, period: int, subject: bytes, going: Mapping[Log, Sequence[int]]) -> int:
        """Erase entries of one person from the logs of a half-year, to which their writers may be appending.

        Under the locks of all of them, because they share the person's key: no commit comes in between, and one that
        was being prepared is sealed anew, because the vault counts renewals and destructions (`Batch.still_valid`).
        """
        if not any(going.values()):
            return 0
        logs = [log for log in self._logs if log.period == period]
        with ExitStack() as stack:
            for log in logs:
                stack.enter_context(log.store.exclusive())
            staying: dict[int, list[tuple[Log, EntryRow]]] = {}
            touched: set[int] = set()
            for log in logs:
                mine = frozenset(going.get(log, ()))
                for row in _rows_of(log, subject):
                    wanted_class = key_class(period, row.retention)
                    if row.number in mine:
                        touched.add(wanted_class)
                    else:
                        staying.setdefault(wanted_class, []).append((log, row))
            for wanted_class in sorted(touched):
                person = (subject, wanted_class)
                if wanted_class not in staying:
                    self._keys.destroy(people=[person])
                    continue
                newest = self._keys.renew(person)
                for log in logs:
                    rows = [row for of, row in staying[wanted_class] if of is log]
                    reseal(log.store, log.origin, rows, keys=self._keys, person=person, newest=newest)
            # CRASH after this transaction: the older keys are there, until `_destroy_unused` of this run or the next.
            return sum(
                self._erase(log, chunk, "order") for log, indices in going.items() for chunk in _chunks(iter(indices))
            )

    def _destroy_unused(self, subject: bytes, period: int) -> None:
        """Destroy the versions of a person's key that seal nothing any more: an older backup has what they sealed."""
        versions = {
            wanted_class: found
            for wanted_class in (key_class(period, years) for years in LENGTHS)
            if len(found := self._keys.versions((subject, wanted_class))) > 1
        }
        if not versions:
            return
        used = [
            (key_class(period, row.retention), row.key_version)
            for log in self._logs
            if log.period == period
            for row in _rows_of(log, subject)
        ]
        for wanted_class, found in versions.items():
            # What a writer has in hand is sealed by the newest, or is sealed anew.
            oldest = min((version for of, version in used if of == wanted_class), default=found[-1])
            if found[0] < oldest:
                self._keys.destroy_older((subject, wanted_class), oldest)

    def _erase(self, log: Log, indices: Sequence[int], ground: Ground) -> int:
        rows = [row for index in indices if (row := log.store.entry(index)) is not None and not row.is_erased]
        if not rows:
            return 0
        self._keys.destroy(entries=[row.entry_key for row in rows if row.entry_key is not None])
        log.store.erase([Erasure(row.number, ground) for row in rows])
        return len(rows)

    def _need_index(self, *, listed: bool) -> None:
        """Refuse to go on without the index where sealed days list who is meant."""
        if self._index is None and listed:
            message = "days were sealed that list these persons: give the index too, which keeps those lists"
            raise Refused("erase-index", message)

    def _note(self) -> None:
        """Bring the register up to what the logs say that is erased, also by a run that broke off before this one."""
        for log in self._logs:
            found = Counter[Ground](erasure.ground for erasure in log.store.erasures(0, _size(log)))
            self._register.erased(log.origin, found, at=self._clock())

    def _sealed_end(self, log: Log, size: int) -> int:
        """Return the index up to which a log's entries stand in sealed days."""
        if self._index is None or log.shard is None:
            return size
        newest = self._index.newest()
        if newest is None:
            return 0
        if newest < first_day(log.period):
            return 0
        cut = self._index.cut(min(newest, last_day(log.period)), log.shard)
        return 0 if cut is None else cut.size

    def _has_all_shards(self, period: int) -> bool:
        """Say whether every shard in which the half-year's label keys were used was given."""
        newest = None if self._index is None else self._index.newest()
        if self._index is None or newest is None:
            return True
        leaf = self._index.leaf(min(newest, last_day(period)))
        shards = EpochLeaf.parse(leaf).shards if leaf is not None else ()
        return all((period, item.shard) in self._shards for item in shards)

    def _left(self, period: int) -> Iterator[bytes]:
        """Yield the persons who still have entries in a half-year, once for each of its shards."""
        for (of, _), log in self._shards.items():
            if of == period:
                yield from (subject for subject, _ in log.store.persons_between(0, _size(log)))

    def _erase_lists(self, period: int) -> int:
        """Erase every list of a half-year of whose entries none is left."""
        if self._index is None:
            return 0
        erased = 0
        for epoch, trie in self._tries(period):
            by_ground: dict[Ground, list[bytes]] = {}
            for leaf in leaves_of(self._index, epoch, trie):
                if leaf.ground is not None:
                    continue
                ground = self._gone(period, places_of(self._index, epoch, trie, leaf))
                if ground is not None:
                    by_ground.setdefault(ground, []).append(leaf.label)
            for ground, labels in by_ground.items():
                erased += erase_leaves(self._index, epoch, trie, labels, ground=ground)
        return erased

    def _erase_lists_of(self, subject: bytes, period: int) -> int:
        """Erase the lists of one person of whose entries none is left, and their label key when no list is left."""
        y = self._keys.labels([subject], period).get(subject)
        if self._index is None or y is None:
            return 0
        secret, erased, left = label_secret(y), 0, False
        for epoch, trie in self._tries(period):
            label = label_of(secret, PERIOD, period) if trie is Trie.PERIOD else label_of(secret, DAY, epoch)
            leaf = find(self._index, epoch, trie, label).end
            if leaf is None or leaf.label != label or leaf.ground is not None:
                continue
            ground = self._gone(period, places_of(self._index, epoch, trie, leaf))
            if ground is None:
                left = True
            else:
                erased += erase_leaves(self._index, epoch, trie, [label], ground=ground)
        if not left and not any(_indices_of(log, subject) for log in self._logs if log.period == period):
            self._keys.destroy(labels=[(subject, period)])
        return erased

    def _tries(self, period: int) -> Iterator[tuple[int, Trie]]:
        """Yield the tries of persons that a half-year has so far."""
        assert self._index is not None, "asked for only where there is an index"  # noqa: S101
        newest = self._index.newest()
        last = -1 if newest is None else min(newest, last_day(period))
        for epoch in range(first_day(period), last + 1):
            for trie in (Trie.PERSONS, Trie.PERIOD):
                if self._index.shape(epoch, trie) is not None:
                    yield epoch, trie

    def _gone(self, period: int, pieces: Iterator[bytes]) -> Ground | None:
        """Return why the entries at these places were erased, None when one of them was not."""
        grounds: Counter[Ground] = Counter()
        for piece in pieces:
            for at in range(0, len(piece), PLACE_SIZE):
                shard = int.from_bytes(piece[at : at + 2], "big")
                log = self._shards.get((period, shard))
                ground = None if log is None else log.store.erased(int.from_bytes(piece[at + 2 : at + 10], "big"))
                if ground is None:
                    return None
                grounds[ground] += 1
        return "order" if grounds["order"] else "retention" if grounds else None


def _size(log: Log) -> int:
    head = log.store.head()
    return 0 if head is None else head.size


def _indices_of(log: Log, subject: bytes) -> list[int]:
    """Return all listed indices of a person in a log, ascending."""
    found: list[int] = []
    before = _size(log)
    while page := log.store.indices_of(subject, before, 1000):
        found += page
        before = page[-1]
    return found[::-1]


def _rows_of(log: Log, subject: bytes) -> Iterator[EntryRow]:
    """Yield the entries of a person in a log that are not erased, also those that are listed under nobody."""
    # LIMIT: a store keeps no list of whom unlisted entries are about, so all are looked at: some ten thousand in a log.
    for index in (*_indices_of(log, subject), *log.store.unlisted_between(0, _size(log))):
        row = log.store.entry(index)
        if row is not None and row.subject == subject and not row.is_erased:
            yield row


def _chunks(indices: Iterator[int]) -> Iterator[list[int]]:
    while chunk := list(islice(indices, CHUNK)):
        yield chunk
