"""A whole operator in memory, honest until a test makes it lie: shards, epoch log, tries, openings, documents.

- It lives from 2000-01-01 on (day 0), so that its epoch log has no blank days.
- A lie is a change to `Plan` before a day is sealed (`operator.lie`), to what it keeps, or to a document it hands out.
- It knows every secret and shares none of the verifiers' code that judges: only the formats.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256, shake_256
from typing import Any

from integrator_audit.checkpoint import Checkpoint
from integrator_audit.completeness.epoch import EpochLeaf, ShardRange
from integrator_audit.completeness.labels import (
    DAY,
    PERIOD,
    FileUniqueSigner,
    label_of,
    label_secret,
    signed_input,
)
from integrator_audit.completeness.trie import EMPTY, Leaf, index_hash, prove, root_of
from integrator_audit.completeness.unlisted import padding
from integrator_audit.encoding import to_base64
from integrator_audit.halfyear import date_of, last_day, period_name, period_of, start_of
from integrator_audit.note import Signer
from integrator_audit.parts import commitment, leaf_entry, part, part_hash
from integrator_audit.receipt import Receipt
from integrator_audit.witnessing.cosignature import Cosigner
from tests.unit.audit.label_samples import certificate, label_signer
from tests.unit.audit.lying.files import MemorySource, log_files, proof_in_log, root_of_log

BASE = "demo.integrator.example/ledger/demo"
EPOCHS = f"{BASE}/epochs"
SUPERVISOR = Signer.generate("supervisor.example/orders")
WITNESSES = [Cosigner.generate(f"witness.example/{number}") for number in range(3)]
CHECKER = Cosigner.generate("supervisor.example/checking")
POLICY = (
    "".join(f"witness w{number} {witness.key.vkey}\n" for number, witness in enumerate(WITNESSES))
    + "group all 2 w0 w1 w2\nquorum all\n"
).encode()

Document = dict[str, Any]
Place = tuple[int, int]


@dataclass
class Kept:
    """One entry with everything that the operator knows about it; its place is (shard, index)."""

    period: int
    place: Place
    origin: str
    parts: dict[str, bytes]
    salts: dict[str, bytes]
    number: str | None
    recipient: str
    listed: bool
    type: int = 1
    erased: str | None = None

    @property
    def hashes(self) -> dict[str, bytes]:
        return {letter: part_hash(letter, self.salts[letter], self.parts[letter]) for letter in "ADSP"}

    @property
    def leaf(self) -> bytes:
        salted = (self.salts[letter] + self.parts[letter] for letter in "ADSP")
        return _leaf(self.origin, self.type, *salted)

    def delivery(self) -> Document:
        """Return what the agency notes when it receives this."""
        said = json.loads(self.parts["D"])
        return {name: said[name] for name in ("topic", "partition", "lane", "sequence", "valueSha256")}


@dataclass
class Plan:
    """What a day is going to say: under which label (who it belongs to) which places. Tests change it to lie."""

    epoch: int
    ranges: dict[int, tuple[int, int]]
    persons: dict[str, list[Place]]
    recipients: dict[str, list[Place]]
    unlisted: list[Place]
    phantoms: dict[bytes, list[Place]] = field(default_factory=dict)
    """Leaves of persons under labels that are nobody's."""
    counts: tuple[int, int] | None = None


@dataclass
class Trie:
    """A sealed trie: each label's salt and places, None where they were erased; and the hash of the list."""

    lists: dict[bytes, tuple[bytes, list[Place]] | None]
    contents: dict[bytes, bytes]

    @classmethod
    def of(cls, lists: dict[bytes, list[Place]]) -> Trie:
        salted = {label: (sha256(b"salt" + label).digest(), sorted(places)) for label, places in lists.items()}
        return cls(dict(salted), {label: index_hash(*item) for label, item in salted.items()})

    @property
    def leaves(self) -> list[Leaf]:
        return [Leaf(label, self.contents[label]) for label in sorted(self.contents)]

    @property
    def root(self) -> bytes:
        return root_of(self.leaves)


@dataclass
class Sealed:
    """A day as it was sealed, and the roots that its shards had at its end."""

    plan: Plan
    persons: Trie
    recipients: Trie
    period: Trie | None


