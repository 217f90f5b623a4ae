"""Openings that do not hold, each changed in one way, with the code of the error that says so."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from integrator_audit.note import Signature, Verifier, join_note
from integrator_audit.witnessing.cosignature import CosignerKey, signed_message
from tests.vectors.accepted import NESTED, NOBODY, ONE, TWO_OF_THREE, Case, compact, witness_lines
from tests.vectors.log import (
    LOG,
    NOW,
    ORIGIN,
    OTHER_SHARD,
    OTHER_SIGNER,
    SHARD,
    SIGNER,
    WITNESSES,
    Log,
    disclosure,
    encoded,
    fiction,
)

MALFORMED, PART, COMMITMENT = "opening-malformed", "opening-part", "opening-commitment"
CHECKPOINT, INDEX, OTHER = "opening-checkpoint", "opening-index", "opening-origin"
QUORUM, COSIGNATURE = "receipt-quorum", "receipt-cosignature"

SMALL_ORDER = [
    number.to_bytes(32, "little")
    for y in (0, 1, 2**255 - 20, 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826)
    for number in (y, y + (1 << 255), (1 << 255) - 19 - y)
]
"""Encodings of points of Ed25519 under which everybody can sign, also with the other sign and not reduced."""

BASE = LOG.opening(5, "AS")
TEXT = compact(BASE)


def changed(name: str, code: str, **members: Any) -> Case:
    """Replace members of the opening; None takes one away."""
    opening = {key: value for key, value in (BASE | members).items() if value is not None}
    return Case(name, compact(opening), code)


def swapped(name: str, old: bytes, new: bytes) -> Case:
    """Replace bytes of the file."""
    assert old in TEXT, name
    return Case(name, TEXT.replace(old, new, 1), MALFORMED)


def part_of(letter: str, **members: Any) -> dict[str, Any]:
    return BASE[letter] | members


def flipped(text: str, at: int = 0) -> str:
    data = bytearray(base64.b64decode(text))
    data[at] ^= 1
    return encoded(bytes(data))


def files() -> Iterator[Case]:
    """Yield files that are not JSON as everybody reads it."""
    yield Case("file: nothing", b"", MALFORMED)
    yield Case("file: no JSON", b"An opening.", MALFORMED)
    yield Case("file: a list", b"[" + TEXT + b"]", MALFORMED)
    yield Case("file: cut off", TEXT[:-1], MALFORMED)
    yield Case("file: two documents", TEXT + TEXT, MALFORMED)
    yield Case("file: a byte order mark", b"\xef\xbb\xbf" + TEXT, MALFORMED)
    yield Case("file: UTF-16", TEXT.decode().encode("utf-16"), MALFORMED)
    yield Case("file: no UTF-8", TEXT.replace(b"vectors", b"v\xe9ctors"), MALFORMED)
    yield swapped("file: a key twice, the false one last", b'"index":5', b'"index":5,"index":6')
    yield swapped("file: a key twice, the true one last", b'"index":5', b'"index":6,"index":5')
    yield swapped("file: a key twice, once in escapes", b'"index":5', b'"index":6,"\\u0069ndex":5')
    yield swapped("file: a key twice, deeper", b'"salt":', b'"bytes":"","salt":')
    yield swapped("file: the index as a float", b'"index":5', b'"index":5.0')
    yield swapped("file: the index with an exponent", b'"index":5', b'"index":5e0')
    yield swapped("file: the index with a zero before", b'"index":5', b'"index":05')
    yield swapped("file: NaN", b'"index":5', b'"index":NaN')
    yield swapped("file: a negative zero", b'"index":5', b'"index":-0')
    yield swapped("file: an index that no float holds", b'"index":5', b'"index":9007199254740993')
    yield swapped("file: an index of many digits", b'"index":5', b'"index":' + b"1" * 400)
    yield swapped("file: null", b'"index":5', b'"index":5,"A":null')
    yield swapped("file: a key of digits", b'"index":5', b'"index":5,"7":1')
    yield swapped("file: the key __proto__", b'"index":5', b'"index":5,"__proto__":{"index":5}')
    yield swapped("file: a surrogate without its pair", b'"index":5', b'"index":5,"note":"\\ud800"')
    yield swapped("file: nested 33 deep", b'"index":5', b'"index":5,"note":' + b"[" * 32 + b"]" * 32)
    yield swapped("file: nested 5000 deep", b'"index":5', b'"index":5,"note":' + b"[" * 5000 + b"]" * 5000)
    yield swapped("file: a comma too many", b'"index":5', b'"index":5,')
    yield swapped("file: a comment", b'"index":5', b'"index":5/**/')
    yield swapped("file: a newline in a text", b'"origin":"', b'"origin":"\n')


def members() -> Iterator[Case]:
    """Yield documents that are no openings."""
    for key in ("origin", "index", "type", "A", "S", "hD", "hP", "proof"):
        yield changed(f"no {key}", MALFORMED, **{key: None})
    yield changed("a part and its hash", MALFORMED, hA=BASE["hD"])
    yield changed("a hash and its part", MALFORMED, D=BASE["A"])
    yield changed("an unknown key", MALFORMED, note="trust me")
    yield changed("an unknown key with a comma", MALFORMED, **{"A,S": "trust me"})
    for key, value in (
        ("origin", 7),
        ("origin", [ORIGIN]),
        ("index", "5"),
        ("index", True),
        ("index", [5]),
        ("type", "1"),
    ):
        yield changed(f"{key} is {json.dumps(value)[:8]}", MALFORMED, **{key: value})
    yield changed("type true", MALFORMED, type=True)
    yield changed("type 3", MALFORMED, type=3)
    yield changed("type 16", MALFORMED, type=16)
    yield changed("part A is a text", MALFORMED, A="text")
    yield changed("part A is a list", MALFORMED, A=[BASE["A"]])
    yield changed("part A without salt", MALFORMED, A={"bytes": BASE["A"]["bytes"]})
    yield changed("part A with more", MALFORMED, A=part_of("A", hash=BASE["hD"]))
    yield changed("bytes that are a number", MALFORMED, A=part_of("A", bytes=7))
    yield changed("a hash that is true", MALFORMED, hD=True)
    yield changed("a salt of 31 bytes", MALFORMED, A=part_of("A", salt=encoded(bytes(31))))
    yield changed("a salt of 33 bytes", MALFORMED, A=part_of("A", salt=encoded(bytes(33))))
    yield changed("a hash of 31 bytes", MALFORMED, hD=encoded(bytes(31)))
    text = str(BASE["hD"])
    yield changed("base64 without padding", MALFORMED, hD=text.rstrip("="))
    yield changed("base64 with a newline", MALFORMED, hD=text + "\n")
    yield changed("base64 with a space", MALFORMED, hD=text[:8] + " " + text[8:])
    yield changed(
        "base64 of the other alphabet", MALFORMED, hD=encoded(b"\xfb\xff" * 16).replace("+", "-").replace("/", "_")
    )
    loose = encoded(bytes(32))
    yield changed("base64 with loose bits", MALFORMED, hD=loose[:-2] + "B=")


def statements() -> Iterator[Case]:
    """Yield openings of entries whose parts were committed in a form that two readers could read differently."""
    good = b'{"schema":"example/a/v1","b":1}'
    for name, data in {
        "spaces": good.replace(b":1", b": 1"),
        "a newline at the end": good + b"\n",
        "a key twice": good[:-1] + b',"b":2}',
        "a key of digits": good[:-1] + b',"7":2}',
        "a key of digits with zeros before": good[:-1] + b',"007":2}',
        "a needless escape": good[:-1] + b',"c":"\\u0041"}',
        "an escaped slash": good[:-1] + b',"c":"\\/"}',
        "an upper-case escape": good[:-1] + b',"c":"\\u001F"}',
        "a float": good.replace(b":1", b":1.5"),
        "an integer as a float": good.replace(b":1", b":1.0"),
        "an exponent as JavaScript writes it": good.replace(b":1", b":1e+21"),
        "a negative zero": good.replace(b":1", b":-0"),
        "an integer of 2^53": good.replace(b":1", b":9007199254740992"),
        "null": good.replace(b":1", b":null"),
        "a surrogate without its pair": good[:-1] + b',"c":"\\ud800"}',
        "a key with a surrogate without its pair": good[:-1] + b',"\\udc00":1}',
        "no UTF-8": good[:-1] + b',"c":"\xff"}',
        "a surrogate in UTF-8": good[:-1] + b',"c":"\xed\xa0\x80"}',
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "no object": b"[1]",
        "no JSON": b"part A",
        "no schema": b'{"b":1}',
        "a schema that is not first": b'{"b":1,"schema":"example/a/v1"}',
        "a schema of another form": b'{"schema":"Example/a/v1"}',
        "a schema with version 0": b'{"schema":"example/a/v0"}',
        "a schema that is no text": b'{"schema":7}',
        "33 levels": b'{"schema":"example/a/v1","b":' + b"[" * 32 + b"]" * 32 + b"}",
        "5000 levels": b'{"schema":"example/a/v1","b":' + b"[" * 5000 + b"]" * 5000 + b"}",
    }.items():
        log = Log([disclosure(0, A=data), disclosure(1)])
        yield Case(f"part with {name}", compact(log.opening(0, "AS")), PART)


def bindings() -> Iterator[Case]:
    """Yield openings whose parts, hashes, index or log were exchanged for others."""
    a, s = base64.b64decode(BASE["A"]["bytes"]), base64.b64decode(BASE["S"]["bytes"])
    yield changed("a byte of A", COMMITMENT, A=part_of("A", bytes=encoded(a.replace(b"dienst", b"Dienst"))))
    yield changed("a byte of S", COMMITMENT, S=part_of("S", bytes=encoded(s.replace(b"10:00", b"11:00"))))
    yield changed("a field less in A", COMMITMENT, A=part_of("A", bytes=encoded(a.replace(b'"naam",', b""))))
    yield changed("A emptied", COMMITMENT, A=part_of("A", bytes=""))
    yield changed("a salt", COMMITMENT, A=part_of("A", salt=flipped(BASE["A"]["salt"], 31)))
    yield changed("a hash", COMMITMENT, hD=flipped(BASE["hD"]))
    yield changed("hashes of two parts exchanged", COMMITMENT, hD=BASE["hP"], hP=BASE["hD"])
    yield changed("two parts exchanged", COMMITMENT, A=BASE["S"], S=BASE["A"])
    yield changed("the type", COMMITMENT, type=2)
    yield changed("the index", INDEX, index=6)
    yield changed("a negative index", INDEX, index=-5)
    other = LOG.opening(6, "AS")
    yield changed("parts of another entry", COMMITMENT, A=other["A"], S=other["S"], hD=other["hD"], hP=other["hP"])
    yield changed("the proof of another entry", INDEX, proof=other["proof"])
    yield changed("index and proof of another entry", COMMITMENT, index=6, proof=other["proof"])
    yield changed("part D of another delivery under hD's name", COMMITMENT, hD=LOG.opening(6, "A")["hD"])
    yield changed("another origin", OTHER, origin=OTHER_SHARD)
    replayed = SHARD.opening(4, "AS")
    yield Case("an entry of another shard, under its own name", compact(replayed), OTHER)
    yield Case("an entry of another shard, renamed", compact(replayed | {"origin": ORIGIN}), CHECKPOINT)
    copied = Log([*LOG.entries[:4], LOG.entries[5]], OTHER_SIGNER)
    replay = BASE | {"origin": OTHER_SHARD, "index": 4, "proof": encoded(copied.receipt(4).text)}
    yield Case("a commitment replayed in another shard", compact(replay), COMMITMENT, vkey=OTHER_SIGNER.vkey)
    yield Case("another key of the same name", TEXT, CHECKPOINT, vkey=replace(SIGNER, seed=fiction("another")).vkey)
    key = SIGNER.verifier
    spaced = replace(key, name="vectors example")
    for name, vkey in (
        ("a witness's key for the log's", WITNESSES["w1"].key.vkey),
        ("a key with another identifier", key.vkey.replace(key.key_id.hex(), "0" * 8)),
        ("a key whose identifier is in capitals", key.vkey.replace(key.key_id.hex(), key.key_id.hex().upper())),
        ("a key whose name has a space", spaced.vkey),
        ("a key of 31 bytes", replace(key, public_key=key.public_key[:31]).vkey),
        ("a key that is not base64 in its one form", key.vkey + "="),
        ("a key without identifier", f"{key.name}+{encoded(key.public_key)}"),
    ):
        yield Case(name, TEXT, "vkey", vkey=vkey)


def proofs() -> Iterator[Case]:
    """Yield openings whose proof is not one, or one of something else."""
    receipt = LOG.receipt(5)

    def proof(name: str, code: str, **members: Any) -> Case:
        return changed(name, code, proof=encoded(replace(receipt, **members).text))

    def text(name: str, old: bytes, new: bytes) -> Case:
        assert old in receipt.text, name
        return changed(name, MALFORMED, proof=encoded(receipt.text.replace(old, new, 1)))

    first, second, *rest = receipt.hashes
    yield proof("a hash of the proof", COMMITMENT, hashes=(bytes(32), second, *rest))
    yield proof("two hashes of the proof exchanged", COMMITMENT, hashes=(second, first, *rest))
    yield proof("a hash of the proof less", COMMITMENT, hashes=receipt.hashes[:-1])
    yield proof("a hash of the proof more", COMMITMENT, hashes=(*receipt.hashes, bytes(32)))
    yield proof("no hashes", COMMITMENT, hashes=())
    outside = BASE | {"index": 13, "proof": encoded(replace(receipt, index=13).text)}
    yield Case("an index outside the log", compact(outside), COMMITMENT)
    single = Log(LOG.entries[:1])
    beyond = single.opening(0, "AS", replace(single.receipt(0), index=1)) | {"index": 1}
    yield Case("the second of a log of one", compact(beyond), COMMITMENT)
    empty = replace(LOG.checkpoint(), size=0, root=base64.b64decode("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="))
    yield proof("an empty log", COMMITMENT, hashes=(), checkpoint=empty.sign(SIGNER))
    yield proof("64 hashes", MALFORMED, hashes=tuple(bytes(32) for _ in range(64)))
    yield proof("an extra line", MALFORMED, extra=b"trust me")
    yield changed("no tlog-proof", MALFORMED, proof=encoded(b"proof"))
    yield changed("an empty proof", MALFORMED, proof="")
    yield text("another version of tlog-proof", b"@v1", b"@v2")
    yield text("no index line", b"index 5\n", b"")
    yield text("an index with a zero before", b"index 5", b"index 05")
    yield text("another word for the index", b"index 5", b"label 5")
    yield text("an index with a sign", b"index 5", b"index +5")
    yield text("an index of 2^63", b"index 5", b"index 9223372036854775808")
    yield text("lines that end in CR LF", b"index 5\n", b"index 5\r\n")
    yield text("a hash of 31 bytes in the proof", encoded(first).encode(), encoded(bytes(31)).encode())
    yield text("no empty line before the checkpoint", b"\n\n", b"\n")
    yield text("an empty line too many before the checkpoint", b"\n\n", b"\n\n\n")


def notes() -> Iterator[Case]:
    """Yield openings whose checkpoint is malformed, unsigned, or says something else than was signed."""
    good = LOG.receipt(5).checkpoint
    text = LOG.checkpoint().text

    def note(name: str, code: str, data: bytes) -> Case:
        assert data != good, name
        return changed(name, code, proof=encoded(replace(LOG.receipt(5), checkpoint=data).text))

    def signed(name: str, code: str, said: bytes, *more: Signature) -> Case:
        return note(name, code, said + b"\n" + SIGNER.signature(said).line + b"".join(item.line for item in more))

    root = encoded(LOG.checkpoint().root).encode()
    yield note("another size", CHECKPOINT, good.replace(b"\n13\n", b"\n14\n"))
    yield note("another root", CHECKPOINT, good.replace(root, encoded(bytes(32)).encode()))
    yield note(
        "another log in the note", CHECKPOINT, good.replace(ORIGIN.encode() + b"\n", OTHER_SHARD.encode() + b"\n")
    )
    yield signed("another log, signed by this one", CHECKPOINT, text.replace(ORIGIN.encode(), OTHER_SHARD.encode()))
    yield note("the signature of another note", CHECKPOINT, text + b"\n" + SIGNER.signature(b"another\n").line)
    yield note("a signature cut off", CHECKPOINT, text + b"\n" + replace(SIGNER.signature(text), value=b"\1" * 63).line)
    twice = [SIGNER.signature(text), replace(SIGNER.signature(text), value=bytes(64))]
    yield note("a true and a false signature", CHECKPOINT, join_note(text, twice))
    stranger = replace(SIGNER, seed=fiction("stranger"))
    yield note("signed by a stranger of the same name", CHECKPOINT, text + b"\n" + stranger.signature(text).line)
    posing = replace(stranger.signature(text), key_id=SIGNER.verifier.key_id)
    yield note("signed by a stranger under the log's identifier", CHECKPOINT, text + b"\n" + posing.line)
    renamed = replace(SIGNER.signature(text), name="other.example/log")
    yield note("signed under another name", CHECKPOINT, text + b"\n" + renamed.line)
    cosigned = replace(SIGNER.signature(text), value=LOG.cosignature("w1").value)
    yield note("a cosignature for the signature", CHECKPOINT, text + b"\n" + cosigned.line)
    yield note("unsigned", MALFORMED, text + b"\n")
    yield note("no empty line", MALFORMED, text + SIGNER.signature(text).line)
    yield note("no newline at the end", MALFORMED, good[:-1])
    yield note("another character for the last newline", MALFORMED, good[:-1] + b"=")
    yield note("a hyphen for the dash", MALFORMED, good.replace("\u2014".encode(), b"-"))
    yield note("a line after the signatures", MALFORMED, good + b"trust me\n")
    yield note("no UTF-8 in the note", MALFORMED, good + b"\xff\n")
    yield signed("a tab", MALFORMED, text.replace(b"\n13\n", b"\n13\t\n"))
    yield signed("an extension line", MALFORMED, text + b"trust me\n")
    yield signed("a size with a zero before", MALFORMED, text.replace(b"\n13\n", b"\n013\n"))
    yield signed("a size that is no number", MALFORMED, text.replace(b"\n13\n", b"\nXIII\n"))
    yield signed("a root of 31 bytes", MALFORMED, text.replace(root, encoded(bytes(31)).encode()))
    yield signed("a root that is not base64 in its one form", MALFORMED, text.replace(b"=\n", b"\n"))
    yield signed("an origin with a space", MALFORMED, text.replace(ORIGIN.encode(), b"vectors example"))
    yield signed("an empty log with a root", MALFORMED, text.replace(b"\n13\n", b"\n0\n"))
    yield signed("an unknown name with a plus", MALFORMED, text, Signature("a+b", b"\0\0\0\0", b"?"))
    yield signed("an unknown name with U+0085", MALFORMED, text, Signature("a\u0085b", b"\0\0\0\0", b"?"))
    yield signed("an unknown name without letters", MALFORMED, text, Signature("", b"\0\0\0\0", b"?"))
    yield signed("an identifier without signature", MALFORMED, text, Signature("a", b"\0\0\0\0", b""))
    unknown = [Signature(f"a{number}", b"\0\0\0\0", b"?") for number in range(16)]
    yield signed("17 signatures", MALFORMED, text, *unknown)


def witnesses() -> Iterator[Case]:
    """Yield openings that the log proves and no quorum vouches for, and policies that are none."""

    def case(name: str, code: str, policy: str, *cosignatures: Signature) -> Case:
        return Case(name, compact(LOG.opening(5, "AD", LOG.cosigned(5, *cosignatures))), code, policy)

    w1, w2, v1 = (LOG.cosignature(name) for name in ("w1", "w2", "v1"))
    yield case("nobody cosigned", QUORUM, ONE)
    yield case("one of the two that are asked", QUORUM, TWO_OF_THREE, w1)
    yield case("one witness twice", QUORUM, TWO_OF_THREE, w1, LOG.cosignature("w1", time=NOW))
    yield case("a witness that the policy does not know", QUORUM, TWO_OF_THREE, w1, v1)
    yield case("one group of two", QUORUM, NESTED, w1, w2, v1)
    yield case("a cosignature without a time", QUORUM, ONE, replace(w1, value=bytes(8) + signature_at(0)))
    yield case("a cosignature from the future", QUORUM, ONE, LOG.cosignature("w1", time=NOW + 301))
    yield case("a cosignature of a smaller log", COSIGNATURE, ONE, Log(LOG.entries[:5]).cosignature("w1"))
    yield case("a cosignature with another time", COSIGNATURE, ONE, replace(w1, value=bytes(7) + b"\1" + w1.value[8:]))
    yield case("a cosignature cut off", COSIGNATURE, ONE, replace(w1, value=w1.value[:-1]))
    yield case("a cosignature too long", COSIGNATURE, ONE, replace(w1, value=w1.value + b"\0"))
    late = (1 << 63).to_bytes(8, "big") + signature_at(1 << 63)
    yield case("a cosignature after 2^63 seconds", COSIGNATURE, ONE, replace(w1, value=late))
    yield case(
        "a false cosignature beside a quorum",
        COSIGNATURE,
        TWO_OF_THREE,
        w1,
        w2,
        replace(v1, name="witness.example/w3", key_id=WITNESSES["w3"].key.key_id),
    )
    yield case(
        "a plain signature for a cosignature",
        COSIGNATURE,
        ONE,
        replace(w1, value=SIGNER.signature(LOG.checkpoint().text).value),
    )
    yield case("the log as its own witness", QUORUM, ONE, replace(w1, key_id=SIGNER.verifier.key_id))
    yield case("a policy for another log", "receipt-log", f"log {OTHER_SIGNER.vkey}\n{ONE}", w1)
    yield from (case(f"policy: {name}", "policy", policy, w1, w2) for name, policy in bad_policies())


def keys() -> Iterator[Case]:
    """Yield openings of logs whose key is nobody's: a signature that everybody can make fits any text."""
    for number, point in enumerate(SMALL_ORDER):
        weak = Verifier(ORIGIN, point)
        text, forged = LOG.checkpoint().text, (1).to_bytes(32, "little") + bytes(32)
        note = join_note(text, [Signature(ORIGIN, weak.key_id, forged)])
        opening = BASE | {"proof": encoded(replace(LOG.receipt(5), checkpoint=note).text)}
        yield Case(f"a key of small order, {number}", compact(opening), "vkey", vkey=weak.vkey)


