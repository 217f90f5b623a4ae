"""The five families of errors of the ledger, chosen by what the caller should do.

- `Refused`: a rule says no. Never retry.
- `Invalid`: what was given breaks its format. Correct it.
- `Busy`: somebody else is at work; retry after the stated time.
- `Unavailable`: the outcome is unknown. Look what happened (reopen, fetch again) before going on.
- `Tampered`: a hash, signature or proof does not hold. Stop and call a person.

Every error has a stable kebab-case `code` and a message that says what is wrong, where, and what to do.
A message never carries the content of an entry: it may reach a log or another organisation.
"""

from __future__ import annotations


class AuditError(Exception):
    """Carry a stable code and a message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r})"


class Refused(AuditError):
    """A rule says no: do not retry."""


class Invalid(AuditError):
    """The bytes or values break their format."""


class Busy(AuditError):
    """Try again after `retry_after` seconds."""

    def __init__(self, code: str, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class Unavailable(AuditError):
    """The outcome is unknown."""


class Tampered(AuditError):
    """A hash, signature or proof does not hold: stop and call a person."""