class Operator:
    """Keeps a ledger. `shards` are numbers, the same in all half-years; `unlisted` is U."""

    def __init__(self, *, shards: tuple[int, ...] = (0, 3), unlisted: int = 4) -> None:
        self.shards = shards
        self.unlisted = unlisted
        self.epoch = 0
        self.lie: Callable[[Plan], None] = lambda _plan: None
        self.epoch_signer = Signer.generate(EPOCHS)
        self.leaves: list[EpochLeaf] = []
        self.sealed: list[Sealed] = []
        self.keys: dict[int, FileUniqueSigner] = {}
        self.certificates: dict[int, tuple[bytes, ...]] = {}
        self.spkis: dict[int, bytes] = {}
        self.entries: dict[int, dict[int, list[Kept]]] = {}
        self.signers: dict[str, Signer] = {}
        self._counters: dict[tuple[str, int, int], int] = {}
        self._randomness = 0
        self._signatures: dict[tuple[int, str], bytes] = {}
        self._open(0)

    # What is known

    @property
    def period(self) -> int:
        return period_of(self.epoch)

    def origin(self, shard: int, period: int | None = None) -> str:
        return f"{BASE}/s{shard}-{period_name(self.period if period is None else period)}"

    def signer(self, origin: str) -> Signer:
        return self.signers.setdefault(origin, Signer.generate(origin))

    def secret_of(self, recipient: str) -> bytes:
        return sha256(b"secret of " + recipient.encode()).digest()

    def y(self, number: str, period: int) -> bytes:
        if (period, number) not in self._signatures:
            self._signatures[period, number] = self.keys[period].sign(signed_input(period, number))
        return self._signatures[period, number]

    def label(self, number: str, level: int, at: int) -> bytes:
        period = at if level == PERIOD else period_of(at)
        return label_of(label_secret(self.y(number, period)), level, at)

    def kept(self, period: int) -> list[Kept]:
        return [entry for shard in self.shards for entry in self.entries[period][shard]]

    def at(self, place: Place, period: int | None = None) -> Kept:
        return self.entries[self.period if period is None else period][place[0]][place[1]]

    def now(self, *, hours: int = 2) -> int:
        """Return a moment soon after the newest day ended, in POSIX seconds."""
        return start_of(len(self.leaves)) // 1000 + hours * 3600

    # What it does

    def deliver(self, number: str, recipient: str, *, topic: str = "", value: bytes = b"", **more: Any) -> Kept:
        """Deliver something about a person and enter it. `more`: retention, order (a note), releases, listed."""
        topic = topic or f"{recipient}.events"
        lane = int(sha256(number.encode()).hexdigest(), 16) % 2
        sequence = self._counters[topic, 0, lane] = self._counters.get((topic, 0, lane), 0) + 1
        accountable = {
            "recipient": recipient,
            "purpose": "benefits",
            "date": date_of(self.epoch).isoformat(),
            "retention": more.get("retention", 10),
        }
        if "order" in more:
            accountable["order"] = to_base64(more["order"])
        delivery: Document = {"topic": topic, "partition": 0, "lane": lane, "sequence": sequence}
        delivery |= {
            "at": self._instant(),
            "valueSha256": sha256(value or f"{topic} {lane} {sequence}".encode()).hexdigest(),
        }
        if "releases" in more:
            delivery["releases"] = more["releases"]
        subject = {"subject": pseudonym_text(number), "keyVersion": 1, "role": "subject", "at": self._instant()}
        parts = {
            "A": part("dienstenintegrator/accountability/v1", accountable),
            "D": part("dienstenintegrator/delivery/v1", delivery),
            "S": part("dienstenintegrator/subject/v1", subject),
            "P": b"",
        }
        return self.enter(parts, number=number, recipient=recipient, listed=more.get("listed", True))

    def enter(self, parts: dict[str, bytes], *, number: str | None, recipient: str, listed: bool) -> Kept:
        """Append an entry to the shard of its person."""
        shard = self.shards[int(sha256((number or "").encode()).hexdigest(), 16) % len(self.shards)]
        own = self.entries[self.period][shard]
        salts = {letter: self._random() for letter in "ADSP"}
        own.append(Kept(self.period, (shard, len(own)), self.origin(shard), parts, salts, number, recipient, listed))
        return own[-1]

    def pad(self) -> Kept:
        """Append padding."""
        parts = dict(zip("ADSP", padding(10), strict=True))
        return self.enter(parts, number=None, recipient="", listed=False)

    def end_day(self, *, silent: bool = False) -> EpochLeaf:
        """Pad to U, unless the day is `silent`, seal the day and begin the next."""
        plan = self._plan()
        while not silent and len(plan.unlisted) < self.unlisted:
            self.pad()
            plan = self._plan()
        self.lie(plan)
        leaf = self._seal(plan)
        self.leaves.append(leaf)
        self.epoch += 1
        if period_of(self.epoch) not in self.entries:
            self._open(period_of(self.epoch))
        return leaf

    def resealed(self, epoch: int) -> EpochLeaf:
        """Return a day's leaf with the roots of its tries as they are now."""
        sealed = self.sealed[epoch]
        period_root = EMPTY if sealed.period is None else sealed.period.root
        roots = {"persons_root": sealed.persons.root, "recipients_root": sealed.recipients.root}
        return replace(self.leaves[epoch], **roots, period_root=period_root)

    # What it publishes

    def source(self, *, cosigned: bool = True, size: int | None = None) -> MemorySource:
        """Return the files of the epoch log, with the cosignatures of everybody."""
        encoded = [leaf.encode() for leaf in self.leaves[:size]]
        checkpoint = Checkpoint(EPOCHS, len(encoded), root_of_log(encoded))
        note = checkpoint.sign(self.epoch_signer)
        if cosigned:
            for cosigner in (*WITNESSES[:2], CHECKER):
                note += cosigner.cosign(checkpoint.text, self.now() - 600).line
        return MemorySource(log_files(encoded, note))

    def shard_source(self, shard: int, period: int) -> MemorySource:
        """Return the files of a shard."""
        leaves = [entry.leaf for entry in self.entries[period][shard]]
        origin = self.origin(shard, period)
        note = Checkpoint(origin, len(leaves), root_of_log(leaves)).sign(self.signer(origin))
        return MemorySource(log_files(leaves, note))

    # What it hands out

    def opening(self, entry: Kept, letters: str, *, size: int) -> Document:
        """Return the opening of an entry with the proof at a size of its shard."""
        leaves = [other.leaf for other in self.entries[entry.period][entry.place[0]]][:size]
        index = entry.place[1]
        note = Checkpoint(entry.origin, size, root_of_log(leaves)).sign(self.signer(entry.origin))
        receipt = Receipt(index, tuple(proof_in_log(leaves, index, size)), note)
        opening: Document = {"origin": entry.origin, "index": index, "type": entry.type}
        for letter, hashed in entry.hashes.items():
            if letter in letters:
                salt, data = entry.salts[letter], entry.parts[letter]
                opening[letter] = {"salt": to_base64(salt), "bytes": to_base64(data)}
            else:
                opening[f"h{letter}"] = to_base64(hashed)
        return opening | {"proof": to_base64(receipt.text)}

    def history(
        self, number: str, *, first: int = 0, last: int | None = None, closed: tuple[int, ...] = ()
    ) -> Document:
        """Return the history of a person from day `first` on; of the half-years in `closed` in one answer each."""
        last = len(self.leaves) - 1 if last is None else last
        asked: list[tuple[int, int, Trie, bytes]] = []
        for epoch in range(first, last + 1):
            period = period_of(epoch)
            if period not in closed:
                asked.append((epoch, DAY, self.sealed[epoch].persons, self.label(number, DAY, epoch)))
            elif epoch == last_day(period):
                trie = self.sealed[epoch].period
                assert trie is not None
                asked.append((epoch, PERIOD, trie, self.label(number, PERIOD, period)))
        periods = sorted({period_of(epoch) for epoch in range(first, last + 1)})
        keys = [
            {
                "period": period,
                "spki": to_base64(self.spkis[period]),
                "certificate": [to_base64(root) for root in self.certificates[period]],
                "y": to_base64(self.y(number, period)),
            }
            for period in periods
        ]
        document = self._document(asked, span=(first, last))
        return document | {"keys": keys}

    def account(self, recipient: str, *, first: int = 0, last: int | None = None) -> list[Document]:
        """Return the lines of the account of a recipient."""
        last = len(self.leaves) - 1 if last is None else last
        periods = range(period_of(first), period_of(last) + 1)
        lines: list[Document] = [
            {
                "schema": "dienstenintegrator/account/v1",
                "recipient": recipient,
                "epochs": {"origin": EPOCHS, "first": first, "last": last},
                "shards": [
                    {"period": period, "shard": shard, "origin": self.origin(shard, period)}
                    for period in periods
                    for shard in self.shards
                ],
            }
        ]
        for epoch in range(first, last + 1):
            trie, label = self.sealed[epoch].recipients, label_of(self.secret_of(recipient), DAY, epoch)
            item = trie.lists.get(label)
            if item is None:
                end, places = _nothing(trie, label), []
            else:
                salt, places = item
                end = {"leaf": {"salt": to_base64(salt), "m": len(places)}}
            siblings = [to_base64(sibling) for sibling in prove(trie.leaves, label).siblings]
            lines.append({"day": epoch, "siblings": siblings, "end": end})
            for place in places:
                entry = self.at(place, period_of(epoch))
                size = self.leaves[epoch].range_of(place[0]).end  # type: ignore[union-attr]
                if entry.erased:
                    opening = self.opening(entry, "A", size=size)
                    lines.append({"erased": {"ground": entry.erased, "opening": opening}})
                else:
                    lines.append({"entry": self.opening(entry, "AD", size=size)})
        return lines

    def received(self, recipient: str) -> list[Document]:
        """Return what an honest agency noted."""
        return [
            entry.delivery()
            for period in self.entries
            for entry in self.kept(period)
            if entry.recipient == recipient and "releases" not in json.loads(entry.parts["D"])
        ]

    def dossier(self, *, first: int = 0, last: int | None = None, piece: int = 1_000) -> list[Document]:
        """Return the lines of the dossier for the checking cosigner; lists go in pieces of so many places."""
        last = len(self.leaves) - 1 if last is None else last
        periods = range(period_of(first), period_of(last) + 1)
        named = [(period, shard) for period in periods for shard in self.shards]
        header: Document = {
            "schema": "dienstenintegrator/dossier/v1",
            "epochs": {"origin": EPOCHS, "first": first, "last": last},
            "shards": [
                {"period": period, "shard": shard, "origin": self.origin(shard, period)} for period, shard in named
            ],
            "institution": [],
        }
        lines = [header]
        for epoch in range(first, last + 1):
            sealed = self.sealed[epoch]
            lines.append({"day": epoch})
            tries = {"persons": sealed.persons, "recipients": sealed.recipients, "period": sealed.period}
            for name, trie in tries.items():
                lines += [] if trie is None else _rows(name, trie, piece)
            lines += self._unlisted(sealed)
        return lines

    # Inside

    def _unlisted(self, sealed: Sealed) -> list[Document]:
        epoch, period = sealed.plan.epoch, period_of(sealed.plan.epoch)
        leaf = self.leaves[epoch]
        listed = {place for places in sealed.plan.persons.values() for place in places}
        listed |= {place for places in sealed.plan.phantoms.values() for place in places}
        lines: list[Document] = []
        releases: list[Document] = []
        for item in leaf.shards:
            for index in range(item.start, item.end):
                entry = self.at((item.shard, index), period)
                if entry.place not in listed:
                    lines.append({"unlisted": self.opening(entry, "ADSP", size=item.end)})
                if "releases" in json.loads(entry.parts["D"]):
                    releases.append({"release": self.opening(entry, "ADSP", size=item.end)})
        return lines + releases

    def _document(self, asked: list[tuple[int, int, Trie, bytes]], *, span: tuple[int, int]) -> Document:
        answers: list[Document] = []
        openings: list[Document] = []
        erased: list[Document] = []
        shards: set[tuple[int, int]] = set()
        for epoch, level, trie, label in asked:
            period = period_of(epoch)
            proof = prove(trie.leaves, label)
            if (item := trie.lists.get(label)) is None:
                end = _nothing(trie, label)
            else:
                end = {"leaf": {"salt": to_base64(item[0]), "list": [list(place) for place in item[1]]}}
                for place in item[1]:
                    entry = self.at(place, period)
                    size = self.leaves[epoch].range_of(place[0]).end  # type: ignore[union-attr]
                    shards.add((period, place[0]))
                    if entry.erased:
                        erased.append({"ground": entry.erased, "opening": self.opening(entry, "A", size=size)})
                    else:
                        openings.append(self.opening(entry, "AS", size=size))
            siblings = [to_base64(sibling) for sibling in proof.siblings]
            answers.append({"epoch": epoch, "level": level, "siblings": siblings, "end": end})
        return {
            "schema": "dienstenintegrator/history/v1",
            "epochs": {"origin": EPOCHS, "first": span[0], "last": span[1]},
            "shards": [
                {"period": period, "shard": shard, "origin": self.origin(shard, period)}
                for period, shard in sorted(shards)
            ],
            "days": answers,
            "entries": openings,
            "erased": erased,
        }

    def _open(self, period: int) -> None:
        self.entries[period] = {shard: [] for shard in self.shards}
        # Two keys serve all half-years of the tests: making one takes a second.
        self.keys[period] = label_signer(period % 2)
        self.certificates[period] = certificate(period % 2)
        self.spkis[period] = label_signer(period % 2).spki

    def _plan(self) -> Plan:
        plan = Plan(self.epoch, {}, {}, {}, [])
        for shard in self.shards:
            own = self.entries[self.period][shard]
            start = 0
            if self.leaves and self.leaves[-1].period == self.period:
                start = self.leaves[-1].range_of(shard).end  # type: ignore[union-attr]
            plan.ranges[shard] = (start, len(own))
            for entry in own[start:]:
                if entry.listed and entry.number is not None:
                    plan.persons.setdefault(entry.number, []).append(entry.place)
                else:
                    plan.unlisted.append(entry.place)
                if entry.recipient:
                    plan.recipients.setdefault(entry.recipient, []).append(entry.place)
        return plan

    def _seal(self, plan: Plan) -> EpochLeaf:
        persons = {self.label(number, DAY, plan.epoch): places for number, places in plan.persons.items()}
        persons |= plan.phantoms
        recipients = {
            label_of(self.secret_of(name), DAY, plan.epoch): places for name, places in plan.recipients.items()
        }
        closing = plan.epoch == last_day(self.period)
        sealed = Sealed(plan, Trie.of(persons), Trie.of(recipients), None)
        self.sealed.append(sealed)
        if closing:
            sealed.period = Trie.of(self._period_lists())
        listed = sum(end - start for start, end in plan.ranges.values()) - len(plan.unlisted)
        counts = (listed, len(plan.unlisted)) if plan.counts is None else plan.counts
        return EpochLeaf(
            epoch=plan.epoch,
            period=self.period,
            sealed_at=start_of(plan.epoch + 1) + 60_000,
            label_key=sha256(self.spkis[self.period]).digest(),
            consumed=sha256(b"%d" % plan.epoch).digest(),
            inst_size=0,
            inst_root=root_of_log([]),
            shards=tuple(
                ShardRange(
                    shard, start, end, root_of_log([kept.leaf for kept in self.entries[self.period][shard][:end]])
                )
                for shard, (start, end) in plan.ranges.items()
            ),
            listed=counts[0],
            unlisted=counts[1],
            persons_root=sealed.persons.root,
            recipients_root=sealed.recipients.root,
            period_root=EMPTY if sealed.period is None else sealed.period.root,
        )

    def _period_lists(self) -> dict[bytes, list[Place]]:
        lists: dict[bytes, list[Place]] = {}
        for day in self.sealed:
            if period_of(day.plan.epoch) != self.period:
                continue
            for number, places in day.plan.persons.items():
                lists.setdefault(self.label(number, PERIOD, self.period), []).extend(places)
            for label, places in day.plan.phantoms.items():
                lists.setdefault(sha256(b"period" + label).digest(), []).extend(places)
        return lists

    def _instant(self) -> str:
        return f"{date_of(self.epoch).isoformat()}T12:00:00.000Z"

    def _random(self) -> bytes:
        self._randomness += 1
        return shake_256(b"salt %d" % self._randomness).digest(32)


