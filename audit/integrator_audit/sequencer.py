"""Sequencing turns entries into rows: fresh random order, fresh salts, commitments, one sealed body.

- The entries of one commit get their indices in random order, because neighbouring indices would show families.
- All randomness of a batch is one draw; a test passes its own. The draw begins with the salt of part A of the batch's
  first row, by which the store recognises randomness that comes again.
- D and S are erased together, always, so they are sealed together: one encryption for an entry without an actor.
- The loop over the entries is the ledger's hot path: what stands in it is paid for tens of thousands of times a
  second, so it unpacks tuples, joins bytes and calls nothing that it could do without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct, unpack
from typing import Final
from zlib import crc32

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.engine import KERNEL
from integrator_audit.errors import Tampered
from integrator_audit.keystore import KEY_VERSION, NONCE_SIZE, EntryKey, PersonClass, PersonKey, associated_data
from integrator_audit.parts import PART_PREFIXES, SALT_SIZE, SUBJECT_ENTRY, Entry, entry_prefix
from integrator_audit.store import SEALED, EntryRow

_ORDER_SIZE: Final = 8
_FRESHNESS: Final = Struct(f"{SALT_SIZE}s{SALT_SIZE}s{SALT_SIZE}s{SALT_SIZE}s{NONCE_SIZE}s{NONCE_SIZE}s")
_FRESH: Final = _FRESHNESS.size
RANDOM_SIZE: Final = _FRESH + _ORDER_SIZE
"""Random bytes that one entry takes: salts of A, D, S and P, nonces of body and actor; after all of these its place."""
_LENGTHS: Final = Struct(">II")
LENGTHS_START: Final = 3 * SALT_SIZE
BODY_START: Final = LENGTHS_START + _LENGTHS.size
"""Bytes of a body before D: three salts, the lengths of D and S."""
_NO_SALT: Final = bytes(SALT_SIZE)
_PREFIXES: Final = tuple(PART_PREFIXES[letter] for letter in "ADSP")


@dataclass(frozen=True, slots=True)
class Sequenced:
    """The rows and 33-byte leaf entries in index order, and the index of each entry in the order given."""

    rows: list[EntryRow]
    leaves: list[bytes]
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchKeys:
    """The key class of each retention, the keys of a batch's persons, and as many entry keys as it needs."""

    classes: dict[int, int]
    people: dict[PersonClass, PersonKey]
    entries: Sequence[EntryKey]


def needs_entry_key(entry: Entry) -> bool:
    """Say whether an entry has an actor to forget, or no person whose key could serve."""
    return bool(entry.p) or entry.type != SUBJECT_ENTRY


def sequence(
    entries: list[Entry],
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
    sealed = None
    if KERNEL is not None:
        sealed = KERNEL.seal_rows(
            entries,
            order,
            first=first,
            random=random,
            origin=origin.encode(),
            prefix=entry_prefix(origin, SUBJECT_ENTRY),
            parts=_PREFIXES,
            classes=keys.classes,
            people=keys.people,
            row=EntryRow,
        )
    rows, leaves = sealed or _seal_rows(entries, order, origin=origin, first=first, keys=keys, random=random)
    if len(set(leaves)) != count:
        raise Tampered("ledger-repeated", "two entries of a batch have one commitment: randomness repeats itself")
    indices = [0] * count
    for index, place in enumerate(order, first):
        indices[place] = index
    return Sequenced(rows, leaves, tuple(indices))


def _seal_rows(  # noqa: PLR0913  as the kernel's
    entries: Sequence[Entry], order: Sequence[int], *, origin: str, first: int, keys: BatchKeys, random: bytes
) -> tuple[list[EntryRow], list[bytes]]:
    """Return the rows and the leaf entries of a batch: the reference of the kernel's function of that name."""
    types = {one: (bytes([one]), entry_prefix(origin, one)) for one in {entry.type for entry in entries}}
    prefix_a, prefix_d, prefix_s, prefix_p = _PREFIXES
    classes, people, entry_keys = keys.classes, keys.people, iter(keys.entries)
    bound, join, lengths, seal = origin.encode(), b"".join, _LENGTHS.pack, SEALED.pack
    # What `associated_data` returns begins and, for a first version, ends so.
    place_of, first_version = Struct(f">{len(bound)}sQ").pack, associated_data(b"", 0, b"B", KEY_VERSION)[8:]
    rows: list[EntryRow] = []
    leaves: list[bytes] = []
    fresh = _FRESHNESS.iter_unpack(memoryview(random)[: len(order) * _FRESH])
    for index, place in enumerate(order, first):
        salt_a, salt_d, salt_s, salt_p, nonce, nonce_p = next(fresh)
        kind, a, d, s, p, subject, recipient, moment, retention, listed, identity = entries[place]
        byte, prefix = types[kind]
        hashes = join(
            (
                sha256(prefix_a + salt_a + a).digest(),
                sha256(prefix_d + salt_d + d).digest(),
                sha256(prefix_s + salt_s + s).digest(),
                sha256(prefix_p + salt_p + p).digest(),
            )
        )
        committed = sha256(prefix + hashes).digest()
        key_id, sealed_p, body_salt = None, b"", salt_p
        if subject is not None and not p:
            version, key = people[subject, classes[retention]]
        else:
            own = next(entry_keys)
            key_id = own.id
            version, key = (KEY_VERSION, own.key) if subject is None else people[subject, classes[retention]]
            if p:
                data = associated_data(bound, index, b"P", KEY_VERSION)
                sealed_p = nonce_p + own.cipher.encrypt(nonce_p, salt_p + p, data)
                # With the salt of P beside S, who may open S could try out who acted, after the key of P is destroyed.
                body_salt = _NO_SALT
        content = join((salt_d, salt_s, body_salt, lengths(len(d), len(s)), d, s, identity))
        if version == KEY_VERSION:
            data = place_of(bound, index) + first_version
        else:
            data = associated_data(bound, index, b"B", version)
        body = nonce + AESGCM(key).encrypt(nonce, content, data)
        # What `entry_seal` does with a row.
        name = recipient.encode()
        small = seal(index, moment, kind, retention, listed, version, len(body), len(sealed_p), len(name))
        checked = crc32(join((small, body, sealed_p, subject or b"", name, key_id or b"")))
        row = (
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
        # What `EntryRow(…)` does in the end.
        rows.append(tuple.__new__(EntryRow, row))
        leaves.append(byte + committed)
    return rows, leaves


def body_lengths(content: bytes) -> tuple[int, int]:
    """Return the lengths of D and S in an opened body."""
    return _LENGTHS.unpack_from(content, LENGTHS_START)
