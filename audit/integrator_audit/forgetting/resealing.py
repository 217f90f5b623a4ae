"""Seal the entries that stay of a person under a new key, so that the old one can be destroyed.

It goes: a new version of the key durable → bodies sealed anew in one transaction of the log → the older versions
destroyed. A crash in between leaves several versions, of which the next call makes one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.errors import Tampered
from integrator_audit.keystore import NONCE_SIZE, KeyStore, PersonClass, associated_data
from integrator_audit.store import EntryRow, Store, entry_seal


def reseal(store: Store, origin: str, rows: Sequence[EntryRow], *, keys: KeyStore, person: PersonClass) -> int:
    """Bring these entries of one person and class to a new key; return its version, for `destroy_older` afterwards.

    Raises `Tampered` (`entry-changed`) when a body does not open: nothing is changed then.
    """
    newest = keys.renew(person)
    moved: list[EntryRow] = []
    for row in rows:
        former = keys.person(*person, row.key_version)
        body = None if former is None else _opened(row, former, origin)
        if body is None:
            message = f"entry {row.number} of {origin} does not open with its person's key; run fsck before you erase"
            raise Tampered("entry-changed", message)
        nonce = os.urandom(NONCE_SIZE)
        data = associated_data(origin.encode(), row.number, b"B", newest.version)
        sealed = row._replace(body=nonce + newest.cipher.encrypt(nonce, body, data), key_version=newest.version)
        moved.append(sealed._replace(seal=entry_seal(sealed)))
    store.reseal(moved)
    return newest.version


def _opened(row: EntryRow, cipher: AESGCM, origin: str) -> bytes | None:
    data = associated_data(origin.encode(), row.number, b"B", row.key_version)
    try:
        return cipher.decrypt(row.body[:NONCE_SIZE], row.body[NONCE_SIZE:], data)
    except InvalidTag:
        return None
