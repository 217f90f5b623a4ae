"""Double entry: what a recipient received, against what the ledger lists under it.

- Neither side needs the other's goodwill: the list is whole by the day's trie, and each listed entry is opened with A
  and D; the recipient's own file says topic, partition, lane, sequence and SHA-256 of the value of each delivery.
- A delivery about several persons has an entry for each: these share its sequence and value. A release repeats an old
  entry and is no delivery.
- Differences do not end the check: each is a finding with its place, because the recipient has to see all of them.
- Deliveries around midnight may be entered on the next day. Where times are known (`at`), what was delivered before the
  first day or in the last minutes of the last one is not missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from integrator_audit.checkpoint import LogKeys
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.completeness.evidence import (
    RECIPIENTS,
    Evidence,
    Question,
    VerifiedEntry,
    check_asked,
    check_days,
    check_entries,
    read_evidence,
)
from integrator_audit.completeness.fields import Fields, read_document
from integrator_audit.completeness.members import Delivery, DeliverySequence, delivery_of, recipient_of
from integrator_audit.completeness.unlisted import RELEASE_MEMBER
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.findings import Finding, Findings
from integrator_audit.halfyear import date_of, start_of
from integrator_audit.strictjson import read_object

SCHEMA: Final = "dienstenintegrator/account/v1"
MAX_ACCOUNT: Final = 1 << 31
MAX_LINE: Final = 1 << 16
GRACE_MS: Final = 300_000
"""How long after a delivery its entry may come: lanes stop when the ledger is a minute behind."""


@dataclass(frozen=True, slots=True)
class AccountDocument:
    """An account as it was handed over, read and not believed."""

    evidence: Evidence
    recipient: str


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as the recipient noted it. `at` is in ms since 1970, `persons` their number; or None."""

    delivery: Delivery
    at: int | None = None
    persons: int | None = None


@dataclass(frozen=True, slots=True)
class AskedAccount:
    """What a recipient asks: everything under its 32-byte secret, seen from the day `today`.

    `today`, `first` and `last` are numbers of days; without the latter two all days of the log are asked for. With
    `keys`, of shards by origin, the checkpoints of these shards must be signed by them.
    """

    secret: bytes = field(repr=False)
    today: int
    first: int | None = None
    last: int | None = None
    keys: Mapping[str, LogKeys] = field(default_factory=dict[str, LogKeys])


@dataclass(frozen=True, slots=True)
class Account:
    """What the comparison gave. `listed` are the entries of each day (its number), `received` the deliveries compared.

    `erased` entries can no longer be compared; so `uncompared` deliveries may be what they were about, or were never
    logged. `outside` deliveries were not of these days.
    """

    recipient: str
    listed: Mapping[int, int]
    received: int
    outside: int
    erased: int
    uncompared: int
    findings: tuple[Finding, ...]
    left_out: int


def read_account(data: bytes) -> AccountDocument:
    """Read an account document; raise `Tampered` (`document-malformed`, `opening-…`) when it is not of its form."""
    document = read_document(data, SCHEMA, limit=MAX_ACCOUNT)
    evidence, recipient = read_evidence(document), document.text("recipient")
    document.end()
    return AccountDocument(evidence, recipient)


def read_received(lines: Iterable[bytes]) -> Iterable[Received]:
    """Yield the deliveries in a recipient's file, a JSON object on each line; raise `Invalid` (`received-line`)."""
    for at, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            members = read_object(line, what="it", limit=MAX_LINE)
            yield _received(Fields(members, "it"), members)
        except (Invalid, Tampered) as error:
            raise Invalid("received-line", f"line {at} of what was received: {error.message}") from error


def verify_account(
    document: AccountDocument, epochs: EpochLog, received: Iterable[Received], asked: AskedAccount
) -> Account:
    """Check an account and compare it with what was received.

    Raises `Tampered` with the name of the lie when the document does not hold: `account-other-log`, what `check_days`
    and `check_entries` raise, `recipient-other` (an entry of somebody else in the list), `part-members`; `Invalid`
    (`no-days`). Findings: `not-logged`, `invented`, `value-changed`, `received-twice`, `listed-twice`, `gap`,
    `persons-differ`.
    """
    evidence = document.evidence
    if evidence.origin != epochs.origin:
        message = f"the document is about the epoch log {evidence.origin}, the key is that of {epochs.origin}"
        raise Tampered("account-other-log", message)
    first = epochs.first if asked.first is None else max(asked.first, epochs.first)
    last = epochs.newest if asked.last is None else asked.last
    check_asked(first, last, newest=epochs.newest)
    question = Question(lambda _period: asked.secret, RECIPIENTS, first, last, date_of(asked.today))
    answers = check_days(evidence, epochs.leaves, question)
    entries = check_entries(evidence, answers, letters="AD", today=question.today, keys=asked.keys)
    whole = [entry for entry in entries.values() if entry.erased is None]
    for entry in whole:
        if recipient_of(entry.parts["A"], entry.parts["D"]) != document.recipient:
            message = f"entry {entry.place.number} of {entry.origin} is listed under {document.recipient}, not its own"
            raise Tampered("recipient-other", message)
    start = None if first == epochs.first else start_of(first)
    comparison = _Comparison(start, start_of(last + 1) - GRACE_MS)
    comparison.add_listed(whole)
    comparison.add_received(received)
    erased = len(entries) - len(whole)
    comparison.compare(erased + sum(answer.erased is not None for answer in answers))
    listed = {answer.last: len(answer.places) for answer in answers}
    found = comparison.findings
    counts = comparison.received, comparison.outside
    return Account(document.recipient, listed, *counts, erased, comparison.uncompared, found.items, found.left_out)


