"""Opening what a row holds encrypted: its body with D and S, and its actor."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.errors import Refused
from integrator_audit.keystore import KEY_VERSION, NONCE_SIZE, TAG_SIZE, KeyStore, associated_data, key_class
from integrator_audit.parts import SALT_SIZE
from integrator_audit.sequencer import BODY_START, body_lengths
from integrator_audit.store import EntryRow


class Erased(Refused):
    """What was to be opened was erased, or its key was."""


def open_body(row: EntryRow, vault: KeyStore, *, origin: str, period: int) -> dict[str, bytes]:
    """Return salt ‖ bytes of D and S, and the salt of P under `P` where nobody acted.

    `period` is that of the log's origin. Raises `Erased` (`opening-erased`), and `InvalidTag` when row, place or key do
    not belong together.
    """
    content, d_end, s_end = _content(row, vault, origin=origin, period=period)
    d, s = content[BODY_START:d_end], content[d_end:s_end]
    found = {"D": content[:SALT_SIZE] + d, "S": content[SALT_SIZE : 2 * SALT_SIZE] + s}
    return found if row.p else found | {"P": content[2 * SALT_SIZE : 3 * SALT_SIZE]}


def open_identity(row: EntryRow, vault: KeyStore, *, origin: str, period: int) -> bytes:
    """Return the opaque identity of the entry's person, empty when none was given; raise as `open_body` does."""
    content, _, s_end = _content(row, vault, origin=origin, period=period)
    return content[s_end:]


def open_actor(row: EntryRow, vault: KeyStore, *, origin: str) -> bytes:
    """Return salt ‖ bytes of P of an entry with an actor; raise as `open_body` does."""
    if row.is_erased:
        raise _erased(row, "the actor")
    cipher = None if row.entry_key is None else vault.entry_key(row.entry_key)
    return _opened(row, row.p, cipher, origin=origin, part="P")


def _content(row: EntryRow, vault: KeyStore, *, origin: str, period: int) -> tuple[bytes, int, int]:
    """Return an opened body, and where D and S end in it."""
    if row.is_erased:
        raise _erased(row, "the body")
    if row.subject is not None:
        cipher = vault.person(row.subject, key_class(period, row.retention), row.key_version)
    else:
        cipher = None if row.entry_key is None else vault.entry_key(row.entry_key)
    content = _opened(row, row.body, cipher, origin=origin, part="B")
    d_size, s_size = body_lengths(content)
    d_end = BODY_START + d_size
    if len(content) < d_end + s_size:
        raise InvalidTag
    return content, d_end, d_end + s_size


def _opened(row: EntryRow, sealed: bytes, cipher: AESGCM | None, *, origin: str, part: str) -> bytes:
    if cipher is None:
        raise _erased(row, "the key")
    if len(sealed) < NONCE_SIZE + TAG_SIZE:
        raise InvalidTag
    # An actor is under the entry's key, whatever version of the person's key the body is under by now.
    version = row.key_version if part == "B" else KEY_VERSION
    data = associated_data(origin.encode(), row.number, part.encode(), version)
    content = cipher.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], data)
    if len(content) < (BODY_START if part == "B" else SALT_SIZE):
        raise InvalidTag
    return content


def _erased(row: EntryRow, what: str) -> Erased:
    return Erased("opening-erased", f"{what} of entry {row.number} was erased, or this is not the log's vault")
