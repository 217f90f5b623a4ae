"""Seal the entries that stay of a person under a new key, so that the old one can be destroyed.

It goes: a new version of the key durable → bodies sealed anew in one transaction of the log → the older versions
destroyed. A crash in between leaves several versions: whoever erases for that person again destroys those that seal
nothing any more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.errors import Tampered
from integrator_audit.keystore import NONCE_SIZE, KeyStore, PersonClass, PersonKey, associated_data
from integrator_audit.store import EntryRow, Store, entry_seal


def reseal(  # noqa: PLR0913  whose rows, and from which key to which
    store: Store, origin: str, rows: Sequence[EntryRow], *, keys: KeyStore, person: PersonClass, newest: PersonKey
) -> None:
    """Bring these entries of one person and class to the key `newest`; use `destroy_older` when all logs are done.

    Raises `Tampered` (`entry-changed`) when a body does not open: nothing is changed then.
    """
    moved: list[EntryRow] = []
    for row in rows:
        former = keys.person(*person, row.key_version)
        body = None if former is None else _opened(row, former, origin)
        if body is None:
            raise unopened(row.number, origin)
        nonce = os.urandom(NONCE_SIZE)
        data = associated_data(origin.encode(), row.number, b"B", newest.version)
        sealed = row._replace(body=nonce + newest.cipher.encrypt(nonce, body, data), key_version=newest.version)
        moved.append(sealed._replace(seal=entry_seal(sealed)))
    if moved:
        store.reseal(moved)


def unopened(index: int, origin: str) -> Tampered:
    """Return the error for an entry that does not open."""
    message = f"entry {index} of {origin} does not open with its person's key; run fsck before you erase"
    return Tampered("entry-changed", message)


def _opened(row: EntryRow, cipher: AESGCM, origin: str) -> bytes | None:
    data = associated_data(origin.encode(), row.number, b"B", row.key_version)
    try:
        return cipher.decrypt(row.body[:NONCE_SIZE], row.body[NONCE_SIZE:], data)
    except InvalidTag:
        return None
