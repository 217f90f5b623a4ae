"""Looks for a person in what the ledger's process tells of itself: log lines and spans."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from integrator import telemetry
from integrator.domain.pseudonyms import pseudonym
from integrator.recording import sealing
from integrator_audit.halfyear import start_of
from tests.unit.audit.canary_samples import found
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_sealing import MINUTES, TODAY, ledger


async def test_no_line_and_no_span_of_the_ledger_tells_of_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(telemetry, "tracer", lambda: provider.get_tracer("integrator"))
    monkeypatch.setattr(sealing, "LOOK", 0.02)
    async with ledger(tmp_path, count=3) as place:
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)
        await place.filled(b"not a record", world.disclosure(9))
    logged = capsys.readouterr()
    told = {
        "logged": (logged.out + logged.err).encode(),
        "spans": b"\n".join(span.to_json().encode() for span in spans.get_finished_spans()),
    }
    assert b"ledger-set-aside" in told["logged"]
    assert {span.name for span in spans.get_finished_spans()} == {"ledger.append", "ledger.seal"}
    needles = {
        "number": [person.value.encode() for person in world.PEOPLE],
        "pseudonym": [pseudonym(world.LEDGER_KEY, "ledger", person) for person in world.PEOPLE],
    }
    assert found(needles, told, deep=True) == {"number": set(), "pseudonym": set()}
