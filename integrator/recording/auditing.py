"""Answers auditors what was disclosed, how often, and with single entries and proofs; a question is an entry first.

- What is to be answered is found, a reading of it is made, and only when the ledger has that is the answer given.
- Part S is opened for a purpose that is named, within the quotas, and the persons are told by entries of their own.
  Part D is never opened here: it leads to events and households. Nor is a withheld entry, which is as if it were not.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, Protocol, cast
from uuid import UUID

from integrator.domain.directory import Knowledge
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Pseudonym
from integrator.recording.failures import translated
from integrator.recording.logs import EPOCHS, is_shard
from integrator.recording.quotas import Quotas
from integrator.recording.readings import READING, SALT_SIZE, OpenedPerson, Reading, result_digest
from integrator.recording.searching import Asked, FoundPage
from integrator.recording.sequencer import Directories
from integrator.recording.threads import in_thread
from integrator_audit import errors as audit
from integrator_audit.searching.counts import Cell, Step

Parts = Literal["A", "AS"]
_ERASED: Final = "opening-erased"


class Readings(Protocol):
    """Where readings go on their way to the ledger."""

    async def record(self, reading: Reading) -> None:
        """When this returns, the reading is a durable entry; it raises `Unavailable` when that cannot be said."""
        ...


class Finds(Protocol):
    """Search in the logs: `integrator.recording.searching.Searches`."""

    def find(
        self, asked: Asked, knowledge: Knowledge, *, after: Mapping[str, int] | None = None, limit: int = 100
    ) -> FoundPage: ...

    def count(self, asked: Asked, knowledge: Knowledge, *, by: Sequence[str], step: Step) -> list[Cell]: ...


class Log(Protocol):
    """One log: `integrator_audit.LedgerReader`."""

    def is_listed(self, index: int) -> bool: ...

    def opening(self, index: int, parts: str) -> dict[str, object]: ...

    def identity(self, index: int) -> bytes: ...


class Logs(Protocol):
    """The logs with their people's keys: `integrator.recording.readers.Readers`."""

    def __contains__(self, log: str) -> bool: ...

    def reader(self, log: str) -> Log: ...


class Reader(NamedTuple):
    """Who asks: the organisation, the name of its token, and by which law or mandate it says to ask."""

    organisation: str
    principal: str
    basis: str


class Receipt(NamedTuple):
    """The entry of a question: its id, and the salt with which the digest in it can be computed again."""

    id: str
    salt: bytes


class Wanted(NamedTuple):
    """An entry to open: its log's name and its index."""

    log: str
    number: int


@dataclass(frozen=True, slots=True)
class _Opened:
    openings: list[dict[str, object]]
    seen: int
    people: tuple[OpenedPerson, ...]


