"""Says who asks: operator, supervisor, auditor, an agency for one purpose, or a fictional person; by an opaque token.

- The API holds SHA-256 of each token, never the token. Tokens are random (256 bits), so a plain hash is enough.
- A token is read from `Authorization: Bearer` only: never from a query, which proxies log.
- Citizens have tokens in the profile `development` alone; elsewhere people log in with OpenID Connect.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, assert_never

from fastapi import Request

from integrator.domain import topics
from integrator.domain.errors import Invalid, Refused
from integrator.domain.identifiers import SubjectRef
from integrator.operation.secrets import Secrets, password

OPERATOR_SECRET: Final = "token-operator"  # noqa: S105  the name of a secret
DEVELOPMENT_KEY: Final = "development-citizens"
_AUDITOR: Final = "auditor-"


@dataclass(frozen=True, slots=True)
class Operator:
    """Who runs the installation."""

    @property
    def name(self) -> str:
        """The principal as it stands in the institution log."""
        return "operator"


@dataclass(frozen=True, slots=True)
class AgencyFor:
    """An agency, acting for one purpose: another purpose is another token."""

    agency: str
    purpose: str

    @property
    def name(self) -> str:
        """The principal, which is also its user name at the broker."""
        return topics.agency_principal(self.agency, self.purpose)


@dataclass(frozen=True, slots=True)
class Auditor:
    """An organisation that may search the ledger, count in it and open entries."""

    organisation: str

    @property
    def name(self) -> str:
        """The principal as it stands in the institution log, and in the file of tokens."""
        return f"{_AUDITOR}{self.organisation}"


@dataclass(frozen=True, slots=True)
class Authority:
    """The supervisory authority as the checking cosigner: it alone is given the days' dossiers."""

    @property
    def name(self) -> str:
        """The name in the file of tokens."""
        return "supervisor"


Principal = Operator | AgencyFor | Auditor | Authority


def token_secret(principal: Principal) -> str:
    """Return the name of the secret that holds the principal's own copy of its token."""
    match principal:
        case Operator():
            return OPERATOR_SECRET
        case AgencyFor() | Auditor() | Authority():
            return f"token-{principal.name}"
    assert_never(principal)