@cache
def _leaf(origin: str, entry_type: int, *salted: bytes) -> bytes:
    hashes = (part_hash(letter, data[:32], data[32:]) for letter, data in zip("ADSP", salted, strict=True))
    return leaf_entry(entry_type, commitment(origin, entry_type, b"".join(hashes)))


def pseudonym_of(number: str) -> bytes:
    """Return the ledger's pseudonym of a person."""
    return sha256(b"pseudonym of " + number.encode()).digest()


def pseudonym_text(number: str) -> str:
    """Return it as part S names it."""
    return base64.urlsafe_b64encode(pseudonym_of(number)).rstrip(b"=").decode()


def _rows(name: str, trie: Trie, piece: int) -> list[Document]:
    lines: list[Document] = []
    for label in sorted(trie.contents):
        item = trie.lists[label]
        if item is None:
            content = to_base64(trie.contents[label])
            lines.append({"trie": name, "label": to_base64(label), "hL": content, "ground": "retention"})
            continue
        salt, places = item[0], [list(place) for place in item[1]]
        first = {"trie": name, "label": to_base64(label), "salt": to_base64(salt), "m": len(places)}
        lines.append(first | {"list": places[:piece]})
        lines += [{"list": places[at : at + piece]} for at in range(piece, len(places), piece)]
    return lines


def _nothing(trie: Trie, label: bytes) -> Document:
    """Return where a proof ends that lists nothing under a label, or no longer."""
    if label in trie.contents:
        return {"erased": {"hL": to_base64(trie.contents[label]), "ground": "retention"}}
    end = prove(trie.leaves, label).end
    return {"empty": True} if end is None else {"other": _named(end)}


def _named(leaf: Leaf) -> Document:
    return {"label": to_base64(leaf.label), "hL": to_base64(leaf.content)}
