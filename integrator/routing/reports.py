"""What a lane tells about itself: log events, metrics, one span per transaction; nothing per record."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from opentelemetry.trace import Span, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from integrator import telemetry
from integrator.domain.errors import IntegratorError
from integrator.domain.identifiers import Position
from integrator.routing.guard import Waits
from integrator.routing.ports import Fenced, SourceBatch, StreamFailure
from integrator.routing.transaction import Transaction

_LINKS = 128
"""Links of one span at most, as OpenTelemetry's own limit is."""

_log = telemetry.log("routing")
_deliveries = telemetry.meter().create_counter("integrator.deliveries")
_records = telemetry.meter().create_counter("integrator.lane.records")
_restarts = telemetry.meter().create_counter("integrator.lane.restarts")
_propagator = TraceContextTextMapPropagator()


class LaneReports:
    """The voice of one lane."""

    def __init__(self, lane: int) -> None:
        self._lane = lane
        self._waits = ""

    def opened(self, *, partitions: int, directory: Position | None) -> None:
        """Say that the lane reads on."""
        self._waits = ""
        _log.info("lane-opened", lane=self._lane, partitions=partitions, directory=directory)

    def stopped(self) -> None:
        """Say that the lane let go of everything."""
        _log.info("lane-stopped", lane=self._lane)

    def waits(self, reason: Waits | None) -> None:
        """Say why the lane waits, once for each reason, and that it goes on."""
        code = reason.code if reason else ""
        if code != self._waits:
            self._waits = code
            if reason:
                _log.warning("lane-waits", lane=self._lane, code=code, reason=reason.message)
            else:
                _log.info("lane-resumed", lane=self._lane)

    def left_out(self, error: StreamFailure) -> None:
        """Say that a stream is left out for a while."""
        _log.error("lane-left-stream-out", lane=self._lane, topic=error.topic, code=error.code, reason=error.message)

    def broke(self, error: Exception, topics: Sequence[str] = ()) -> None:
        """Say that the lane starts anew, and why. Only our own errors' texts are known to hold no personal data."""
        if isinstance(error, IntegratorError):
            code, reason = error.code, error.message
        else:
            code, reason = "unexpected", telemetry.place_of(error)
        _restarts.add(1, {"lane": self._lane, "code": code})
        event = "lane-fenced" if isinstance(error, Fenced) else "lane-restarted"
        _log.warning(event, lane=self._lane, code=code, reason=reason, topics=list(topics))

    @contextmanager
    def transaction(self, batches: Sequence[SourceBatch]) -> Generator[None]:
        """Span one transaction, linked to the traces that its records came in."""
        with telemetry.span("lane.transaction") as span:
            if span.is_recording():
                span.set_attribute("lane", self._lane)
                _link(span, batches)
            yield

    def committed(self, transaction: Transaction) -> None:
        """Count what became visible."""
        if transaction.records:
            _records.add(transaction.records, {"lane": self._lane})
        for topic, number in transaction.deliveries.items():
            # agency.<agency>.<purpose>.<source>.<stream>
            _, agency, purpose, *_ = topic.split(".")
            _deliveries.add(number, {"agency": agency, "purpose": purpose})


def _link(span: Span, batches: Sequence[SourceBatch]) -> None:
    seen: set[bytes] = set()
    for batch in batches:
        for record in batch.records:
            for name, value in record.headers:
                if name == "traceparent" and value not in seen and len(seen) < _LINKS:
                    seen.add(value)
                    carrier = {"traceparent": value.decode("ascii", "replace")}
                    context = get_current_span(_propagator.extract(carrier)).get_span_context()
                    if context.is_valid:
                        span.add_link(context)
