"""Withholds entries under a supervisor's order, decided when they are made and never later, and releases them in time.

- An authorisation may carry an order: a note that the supervisor signed, for one agency, of twelve months at most. What
  is delivered under it while it is in force is entered like everything else, found by the agency and the supervisor,
  and listed under nobody: it hides among the padding.
- The day that counts is that of the commit (UTC), as the supervisor sees it.
- On the day after the order's last one each such entry is released: a new, ordinary entry that says the same without
  the order, and carries the opening of the old one in part D. So whoever it is about finds it then.
- What an order cannot be checked for is set aside, loudly: entered openly it would betray the order, entered hidden it
  would have no ground.

LIMIT: an order's entries of one log are released in one commit; with more than a hundred thousand it would be refused.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, cast

from integrator import telemetry
from integrator.domain.directory import Knowledge
from integrator.domain.errors import Invalid
from integrator.recording.logs import LedgerFiles
from integrator.recording.sequencer import NOTHING, Due
from integrator_audit import Entry, LedgerReader, Vault, Verifier, read_part
from integrator_audit import errors as audit
from integrator_audit.completeness.members import retention_of
from integrator_audit.completeness.unlisted import ORDER_MEMBER, Order, is_overdue, open_order, release, withheld_part
from integrator_audit.encoding import from_base64
from integrator_audit.halfyear import date_of, day_of
from integrator_audit.note import Note
from integrator_audit.parts import SUBJECT_ENTRY
from integrator_audit.stores import open_reading

_LOG = telemetry.log("recording")

_LOGS: Final = 4
"""An order lasts twelve months: its entries are in the log of now, or in one of the three before."""
_ALL: Final = "ADSP"


class Withholding:
    """Turns the entries of deliveries under an order in force into withheld ones. Owned by one sequencer."""

    def __init__(self, supervisor: Verifier | None) -> None:
        """`supervisor` is the key with which orders are signed; `None` where nobody may order anything."""
        self._supervisor = supervisor
        self._version = -1
        self._notes: dict[tuple[str, int], bytes] = {}
        self._made: dict[tuple[bytes, bytes, date], bytes] = {}

    def apply(self, entries: list[Entry], knowledge: Knowledge, now: int) -> list[Entry]:
        """Return the entries of one record as a commit at `now` (ms since 1970) enters them.

        Raises `Invalid` (`order-…`) when they are under an order that cannot be checked.
        """
        if knowledge.version != self._version:
            self._version = knowledge.version
            self._made.clear()
            self._notes = {
                (one.id, one.version): one.order.encode()
                for one in knowledge.authorisations.values()
                if one.order is not None
            }
        if not self._notes:
            return entries
        return [self._withheld(entry, date_of(day_of(now))) for entry in entries]

    def _withheld(self, entry: Entry, day: date) -> Entry:
        note = self._note(entry)
        if note is None:
            return entry
        key = entry.a, note, day
        a = self._made.get(key)
        if a is None:
            a = self._made[key] = self._ordered(entry, note, day)
        return entry if a == entry.a else entry._replace(a=a, listed=False)

    def _note(self, entry: Entry) -> bytes | None:
        """Return the order of the authorisation under which an entry's delivery was made."""
        # A mediated entry names its authorisation in part D.
        for data in (entry.a, entry.d):
            said = cast("dict[str, Any]", json.loads(data))
            if "authorisation" in said:
                return self._notes.get((said["authorisation"], said["version"]))
        return None

    def _ordered(self, entry: Entry, note: bytes, day: date) -> bytes:
        """Return part A with the order, or as it is on a day on which the order is not in force."""
        if self._supervisor is None:
            raise Invalid("order-nobody", "There is an order to withhold, and no key of a supervisor to check it with.")
        try:
            order = open_order(note, self._supervisor)
            if not order.first <= day <= order.last:
                return entry.a
            return withheld_part(entry.a, entry.d, note, supervisor=self._supervisor, day=day)
        except audit.AuditError as error:
            raise Invalid(error.code, f"An order to withhold cannot be followed: {error.message}.") from None


@dataclass(frozen=True, slots=True)
class _Hidden:
    """What one order withholds in one log."""

    log: str
    order: Order
    indices: tuple[int, ...]

    @property
    def mark(self) -> tuple[str, int]:
        """What stands among the positions of the series' log when all of it is released."""
        return f"released/{self.log}/{self.order.id}", 0


class Releases:
    """Enters what withheld entries say once their order is over. Goes beside the records of one shard."""

    def __init__(
        self, files: LedgerFiles, series: str, vault: Vault, *, recorded: Mapping[tuple[str, int], int]
    ) -> None:
        """`recorded` are the marks that the shard's log has already, and those of the logs before it."""
        self._files, self._series, self._vault = files, series, vault
        self._done = {mark for mark in recorded if mark[0].startswith("released/")}
        self._looked = -1
        self._due: list[_Hidden] = []

    def due(self, now: int, entries: Sequence[Entry]) -> Due:  # noqa: ARG002  nothing depends on the records
        """Return the releases that are due on the day of `now`; looked for once a day."""
        today = day_of(now)
        if today != self._looked:
            self._due = [one for one in self._hidden() if is_overdue(one.order, date_of(today))]
            self._looked = today
        waiting = [one for one in self._due if one.mark not in self._done]
        if not waiting:
            return NOTHING
        made = [entry for one in waiting for entry in self._released(one, now)]
        return Due(made, {one.mark: 1 for one in waiting})

    def committed(self, now: int, entries: Sequence[Entry], marks: Mapping[tuple[str, int], int]) -> None:  # noqa: ARG002
        """Take note of what is released for good."""
        released = [mark for mark in marks if mark[0].startswith("released/")]
        self._done.update(released)
        if released:
            _LOG.info("ledger-released", log=self._series, orders=len(released))

    def _hidden(self) -> Iterator[_Hidden]:
        """Yield what orders withhold in the newest logs of the shard and was not released."""
        for log in self._files.series(self._series)[-_LOGS:]:
            found: dict[bytes, list[int]] = {}
            with contextlib.closing(open_reading(self._files.store(log))) as reading:
                head = reading.head()
                for index in reading.unlisted_between(0, 0 if head is None else head.size):
                    row = reading.entry(index)
                    given = None if row is None else read_part(row.a).get(ORDER_MEMBER)
                    if isinstance(given, str):
                        found.setdefault(from_base64(given, what="the order"), []).append(index)
            for note, indices in found.items():
                # It was checked when the entries were made; the key may have changed since.
                order = Order.parse(Note.parse(note).unverified_text)
                hidden = _Hidden(log, order, tuple(indices))
                if hidden.mark not in self._done:
                    yield hidden

    def _released(self, hidden: _Hidden, now: int) -> Iterator[Entry]:
        with contextlib.closing(LedgerReader.open(self._files.store(hidden.log), vault=self._vault)) as reader:
            for index in hidden.indices:
                try:
                    parts = release(reader.opening(index, _ALL))
                except audit.Refused as error:
                    if error.code != "opening-erased":
                        raise
                    continue  # erased before its time, by order: there is nothing left to say
                yield Entry(
                    SUBJECT_ENTRY,
                    parts.a,
                    parts.d,
                    parts.s,
                    parts.p,
                    _pseudonym(parts.s),
                    recipient=hidden.order.recipient,
                    at=now,
                    retention=retention_of(read_part(parts.a)),
                    identity=reader.identity(index),
                )


def _pseudonym(s: bytes) -> bytes:
    text = str(read_part(s)["subject"])
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
