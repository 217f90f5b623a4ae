"""What an operator shows to prove that a list is whole: an answer for each day, and every listed entry opened.

- A person's is one document, read whole, and may have one answer for a whole half-year that is closed. An account is
  too long for that; it is checked day by day with the same parts (`account`).
- A day's answer is a proof in its trie: a list, or nothing, or a leaf whose list was erased. No day may be missing.
- Each listed entry is opened exactly once, under the root that its shard had at the end of the day, and nothing else.
- Every check that fails has a code of its own: it says which lie was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple, TypeVar

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint, read_unverified
from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.fields import Fields
from integrator_audit.completeness.labels import DAY, PERIOD, label_of
from integrator_audit.completeness.members import RETENTIONS, retention_of
from integrator_audit.completeness.trie import (
    HASH_SIZE,
    Leaf,
    TrieProof,
    check_places,
    index_hash,
    verify_absence,
    verify_inclusion,
)
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.halfyear import date_of, first_day, last_day, period_name, period_of_origin
from integrator_audit.merkle import leaf_hash, root_from_inclusion
from integrator_audit.opening import Recomputed, recompute
from integrator_audit.parts import SUBJECT_ENTRY

GROUNDS: Final = ("retention", "order")
_Listed = TypeVar("_Listed")


class EntryPlace(NamedTuple):
    """Where an entry stands among all logs of all half-years."""

    period: int
    shard: int
    number: int


@dataclass(frozen=True, slots=True)
class Listed:
    """An end that lists: the salt, and the places as (shard, index)."""

    salt: bytes
    places: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Erased:
    """An end whose list was erased, on the ground `retention` or `order`; its hash is still there."""

    content: bytes
    ground: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The answer for one day (level 1), or for a half-year by its last day (level 2). `Leaf` is another label's."""

    epoch: int
    level: int
    siblings: tuple[bytes, ...]
    end: Listed | Erased | Leaf | None


@dataclass(frozen=True, slots=True)
class ErasedEntry:
    """An entry that is listed, and of which only part A is left."""

    opening: Recomputed
    ground: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a document shows, read and not believed."""

    origin: str
    first: int
    last: int
    shards: Mapping[str, tuple[int, int]]
    proofs: tuple[Proof, ...]
    entries: tuple[Recomputed, ...]
    erased: tuple[ErasedEntry, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the trie says for the days from `first` to `last`: places, none, or (`erased`) that they were erased."""

    first: int
    last: int
    leaf: EpochLeaf
    places: tuple[EntryPlace, ...]
    erased: str | None


@dataclass(frozen=True, slots=True)
class VerifiedEntry:
    """A listed entry: what its opened parts say, and the ground on which the others were erased, None if they stand."""

    place: EntryPlace
    origin: str
    parts: Mapping[str, dict[str, object]]
    erased: str | None


def read_evidence(document: Fields) -> Evidence:
    """Read the members that all such documents have.

    Raises `Tampered`: `document-malformed`, `opening-…`, `shard-twice`, `shard-other`.
    """
    epochs = document.object("epochs")
    origin, first, last = epochs.text("origin"), epochs.number("first"), epochs.number("last")
    epochs.end()
    shards = read_shards(document)
    entries = tuple(recompute(item.members) for item in document.objects("entries"))
    erased: list[ErasedEntry] = []
    for item in document.objects("erased"):
        erased.append(ErasedEntry(recompute(item.mapping("opening")), read_ground(item)))
        item.end()
    proofs = tuple(map(_proof, document.objects("days")))
    return Evidence(origin, first, last, shards, proofs, entries, tuple(erased))


