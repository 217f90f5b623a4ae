"""Compares documents with what stands and says what would change, what may not, and which records would do it.

- A version of a contract, purpose or authorisation never changes: other content needs another version.
- An authorisation goes through its states in order, and stands only on a law that is in force.
- Everything or nothing: a plan with problems has no records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic.alias_generators import to_camel

from integrator.directory.check import World, check, check_references
from integrator.directory.check_authorisation import check_contract_use
from integrator.directory.derived import (
    Registrar,
    contract_subject,
    delivered_schemas,
    delivered_subject,
    new_fields,
)
from integrator.directory.documents import Inscriptions, Problem, Stated, kind_of, name_of, problem
from integrator.directory.due import due
from integrator.directory.knowledge import OVER, Entry, Known, came, in_force
from integrator.directory.records import DirectoryRecord, RecordKey, RecordKind, schema_record
from integrator.domain.authorisation import TRANSITIONS, Authorisation
from integrator.domain.contract import Contract
from integrator.domain.errors import Invalid
from integrator.domain.projection import paths
from integrator.domain.purpose import Agency, Purpose, Source

Action = Literal["create", "replace", "keep"]

Knowable = Source | Agency | Purpose | Contract | Authorisation


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a plan. `count` is how many people it is about, or 1; nobody is named."""

    action: Action
    kind: str
    id: str
    version: int
    note: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What would happen to the directory as it is at `based_on`, the version of its knowledge."""

    based_on: int
    changes: tuple[Change, ...]
    problems: tuple[Problem, ...]
    records: tuple[DirectoryRecord, ...] = field(default=(), repr=False)
    """The records of the knowledge part, in the order in which they are appended."""

    def to_wire(self) -> dict[str, Any]:
        """Return the plan as JSON values: `{basedOn, changes: [...], problems: [...]}`."""
        return {
            "basedOn": self.based_on,
            "changes": [asdict(change) for change in self.changes],
            "problems": [problem_to_wire(found) for found in self.problems],
        }


def problem_to_wire(found: Problem) -> dict[str, Any]:
    """Return a problem as JSON values: `{code, message, path, file, document, line, kind?, id?, version?}`."""
    values: dict[str, Any] = {
        "code": found.code,
        "message": found.message,
        "path": found.path,
        "file": found.origin.file,
        "document": found.origin.document,
        "line": found.line,
    }
    if found.document is not None:
        name, version = name_of(found.document)
        values |= {"kind": kind_of(found.document), "id": name, "version": version}
    return values


def plan_knowledge(documents: Sequence[Stated], known: Known, *, now: datetime) -> Plan:
    """Plan everything but the people of `inscriptions`, whose form and references are checked too."""
    return _Planning(documents, known, now).plan()


class _Planning:
    """One planning: collects changes, problems and records."""

    def __init__(self, documents: Sequence[Stated], known: Known, now: datetime) -> None:
        self._documents = documents
        self._known = known
        self._now = now
        self._world = World.of(known.knowledge, documents)
        self._registrar = Registrar(known.knowledge.schemas)
        self._changes: list[Change] = []
        self._problems: list[Problem] = []
        self._appended: dict[tuple[RecordKind, str], tuple[int, Knowable]] = {}
        self._parties: list[DirectoryRecord] = []
        self._contracts: list[tuple[Stated, Contract]] = []
        self._authorisations: list[tuple[Stated, Authorisation]] = []

    def plan(self) -> Plan:
        knowledge = self._known.knowledge
        self._problems += check(self._documents, standing=knowledge)
        # In the order of their versions, whatever the order of the files.
        for stated in sorted(self._documents, key=lambda each: name_of(each.document)[1] or 0):
            self._problems += [
                problem(stated, code, message, path=path)
                for code, path, message in check_references(stated, self._world)
            ]
            self._compare(stated)
        self._problems += self._second_ones()
        self._problems += self._broken_ones()
        records: tuple[DirectoryRecord, ...] = ()
        if not self._problems:
            self._register()
        if not self._problems:
            records = tuple(self._records())
        return Plan(knowledge.version, tuple(self._changes), tuple(self._problems), records)

    def _latest(self, kind: RecordKind, name: str) -> tuple[int, object] | None:
        """Return version and content of what stands, or will when the documents before this one do."""
        if (appended := self._appended.get((kind, name))) is not None:
            return appended
        entry: Entry | None = self._known.latest.get((kind, name))
        return (entry.key.version, entry.content) if entry else None

    def _compare(self, stated: Stated) -> None:
        document = stated.document
        if isinstance(document, Inscriptions):
            return
        kind = kind_of(document)
        assert kind != "inscriptions"  # noqa: S101  for the type checker: the document is none
        name, version = name_of(document)
        latest = self._latest(kind, name)
        if version is None:
            version = latest[0] + 1 if latest and latest[1] != document else latest[0] if latest else 1
        elif not self._version_may(stated, kind, name, version, latest):
            return
        if self._stands(document, version, latest):
            self._changes.append(Change("keep", kind, name, version))
            return
        if isinstance(document, Authorisation):
            self._problems += self._authorisation_may(stated, document, latest[1] if latest else None)
        if isinstance(document, Contract) and latest and isinstance(latest[1], Contract):
            self._problems += _contract_may(stated, document, latest[1])
        note = document.state if isinstance(document, Authorisation) else ""
        self._changes.append(Change("replace" if latest else "create", kind, name, version, note))
        self._appended[kind, name] = (version, document)
        self._keep(stated, document, DirectoryRecord(RecordKey(kind, name, version), document))

    def _keep(self, stated: Stated, document: Knowable, record: DirectoryRecord) -> None:
        match document:
            case Contract():
                self._contracts.append((stated, document))
            case Authorisation():
                self._authorisations.append((stated, document))
            case _:
                self._parties.append(record)

    def _stands(self, document: Knowable, version: int, latest: tuple[int, object] | None) -> bool:
        knowledge = self._known.knowledge
        match document:
            case Purpose():
                return knowledge.purposes.get((document.name, version)) == document
            case Authorisation():
                return knowledge.authorisations.get((document.id, version)) == document
            case _:
                return latest == (version, document)

    def _version_may(
        self, stated: Stated, kind: RecordKind, name: str, version: int, latest: tuple[int, object] | None
    ) -> bool:
        """Tell whether this version can be said now: it stands already with this content, or it is a newer one."""
        if latest is None or version > latest[0]:
            return True
        knowledge = self._known.knowledge
        before: object | None = latest[1] if version == latest[0] else None
        if kind == "purpose":
            before = knowledge.purposes.get((name, version), before)
        elif kind == "authorisation":
            before = knowledge.authorisations.get((name, version), before)
        if before == stated.document:
            return True
        if before is None:
            message = f"Version {version} is older than version {latest[0]}, which stands: state that one, or a newer."
            self._problems.append(problem(stated, "version-old", message, path="version"))
        else:
            message = (
                f"Version {version} of this {kind} stands with other content and never changes: "
                f"make it version {latest[0] + 1}."
            )
            self._problems.append(problem(stated, "version-changed", message, path="version"))
        return False

    def _authorisation_may(self, stated: Stated, document: Authorisation, before: object) -> Iterator[Problem]:
        if not isinstance(before, Authorisation):
            if document.state not in ("requested", "in-route", "active"):
                yield problem(stated, "state", f"An authorisation does not begin {document.state}.", path="state")
        else:
            if document.state != before.state and document.state not in TRANSITIONS[before.state]:
                ways = ", ".join(sorted(TRANSITIONS[before.state])) or "nothing"
                message = f"It is {before.state}; from there it can become {ways}, not {document.state}."
                yield problem(stated, "state", message, path="state")
            elif before.state in OVER:
                yield problem(stated, "state", f"It is {before.state}, for good: make a new one with another id.")
            for member in ("agency", "stream", "purpose"):
                if getattr(before, member) != getattr(document, member):
                    message = f"Another {member} is another authorisation: give it an id of its own."
                    yield problem(stated, "another-authorisation", message, path=member)
        # Suspending and revoking are possible whatever became of the law.
        if document.state in ("requested", "in-route", "active") and not self._in_force(document):
            message = "None of its citations is in force now; apply it again when the law is."
            yield problem(stated, "no-legal-basis", message, path="citations")

    def _second_ones(self) -> Iterator[Problem]:
        """Yield authorisations for what another one delivers already: one topic would hold each event twice."""
        standing = [each.authorisation for found in self._known.knowledge.standing.values() for each in found]
        latest = {one.id: one for one in [*standing, *(new for _, new in self._authorisations)]}
        for stated, new in self._authorisations:
            if latest[new.id] is not new or new.state in OVER:
                continue
            for other in latest.values():
                if other.id != new.id and other.state not in OVER and _delivers(other) == _delivers(new):
                    message = (
                        f"{other.id} is for the same agency, purpose and stream, and one topic must not hold an event "
                        "twice: make a new version of that one, or revoke it."
                    )
                    yield problem(stated, "second-authorisation", message)

    def _broken_ones(self) -> Iterator[Problem]:
        """Yield what a new contract takes from authorisations that stand and are not replaced with it, or adds to them.

        Without the role of protected addresses an authorisation that withholds such people would deliver them; and a
        field that is new inside a record which somebody receives whole would flow by itself.
        """
        new = {authorisation.id for _, authorisation in self._authorisations}
        for stated, contract in self._contracts:
            for standing in self._known.knowledge.standing.get(contract.stream, ()):
                authorisation = standing.authorisation
                if authorisation.id in new:
                    continue
                purpose = self._world.purposes.get((authorisation.purpose, authorisation.purpose_version))
                for code, path, message in check_contract_use(authorisation, contract, purpose):
                    yield problem(stated, code, f"The authorisation {authorisation.id} stands ({path}): {message}")
                for name in new_fields(authorisation, self._known.knowledge.contracts[contract.stream], contract):
                    message = (
                        f"The authorisation {authorisation.id} stands and would receive the new field {name}, which "
                        "nobody decided: apply a new version of it with the contract, or put the field elsewhere."
                    )
                    yield problem(stated, "field-flows", message)

    def _in_force(self, authorisation: Authorisation) -> bool:
        contract = self._world.contracts.get(authorisation.stream)
        if contract is None:
            return True  # the missing contract is the problem
        try:
            today = self._now.astimezone(ZoneInfo(contract.time_zone)).date()
        except (KeyError, ValueError, OSError):
            return True  # the contract's time zone is the problem
        return in_force(authorisation, came(today, self._now))

    def _register(self) -> None:
        """Register the schemas of new contracts, and what every authorisation over them now delivers."""
        for _, contract in self._contracts:
            for text in contract.schemas:
                self._registrar.register(contract_subject(contract.stream), text)
        changed = {contract.stream: stated for stated, contract in self._contracts}
        new = {authorisation.id for _, authorisation in self._authorisations}
        for stream, stated in changed.items():
            for standing in self._known.knowledge.standing.get(stream, ()):
                if standing.authorisation.id not in new:
                    self._register_delivered(stated, standing.authorisation)
        for stated, authorisation in self._authorisations:
            if authorisation.state not in OVER:
                self._register_delivered(stated, authorisation)

    def _register_delivered(self, stated: Stated, authorisation: Authorisation) -> None:
        subject = delivered_subject(authorisation)
        path = "fields" if stated.document is authorisation else ""
        who = "" if path else f"For the authorisation {authorisation.id}: "
        try:
            for text in delivered_schemas(authorisation, self._world.contracts[authorisation.stream]):
                breaks = self._registrar.breaks(subject, text)
                for where, reason in breaks:
                    message = (
                        f"{who}What the agency receives would not fit what it received before, at "
                        f"{where or 'the record'}: {reason}. Give the field a default in the contract, or leave it."
                    )
                    self._problems.append(problem(stated, "schema-incompatible", message, path=path))
                if not breaks:
                    self._registrar.register(subject, text)
        except Invalid as error:
            self._problems.append(problem(stated, error.code, f"{who}{error.message}", path=path))

    def _records(self) -> Iterator[DirectoryRecord]:
        """Yield what is referred to before what refers to it: a reading may fall between two of them."""
        yield from self._parties
        for _, contract in self._contracts:
            yield DirectoryRecord(RecordKey("contract", contract.stream, contract.version), contract)
        for schema in self._registrar.added:
            self._changes.append(Change("create", "schema", schema.subject, schema.version, f"id {schema.id}"))
            yield schema_record(schema)
        new = [authorisation for _, authorisation in self._authorisations if authorisation.state not in OVER]
        zones = [contract.time_zone for _, contract in self._contracts]
        yield from due(self._known, self._now, zones=zones, authorisations=new)
        for _, authorisation in self._authorisations:
            key = RecordKey("authorisation", authorisation.id, authorisation.version)
            yield DirectoryRecord(key, authorisation)


def _delivers(authorisation: Authorisation) -> tuple[str, str, str]:
    return authorisation.agency, authorisation.purpose, authorisation.stream


def _contract_may(stated: Stated, document: Contract, before: Contract) -> Iterator[Problem]:
    if document.partitions != before.partitions:
        message = f"The number of partitions never changes; it is {before.partitions}. Growth is a new stream."
        yield problem(stated, "partitions", message, path="partitions")
    if document.schemas[: len(before.schemas)] != before.schemas:
        message = "A schema that stands never changes: put the earlier files back and add the next v<N>.avsc."
        yield problem(stated, "schema-changed", message)
    for member in ("subject", "fact_id"):
        if getattr(document.roles, member) != getattr(before.roles, member):
            message = "What names the person and the fact never changes: it is in the key of every record."
            yield problem(stated, "role-changed", message, path="roles")
    try:
        known = paths(json.loads(document.schemas[-1]))
    except (ValueError, Invalid):
        return  # the schema is the problem
    for member in ("protected_address", "third_party_restriction", "sheltered"):
        path = getattr(before.roles, member)
        if path is not None and getattr(document.roles, member) is None and path in known:
            message = f"Deliveries are still mediated for people whom {path} protects: keep the role."
            yield problem(stated, "role-changed", message, path=f"roles.{to_camel(member)}")
    for related in before.roles.related:
        if related not in document.roles.related and related.path in known:
            message = f"Deliveries still name people at {related.path}; each of them must get an entry: keep the role."
            yield problem(stated, "role-changed", message, path="roles.related")
