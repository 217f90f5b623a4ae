"""Persons' keys of one class, derived from one seed, and how a single person is cut out of it for good.

A tree of seeds, 256 branches at each of 6 levels, a puncturable pseudorandom function (Goldreich, Goldwasser, Micali
1986; Boneh and Waters 2013). A person's place in it is the beginning of SHA-256 of the pseudonym.

    child(seed, byte)    = SHA-256("integrator/keytree/v1" 0x00 ‖ seed[32] ‖ u8 byte)
    key(leaf, pseudonym) = SHA-256("integrator/keytree/person/v1" 0x00 ‖ leaf[32] ‖ pseudonym[32])

- What is stored is the root's seed alone: keys are neither looked up nor written, whoever they are for.
- To cut a person out, the seeds on the way to their leaf are replaced by those of all their siblings, and the leaf is
  left out. From what is left nobody can derive that key, and everybody derives all others: as when one key of a
  thousand is deleted. Each person cut out costs up to 48 KB.
- A node is stored as its seed (the root, at first), or *opened*: its 256 children's seeds, zeroes for those that are
  opened themselves or cut out.
- LIMIT: who shares the first 48 bits with somebody cut out is cut out too. Among seventeen million persons that happens
  once in sixteen million orders.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from integrator_audit.engine import KERNEL

DEPTH: Final = 6
TOP: Final = 2
"""Levels whose seeds are worth remembering: at most 65,536 for each class, and four levels to derive for a person."""
SEED_SIZE: Final = 32
OPENED_SIZE: Final = 256 * SEED_SIZE
_GONE: Final = bytes(SEED_SIZE)
# With a seed and a byte they fill one block of SHA-256.
_CHILD: Final = b"integrator/keytree/v1\0"
_PERSON: Final = b"integrator/keytree/person/v1\0"
_BYTES: Final = [bytes((byte,)) for byte in range(256)]

Load = Callable[[bytes], bytes | None]
"""Return what is stored for the node at a path (0 to 5 bytes), None when nothing is."""


def path_of(pseudonym: bytes) -> bytes:
    """Return the place of a person's leaf."""
    return sha256(pseudonym).digest()[:DEPTH]


def descend(seed: bytes, path: bytes) -> bytes:
    """Return the seed below `seed` at the end of `path`."""
    for byte in path:
        seed = sha256(_CHILD + seed + _BYTES[byte]).digest()
    return seed


def person_key(seed: bytes, path: bytes, pseudonym: bytes) -> bytes:
    """Return the key of a person below `seed`, at the end of `path`: empty for the seed of their own leaf."""
    return sha256(_PERSON + descend(seed, path) + pseudonym).digest()


def person_keys(tops: dict[bytes, bytes], pseudonyms: list[bytes]) -> list[bytes | None]:
    """Return the key of each person whose seed of level `TOP` is among `tops`, by its path; None for everybody else."""
    if KERNEL is not None:
        return KERNEL.person_keys(tops, pseudonyms, child=_CHILD, person=_PERSON, depth=DEPTH, top=TOP)
    keys: list[bytes | None] = []
    for pseudonym in pseudonyms:
        path = path_of(pseudonym)
        seed = tops.get(path[:TOP])
        keys.append(None if seed is None else person_key(seed, path[TOP:], pseudonym))
    return keys


def find(load: Load, path: bytes) -> bytes | None:
    """Return the seed at `path`, None when it is cut out or opened, or there is no tree."""
    depth = 0
    node = load(b"")
    while node is not None and len(node) == OPENED_SIZE:
        if depth == len(path):
            return None
        seed = child_of(node, path[depth])
        depth += 1
        if seed != _GONE:
            return descend(seed, path[depth:])
        node = load(path[:depth])
    return None if node is None else descend(node, path[depth:])


def cut(load: Load, pseudonym: bytes) -> dict[bytes, bytes]:
    """Return the nodes to store, by path, instead of what is stored, so that the person is cut out.

    Nothing when the person is cut out already or there is no tree.
    """
    path = path_of(pseudonym)
    changed: dict[bytes, bytes] = {}
    node = load(b"")
    for depth, byte in enumerate(path):
        if node is None:
            return {}
        opened = node if len(node) == OPENED_SIZE else open_node(node)
        seed = child_of(opened, byte)
        if opened is not node or seed != _GONE:
            changed[path[:depth]] = b"".join((opened[: byte * SEED_SIZE], _GONE, opened[(byte + 1) * SEED_SIZE :]))
        node = load(path[: depth + 1]) if seed == _GONE else seed
    return changed


def open_node(seed: bytes) -> bytes:
    """Return the seeds of all children of a node."""
    return b"".join(descend(seed, bytes((byte,))) for byte in range(256))


def child_of(opened: bytes, byte: int) -> bytes:
    """Return the seed of one child of an opened node, zeroes when it is not there."""
    return opened[byte * SEED_SIZE : (byte + 1) * SEED_SIZE]
