"""Names the logs of an installation, and says where each has its store and its files.

An origin is hashed into every entry of its log, so it is final: `<host>/ledger/<installation>/<log>`, where `<log>` is
`s<shard>-<yyyy>h<1|2>` or `institution-<yyyy>h<1|2>`, by the half-year that it is of, or `epochs`, which never ends.
A *series* is a log with those that follow it, half-year after half-year: `s0`, `institution`.

    ledger/s0-2026h2.sqlite         * entries, tiles, checkpoints and positions of one log
    ledger/epochs.sqlite            * the log with one leaf for each day
    ledger/epochs-index.sqlite      * the tries of the days, from which a person's list is proved
    ledger/persons.sqlite           * the people's keys, apart: what erasure deletes
    ledger/s0-2026h2.search.sqlite    its index by part A, for auditors; removed, it is built again
    ledger/shards                     how many subject shards there are, for ever
    ledger/labels-2026h2.json         the public key under which people's labels of a half-year can be checked
    ledger/asked/s0-2026h2            what witnesses were asked to cosign, in no backup of the rest
    ledger/s0-2026h2.vkey             the key with which its checkpoints are verified, made once the log is
    ledger/public/s0-2026h2/…         static files by the C2SP paths
    ledger/erasures.jsonl             the register of erasures: counts and grounds, nobody
    ledger/consumed.json              how far the shards had read when days were sealed
    ledger/state.json                 how far the logs are, for operators and for lanes

What has a star may lie in PostgreSQL instead: one schema of a database for each, the people's keys in a database apart.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

from integrator.domain.errors import Refused, Tampered
from integrator_audit.stores import INDEX_SCHEMA, LOG_SCHEMA, in_schema, log_schemas, schema_of

INSTITUTION = "institution"
EPOCHS = "epochs"
Clock = Callable[[], int]
"""The wall clock, in milliseconds since 1970."""


def wall_clock() -> int:
    """Return the moment by this machine's clock."""
    return time.time_ns() // 1_000_000


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
    return name == EPOCHS or _LOG.fullmatch(name) is not None


def series_of(log: str) -> str:
    """Return the series of a log: `s0` of `s0-2026h2`."""
    return log.rpartition("-")[0] or log


def is_shard(log: str) -> bool:
    """Tell whether `log` is a subject shard."""
    return is_log(log) and series_of(log) not in (EPOCHS, INSTITUTION)


def shard_number(log: str) -> int:
    """Return the number of a subject shard: 0 of `s0-2026h2`."""
    return int(series_of(log)[1:])


def half_year_of(log: str) -> str:
    """Return the half-year of a log: `2026h2` of `s0-2026h2`; empty for the log of days."""
    return log.rpartition("-")[2] if "-" in log else ""


def half_year_at(moment: int) -> str:
    """Return the half-year of a moment in milliseconds since 1970, in UTC."""
    return half_year(datetime.fromtimestamp(moment / 1000, UTC).date())


def end_of(half: str) -> int:
    """Return the first moment after a half-year such as `2026h2`, in milliseconds since 1970."""
    year = int(half[:4])
    after = datetime(year, 7, 1, tzinfo=UTC) if half.endswith("1") else datetime(year + 1, 1, 1, tzinfo=UTC)
    return int(after.timestamp()) * 1000


@dataclass(frozen=True, slots=True)
class Naming:
    """What stands before a log's name in its origin. `host` is a name and never a port."""

    host: str
    installation: str

    def origin(self, log: str) -> str:
        """Return the origin of `log`. Raises `Refused` (`log-name`)."""
        if not is_log(log):
            raise Refused("log-name", f"{log!r} is no name of a log: write s0-2026h2, institution-2026h2 or epochs.")
        return f"{self.host}/ledger/{self.installation}/{log}"


def signing_seed(secret: bytes, origin: str) -> bytes:
    """Return the 32-byte Ed25519 seed of one log: HMAC-SHA256(secret, label ‖ origin).

    One key signs one log only, so a signature can never be taken for another log's, and a log can be closed alone.
    """
    return hmac.digest(secret, _KEY + origin.encode(), "sha256")


