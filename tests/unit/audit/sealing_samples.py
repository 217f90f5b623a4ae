"""A small installation for the tests of sealing: shards of several half-years, an epoch log, its index, a clock."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from integrator_audit import Entry, LedgerReader, LedgerWriter, Refused, Signer, Vault, part
from integrator_audit.completeness.epoch import EpochLeaf, check_log, check_sequence
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.completeness.labels import DAY, PERIOD, label_of, label_secret, signed_input
from integrator_audit.completeness.listing import LabelService
from integrator_audit.completeness.padding import padding_entries
from integrator_audit.completeness.pages import leaves_of, places_of, unpack
from integrator_audit.completeness.recipients import SecretFiles
from integrator_audit.completeness.sealing import PeriodLogs, Sealer, Secrets
from integrator_audit.halfyear import DAY_MS, number_of, period_name, period_of, start_of
from integrator_audit.rawlog import RawLog
from integrator_audit.store import Reading
from integrator_audit.stores import open_reading
from integrator_audit.writer import LogWriter
from tests.unit.audit.audit_samples import GENERATION_KEY
from tests.unit.audit.label_samples import certificate, label_signer

HOST = "demo.integrator.example/ledger/demo"
FIRST = number_of(date(2001, 11, 20))
"""The day on which the sample's epoch log begins; early, so that few days are before it."""
RECIPIENTS = ("svb", "groeifonds", "gemeente-1")


@cache
def key(origin: str) -> Signer:
    """Return the key of a log, the same in one run of the tests."""
    return Signer.generate(origin)


def number_text(person: int) -> str:
    """Return a person's canonical number."""
    return f"bsn:{900_000_000 + person}"


def pseudonym(person: int) -> bytes:
    """Return a person's pseudonym in the ledger."""
    return sha256(b"pseudonym " + number_text(person).encode()).digest()


@cache
def signature(period: int, person: int) -> bytes:
    """Return y of a person."""
    return label_signer().sign(signed_input(period, number_text(person)))


def secret(period: int, person: int) -> bytes:
    """Return k of a person."""
    return label_secret(signature(period, person))


