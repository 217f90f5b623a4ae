"""Reads from a record what a decision needs to know: the values of the contract's roles and decision fields.

Values come as two tuples, however they were read: by decoding (`values_at`) or by a walk over the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple, cast

from integrator.domain.contract import Contract, Roles
from integrator.domain.errors import Invalid
from integrator.domain.event import KINDS, Kind
from integrator.domain.identifiers import Scheme, SubjectRef
from integrator.domain.projection import Addressable

# People recur: the members of a family name each other, and one change follows another.
person = lru_cache(maxsize=16_384)(SubjectRef.of)
"""`SubjectRef.of`, which remembers."""


class RelatedPerson(NamedTuple):
    """Somebody whom the record relates to its subject; `ref` is `None` without a valid number."""

    role: int
    """Which of the contract's related roles, from 0."""
    relation: str
    ref: SubjectRef | None


class SourceEvent(NamedTuple):
    """One record of a source as a decision sees it: never more than roles and decision fields."""

    stream: str
    id: str
    time: str
    """RFC 3339, when the source logged it."""
    kind: Kind
    subject: SubjectRef
    related: tuple[RelatedPerson, ...] = ()
    changed: tuple[str, ...] | None = None
    """Paths that changed; `None` when the stream has no such role."""
    fact_id: str = ""
    corrects: str | None = None
    territory: str | None = None
    birth_date: str | None = None
    protected: bool = False
    """Whether the address is protected by the contract's role of that name."""
    sheltered: bool = False
    """Whether others must not find the subject through it: a protected address, a secrecy, or the role `sheltered`."""
    decision_fields: Mapping[str, Any] = {}
    """By name, as the contract has them; a date is its ISO 8601 text."""

    def __repr__(self) -> str:
        return f"SourceEvent({self.stream}, {self.kind}, {self.subject!r})"


@dataclass(frozen=True, slots=True)
class RolePaths:
    """Where a contract's roles stand in one schema: `ones` have one value at most, `lists` any number."""

    ones: tuple[str, ...]
    lists: tuple[str, ...]

    @classmethod
    def of(cls, contract: Contract, known: Mapping[str, Addressable]) -> RolePaths:
        """Return the paths to read, each once; `known` are the `paths` of the schema.

        Raises `Invalid` (`path-unknown`).
        """
        roles = contract.roles
        single = [roles.subject.path, roles.kind, roles.fact_id.path, roles.changed, roles.corrects]
        single += [roles.territory, roles.birth_date, *_shelters(roles)]
        ones = dict.fromkeys(path for path in single if path is not None)
        lists = dict.fromkeys(role.path for role in roles.related)
        for path in contract.decision_fields.values():
            (lists if _inside_array(path, known) else ones)[path] = None
        for path in (*ones, *lists):
            if path not in known:
                raise Invalid("path-unknown", f"The schema of {contract.stream} has no field {path}.", where=path)
        return cls(tuple(ones), tuple(lists))


def _inside_array(path: str, known: Mapping[str, Addressable]) -> bool:
    parts = path.split(".")
    return any(found.many for end in range(1, len(parts)) if (found := known.get(".".join(parts[:end]))))


def values_at(value: Any, path: str) -> list[Any]:
    """Return every value that `path` reaches in a decoded record: none where a record on the way is null."""
    found = [value]
    for name in path.split("."):
        found = [item[name] for item in _flat(found)]
    return found


def _flat(values: list[Any]) -> list[Mapping[str, Any]]:
    out: list[Mapping[str, Any]] = []
    for value in values:
        if isinstance(value, list):
            out += _flat(cast("list[Any]", value))
        elif value is not None:
            out.append(value)
    return out