def read_shards(document: Fields) -> dict[str, tuple[int, int]]:
    """Read which half-year and which number each log has that is named by its origin.

    Raises `Tampered`: `document-malformed`, `shard-twice`, `shard-other`.
    """
    shards: dict[str, tuple[int, int]] = {}
    for item in document.objects("shards"):
        name = item.text("origin")
        # It comes to stand in messages to people.
        if not name.isprintable() or " " in name:
            raise item.error("has an origin that is no name of a log")
        period = item.number("period")
        if period_of_origin(name) not in (0, period):
            raise Tampered("shard-other", f"the document gives {name} another half-year than its name says")
        shards[name] = (period, item.number("shard"))
        item.end()
    # An entry that is copied to another shard would otherwise pass under the origin of its own.
    if len(set(shards.values())) != len(document.items("shards")) or len(shards) != len(document.items("shards")):
        raise Tampered("shard-twice", "the document gives two shards one origin, or one shard two")
    return shards


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: whose labels (their secret by half-year), for which days, seen from which day."""

    secret: Callable[[int], bytes]
    first: int
    last: int
    today: date


def check_asked(first: int, last: int, *, newest: int) -> None:
    """Raise `Invalid` (`no-days`) when days are asked for that the epoch log does not have, or none at all."""
    if not first <= last <= newest:
        raise Invalid("no-days", "the days asked for end before they begin, or are not all in the epoch log")


def check_days(evidence: Evidence, leaves: Sequence[EpochLeaf], question: Question) -> list[Answer]:
    """Check that there is an answer for each asked day, and each answer's proof.

    Raises `Tampered`: `day-missing`, `day-twice`, `day-unknown`, `trie-proof…`, `list-order`, `list-outside`,
    `erased-young`.
    """
    answers: list[Answer] = []
    order = DayOrder(leaves, asked=(question.first, question.last), given=(evidence.first, evidence.last))
    for proof in evidence.proofs:
        leaf = order.leaf(proof.epoch)
        start = proof.epoch
        if proof.level == PERIOD:
            start = first_day(leaf.period)
            if proof.epoch != last_day(leaf.period):
                raise Tampered("day-unknown", f"day {proof.epoch} does not close a half-year")
        order.meet(proof.epoch, start=start)
        answers.append(_answer(proof, leaf, question, start=start))
    order.end()
    return answers


class DayOrder:
    """See that each day of a range is answered for, once and in order, unless it has no shards.

    `asked` and `given` are the first and the last day that somebody asks for, and that the document says to be about:
    all of both have to be answered for. Raises `Tampered`: `day-missing`, `day-twice`, `day-unknown`.
    """

    def __init__(self, leaves: Sequence[EpochLeaf], *, asked: tuple[int, int], given: tuple[int, int]) -> None:
        self._leaves = leaves
        self._given = given
        self._expected = min(asked[0], given[0])
        self._last = max(asked[1], given[1])
        self._begun = False
        if self._last >= len(leaves):
            raise Tampered("day-unknown", f"the epoch log ends before day {self._last}, for which an answer is given")

    def leaf(self, epoch: int) -> EpochLeaf:
        """Return the leaf of a day that the document may answer for."""
        if not self._given[0] <= epoch <= self._given[1]:
            raise Tampered("day-unknown", f"the document answers for day {epoch}, outside its own first and last")
        return self._leaves[epoch]

    def meet(self, epoch: int, *, start: int) -> None:
        """Take the answer for the days from `start` to `epoch`."""
        expected = _skip_blank(self._leaves, self._expected, start)
        if start > expected:
            raise Tampered("day-missing", f"the document has no answer for {date_of(expected)}")
        # Only the first answer, when it is for a half-year, may begin before what is asked.
        if epoch < expected or (self._begun and start < expected):
            raise Tampered("day-twice", f"the document answers twice for {date_of(epoch)}")
        self._begun = True
        self._expected = epoch + 1

    def end(self) -> None:
        """See that no day is left."""
        expected = _skip_blank(self._leaves, self._expected, self._last + 1)
        if expected <= self._last:
            raise Tampered("day-missing", f"the document has no answer for {date_of(expected)}")


def check_entries(
    evidence: Evidence, answers: Sequence[Answer], *, letters: str, today: date, keys: Mapping[str, LogKeys]
) -> dict[EntryPlace, VerifiedEntry]:
    """Check that exactly the listed entries are opened, each with exactly these parts; return them by place.

    `keys` are of shards, by origin: where there is one, the checkpoint of an opening must be signed by it.

    Raises `Tampered`: `entry-not-listed`, `entry-opened-twice`, `entry-not-opened`, `entry-type`, `entry-parts`,
    `entry-repeated`, `entry-root`, `inclusion-proof`, `opening-…`, `erased-young`.
    """
    listed = {place: answer for answer in answers for place in answer.places}
    found: dict[EntryPlace, VerifiedEntry] = {}
    commitments: set[bytes] = set()
    shown = [(opening, None) for opening in evidence.entries]
    shown += [(item.opening, item.ground) for item in evidence.erased]
    check = EntryCheck(letters, today=today, keys=keys)
    for opening, ground in shown:
        place = place_of(opening, evidence.shards)
        answer = listed.get(place)
        if answer is None:
            message = f"entry {place.number} of {opening.origin} is opened and is not in the list of any day"
            raise Tampered("entry-not-listed", message)
        if place in found:
            raise Tampered("entry-opened-twice", f"entry {place.number} of {opening.origin} is opened twice")
        if opening.leaf in commitments:
            raise repeated(place.number, opening.origin)
        commitments.add(opening.leaf)
        found[place] = check.entry(opening, place, answer.leaf, ground=ground)
    for place in listed:
        if place not in found:
            message = f"entry {place.number} of shard {place.shard}, {period_name(place.period)}, is not opened"
            raise Tampered("entry-not-opened", message)
    return found


def place_of(opening: Recomputed, shards: Mapping[str, tuple[int, int]]) -> EntryPlace:
    """Return where an opened entry stands; raise `Tampered` (`entry-not-listed`) when its log is none of `shards`."""
    where = shards.get(opening.origin)
    if where is None:
        message = f"the document opens an entry of {opening.origin}, which is none of its shards"
        raise Tampered("entry-not-listed", message)
    return EntryPlace(*where, opening.index)


def repeated(index: int, origin: str) -> Tampered:
    """Return the error that an entry's commitment was seen before."""
    return Tampered("entry-repeated", f"entry {index} of {origin} is the copy of another entry")


