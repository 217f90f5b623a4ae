"""How a trie lies in the index: leaves in small pages, summaries of pages in tiles; a proof reads a few of each.

- A trie of n leaves has 2^bits pages of about 32 to 64 leaves: a page holds the leaves that agree in the first `bits`
  bits. Labels are outputs of a keyed hash, so pages fill evenly; were they not, proofs would be slower and not wrong.
- A tile of level n holds the summaries (33 bytes each) of up to 16 neighbouring pages of level n − 1, or of tiles.
  The uppermost level has one tile; a trie with one page has no tile.
- A leaf in its page is one of

      label[32] ‖ 0 ‖ salt[32] ‖ u32 m ‖ m × (u16 shard ‖ u64 index)     its list is here
      label[32] ‖ 1 ‖ salt[32] ‖ hL[32]                                  its list is elsewhere, in pieces
      label[32] ‖ 2 ‖ hL[32] ‖ u8 ground (0 retention, 1 order)          salt and list were erased
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple, Protocol

from integrator_audit.completeness.index import Altered, IndexReading, IndexStore, Page, Shape, Trie
from integrator_audit.completeness.trie import (
    HASH_SIZE,
    INDEX_PREFIX,
    LABEL_SIZE,
    NOTHING,
    SALT_SIZE,
    SUMMARY_SIZE,
    Kind,
    Leaf,
    Summary,
    combine,
    descend_leaves,
    join,
    summarise,
)
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.halfyear import last_day, period_of

_PLACE: Final = Struct(">HQ")
PLACE_SIZE: Final = _PLACE.size
TILE_BITS: Final = 4
MAX_BITS: Final = 32
FILL: Final = 64
"""Leaves of a page, at most on average."""

GROUNDS: Final = ("retention", "order")
HERE, ELSEWHERE, ERASED = 0, 1, 2

_TILE_WIDTH: Final = 1 << TILE_BITS
_PAGES_AT_ONCE: Final = 4096


class Stored(NamedTuple):
    """A leaf as its page holds it. `places` is the packed list, b"" when it is elsewhere.

    Of an erased leaf `salt` is None and `ground` says why.
    """

    label: bytes
    content: bytes
    salt: bytes | None
    places: bytes
    elsewhere: bool
    ground: str | None


class Fresh(NamedTuple):
    """A leaf to write: label, hL, and the bytes of its page's record."""

    label: bytes
    content: bytes
    record: bytes


class Found(NamedTuple):
    """What a trie holds at a label: siblings from the end to the root, and the leaf at the end, if any."""

    siblings: tuple[bytes, ...]
    end: Stored | None