class EventReader:
    """Makes events of a stream from the values of its roles; built once per contract and schema."""

    def __init__(self, contract: Contract, known: Mapping[str, Addressable]) -> None:
        roles = contract.roles
        self.paths = RolePaths.of(contract, known)
        at = {path: index for index, path in enumerate((*self.paths.ones, *self.paths.lists))}
        nowhere = len(at)  # an absent role reads the `None` that `event` puts behind the values
        self._stream = contract.stream
        self._subject, self._schemes = at[roles.subject.path], roles.subject.schemes
        self._kind = at[roles.kind]
        self._constant = roles.fact_id.constant
        self._fact_id = at[roles.fact_id.path] if roles.fact_id.path else nowhere
        self._has_changed = roles.changed is not None
        self._changed = at[roles.changed] if roles.changed else nowhere
        self._corrects = at[roles.corrects] if roles.corrects else nowhere
        self._territory = at[roles.territory] if roles.territory else nowhere
        self._birth_date = at[roles.birth_date] if roles.birth_date else nowhere
        self._protected = at[roles.protected_address] if roles.protected_address else nowhere
        self._shelters = tuple(at[path] for path in _shelters(roles) if path is not None)
        order = list(known)
        self._related = tuple(
            (number, at[role.path], role.relation, role.schemes, "." in role.path)
            for number, role in sorted(enumerate(roles.related), key=lambda found: order.index(found[1].path))
        )
        self._fields = tuple((name, at[path]) for name, path in contract.decision_fields.items())

    def decoded(self, value: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values of a decoded record in the order of `paths`."""
        ones = ((values_at(value, path) or [None])[0] for path in self.paths.ones)
        return (*ones, *(values_at(value, path) for path in self.paths.lists))

    def event(self, values: Sequence[Any], *, id: str, time: str) -> SourceEvent:  # noqa: A002  # the envelope's name
        """Return the event. Raises `Invalid`: `contract` (no kind, no fact), `no-subject`, `subject-invalid`."""
        values = (*values, None)
        kind = values[self._kind]
        if kind not in KINDS:
            raise Invalid("contract", "The field with the role kind holds no kind of event.")
        subject = values[self._subject]
        if not isinstance(subject, str) or not subject:
            raise Invalid("no-subject", "The field with the role subject is empty.")
        fact_id = self._constant or _text(values[self._fact_id])
        if not fact_id:
            raise Invalid("contract", "The field with the role factId is empty.")
        changed = values[self._changed]
        return SourceEvent(
            self._stream,
            id,
            time,
            kind,
            person(subject, self._schemes),
            self._people(values) if self._related else (),
            _texts(changed) if self._has_changed else None,
            fact_id,
            _text(values[self._corrects]),
            _text(values[self._territory]),
            _text(values[self._birth_date]),
            _marked(values[self._protected]),
            bool(self._shelters) and any(_marked(values[index]) for index in self._shelters),
            {name: _plain(values[index]) for name, index in self._fields} if self._fields else {},
        )

    def _people(self, values: Sequence[Any]) -> tuple[RelatedPerson, ...]:
        found: list[RelatedPerson] = []
        for number, index, relation, schemes, nested in self._related:
            for person in values[index]:
                # A number beside the subject's own fields tells of nobody when it is absent; inside a record of its
                # own, the record is the person, with or without a number.
                for one in cast("list[Any]", person) if isinstance(person, list) else (person,):
                    if one is not None or nested:
                        found.append(RelatedPerson(number, relation, _ref(one, schemes)))
        return tuple(found)


def _ref(value: Any, schemes: tuple[Scheme, ...]) -> SubjectRef | None:
    if not isinstance(value, str) or not value:
        return None
    try:
        return person(value, schemes)
    except Invalid:
        return None  # LIMIT: a related person with a wrong number is counted as unidentified, not quarantined.


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) or value is None else str(_plain(value))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in cast("list[Any]", value)) if isinstance(value, list) else ()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _shelters(roles: Roles) -> tuple[str | None, ...]:
    """Return the paths of the marks under which nobody may be found through what others learn."""
    return roles.protected_address, roles.third_party_restriction, roles.sheltered


def _marked(value: Any) -> bool:
    """Take anything but null, false, zero and the empty text for a mark."""
    return value not in (None, False, 0, "", "0")
