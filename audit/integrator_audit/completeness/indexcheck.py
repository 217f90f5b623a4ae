"""Check an index against its epoch log: every page, tile and list of every sealed day, down to the signed roots.

- Each trie is rebuilt from its leaves: its root is the one in the day's leaf, its pages and tiles are those that are
  there, and its lists have as many entries as the day counts.
- Of an erased leaf only its hash is left, and is believed when the root holds.
- Nothing is repaired. What is damaged can only come from a backup: salts exist nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final

from integrator_audit.checkpoint import read_unverified
from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.index import Cut, IndexReading, Page, Trie
from integrator_audit.completeness.pages import PLACE_SIZE, Fresh, Stored, TrieWriter, leaves_of, places_of, record_of
from integrator_audit.completeness.trie import EMPTY, INDEX_PREFIX
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.findings import Findings, Progress, no_progress
from integrator_audit.halfyear import last_day
from integrator_audit.reader import LedgerReader

_AT_ONCE: Final = 1_024


def check_index(
    index: IndexReading, epochs: LedgerReader, progress: Progress = no_progress, *, first: int = 0
) -> Findings:
    """Return what does not fit in the days from `first` on, with its day and trie; no items when all holds."""
    findings = Findings()
    size = epochs.size
    newest = index.newest()
    # One day is ahead where its sealing did not come to the log yet; before a log begins, all that it begins with are.
    if newest is not None and newest > size > 0:
        message = f"the index has days up to {newest}, the epoch log {size} days: is that an older backup?"
        findings.add("index-ahead", f"day {newest}", message)
    for epoch, data in enumerate(epochs.leaves(first, size), first):
        if index.leaf(epoch) != data:
            message = "the index has another leaf for the day than the epoch log, or none"
            findings.add("index-leaf", f"day {epoch}", message)
            continue
        leaf = EpochLeaf.parse(data)
        # Days before the log's first half-year have no tries.
        for trie, root in _tries(leaf) if leaf.shards else ():
            _check_trie(index, leaf, trie, root, findings)
        for item in leaf.shards:
            cut = index.cut(epoch, item.shard)
            if (0 if cut is None else cut.size) != item.end or (cut is not None and not _is_of(cut, item.root_at_end)):
                message = "the checkpoint with which the day ended is missing or another one"
                findings.add("index-cut", f"day {epoch}, shard {item.shard}", message)
        progress(epoch + 1 - first, size - first)
    return findings


def _is_of(cut: Cut, root: bytes) -> bool:
    """Say whether the note says what the row and the day's leaf say; the signature takes the shard's key."""
    try:
        said = read_unverified(cut.note)
    except Invalid:
        return False
    return (said.origin, said.size, said.root) == (cut.origin, cut.size, root)


def _tries(leaf: EpochLeaf) -> Iterator[tuple[Trie, bytes]]:
    yield Trie.PERSONS, leaf.persons_root
    yield Trie.RECIPIENTS, leaf.recipients_root
    if leaf.epoch == last_day(leaf.period):
        yield Trie.PERIOD, leaf.period_root


def _check_trie(index: IndexReading, leaf: EpochLeaf, trie: Trie, root: bytes, findings: Findings) -> None:
    where = f"day {leaf.epoch}, {trie.name.lower()}"
    shape = index.shape(leaf.epoch, trie)
    if shape is None:
        if root != EMPTY:
            findings.add("index-missing", where, "the trie is missing")
        return
    compared = _Compared(index)
    writer = TrieWriter(compared, leaf.epoch, trie, leaves=shape.leaves)
    places, erased = 0, False
    try:
        stored = leaves_of(index, leaf.epoch, trie)
        while some := list(islice(stored, _AT_ONCE)):
            for one in some:
                count, content = _list_of(index, leaf.epoch, trie, one)
                places += count
                erased = erased or one.salt is None
                if content != one.content:
                    findings.add("index-list", where, "a list does not have the hash of its leaf")
            writer.add([Fresh(one.label, one.content, record_of(one)) for one in some])
        if writer.finish().hash != root:
            findings.add("index-root", where, "the leaves do not give the root that was signed")
    except (Invalid, Tampered) as error:
        findings.add("index-page", where, error.message)
        return
    if compared.wrong or writer.shape != shape:
        findings.add("index-page", where, f"{compared.wrong} of its pages are not those that its leaves give")
    if trie is Trie.PERSONS and places != leaf.listed and not erased:
        findings.add("index-count", where, f"{places} entries are listed, and the day counts {leaf.listed}")


class _Compared:
    """Takes the pages that the leaves give, and compares them with those that are there."""

    def __init__(self, index: IndexReading) -> None:
        self._index = index
        self.wrong = 0

    def add_pages(self, epoch: int, trie: Trie, pages: Sequence[Page]) -> None:
        self.wrong += sum(self._index.page(epoch, trie, page.level, page.number) != page.data for page in pages)


def _list_of(index: IndexReading, epoch: int, trie: Trie, stored: Stored) -> tuple[int, bytes]:
    """Return how many places a leaf lists, and the hash of its list; of an erased one, its own hash."""
    if stored.salt is None:
        return 0, stored.content
    if not stored.elsewhere:
        return len(stored.places) // PLACE_SIZE, stored.content
    length = sum(map(len, places_of(index, epoch, trie, stored)))
    digest = sha256(INDEX_PREFIX + stored.salt + (length // PLACE_SIZE).to_bytes(4, "big"))
    for piece in places_of(index, epoch, trie, stored):
        digest.update(piece)
    return length // PLACE_SIZE, digest.digest()
