"""Tells a source what became of its record: forwarded or not, never to whom."""

from __future__ import annotations

from integrator.encoding import record_type
from integrator.routing.binary import FALSE, TRUE, long, optional_text, text
from integrator.routing.ports import OutRecord


class Receipts:
    """Writes receipts about one partition of a stream; `at` is the lane's clock, milliseconds since 1970.

    The bytes are those of `record_type("integrator/receipt")`, put together without an object per field, because
    there is one for every record that a source writes.
    """

    def __init__(self, stream: str, partition: int, *, at: int) -> None:
        self._start = record_type("integrator/receipt").prefix
        self._place = text(stream) + long(partition)
        self._forwarded = TRUE + b"\0" + long(at)
        self._kept = FALSE + b"\0" + long(at)
        self._at = long(at)

    def of(self, event_id: str, position: int, *, forwarded: bool) -> OutRecord:
        """Return the receipt of a record that was decided; `forwarded` when somebody received a part of it."""
        parts = (self._start, b"\2", text(event_id), self._place, long(position))
        return OutRecord(None, b"".join((*parts, self._forwarded if forwarded else self._kept)))

    def passed_over(self, event_id: str | None, position: int) -> OutRecord:
        """Return the receipt of a record about which there was nothing to decide."""
        parts = (self._start, optional_text(event_id), self._place, long(position))
        return OutRecord(None, b"".join((*parts, self._kept)))

    def quarantined(self, event_id: str | None, position: int, reason: str) -> OutRecord:
        """Return the receipt of a record that was set aside."""
        parts = (self._start, optional_text(event_id), self._place, long(position), FALSE)
        return OutRecord(None, b"".join((*parts, optional_text(reason), self._at)))