class TokenFile:
    """Names by the SHA-256 of a token: one line each, `<64 hexadecimal digits> <name>`, mode 0600.

    Several processes may read while one adds; lines are only ever added, in one write each time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # By the hash's first half; the second is compared in constant time.
        self._names: dict[bytes, tuple[bytes, str]] = {}
        self._read_to = 0

    def register(self, entries: Iterable[tuple[str, str]]) -> None:
        """Add (token, name) pairs; those that are there already are left alone. Durable when this returns."""
        self._refresh()
        new = {_hash(token): name for token, name in entries}
        lines = "".join(f"{digest.hex()} {name}\n" for digest, name in new.items() if digest[:16] not in self._names)
        if not lines:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())

    def name_of(self, token: str) -> str | None:
        """Return the name that the token stands for, `None` when it stands for nothing."""
        digest = _hash(token)
        if digest[:16] not in self._names:
            self._refresh()
        rest, name = self._names.get(digest[:16], (b"", ""))
        return name if hmac.compare_digest(rest, digest[16:]) else None

    def _refresh(self) -> None:
        # Requests are served by several threads: both may read the same lines, and neither may skip any.
        start = self._read_to
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                added = file.read()
        except FileNotFoundError:
            return
        whole = added[: added.rfind(b"\n") + 1]
        for line in whole.splitlines():
            text, _, name = line.decode().partition(" ")
            digest = bytes.fromhex(text)
            self._names[digest[:16]] = digest[16:], name
        self._read_to = start + len(whole)


class Tokens:
    """The principals of this installation.

    The name beside a token's hash tells the role: `operator`, `supervisor`, `auditor-<organisation>`, or an agency's
    user name.
    """

    def __init__(self, path: Path, *, auditors: Iterable[str] = ()) -> None:
        """`auditors` are the organisations whose tokens are good: one that is not named any more is nobody."""
        self._file = TokenFile(path)
        self._auditors = frozenset(auditors)

    def provide(self, secrets: Secrets, principals: Iterable[Principal]) -> None:
        """Make sure that each principal has a token, as a secret of its own, and that it is known here by its hash."""
        self._file.register(
            (secrets.create(token_secret(principal), password).decode(), principal.name) for principal in principals
        )

    def identify(self, token: str) -> Principal | None:
        """Return the principal of a token, `None` for an unknown one."""
        name = self._file.name_of(token)
        if name is None:
            return None
        if name == Operator().name:
            return Operator()
        if name == Authority().name:
            return Authority()
        if name.startswith(_AUDITOR):
            organisation = name.removeprefix(_AUDITOR)
            return Auditor(organisation) if organisation in self._auditors else None
        agency, _, purpose = name.removeprefix("agency-").partition("--")
        return AgencyFor(agency, purpose)


class DevelopmentCitizens:
    """Tokens of fictional people, for demonstrations. Refuses to exist outside the profile `development`.

    A token is base64url(HMAC-SHA256(key, "citizen" ‖ 0x00 ‖ "scheme:value")) without padding: the same person always
    has the same one, so that a demonstration can print it. Only registered people are known.
    """

    def __init__(self, path: Path, key: bytes, *, profile: Literal["development", "production"]) -> None:
        if profile != "development":
            raise Refused(
                "development-only",
                "Tokens of fictional people exist in the profile `development` only: use an identity provider.",
            )
        self._file = TokenFile(path)
        self._key = key

    def token(self, person: SubjectRef) -> str:
        """Return the token of a fictional person."""
        digest = hmac.digest(self._key, b"citizen\x00" + person.canonical.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def register(self, people: Iterable[SubjectRef]) -> None:
        """Let these people in."""
        self._file.register((self.token(person), person.canonical) for person in people)

    def identify(self, token: str) -> SubjectRef | None:
        """Return the person of a token, `None` for an unknown one."""
        name = self._file.name_of(token)
        return None if name is None else SubjectRef.parse(name)


class Citizens(Protocol):
    """Whoever can tell a person by a token."""

    def identify(self, token: str) -> SubjectRef | None:
        """Return the person of a token, `None` for an unknown one."""
        ...


class Identities(Protocol):
    """Whoever can tell an operator or an agency by a token."""

    def identify(self, token: str) -> Principal | None:
        """Return the principal of a token, `None` for an unknown one."""
        ...


class NoCitizens:
    """Knows nobody: an installation without an identity provider for people."""

    def identify(self, token: str) -> SubjectRef | None:  # noqa: ARG002  the port's signature
        """Return `None`."""
        return None


def bearer(headers: Mapping[str, str]) -> str:
    """Return the token of a request. Raises `Refused` (`not-authenticated`)."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused("not-authenticated", "Send a token in the header `Authorization: Bearer …`.")
    if len(token) > 512:
        raise Invalid("token-invalid", "No token of this installation is that long.")
    return token.strip()


def require_principal(request: Request, identities: Identities) -> Principal:
    """Return who asks. Raises `Refused` (`not-authenticated`)."""
    principal = identities.identify(bearer(request.headers))
    if principal is None:
        raise Refused("not-authenticated", "The token is not known here.")
    return principal


def require_operator(request: Request, identities: Identities) -> Operator:
    """Return the operator who asks. Raises `Refused` (`not-authenticated`, `operator-only`)."""
    principal = require_principal(request, identities)
    if not isinstance(principal, Operator):
        raise Refused("operator-only", "Only an operator may do this.")
    return principal


def require_agency(request: Request, identities: Identities) -> AgencyFor:
    """Return the agency that asks, and for which purpose. Raises `Refused` (`not-authenticated`, `agency-only`)."""
    principal = require_principal(request, identities)
    if not isinstance(principal, AgencyFor):
        raise Refused("agency-only", "Only an agency may do this, with the token of its purpose.")
    return principal


def require_auditor(request: Request, identities: Identities) -> Auditor:
    """Return the organisation that asks. Raises `Refused` (`not-authenticated`, `auditor-only`)."""
    principal = require_principal(request, identities)
    if not isinstance(principal, Auditor):
        raise Refused("auditor-only", "Only an auditor may do this.")
    return principal


def require_supervisor(request: Request, identities: Identities) -> Authority:
    """Return the supervisor who asks. Raises `Refused` (`not-authenticated`, `supervisor-only`)."""
    principal = require_principal(request, identities)
    if not isinstance(principal, Authority):
        raise Refused("supervisor-only", "Only the supervisory authority may do this.")
    return principal


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
