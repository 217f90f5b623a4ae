"""Orders to erase before the time: whose entries, and which of them.

    {"schema": "dienstenintegrator/erasure-order/v1", "order": "ORDER-7", "subject": <base64>}
    {"schema": …, "order": …, "subject": …, "entries": [{"origin": …, "indices": [4, 7]}, …]}

- Without `entries` everything that is kept about the person is meant. The subject is the 32-byte pseudonym: an order
  is a secret file, and nothing of it but its name is ever printed or kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from integrator_audit.encoding import from_base64
from integrator_audit.errors import Invalid
from integrator_audit.parts import PSEUDONYM_SIZE
from integrator_audit.tiles import MAX_INDEX

SCHEMA: Final = "dienstenintegrator/erasure-order/v1"
MAX_ORDER: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ErasureOrder:
    """An order called `name`. `chosen` maps origins to the indices that are meant; None: all of the person's."""

    name: str
    subject: bytes = field(repr=False)
    chosen: Mapping[str, frozenset[int]] | None = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> ErasureOrder:
        """Read an order; raise `Invalid` (`erasure-order`) when it is not of its form."""
        if len(data) > MAX_ORDER:
            raise Invalid("erasure-order", f"an order has at most {MAX_ORDER} bytes")
        try:
            document: object = json.loads(data.decode(), object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise Invalid("erasure-order", "the order is not a JSON object with each key once") from error
        if not isinstance(document, dict):
            raise Invalid("erasure-order", "an order is a JSON object")
        members = cast(dict[str, object], document)
        name, subject = members.get("order"), members.get("subject")
        if members.get("schema") != SCHEMA or not members.keys() <= {"schema", "order", "subject", "entries"}:
            raise Invalid(
                "erasure-order", f"an order has the schema {SCHEMA}, order, subject and entries, no other key"
            )
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Invalid("erasure-order", "the order's name has 1 to 100 letters, digits and . _ / -")
        pseudonym = from_base64(subject, what="the order's subject") if isinstance(subject, str) else b""
        if len(pseudonym) != PSEUDONYM_SIZE:
            raise Invalid("erasure-order", f"the order's subject is a pseudonym of {PSEUDONYM_SIZE} bytes, in base64")
        return cls(name, pseudonym, _chosen(members["entries"]) if "entries" in members else None)


def _once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError("a key stands twice")
        found[key] = value
    return found


def _chosen(value: object) -> Mapping[str, frozenset[int]]:
    malformed = Invalid(
        "erasure-order", "entries is a list of objects with an origin and the indices meant in that log"
    )
    if not isinstance(value, list) or not value:
        raise malformed
    chosen: dict[str, frozenset[int]] = {}
    for item in cast(list[object], value):
        members = cast(dict[str, object], item) if isinstance(item, dict) else {}
        origin, indices = members.get("origin"), members.get("indices")
        if not isinstance(origin, str) or origin in chosen or not isinstance(indices, list) or len(members) != 2:
            raise malformed
        numbers = cast(list[object], indices)
        if not numbers or any(type(number) is not int or not 0 <= number <= MAX_INDEX for number in numbers):
            raise malformed
        chosen[origin] = frozenset(cast(list[int], numbers))
    return chosen
