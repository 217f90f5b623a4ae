"""A ledger with disclosures, refusals and steps, an auditor's side of it, and a sink that enters readings at once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from integrator.domain.errors import Unavailable
from integrator.recording.auditing import Auditing
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.institution import InstitutionRecorder
from integrator.recording.quotas import Quotas
from integrator.recording.readers import Readers
from integrator.recording.readings import Reading, SubjectRecorder
from integrator.recording.searching import Searches
from integrator.recording.sequencer import LogRecord
from integrator_audit import LedgerReader, LedgerWriter, Signer, Vault
from integrator_audit.store import Erasure
from tests.unit.recording import recording_samples as world

MORNING = datetime(2026, 11, 24, 8, 15, tzinfo=UTC)
SUBJECTS, INSTITUTION = "s0-2026h2", "institution-2026h2"
KNOWN = world.knowledge()


@dataclass
class AuditedLedger:
    """Both logs with their writers, and the readings that were recorded. `broken`: none becomes an entry."""

    root: Path
    broken: bool = False
    readings: list[Reading] = field(default_factory=list[Reading])
    now: datetime = MORNING

    def __post_init__(self) -> None:
        self.files = world.files_at(self.root)
        self.vault = Vault.open(self.files.persons, world.GENERATION)
        self.ledgers = {log: self._make(log) for log in (SUBJECTS, INSTITUTION)}
        self.shard = LedgerReader.open(self.files.store(SUBJECTS))
        self.subjects = SubjectRecorder(DisclosureRecorder(), self.shard)
        self.institution = InstitutionRecorder()
        self.readers = Readers(self.files, generation_key=world.GENERATION)
        self.searches = Searches(self.files)

    def _make(self, log: str) -> LedgerWriter:
        signer = Signer.generate(f"demo.integrator.example/ledger/test/{log}")
        self.files.vkey(log).write_text(signer.vkey)
        return LedgerWriter.open(self.files.store(log), origin=signer.name, signer=signer, vault=self.vault)

    def disclose(self, count: int) -> None:
        """Append deliveries about the child and both parents."""
        start = self.ledgers[SUBJECTS].size
        for number in range(count):
            self._enter(world.record(world.disclosure(start + number + 1), start + number))

    def refuse(self, number: int) -> None:
        self._enter(world.refusal(number))

    def step(self, key: str) -> None:
        self._enter(world.step(key))

    def _enter(self, record: LogRecord) -> None:
        for log, recorder in ((SUBJECTS, self.subjects), (INSTITUTION, self.institution)):
            if log == INSTITUTION and record.topic == "integrator.disclosures":
                continue
            if log == SUBJECTS and record.topic == "integrator.directory":
                continue
            made = recorder.read(record).make(KNOWN)
            if made:
                self.ledgers[log].append(made, now_ms=world.AT_MS)

    def erase(self, index: int) -> None:
        self.ledgers[SUBJECTS].erase([Erasure(index, "order")])

    async def record(self, reading: Reading) -> None:
        if self.broken:
            raise Unavailable("reading-not-entered", "The ledger did not enter this question in time.")
        self.readings.append(reading)
        value = reading.encode(self.now)
        self._enter(world.record(value, 100 + len(self.readings), topic="integrator.requests", partition=4))

    def auditing(self, *, in_a_day: int = 100, random: Callable[[int], bytes] = secrets.token_bytes) -> Auditing:
        return Auditing(
            self.searches,
            self.readers,
            Quotas(self.searches, in_a_day=in_a_day),
            directories=world.StillDirectory(KNOWN),
            readings=self,
            random=random,
            clock=lambda: self.now,
        )

    def close(self) -> None:
        self.searches.close()
        self.readers.close()
        self.shard.close()
        for ledger in self.ledgers.values():
            ledger.close()
        self.vault.close()
