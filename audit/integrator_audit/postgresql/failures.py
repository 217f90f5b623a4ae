"""The one table that turns errors of PostgreSQL and its driver into ours.

- A message names host and database, the SQLSTATE and what to do. It repeats no text of the server: a DETAIL carries
  values of columns, and may say whose entry it was.
- Nothing foreign is shown behind our error: the driver's own error of a failed connection holds the password.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import psycopg

from integrator_audit.errors import AuditError, Busy, Invalid, Refused, Tampered, Unavailable

_Maker = Callable[[str, str], AuditError]


def _said(family: type[Invalid | Refused | Unavailable | Tampered], code: str, sentence: str) -> _Maker:
    return lambda what, where: family(f"{what}-{code}", sentence.format(what=what, where=where))


def _busy(what: str, where: str) -> AuditError:
    return Busy(f"{what}-busy", f"another session holds what the {what} in {where} needs; try again")


_LOGIN = _said(
    Refused, "login", "{where} does not let us in: the user or the password is wrong, or pg_hba.conf forbids it"
)
_NO_DATABASE = _said(Unavailable, "no-database", "there is no such database: {where}; an administrator creates it")
_PERMISSION = _said(
    Refused, "permission", "the database user may not do this to the {what} in {where}; grant what the guide names"
)
_READ_ONLY = _said(Refused, "read-only", "{where} takes no writes: it is a stand-by, or set to read only")
_REPEATED = _said(
    Tampered, "repeated", "what was to be written is already in the {what} in {where}, which must never happen"
)
_FULL = _said(
    Unavailable, "store-full", "{where} has no room left on disk; make room, then open the {what} again and look"
)
_SHORT = _said(Unavailable, "store", "{where} has no memory or connections left for the {what}")
_LOST = _said(Unavailable, "store", "the connection of the {what} to {where} was lost; open it again and look")
_FOREIGN = _said(Tampered, "damaged", "the schema of the {what} in {where} is not one that this version reads")
_DAMAGED = _said(Tampered, "damaged", "{where} says that pages of the {what} are damaged; run fsck")
_LIMIT = _said(Unavailable, "store", "{where} cancelled a statement of the {what}: a time limit or an administrator")
_TEXT = _said(Invalid, "text", "a text for the {what} holds a zero byte, which {where} cannot store")
_OTHER = _said(Unavailable, "store", "{where} failed at a statement of the {what}")

# By SQLSTATE, the five characters before the two of its class. Source: PostgreSQL, appendix A.
TABLE: Final[dict[str, _Maker]] = {
    "08": _LOST,
    "23": _REPEATED,
    "23502": _DAMAGED,
    "22021": _TEXT,
    "22P02": _FOREIGN,  # a column of another type, compared with a constant of ours
    "25006": _READ_ONLY,
    "25P03": _LOST,  # idle_in_transaction_session_timeout
    "28": _LOGIN,
    "3D000": _NO_DATABASE,
    "3F000": _FOREIGN,
    "40": _busy,
    "42": _FOREIGN,
    "42501": _PERMISSION,
    "53": _SHORT,
    "53100": _FULL,
    "55P03": _busy,
    "57": _LOST,
    "57014": _LIMIT,
    "58": _OTHER,
    "58030": _FULL,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}

# Failed connections carry no SQLSTATE, only a sentence. Servers may speak another language: then the last line serves.
_SENTENCES: Final[tuple[tuple[str, _Maker], ...]] = (
    ("password", _LOGIN),
    ("pg_hba.conf", _LOGIN),
    ("role", _LOGIN),
    ("does not exist", _NO_DATABASE),
    ("permission denied for database", _PERMISSION),
    ("", _said(Unavailable, "store", "{where} cannot be reached for the {what}; is it running, and let in from here?")),
)


def translate(error: psycopg.Error, what: str, where: str) -> AuditError:
    """Return our error; `what` (ledger, vault) starts its code, `where` names host and database."""
    state = error.sqlstate
    if state is None:
        if isinstance(error, psycopg.DataError):
            # The driver takes no text with a zero byte, and reads no value that Python has not, such as a year 200000.
            return (_TEXT if "NUL" in str(error) else _FOREIGN)(what, where)
        return _LOST(what, where)
    ours = (TABLE.get(state) or TABLE.get(state[:2]) or _OTHER)(what, where)
    # Class 42 names tables and columns, never what is in them.
    ours.message += (
        f" ({error.diag.message_primary}; SQLSTATE {state})" if state[:2] == "42" else f" (SQLSTATE {state})"
    )
    return ours


def translate_connecting(error: psycopg.Error, what: str, where: str) -> AuditError:
    """Return our error for a connection that did not come about."""
    if error.sqlstate is not None:
        return translate(error, what, where)
    text = str(error)
    return next(make for words, make in _SENTENCES if words in text)(what, where)


@contextmanager
def translated(what: str, where: str) -> Generator[None]:
    """Translate what the driver raises; mistakes of the caller's own code pass as they are."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate is None and not isinstance(error, psycopg.DataError | psycopg.OperationalError):
            raise
        raise translate(error, what, where) from None
