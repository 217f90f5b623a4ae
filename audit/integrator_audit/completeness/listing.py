"""List a day's or a half-year's entries under labels: group by person or recipient, find the labels, write the trie.

- The pass over persons is two sorts: by pseudonym, so that one person's entries come together and the vault is read in
  the order in which it lies on the disk; then by label, in which order the trie is built.
- A recipient's list can be as long as the day: it is written in pieces while it is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from struct import Struct
from typing import Final, Protocol, Self, TypeVar

from cryptography.exceptions import InvalidTag

from integrator_audit.bodies import Erased, open_identity
from integrator_audit.completeness.epoch import EpochLeaf, ShardRange
from integrator_audit.completeness.index import Altered, IndexReading, IndexStore, Shape, Trie
from integrator_audit.completeness.labels import DAY, PERIOD, SIGNATURE_SIZE, label_of, label_secret, labels_of
from integrator_audit.completeness.pages import (
    PLACE_SIZE,
    TrieWriter,
    fresh_elsewhere,
    fresh_leaves,
    leaves_of,
    places_of,
    unpack,
)
from integrator_audit.completeness.recipients import RecipientSecrets
from integrator_audit.completeness.sorting import Sorter
from integrator_audit.completeness.trie import LABEL_SIZE, SALT_SIZE
from integrator_audit.errors import Refused, Tampered
from integrator_audit.findings import Progress, no_progress
from integrator_audit.halfyear import period_of
from integrator_audit.keystore import KeyStore
from integrator_audit.parts import PSEUDONYM_SIZE
from integrator_audit.store import BLOCK_BITS, Reading, block_of

_PLACE: Final = Struct(">HQ").pack
_AT_ONCE: Final = 16_384
"""Persons for whom label keys are asked at once."""
_PIECE: Final = 4_096 * PLACE_SIZE
"""Bytes from which on a part of a long list makes a piece."""
_PIECES_AT_ONCE: Final = 256

_Item = TypeVar("_Item")
Range = tuple[Reading | None, ShardRange]
"""A shard's log, None when it was not made yet, and what is to be listed of it."""


class LabelService(Protocol):
    """Signs people's numbers for a half-year. The ledger knows no numbers: the service opens the sealed identities."""

    def spki(self, period: int, /) -> bytes:
        """Return the period's label key, SubjectPublicKeyInfo in DER."""
        ...

    def certificate(self, period: int, /) -> Sequence[bytes]:
        """Return the permutation certificate of the period's label key."""
        ...

    def label_keys(self, period: int, people: Sequence[tuple[bytes, bytes]], /) -> Sequence[bytes]:
        """Return y of each (pseudonym, opaque identity), in their order.

        It MUST check that the identity gives the pseudonym, and raise `Refused` when it does not.
        """
        ...


class PersonSecrets(Protocol):
    """From where persons' label keys come, and where too much to sort goes."""

    @property
    def vault(self) -> KeyStore: ...
    @property
    def service(self) -> LabelService: ...
    @property
    def spill(self) -> Path | None: ...


@dataclass(frozen=True, slots=True)
class Listing:
    """A trie that was written: its root, how it lies in pages, and how many entries it lists."""

    trie: Trie
    root: bytes
    shape: Shape
    places: int


def list_persons(  # noqa: PLR0913  a trie of some ranges under some labels
    index: IndexStore,
    epoch: int,
    trie: Trie,
    *,
    ranges: Sequence[Range],
    secrets: PersonSecrets,
    progress: Progress = no_progress,
) -> Listing:
    """Write the trie of all persons with listed entries in these ranges; its pages are durable when this returns.

    Raises `Refused` (`label-identity`) when somebody's identity is not kept, `Tampered` (`label-repeated`) when two
    persons have one label.
    """
    period = period_of(epoch)
    level, number = (PERIOD, period) if trie is Trie.PERIOD else (DAY, epoch)
    people, labelled = Sorter(directory=secrets.spill), Sorter(directory=secrets.spill)
    try:
        places = 0
        total = 3 * sum(item.count for _, item in ranges)
        for log, shard, block in _blocks(ranges):
            for chunk in _chunks(log.persons_between(block.start, block.stop)):
                people.extend([subject + pack(shard, indices) for subject, indices in chunk])
                places += sum([len(indices) for _, indices in chunk])
            progress(places, total)
        find = LabelKeys(period, {item.shard: log for log, item in ranges if log is not None}, secrets)
        done = places
        for batch in people.sorted():
            for chunk in _chunks(_merged(batch)):
                labels = labels_of(find.secrets(chunk), level, number)
                labelled.extend([label + item[PSEUDONYM_SIZE:] for label, item in zip(labels, chunk, strict=True)])
            done += _count(batch)
            progress(done, total)
        writer = TrieWriter(index, epoch, trie, leaves=labelled.total)
        last = b""
        for batch in labelled.sorted():
            last = _check_labels(last, batch)
            writer.add(fresh_leaves(batch, os.urandom(SALT_SIZE * len(batch))))
            done += _count(batch)
            progress(done, total)
        return Listing(trie, writer.finish().hash, writer.shape, places)
    finally:
        people.close()
        labelled.close()