class SampleService:
    """A label service whose sealed identity is the number's text; `asked` counts persons."""

    def __init__(self) -> None:
        self.asked = 0

    def spki(self, period: int) -> bytes:
        return label_signer().spki

    def certificate(self, period: int) -> Sequence[bytes]:
        return certificate()

    def label_keys(self, period: int, people: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        self.asked += len(people)
        found: list[bytes] = []
        for who, identity in people:
            person = int(identity.decode().removeprefix("bsn:")) - 900_000_000
            if pseudonym(person) != who:
                raise Refused("label-identity", "the identity is another person's")
            found.append(signature(period, person))
        return found


def entry(
    person: int, sequence: int, *, recipient: str = "svb", listed: bool = True, partition: int = 0, at: int = 0
) -> Entry:
    """Return a delivery about a person."""
    who = base64.urlsafe_b64encode(pseudonym(person)).rstrip(b"=").decode()
    value = sha256(b"value %d" % sequence).hexdigest()
    return Entry(
        type=0x01,
        a=part("sample.a/v1", {"recipient": recipient, "purpose": "pension", "date": "2001-11-20", "retention": 10}),
        d=part(
            "sample.d/v1",
            {
                "topic": f"{recipient}.pension",
                "partition": partition,
                "lane": 0,
                "sequence": sequence,
                "valueSha256": value,
            },
        ),
        s=part("sample.s/v1", {"subject": who, "keyVersion": 1, "role": "subject", "at": at}),
        p=b"",
        subject=pseudonym(person),
        recipient=recipient,
        at=at,
        retention=10,
        listed=listed,
        identity=number_text(person).encode(),
    )


_Log = TypeVar("_Log", bound=LogWriter)


@dataclass
class Installation:
    """Everything in one directory. `now` is the clock, in ms; `day` and `hour` set it."""

    directory: Path
    shards: int = 1
    now: int = start_of(FIRST)
    service: LabelService = field(default_factory=SampleService)
    _writers: dict[tuple[str, int], LedgerWriter] = field(default_factory=dict)
    _readers: dict[tuple[str, int], Reading] = field(default_factory=dict)
    _vault: Vault | None = None
    _opened: list[RawLog | SqliteIndex] = field(default_factory=list)
    sequence: int = 0

    def at(self, day: int, hour: float = 12) -> None:
        """Set the clock to an hour of a day counted from the first."""
        self.now = start_of(FIRST + day) + int(hour * DAY_MS / 24)

    @property
    def period(self) -> int:
        return period_of((self.now - start_of(0)) // DAY_MS)

    @property
    def vault(self) -> Vault:
        if self._vault is None:
            self._vault = Vault.open(self.directory / "persons.sqlite", GENERATION_KEY)
            self._vault._tables.connection.execute("PRAGMA synchronous=OFF")
        return self._vault

    def origin(self, name: str, period: int) -> str:
        return f"{HOST}/{name}-{period_name(period)}"

    def file(self, name: str, period: int) -> Path:
        return self.directory / f"{name}-{period_name(period)}.sqlite"

    def writer(self, name: str, period: int | None = None) -> LedgerWriter:
        """Return the writer of `s0`, `s1`, … or `institution`."""
        which = name, self.period if period is None else period
        if which not in self._writers:
            origin = self.origin(*which)
            writer = LedgerWriter.open(self.file(*which), origin=origin, signer=key(origin), vault=self.vault)
            self._writers[which] = quick(writer)
        return self._writers[which]

    def append(self, entries: Sequence[Entry], *, shard: int = 0) -> list[int]:
        """Append to a shard at the clock's time; return the indices in the order given."""
        appended = self.writer(f"s{shard}").append(
            entries, positions={("disclosures", shard): self.sequence}, now_ms=self.now
        )
        return list(appended.indices)

    def deliver(self, *people: int, shard: int = 0, recipient: str = "svb", listed: bool = True) -> list[int]:
        """Append one delivery about each of these persons."""
        entries: list[Entry] = []
        for person in people:
            self.sequence += 1
            entries.append(entry(person, self.sequence, recipient=recipient, listed=listed, at=self.now))
        return self.append(entries, shard=shard)

    def pad(self, count: int, *, shard: int = 0) -> list[int]:
        return self.append(padding_entries(count, at=self.now, retention=10), shard=shard)

    def close_period(self, period: int) -> None:
        """Freeze the logs of a half-year."""
        for name in (*(f"s{shard}" for shard in range(self.shards)), "institution"):
            self.writer(name, period).freeze()

    def reading(self, name: str, period: int) -> Reading | None:
        if not self.file(name, period).exists():
            return None
        if (name, period) not in self._readers:
            self._readers[name, period] = open_reading(self.file(name, period))
        return self._readers[name, period]

    def logs(self, period: int) -> PeriodLogs:
        shards = {shard: self.reading(f"s{shard}", period) for shard in range(self.shards)}
        return PeriodLogs(shards, self.reading("institution", period))

    @property
    def recipients(self) -> SecretFiles:
        return SecretFiles(self.directory / "recipients")

    @property
    def secrets(self) -> Secrets:
        return Secrets(self.vault, self.service, self.recipients, spill=self.directory)

    @property
    def epoch_file(self) -> Path:
        return self.directory / "epochs.sqlite"

    @property
    def index_file(self) -> Path:
        return self.directory / "epochs.index.sqlite"

    def sealer(self) -> Sealer:
        """Open the epoch log and its index."""
        for opened in self._opened:
            opened.close()
        origin = f"{HOST}/epochs"
        index = SqliteIndex.open(self.index_file)
        index.connection.execute("PRAGMA synchronous=OFF")
        epochs = quick(RawLog.open(self.epoch_file, origin=origin, signer=key(origin)))
        self._opened = [epochs, index]
        return Sealer(epochs, index, logs=self.logs, secrets=self.secrets, clock=lambda: self.now)

    def begun(self) -> Sealer:
        """Return the sealer of an epoch log that begins on the first day; its leaves are made once in a run."""
        for name, content in _begun(self.shards).items():
            (self.directory / name).write_bytes(content)
        return self.sealer()

    @property
    def index(self) -> SqliteIndex:
        index = self._opened[1]
        assert isinstance(index, SqliteIndex)
        return index

    def leaves(self) -> list[EpochLeaf]:
        """Return the leaves of the epoch log, all rules checked (of those before the first day once in a run)."""
        epochs = self._opened[0]
        assert isinstance(epochs, RawLog)
        data = epochs.leaves(0, epochs.size)
        if b"".join(data[:FIRST]) != b"".join(_checked(self.shards)[0]):
            return check_log(data)
        leaves = list(_checked(self.shards)[1])
        for leaf in data[FIRST:]:
            check_sequence(leaves[-1], EpochLeaf.parse(leaf), len(leaves))
            leaves.append(EpochLeaf.parse(leaf))
        return leaves

    def listed(self, epoch: int, trie: Trie = Trie.PERSONS) -> dict[bytes, list[tuple[int, int]]]:
        """Return what a day's trie lists, by label."""
        return {
            leaf.label: unpack(b"".join(places_of(self.index, epoch, trie, leaf)))
            for leaf in leaves_of(self.index, epoch, trie)
        }

    def listed_of(self, person: int, epoch: int) -> list[tuple[int, int]]:
        """Return what a day lists of a person."""
        return self.listed(epoch).get(label_of(secret(period_of(epoch), person), DAY, epoch), [])

    def listed_in_period(self, person: int, period: int, epoch: int) -> list[tuple[int, int]]:
        return self.listed(epoch, Trie.PERIOD).get(label_of(secret(period, person), PERIOD, period), [])

    def reader(self, shard: int = 0, period: int | None = None) -> LedgerReader:
        place = self.file(f"s{shard}", self.period if period is None else period)
        return LedgerReader.open(place, vault=self.vault)

    def close(self) -> None:
        for opened in (*self._opened, *self._writers.values(), *self._readers.values()):
            opened.close()
        if self._vault is not None:
            self._vault.close()


def quick(log: _Log) -> _Log:
    """Let a log not wait for the disk, whose speed these tests are not about."""
    log._store.connection.execute("PRAGMA synchronous=OFF")  # type: ignore[attr-defined]
    return log


@cache
def _begun(shards: int) -> dict[str, bytes]:
    with TemporaryDirectory() as name:
        place = Installation(Path(name), shards=shards)
        assert place.sealer().begin() == FIRST
        place.close()
        return {path.name: path.read_bytes() for path in (place.epoch_file, place.index_file)}


@cache
def _checked(shards: int) -> tuple[list[bytes], list[EpochLeaf]]:
    with TemporaryDirectory() as name:
        path = Path(name) / "epochs.sqlite"
        path.write_bytes(_begun(shards)["epochs.sqlite"])
        log = RawLog.open(path, origin=f"{HOST}/epochs", signer=key(f"{HOST}/epochs"))
        data = log.leaves(0, log.size)
        log.close()
        return data, check_log(data)


def expected(by_person: Mapping[int, Sequence[tuple[int, int]]], epoch: int) -> dict[bytes, list[tuple[int, int]]]:
    """Return what a day has to list, by label."""
    return {
        label_of(secret(period_of(epoch), person), DAY, epoch): sorted(places) for person, places in by_person.items()
    }
