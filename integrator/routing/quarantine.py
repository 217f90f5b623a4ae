"""Sets a record aside as it came, with the reason, so that an operator can decide about it and nothing is lost."""

from __future__ import annotations

from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Position, split_stream
from integrator.encoding import record_type
from integrator.routing.engine import ENGINE
from integrator.routing.ports import OutRecord, SourceBatch, SourceRecord


def quarantined(batch: SourceBatch, record: SourceRecord, *, reason: Invalid, position: Position) -> OutRecord:
    """Return the quarantine record. It holds personal data; `reason` holds none, as no error does."""
    value = {
        "source": split_stream(batch.stream)[0],
        "stream": batch.stream,
        "topic": batch.topic,
        "partition": batch.partition,
        "position": record.position,
        "timestamp": record.timestamp,
        "reason": reason.code,
        "detail": reason.message,
        "directoryPosition": position,
        "engine": ENGINE,
        "key": record.key,
        "value": record.value,
        "headers": [{"name": name, "value": held} for name, held in record.headers],
    }
    return OutRecord(None, record_type("integrator/quarantine").encode(value))