def bits_for(leaves: int) -> int:
    """Return into how many pages, as a power of two, a trie with so many leaves is divided."""
    return min(MAX_BITS, (max(leaves - 1, 0) // FILL).bit_length())


def fresh_leaves(items: Sequence[bytes], salts: bytes) -> list[Fresh]:
    """Return the leaves for items `label ‖ packed places`, each with its 32 bytes of `salts`."""
    leaves: list[Fresh] = []
    append = leaves.append
    for item, at in zip(items, range(0, len(salts), SALT_SIZE), strict=True):
        label, listed = item[:LABEL_SIZE], item[LABEL_SIZE:]
        body = salts[at : at + SALT_SIZE] + (len(listed) // PLACE_SIZE).to_bytes(4, "big") + listed
        append(Fresh(label, sha256(INDEX_PREFIX + body).digest(), label + b"\0" + body))
    return leaves


def fresh_elsewhere(label: bytes, salt: bytes, pieces: Iterable[bytes], count: int) -> Fresh:
    """Return the leaf of a list of `count` places that is kept in pieces."""
    content = sha256(INDEX_PREFIX + salt + count.to_bytes(4, "big"))
    for piece in pieces:
        content.update(piece)
    digest = content.digest()
    return Fresh(label, digest, label + b"\1" + salt + digest)


def erased_record(label: bytes, content: bytes, ground: str) -> bytes:
    """Return what a page keeps of an erased leaf."""
    return label + b"\2" + content + bytes([GROUNDS.index(ground)])


def unpack(places: bytes) -> list[tuple[int, int]]:
    """Return the (shard, index) of a packed list; raise `Tampered` (`index-page`) when it is cut."""
    if len(places) % PLACE_SIZE:
        raise Tampered("index-page", "a list of the index is cut")
    return list(_PLACE.iter_unpack(places))


def read_page(data: bytes) -> list[Stored]:
    """Return the leaves in a page; raise `Tampered` (`index-page`) when it is damaged."""
    leaves: list[Stored] = []
    at, size = 0, len(data)
    while at < size:
        label, form = data[at : at + LABEL_SIZE], data[at + LABEL_SIZE : at + LABEL_SIZE + 1]
        at += LABEL_SIZE + 1
        if form == b"\0":
            salt, count = data[at : at + SALT_SIZE], int.from_bytes(data[at + SALT_SIZE : at + SALT_SIZE + 4], "big")
            end = at + SALT_SIZE + 4 + count * PLACE_SIZE
            content = sha256(INDEX_PREFIX + data[at:end]).digest()
            leaves.append(Stored(label, content, salt, data[at + SALT_SIZE + 4 : end], elsewhere=False, ground=None))
        elif form == b"\1":
            end = at + SALT_SIZE + HASH_SIZE
            leaves.append(Stored(label, data[at + SALT_SIZE : end], data[at : at + SALT_SIZE], b"", True, None))
        elif form == b"\2" and data[at + HASH_SIZE : at + HASH_SIZE + 1] in (b"\0", b"\1"):
            end = at + HASH_SIZE + 1
            leaves.append(Stored(label, data[at : end - 1], None, b"", False, GROUNDS[data[end - 1]]))
        else:
            raise _damaged()
        at = end
    if at != size:
        raise _damaged()
    return leaves


class PageSink(Protocol):
    """Takes the pages of a trie; an `IndexStore` keeps them."""

    def add_pages(self, epoch: int, trie: Trie, pages: Sequence[Page]) -> None:
        """Take pages of a trie that is being built."""
        ...


class TrieWriter:
    """Write one trie, whose leaves come in ascending order of their labels, and their number is known before.

    Memory is that of the leaves given at once and of one tile of each level.
    """

    def __init__(self, index: PageSink, epoch: int, trie: Trie, *, leaves: int) -> None:
        self._write: Callable[[Sequence[Page]], None] = lambda pages: index.add_pages(epoch, trie, pages)
        self.shape = Shape(leaves, bits_for(leaves))
        self._given = 0
        self._next_page = 0
        # Leaves of the page that may still get more.
        self._open: list[Fresh] = []
        # By level: the summaries of the unfinished tile, and how many tiles of that level are written.
        self._tiles: list[list[Summary]] = [[] for _ in range(_levels(self.shape.bits))]
        self._written = [0] * len(self._tiles)
        self._root = NOTHING
        self._pages: list[Page] = []

    def add(self, leaves: Sequence[Fresh]) -> None:
        """Take leaves, ascending, all of them after the former ones."""
        if not leaves:
            return
        self._given += len(leaves)
        waiting = [*self._open, *leaves]
        labels = [leaf.label for leaf in waiting]
        shift = MAX_BITS - self.shape.bits
        last = int.from_bytes(labels[-1][:4], "big") >> shift
        at = 0
        while self._next_page < last:
            boundary = (self._next_page + 1 << shift).to_bytes(4, "big")
            end = bisect_left(labels, boundary, at)
            self._close_page(waiting[at:end])
            at = end
        self._open = waiting[at:]

    def finish(self) -> Summary:
        """Write what is still open and return the whole trie's summary."""
        if self._given != self.shape.leaves:
            raise Invalid("index-trie", f"{self.shape.leaves} leaves were announced and {self._given} given")
        while self._next_page < 1 << self.shape.bits:
            self._close_page(self._open)
            self._open = []
        self._flush()
        return self._root

    def _close_page(self, leaves: Sequence[Fresh]) -> None:
        if leaves:
            self._pages.append(Page(0, self._next_page, b"".join([leaf.record for leaf in leaves])))
        self._next_page += 1
        summary = summarise([leaf[:2] for leaf in leaves], depth=self.shape.bits)
        for level, tile in enumerate(self._tiles):
            tile.append(summary)
            is_top = level == len(self._tiles) - 1
            if len(tile) < (1 << self.shape.bits - TILE_BITS * level if is_top else _TILE_WIDTH):
                break
            summary = combine(tile)
            if summary.kind is not Kind.EMPTY:
                self._pages.append(Page(level + 1, self._written[level], b"".join([one.encode() for one in tile])))
            self._written[level] += 1
            tile.clear()
        else:
            self._root = summary
        if len(self._pages) >= _PAGES_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self._write(self._pages)
        self._pages = []


def find(index: IndexReading, epoch: int, trie: Trie, label: bytes) -> Found:
    """Return what a day's trie holds at `label`, with the way up to the root.

    Raises `Tampered` (`index-page`) when a page is missing or damaged. A wrong page gives a proof that does not hold.
    """
    shape = index.shape(epoch, trie)
    if shape is None or not shape.leaves:
        return Found((), None)
    siblings: list[bytes] = []
    number, depth, single = 0, 0, False
    for level in range(_levels(shape.bits), 0, -1):
        width_bits = shape.bits - depth - TILE_BITS * (level - 1)
        tile = _tile(index.page(epoch, trie, level, number), width=1 << width_bits)
        wanted = int.from_bytes(label[:4], "big") >> MAX_BITS - depth - width_bits & (1 << width_bits) - 1
        if not single:
            siblings_here, here = _way(tile, wanted)
            siblings += siblings_here
            if here.kind is Kind.EMPTY:
                return Found(tuple(reversed(siblings)), None)
            single = here.kind is Kind.LEAF
            if single:
                # The way ended at a leaf, which lies where the tile has it, perhaps aside from our label's way.
                wanted = next(at for at, item in enumerate(tile) if item == here)
        else:
            wanted = next((at for at, item in enumerate(tile) if item.kind is Kind.LEAF), 0)
        number, depth = number << width_bits | wanted, depth + width_bits
    page = index.page(epoch, trie, 0, number)
    leaves = read_page(page) if page is not None else []
    if not leaves or (single and len(leaves) > 1):
        raise _damaged()
    if single:
        return Found(tuple(reversed(siblings)), leaves[0])
    below, end = descend_leaves([Leaf(leaf.label, leaf.content) for leaf in leaves], label, depth=depth)
    siblings += below
    stored = None if end is None else next(leaf for leaf in leaves if leaf.label == end.label)
    return Found(tuple(reversed(siblings)), stored)


def erase_leaves(index: IndexStore, epoch: int, trie: Trie, labels: Iterable[bytes], *, ground: str) -> int:
    """Erase salt and list of the leaves that a trie has at these labels; return how many were erased just now.

    The roots stay, and so do all proofs: a leaf's label and the hash of its list are kept. Labels without a leaf are
    passed over, and so are leaves that were erased before: they keep their ground.
    """
    shape = index.shape(epoch, trie)
    if shape is None:
        return 0
    by_page: dict[int, set[bytes]] = {}
    for label in labels:
        by_page.setdefault(int.from_bytes(label[:4], "big") >> MAX_BITS - shape.bits, set()).add(label)
    pages: list[Page] = []
    erased: list[bytes] = []
    altered: list[Altered] = []
    running = trie is Trie.PERSONS and index.shape(last_day(period_of(epoch)), Trie.PERIOD) is None
    for number, wanted in sorted(by_page.items()):
        data = index.page(epoch, trie, 0, number)
        records: list[bytes] = []
        before = len(erased)
        for leaf in read_page(data or b""):
            if leaf.label in wanted and leaf.ground is None:
                erased.append(leaf.label)
                if running:
                    altered.append(Altered(epoch, b"".join(places_of(index, epoch, trie, leaf)), b""))
                records.append(erased_record(leaf.label, leaf.content, ground))
            else:
                records.append(record_of(leaf))
        if len(erased) > before:
            pages.append(Page(0, number, b"".join(records)))
    if pages:
        index.erase(epoch, trie, pages, labels=erased, altered=altered)
    return len(erased)


def record_of(leaf: Stored) -> bytes:
    """Return the bytes of a leaf in its page."""
    if leaf.ground is not None or leaf.salt is None:
        return erased_record(leaf.label, leaf.content, leaf.ground or "order")
    if leaf.elsewhere:
        return leaf.label + b"\1" + leaf.salt + leaf.content
    return leaf.label + b"\0" + leaf.salt + (len(leaf.places) // PLACE_SIZE).to_bytes(4, "big") + leaf.places


def leaves_of(index: IndexReading, epoch: int, trie: Trie) -> Iterator[Stored]:
    """Yield all leaves of a day's trie in the order of their labels."""
    for page in index.pages(epoch, trie):
        yield from read_page(page.data)


def places_of(index: IndexReading, epoch: int, trie: Trie, leaf: Stored) -> Iterator[bytes]:
    """Yield a leaf's packed list in pieces of whole places."""
    if leaf.elsewhere:
        yield from index.places(epoch, trie, leaf.label)
    elif leaf.places:
        yield leaf.places


def _levels(bits: int) -> int:
    """Return how many levels of tiles stand over 2^bits pages."""
    return -(-bits // TILE_BITS)


def _tile(data: bytes | None, *, width: int) -> list[Summary]:
    if data is None or len(data) != width * SUMMARY_SIZE:
        raise _damaged()
    try:
        return [Summary.decode(data[at : at + SUMMARY_SIZE]) for at in range(0, len(data), SUMMARY_SIZE)]
    except Invalid as error:
        raise _damaged() from error


def _way(tile: Sequence[Summary], at: int) -> tuple[list[bytes], Summary]:
    """Return the siblings from a tile's top towards summary `at`, and the subtree where that way ends."""
    levels = [tile]
    while len(levels[-1]) > 1:
        pairs = iter(levels[-1])
        levels.append([join(left, right) for left, right in zip(pairs, pairs, strict=True)])
    siblings: list[bytes] = []
    height = len(levels) - 1
    here = levels[height][0]
    while height and here.kind is Kind.NODE:
        height -= 1
        here, sibling = levels[height][at >> height], levels[height][at >> height ^ 1]
        siblings.append(sibling.hash)
    return siblings, here


def _damaged() -> Tampered:
    return Tampered("index-page", "a page of the index is missing or damaged; restore the index from a backup")
