"""The engine in Python: reads, decides and projects record by record; what every faster engine must equal.

One batch goes through in two passes. The first reads every record and sets aside what cannot be read; then the
directory is asked once about all people; the second decides and builds what goes out. Nothing is logged per record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from integrator.domain.authorisation import Authorisation
from integrator.domain.decision import UNIDENTIFIED, Decision, Lines
from integrator.domain.directory import DirectoryView
from integrator.domain.errors import Invalid, Unavailable
from integrator.domain.identifiers import Pseudonym, SubjectRef, split_stream
from integrator.domain.identities import Identities
from integrator.domain.pseudonyms import Pseudonyms
from integrator.domain.topics import receipts_topic
from integrator.routing.binary import binary, long
from integrator.routing.delivered import Deliveries, Round
from integrator.routing.engine import Output, Sequences
from integrator.routing.envelope import readable_id
from integrator.routing.ports import OutRecord, SourceBatch
from integrator.routing.prepared import Pairwise, PreparedStream, ReadRecord
from integrator.routing.quarantine import quarantined
from integrator.routing.receipts import Receipts
from integrator.routing.requests import inscribe

_MOST_PEOPLE = 16_384
"""So many people are remembered with what the ledger is to know of them."""


@dataclass(frozen=True, slots=True)
class _Out:
    """What a batch has become so far."""

    deliveries: list[tuple[str, OutRecord]] = field(default_factory=list[tuple[str, OutRecord]])
    disclosures: list[bytes] = field(default_factory=list[bytes])
    receipts: list[tuple[str, OutRecord]] = field(default_factory=list[tuple[str, OutRecord]])
    quarantined: list[OutRecord] = field(default_factory=list[OutRecord])
    requests: list[OutRecord] = field(default_factory=list[OutRecord])
    withheld: list[Decision] = field(default_factory=list[Decision])
    unidentified: Counter[tuple[str, int, str]] = field(default_factory=Counter[tuple[str, int, str]])

    def finish(self) -> Output:
        counts = dict(self.unidentified)
        for (authorisation, version, reason, _), times in Counter(self.withheld).items():
            counts[authorisation, version, reason or ""] = times
        return Output(self.deliveries, self.disclosures, self.receipts, self.quarantined, self.requests, counts)


class PythonEngine:
    """Implements `Engine`. Caches by the version of the directory's knowledge."""

    def __init__(
        self,
        pairwise: Pairwise,
        *,
        directory_key: bytes,
        ledger_key: bytes,
        identities: Identities,
        ledger_key_version: int = 1,
    ) -> None:
        self._pairwise = pairwise
        self._directory = Pseudonyms(directory_key, "directory")
        self._ledger = Pseudonyms(ledger_key, "ledger")
        self._ledger_key_version = long(ledger_key_version)
        self._identities = identities
        # Sealing costs more than all else about a person, and people recur: in a batch, and from batch to batch.
        self._named = lru_cache(maxsize=_MOST_PEOPLE)(self._in_ledger)
        self._version = -1
        self._streams: dict[tuple[str, str], PreparedStream | None] = {}

    def process(self, batch: SourceBatch, view: DirectoryView, sequences: Sequences, *, lane: int, at: int) -> Output:
        """Process one batch at the position of `view`.

        Never raises for what a record holds. Raises `Unavailable` when the directory cannot decide yet: `no-date`
        (no legal day where the stream's law holds), `no-schema` (the schema of a delivery is missing),
        `contract-invalid` (a contract or an authorisation does not fit its schema).
        """
        out = _Out()
        stream = self._stream(batch, view)
        read = _read(batch, stream)
        routing = None
        if stream is not None and stream.has_authorisations:
            if stream.today is None:
                raise Unavailable(
                    "no-date", f"The directory does not know the day for {batch.stream} yet: wait for it."
                )
            common = Round(batch, lane, view.position, stream.today, at, sequences, self._directory.of, self._named)
            routing = _Routing(stream, view, common, out)
            routing.look_up(one for one in read if isinstance(one, ReadRecord))
        receipts = Receipts(batch.stream, batch.partition, at=at)
        receipts_to = receipts_topic(split_stream(batch.stream)[0])
        for record, found in zip(batch.records, read, strict=True):
            try:
                if isinstance(found, Invalid):
                    raise found
                if found is None:
                    out.receipts.append(
                        (receipts_to, receipts.passed_over(readable_id(record.headers), record.position))
                    )
                    continue
                forwarded = routing is not None and routing.route(found)
                receipt = receipts.of(found.event.id, record.position, forwarded=forwarded)
            except Invalid as reason:
                out.quarantined.append(quarantined(batch, record, reason=reason, position=view.position))
                receipt = receipts.quarantined(readable_id(record.headers), record.position, reason.code)
            out.receipts.append((receipts_to, receipt))
        return out.finish()

    def _stream(self, batch: SourceBatch, view: DirectoryView) -> PreparedStream | None:
        knowledge = view.knowledge
        if knowledge.version != self._version:
            self._version, self._streams = knowledge.version, {}
        at = batch.stream, batch.topic
        if at not in self._streams:
            self._streams[at] = PreparedStream.of(knowledge, batch.stream, batch.topic, pairwise=self._pairwise)
        return self._streams[at]

    def _in_ledger(self, person: SubjectRef) -> bytes:
        """Return the part of a disclosure record that is the same for every delivery about `person`."""
        pseudonym = self._ledger.of(person)
        return pseudonym + self._ledger_key_version + binary(self._identities.seal(person, pseudonym))


