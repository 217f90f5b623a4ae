"""Openings that hold: for each audience, in each shape of log, written in many ways, with and without witnesses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from integrator_audit.note import Signature, join_note
from integrator_audit.witnessing.cosignature import CosignerKey
from tests.vectors.log import (
    INSTITUTION,
    LOG,
    NOW,
    SHARD,
    SIGNER,
    WITNESSES,
    Log,
    Opening,
    disclosure,
    encoded,
    fiction,
)

Proved = dict[str, Any]


class Case(NamedTuple):
    """A file, what a verifier is given beside it, and what must come of it: what it proves, or the code of an error."""

    name: str
    file: bytes
    expected: Proved | str
    policy: str | None = None
    vkey: str = SIGNER.vkey
    now: int = NOW


def compact(opening: Opening) -> bytes:
    return json.dumps(opening, ensure_ascii=False, separators=(",", ":")).encode()


def proved(log: Log, index: int, letters: str) -> Proved:
    entry = log.entries[index]
    parts = {letter: json.loads(entry.parts[letter] or b"{}") for letter in letters}
    said = {"origin": log.origin, "index": index, "size": len(log.entries), "type": entry.type, "parts": parts}
    return said | {"root": encoded(log.checkpoint().root)}


def opened(name: str, log: Log, index: int, letters: str) -> Case:
    return Case(name, compact(log.opening(index, letters)), proved(log, index, letters), vkey=log.signer.vkey)


def witness_lines(*names: str) -> str:
    return "".join(f"witness {name} {WITNESSES[name].key.vkey}\n" for name in names)


TWO_OF_THREE = witness_lines("w1", "w2", "w3") + "group all-three 2 w1 w2 w3\nquorum all-three\n"
NESTED = (
    f"# one of ours and both of theirs\nlog {SIGNER.vkey} https://vectors.example/\n\n"
    + witness_lines("w1", "w2", "v1", "v2")
    + "group ours any w1 w2\ngroup theirs all v1 v2\n\tgroup everybody all ours  theirs \nquorum everybody\n"
)
ONE = witness_lines("w1") + "quorum w1\n"
TWO_KEYS = f"log {SIGNER.vkey}\nlog {CosignerKey(SIGNER.name, 0x06, bytes(1312)).vkey}\n{ONE}"
NOBODY = "quorum none\n"

# As deep as a part may be: 32 nested lists and objects, the part itself counted.
DEEPEST = b'{"schema":"example/deep/v1","in":' + b"[" * 31 + b"1" + b"]" * 31 + b"}"
ODDEST = (
    '{"schema":"x.1-y/z.2/v99999","__proto__":{"constructor":true},"01a":-9007199254740991,"":9007199254740991,'
    '"\u00e9":"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/\u007f\u2028\u2029\ufeff\U0001f600","empty":[{},[],"",false,0]}'
).encode()
ODD = Log([disclosure(0, S=ODDEST), disclosure(1, S=DEEPEST), disclosure(2, A=b"")])


def audiences() -> Iterator[Case]:
    """Yield an opening for each audience and for institution entries, in logs of every small size."""
    yield opened("citizen", LOG, 5, "AS")
    yield opened("recipient", LOG, 5, "AD")
    yield opened("supervisor, nobody acted", LOG, 5, "ADSP")
    yield opened("supervisor, somebody acted", LOG, 8, "ADSP")
    yield opened("nothing opened", LOG, 3, "")
    yield opened("institution, the step only", INSTITUTION, 1, "A")
    yield opened("institution, everything", INSTITUTION, 2, "ADSP")
    yield opened("another shard under its own key", SHARD, 4, "AS")
    for size in (1, 2, 3, 4, 7, 8):
        yield opened(f"first of {size}", Log(LOG.entries[:size]), 0, "AS")
    yield opened("last of 7", Log(LOG.entries[:7]), 6, "AS")
    yield opened("last of 13", LOG, 12, "AS")
    yield opened("oddest texts, numbers and names", ODD, 0, "AS")
    yield opened("deepest part", ODD, 1, "AS")
    yield opened("empty part A", ODD, 2, "AS")


def writings() -> Iterator[Case]:
    """Yield one opening written in other ways, as a person's tools may save it."""
    opening, expected = LOG.opening(5, "AS"), proved(LOG, 5, "AS")
    text = compact(opening)
    for name, file in {
        "indented": json.dumps(opening, indent=2).encode(),
        "spaces of every kind": text.replace(b",", b" ,\r\n\t").replace(b":", b"\t: ") + b"\n\n",
        "keys in another order": compact(dict(reversed(opening.items()))),
        "slashes escaped": text.replace(b"/", b"\\/"),
        "letters escaped": text.replace(b"origin", b"\\u006fr\\u0069gin"),
    }.items():
        yield Case(f"written with {name}", file, expected)
    unknown = [Signature(f"unknown.example/{number}", b"\0\1\2\3", b"?") for number in range(13)]
    same_name = Signature(LOG.origin, b"\0\0\0\0", fiction("no signature") * 2)
    other_name = replace(SIGNER.signature(LOG.checkpoint().text), name="unknown.example/same-id")
    for name, receipt in {
        "signatures of unknown keys, 16 in all": LOG.cosigned(5, *unknown, same_name, other_name),
        "the log's signature twice": LOG.cosigned(5, SIGNER.signature(LOG.checkpoint().text)),
        "the log's signature last": replace(
            LOG.receipt(5),
            checkpoint=join_note(LOG.checkpoint().text, [same_name, SIGNER.signature(LOG.checkpoint().text)]),
        ),
    }.items():
        yield Case(f"signed with {name}", compact(LOG.opening(5, "AS", receipt)), expected)


def witnessed() -> Iterator[Case]:
    """Yield openings that a quorum vouches for."""
    for name, policy, witnesses in (
        ("two of three", TWO_OF_THREE, ("w1", "w3")),
        ("three of three where two are asked", TWO_OF_THREE, ("w1", "w2", "w3")),
        ("groups of groups", NESTED, ("w2", "v1", "v2")),
        ("a single witness", ONE, ("w1",)),
        ("nobody, where nobody is asked", NOBODY, ()),
        ("a witness, where the log's post-quantum key is listed too", TWO_KEYS, ("w1",)),
        ("others beside, unknown to the policy", ONE, ("w2", "w1", "v1")),
    ):
        signatures = [LOG.cosignature(witness) for witness in witnesses]
        file = compact(LOG.opening(5, "AD", LOG.cosigned(5, *signatures)))
        yield Case(f"cosigned by {name}", file, proved(LOG, 5, "AD"), policy)
    for name, time in (("years ago", 1), ("by a clock five minutes ahead", NOW + 300)):
        file = compact(LOG.opening(5, "AD", LOG.cosigned(5, LOG.cosignature("w1", time=time))))
        yield Case(f"cosigned {name}", file, proved(LOG, 5, "AD"), ONE)
    both = [LOG.cosignature("w1", time=NOW + 301), LOG.cosignature("w1", time=NOW)]
    file = compact(LOG.opening(5, "AD", LOG.cosigned(5, *both)))
    yield Case("cosigned once in the future and once now", file, proved(LOG, 5, "AD"), ONE)


def cases() -> list[Case]:
    """Return every case."""
    return [*audiences(), *writings(), *witnessed()]
