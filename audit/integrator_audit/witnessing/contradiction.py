"""Evidence that a log signed two histories: two checkpoints, and what shows that they contradict each other.

Whoever has the log's keys can check it without trusting who found it, and without the log. The document (JSON, bytes in
base64):

    {"schema": "dienstenintegrator/contradiction/v1", "origin", "earlier", "later", "prefixRoot", "proof": […]}

- `earlier` and `later` are signed notes, of sizes m ≤ n. `proof` is the consistency proof from m to n that belongs to
  the root of `later` and to `prefixRoot`: that is what `later` says of size m, and `earlier` signed something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint
from integrator_audit.encoding import from_base64, to_base64
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.merkle import HASH_SIZE, RightEdge, Subtree, consistency_proof, verify_consistency

SCHEMA: Final = "dienstenintegrator/contradiction/v1"
_MEMBERS: Final = ("schema", "origin", "earlier", "later", "prefixRoot", "proof")


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two signed notes of one log of which the later does not extend the earlier."""

    origin: str
    earlier: bytes
    later: bytes
    prefix_root: bytes
    proof: tuple[bytes, ...]

    @property
    def document(self) -> dict[str, object]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "origin": self.origin,
            "earlier": to_base64(self.earlier),
            "later": to_base64(self.later),
            "prefixRoot": to_base64(self.prefix_root),
            "proof": [to_base64(item) for item in self.proof],
        }

    @classmethod
    def parse(cls, document: Mapping[str, object]) -> Contradiction:
        """Read the JSON document; raise `Invalid` when it is malformed."""
        origin, proof = document.get("origin"), document.get("proof")
        if set(document) != set(_MEMBERS) or document["schema"] != SCHEMA or not isinstance(origin, str):
            raise Invalid("contradiction", f"a document of {SCHEMA} has the members {', '.join(_MEMBERS)}")
        if not isinstance(proof, list):
            raise Invalid("contradiction", "the proof is a list")
        earlier, later, prefix_root = (_bytes(document[name], name) for name in ("earlier", "later", "prefixRoot"))
        hashes = tuple(_bytes(item, "the proof") for item in cast(Sequence[object], proof))
        return cls(origin, earlier, later, prefix_root, hashes)

    def check(self, keys: LogKeys) -> tuple[int, int]:
        """Return the two sizes when the log's own keys prove the contradiction.

        Raises `Tampered` (`contradiction`, `note-signature`, …) when it proves nothing.
        """
        earlier, later = open_checkpoint(self.earlier, keys), open_checkpoint(self.later, keys)
        if len(self.prefix_root) != HASH_SIZE or self.prefix_root == earlier.root:
            raise Tampered("contradiction", "the two checkpoints do not contradict each other: the roots are the same")
        verify_consistency((earlier.size, self.prefix_root), (later.size, later.root), proof=self.proof)
        return earlier.size, later.size


def find_contradiction(earlier: bytes, later: bytes, *, keys: LogKeys, subtree: Subtree) -> Contradiction | None:
    """Say how `later` contradicts `earlier`, None when it extends it; `subtree` reads the tree of `later`.

    Both notes are opened with `keys`. Raises `Tampered` (`consistency-proof`) when the tree does not belong to `later`:
    then nothing is known.
    """
    first, second = open_checkpoint(earlier, keys), open_checkpoint(later, keys)
    root, proof = prefix_root(first.size, second, subtree)
    return None if root == first.root else Contradiction(keys.name, earlier, later, root, tuple(proof))


def prefix_root(size: int, head: Checkpoint, subtree: Subtree) -> tuple[bytes, list[bytes]]:
    """Return the root that the log of `head` had at an earlier size, and the consistency proof between the two.

    Raises `Tampered` (`consistency-proof`) when what `subtree` gives does not belong to `head`.
    """
    if size == head.size:
        return head.root, []
    root, proof = RightEdge.load(size, subtree).root(), consistency_proof(size, head.size, subtree)
    verify_consistency((size, root), (head.size, head.root), proof=proof)
    return root, proof


def _bytes(value: object, what: str) -> bytes:
    if not isinstance(value, str):
        raise Invalid("contradiction", f"{what} is base64")
    return from_base64(value, what=what)
