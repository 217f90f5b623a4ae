"""Finds entries for auditors by the house's words: recipient, source, stream, field, purpose, activity, outcome, time.

- What is found is part A of an entry, and nothing that leads to a person. Hours narrow a question and are never shown
  beside an entry; entries that are withheld or padding are not found.
- An outcome says in which log to look and by which schema of part A: what was disclosed or read about people is in the
  subject shards, what was refused, decided or asked by auditors in the institution log.
- A processing activity stands for the purposes that the directory knows under it now.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from integrator.domain.directory import Knowledge
from integrator.domain.errors import Invalid
from integrator.recording import institution
from integrator.recording.accountability import ACCOUNTABILITY, MEDIATED
from integrator.recording.failures import translated
from integrator.recording.logs import EPOCHS, LedgerFiles, half_year_of, is_shard
from integrator.recording.readings import QUERY, READING
from integrator_audit import Unavailable, read_part
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.counts import Cell, Step, count
from integrator_audit.searching.log import StoredLog
from integrator_audit.searching.merged import Search
from integrator_audit.searching.query import LogSearch, Question
from integrator_audit.searching.terms import Condition, Overlapping, among

Outcome = Literal["disclosed", "read", "refused", "decided", "asked"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
LEFT_OUT: Final = frozenset(
    {"id", "detail", "directoryPosition", "sha256", "text", "vkey", "filter", "results", "opened", "digest", "order"}
)
"""Members that are different in each entry of their kind, or long: nobody searches by them."""
_ABOUT_PEOPLE: Final = frozenset({"disclosed", "read"})
_SCHEMAS: Final[Mapping[str, tuple[str, ...]]] = {
    "disclosed": (ACCOUNTABILITY, MEDIATED),
    "read": (READING,),
    "refused": (institution.REFUSAL,),
    "decided": (institution.AUTHORISATION,),
    "asked": (QUERY,),
}
_DISCLOSED: Final = {
    "recipient": "recipient",
    "source": "provider",
    "stream": "stream",
    "field": "fields",
    "purpose": "purpose",
    "basis": "basis",
}
_REQUESTED: Final = {
    "recipient": "agency",
    "stream": "stream",
    "purpose": "purpose",
    "authorisation": "authorisation",
}
_SAID_AS: Final[Mapping[Outcome, Mapping[str, str]]] = {
    "disclosed": _DISCLOSED | {"authorisation": "authorisation"},
    "read": _DISCLOSED,
    "refused": _REQUESTED,
    "decided": _REQUESTED | {"field": "fields", "basis": "basis"},
    "asked": {"recipient": "reader", "purpose": "purpose", "basis": "basis"},
}
"""By outcome and word: the member of part A that says it. LIMIT: the steps started and ended name no agency."""
_OUTCOME_OF: Final = {schema: outcome for outcome, schemas in _SCHEMAS.items() for schema in schemas}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an auditor asks for; `None` narrows nothing. Hours (RFC 3339, whole, UTC) end before `until`."""

    outcomes: tuple[Outcome, ...] = ("disclosed",)
    recipient: str | None = None
    source: str | None = None
    stream: str | None = None
    field: str | None = None
    purpose: str | None = None
    activity: str | None = None
    authorisation: str | None = None
    basis: str | None = None
    since: str | None = None
    until: str | None = None
    first_day: str | None = None
    last_day: str | None = None

    def told(self) -> tuple[str, ...]:
        """Return the question as an entry of it tells it: a condition each."""
        named = [
            ("outcome", "|".join(self.outcomes)),
            *((name, getattr(self, name)) for name in _MEMBERS),
        ]
        return tuple(f"{name}={value}" for name, value in named if value is not None)


_MEMBERS: Final = (
    "recipient", "source", "stream", "field", "purpose", "activity", "authorisation", "basis", "since", "until",
    "first_day", "last_day",
)  # fmt: skip