class _Comparison:
    """Two sets of deliveries by sequence and number: those listed and those received."""

    def __init__(self, start: int | None, stop: int) -> None:
        self.findings = Findings()
        self.received = 0
        self.outside = 0
        self.uncompared = 0
        self._start = start
        self._stop = stop
        self._listed: dict[DeliverySequence, dict[int, Delivery]] = defaultdict(dict)
        self._early: set[tuple[DeliverySequence, int]] = set()
        self._entries: dict[tuple[DeliverySequence, int], int] = defaultdict(int)
        self._received: dict[DeliverySequence, dict[int, Received]] = defaultdict(dict)

    def add_listed(self, entries: Sequence[VerifiedEntry]) -> None:
        for entry in entries:
            said = entry.parts["D"]
            if RELEASE_MEMBER in said:
                continue
            delivery = delivery_of(said)
            earlier = self._listed[delivery.sequence].setdefault(delivery.number, delivery)
            if earlier.value != delivery.value:
                message = "the ledger has entries about two values under this one number"
                self._find("listed-twice", delivery.sequence, delivery.number, message)
            self._entries[delivery.sequence, delivery.number] += 1
            at = _milliseconds(said.get("at"))
            # Earlier than that no entry comes so late: an invented delivery could say any time.
            if self._start is not None and at is not None and self._start - GRACE_MS <= at < self._start:
                self._early.add((delivery.sequence, delivery.number))

    def add_received(self, received: Iterable[Received]) -> None:
        for item in received:
            self.received += 1
            sequence, number, value = item.delivery
            earlier = self._received[sequence].setdefault(number, item)
            if earlier.delivery.value != value:
                self._find("received-twice", sequence, number, "two values were received under this one number")

    def compare(self, erased: int) -> None:
        """Find the differences; so many entries cannot be compared any more."""
        missing: list[tuple[DeliverySequence, int]] = []
        for sequence in sorted(self._listed.keys() | self._received.keys()):
            listed, received = self._listed[sequence], self._received[sequence]
            for number in sorted(listed.keys() | received.keys()):
                if number not in listed:
                    missing += self._not_listed(received[number], sequence, number)
                elif number not in received:
                    if (sequence, number) not in self._early:
                        self._find("invented", sequence, number, "the ledger has an entry, and nothing was received")
                else:
                    self._same(listed[number], received[number])
            self._gaps(sequence, listed.keys() | received.keys())
        # LIMIT: of an erased entry nobody can say which delivery it was about.
        if len(missing) <= erased:
            self.uncompared = len(missing)
        else:
            for sequence, number in missing:
                self._find("not-logged", sequence, number, "it was received, and the ledger has no entry about it")

    def _not_listed(
        self, item: Received, sequence: DeliverySequence, number: int
    ) -> Sequence[tuple[DeliverySequence, int]]:
        early = self._start is not None and item.at is not None and item.at < self._start
        if early or (item.at is not None and item.at >= self._stop):
            self.outside += 1
            return ()
        return () if item.persons == 0 else ((sequence, number),)

    def _same(self, listed: Delivery, item: Received) -> None:
        sequence, number, value = item.delivery
        if listed.value != value:
            self._find("value-changed", sequence, number, "the ledger has an entry about another value")
        count = self._entries[sequence, number]
        if item.persons is not None and item.persons != count:
            message = f"the ledger has {count} entries about it, and it was about {item.persons} persons"
            self._find("persons-differ", sequence, number, message)

    def _gaps(self, sequence: DeliverySequence, numbers: Iterable[int]) -> None:
        known = sorted(numbers)
        # Sequences are counted from 1; who asks for the whole log has all of them.
        expected = 1 if self._start is None else known[0]
        for number in known:
            if number > expected:
                what = f"numbers {expected} to {number - 1}" if number - 1 > expected else "this number"
                self._find("gap", sequence, expected, f"{what} were neither received nor entered")
            expected = number + 1

    def _find(self, code: str, sequence: DeliverySequence, number: int, message: str) -> None:
        topic, partition, lane = sequence
        self.findings.add(code, f"{topic}, partition {partition}, lane {lane}, number {number}", message)


def _received(fields: Fields, members: Mapping[str, object]) -> Received:
    for name in ("topic", "partition", "lane", "sequence", "valueSha256"):
        fields.value(name)
    at = fields.text("at") if fields.has("at") else None
    persons = fields.number("persons") if fields.has("persons") else None
    fields.end()
    milliseconds = _milliseconds(at)
    if at is not None and milliseconds is None:
        raise fields.error("has an at that is no moment in UTC such as 2026-08-01T12:00:00.000Z")
    return Received(delivery_of(members), milliseconds, persons)


def _milliseconds(at: object) -> int | None:
    """Return a moment of RFC 3339 in ms since 1970, None when it is none."""
    if type(at) is not str or not at.endswith("Z"):
        return None
    try:
        return int(datetime.fromisoformat(at).timestamp() * 1000)
    except ValueError:
        return None
