"""Names people and things so that a national number is never printed by accident and a name fits in a topic.

- A `SubjectRef` prints its scheme and hides its value; `canonical` is the one place where the number comes out.
- Names are `[a-z0-9-]+`, without a leading or trailing hyphen and without `--`, which separates agency from purpose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, NewType, assert_never, get_args

import stdnum.be.vat
import stdnum.nl.bsn
from pydantic import StringConstraints
from stdnum.exceptions import ValidationError

from integrator.domain.errors import Invalid

Scheme = Literal["bsn", "insz", "kbo", "test"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"
STREAM_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=60)]
"""The name of a source, an agency, a purpose or an authorisation."""
StreamName = Annotated[str, StringConstraints(pattern=STREAM_PATTERN, max_length=121)]
"""`<source>/<stream>`, as in `brp/person`."""

Pseudonym = NewType("Pseudonym", bytes)
"""32 bytes of HMAC-SHA256; which key made it depends on the room (directory, ledger, pairwise)."""
Position = NewType("Position", int)
"""A position in the directory: the offset of the next record to read."""

_TEST_NUMBER = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class SubjectRef:
    """A person or company: a scheme and a number without separators."""

    scheme: Scheme
    value: str

    @property
    def canonical(self) -> str:
        """`scheme:value`: the form that keys, partitions and pseudonyms are made of."""
        return f"{self.scheme}:{self.value}"

    def __repr__(self) -> str:
        return f"SubjectRef({self.scheme}:•••)"

    __str__ = __repr__

    @classmethod
    def of(cls, value: str, schemes: tuple[Scheme, ...]) -> SubjectRef:
        """Return the reference under the first of `schemes` for which `value` is a valid number.

        Raises `Invalid` (`subject-invalid`) when it is valid under none of them; the message does not repeat it.
        """
        for scheme in schemes:
            if is_valid(scheme, value):
                return cls(scheme, value)
        raise Invalid("subject-invalid", f"The number is not valid as {' or '.join(schemes)}.")

    @classmethod
    def parse(cls, canonical: str) -> SubjectRef:
        """Read `scheme:value`. Raises `Invalid` (`subject-invalid`)."""
        scheme, separator, value = canonical.partition(":")
        for known in SCHEMES:
            if separator and scheme == known and is_valid(known, value):
                return cls(known, value)
        raise Invalid("subject-invalid", f"Write a person as scheme:number, with a scheme of {', '.join(SCHEMES)}.")


def is_valid(scheme: Scheme, value: str) -> bool:
    """Tell whether `value` is a well-formed number of `scheme`, in its compact form.

    `bsn` is nine digits that pass the elfproef, `insz` eleven with their modulus, `kbo` ten with theirs;
    `test` is twelve digits and can never be a real person.
    """
    try:
        match scheme:
            case "bsn":
                # What `stdnum.nl.bsn.validate` checks, without its cleaning of separators: done for every record.
                compact = len(value) == 9 and value.isascii() and value.isdigit() and value != "000000000"
                return compact and stdnum.nl.bsn.checksum(value) == 0
            case "insz":
                # MAGDA's fictional people have months 61-72, which stdnum rightly refuses for real ones.
                return value.isascii() and len(value) == 11 and value.isdigit() and _insz_check(value)
            case "kbo":
                return len(value) == 10 and stdnum.be.vat.validate(value) == value
            case "test":
                return _TEST_NUMBER.fullmatch(value) is not None
    except ValidationError:
        return False
    assert_never(scheme)


def _insz_check(value: str) -> bool:
    body, check = value[:9], int(value[9:])
    return check in (97 - int(body) % 97, 97 - int("2" + body) % 97)


def split_stream(stream: str) -> tuple[str, str]:
    """Split `brp/person` into source and stream."""
    source, _, name = stream.partition("/")
    return source, name