class FoundEntry(NamedTuple):
    """One entry that answers: its log and its index there, what outcome it is, and what its part A says."""

    log: str
    number: int
    outcome: Outcome
    says: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Some entries, newest first; `after` continues, `None` when there are no older ones."""

    found: tuple[FoundEntry, ...]
    after: Mapping[str, int] | None


class Searches:
    """Search over the logs below one directory, beside their writer. Safe to share between threads."""

    def __init__(self, files: LedgerFiles) -> None:
        self.files = files
        self._lock = threading.Lock()
        self._open: dict[str, tuple[StoredLog, LogSearch]] = {}

    def find(
        self, asked: Asked, knowledge: Knowledge, *, after: Mapping[str, int] | None = None, limit: int = 100
    ) -> FoundPage:
        """Return at most `limit` entries, newest first, from the place `after` on.

        Raises `Invalid` (`time`, `limit`, `cursor-invalid`), `Busy` (`search-behind`), `Unavailable`.
        """
        question = question_of(asked, knowledge)
        if question is None:
            return FoundPage((), None)
        with translated():
            periods = self._periods(asked.outcomes)
            names = {search.origin: log for logs in periods for log, search in logs.items()}
            place = None
            if after is not None:
                origins = {log: origin for origin, log in names.items()}
                if not after.keys() <= origins.keys():
                    raise Invalid("cursor-invalid", "The cursor is of another list: begin without one.", where="cursor")
                place = {origins[log]: index for log, index in after.items()}
            page = Search([list(logs.values()) for logs in periods]).find(question, place=place, limit=limit)
            found = tuple(_found(names[one.origin], one.number, one.statement) for one in page.found)
        return FoundPage(found, None if page.next is None else {names[o]: index for o, index in page.next.items()})

    def count(self, asked: Asked, knowledge: Knowledge, *, by: Sequence[str], step: Step) -> list[Cell]:
        """Return how many entries answer, by members in the house's words (`DIMENSIONS`) and by time.

        Raises as `find` does, and `Invalid` (`counts-too-many`).
        """
        question = question_of(asked, knowledge)
        if question is None:
            return []
        with translated():
            searches = [search for logs in self._periods(asked.outcomes) for search in logs.values()]
            return count(searches, question, by=[DIMENSIONS[name] for name in by], step=step)

    def is_behind(self) -> bool:
        """Tell whether a log has a whole block that its index has not."""
        with translated():
            searches = [search for logs in self._periods(OUTCOMES) for search in logs.values()]
            return any(search.is_behind() for search in searches)

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            for log, search in self._open.values():
                search.close()
                log.close()
            self._open.clear()

    def _periods(self, outcomes: Sequence[Outcome]) -> list[dict[str, LogSearch]]:
        """Return the logs in which to look, half-year by half-year, the newest first."""
        about_people, others = _ABOUT_PEOPLE & set(outcomes), set(outcomes) - _ABOUT_PEOPLE
        halves: dict[str, dict[str, LogSearch]] = {}
        for log in self.files.logs():
            if log != EPOCHS and (about_people if is_shard(log) else others):
                search = self._search(log)
                if search is not None:
                    halves.setdefault(half_year_of(log), {})[log] = search
        return [halves[half] for half in sorted(halves, reverse=True)]

    def _search(self, log: str) -> LogSearch | None:
        with self._lock:
            found = self._open.get(log)
            if found is None:
                try:
                    stored = StoredLog.open(self.files.store(log))
                except Unavailable as error:
                    if error.code == "ledger-empty":
                        return None  # its process is just making it
                    raise
                found = self._open[log] = stored, LogSearch(stored, self.files.search(log), left_out=LEFT_OUT)
            return found[1]


DIMENSIONS: Final[Mapping[str, str]] = {
    "recipient": "recipient",
    "source": "provider",
    "stream": "stream",
    "field": "fields",
    "purpose": "purpose",
    "authorisation": "authorisation",
    "reason": "reason",
    "agency": "agency",
    "reader": "reader",
}
"""By the word with which auditors count: the member of part A."""


def question_of(asked: Asked, knowledge: Knowledge) -> Question | None:
    """Return the question in terms of part A; `None` when no entry could answer.

    Raises `Invalid` (`time`, `hours-reversed`, `days-reversed`).
    """
    alternatives = [conditions for outcome in asked.outcomes for conditions in _alternatives(outcome, asked, knowledge)]
    if not alternatives:
        return None
    days = None
    if asked.first_day or asked.last_day:
        days = (asked.first_day or "", asked.last_day or "9999")
    hours = (_hour(asked.since, "since"), _hour(asked.until, "until"))
    with translated():
        return Question(alternatives, hours, days)


def update_indexes(files: LedgerFiles) -> int:
    """Bring the index of every log up to date, block by block; return how many entries are in blocks."""
    indexed = 0
    for name in files.logs():
        if name == EPOCHS:
            continue
        with translated():
            try:
                log = StoredLog.open(files.store(name))
            except Unavailable:
                continue  # its process is just making it
            try:
                index = IndexFile.open(files.search(name))
                try:
                    indexed += index.update(log, left_out=LEFT_OUT)
                finally:
                    index.close()
            finally:
                log.close()
    return indexed


def _alternatives(outcome: Outcome, asked: Asked, knowledge: Knowledge) -> list[list[Condition]]:
    """Return the conditions on part A of one outcome; several where purposes stand for an activity, none for never."""
    members = _SAID_AS[outcome]
    common: list[Condition] = [among("schema", *_SCHEMAS[outcome])]
    for word in ("recipient", "source", "stream", "purpose", "authorisation", "basis"):
        value = getattr(asked, word)
        if value is None:
            continue
        if word in members:
            common.append(among(members[word], value))
        elif word == "source" and "stream" in members:
            of_source = (stream for stream in knowledge.contracts if stream.startswith(f"{value}/"))
            common.append(among(members["stream"], *of_source))
        else:
            return []
    if asked.field is not None:
        if "field" not in members:
            return []
        common.append(Overlapping(members["field"], asked.field))
    return [common] if asked.activity is None else _under(asked.activity, common, outcome, knowledge)


def _under(activity: str, common: list[Condition], outcome: Outcome, knowledge: Knowledge) -> list[list[Condition]]:
    """Return the alternatives of a processing activity: one for each of its purposes."""
    under = [one for one in knowledge.purposes.values() if one.activity == activity]
    if outcome in ("read", "asked"):
        return []  # an auditor's purpose is not one of the directory
    if outcome == "refused":  # a refused request names a purpose without its version
        return [[*common, among("purpose", one.name)] for one in under]
    return [[*common, among("purpose", one.name), among("purposeVersion", one.version)] for one in under]


def _found(log: str, index: int, statement: bytes) -> FoundEntry:
    says = read_part(statement)
    return FoundEntry(log, index, cast("Outcome", _OUTCOME_OF[str(says["schema"])]), says)


def _hour(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        seconds = round(moment.timestamp())
    except (ValueError, OverflowError):
        raise Invalid("time", "A moment is written 2026-11-24T10:00:00Z.", where=where) from None
    if moment.tzinfo is None or seconds % 3600:
        # Finer, a question could find out the exact moment of an entry, which leads to an event.
        raise Invalid("time", "Times are whole hours in UTC, as 2026-11-24T10:00:00Z.", where=where)
    return seconds // 3600
