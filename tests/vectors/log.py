"""Small logs whose every byte follows from names: keys, salts and contents are fictional, and the same in every run."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from integrator_audit import Signer, part
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.merkle import RightEdge, inclusion_proof, leaf_hash
from integrator_audit.note import Signature, join_note
from integrator_audit.parts import LETTERS, commitment, leaf_entry, part_hash
from integrator_audit.receipt import Receipt
from integrator_audit.witnessing.cosignature import Cosigner

ORIGIN = "vectors.example/ledger/s0-2026h2"
OTHER_SHARD = "vectors.example/ledger/s1-2026h2"
NOW = 1_798_761_600
"""The verifier's clock, POSIX seconds: 2027-01-01."""

Opening = dict[str, Any]


def fiction(name: str) -> bytes:
    """Return 32 bytes that everybody can compute: never a secret, never random."""
    return sha256(f"fictional, for the vectors only: {name}".encode()).digest()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


SIGNER = Signer(ORIGIN, fiction("key of s0"))
OTHER_SIGNER = Signer(OTHER_SHARD, fiction("key of s1"))
WITNESSES = {
    name: Cosigner(f"witness.example/{name}", fiction(f"key of witness {name}"))
    for name in ("w1", "w2", "w3", "v1", "v2")
}


@dataclass(frozen=True, slots=True)
class Written:
    """One entry: its type and the bytes of its parts, whatever they are."""

    type: int
    parts: Mapping[str, bytes]


def disclosure(number: int, *, actor: str = "", **changed: bytes) -> Written:
    """Return an entry about a person; `changed` replaces the bytes of parts by letter."""
    parts = {
        "A": part(
            "example/accountability/v1",
            {"recipient": "dienst één", "date": "2026-11-25", "fields": ["naam", "\u2028😀"]},
        ),
        "D": part(
            "example/delivery/v1", {"topic": "agency.one", "partition": 3, "sequence": number + 1, "late": False}
        ),
        "S": part("example/subject/v1", {"role": "subject", "at": "2026-11-25T10:00:00.000Z"}),
        "P": part("example/actor/v1", {"actor": actor}) if actor else b"",
    }
    return Written(1, parts | changed)


def step(number: int) -> Written:
    """Return an entry of the institution."""
    return Written(2, {"A": part("example/step/v1", {"number": number}), "D": b"", "S": b"", "P": b""})


@dataclass(frozen=True, slots=True)
class Log:
    """A log of entries under one signed checkpoint."""

    entries: Sequence[Written]
    signer: Signer = SIGNER

    @property
    def origin(self) -> str:
        return self.signer.name

    def hashes(self, index: int) -> dict[str, bytes]:
        parts = self.entries[index].parts
        return {letter: part_hash(letter, self.salt(index, letter), parts[letter]) for letter in LETTERS}

    def salt(self, index: int, letter: str) -> bytes:
        return fiction(f"salt of part {letter} of entry {index} of {self.origin}")

    def leaf(self, index: int) -> bytes:
        entry_type = self.entries[index].type
        return leaf_hash(
            leaf_entry(entry_type, commitment(self.origin, entry_type, b"".join(self.hashes(index).values())))
        )

    def leaves(self) -> list[bytes]:
        return [self.leaf(index) for index in range(len(self.entries))]

    def checkpoint(self) -> Checkpoint:
        edge = RightEdge()
        edge.extend(self.leaves())
        return Checkpoint(self.origin, len(self.entries), edge.root())

    def receipt(self, index: int) -> Receipt:
        """Return the proof of an entry under a checkpoint that only the log has signed."""
        leaves = self.leaves()

        def subtree(height: int, at: int) -> bytes:
            edge = RightEdge()
            edge.extend(leaves[at << height : (at + 1) << height])
            return edge.root()

        note = self.checkpoint().sign(self.signer)
        return Receipt(index, tuple(inclusion_proof(index, len(leaves), subtree)), note)

    def opening(self, index: int, letters: str, receipt: Receipt | None = None) -> Opening:
        """Open the parts `letters` of an entry, with its proof or another one."""
        entry, hashes = self.entries[index], self.hashes(index)
        shown: Opening = {"origin": self.origin, "index": index, "type": entry.type}
        for letter in LETTERS:
            if letter in letters:
                salt, data = self.salt(index, letter), entry.parts[letter]
                shown[letter] = {"salt": encoded(salt), "bytes": encoded(data)}
            else:
                shown[f"h{letter}"] = encoded(hashes[letter])
        return shown | {"proof": encoded((receipt or self.receipt(index)).text)}

    def cosigned(self, index: int, *signatures: Signature) -> Receipt:
        """Return the proof of an entry whose note carries the log's signature and these."""
        text = self.checkpoint().text
        note = join_note(text, [self.signer.signature(text), *signatures])
        return replace(self.receipt(index), checkpoint=note)

    def cosignature(self, witness: str, *, time: int = NOW - 60) -> Signature:
        return WITNESSES[witness].cosign(self.checkpoint().text, time)


LOG = Log([disclosure(number, actor="" if number % 4 else "medewerker 7") for number in range(13)])
INSTITUTION = Log([step(number) for number in range(3)])
SHARD = Log([disclosure(number) for number in range(5)], OTHER_SIGNER)
