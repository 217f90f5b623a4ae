"""Those who do not trust the operator, and days for them to judge: person, recipient, checking cosigner."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from integrator_audit import LedgerReader, Signer
from integrator_audit.completeness.account import AccountDocument, AskedAccount, read_received, verify_account
from integrator_audit.completeness.compiling import dossier_lines, scan_releases
from integrator_audit.completeness.cosigning import CheckedDay, Rules, check_dossier
from integrator_audit.completeness.dossier import Dossier
from integrator_audit.completeness.epochlog import EpochLog, Trust, read_epoch_log
from integrator_audit.completeness.following import Follower
from integrator_audit.completeness.history import Asked, read_history, verify_history
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.labels import DAY, label_of
from integrator_audit.completeness.memory import Memory
from integrator_audit.completeness.pages import erase_leaves
from integrator_audit.completeness.presenting import account_lines
from integrator_audit.completeness.unlisted import Order, release, withheld_part
from integrator_audit.halfyear import date_of, day_of, last_day, start_of
from integrator_audit.parts import INSTITUTION_ENTRY, SUBJECT_ENTRY
from integrator_audit.sources import DirectorySource
from integrator_audit.store import Erasure
from tests.unit.audit.audit_samples import institution_entry
from tests.unit.audit.schema_check import breaches, schema
from tests.unit.audit.sealing_samples import FIRST, HOST, Installation, entry, key, number_text, secret
from tests.unit.audit.test_presenting import sealed, shown

SUPERVISOR = Signer.generate("supervisor.example/orders")
UNLISTED = 4
Lines = list[dict[str, Any]]


@dataclass
class Judges:
    """The checking cosigner, persons and recipients, each with the public files only and what they are handed."""

    place: Installation
    memory: Memory = field(default_factory=lambda: Memory(f"{HOST}/epochs"))
    _seen: tuple[int, EpochLog] | None = None

    def epochs(self) -> EpochLog:
        """Return the epoch log, fetched and verified; again only when time has passed."""
        if self._seen is not None and self._seen[0] == self.place.now:
            return self._seen[1]
        self._seen = (self.place.now, self._read_epochs())
        return self._seen[1]

    def _read_epochs(self) -> EpochLog:
        self._export(f"{HOST}/epochs", self.place.epoch_file)
        trust = Trust(now=self.place.now // 1000)
        return read_epoch_log(
            DirectorySource(self._public(f"{HOST}/epochs")), key(f"{HOST}/epochs").verifier, trust=trust
        )

    def cosign(self, change: Callable[[Lines], Lines] = lambda lines: lines) -> list[CheckedDay]:
        """Check all days that were not checked yet, from the dossier as it is or changed."""
        epochs = self.epochs()
        first = max(self.memory.next_epoch, epochs.first)
        releases = scan_releases(self.place.logs, self.place.vault)
        made = dossier_lines(sealed(self.place), first, epochs.newest, logs=self.place.logs, releases=releases)
        lines: Lines = [json.loads(line) for line in made]
        rules = schema("dossier.v1")
        assert not [breach for line in lines for breach in breaches(line, rules, rules)]
        logs = {follower.origin: follower for follower in self._followers(epochs)}
        encoded = [json.dumps(line).encode() for line in change(lines)]
        checked = check_dossier(
            Dossier(encoded), epochs, logs=logs, memory=self.memory, rules=Rules(SUPERVISOR.verifier, UNLISTED)
        )
        self.memory.edges.update({origin: follower.edge for origin, follower in logs.items()})
        return checked

    def count_of(self, person: int, *, first: int = FIRST) -> int:
        """Return how many entries a person's history shows, after verifying it."""
        asked = Asked(number_text(person), today=day_of(self.place.now), first=first)
        return len(verify_history(read_history(shown(self.place, person, first)), self.epochs(), asked).entries)

    def findings_of(self, recipient: str, received: Lines) -> set[str]:
        """Return the codes of what a recipient finds when it compares its own list."""
        key_of = self.place.recipients.secret(recipient)
        days = sealed(self.place)
        made = list(account_lines(days, FIRST, days.newest, recipient=recipient, secret=key_of))
        rules = schema("account.v1")
        assert not [breach for line in made for breach in breaches(json.loads(line), rules, rules)]
        asked = AskedAccount(key_of, today=day_of(self.place.now), first=FIRST)
        lines = read_received(json.dumps(item).encode() for item in received)
        result = verify_account(AccountDocument(made), self.epochs(), lines, asked)
        return {finding.code for finding in result.findings}

    def _followers(self, epochs: EpochLog) -> Iterator[Follower]:
        for period in {leaf.period for leaf in epochs.leaves if leaf.shards}:
            for name in ("s0", "s1", "institution"):
                file, origin = self.place.file(name, period), self.place.origin(name, period)
                if file.exists():
                    self._export(origin, file)
                    kind = INSTITUTION_ENTRY if name == "institution" else SUBJECT_ENTRY
                    edge = self.memory.edge(origin)
                    yield Follower(DirectorySource(self._public(origin)), key(origin).verifier, kind, edge=edge)

    def _public(self, origin: str) -> Path:
        return self.place.directory / "public" / origin.rpartition("/")[2]

    def _export(self, origin: str, file: Path) -> None:
        reader = LedgerReader.open(file)
        reader.export(self._public(origin))
        reader.close()


