"""Sequencing turns entries into rows: fresh random order, fresh salts, commitments, encrypted bodies.

- The entries of one commit get their indices in random order, because neighbouring indices would show families.
- All randomness of a batch is one draw; a test passes its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.parts import PART_PREFIXES, SALT_SIZE, SUBJECT_ENTRY, Entry, entry_prefix
from integrator_audit.store import EntryRow, entry_seal
from integrator_audit.vault import KEY_VERSION, NONCE_SIZE, EntryKey, associated_data

_ORDER_SIZE = 16
_SALTS = 4 * SALT_SIZE
RANDOM_SIZE = _ORDER_SIZE + _SALTS + 3 * NONCE_SIZE
"""Random bytes that one entry takes: its place, four salts, three nonces."""

_A, _D, _S, _P = (PART_PREFIXES[letter] for letter in "ADSP")


@dataclass(frozen=True, slots=True)
class Sequenced:
    """The rows and 33-byte leaf entries in index order, and the index of each entry in the order given."""

    rows: list[EntryRow]
    leaves: list[bytes]
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchKeys:
    """The keys of a batch: one for every subject, and as many for entries as `needs_entry_key` asks."""

    people: Mapping[bytes, AESGCM]
    entries: Sequence[EntryKey]


def needs_entry_key(entry: Entry) -> bool:
    """Say whether an entry has an actor to forget, or no person whose key could serve."""
    return bool(entry.p) or entry.type != SUBJECT_ENTRY


def sequence(
    entries: Sequence[Entry],
    *,
    origin: str,
    first: int,
    keys: BatchKeys,
    random: bytes,
) -> Sequenced:
    """Give the entries their indices from `first` on, commit to their parts and encrypt them.

    `random` holds `RANDOM_SIZE` fresh bytes for each entry.
    """
    count = len(entries)
    places = [random[at : at + _ORDER_SIZE] for at in range(0, count * _ORDER_SIZE, _ORDER_SIZE)]
    order = sorted(range(count), key=places.__getitem__)
    prefixes = {entry_type: entry_prefix(origin, entry_type) for entry_type in {entry.type for entry in entries}}
    entry_keys = iter(keys.entries)
    rows: list[EntryRow] = []
    leaves: list[bytes] = []
    indices = [0] * count
    at = count * _ORDER_SIZE
    for index, place in enumerate(order, first):
        entry = entries[place]
        indices[place] = index
        fresh = random[at : at + RANDOM_SIZE - _ORDER_SIZE]
        at += RANDOM_SIZE - _ORDER_SIZE
        # Each part with its salt before it: what is hashed, and what is stored (A) or encrypted (D, S, P).
        a, d, s, p = fresh[:32] + entry.a, fresh[32:64] + entry.d, fresh[64:96] + entry.s, fresh[96:128] + entry.p
        hashes = sha256(_A + a).digest() + sha256(_D + d).digest() + sha256(_S + s).digest() + sha256(_P + p).digest()
        committed = sha256(prefixes[entry.type] + hashes).digest()
        entry_key = next(entry_keys) if needs_entry_key(entry) else None
        own = keys.people[entry.subject] if entry.subject is not None else _cipher(entry_key)
        other = own if entry_key is None else entry_key.cipher
        nonce_d, nonce_s, nonce_p = fresh[128:140], fresh[140:152], fresh[152:164]
        data_d, data_s, data_p = associated_data(origin, index, KEY_VERSION)
        d = nonce_d + own.encrypt(nonce_d, d, data_d)
        s = nonce_s + own.encrypt(nonce_s, s, data_s)
        p = nonce_p + other.encrypt(nonce_p, p, data_p)
        key_id = None if entry_key is None else entry_key.id
        seal = entry_seal((d, s, p), entry.subject, (KEY_VERSION, key_id))
        rows.append(
            EntryRow(index, entry.subject, entry.type, a, d, s, p, hashes, committed, KEY_VERSION, key_id, seal)
        )
        leaves.append(bytes([entry.type]) + committed)
    return Sequenced(rows, leaves, tuple(indices))


def _cipher(entry_key: EntryKey | None) -> AESGCM:
    assert entry_key is not None, "an entry without a person has a key of its own"  # noqa: S101  needs_entry_key says so
    return entry_key.cipher