class Auditing:
    """The auditors' side of one ledger."""

    def __init__(  # noqa: PLR0913  each is a part of the world that it is wired to
        self,
        searches: Finds,
        logs: Logs,
        quotas: Quotas,
        *,
        directories: Directories,
        readings: Readings,
        random: Callable[[int], bytes],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`random` returns so many random bytes."""
        self._searches = searches
        self._logs = logs
        self._quotas = quotas
        self._directories = directories
        self._readings = readings
        self._random = random
        self._clock = clock

    async def find(
        self, who: Reader, asked: Asked, *, after: Mapping[str, int] | None, limit: int
    ) -> tuple[FoundPage, Receipt]:
        """Return entries that answer, newest first. Raises as `Searches.find` and `Readings.record` do."""
        page = await in_thread(self._searches.find, asked, self._knowledge(), after=after, limit=limit)
        results = [[one.log, one.number] for one in page.found]
        receipt = await self._record(who, "disclosures", asked.told(), results)
        return page, receipt

    async def count(self, who: Reader, asked: Asked, *, by: Sequence[str], step: Step) -> tuple[list[Cell], Receipt]:
        """Return how many entries answer, by members and time. Raises as `Searches.count` and `Readings.record` do."""
        cells = await in_thread(self._searches.count, asked, self._knowledge(), by=by, step=step)
        told = (*asked.told(), f"by={'|'.join(by)}", f"step={step}")
        receipt = await self._record(who, "counts", told, [list(cell) for cell in cells])
        return cells, receipt

    async def open(
        self, who: Reader, wanted: Sequence[Wanted], *, parts: Parts, purpose: str | None
    ) -> tuple[list[dict[str, object]], Receipt]:
        """Return the openings of entries with their proofs, in the order asked for; of erased ones part A only.

        Raises `Invalid` (`no-such-entry`, `purpose-missing`, `openings-too-many`), `Refused` (`quota-spent`), and as
        `Readings.record` does.
        """
        if parts == "AS" and purpose is None:
            raise Invalid("purpose-missing", "Whoever opens people's entries says for what.", where="purpose")
        about_people = sum(is_shard(one.log) for one in wanted) if parts == "AS" else 0
        day = self._clock().astimezone(UTC).date().isoformat()
        # The quota is looked at before anything is opened, and what is opened is an entry before it is spent.
        await in_thread(self._quotas.take, who.organisation, about_people, day=day)
        try:
            opened = await in_thread(self._open, wanted, parts)
            results = [[opening["origin"], opening["index"], _letters(opening)] for opening in opened.openings]
            receipt = await self._record(who, "openings", (f"parts={parts}",), results, opened=opened, purpose=purpose)
        finally:
            self._quotas.entered(who.organisation, about_people, day=day)
        return opened.openings, receipt

    def _open(self, wanted: Sequence[Wanted], parts: Parts) -> _Opened:
        openings: list[dict[str, object]] = []
        people: dict[Pseudonym, OpenedPerson] = {}
        seen = 0
        for at, (log, number) in enumerate(wanted):
            with translated():
                if log == EPOCHS or log not in self._logs or not self._logs.reader(log).is_listed(number):
                    raise Invalid("no-such-entry", "There is no such entry.", where=f"entries.{at}")
                opening = self._opening(log, number, parts if is_shard(log) else "A")
                openings.append(opening)
                if "S" in opening:
                    seen += 1
                    if _said(opening, "A")["schema"] != READING:
                        one = self._person(log, number, _said(opening, "S"))
                        people[one.pseudonym] = one
        return _Opened(openings, seen, tuple(people.values()))

    def _opening(self, log: str, number: int, parts: Parts) -> dict[str, object]:
        reader = self._logs.reader(log)
        with translated():
            try:
                return reader.opening(number, parts)
            except audit.Refused as error:
                if error.code != _ERASED:
                    raise
                return reader.opening(number, "A")

    def _person(self, log: str, number: int, said: Mapping[str, Any]) -> OpenedPerson:
        pseudonym = Pseudonym(base64.urlsafe_b64decode(f"{said['subject']}="))
        with translated():
            identity = self._logs.reader(log).identity(number)
        return OpenedPerson(pseudonym, int(said["keyVersion"]), identity)

    async def _record(  # noqa: PLR0913  what an entry of a question says
        self,
        who: Reader,
        query: Literal["disclosures", "counts", "openings"],
        told: tuple[str, ...],
        results: Sequence[object],
        *,
        opened: _Opened | None = None,
        purpose: str | None = None,
    ) -> Receipt:
        receipt = Receipt(str(UUID(bytes=self._random(16), version=4)), self._random(SALT_SIZE))
        await self._readings.record(
            Reading(
                id=receipt.id,
                reader=who.organisation,
                principal=who.principal,
                query=query,
                basis=who.basis,
                filter=told,
                results=len(results),
                digest=result_digest(receipt.salt, results),
                opened=opened.seen if opened else 0,
                purpose=purpose,
                people=opened.people if opened else (),
            )
        )
        return receipt

    def _knowledge(self) -> Knowledge:
        with self._directories.read() as view:
            return view.knowledge


def _said(opening: Mapping[str, object], letter: str) -> dict[str, Any]:
    part = cast("dict[str, str]", opening[letter])
    return cast("dict[str, Any]", json.loads(base64.b64decode(part["bytes"])))


def _letters(opening: Mapping[str, object]) -> str:
    return "AS" if "S" in opening else "A"