def received(*numbers: int, recipient: str = "svb") -> Lines:
    """Return what a recipient noted of deliveries with these numbers."""
    told = [json.loads(entry(1, number, recipient=recipient).d) for number in numbers]
    return [{name: said for name, said in one.items() if name != "schema"} for one in told]


def fill(place: Installation) -> tuple[int, dict[str, object]]:
    """Seal three days: deliveries, one withheld under an order, and its release; return where and as what it lies."""
    sealer = place.begun()
    place.writer("institution").append([institution_entry(1)], now_ms=place.now)
    place.deliver(1, shard=1, recipient="groeifonds")
    place.sequence = 0
    place.deliver(1, 2, 3)
    for shard in (0, 1):
        place.pad(2, shard=shard)
    place.at(1)
    today = date_of(FIRST + 1)
    note = Order("order 7", "svb", today, today).sign(SUPERVISOR)
    place.sequence = 4
    hidden = entry(1, 4, listed=False)
    hidden = hidden._replace(a=withheld_part(hidden.a, hidden.d, note, supervisor=SUPERVISOR.verifier, day=today))
    (at,) = place.append([hidden])
    place.pad(1)
    place.pad(2, shard=1)
    place.at(2)
    opening = place.reader(0).opening(at, "ADSP")
    parts = release(opening)
    place.append([entry(1, 4)._replace(a=parts.a, d=parts.d, s=parts.s, p=parts.p)])
    place.pad(4, shard=1)
    place.at(3)
    sealer.seal_due()
    return at, opening


def close_with_erasures(place: Installation) -> Judges:
    """Close a half-year of which two entries about person 1 were erased by order, one of them alone on its day."""
    sealer = place.begun()
    period = place.period
    one, *_ = place.deliver(1, 1, 2)
    place.pad(4)
    place.at(1)
    (alone,) = place.deliver(1, shard=1)
    place.pad(4)
    place.at(2)
    sealer.seal_due()
    judges = Judges(place)
    judges.cosign()
    place.writer("s0").erase([Erasure(one, "order")])
    place.writer("s1").erase([Erasure(alone, "order")])
    erase_leaves(place.index, FIRST + 1, Trie.PERSONS, [label_of(secret(period, 1), DAY, FIRST + 1)], ground="order")
    place.writer("institution", period)
    place.close_period(period)
    place.now = start_of(last_day(period) + 1) + int(timedelta(hours=1) / timedelta(milliseconds=1))
    sealer.seal_due()
    return judges
