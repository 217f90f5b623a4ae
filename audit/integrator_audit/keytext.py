"""The texts of keys, `name+identifier+base64(type ‖ key)`: each is read only when its parts belong together.

- Source: https://c2sp.org/signed-note and `golang.org/x/mod/sumdb/note`. Logs and witnesses have keys of different
  types, in the same texts. A secret one begins with `PRIVATE+KEY+`: it has the seed and its public half's identifier.
- The identifier says name, type and public key at once, so that a key cannot be taken for one of another type.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from integrator_audit.encoding import from_base64, to_base64
from integrator_audit.errors import Invalid

KEY_SIZE = 32
"""Bytes of an Ed25519 key, public or secret."""
KEY_ID_SIZE = 4

_PRIVATE_PREFIX = "PRIVATE+KEY+"
_FIELD = (1 << 255) - 19
_OF_SMALL_ORDER = frozenset(
    {
        *(0, 1, _FIELD - 1),
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
"""The y coordinates of the eight points of Ed25519 under which everybody can sign."""


def check_name(name: str) -> str:
    """Return a key's name, or raise `Invalid`.

    SPEC signed-note: "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus (U+002B) characters."
    """
    if not name or "+" in name or any(character.isspace() or character < " " for character in name):
        raise Invalid("key-name", "a key's name is not empty and has no spaces, control characters or plus signs")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Invalid("key-name", "a key's name is valid Unicode") from error
    return name


def key_id(name: str, signature_type: int, public_key: bytes) -> bytes:
    """Return the four bytes that name a key beside its name: SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]."""
    return sha256(name.encode() + b"\n" + bytes([signature_type]) + public_key).digest()[:KEY_ID_SIZE]


def public_text(name: str, key_type: int, public_key: bytes) -> str:
    """Return the text of a public key."""
    return _text(name, key_id(name, key_type, public_key), key_type, public_key)


def read_public(text: str, sizes: Mapping[int, int], *, what: str) -> tuple[str, int, bytes]:
    """Return name, type and key of a public key's text; `sizes` maps the allowed types to the bytes of their keys.

    Raises `Invalid` (`vkey`) for any other text, and for an Ed25519 key under which everybody can sign.
    """
    name, identifier, key_type, public_key = _read(text, sizes, what=what)
    if identifier != key_id(name, key_type, public_key).hex():
        raise Invalid("vkey", f"the identifier of {what} does not belong to its name and key")
    if len(public_key) == KEY_SIZE:
        _check_point(public_key)
    return name, key_type, public_key


def secret_text(name: str, key_type: int, seed: bytes) -> str:
    """Return the text of a secret Ed25519 key, which is a secret itself."""
    return _PRIVATE_PREFIX + _text(name, key_id(name, key_type, public_half(seed)), key_type, seed)


def read_secret(text: str, key_type: int, *, what: str) -> tuple[str, bytes]:
    """Return name and seed of a secret Ed25519 key's text. Raises `Invalid` (`signing-key`, `vkey`) for any other."""
    if not text.startswith(_PRIVATE_PREFIX):
        raise Invalid("signing-key", f"{what} does not start with {_PRIVATE_PREFIX}")
    name, identifier, _, seed = _read(text.removeprefix(_PRIVATE_PREFIX), {key_type: KEY_SIZE}, what=what)
    if identifier != key_id(name, key_type, public_half(seed)).hex():
        raise Invalid("signing-key", f"the identifier of {what} does not belong to its name and key")
    return name, seed


def new_seed() -> bytes:
    """Make a fresh secret Ed25519 key."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def public_half(seed: bytes) -> bytes:
    """Return the public key of a secret Ed25519 key."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _text(name: str, identifier: bytes, key_type: int, key: bytes) -> str:
    return f"{name}+{identifier.hex()}+{to_base64(bytes([key_type]) + key)}"


def _read(text: str, sizes: Mapping[int, int], *, what: str) -> tuple[str, str, int, bytes]:
    fields = text.split("+", 2)
    if len(fields) != 3:
        raise Invalid("vkey", f"{what} is not of the form name+identifier+base64")
    name, identifier, encoded = fields
    key = from_base64(encoded, what=what)
    if not key or sizes.get(key[0]) != len(key) - 1:
        types = " or ".join(f"0x{known:02x}" for known in sizes)
        raise Invalid("vkey", f"{what} is not a key of type {types} with the length of such keys")
    return check_name(name), identifier, key[0], key[1:]


def _check_point(public_key: bytes) -> None:
    """Raise `Invalid` (`vkey`) for an Ed25519 key of small order, in any encoding.

    RFC 8032 lets such keys verify: a signature under one is everybody's, so two signed histories would prove nothing
    against their signer. Go and OpenSSL take them as well; signatures that are not reduced both refuse.
    """
    y = (int.from_bytes(public_key, "little") & (1 << 255) - 1) % _FIELD
    if y in _OF_SMALL_ORDER:
        raise Invalid("vkey", "the key is of small order: everybody can sign for it")