class EntryCheck:
    """Check opened entries against the day that lists them: type, parts, proof, checkpoint, age.

    `keys` are of shards, by origin: where there is one, the checkpoint of an opening must be signed by it.
    """

    def __init__(self, letters: str, *, today: date, keys: Mapping[str, LogKeys]) -> None:
        self._letters = set(letters)
        self._today = today
        self._keys = keys
        # By origin: the note that was opened last. All entries of a day in a shard have the same.
        self._opened: dict[str, tuple[bytes, Checkpoint]] = {}

    def entry(self, opening: Recomputed, place: EntryPlace, leaf: EpochLeaf, *, ground: str | None) -> VerifiedEntry:
        """Return an entry as it was verified; `ground` is why all but part A was erased, None when it was not.

        The day's ranges must have the place. Raises `Tampered`: `entry-type`, `entry-parts`, `entry-root`,
        `inclusion-proof`, `opening-checkpoint`, `erased-young`.
        """
        where = f"entry {place.number} of {opening.origin}"
        # SPEC ledger §4: "*Subject shards* hold only type `0x01`"
        if opening.type != SUBJECT_ENTRY:
            raise Tampered("entry-type", f"{where} is not of the type of entries about a person")
        if set(opening.parts) != (self._letters if ground is None else {"A"}):
            raise Tampered("entry-parts", f"{where} is opened with other parts than this document shows")
        item = leaf.range_of(place.shard)
        assert item is not None  # noqa: S101  the place is inside the ranges
        root = root_from_inclusion(leaf_hash(opening.leaf), place.number, item.end, opening.receipt.hashes)
        if root != item.root_at_end:
            message = f"{where} is not what is opened, or not in the log that the epoch log names for that day"
            raise Tampered("entry-root", message)
        checkpoint = self._checkpoint(opening, where)
        if (checkpoint.origin, checkpoint.size, checkpoint.root) != (opening.origin, item.end, item.root_at_end):
            message = f"{where} is proven with a checkpoint that is not that of its day's end"
            raise Tampered("opening-checkpoint", message)
        if ground is not None:
            _check_age(ground, place.period, {retention_of(opening.parts["A"])}, today=self._today, what=where)
        return VerifiedEntry(place, opening.origin, opening.parts, ground)

    def _checkpoint(self, opening: Recomputed, where: str) -> Checkpoint:
        note, keys = opening.receipt.checkpoint, self._keys.get(opening.origin)
        known = self._opened.get(opening.origin)
        if known is not None and known[0] == note:
            return known[1]
        try:
            checkpoint = read_unverified(note) if keys is None else open_checkpoint(note, keys)
        except Invalid as error:
            raise Tampered("opening-checkpoint", f"{where}: {error.message}") from error
        self._opened[opening.origin] = note, checkpoint
        return checkpoint


