"""Shows a citizen what was disclosed about them, newest first, each with what it takes to check it.

- What is shown is read from parts A and S; part D is never read here.
- An entry that is just being erased is shown with what is left of it. One that was erased is in nobody's list any
  more: the history tells on which days there was something.
- The list goes through all half-years and shards by the moment of disclosure. A place in it is an index for each shard
  of a half-year, so it stands still while the ledger grows.
- Names are given their titles and descriptions from the directory as it is now. Those are for reading only: what the
  ledger proves are the names, and they are in the opening.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol, cast

from integrator.domain.contract import Category, Contract
from integrator.domain.directory import Knowledge
from integrator.domain.documents import Texts
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import SubjectRef
from integrator.domain.pseudonyms import pseudonym
from integrator.recording.accountability import MEDIATED
from integrator.recording.failures import translated
from integrator.recording.sequencer import Directories
from integrator_audit import errors as audit

_ERASED: Final = "opening-erased"
LEGIBLE: Final = "AS"
"""The parts that a citizen may read of an entry about them."""


class Opened(Protocol):
    """A subject shard as this room reads it: `integrator_audit.LedgerReader`."""

    def indices_of(self, subject: bytes, *, before: int | None = None, limit: int = 100) -> list[int]: ...

    def opening(self, index: int, parts: str) -> Mapping[str, object]: ...


class Place(NamedTuple):
    """A place in a person's list: in the shards of a half-year, everything below these indices is still to come."""

    half: str
    befores: tuple[int, ...]


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
    """One disclosure as its data subject sees it; `at` is RFC 3339 in UTC with milliseconds.

    Of an erased entry `at` is the day, `role` is empty and the opening has part A only.
    """

    at: str
    recipient: Named
    source: Named
    stream: Named
    role: str
    fields: tuple[ShownField, ...]
    purpose: ShownPurpose
    basis: tuple[str, ...]
    under: tuple[str, int] | None
    """Authorisation and version; `None` where the entry is mediated (`recipient` is then a class of agencies), and
    where an auditor read an entry."""
    opening: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Page:
    """Some disclosures, newest first; `after` continues, `None` when there are no older ones."""

    disclosures: tuple[ShownDisclosure, ...]
    after: Place | None


class Openings:
    """Opens entries of all subject shards to the people whom they are about, half-year after half-year."""

    def __init__(
        self, shards: Callable[[], Sequence[tuple[str, Sequence[Opened]]]], directories: Directories, *, key: bytes
    ) -> None:
        """`shards` gives the logs by half-year, the newest first, as there are at that moment.

        `key` is the ledger's pseudonym key.
        """
        self._shards = shards
        self._directories = directories
        self._key = key

    def page(self, person: SubjectRef, *, after: Place | None, limit: int) -> Page:
        """Return at most `limit` disclosures about `person` from a place on, newest first.

        Raises `Unavailable` when a log cannot be read, `Tampered` when an entry is not what was committed, `Invalid`
        (`cursor-invalid`) for a place that is in no log here.
        """
        subject = pseudonym(self._key, "ledger", person)
        with translated():
            # One more than asked for tells whether there is a next page.
            found = list(islice(self._walk(subject, after, limit + 1), limit + 1))
        with self._directories.read() as view:
            knowledge = view.knowledge
        shown = tuple(show(opening, knowledge) for opening, _ in found[:limit])
        return Page(shown, found[limit - 1][1] if len(found) > limit else None)

    def _walk(self, subject: bytes, after: Place | None, most: int) -> Iterator[tuple[Mapping[str, object], Place]]:
        """Yield openings and the place after each."""
        for half, shards in self._shards():
            if after is not None and half > after.half:
                continue
            befores: Sequence[int | None] = [None] * len(shards)
            if after is not None and half == after.half:
                if len(after.befores) != len(shards):
                    raise Invalid("cursor-invalid", "The cursor is of another list: begin without one.", where="cursor")
                befores = after.befores
            lists = [_Shard(one, subject, before, most) for one, before in zip(shards, befores, strict=True)]
            while (newest := max(lists, key=lambda one: one.at)).opening is not None:
                opening = newest.opening
                newest.advance()
                yield opening, Place(half, tuple(one.before for one in lists))


class _Shard:
    """One person's entries in one shard, newest first; the next one is open."""

    def __init__(self, shard: Opened, subject: bytes, before: int | None, most: int) -> None:
        self._shard = shard
        # What comes while somebody reads is newer than their list, and not in it.
        self._indices = iter(shard.indices_of(subject, before=before, limit=most))
        self.before = 0
        self.at = ""
        self.opening: Mapping[str, object] | None = None
        self.advance()

    def advance(self) -> None:
        """Open the next entry; `before` then is the index below which everything after the former one is."""
        index = next(self._indices, None)
        if index is None:
            self.before, self.at, self.opening = 0, "", None
            return
        try:
            self.opening = self._shard.opening(index, LEGIBLE)
            self.at = str(_said(self.opening, "S")["at"])
        except audit.Refused as error:
            if error.code != _ERASED:
                raise
            self.opening = self._shard.opening(index, "A")
            self.at = str(_said(self.opening, "A")["date"])
        self.before = index + 1


def show(opening: Mapping[str, object], knowledge: Knowledge) -> ShownDisclosure:
    """Return what the parts A and S of `opening` say, with titles and descriptions from `knowledge`."""
    told = _said(opening, "A")
    person = _said(opening, "S") if "S" in opening else {"at": told["date"], "role": ""}
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
        under=(told["authorisation"], told["version"]) if "authorisation" in told else None,
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
