"""Shows a citizen what was disclosed about them, newest first, each with what it takes to check it.

- What is shown is read from parts A and S; part D is never read here.
- Names are given their titles and descriptions from the directory as it is now. Those are for reading only: what the
  ledger proves are the names, and they are in the opening.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from integrator.domain.contract import Category, Contract
from integrator.domain.directory import Knowledge
from integrator.domain.documents import Texts
from integrator.domain.identifiers import SubjectRef
from integrator.domain.pseudonyms import pseudonym
from integrator.recording.disclosures import MEDIATED
from integrator.recording.failures import translated
from integrator.recording.sequencer import Directories

LEGIBLE: Final = "AS"
"""The parts that a citizen may read of an entry about them."""


class Opened(Protocol):
    """The subject shard as this room reads it: `integrator_audit.LedgerReader`."""

    def indices_of(self, subject: bytes, *, before: int | None = None, limit: int = 100) -> list[int]: ...

    def opening(self, index: int, parts: str) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class Named:
    """A name of the directory with its title for people, when the directory knows one."""

    name: str
    title: Texts | None


@dataclass(frozen=True, slots=True)
class ShownField:
    """A path of the stream's schema and what it means."""

    path: str
    category: Category | None
    description: Texts | None


@dataclass(frozen=True, slots=True)
class ShownPurpose:
    """A version of a purpose."""

    name: str
    version: int
    title: Texts | None
    description: Texts | None


@dataclass(frozen=True, slots=True)
class ShownDisclosure:
    """One disclosure as its data subject sees it; `at` is RFC 3339 in UTC with milliseconds."""

    at: str
    recipient: Named
    source: Named
    stream: Named
    role: str
    fields: tuple[ShownField, ...]
    purpose: ShownPurpose
    basis: tuple[str, ...]
    under: tuple[str, int] | None
    """Authorisation and version; `None` where the entry is mediated and `recipient` is a class of agencies."""
    opening: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Page:
    """Some disclosures, newest first; `before` continues, `None` when there are no older ones."""

    disclosures: tuple[ShownDisclosure, ...]
    before: int | None


class Openings:
    """Opens the entries of one subject shard to the people whom they are about."""

    # LIMIT: one shard and its current half-year; with several logs the pages will go through them in turn.

    def __init__(self, shard: Callable[[], Opened], directories: Directories, *, key: bytes) -> None:
        """`shard` gives the log to read, which may come later than this; `key` is the ledger's pseudonym key."""
        self._shard = shard
        self._directories = directories
        self._key = key

    def page(self, person: SubjectRef, *, before: int | None, limit: int) -> Page:
        """Return at most `limit` disclosures about `person` below the index `before`, newest first.

        Raises `Unavailable` when the log cannot be read, `Tampered` when an entry is not what was committed.
        """
        subject = pseudonym(self._key, "ledger", person)
        with translated():
            # One more than asked for tells whether there is a next page.
            shard = self._shard()
            indices = shard.indices_of(subject, before=before, limit=limit + 1)
            openings = [shard.opening(index, LEGIBLE) for index in indices[:limit]]
        with self._directories.read() as view:
            knowledge = view.knowledge
        shown = tuple(show(opening, knowledge) for opening in openings)
        return Page(shown, indices[limit - 1] if len(indices) > limit else None)


def show(opening: Mapping[str, object], knowledge: Knowledge) -> ShownDisclosure:
    """Return what the parts A and S of `opening` say, with titles and descriptions from `knowledge`."""
    told, person = _said(opening, "A"), _said(opening, "S")
    contract = knowledge.contracts.get(told["stream"])
    mediated = told["schema"] == MEDIATED
    source = knowledge.sources.get(told["provider"])
    purpose = knowledge.purposes.get((told["purpose"], told["purposeVersion"]))
    return ShownDisclosure(
        at=person["at"],
        recipient=Named(told["recipient"], _title_of(told["recipient"], knowledge, mediated=mediated)),
        source=Named(told["provider"], source.title if source else None),
        stream=Named(told["stream"], contract.title if contract else None),
        role=person["role"],
        fields=tuple(_field(path, contract) for path in told["fields"]),
        purpose=ShownPurpose(
            told["purpose"],
            told["purposeVersion"],
            purpose.title if purpose else None,
            purpose.description if purpose else None,
        ),
        basis=tuple(told["basis"]),
        under=None if mediated else (told["authorisation"], told["version"]),
        opening=opening,
    )


def _title_of(recipient: str, knowledge: Knowledge, *, mediated: bool) -> Texts | None:
    """Return the title of an agency or of a class of agencies; of a class only if all in it are called the same."""
    if not mediated:
        agency = knowledge.agencies.get(recipient)
        return agency.title if agency else None
    found = [one.recipient_class for one in knowledge.agencies.values() if one.class_name == recipient]
    return found[0] if found and all(one == found[0] for one in found) else None


def _said(opening: Mapping[str, object], letter: str) -> dict[str, Any]:
    part = cast("dict[str, str]", opening[letter])
    return cast("dict[str, Any]", json.loads(base64.b64decode(part["bytes"])))


def _field(path: str, contract: Contract | None) -> ShownField:
    note = contract.note(path) if contract else None
    return ShownField(path, note.category if note else None, note.description if note else None)
