"""Turns inscriptions, stated or asked for by a lane, into records: only what changes something, each person in order.

A lane's request that comes again, late or after the person was ended changes nothing: whatever the directory said
about this person, agency and capacity after the lane decided is the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from integrator.directory import people
from integrator.directory.documents import Inscriptions
from integrator.directory.people import Line
from integrator.directory.records import DirectoryRecord, RecordKey, inscription_id
from integrator.directory.view import DirectoryReading
from integrator.domain.directory import StandingInscription
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Pseudonym
from integrator.domain.inscription import Inscription
from integrator.domain.pseudonyms import pseudonym
from integrator.encoding import record_type


def stated(document: Inscriptions, key: bytes) -> Iterator[Inscription]:
    """Yield one inscription for each person; numbers become pseudonyms here and go no further."""
    for reference in document.references():
        yield Inscription(
            agency=document.agency,
            person=pseudonym(key, "directory", reference).hex(),
            capacity=document.capacity,
            phase=document.phase,
            start=document.start,
            end=document.end,
            fill=document.fill,
        )


def requested(value: bytes) -> tuple[Inscription, int] | None:
    """Read a request: the inscription and the position at which it was decided; `None` when it asks something else.

    Raises `Invalid` (`record-type`, `contract`) for a request that cannot be read.
    """
    body: dict[str, Any] = record_type("integrator/request").decode(value)["body"]
    if "capacity" not in body:  # a refusal, for the institution log
        return None
    try:
        found = Inscription(
            agency=body["agency"],
            person=body["person"],
            capacity=body["capacity"],
            phase=body["phase"],
            start=body["start"],
        )
    except ValueError:
        raise Invalid("contract", "A request for an inscription does not hold what it must.") from None
    return found, cast("int", body["directoryPosition"])


class Inscriber:
    """Makes records over one reading, and remembers what it made; used before the reading is closed."""

    def __init__(self, reading: DirectoryReading) -> None:
        self._reading = reading
        self._made: dict[Pseudonym, tuple[Line, ...]] = {}

    def state(self, inscription: Inscription) -> tuple[DirectoryRecord, bool] | None:
        """Return the record that makes `inscription` hold and whether another line stood; `None` when it holds."""
        lines, line = self._line(inscription)
        if line is not None and line.says(inscription):
            return None
        return self._record(inscription, lines, line), line is not None

    def ask(self, inscription: Inscription, decided_at: int) -> DirectoryRecord | None:
        """Return the record for a request decided at a position, or `None` when it has nothing to add."""
        lines, line = self._line(inscription)
        if line is not None and (line.offset >= decided_at or _holds(line.inscription, inscription)):
            return None
        return self._record(inscription, lines, line)

    def _line(self, inscription: Inscription) -> tuple[tuple[Line, ...], Line | None]:
        person = Pseudonym(bytes.fromhex(inscription.person))
        lines = self._made.get(person)
        if lines is None:
            (lines,) = self._reading.lines([person])
        about = (inscription.agency, inscription.capacity)
        return lines, next((line for line in lines if line.about == about), None)

    def _record(self, inscription: Inscription, lines: tuple[Line, ...], line: Line | None) -> DirectoryRecord:
        version = line.version + 1 if line else 1
        standing = StandingInscription(
            inscription.agency, inscription.capacity, inscription.phase, inscription.start, inscription.end
        )
        # It will stand at or after the reading's position: later than any decision that a request can name.
        made = Line(version, self._reading.position, standing)
        self._made[Pseudonym(bytes.fromhex(inscription.person))] = people.with_line(lines, made)
        place = inscription_id(inscription.agency, inscription.capacity, inscription.person)
        return DirectoryRecord(RecordKey("inscription", place, version), inscription)


def _holds(stands: StandingInscription, asked: Inscription) -> bool:
    """Tell whether what stands gives at least what is asked, on the day from which it is asked."""
    enough = stands.phase == "definitive" or asked.phase == "provisional"
    return enough and stands.holds_on(asked.start)


def in_chunks(inscriptions: Iterable[Inscription], size: int) -> Iterator[list[Inscription]]:
    """Yield lists of at most `size`."""
    chunk: list[Inscription] = []
    for inscription in inscriptions:
        chunk.append(inscription)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def counted(values: Iterable[tuple[DirectoryRecord, bool] | None]) -> Mapping[str, int]:
    """Return how many of the answers of `Inscriber.state` create, replace and keep."""
    counts = {"create": 0, "replace": 0, "keep": 0}
    for value in values:
        counts["keep" if value is None else "replace" if value[1] else "create"] += 1
    return counts