def list_recipients(index: IndexStore, epoch: int, *, ranges: Sequence[Range], secrets: RecipientSecrets) -> Listing:
    """Write the trie of all recipients with entries in these ranges; its pages are durable when this returns."""
    labels: dict[str, bytes] = {}
    counts: dict[bytes, int] = {}
    with _Pieces(index, epoch) as pieces:
        for log, shard, block in _blocks(ranges):
            for recipient, indices in log.recipients_between(block.start, block.stop):
                if not recipient:
                    continue
                if recipient not in labels:
                    labels[recipient] = label_of(secrets.secret(recipient), DAY, epoch)
                pieces.add(labels[recipient], pack(shard, indices))
                counts[labels[recipient]] = counts.get(labels[recipient], 0) + len(indices)
    writer = TrieWriter(index, epoch, Trie.RECIPIENTS, leaves=len(counts))
    for label, count in sorted(counts.items()):
        listed = index.places(epoch, Trie.RECIPIENTS, label)
        writer.add([fresh_elsewhere(label, os.urandom(SALT_SIZE), listed, count)])
    return Listing(Trie.RECIPIENTS, writer.finish().hash, writer.shape, sum(counts.values()))


def altered_lists(index: IndexReading, days: Sequence[EpochLeaf], ranges: Sequence[Range]) -> list[Altered]:
    """Return the lists of persons in these days that still have entries beside others that were erased since.

    `ranges` are the shards from the first of these days to the last. Only days with erased entries are gone through.
    """
    erased: set[tuple[int, int]] = set()
    for log, item in ranges:
        if log is not None:
            erased.update((item.shard, number) for number, _ in log.erasures(item.start, item.end))
    found: list[Altered] = []
    for day in days:
        covered = {item.shard: range(item.start, item.end) for item in day.shards}
        if not any(number in covered.get(shard, ()) for shard, number in erased):
            continue
        for leaf in leaves_of(index, day.epoch, Trie.PERSONS):
            was = [place for piece in places_of(index, day.epoch, Trie.PERSONS, leaf) for place in unpack(piece)]
            if not erased.isdisjoint(was):
                left = [place for place in was if place not in erased]
                found.append(
                    Altered(day.epoch, *(b"".join(_PLACE(*place) for place in places) for places in (was, left)))
                )
    return found


