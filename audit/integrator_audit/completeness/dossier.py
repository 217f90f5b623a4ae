"""The dossier of some days, for the checking cosigner alone: all rows of all tries, and whatever is unlisted, opened.

JSON lines (usually gzip), each a strict JSON object; bytes in base64. It names nobody, but its lists link the labels of
one person over a day, so it goes to nobody else.

    {"schema": "dienstenintegrator/dossier/v1", "epochs": {"origin", "first", "last"},
     "shards": [{"period", "shard", "origin"}], "institution": [{"period", "origin"}]}
    then for each day that has shards, in order:
    {"day": epoch}
    {"trie": "persons", "label", "salt", "m", "list": [[shard, index], …]}      all rows, ascending by label
    {"trie": "recipients", …}                                                   the same
    {"trie": "period", …}                                                       the same, on a half-year's last day
    {"altered": {"epoch", "was": [[shard, index], …], "is": […]}}               on a half-year's last day: all lists of
                                                                                its days that lost entries before it
    {"unlisted": opening of A, D, S and P}                                      all, ascending by shard and index
    {"release": opening of A, D, S and P}                                       each release entry of the day

- A row whose list is shorter than its `m` goes on in lines `{"list": […]}` until it has all: a list may be long, a line
  has at most 1 MiB.
- A row whose list was erased before it was checked is `{"trie", "label", "hL", "ground"}`: its day is past checking.
- The openings' proofs are at the size that their shard had at the end of the day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from integrator_audit.completeness.fields import Fields
from integrator_audit.completeness.lines import Lines
from integrator_audit.completeness.trie import (
    INDEX_PREFIX,
    LABEL_SIZE,
    MAX_PLACES,
    SALT_SIZE,
    check_places,
    pack_places,
)
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.opening import Recomputed, recompute

SCHEMA: Final = "dienstenintegrator/dossier/v1"
PERSONS: Final = "persons"
RECIPIENTS: Final = "recipients"
PERIOD: Final = "period"


@dataclass(frozen=True, slots=True)
class Header:
    """For which epoch log and days a dossier is, and which logs its shards and the institution are, by half-year."""

    origin: str
    first: int
    last: int
    shards: Mapping[tuple[int, int], str]
    institution: Mapping[int, str]


class AlteredList(NamedTuple):
    """A list of persons of the day `epoch`: the places that it had, and those left when its half-year closed."""

    epoch: int
    was: list[tuple[int, int]]
    left: list[tuple[int, int]]


class Row:
    """One row of a trie. `pieces` has to be used up before `content`, the hash of the list, can be asked for.

    `ground` is why the list was erased, None when it is there; an erased one has neither pieces nor content.
    """

    def __init__(self, fields: Fields, following: Iterator[Fields]) -> None:
        self.label = fields.data("label", size=LABEL_SIZE)
        self.ground = fields.text("ground") if fields.has("ground") else None
        if self.ground is not None:
            return
        salt, self.count = fields.data("salt", size=SALT_SIZE), fields.number("m")
        if self.count > MAX_PLACES:
            raise fields.error(f"has a list of more than {MAX_PLACES} entries")
        self._digest = sha256(INDEX_PREFIX + salt + self.count.to_bytes(4, "big"))
        self._first = fields
        self._following = following
        self._seen = 0

    @property
    def pieces(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the places of the list, in order; raise `Tampered` (`list-order`) when they are not ascending."""
        former: list[tuple[int, int]] = []
        fields = self._first
        fields.text("trie")
        while True:
            piece = fields.places("list")
            fields.end()
            if not piece:
                raise fields.error("goes on with a list of nothing")
            try:
                check_places([*former, *piece])
            except Invalid as error:
                raise Tampered("list-order", f"a list in the dossier: {error.message}") from error
            former = piece[-1:]
            self._seen += len(piece)
            self._digest.update(pack_places(piece))
            yield piece
            if self._seen >= self.count:
                break
            fields = next(self._following)
        if self._seen != self.count:
            raise Tampered("document-malformed", "a list in the dossier is longer than it says")

    @property
    def content(self) -> bytes:
        """Return hL."""
        return self._digest.digest()


class Dossier:
    """A dossier that is read once, from its first line to its last."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Read the header; raise `Tampered` (`document-malformed`) when it is not of its form."""
        self._lines = Lines(lines, what="the dossier", code="dossier-order")
        fields = self._lines.take()
        if fields.text("schema") != SCHEMA:
            raise fields.error(f"is not of the schema {SCHEMA}")
        epochs = fields.object("epochs")
        shards = {(item.number("period"), item.number("shard")): _name(item) for item in fields.objects("shards")}
        institution = {item.number("period"): _name(item) for item in fields.objects("institution")}
        fields.end()
        names = [*shards.values(), *institution.values()]
        given = len(fields.items("shards")) + len(fields.items("institution"))
        if len(set(names)) != given or len(names) != given:
            raise Tampered("shard-twice", "the dossier gives two logs one origin, or one log two")
        origin, first, last = epochs.text("origin"), epochs.number("first"), epochs.number("last")
        epochs.end()
        self.header = Header(origin, first, last, shards, institution)

    def begin(self, epoch: int) -> None:
        """Go on to a day; raise `Tampered` (`dossier-order`) when another line stands here."""
        fields = self._lines.take()
        if not fields.has("day") or fields.number("day") != epoch:
            raise self._lines.disorder(f"does not go on with day {epoch}")
        fields.end()

    def rows(self, trie: str) -> Iterator[Row]:
        """Yield the rows of a trie of this day; the places of each have to be used up before the next."""
        while (fields := self._lines.peek()) is not None and fields.has("trie") and fields.text("trie") == trie:
            self._lines.take()
            yield Row(fields, self._pieces())

    def altered(self) -> Iterator[AlteredList]:
        """Yield the lists of the half-year's days from which entries were erased before it closed."""
        while (fields := self._lines.peek()) is not None and fields.has("altered"):
            self._lines.take()
            inner = fields.object("altered")
            yield AlteredList(inner.number("epoch"), inner.places("was"), inner.places("is"))
            inner.end()
            fields.end()

    def openings(self, kind: str) -> Iterator[Recomputed]:
        """Yield the openings of this day that stand under `unlisted` or `release`, recomputed and not believed."""
        while (fields := self._lines.peek()) is not None and fields.has(kind):
            self._lines.take()
            opening = fields.mapping(kind)
            fields.end()
            yield recompute(opening)

    def skip(self) -> None:
        """Pass over what is left of this day."""
        while (fields := self._lines.peek()) is not None and not fields.has("day"):
            self._lines.take()

    def end(self) -> None:
        """Raise `Tampered` (`dossier-order`) when something stands after the last day."""
        self._lines.end()

    def _pieces(self) -> Iterator[Fields]:
        while True:
            yield self._lines.take()


def _name(item: Fields) -> str:
    name = item.text("origin")
    if not name.isprintable() or " " in name:
        raise item.error("has an origin that is no name of a log")
    item.end()
    return name
