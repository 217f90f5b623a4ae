"""Sequencing turns entries into rows: fresh random order, fresh salts, commitments, one sealed body.

- The entries of one commit get their indices in random order, because neighbouring indices would show families.
- All randomness of a batch is one draw; a test passes its own. The draw begins with the salt of part A of the batch's
  first row, by which the store recognises randomness that comes again.
- D and S are erased together, always, so they are sealed together: one encryption for an entry without an actor.
- The loop over the entries is the ledger's hot path: what stands in it is paid for tens of thousands of times a
  second, so it unpacks tuples, joins bytes and calls nothing that it could do without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct, unpack
from typing import Final
from zlib import crc32

from integrator_audit.errors import Tampered
from integrator_audit.keystore import KEY_VERSION, NONCE_SIZE, EntryKey, PersonClass, PersonKey, associated_data
from integrator_audit.parts import PART_PREFIXES, SALT_SIZE, SUBJECT_ENTRY, Entry, entry_prefix
from integrator_audit.store import SEALED, EntryRow

_ORDER_SIZE: Final = 8
_FRESH: Final = 4 * SALT_SIZE + 2 * NONCE_SIZE
RANDOM_SIZE: Final = _FRESH + _ORDER_SIZE
"""Random bytes that one entry takes: salts of A, D, S and P, nonces of body and actor; after all of these its place."""
_LENGTHS: Final = Struct(">II")
LENGTHS_START: Final = 3 * SALT_SIZE
BODY_START: Final = LENGTHS_START + _LENGTHS.size
"""Bytes of a body before D: three salts, the lengths of D and S."""
_NO_SALT: Final = bytes(SALT_SIZE)


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
    # Of two equal keys among 2^64 the one that was given first comes first, which shows nothing.
    places = unpack(f">{count}Q", random[count * _FRESH :])
    order = sorted(range(count), key=places.__getitem__)
    types = {one: (bytes([one]), entry_prefix(origin, one)) for one in {entry.type for entry in entries}}
    prefix_a, prefix_d, prefix_s, prefix_p = (PART_PREFIXES[letter] for letter in "ADSP")
    classes, people, entry_keys = keys.classes, keys.people, iter(keys.entries)
    bound, join, lengths, seal = origin.encode(), b"".join, _LENGTHS.pack, SEALED.pack
    rows: list[EntryRow] = []
    leaves: list[bytes] = []
    indices = [0] * count
    at = 0
    for index, place in enumerate(order, first):
        kind, a, d, s, p, subject, recipient, moment, retention, listed, identity = entries[place]
        indices[place] = index
        salt_a, salt_p = random[at : at + 32], random[at + 96 : at + 128]
        nonce, after = random[at + 128 : at + 140], at + _FRESH
        byte, prefix = types[kind]
        hashes = join(
            (
                sha256(prefix_a + salt_a + a).digest(),
                sha256(prefix_d + random[at + 32 : at + 64] + d).digest(),
                sha256(prefix_s + random[at + 64 : at + 96] + s).digest(),
                sha256(prefix_p + salt_p + p).digest(),
            )
        )
        committed = sha256(prefix + hashes).digest()
        own = None if subject is not None and not p else next(entry_keys)
        if subject is not None:
            version, cipher = people[subject, classes[retention]]
        else:
            assert own is not None, "needs_entry_key counts an entry without a person"  # noqa: S101
            version, cipher = KEY_VERSION, own.cipher
        # With the salt of P beside S, who may open S could try out who acted, after the key of P is destroyed.
        salts = random[at + 32 : at + 96] + _NO_SALT if p else random[at + 32 : at + 128]
        content = join((salts, lengths(len(d), len(s)), d, s, identity))
        body = nonce + cipher.encrypt(nonce, content, associated_data(bound, index, b"B", version))
        key_id, sealed_p = None, b""
        if own is not None:
            key_id = own.id
            if p:
                nonce = random[at + 140 : after]
                data = associated_data(bound, index, b"P", KEY_VERSION)
                sealed_p = nonce + own.cipher.encrypt(nonce, salt_p + p, data)
        at = after
        # What `entry_seal` does with a row.
        name = recipient.encode()
        small = seal(index, moment, kind, retention, listed, version, len(body), len(sealed_p), len(name))
        checked = crc32(join((small, body, sealed_p, subject or b"", name, key_id or b"")))
        rows.append(
            EntryRow(
                index,
                subject,
                recipient,
                kind,
                moment,
                retention,
                listed,
                salt_a,
                a,
                body,
                sealed_p,
                hashes,
                committed,
                version,
                key_id,
                checked,
            )
        )
        leaves.append(byte + committed)
    if len(set(leaves)) != count:
        raise Tampered("ledger-repeated", "two entries of a batch have one commitment: randomness repeats itself")
    return Sequenced(rows, leaves, tuple(indices))


def body_lengths(content: bytes) -> tuple[int, int]:
    """Return the lengths of D and S in an opened body."""
    return _LENGTHS.unpack_from(content, LENGTHS_START)
