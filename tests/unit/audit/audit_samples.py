"""Small logs, and ways to damage them, for the tests of the ledger."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from integrator_audit import Entry, LedgerReader, LedgerWriter, Signer, Vault, part

ORIGIN = "demo.integrator.example/ledger/demo/s0-2026h2"
GENERATION_KEY = bytes(range(32))
AT = 1_795_520_805_123
RECIPIENTS = ("svb", "groeifonds", "gemeente-1")
PEOPLE = [sha256(b"person %d" % number).digest() for number in range(12)]


def entry(number: int, *, subject: bytes | None = None, actor: str = "") -> Entry:
    """Return a subject entry that tells by `number` which it is."""
    return Entry(
        type=0x01,
        a=part("sample.a/v1", {"recipient": "svb", "number": number}),
        d=part("sample.d/v1", {"position": number}),
        s=part("sample.s/v1", {"role": "subject", "number": number}),
        p=part("sample.p/v1", {"actor": actor}) if actor else b"",
        subject=PEOPLE[number % len(PEOPLE)] if subject is None else subject,
        recipient=RECIPIENTS[number % len(RECIPIENTS)],
        at=AT + number,
    )


def institution_entry(number: int, *, actor: str = "") -> Entry:
    """Return an institution entry."""
    actor_part = part("sample.p/v1", {"actor": actor}) if actor else b""
    return Entry(0x02, part("sample.step/v1", {"number": number}), b"", b"", actor_part, None)


@cache
def signer() -> Signer:
    """Return the key of the sample log, the same in one run of the tests."""
    return Signer.generate(ORIGIN)


@dataclass(frozen=True, slots=True)
class Place:
    """A directory with the files of one log."""

    directory: Path

    @property
    def ledger_file(self) -> Path:
        return self.directory / "s0.sqlite"

    @property
    def vault_file(self) -> Path:
        return self.directory / "persons.sqlite"

    def vault(self) -> Vault:
        return Vault.open(self.vault_file, GENERATION_KEY)

    def ledger(self) -> LedgerWriter:
        return LedgerWriter.open(self.ledger_file, origin=ORIGIN, signer=signer(), vault=self.vault())

    def reader(self) -> LedgerReader:
        return LedgerReader.open(self.ledger_file, vault=self.vault())

    def copy(self, name: str) -> Place:
        """Copy the closed files beside themselves."""
        other = Place(self.directory.parent / name)
        shutil.copytree(self.directory, other.directory)
        return other

    def damage(self, statement: str, *parameters: object) -> None:
        """Change the ledger's file behind its back; `flip(value, at)` flips a bit of one byte."""
        connection = sqlite3.connect(self.ledger_file)
        connection.create_function("flip", 2, flip)
        changed = connection.execute(statement, parameters).rowcount
        connection.commit()
        connection.close()
        assert changed == 1, f"{statement} changed {changed} rows"


def flip(value: bytes | str, at: int) -> bytes | str:
    """Flip the lowest bit of one byte."""
    text = isinstance(value, str)
    data = bytearray(value.encode() if text else value)
    data[at] ^= 1
    return bytes(data).decode() if text else bytes(data)


def fill(place: Place, count: int, *, batch: int = 157) -> None:
    """Append `count` entries to the log at `place`, every third with an actor, and close it."""
    ledger = place.ledger()
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        entries = [entry(number, actor="" if number % 3 else "official 7") for number in numbers]
        ledger.append(entries, positions={("integrator.disclosures", 0): numbers.stop})
    ledger.close()