class _Pieces:
    """Collect the parts of recipients' lists into pieces worth a row, and write many at once."""

    def __init__(self, index: IndexStore, epoch: int) -> None:
        self._index = index
        self._epoch = epoch
        # By label: the end of its list, which is not full yet.
        self._ends: dict[bytes, bytearray] = {}
        self._full: list[tuple[bytes, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._full += [(label, bytes(end)) for label, end in self._ends.items() if end]
            self._flush()

    def add(self, label: bytes, places: bytes) -> None:
        """Take the next places of a label."""
        end = self._ends.setdefault(label, bytearray())
        end += places
        if len(end) >= _PIECE:
            self._full.append((label, bytes(end)))
            end.clear()
            if len(self._full) >= _PIECES_AT_ONCE:
                self._flush()

    def _flush(self) -> None:
        self._index.add_places(self._epoch, Trie.RECIPIENTS, self._full)
        self._full = []


class LabelKeys:
    """Find the secrets of persons' labels; those that the vault lacks are asked of the service, once in a half-year."""

    def __init__(self, period: int, logs: Mapping[int, Reading], secrets: PersonSecrets) -> None:
        """`logs` are the shards by number."""
        self._period = period
        self._logs = {shard: (log, _origin(log)) for shard, log in logs.items()}
        self._vault = secrets.vault
        self._service = secrets.service

    def secrets(self, people: Sequence[bytes]) -> list[bytes]:
        """Return k of each person, given as pseudonym ‖ places; new label keys are durable in the vault then.

        Raises `Refused` (`label-identity`, `label-service`).
        """
        pseudonyms = [item[:PSEUDONYM_SIZE] for item in people]
        known = self._vault.labels(pseudonyms, self._period)
        missing = [item for item in people if item[:PSEUDONYM_SIZE] not in known]
        if missing:
            made = self._ask(missing)
            self._vault.keep_labels(made, self._period)
            known.update(made)
        return [label_secret(known[pseudonym]) for pseudonym in pseudonyms]

    def _ask(self, missing: Sequence[bytes]) -> dict[bytes, bytes]:
        people = [(item[:PSEUDONYM_SIZE], self._identity(item)) for item in missing]
        nameless = sum(1 for _, identity in people if not identity)
        if nameless:
            message = f"for {nameless} persons no identity is kept, so the label service cannot sign for them"
            raise Refused("label-identity", message)
        signatures = self._service.label_keys(self._period, people)
        if len(signatures) != len(people) or any(len(one) != SIGNATURE_SIZE for one in signatures):
            raise Refused("label-service", "the label service did not give one signature for each person")
        return {pseudonym: signature for (pseudonym, _), signature in zip(people, signatures, strict=True)}

    def _identity(self, item: bytes) -> bytes:
        """Return the identity that is sealed in a person's first entry here, empty when there is none."""
        ((shard, number), *_) = unpack(item[PSEUDONYM_SIZE : PSEUDONYM_SIZE + PLACE_SIZE])
        log, origin = self._logs[shard]
        row = log.entry(number)
        try:
            return b"" if row is None else open_identity(row, self._vault, origin=origin, period=self._period)
        except Erased:
            return b""
        except InvalidTag as error:
            message = f"the body of entry {number} of {origin} does not open with its person's key; run fsck"
            raise Tampered("entry-changed", message) from error


def _origin(log: Reading) -> str:
    identity = log.identity()
    return "" if identity is None else identity.origin


def pack(shard: int, indices: Sequence[int]) -> bytes:
    """Return the places of a shard's entries as lists hold them: u16 shard ‖ u64 index each."""
    if len(indices) == 1:
        return _PLACE(shard, indices[0])
    return b"".join(map(_PLACE, repeat(shard), indices))


def _blocks(ranges: Sequence[Range]) -> Iterator[tuple[Reading, int, range]]:
    """Yield each shard's range in the blocks by which stores keep their indexes: each is read from one place."""
    for log, item in ranges:
        start = item.start
        while log is not None and start < item.end:
            stop = min((block_of(start) + 1) << BLOCK_BITS, item.end)
            yield log, item.shard, range(start, stop)
            start = stop


def _chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    source = iter(items)
    while chunk := list(islice(source, _AT_ONCE)):
        yield chunk


def _merged(items: Sequence[bytes]) -> list[bytes]:
    """Join the neighbours that are of one person: shards and blocks ascend, and so do indices in each."""
    joined: list[bytes] = []
    last = b""
    for item in items:
        pseudonym = item[:PSEUDONYM_SIZE]
        if pseudonym == last:
            joined[-1] += item[PSEUDONYM_SIZE:]
        else:
            joined.append(item)
            last = pseudonym
    return joined


def _count(items: Sequence[bytes]) -> int:
    """Return how many places follow the 32 first bytes of these items."""
    return (sum(map(len, items)) - LABEL_SIZE * len(items)) // PLACE_SIZE


def _check_labels(last: bytes, items: Sequence[bytes]) -> bytes:
    """Return the last label; raise `Tampered` when one comes twice."""
    for item in items:
        label = item[:LABEL_SIZE]
        if label == last:
            message = "two persons have one label: the label service signed one number for two pseudonyms"
            raise Tampered("label-repeated", message)
        last = label
    return last
