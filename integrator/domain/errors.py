"""The five families of errors, chosen by what the caller should do.

- `Refused`: a rule says no. Never retry; always recorded.
- `Invalid`: the message is wrong. Quarantine it, or correct it and send it again.
- `Busy`: retry after the stated time.
- `Unavailable`: the outcome is unknown. Retry with the same idempotency key.
- `Tampered`: a hash, signature or proof fails. Stop and call a person.

Every error has a stable kebab-case `code` and a message that says what is wrong, where, and what to do.
A message never carries personal data: it may reach a log, a trace or another organisation.
"""

from __future__ import annotations


class IntegratorError(Exception):
    """Carry a stable code and a message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r})"


class Refused(IntegratorError):
    """A rule says no: do not retry."""


class Invalid(IntegratorError):
    """The message breaks its contract; `where` names the path in the document, never a value."""

    def __init__(self, code: str, message: str, *, where: str = "") -> None:
        super().__init__(code, message)
        self.where = where


class Busy(IntegratorError):
    """Try again after `retry_after` seconds."""

    def __init__(self, code: str, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class Unavailable(IntegratorError):
    """The outcome is unknown: retry with the same idempotency key."""


class Tampered(IntegratorError):
    """A hash, signature or proof does not hold: stop and call a person."""