class LabelKeyFile(NamedTuple):
    """The public key of a half-year (SubjectPublicKeyInfo) and its permutation certificate."""

    spki: bytes
    certificate: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """What stands in the file."""
        roots = [base64.b64encode(root).decode() for root in self.certificate]
        return json.dumps({"spki": base64.b64encode(self.spki).decode(), "certificate": roots}) + "\n"


@dataclass(frozen=True, slots=True)
class Databases:
    """Where the ledger is when it is in PostgreSQL: two `postgresql://` URLs that name no schema."""

    ledger: str = field(repr=False)
    """Of the logs and the index of the days."""
    vault: str = field(repr=False)
    """Of the people's keys."""


@dataclass(frozen=True, slots=True)
class LedgerFiles:
    """Where the files of the ledger are, below `root`, and its stores: there too, or in databases."""

    root: Path
    databases: Databases | None = None

    @property
    def persons(self) -> Path | str:
        """The store of the people's keys: a file or a URL."""
        return self.root / "persons.sqlite" if self.databases is None else self.databases.vault

    @property
    def erasures(self) -> Path:
        """The register of erasures."""
        return self.root / "erasures.jsonl"

    @property
    def consumed(self) -> Path:
        """How far the shards had read when days were sealed."""
        return self.root / "consumed.json"

    @property
    def state(self) -> Path:
        """How far the logs are."""
        return self.root / "state.json"

    def store(self, log: str) -> Path | str:
        """The store of one log: a file or a URL."""
        if self.databases is None:
            return self.root / f"{log}.sqlite"
        return in_schema(self.databases.ledger, schema_of(log))

    def stores(self) -> list[str]:
        """Return the names of the logs whose stores are there. Raises what connecting to a database raises."""
        if self.databases is None:
            found = (path.stem for path in self.root.glob("*.sqlite"))
        else:
            schemas = log_schemas(self.databases.ledger)
            found = (schema.removeprefix(LOG_SCHEMA).replace("_", "-") for schema in schemas)
        return sorted(name for name in found if is_log(name))

    def search(self, log: str) -> Path:
        """The index of one log by what its entries say; it can be removed at any time."""
        return self.root / f"{log}.search.sqlite"

    def vkey(self, log: str) -> Path:
        """The verification key of one log."""
        return self.root / f"{log}.vkey"

    def public(self, log: str) -> Path:
        """The static files of one log."""
        return self.root / "public" / log

    def logs(self) -> list[str]:
        """Return the names of all logs that exist here, in the order of their names.

        The writer names a log's key once its store is made.
        """
        return sorted(path.stem for path in self.root.glob("*.vkey") if is_log(path.stem))

    def has(self, log: str) -> bool:
        """Tell whether `log` is one of `logs()`."""
        return is_log(log) and self.vkey(log).is_file()

    def series(self, series: str) -> list[str]:
        """Return the logs of one series that exist here, the oldest first."""
        return [name for name in self.logs() if series_of(name) == series]

    def asked(self, log: str) -> Path:
        """What witnesses were asked to cosign of one log. It belongs into no backup of the ledger."""
        return self.root / "asked" / log

    def label_key(self, half: str) -> Path:
        """The public label key of a half-year with its certificate, JSON."""
        return self.root / f"labels-{half}.json"

    def label_halves(self) -> list[str]:
        """Return the half-years whose label key is here, the oldest first."""
        return sorted(path.stem.removeprefix("labels-") for path in self.root.glob("labels-*.json"))

    def read_label_key(self, half: str) -> LabelKeyFile | None:
        """Return the public label key of a half-year, or `None` before it was made.

        Raises `Tampered` (`label-key-file`) for a file that holds none.
        """
        path = self.label_key(half)
        try:
            told = json.loads(path.read_text("utf-8"))
            return LabelKeyFile(
                base64.b64decode(told["spki"]), tuple(base64.b64decode(root) for root in told["certificate"])
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise Tampered("label-key-file", f"{path} is damaged: remove it, it is written anew.") from None

    @property
    def index(self) -> Path | str:
        """The tries of the days: a file or a URL."""
        if self.databases is None:
            return self.root / "epochs-index.sqlite"
        return in_schema(self.databases.ledger, schema_of(EPOCHS, INDEX_SCHEMA))

    @property
    def shards(self) -> Path:
        """How many subject shards there are."""
        return self.root / "shards"
