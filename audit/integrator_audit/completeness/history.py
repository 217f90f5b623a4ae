"""Checks what an operator shows a person: everything that was listed about them, on every day, and nothing left out.

- The person knows their number. The label key of each half-year is the one in the epoch log, a permutation, and the
  signature `y` is its over that number: no other label can be theirs.
- Each day has an answer, each listed entry is opened with A and S, and S names one and the same pseudonym.
- What this cannot see is said: entries about the person that were never logged, or listed under somebody else's label;
  at most U entries a day, over all people, that are withheld by a supervisor's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from integrator_audit.checkpoint import LogKeys
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.completeness.evidence import (
    Answer,
    EntryPlace,
    Evidence,
    Question,
    VerifiedEntry,
    check_asked,
    check_days,
    check_entries,
    read_evidence,
)
from integrator_audit.completeness.fields import Fields, read_document
from integrator_audit.completeness.labels import (
    CERTIFICATE_ROOTS,
    SIGNATURE_SIZE,
    LabelKey,
    label_secret,
    signed_input,
)
from integrator_audit.completeness.members import Pseudonym, subject_of
from integrator_audit.completeness.unlisted import ORDER_MEMBER
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.halfyear import date_of, number_of, period_name
from integrator_audit.opening import VerifiedOpening

SCHEMA: Final = "dienstenintegrator/history/v1"
MAX_HISTORY: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class PersonKey:
    """The label key of a half-year, and the person's signature under it, which is a secret of theirs."""

    period: int
    spki: bytes
    certificate: tuple[bytes, ...]
    y: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HistoryDocument:
    """A history as it was handed over, read and not believed."""

    evidence: Evidence
    keys: Mapping[int, PersonKey]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks: everything about their canonical number "scheme:value", seen from the day `today`.

    `today`, `first` and `last` are numbers of days; without the latter two all days of the log are asked for. With
    `keys`, of shards by origin, the checkpoints of these shards must be signed by them. `receipts` are openings of
    entries about this person that a recipient gave them: those entries have to be in the list.
    """

    number: str = field(repr=False)
    today: int
    first: int | None = None
    last: int | None = None
    keys: Mapping[str, LogKeys] = field(default_factory=dict[str, LogKeys])
    receipts: Sequence[VerifiedOpening] = ()


@dataclass(frozen=True, slots=True)
class Day:
    """What was found for the days from `first` to `last`: its entries; `erased` is the ground if the list is gone."""

    first: int
    last: int
    entries: tuple[VerifiedEntry, ...]
    erased: str | None


@dataclass(frozen=True, slots=True)
class History:
    """A history that holds. `unlisted` is U: how many entries a day, over all people, it may not show at most.

    `versions` are those of the ledger's key under which entries name the person: nothing ties the pseudonym of one to
    that of another, so where there are several, only who reads the entries can tell that all are about them.
    """

    origin: str
    days: tuple[Day, ...]
    unlisted: int
    versions: tuple[int, ...] = ()

    @property
    def entries(self) -> list[VerifiedEntry]:
        """Return all entries, by day and place."""
        return [entry for day in self.days for entry in day.entries]


def read_history(data: bytes) -> HistoryDocument:
    """Read a history document; raise `Tampered` (`document-malformed`, `opening-…`) when it is not of its form."""
    document = read_document(data, SCHEMA, limit=MAX_HISTORY)
    evidence = read_evidence(document)
    keys: dict[int, PersonKey] = {}
    for item in document.objects("keys"):
        key = _key(item)
        if keys.setdefault(key.period, key) is not key:
            raise Tampered("document-malformed", f"the document has two keys for {period_name(key.period)}")
    document.end()
    return HistoryDocument(evidence, keys)


def verify_history(document: HistoryDocument, epochs: EpochLog, asked: Asked) -> History:
    """Check a history and return what it says.

    Raises `Tampered` with the name of the lie: `history-other-log`, `label-key…`, `label-signature`, `pseudonym-other`,
    `receipt-not-listed`, and what `check_days` and `check_entries` raise. `Invalid`: `no-days`, `person-number`,
    `receipt-outside`, `receipt-date`.
    """
    evidence = document.evidence
    if evidence.origin != epochs.origin:
        message = f"the document is about the epoch log {evidence.origin}, the key is that of {epochs.origin}"
        raise Tampered("history-other-log", message)
    secrets: dict[int, bytes] = {}

    def secret(period: int) -> bytes:
        if period not in secrets:
            secrets[period] = _checked_secret(document, epochs, number=asked.number, period=period)
        return secrets[period]

    first = epochs.first if asked.first is None else max(asked.first, epochs.first)
    last = epochs.newest if asked.last is None else asked.last
    check_asked(first, last, newest=epochs.newest)
    question = Question(secret, first, last, date_of(asked.today))
    answers = check_days(evidence, epochs.leaves, question)
    entries = check_entries(evidence, answers, letters="AS", today=question.today, keys=asked.keys)
    versions = _check_person(entries.values())
    _check_receipts(asked.receipts, entries.values(), first=first, last=last)
    found = tuple(_day(answer, entries) for answer in answers)
    return History(evidence.origin, found, max((answer.leaf.unlisted for answer in answers), default=0), versions)


def _checked_secret(document: HistoryDocument, epochs: EpochLog, *, number: str, period: int) -> bytes:
    """Return k of a half-year after checking key, certificate and signature."""
    name = period_name(period)
    key = document.keys.get(period)
    if key is None:
        raise Tampered("label-key-missing", f"the document has no label key for {name}")
    public = LabelKey.read(key.spki)
    fingerprint = next(leaf.label_key for leaf in reversed(epochs.leaves) if leaf.period == period)
    if public.fingerprint != fingerprint:
        message = f"the label key for {name} is not the one in the epoch log: you would be shown another label's list"
        raise Tampered("label-key-other", message)
    public.check_certificate(key.certificate)
    public.check_signature(key.y, signed_input(period, number))
    return label_secret(key.y)


def _check_person(entries: Iterable[VerifiedEntry]) -> tuple[int, ...]:
    """Refuse two pseudonyms: one person has one under each version of the ledger's key. Return the versions."""
    found: dict[int, Pseudonym] = {}
    for entry in entries:
        if entry.erased is not None:
            continue
        pseudonym = subject_of(entry.parts["S"])
        if found.setdefault(pseudonym.key_version, pseudonym) != pseudonym:
            message = f"entry {entry.place.number} of {entry.origin} is about another person than the entries before it"
            raise Tampered("pseudonym-other", message)
    return tuple(sorted(found))