def _answer(proof: Proof, leaf: EpochLeaf, question: Question, *, start: int) -> Answer:
    level, number = (PERIOD, leaf.period) if proof.level == PERIOD else (DAY, leaf.epoch)
    label = label_of(question.secret(leaf.period), level, number)
    root = leaf.period_root if level == PERIOD else leaf.persons_root
    places: tuple[EntryPlace, ...] = ()
    erased: str | None = None
    match proof.end:
        case Listed(salt, listed):
            _check_list(listed, leaf, from_start=level == PERIOD)
            verify_inclusion(Leaf(label, index_hash(salt, listed)), proof.siblings, root=root)
            places = tuple(EntryPlace(leaf.period, shard, index) for shard, index in listed)
        case end:
            check_unlisted_end(end, label, proof.siblings, leaf, root=root, today=question.today)
            erased = end.ground if isinstance(end, Erased) else None
    return Answer(start, leaf.epoch, leaf, places, erased)


def check_unlisted_end(  # noqa: PLR0913  a proof, and what it is about
    end: Erased | Leaf | None, label: bytes, siblings: tuple[bytes, ...], leaf: EpochLeaf, *, root: bytes, today: date
) -> None:
    """Check an answer that lists nothing: nobody at the label, or a list that was erased.

    Raises `Tampered`: `trie-proof…`, `erased-young`.
    """
    if isinstance(end, Erased):
        verify_inclusion(Leaf(label, end.content), siblings, root=root)
        what = f"the list of {date_of(leaf.epoch)}"
        # Whatever was in it: nothing may be erased sooner than after the shortest retention.
        _check_age(end.ground, leaf.period, RETENTIONS, today=today, what=what)
    else:
        verify_absence(label, TrieProof(siblings, end), root=root)


def _check_list(listed: Sequence[tuple[int, int]], leaf: EpochLeaf, *, from_start: bool) -> None:
    when = date_of(leaf.epoch)
    try:
        check_places(listed)
    except Invalid as error:
        raise Tampered("list-order", f"the list of {when}: {error.message}") from error
    ranges = {item.shard: range(0 if from_start else item.start, item.end) for item in leaf.shards}
    for shard, index in listed:
        # SPEC ledger §5: "m ≥ 1, strictly ascending, inside the ranges"
        if shard not in ranges or index not in ranges[shard]:
            raise Tampered("list-outside", f"the list of {when} names entry {index} of shard {shard}: not of that day")


def is_young(ground: str, period: int, retentions: Iterable[int], *, today: date) -> bool:
    """Say whether an erasure on this ground came before the shortest of these retentions (years) was over.

    They are counted from the end of the half-year. An order may come at any time.
    """
    over = date_of(last_day(period))
    return ground == "retention" and today <= over.replace(year=over.year + min(retentions))


def _check_age(ground: str, period: int, retentions: Iterable[int], *, today: date, what: str) -> None:
    if is_young(ground, period, retentions, today=today):
        message = f"{what} is said to be erased for its age, and is younger than that: it is withheld from you"
        raise Tampered("erased-young", message)


def _skip_blank(leaves: Sequence[EpochLeaf], expected: int, until: int) -> int:
    """Return the first day from `expected` on, up to `until`, that has shards: the others need no answer."""
    while expected < until and not leaves[expected].shards:
        expected += 1
    return expected


def _proof(item: Fields) -> Proof:
    epoch, level = item.number("epoch"), item.number("level")
    if level not in (DAY, PERIOD):
        raise item.error("has a level that is neither 1 (day) nor 2 (half-year)")
    siblings = item.hashes("siblings", size=HASH_SIZE)
    end = read_end(item.object("end"), _listed)
    item.end()
    return Proof(epoch, level, siblings, end)


def read_end(end: Fields, listed: Callable[[Fields], _Listed]) -> _Listed | Erased | Leaf | None:
    """Read where a proof ends: `listed` reads the label's own leaf, and None is an empty place."""
    result: _Listed | Erased | Leaf | None
    if end.has("leaf"):
        inner = end.object("leaf")
        result = listed(inner)
        inner.end()
    elif end.has("erased"):
        inner = end.object("erased")
        result = Erased(inner.data("hL", size=HASH_SIZE), read_ground(inner))
        inner.end()
    elif end.has("other"):
        inner = end.object("other")
        result = Leaf(inner.data("label", size=HASH_SIZE), inner.data("hL", size=HASH_SIZE))
        inner.end()
    elif end.value("empty") is True:
        result = None
    else:
        raise end.error("is none of leaf, erased, other and empty")
    end.end()
    return result


def read_ground(item: Fields) -> str:
    """Read why something was erased: `retention` or `order`."""
    ground = item.text("ground")
    if ground not in GROUNDS:
        raise item.error("names a ground that is neither retention nor order")
    return ground


def _listed(fields: Fields) -> Listed:
    return Listed(fields.data("salt", size=HASH_SIZE), fields.places("list"))
