"""Builds one delivered record and the disclosure record that goes with it, from what an authorisation prepares once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import Knowledge, RegisteredSchema
from integrator.domain.disclosure import SUBJECT, DeliveredPeople
from integrator.domain.errors import Invalid, Unavailable
from integrator.domain.identifiers import Position, Pseudonym, SubjectRef, split_stream
from integrator.domain.projection import delivered_fields, derive_schema
from integrator.domain.pseudonyms import PairwiseEventIds, Pseudonyms
from integrator.domain.reading import SourceEvent
from integrator.domain.topics import agency_topic
from integrator.encoding import frame, parse_schema, record_type
from integrator.routing.binary import FALSE, TRUE, long, text
from integrator.routing.engine import ENGINE, Sequences
from integrator.routing.envelope import Envelope, constant_headers
from integrator.routing.ports import OutRecord, SourceBatch
from integrator.routing.resolution import compile_resolver, same_encoding
from integrator.routing.splice import Projector, compile_projector

_EPOCH = date(1970, 1, 1).toordinal()
_ID_LENGTH = long(36)
"""Before the text of a UUID."""
_word = cache(text)
"""`text` of one of few words: kinds and roles."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What every delivery under one version of an authorisation has in common."""

    authorisation: Authorisation
    topic: str
    schema_id: int
    project: Projector
    people: DeliveredPeople
    pairwise: Pseudonyms
    """Of the agency and purpose."""
    event_ids: PairwiseEventIds
    urn: str
    contract: Contract

    @classmethod
    def of(
        cls, authorisation: Authorisation, knowledge: Knowledge, *, schema: Mapping[str, Any], key: bytes
    ) -> Delivery:
        """Prepare deliveries of records of `schema`, the contract's latest.

        Raises `Unavailable` (`no-schema`) when no schema of the topic can hold what the authorisation names.
        """
        contract = knowledge.contracts[authorisation.stream]
        source, stream = split_stream(authorisation.stream)
        topic = agency_topic(authorisation.agency, authorisation.purpose, source, stream)
        fields = delivered_fields(authorisation, contract)
        registered, project = _projection(knowledge, f"{topic}-value", schema, fields)
        people = DeliveredPeople(contract, fields)
        urn = knowledge.sources[source].urn
        pairwise, event_ids = Pseudonyms(key, "pairwise"), PairwiseEventIds(key, urn)
        return cls(authorisation, topic, registered.id, project, people, pairwise, event_ids, urn, contract)


def _projection(
    knowledge: Knowledge, subject: str, schema: Mapping[str, Any], fields: tuple[str, ...]
) -> tuple[RegisteredSchema, Projector]:
    """Choose the schema of a topic for `fields`: the one that spans fit exactly, else the latest by way of fastavro."""
    derived = parse_schema(json.dumps(derive_schema(schema, fields)))
    spans = compile_projector(schema, fields, validated=True)  # by the reader of the stream, for every record
    versions = [one for one in knowledge.schemas.values() if one.subject == subject]
    versions.sort(key=lambda one: one.version, reverse=True)
    for registered in versions:
        if same_encoding(parse_schema(registered.text), derived):
            return registered, spans
    if not versions:
        raise Unavailable("no-schema", f"The directory has no schema {subject} yet: apply the authorisation again.")
    resolve = compile_resolver(derived, parse_schema(versions[0].text))

    def project(body: bytes) -> bytes:
        picked = spans(body)
        try:
            return resolve(picked)
        except Invalid as error:
            raise Unavailable("no-schema", f"The schema {subject} cannot hold what is authorised.") from error

    return versions[0], project


@dataclass(frozen=True, slots=True)
class Round:
    """What one call of the engine has in common. `at` is the lane's clock, in milliseconds since 1970.

    A lane's deliveries go to the partition of its own number: agencies' topics have one for each lane.
    """

    batch: SourceBatch
    lane: int
    position: Position
    today: date
    at: int
    sequences: Sequences
    known_as: Callable[[SubjectRef], Pseudonym]
    """The directory's pseudonym of a person."""
    ledger: Callable[[SubjectRef], bytes]
    """The ledger's pseudonym of a person (32 bytes), the version of its key and the sealed number, in Avro."""


class Deliveries:
    """The deliveries under one authorisation from one batch: everything that the batch's records share is encoded.

    The disclosure bytes are those of `record_type("ledger/disclosure")`, put together without an object per field.
    """

    def __init__(self, delivery: Delivery, round_: Round) -> None:
        authorisation = delivery.authorisation
        self.topic, self.project = delivery.topic, delivery.project
        self.authorisation = authorisation
        self._delivery, self._partition = delivery, round_.lane
        self._ledger, self._sequences = round_.ledger, round_.sequences
        self._headers = constant_headers(
            authorisation, delivery.contract, urn=delivery.urn, schema_id=delivery.schema_id, lane=round_.lane
        )
        self._start = b"".join(
            (
                record_type("ledger/disclosure").prefix,
                text(authorisation.id),
                long(authorisation.version),
                long(round_.position),
                text(ENGINE),
                long(round_.today.toordinal() - _EPOCH),
                long(round_.at),
                text(delivery.topic),
                long(self._partition),
                long(round_.lane),
            )
        )
        self._source = text(round_.batch.topic) + long(round_.batch.partition)

    def deliver(
        self, event: SourceEvent, envelope: Envelope, *, fired: tuple[str, ...], body: bytes, source: int
    ) -> tuple[OutRecord, bytes, int]:
        """Return the delivered record, its disclosure record and how many people it tells of without a number.

        `body` is the projected Avro body, `source` the position of the source's record.
        """
        delivery = self._delivery
        sequence = self._sequences.next(self.topic, self._partition)
        event_id = delivery.event_ids.of(event.id).encode()
        headers = [
            *self._headers,
            ("ce_id", event_id),
            ("ce_time", event.time.encode()),
            ("ce_sequence", b"%020d" % sequence),
            ("ce_kind", event.kind.encode()),
        ]
        if fired:
            headers.append(("ce_triggers", ",".join(fired).encode()))
        if event.corrects is not None:
            headers.append(("ce_corrects", delivery.event_ids.of(event.corrects.lower()).encode()))
        if envelope.traceparent is not None:
            headers.append(("traceparent", envelope.traceparent))
        value = frame(delivery.schema_id, body)
        subjects, unidentified = delivery.people.of(event)
        parts = [self._start, long(sequence), self._source, long(source), _ID_LENGTH, event_id, _word(event.kind)]
        parts.append(hashlib.sha256(value).digest())
        if subjects:
            parts.append(long(len(subjects)))
            others = TRUE if event.sheltered else FALSE
            for person, role in subjects:
                # The protected person's own entry is exact: it is the others who must not learn where they are.
                parts += (self._ledger(person), _word(role), FALSE if role == SUBJECT else others)
        parts += (b"\0", long(unidentified))
        return (
            OutRecord(delivery.pairwise.key_of(event.subject), value, tuple(headers)),
            b"".join(parts),
            unidentified,
        )