def _read(batch: SourceBatch, stream: PreparedStream | None) -> list[ReadRecord | Invalid | None]:
    """Read every record of a batch, or say why it is set aside; `None` for one that lets a fact be forgotten.

    That one is its source's business with the log: set aside, it would keep the number that it is to forget.
    """
    read: list[ReadRecord | Invalid | None] = []
    for record in batch.records:
        try:
            if stream is None:
                raise Invalid("unknown-stream", f"The directory has no contract or no source of {batch.stream}.")
            read.append(None if stream.forgets(record) else stream.read(record, batch))
        except Invalid as reason:
            read.append(reason)
    return read


class _Routing:
    """Decides and delivers the records of one batch."""

    def __init__(self, stream: PreparedStream, view: DirectoryView, common: Round, out: _Out) -> None:
        self._stream, self._view, self._common, self._out = stream, view, common, out
        self._authorisations = view.knowledge.authorisations
        self._deliveries: dict[tuple[str, int], Deliveries] = {}
        self._pseudonyms: dict[SubjectRef, Pseudonym] = {}
        self._lines: dict[SubjectRef, Lines] = {}
        self._asked: set[tuple[str, str, Pseudonym]] = set()

    def look_up(self, records: Iterable[ReadRecord]) -> None:
        """Ask the directory once about everybody on whom a decision of the batch may depend."""
        people: set[SubjectRef] = set()
        for record in records:
            if self._stream.asks_subject:
                people.add(record.event.subject)
            if self._stream.asks_related:
                people.update(person.ref for person in record.event.related if person.ref is not None)
        known_as = self._common.known_as
        self._pseudonyms = {person: known_as(person) for person in people}
        if people:
            found = self._view.inscriptions(list(self._pseudonyms.values()))
            self._lines = {person: lines for person, lines in zip(self._pseudonyms, found, strict=True) if lines}

    def route(self, record: ReadRecord) -> bool:
        """Decide one record and deliver it to whom it is permitted; tell whether that was anybody.

        Raises `Invalid` (`contract`) before anything of the record is in the output.
        """
        event, lines = record.event, self._lines
        related: list[tuple[str, Lines]] = []
        if lines and self._stream.asks_related:
            related = [(one.relation, lines.get(one.ref, ())) for one in event.related if one.ref is not None]
        decisions = self._stream.decisions.decide(event, lines.get(event.subject, ()), related)
        permits = [
            (deliveries := self._of(decision), decision.fired, deliveries.project(record.body))
            for decision in decisions
            if decision.reason is None
        ]
        self._out.withheld.extend(decision for decision in decisions if decision.reason is not None)
        for deliveries, fired, body in permits:
            self._deliver(record, deliveries, fired=fired, body=body)
        return bool(permits)

    def _of(self, decision: Decision) -> Deliveries:
        at = decision.authorisation, decision.version
        if (found := self._deliveries.get(at)) is None:
            delivery = self._stream.delivery(self._authorisations[at])
            found = self._deliveries[at] = Deliveries(delivery, self._common)
        return found

    def _deliver(self, record: ReadRecord, deliveries: Deliveries, *, fired: tuple[str, ...], body: bytes) -> None:
        event, out, authorisation = record.event, self._out, deliveries.authorisation
        delivered, disclosure, unidentified = deliveries.deliver(
            event, record.envelope, fired=fired, body=body, source=record.position
        )
        out.deliveries.append((deliveries.topic, delivered))
        out.disclosures.append(disclosure)
        if unidentified:
            out.unidentified[authorisation.id, authorisation.version, UNIDENTIFIED] += unidentified
        if event.kind == "created" and authorisation.inscribes is not None:
            self._inscribe(authorisation, event.subject)

    def _inscribe(self, authorisation: Authorisation, person: SubjectRef) -> None:
        """Ask once for the inscription of somebody whom the agency does not know in that capacity yet."""
        inscribes, common, known = authorisation.inscribes, self._common, self._pseudonyms[person]
        if inscribes is None:
            return
        at = authorisation.agency, inscribes.capacity, known
        held = any(
            (line.agency, line.capacity, line.phase) == (authorisation.agency, inscribes.capacity, inscribes.phase)
            and line.holds_on(common.today)
            for line in self._lines.get(person, ())
        )
        if not held and at not in self._asked:
            self._asked.add(at)
            request = inscribe(authorisation, known, today=common.today, position=common.position, at=common.at)
            self._out.requests.append(request)
