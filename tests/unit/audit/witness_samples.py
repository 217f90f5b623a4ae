"""A log in memory that grows and forks at will, and witnesses that can be deaf, slow or liars."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from integrator_audit import Signer
from integrator_audit.checkpoint import Checkpoint, read_unverified
from integrator_audit.errors import Unavailable
from integrator_audit.frontier import Frontier
from integrator_audit.merkle import consistency_proof
from integrator_audit.note import Signature, join_note
from integrator_audit.tiles import TileName, TileRow, subtree_reader
from integrator_audit.witnessing.addcheckpoint import Answer
from integrator_audit.witnessing.cosignature import MLDSA44_COSIGNATURE, Cosigner, CosignerKey
from integrator_audit.witnessing.policy import Policy
from integrator_audit.witnessing.witness import Witness

NOW = 1_800_000_000
LOG = Signer("demo.integrator.example/ledger/demo/s0-2026h2", bytes(range(32)))
COSIGNERS = [Cosigner(f"witness{number}.example", bytes([number]) * 32) for number in range(3)]


def mldsa_note(secret: MLDSA44PrivateKey, name: str, checkpoint: Checkpoint, time: int) -> bytes:
    """Sign a checkpoint as tlog-cosignature lays it out, written down here a second time."""
    origin, stamp = checkpoint.origin.encode(), time.to_bytes(8, "big")
    message = b"subtree/v1\n\0" + bytes([len(name)]) + name.encode() + stamp + bytes([len(origin)]) + origin
    message += bytes(8) + checkpoint.size.to_bytes(8, "big") + checkpoint.root
    key = CosignerKey(name, MLDSA44_COSIGNATURE, secret.public_key().public_bytes_raw())
    return join_note(checkpoint.text, [Signature(name, key.key_id, stamp + secret.sign(message))])


class SampleHead(NamedTuple):
    size: int
    root: bytes
    note: bytes


class SampleLog:
    """Tiles, head and published checkpoint of a log whose entries are counted texts."""

    def __init__(self, signer: Signer = LOG, seed: bytes = b"") -> None:
        self.signer = signer
        self._seed = seed
        self._frontier = Frontier()
        self._tiles: dict[tuple[int, int], TileRow] = {}
        self._published: tuple[int, bytes] | None = None

    def grow(self, count: int) -> SampleHead:
        start = self._frontier.size
        entries = [self._seed + b"entry %d" % number for number in range(start, start + count)]
        self._frontier, rows = self._frontier.extend(entries)
        self._tiles |= {(row.level, row.number): row for row in rows}
        return self.head

    def fork(self, seed: bytes) -> SampleLog:
        """Return a log with the same entries that goes on differently."""
        other = SampleLog(self.signer, seed)
        other._frontier, other._tiles = self._frontier, self._tiles.copy()
        return other

    @property
    def head(self) -> SampleHead:
        size, root = self._frontier.size, self._frontier.root()
        return SampleHead(size, root, Checkpoint(self.signer.name, size, root).sign(self.signer))

    def tile(self, level: int, index: int) -> TileRow | None:
        return self._tiles.get((level, index))

    def published(self) -> tuple[int, bytes] | None:
        return self._published

    def publish(self, note: bytes) -> None:
        size = read_unverified(note).size
        assert self._published is None or self._published[0] <= size, "what is published never goes back"
        self._published = (size, note)

    def proof(self, old_size: int) -> Sequence[bytes]:
        return consistency_proof(old_size, self._frontier.size, subtree_reader(self.tile))


class SampleExchange:
    """Reach a witness without a network, in a way that one line of a test can disturb."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.bodies: list[bytes] = []
        self.dead = False
        self.holding = threading.Event()
        self.holding.set()
        self.change: Callable[[Answer], Answer] = lambda answer: answer

    def __call__(self, body: bytes) -> Answer:
        self.bodies.append(body)
        if self.dead:
            raise Unavailable("witness-unreachable", "it is dead")
        answer = self.witness.add_checkpoint(body)
        assert self.holding.wait(60)
        return self.change(answer)


def witnesses(directory: Path, signer: Signer = LOG) -> dict[str, SampleExchange]:
    """Return three witnesses of the sample log, by name."""
    return {
        f"w{number}": SampleExchange(
            Witness.open(
                directory / f"w{number}.sqlite", cosigner=it, logs={signer.name: [signer.verifier]}, clock=lambda: NOW
            )
        )
        for number, it in enumerate(COSIGNERS)
    }


def policy(quorum: str = "2 w0 w1 w2") -> Policy:
    lines = [f"witness w{number} {cosigner.key.vkey}" for number, cosigner in enumerate(COSIGNERS)]
    return Policy.parse("\n".join([f"log {LOG.vkey}", *lines, f"group g {quorum}", "quorum g", ""]).encode())


class SampleSource:
    """The files of a sample log as a verifier fetches them; a test changes `log` or `files`."""

    def __init__(self, log: SampleLog) -> None:
        self.log = log
        # By path: what is served instead; None for a file that is not there.
        self.files: dict[str, bytes | None] = {}
        self.fetched: list[str] = []

    def fetch(self, path: str) -> bytes | None:
        self.fetched.append(path)
        if path in self.files:
            return self.files[path]
        if path == "checkpoint":
            return self.log.head.note
        name = TileName.parse(path)
        row = self.log.tile(name.level, name.index)
        return None if row is None or row.width < name.width else row.cut(name.width).data
