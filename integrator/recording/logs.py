"""Names the logs of an installation and the files that each has.

An origin is hashed into every entry of its log, so it is final: `<host>/ledger/<installation>/<log>`, where `<log>` is
`s<shard>-<yyyy>h<1|2>` or `institution-<yyyy>h<1|2>`, by the half-year in which the log is made.

    ledger/s0-2026h2.sqlite           entries, tiles, checkpoints and positions of one log
    ledger/persons.sqlite             the people's keys, apart: what erasure deletes
    ledger/s0-2026h2.vkey             the key with which its checkpoints are verified, one line
    ledger/public/s0-2026h2/…         static files by the C2SP paths
    ledger/state.json                 how far the logs are, for operators and for lanes
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from integrator.domain.errors import Refused

INSTITUTION = "institution"
_LOG = re.compile(r"(s(?:0|[1-9][0-9]{0,3})|institution)-([0-9]{4})h([12])")
_KEY = b"dienstenintegrator/ledger-signing/v1\0"


def half_year(day: date) -> str:
    """Return the half-year of `day`, as in `2026h2`."""
    return f"{day.year:04}h{1 if day.month <= 6 else 2}"


def shard(number: int) -> str:
    """Return the series of a subject shard, as in `s0`."""
    return f"s{number}"


def is_log(name: str) -> bool:
    """Tell whether `name` is the name of a log, such as `s0-2026h2`."""
    return _LOG.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Naming:
    """What stands before a log's name in its origin. `host` is a name and never a port."""

    host: str
    installation: str

    def origin(self, log: str) -> str:
        """Return the origin of `log`. Raises `Refused` (`log-name`)."""
        if not is_log(log):
            raise Refused("log-name", f"{log!r} is no name of a log: write s0-2026h2 or institution-2026h2.")
        return f"{self.host}/ledger/{self.installation}/{log}"


def signing_seed(secret: bytes, origin: str) -> bytes:
    """Return the 32-byte Ed25519 seed of one log: HMAC-SHA256(secret, label ‖ origin).

    One key signs one log only, so a signature can never be taken for another log's, and a log can be closed alone.
    """
    return hmac.digest(secret, _KEY + origin.encode(), "sha256")


@dataclass(frozen=True, slots=True)
class LedgerFiles:
    """Where the files of the ledger are, below `root`."""

    root: Path

    @property
    def persons(self) -> Path:
        """The store of the people's keys."""
        return self.root / "persons.sqlite"

    @property
    def state(self) -> Path:
        """How far the logs are."""
        return self.root / "state.json"

    def database(self, log: str) -> Path:
        """The file of one log."""
        return self.root / f"{log}.sqlite"

    def vkey(self, log: str) -> Path:
        """The verification key of one log."""
        return self.root / f"{log}.vkey"

    def public(self, log: str) -> Path:
        """The static files of one log."""
        return self.root / "public" / log

    def logs(self) -> list[str]:
        """Return the names of all logs that exist here, in the order of their names."""
        found = (path.stem for path in self.root.glob("*.sqlite"))
        return sorted(name for name in found if is_log(name))

    def standing(self, series: str, day: date) -> str:
        """Return the log of `series` (`s0`, `institution`) that is written: the latest there is, else one of `day`.

        # LIMIT: a log goes on past its half-year; closing it and opening the next one is still to come.
        """
        existing = [name for name in self.logs() if name.rpartition("-")[0] == series]
        return max(existing, default=f"{series}-{half_year(day)}")
