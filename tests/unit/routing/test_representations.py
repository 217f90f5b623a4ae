"""Holds that no representation of what passes through a lane shows anything of a person: tools and errors print it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from integrator.directory.ports import FedRecord, Request
from integrator.domain.reading import SourceEvent
from integrator.recording.sequencer import LogRecord
from integrator.routing.envelope import Envelope
from integrator.routing.ports import OutRecord, SourceBatch, SourceRecord
from integrator.routing.prepared import ReadRecord
from tests.unit.routing.samples import STREAM, SUBJECT, TOPIC, person

BODY = f"a body about {SUBJECT}".encode()
HEADERS = (("ce_id", BODY),)
RECORD = SourceRecord(7, 0, BODY, BODY, HEADERS)
EVENT = SourceEvent(STREAM, "id", "2026-11-24T10:00:00Z", "changed", person(SUBJECT), territory=SUBJECT)
MADE: dict[str, Callable[[], object]] = {
    "source record": lambda: RECORD,
    "batch": lambda: SourceBatch(STREAM, TOPIC, 1, 4, [RECORD], 8),
    "delivered record": lambda: OutRecord(BODY, BODY, HEADERS),
    "read record": lambda: ReadRecord(7, Envelope("id", "time", None, None), EVENT, BODY),
    "record of the directory": lambda: FedRecord(7, BODY, BODY),
    "request": lambda: Request(0, 7, BODY),
    "record for the ledger": lambda: LogRecord(TOPIC, 1, 7, 0, BODY, BODY),
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_it_shows_a_place_and_no_person(made: Callable[[], object]) -> None:
    assert SUBJECT not in repr(made()) + str(made())
