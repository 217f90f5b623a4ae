"""Base64 in its one canonical form, as every C2SP text of the ledger demands it."""

from __future__ import annotations

import base64
import binascii

from integrator_audit.errors import Invalid


def to_base64(data: bytes) -> str:
    """Encode with the standard alphabet and padding (RFC 4648 §4)."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str, *, what: str) -> bytes:
    """Decode; raise `Invalid` unless encoding again gives the same text. `what` names the field for the message."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Invalid("base64", f"{what} is not base64") from error
    # Trailing bits that a lenient decoder drops would give one value two texts.
    if to_base64(data) != text:
        raise Invalid("base64", f"{what} is not canonical base64")
    return data


def to_decimal(text: str, *, what: str) -> int:
    """Read an ASCII decimal below 2^63 without leading zeroes; raise `Invalid` otherwise."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text != "0" and text.startswith("0")):
        raise Invalid("decimal", f"{what} is not a decimal number without leading zeroes")
    number = int(text)
    if number >= 1 << 63:
        raise Invalid("decimal", f"{what} is too large")
    return number
