"""Shows from the sealed days what is listed about a person or under an agency, with what proves that this is all.

- Whose list is shown is decided by who asks: a person by the number under which they logged in, an agency by its name.
- The signature that makes a person's labels is kept by the ledger once something was listed; before that, and for a
  half-year without anything, the label service gives it.
- A document is of days that are sealed; today is never among them.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from integrator.domain.errors import Invalid, Refused, Unavailable
from integrator.domain.identifiers import SubjectRef
from integrator.domain.pseudonyms import pseudonym
from integrator.recording.failures import translated
from integrator.recording.logs import EPOCHS, INSTITUTION, LedgerFiles, half_year_of, is_shard, shard_number
from integrator.recording.readers import Readers
from integrator_audit import LedgerReader
from integrator_audit.completeness.compiling import dossier_lines, scan_releases
from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.indexes import read_index
from integrator_audit.completeness.presenting import Sealed, account_lines, history
from integrator_audit.completeness.sealing import PeriodLogs
from integrator_audit.halfyear import date_of, first_day, number_of, period_name, period_of
from integrator_audit.store import Reading
from integrator_audit.stores import open_reading

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Range:
    """Days from the first to the last, both in it; `None` for what there is."""

    first: date | None = None
    last: date | None = None


class People(Protocol):
    """The label service at the door for people."""

    def person(self, period: int, number: SubjectRef) -> bytes:
        """Return the signature for a person who has logged in."""
        ...


class Histories:
    """Makes documents from the sealed days of one installation. Safe to share between threads."""

    def __init__(
        self,
        files: LedgerFiles,
        readers: Readers,
        people: People,
        *,
        key: bytes,
        account_secret: Callable[[str], bytes],
    ) -> None:
        """`key` is the ledger's pseudonym key, `account_secret` gives an agency's secret by its name."""
        self._files = files
        self._readers = readers
        self._people = people
        self._key = key
        self._account_secret = account_secret

    def history(self, person: SubjectRef, days: Range) -> Document:
        """Return the history document of a person.

        Raises `Invalid` (`days`) for days that are not sealed, `Unavailable` before the first is, or while the label
        service is away.
        """
        known = pseudonym(self._key, "ledger", person)

        def signature(period: int) -> bytes:
            kept = self._readers.label(known, period)
            return self._people.person(period, person) if kept is None else kept

        with self._sealed() as sealed, translated():
            first, last = _days(sealed, days)
            return history(sealed, first, last, signature=signature, service=_PublicKeys(self._files))

    def account(self, agency: str, days: Range) -> Generator[bytes]:
        """Yield the account of an agency, as gzip; raise as `history` does before it begins."""

        def lines(sealed: Sealed, first: int, last: int, _: contextlib.ExitStack) -> Iterator[bytes]:
            return account_lines(sealed, first, last, recipient=agency, secret=self._account_secret(agency))

        return self._packed(days, lines)

    def dossier(self, days: Range) -> Generator[bytes]:
        """Yield the dossier of some days for the checking cosigner, as gzip; raise as `history` does before it begins.

        # LIMIT: which entries release others is found by opening each of the days; it is made anew each time.
        """

        def lines(sealed: Sealed, first: int, last: int, stack: contextlib.ExitStack) -> Iterator[bytes]:
            logs = _Logs(self._files, stack)
            releases = scan_releases(logs.of, self._readers.vault())
            return dossier_lines(sealed, first, last, logs=logs.of, releases=releases)

        return self._packed(days, lines)

    def _packed(
        self, days: Range, lines: Callable[[Sealed, int, int, contextlib.ExitStack], Iterator[bytes]]
    ) -> Generator[bytes]:
        """Yield the lines of some days as gzip; what they are made from is closed with the stack."""
        stack = contextlib.ExitStack()
        try:
            sealed = stack.enter_context(self._sealed())
            first, last = _days(sealed, days)
            with translated():
                made = lines(sealed, first, last, stack)
        except BaseException:
            stack.close()
            raise
        return _pack(made, stack)

    @contextmanager
    def _sealed(self) -> Generator[Sealed]:
        if EPOCHS not in self._readers:
            raise Unavailable("no-days", "No day has been sealed yet: come back tomorrow.")
        with translated():
            # One for each document: an index is not shared between threads.
            index = read_index(self._files.index)
        with contextlib.closing(index):
            yield Sealed(self._readers.reader(EPOCHS), index, self._shards)

    def _shards(self, period: int) -> Mapping[int, LedgerReader]:
        half = period_name(period)
        names = [name for name in self._files.logs() if is_shard(name) and name.endswith(f"-{half}")]
        return {shard_number(name): self._readers.reader(name) for name in names if name in self._readers}


class _Logs:
    """The logs of half-years, opened for one dossier."""

    def __init__(self, files: LedgerFiles, stack: contextlib.ExitStack) -> None:
        self._files = files
        self._stack = stack
        self._open: dict[str, Reading] = {}

    def of(self, period: int) -> PeriodLogs:
        """Return the logs of a half-year that there are."""
        half = period_name(period)
        names = [name for name in self._files.logs() if half_year_of(name) == half]
        shards = {shard_number(name): self._reading(name) for name in names if is_shard(name)}
        institution = f"{INSTITUTION}-{half}"
        return PeriodLogs(shards, self._reading(institution) if institution in names else None)

    def _reading(self, log: str) -> Reading:
        if log not in self._open:
            self._open[log] = self._stack.enter_context(contextlib.closing(open_reading(self._files.store(log))))
        return self._open[log]


def _pack(lines: Iterator[bytes], stack: contextlib.ExitStack) -> Generator[bytes]:
    """Yield lines as gzip, and close what they are made from. A break in the middle is seen: the end is missing."""
    pack = zlib.compressobj(level=1, wbits=31)
    with stack, translated():
        for line in lines:
            if data := pack.compress(line):
                yield data
        yield pack.flush()


class _PublicKeys:
    """The public label keys as the ledger wrote them down: `completeness.listing.LabelService` without signing."""

    def __init__(self, files: LedgerFiles) -> None:
        self._files = files

    def spki(self, period: int) -> bytes:
        return self._key(period)[0]

    def certificate(self, period: int) -> Sequence[bytes]:
        return self._key(period)[1]

    def label_keys(self, period: int, people: Sequence[tuple[bytes, bytes]]) -> Sequence[bytes]:  # noqa: ARG002  the port
        raise Refused("label-door", "Whoever shows public keys signs nothing.")

    def _key(self, period: int) -> tuple[bytes, tuple[bytes, ...]]:
        found = self._files.read_label_key(period_name(period))
        if found is None:
            raise Unavailable("no-label-key", "The label key of that half-year is not here.")
        return found


def _days(sealed: Sealed, asked: Range) -> tuple[int, int]:
    """Return the range of days; without a beginning that of the first half-year in which the ledger had shards."""
    last = sealed.newest if asked.last is None else number_of(asked.last)
    first = _begun(sealed) if asked.first is None else number_of(asked.first)
    if not 0 <= first <= last <= sealed.newest:
        newest = date_of(sealed.newest).isoformat() if sealed.newest >= 0 else "none"
        raise Invalid("days", f"Not all of these days are sealed; the newest sealed day is {newest}.", where="days")
    return first, last


def _begun(sealed: Sealed) -> int:
    """Return the first day of the half-year in which the log's shards begin, by bisection over half-years."""
    low, high = 0, period_of(max(sealed.newest, 0))
    while low < high:
        middle = (low + high) // 2
        if EpochLeaf.parse(sealed.epochs.leaf(first_day(middle))).shards:
            high = middle
        else:
            low = middle + 1
    return first_day(low)
