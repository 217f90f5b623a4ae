"""What an operator shows to prove that a list is whole: an answer for each day, and every listed entry opened.

- The same for a person and for a recipient; they differ in the trie, in the parts that are opened, and in that a person
  may get one answer for a whole half-year that is closed.
- A day's answer is a proof in its trie: a list, or nothing, or a leaf whose list was erased. No day may be missing.
- Each listed entry is opened exactly once, under the root that its shard had at the end of the day, and nothing else.
- Every check that fails has a code of its own: it says which lie was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from integrator_audit.checkpoint import LogKeys, open_checkpoint, read_unverified
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
PERSONS: Final = "persons"
RECIPIENTS: Final = "recipients"


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
    entries = tuple(recompute(item.members) for item in document.objects("entries"))
    erased: list[ErasedEntry] = []
    for item in document.objects("erased"):
        erased.append(ErasedEntry(recompute(item.mapping("opening")), _ground(item)))
        item.end()
    proofs = tuple(map(_proof, document.objects("days")))
    return Evidence(origin, first, last, shards, proofs, entries, tuple(erased))


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: whose labels (their secret by half-year), in which trie, for which days, seen from which day."""

    secret: Callable[[int], bytes]
    trie: str
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
    expected, last = min(question.first, evidence.first), max(question.last, evidence.last)
    if last >= len(leaves):
        raise Tampered("day-unknown", f"the epoch log ends before day {last}, for which an answer is given")
    for proof in evidence.proofs:
        if not evidence.first <= proof.epoch <= evidence.last:
            raise Tampered("day-unknown", f"the document answers for day {proof.epoch}, outside its own first and last")
        leaf = leaves[proof.epoch]
        start = proof.epoch
        if proof.level == PERIOD:
            start = first_day(leaf.period)
            if question.trie == RECIPIENTS or proof.epoch != last_day(leaf.period):
                raise Tampered("day-unknown", f"day {proof.epoch} does not close a half-year for this document")
        expected = _skip_blank(leaves, expected, start)
        if start > expected:
            raise Tampered("day-missing", f"the document has no answer for {date_of(expected)}")
        # Only the first answer, when it is for a half-year, may begin before what is asked.
        if proof.epoch < expected or (answers and start < expected):
            raise Tampered("day-twice", f"the document answers twice for {date_of(proof.epoch)}")
        answers.append(_answer(proof, leaf, question, start=start))
        expected = proof.epoch + 1
    expected = _skip_blank(leaves, expected, last + 1)
    if expected <= last:
        raise Tampered("day-missing", f"the document has no answer for {date_of(expected)}")
    return answers


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
    for opening, ground in shown:
        place = _place(opening, evidence)
        where = f"entry {place.number} of {opening.origin}"
        answer = listed.get(place)
        if answer is None:
            raise Tampered("entry-not-listed", f"{where} is opened and is not in the list of any day")
        if place in found:
            raise Tampered("entry-opened-twice", f"{where} is opened twice")
        # SPEC ledger §4: "*Subject shards* hold only type `0x01`"
        if opening.type != SUBJECT_ENTRY:
            raise Tampered("entry-type", f"{where} is not of the type of entries about a person")
        if set(opening.parts) != set(letters if ground is None else "A"):
            raise Tampered("entry-parts", f"{where} is opened with other parts than this document shows")
        if opening.leaf in commitments:
            raise Tampered("entry-repeated", f"{where} is the copy of another entry")
        commitments.add(opening.leaf)
        _check_root(opening, answer, place, keys=keys.get(opening.origin))
        if ground is not None:
            _check_age(ground, place.period, {retention_of(opening.parts["A"])}, today=today, what=where)
        found[place] = VerifiedEntry(place, opening.origin, opening.parts, ground)
    for place in listed:
        if place not in found:
            message = f"entry {place.number} of shard {place.shard}, {period_name(place.period)}, is not opened"
            raise Tampered("entry-not-opened", message)
    return found


def _answer(proof: Proof, leaf: EpochLeaf, question: Question, *, start: int) -> Answer:
    level, number = (PERIOD, leaf.period) if proof.level == PERIOD else (DAY, leaf.epoch)
    label = label_of(question.secret(leaf.period), level, number)
    root = leaf.period_root if level == PERIOD else leaf.persons_root
    if question.trie == RECIPIENTS:
        root = leaf.recipients_root
    places: tuple[EntryPlace, ...] = ()
    erased: str | None = None
    match proof.end:
        case Listed(salt, listed):
            _check_list(listed, leaf, from_start=level == PERIOD)
            verify_inclusion(Leaf(label, index_hash(salt, listed)), proof.siblings, root=root)
            places = tuple(EntryPlace(leaf.period, shard, index) for shard, index in listed)
        case Erased(content, erased):
            verify_inclusion(Leaf(label, content), proof.siblings, root=root)
            what = f"the list of {date_of(leaf.epoch)}"
            # Whatever was in it: nothing may be erased sooner than after the shortest retention.
            _check_age(erased, leaf.period, RETENTIONS, today=question.today, what=what)
        case end:
            verify_absence(label, TrieProof(proof.siblings, end), root=root)
    return Answer(start, leaf.epoch, leaf, places, erased)


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


def _check_root(opening: Recomputed, answer: Answer, place: EntryPlace, *, keys: LogKeys | None) -> None:
    item = answer.leaf.range_of(place.shard)
    assert item is not None  # noqa: S101  the list was inside the ranges
    where = f"entry {place.number} of {opening.origin}"
    root = root_from_inclusion(leaf_hash(opening.leaf), place.number, item.end, opening.receipt.hashes)
    if root != item.root_at_end:
        message = f"{where} is not what is opened, or not in the log that the epoch log names for that day"
        raise Tampered("entry-root", message)
    try:
        note = opening.receipt.checkpoint
        checkpoint = read_unverified(note) if keys is None else open_checkpoint(note, keys)
    except Invalid as error:
        raise Tampered("opening-checkpoint", f"{where}: {error.message}") from error
    if (checkpoint.origin, checkpoint.size, checkpoint.root) != (opening.origin, item.end, item.root_at_end):
        raise Tampered("opening-checkpoint", f"{where} is proven with a checkpoint that is not that of its day's end")


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


def _place(opening: Recomputed, evidence: Evidence) -> EntryPlace:
    where = evidence.shards.get(opening.origin)
    if where is None:
        raise Tampered(
            "entry-not-listed", f"the document opens an entry of {opening.origin}, which is none of its shards"
        )
    return EntryPlace(*where, opening.index)


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
    end = item.object("end")
    result: Listed | Erased | Leaf | None
    if end.has("leaf"):
        inner = end.object("leaf")
        result = Listed(inner.data("salt", size=HASH_SIZE), inner.places("list"))
        inner.end()
    elif end.has("erased"):
        inner = end.object("erased")
        result = Erased(inner.data("hL", size=HASH_SIZE), _ground(inner))
        inner.end()
    elif end.has("other"):
        inner = end.object("other")
        result = Leaf(inner.data("label", size=HASH_SIZE), inner.data("hL", size=HASH_SIZE))
        inner.end()
    elif end.value("empty") is True:
        result = None
    else:
        raise item.error("has an end that is none of leaf, erased, other and empty")
    end.end()
    item.end()
    return Proof(epoch, level, siblings, result)


def _ground(item: Fields) -> str:
    ground = item.text("ground")
    if ground not in GROUNDS:
        raise item.error("names a ground that is neither retention nor order")
    return ground
