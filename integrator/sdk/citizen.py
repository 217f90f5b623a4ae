"""Reads what was disclosed about one person and believes only what the ledger proves.

- Every disclosure is made of parts whose opening verifies against a key that the reader already has. The first one
  that does not stops everything, by name of its entry.
- A list that names another person, tells an entry twice or out of order, or gives another name than the entry does, is
  refused in the same way.
- Titles and descriptions come from the integrator and are proved by nobody: they are kept apart.

LIMIT: this list shows that entries came, not that all came; `history` is what proves that, for days that are over. The
key should come from another place than the integrator that is checked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import Any, Final, Self, cast

import httpx2

from integrator.domain.errors import Invalid, Refused, Tampered, Unavailable
from integrator_audit import VerifiedOpening, Verifier, verify_opening
from integrator_audit import errors as audit

PAGE: Final = 50
_ROUTE: Final = "/v1/me/disclosures"
_HISTORY: Final = "/v1/me/history"
_MEDIATED: Final = "dienstenintegrator/mediated-accountability/v1"
_READING: Final = "dienstenintegrator/reading/v1"
_PARTS: Final = {
    "A": ("dienstenintegrator/accountability/v1", _MEDIATED, _READING),
    "S": ("dienstenintegrator/subject/v1",),
}
_DISCLOSURE: Final = 0x01


@dataclass(frozen=True, slots=True)
class VerifiedDisclosure:
    """One disclosure as the ledger proves it: entry `index` of the log `origin`, under a checkpoint of `size`."""

    origin: str
    index: int
    size: int
    at: datetime | None
    """`None` of an entry that was erased: of that, `role` is empty too."""
    date: date
    """The legal day of the decision, in the time zone of the stream."""
    recipient: str
    provider: str
    stream: str
    fields: tuple[str, ...]
    role: str
    purpose: str
    purpose_version: int
    basis: tuple[str, ...]
    under: tuple[str, int] | None
    """Authorisation and version; `None` where the entry is mediated, and where an auditor read an entry."""
    retention: int
    """For so many years after its half-year the entry can be opened."""
    mediated: bool
    """Whether `recipient` is a class of agencies, because somebody else in the event must not be found."""
    unverified: Mapping[str, Any]
    """What the integrator shows beside it: titles and descriptions in nl, fr and en."""


def read_keys(texts: Iterable[str]) -> dict[str, Verifier]:
    """Read verification keys, one on each line, and return them by origin. Raises `Invalid` (`vkey`)."""
    found: dict[str, Verifier] = {}
    for line in (line.strip() for text in texts for line in text.splitlines()):
        if line:
            try:
                key = Verifier.from_text(line)
            except audit.Invalid as error:
                raise Invalid("vkey", f"This is no verification key of a ledger: {error.message}.") from error
            found[key.name] = key
    if not found:
        raise Invalid("vkey", "There is no verification key: give the line `name+id+key` that the ledger publishes.")
    return found


class Citizen:
    """One person's view of one integrator. An asynchronous context manager.

    `api` is the integrator's address without `/v1`; `token` says who asks; `keys` are the ledger's verification keys by
    origin (`read_keys`), obtained from somebody whom the reader trusts.
    """

    def __init__(
        self,
        api: str,
        *,
        token: str,
        keys: Mapping[str, Verifier],
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._keys = dict(keys)
        self._client = httpx2.AsyncClient(
            base_url=api,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(30.0),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def disclosures(self, *, page: int = PAGE) -> AsyncGenerator[VerifiedDisclosure]:
        """Yield every disclosure about the person, newest first, each verified before it is yielded.

        Raises `Tampered` and says which entry fails, `Refused` when the token or a key is not accepted, `Unavailable`
        when the integrator does not answer.
        """
        checks = _Checks(self._keys)
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            answer = await self._get({"limit": str(page)} | ({"cursor": cursor} if cursor else {}))
            for shown in _list(answer, "disclosures"):
                yield checks.verify(shown)
            following = answer.get("next")
            if following is None:
                return
            if not isinstance(following, str) or following in seen:
                raise Tampered("disclosure-order", "The integrator's list of disclosures leads back to itself.")
            seen.add(following)
            cursor = following

    async def history(self, *, first: date | None = None, last: date | None = None) -> bytes:
        """Return the person's history document for the sealed days from `first` to `last`, to be judged.

        Raises as `disclosures` does; `sdk.completeness.judge_history` says whether it holds.
        """
        asked = {name: day.isoformat() for name, day in (("first", first), ("last", last)) if day is not None}
        # The bytes as they came: whoever judges them also judges that they have one form.
        return (await self._ask(_HISTORY, asked))[0]

    async def _get(self, query: Mapping[str, str]) -> dict[str, Any]:
        return (await self._ask(_ROUTE, query))[1]

    async def _ask(self, route: str, query: Mapping[str, str]) -> tuple[bytes, dict[str, Any]]:
        try:
            response = await self._client.get(route, params=dict(query))
            answer: object = response.json()
        except httpx2.HTTPError as error:
            raise Unavailable("api-unreachable", "The integrator does not answer: is it running?") from error
        except ValueError as error:
            raise Unavailable("api-answer", "What answered at this address is no integrator.") from error
        if not isinstance(answer, dict):
            raise Unavailable("api-answer", "What answered at this address is no integrator.")
        members = cast("dict[str, Any]", answer)
        if response.is_success:
            return response.content, members
        code, detail = str(members.get("code", "api-answer")), str(members.get("detail", "The integrator refuses."))
        if response.is_client_error:
            raise Refused(code, detail)
        # 500 with a code of its own is what the integrator found wrong in its ledger; `internal` is any crash.
        raise (Tampered if response.status_code == 500 and code != "internal" else Unavailable)(code, detail)


class _Checks:
    """What must hold of one list from its first entry to its last."""

    def __init__(self, keys: Mapping[str, Verifier]) -> None:
        self._keys = keys
        self._subject: tuple[str, int] | None = None
        self._last: dict[str, int] = {}

    def verify(self, shown: Mapping[str, Any]) -> VerifiedDisclosure:
        opening = shown.get("opening")
        if not isinstance(opening, Mapping):
            raise Tampered("opening-missing", "The integrator shows a disclosure without its proof.")
        proved, where = self._open(cast("Mapping[str, object]", opening))
        told = _part(proved, "A", where)
        # That it was erased is the integrator's word here; `history` proves it.
        person = _part(proved, "S", where) if "S" in proved.parts else None
        mediated = told["schema"] == _MEDIATED
        without = mediated or told["schema"] == _READING
        try:
            found = VerifiedDisclosure(
                origin=proved.origin,
                index=proved.index,
                size=proved.size,
                at=datetime.fromisoformat(_text(person["at"])) if person else None,
                date=date.fromisoformat(_text(told["date"])),
                recipient=_text(told["recipient"]),
                provider=_text(told["provider"]),
                stream=_text(told["stream"]),
                fields=_texts(told["fields"]),
                role=_text(person["role"]) if person else "",
                purpose=_text(told["purpose"]),
                purpose_version=_number(told["purposeVersion"]),
                basis=_texts(told["basis"]),
                under=None if without else (_text(told["authorisation"]), _number(told["version"])),
                retention=_number(told["retention"]),
                mediated=mediated,
                unverified=shown,
            )
            subject = (_text(person["subject"]), _number(person["keyVersion"])) if person else None
        except (KeyError, TypeError, ValueError) as error:
            raise Tampered("opening-part", f"{where} does not say what a disclosure says.") from error
        self._in_order(found, where)
        if subject is not None:
            self._one_person(subject, where)
        _same_names(shown, found, where)
        return found

    def _open(self, opening: Mapping[str, object]) -> tuple[VerifiedOpening, str]:
        where = f"Entry {opening.get('index')} of {opening.get('origin')}"
        key = self._keys.get(str(opening.get("origin")))
        if key is None:
            raise Refused("unknown-log", f"{where}: there is no verification key for this log; give one with it.")
        try:
            return verify_opening(opening, key), where
        except audit.Tampered as error:
            raise Tampered(error.code, f"{where} does not hold: {error.message}.") from error

    def _in_order(self, found: VerifiedDisclosure, where: str) -> None:
        if found.index >= self._last.get(found.origin, found.index + 1):
            raise Tampered("disclosure-order", f"{where} stands twice in the list, or out of order.")
        self._last[found.origin] = found.index

    def _one_person(self, subject: tuple[str, int], where: str) -> None:
        if self._subject is not None and self._subject[1] == subject[1] and self._subject[0] != subject[0]:
            raise Tampered("disclosure-person", f"{where} is about another person than the entries before it.")
        self._subject = subject


def _same_names(shown: Mapping[str, Any], found: VerifiedDisclosure, where: str) -> None:
    """Refuse a list that shows other names than its entries prove: people read the names."""
    fields = [field.get("path") for field in _list(shown, "fields")]
    claimed = [
        *(_object(shown, name).get("name") for name in ("recipient", "source", "stream", "purpose")),
        *(shown.get(name) for name in ("role", "basis")),
    ]
    proved = [found.recipient, found.provider, found.stream, found.purpose, found.role, list(found.basis)]
    if claimed != proved or fields != list(found.fields):
        raise Tampered("disclosure-shown", f"{where} says something else than the integrator shows beside it.")


def _part(proved: VerifiedOpening, letter: str, where: str) -> dict[str, object]:
    part = proved.parts.get(letter)
    if proved.type != _DISCLOSURE or part is None or part.get("schema") not in _PARTS[letter]:
        raise Tampered("opening-part", f"{where} is no disclosure that this release can read.")
    return part


def _list(members: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = members.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast("list[object]", value)):
        raise Unavailable("api-answer", f"The integrator's answer has no list of {name}.")
    return cast("list[dict[str, Any]]", value)


def _object(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = members.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item) for item in cast("list[object]", value))
