"""Translates the ledger library's errors into the house's five families: the one table of this boundary.

A reader of a log is handed out as the library made it, so its errors may come up to any door of a program: `told` is
for those.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from integrator.domain.errors import Busy, IntegratorError, Invalid, Refused, Tampered, Unavailable
from integrator_audit import errors as audit


def translate(error: audit.AuditError) -> IntegratorError:
    """Return the error of the house that says the same; what has no family is `Unavailable`."""
    match error:
        case audit.Refused():
            return Refused(error.code, error.message)
        case audit.Invalid():
            return Invalid(error.code, error.message)
        case audit.Busy():
            return Busy(error.code, error.message, retry_after=error.retry_after)
        case audit.Tampered():
            return Tampered(error.code, error.message)
        case _:
            return Unavailable(error.code, error.message)


def told(problem: BaseException) -> list[IntegratorError]:
    """Return the errors in `problem` that have something to say to people; groups are taken apart."""
    match problem:
        case BaseExceptionGroup():
            return [error for part in problem.exceptions for error in told(part)]
        case audit.AuditError():
            return [translate(problem)]
        case IntegratorError():
            return [problem]
        case _:
            return []


@contextmanager
def translated() -> Generator[None]:
    """Raise the ledger's errors as those of the house."""
    try:
        yield
    except audit.AuditError as error:
        raise translate(error) from error
