"""Opening what a row holds encrypted: its body with D and S, and its actor."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.errors import Refused
from integrator_audit.keystore import NONCE_SIZE, TAG_SIZE, KeyStore, associated_data, key_class
from integrator_audit.parts import SALT_SIZE
from integrator_audit.sequencer import BODY_START, LENGTH_SIZE
from integrator_audit.store import EntryRow


class Erased(Refused):
    """What was to be opened was erased, or its key was."""


def open_body(row: EntryRow, vault: KeyStore, *, origin: str, period: int) -> dict[str, bytes]:
    """Return salt ‖ bytes of D and S, and the salt of P under `P` where nobody acted.

    `period` is that of the log's origin. Raises `Erased` (`opening-erased`), and `InvalidTag` when row, place or key do
    not belong together.
    """
    if row.is_erased:
        raise _erased(row, "the body")
    if row.subject is not None:
        cipher = vault.person(row.subject, key_class(period, row.retention), row.key_version)
    else:
        cipher = None if row.entry_key is None else vault.entry_key(row.entry_key)
    content = _opened(row, row.body, cipher, origin=origin, part="B")
    length = int.from_bytes(content[BODY_START - LENGTH_SIZE : BODY_START], "big")
    if len(content) < BODY_START + length:
        raise InvalidTag
    d, s = content[BODY_START : BODY_START + length], content[BODY_START + length :]
    found = {"D": content[:SALT_SIZE] + d, "S": content[SALT_SIZE : 2 * SALT_SIZE] + s}
    return found if row.p else found | {"P": content[2 * SALT_SIZE : 3 * SALT_SIZE]}


def open_actor(row: EntryRow, vault: KeyStore, *, origin: str) -> bytes:
    """Return salt ‖ bytes of P of an entry with an actor; raise as `open_body` does."""
    if row.is_erased:
        raise _erased(row, "the actor")
    cipher = None if row.entry_key is None else vault.entry_key(row.entry_key)
    return _opened(row, row.p, cipher, origin=origin, part="P")


def _opened(row: EntryRow, sealed: bytes, cipher: AESGCM | None, *, origin: str, part: str) -> bytes:
    if cipher is None:
        raise _erased(row, "the key")
    if len(sealed) < NONCE_SIZE + TAG_SIZE:
        raise InvalidTag
    data = associated_data(origin.encode(), row.number, part.encode(), row.key_version)
    content = cipher.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], data)
    if len(content) < (BODY_START if part == "B" else SALT_SIZE):
        raise InvalidTag
    return content


def _erased(row: EntryRow, what: str) -> Erased:
    return Erased("opening-erased", f"{what} of entry {row.number} was erased, or this is not the log's vault")
