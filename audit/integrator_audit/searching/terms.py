"""Says what a statement says in single terms, and which statements a question asks for.

A *statement* is the text of part A, which thousands of entries share. Its *terms* are (member, value), one for each
text, integer and boolean in it: an item of a list stands under the list's member, a member of an object under both
names with a dot. Nothing here knows what a member means.

- A condition is about one member: its value is `Among` some, or a dotted path `Overlapping` another: `a` and `a.b`
  overlap, for a path stands for all below it; `a.b` and `a.c` do not.
- A question is a list of alternatives, each a list of conditions that all hold. No alternative: everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from integrator_audit.errors import Invalid
from integrator_audit.parts import read_part

Value = str | int | bool

_MOMENT: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T[0-9:.]{5,12}(?:Z|[+-][0-9]{2}:[0-9]{2}))?", re.ASCII)


class Term(NamedTuple):
    """One thing that a statement says. `value` is JSON, so that the text `"1"` and the number `1` are two values."""

    member: str
    value: str


def value_text(value: Value) -> str:
    """Return a value as terms hold it: its one form in JSON."""
    return json.dumps(value, ensure_ascii=False)


def terms_of(members: Mapping[str, object]) -> list[Term]:
    """Return the terms of a statement in its own order, repeated ones once."""
    return list(dict.fromkeys(_walk("", members)))


def read_terms(statement: bytes) -> list[Term]:
    """Return the terms of a statement's bytes; raise `Invalid` (`part`) when they are no part in its one form."""
    return terms_of(read_part(statement))


def is_moment(value: str) -> bool:
    """Tell whether a term's value is a date or an instant: what nearly every statement has another one of."""
    return value.startswith('"') and _MOMENT.fullmatch(value[1:-1]) is not None


def day_named(terms: Iterable[Term]) -> str | None:
    """Return the first day (ISO 8601) that a statement names, by a date or an instant; None when it names none."""
    for term in terms:
        if term.value.startswith('"') and (found := _MOMENT.fullmatch(term.value[1:-1])):
            return found[1]
    return None


@dataclass(frozen=True, slots=True)
class Among:
    """`member` has one of these values, each as `value_text` writes it."""

    member: str
    values: frozenset[str]

    def accepts(self, value: str) -> bool:
        """Tell whether a value fulfils the condition."""
        return value in self.values


@dataclass(frozen=True, slots=True)
class Overlapping:
    """`member` names this dotted path, or one above it, or one below it."""

    member: str
    path: str

    def accepts(self, value: str) -> bool:
        """Tell whether a value fulfils the condition."""
        if not value.startswith('"'):
            return False
        named = cast(str, json.loads(value))
        return named == self.path or named.startswith(self.path + ".") or self.path.startswith(named + ".")


Condition = Among | Overlapping
Alternatives = Sequence[Sequence[Condition]]


def among(member: str, *values: Value) -> Among:
    """Return the condition that `member` has one of `values`."""
    return Among(member, frozenset(map(value_text, values)))


def holds(alternatives: Alternatives, terms: Iterable[Term]) -> bool:
    """Tell whether a statement with these terms is asked for."""
    if not alternatives:
        return True
    values: dict[str, list[str]] = {}
    for member, value in terms:
        values.setdefault(member, []).append(value)
    return any(
        all(any(map(condition.accepts, values.get(condition.member, ()))) for condition in conditions)
        for conditions in alternatives
    )


def read_condition(text: str) -> Condition:
    """Read a condition as people write it: `member=value`, `member=one|other`, `member~path`.

    A value that looks like an integer, `true` or `false` is also looked for as that. Raises `Invalid` (`condition`).
    """
    found = re.fullmatch(r"([^=~]+)([=~])(.+)", text, re.DOTALL)
    if found is None:
        raise Invalid("condition", "a condition is written member=value, member=one|other or member~path")
    member, sign, told = found.groups()
    if sign == "~":
        return Overlapping(member, told)
    values: set[str] = set()
    for value in told.split("|"):
        values.add(value_text(value))
        if re.fullmatch(r"-?(?:0|[1-9][0-9]{0,15})|true|false", value, re.ASCII) and value != "-0":
            values.add(value)
    return Among(member, frozenset(values))


def write_condition(condition: Condition) -> str:
    """Return a condition as people read it."""
    match condition:
        case Among():
            return f"{condition.member}={'|'.join(sorted({_plain(value) for value in condition.values}))}"
        case Overlapping():
            return f"{condition.member}~{condition.path}"


def _plain(value: str) -> str:
    return str(json.loads(value)) if value.startswith('"') else value


def _walk(name: str, value: object) -> Iterator[Term]:
    if isinstance(value, Mapping):
        for key, inner in cast(Mapping[str, object], value).items():
            yield from _walk(f"{name}.{key}" if name else key, inner)
    elif isinstance(value, list | tuple):
        for inner in cast(Sequence[object], value):
            yield from _walk(name, inner)
    else:
        yield Term(name, value_text(cast(Value, value)))