def _check_receipts(
    receipts: Sequence[VerifiedOpening], entries: Iterable[VerifiedEntry], *, first: int, last: int
) -> None:
    """Refuse a history that lacks an entry which a receipt proves to be about this person."""
    listed = {(entry.origin, entry.place.number) for entry in entries}
    for receipt in receipts:
        said = receipt.parts.get("A", {})
        if (receipt.origin, receipt.index) in listed or ORDER_MEMBER in said:
            continue
        try:
            day = number_of(date.fromisoformat(str(said.get("date"))))
        except ValueError as error:
            raise Invalid("receipt-date", "a receipt does not say the date of its entry") from error
        where = f"entry {receipt.index} of {receipt.origin}"
        # It was entered on that day or the next.
        if not first <= day < last:
            raise Invalid(
                "receipt-outside", f"{where}, for which there is a receipt, is not of the days of this history"
            )
        raise Tampered("receipt-not-listed", f"there is a receipt for {where}, and it is not listed under this person")


def _day(answer: Answer, entries: Mapping[EntryPlace, VerifiedEntry]) -> Day:
    return Day(answer.first, answer.last, tuple(entries[place] for place in answer.places), answer.erased)


def _key(item: Fields) -> PersonKey:
    period, spki = item.number("period"), item.data("spki")
    certificate = item.hashes("certificate", size=SIGNATURE_SIZE)
    if len(certificate) != CERTIFICATE_ROOTS:
        raise item.error(f"has a certificate of other than {CERTIFICATE_ROOTS} roots")
    key = PersonKey(period, spki, certificate, item.data("y", size=SIGNATURE_SIZE))
    item.end()
    return key
