"""A person to look for: what of them stands where, and a search for it in every byte of some files."""

from __future__ import annotations

import base64
import errno
import os
import re
from binascii import Error
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

Needles = Mapping[str, Iterable[bytes]]
"""By what they are, the bytes that would give the person away; each is long enough to stand nowhere by chance."""

SHORTEST: Final = 5
_ENCODED: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_DEPTH: Final = 3


def forms(secret: bytes) -> list[bytes]:
    """Return a secret as it is, in hexadecimal and in both alphabets of base64, without its uncertain end."""
    whole = len(secret) * 8 // 6
    encoded = [base64.b64encode(secret)[:whole], base64.urlsafe_b64encode(secret)[:whole]]
    return [secret, secret.hex().encode(), *encoded]


def layers(data: bytes, depth: int = _DEPTH) -> Iterator[bytes]:
    """Yield the bytes, and what stands in them in base64, and so on."""
    yield data
    if depth:
        for run in set(_ENCODED.findall(data)):
            standard = run.translate(bytes.maketrans(b"-_", b"+/"))
            try:
                inner = base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
            except Error:
                continue
            yield from layers(inner, depth - 1)


def files_below(root: Path) -> dict[str, bytes]:
    """Return every file below a directory by its path in it: databases, their write-ahead logs, all of them."""
    return {str(path.relative_to(root)): written(path) for path in sorted(root.rglob("*")) if path.is_file()}


def written(path: Path) -> bytes:
    """Return what was ever written to a file: without its holes, which some programs make large in advance.

    Of a file that its program takes away meanwhile, nothing.
    """
    parts: list[bytes] = []
    try:
        with path.open("rb") as file:
            at, end = 0, os.fstat(file.fileno()).st_size
            while at < end:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
                file.seek(at)
                parts.append(file.read(hole - at))
                at = hole
    except FileNotFoundError:
        return b""
    except OSError as error:
        if error.errno != errno.ENXIO:  # a hole to the end
            raise
    return b"".join(parts)


def found(needles: Needles, files: Mapping[str, bytes], *, deep: bool = False) -> dict[str, set[str]]:
    """Return in which files each kind of needle stands; with `deep` also inside of base64."""
    searched = {name: list(layers(data)) if deep else [data] for name, data in files.items()}
    result: dict[str, set[str]] = {}
    for kind, secrets in needles.items():
        wanted = [form for secret in secrets for form in forms(secret)]
        assert wanted, f"there is nothing to look for as {kind}"
        assert min(map(len, wanted)) >= SHORTEST, f"a needle of {kind} may stand somewhere by chance"
        result[kind] = {
            name for name, parts in searched.items() if any(one in part for one in wanted for part in parts)
        }
    return result