def signature_at(time: int) -> bytes:
    """Return what w1 signs as of a time that `Cosigner.cosign` refuses to state."""
    return replace(SIGNER, seed=WITNESSES["w1"].seed).signature(signed_message(LOG.checkpoint().text, time)).value


def bad_policies() -> Sequence[tuple[str, str]]:
    """Return policies that break a rule of tlog-policy."""
    one, two = witness_lines("w1"), witness_lines("w1", "w2")
    return [
        ("empty", ""),
        ("no quorum", one),
        ("two quorums", ONE + "quorum none\n"),
        ("a quorum of nobody known", one + "quorum w2\n"),
        ("a quorum of two", two + "quorum w1 w2\n"),
        ("no newline at the end", ONE[:-1]),
        ("a carriage return", ONE.replace("\n", "\r\n")),
        ("an unknown word", ONE + "trust everybody\n"),
        ("another word for quorum", one + "trusted w1\n"),
        ("a name twice", one + witness_lines("w2").replace("witness w2", "witness w1") + "quorum w1\n"),
        ("a key twice", one + one.replace("witness w1", "witness w9") + "group g 2 w1 w9\nquorum g\n"),
        ("a log twice", f"log {SIGNER.vkey}\nlog {SIGNER.vkey}\n{ONE}"),
        ("the name none", one.replace("witness w1", "witness none") + "quorum none\n"),
        ("a group with none in it", one + "group g any w1 none\nquorum g\n"),
        ("a group without members", one + "group g all\nquorum w1\n"),
        ("a group of somebody later", "group g any w1\n" + one + "quorum g\n"),
        ("a member twice in a group", one + "group g 2 w1 w1\nquorum g\n"),
        ("a member of two groups", two + "group g any w1\ngroup h any w1 w2\ngroup i 2 g h\nquorum i\n"),
        ("a threshold of 0", two + "group g 0 w1 w2\nquorum g\n"),
        ("a threshold with a zero before", two + "group g 01 w1 w2\nquorum g\n"),
        ("a threshold above the members", two + "group g 3 w1 w2\nquorum g\n"),
        ("a threshold that is a word", two + "group g constructor w1 w2\nquorum g\n"),
        ("a log's key for a witness", f"witness w1 {SIGNER.vkey}\nquorum w1\n"),
        ("a witness's key for a log", f"log {WITNESSES['w1'].key.vkey}\n{NOBODY}"),
        (
            "a witness's key of small order",
            f"witness w1 {CosignerKey('weak', 0x04, SMALL_ORDER[1]).vkey}\nquorum none\n",
        ),
        ("a log with too much", f"log {SIGNER.vkey} https://a.example https://b.example\n{NOBODY}"),
    ]


def cases() -> list[Case]:
    """Return every case."""
    return [*files(), *members(), *statements(), *bindings(), *proofs(), *notes(), *witnesses(), *keys()]
