"""Everything that is prepared once for a stream at one version of the directory's knowledge, and reads its records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from integrator.domain.authorisation import Authorisation
from integrator.domain.directory import Knowledge
from integrator.domain.errors import Invalid, Unavailable
from integrator.domain.identifiers import split_stream
from integrator.domain.projection import paths
from integrator.domain.reading import EventReader, SourceEvent
from integrator.domain.topics import partition_of
from integrator.encoding import parse_schema, unframe
from integrator.routing.compiled import CompiledDecisions
from integrator.routing.delivered import Delivery
from integrator.routing.envelope import Envelope, read_envelope
from integrator.routing.ports import SourceBatch, SourceRecord
from integrator.routing.resolution import Resolver, compile_resolver, same_encoding
from integrator.routing.splice import Reader, compile_reader

Pairwise = Callable[[str, str], bytes]
"""The pairwise key of (agency, purpose)."""


class ReadRecord(NamedTuple):
    """A record that was read, and may be decided."""

    position: int
    envelope: Envelope
    event: SourceEvent
    body: bytes
    """Avro under the contract's latest schema."""

    def __repr__(self) -> str:
        return f"ReadRecord({self.position}, {self.event!r})"


class PreparedStream:
    """One stream at one version of the directory's knowledge."""

    @classmethod
    def of(cls, knowledge: Knowledge, name: str, topic: str, *, pairwise: Pairwise) -> PreparedStream | None:
        """Return the prepared stream, or `None` when the directory has no contract or no source of it.

        Raises `Unavailable` (`contract-invalid`) for a contract that `integrator check` would refuse.
        """
        if name not in knowledge.contracts or split_stream(name)[0] not in knowledge.sources:
            return None
        try:
            return cls(knowledge, name, topic, pairwise=pairwise)
        except Invalid as error:
            raise Unavailable("contract-invalid", f"The contract of {name} cannot be used: {error}") from error

    def __init__(self, knowledge: Knowledge, name: str, topic: str, *, pairwise: Pairwise) -> None:
        contract = knowledge.contracts[name]
        self._knowledge, self._pairwise, self._contract = knowledge, pairwise, contract
        self._subject = f"{topic}-value"
        self._urn = knowledge.sources[split_stream(name)[0]].urn.encode()
        self._type = contract.event_type.encode()
        self._schema = parse_schema(contract.schemas[-1])
        self._events = EventReader(contract, paths(self._schema))
        self._read = self._reader()
        # For the id of each schema met: nothing, or what turns a body of it into one of the contract's latest.
        self._lifts: dict[int, Resolver | None] = {}
        self._deliveries: dict[tuple[str, int], Delivery] = {}
        self.decisions = CompiledDecisions(knowledge, name)
        self.today: date | None = knowledge.dates.get(contract.time_zone)
        """The legal day where the stream's law holds."""
        self.has_authorisations = bool(knowledge.standing.get(name))
        inscribes = any(one.authorisation.inscribes for one in knowledge.standing.get(name, ()))
        self.asks_subject = self.decisions.asks_subject or inscribes
        self.asks_related = self.decisions.asks_related

    def _reader(self) -> Reader:
        roles = self._events.paths
        return compile_reader(self._schema, ones=roles.ones, lists=roles.lists)

    def forgets(self, record: SourceRecord) -> bool:
        """Tell whether a record says that its fact is to be forgotten: the log keeps the latest of each, and none then.

        In a stream that keeps no facts a record without a value is a broken one.
        """
        return record.value is None and self._contract.state == "fact"

    def read(self, record: SourceRecord, batch: SourceBatch) -> ReadRecord:
        """Read one record. Raises `Invalid` with a code of `decision.QUARANTINED`."""
        envelope = read_envelope(record.headers, source=self._urn, event_type=self._type)
        schema_id, body = _schema_and_body(record.value, envelope)
        lift = self._lifts[schema_id] if schema_id in self._lifts else self._find(schema_id)
        if lift is not None:
            body = lift(body)
        event = self._events.event(self._read(body), id=envelope.id, time=envelope.time)
        if record.key != f"{event.subject.canonical}|{event.fact_id}".encode():
            raise Invalid("wrong-key", "The key is not scheme:number|fact of the person in the value.")
        if partition_of(event.subject, batch.partitions) != batch.partition:
            raise Invalid("wrong-partition", "The record is not in the partition of its person.")
        return ReadRecord(record.position, envelope, event, body)

    def _find(self, schema_id: int) -> Resolver | None:
        registered = self._knowledge.schemas.get(schema_id)
        if registered is None or registered.subject != self._subject:
            raise Invalid("unknown-schema", f"The schema id {schema_id} is not one of {self._subject}.")
        writer = parse_schema(registered.text)
        lift = None if same_encoding(writer, self._schema) else compile_resolver(writer, self._schema)
        self._lifts[schema_id] = lift
        return lift

    def delivery(self, authorisation: Authorisation) -> Delivery:
        """Return what deliveries under `authorisation` have in common.

        Raises `Unavailable`: `no-schema`, or `contract-invalid` for fields that `integrator check` would refuse.
        """
        at = authorisation.id, authorisation.version
        if (found := self._deliveries.get(at)) is None:
            key = self._pairwise(authorisation.agency, authorisation.purpose)
            try:
                found = Delivery.of(authorisation, self._knowledge, schema=self._schema, key=key)
            except Invalid as error:
                # Not the record's fault: it must wait for a correct authorisation and not be set aside.
                raise Unavailable("contract-invalid", f"{authorisation.id} cannot be used: {error}") from error
            self._deliveries[at] = found
        return found


def _schema_and_body(value: bytes | None, envelope: Envelope) -> tuple[int, bytes]:
    """Split the value: the schema id stands before it or, in the other form that is read, in a header."""
    header = envelope.schema_id
    if header is None:
        return unframe(value)
    # LIMIT: Confluent's other header form, version byte 1 and a GUID, names no schema of this registry.
    if value is None or len(header) != 5 or header[0] != 0:
        raise Invalid("not-avro", "The header with the schema id is not 0x00 and four bytes.")
    return int.from_bytes(header[1:], "big"), value
