"""Sequencing turns entries into rows: fresh random order, fresh salts, commitments, one sealed body.

- The entries of one commit get their indices in random order, because neighbouring indices would show families.
- All randomness of a batch is one draw; a test passes its own. The draw begins with the salt of part A of the batch's
  first row, by which the store recognises randomness that comes again.
- D and S are erased together, always, so they are sealed together: one encryption for an entry without an actor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.errors import Tampered
from integrator_audit.keystore import KEY_VERSION, NONCE_SIZE, EntryKey, PersonClass, PersonKey, associated_data
from integrator_audit.parts import PART_PREFIXES, SALT_SIZE, SUBJECT_ENTRY, Entry, entry_prefix
from integrator_audit.store import EntryRow, entry_seal

_ORDER_SIZE = 16
_SALTS = 4 * SALT_SIZE
RANDOM_SIZE = _SALTS + 2 * NONCE_SIZE + _ORDER_SIZE
"""Random bytes that one entry takes: four salts, two nonces, its place."""
LENGTH_SIZE = 4
"""Bytes of the length of D in a body."""
BODY_START = 3 * SALT_SIZE + LENGTH_SIZE

_A, _D, _S, _P = (PART_PREFIXES[letter] for letter in "ADSP")


@dataclass(frozen=True, slots=True)
class Sequenced:
    """The rows and 33-byte leaf entries in index order, and the index of each entry in the order given."""

    rows: list[EntryRow]
    leaves: list[bytes]
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchKeys:
    """The key class of each retention, the keys of a batch's persons, and as many entry keys as it needs."""

    classes: Mapping[int, int]
    people: Mapping[PersonClass, PersonKey]
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

    `random` holds `RANDOM_SIZE` fresh bytes for each entry. Raises `Tampered` (`ledger-repeated`) when two entries of
    the batch have one commitment, which only repeated randomness brings about.
    """
    count = len(entries)
    orders = count * (RANDOM_SIZE - _ORDER_SIZE)
    places = [random[at : at + _ORDER_SIZE] for at in range(orders, orders + count * _ORDER_SIZE, _ORDER_SIZE)]
    order = sorted(range(count), key=places.__getitem__)
    prefixes = {entry_type: entry_prefix(origin, entry_type) for entry_type in {entry.type for entry in entries}}
    entry_keys = iter(keys.entries)
    rows: list[EntryRow] = []
    leaves: list[bytes] = []
    indices = [0] * count
    at = 0
    for index, place in enumerate(order, first):
        entry = entries[place]
        indices[place] = index
        fresh = random[at : at + RANDOM_SIZE - _ORDER_SIZE]
        at += RANDOM_SIZE - _ORDER_SIZE
        salt_a, salt_p = fresh[:32], fresh[96:128]
        hashes = (
            sha256(_A + salt_a + entry.a).digest()
            + sha256(_D + fresh[32:64] + entry.d).digest()
            + sha256(_S + fresh[64:96] + entry.s).digest()
            + sha256(_P + salt_p + entry.p).digest()
        )
        committed = sha256(prefixes[entry.type] + hashes).digest()
        entry_key = next(entry_keys) if needs_entry_key(entry) else None
        version, cipher = _body_key(entry, entry_key, keys)
        nonce, p = fresh[128:140], b""
        content = fresh[32:128] + len(entry.d).to_bytes(LENGTH_SIZE, "big") + entry.d + entry.s
        body = nonce + cipher.encrypt(nonce, content, associated_data(origin, index, "B", version))
        if entry.p and entry_key is not None:
            nonce = fresh[140:152]
            data = associated_data(origin, index, "P", version)
            p = nonce + entry_key.cipher.encrypt(nonce, salt_p + entry.p, data)
        row = EntryRow(
            index,
            entry.subject,
            entry.recipient,
            entry.type,
            entry.at,
            entry.retention,
            entry.listed,
            salt_a,
            entry.a,
            body,
            p,
            hashes,
            committed,
            version,
            None if entry_key is None else entry_key.id,
            0,
        )
        rows.append(row._replace(seal=entry_seal(row)))
        leaves.append(bytes([entry.type]) + committed)
    if len(set(leaves)) != count:
        raise Tampered("ledger-repeated", "two entries of a batch have one commitment: randomness repeats itself")
    return Sequenced(rows, leaves, tuple(indices))


def _body_key(entry: Entry, entry_key: EntryKey | None, keys: BatchKeys) -> tuple[int, AESGCM]:
    if entry.subject is not None:
        person = keys.people[entry.subject, keys.classes[entry.retention]]
        return person.version, person.cipher
    assert entry_key is not None, "an entry without a person has a key of its own"  # noqa: S101  needs_entry_key says so
    return KEY_VERSION, entry_key.cipher
