from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from integrator_audit import Invalid, LedgerReader, Refused, Signer, Tampered, verify_opening
from integrator_audit.receipt import Receipt
from tests.unit.audit.audit_samples import ORIGIN, Place, signer

Opening = dict[str, Any]


@pytest.fixture
def opening(filled: Place) -> Opening:
    return json.loads(json.dumps(filled.reader().opening(300)))


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def flipped(text: str, at: int = 0) -> str:
    data = bytearray(decoded(text))
    data[at] ^= 1
    return encoded(bytes(data))


def test_an_opening_says_what_was_entered_and_proves_it(opening: Opening) -> None:
    assert list(opening) == ["origin", "index", "type", "A", "hD", "S", "hP", "proof"]
    result = verify_opening(opening, signer().verifier)
    assert (result.origin, result.index, result.size, result.type) == (ORIGIN, 300, 785, 0x01)
    assert result.parts["A"]["schema"] == "sample.a/v1"
    assert result.parts["S"]["number"] == result.parts["A"]["number"]
    assert set(result.parts) == {"A", "S"}


@pytest.mark.parametrize("parts", ["", "A", "AD", "ADSP", "SP"])
def test_any_parts_can_be_opened_and_the_others_stay_hashes(filled: Place, parts: str) -> None:
    opening = filled.reader().opening(12, parts)
    assert {key for key in opening if key in "ADSP"} == set(parts)
    assert set(verify_opening(opening, signer().verifier).parts) == set(parts)


def test_every_entry_opens_and_verifies(filled: Place) -> None:
    reader = filled.reader()
    numbers = [
        verify_opening(reader.opening(index, "ADSP"), signer().verifier).parts["A"]["number"]
        for index in reader.indices(limit=785)
    ]
    assert sorted(numbers) == list(range(785))  # type: ignore[type-var]


def test_the_proof_is_a_receipt_that_stands_alone(opening: Opening) -> None:
    receipt = Receipt.parse(decoded(opening["proof"]))
    assert receipt.index == 300
    assert receipt.checkpoint.startswith(f"{ORIGIN}\n785\n".encode())


CHANGES: dict[str, tuple[str, Callable[[Opening], Opening]]] = {
    "a byte of A": ("opening-commitment", lambda o: o | {"A": part_with(o["A"], '"svb"', '"uwv"')}),
    "a byte of S": ("opening-commitment", lambda o: o | {"S": part_with(o["S"], '"subject"', '"parents"')}),
    "a salt": ("opening-commitment", lambda o: o | {"A": o["A"] | {"salt": flipped(o["A"]["salt"])}}),
    "a hash": ("opening-commitment", lambda o: o | {"hD": flipped(o["hD"])}),
    "two parts exchanged": ("opening-commitment", lambda o: o | {"A": o["S"], "S": o["A"]}),
    "the type": ("opening-commitment", lambda o: o | {"type": 2}),
    "the index": ("opening-index", lambda o: o | {"index": 301}),
    "the index in the proof too": ("opening-commitment", lambda o: with_receipt(o | {"index": 301}, index=301)),
    "an index outside": ("opening-commitment", lambda o: with_receipt(o | {"index": 785}, index=785)),
    "a hash of the proof": ("opening-commitment", lambda o: with_receipt(o, hashes=(bytes(32),))),
    "the origin": ("opening-origin", lambda o: o | {"origin": ORIGIN.replace("s0", "s1")}),
    "the checkpoint's size": ("opening-checkpoint", lambda o: with_note(o, b"\n785\n", b"\n784\n")),
    "another log's note": ("opening-checkpoint", lambda o: with_note(o, ORIGIN.encode(), b"x.example/log")),
    "whitespace in a part": ("opening-part", lambda o: o | {"A": part_with(o["A"], ":", ": ")}),
    "a duplicate key": ("opening-part", lambda o: o | {"A": part_with(o["A"], "}", ',"number":1}')}),
    "no proof": ("opening-malformed", lambda o: {key: o[key] for key in o if key != "proof"}),
    "no hash": ("opening-malformed", lambda o: {key: o[key] for key in o if key != "hP"}),
    "part and hash": ("opening-malformed", lambda o: o | {"hA": o["hD"]}),
    "an unknown key": ("opening-malformed", lambda o: o | {"extra": 1}),
    "a short salt": ("opening-malformed", lambda o: o | {"A": o["A"] | {"salt": "AAAA"}}),
    "a short hash": ("opening-malformed", lambda o: o | {"hD": "AAAA"}),
    "bad base64": ("opening-malformed", lambda o: o | {"hD": o["hD"] + "\n"}),
    "a part that is text": ("opening-malformed", lambda o: o | {"A": "text"}),
    "an index that is text": ("opening-malformed", lambda o: o | {"index": "300"}),
    "an index that is true": ("opening-malformed", lambda o: o | {"index": True}),
    "a proof that is not one": ("opening-malformed", lambda o: o | {"proof": "AAAA"}),
    "an extra line in the proof": ("opening-malformed", lambda o: with_receipt(o, extra=b"trust me")),
}


def part_with(value: dict[str, str], old: str, new: str) -> dict[str, str]:
    text = decoded(value["bytes"]).decode()
    assert old in text
    return value | {"bytes": encoded(text.replace(old, new).encode())}


def with_receipt(opening: Opening, **changes: Any) -> Opening:
    receipt = Receipt.parse(decoded(opening["proof"]))
    fields = {"index": receipt.index, "hashes": receipt.hashes, "checkpoint": receipt.checkpoint} | changes
    return opening | {"proof": encoded(Receipt(**fields).text)}


def with_note(opening: Opening, old: bytes, new: bytes) -> Opening:
    note = Receipt.parse(decoded(opening["proof"])).checkpoint
    return with_receipt(opening, checkpoint=note.replace(old, new))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_opening_is_refused_and_says_why(opening: Opening, change: str) -> None:
    code, make = CHANGES[change]
    with pytest.raises(Tampered) as caught:
        verify_opening(make(copy.deepcopy(opening)), signer().verifier)
    assert caught.value.code == code


def test_every_flipped_byte_of_a_whole_opening_is_refused(opening: Opening) -> None:
    text = json.dumps(opening).encode()
    for at in range(0, len(text), 7):
        data = bytearray(text)
        data[at] ^= 1
        try:
            changed = json.loads(bytes(data))
        except ValueError:
            continue
        if changed == opening:
            continue
        with pytest.raises(Tampered):
            verify_opening(changed, signer().verifier)


def test_another_key_opens_nothing(opening: Opening) -> None:
    with pytest.raises(Tampered):
        verify_opening(opening, Signer.generate(ORIGIN).verifier)


def test_the_entry_of_another_log_does_not_pass_for_ours(opening: Opening) -> None:
    other = ORIGIN.replace("s0", "s1")
    with pytest.raises(Tampered):
        verify_opening(opening | {"origin": other}, Signer.generate(other).verifier)


def test_encrypted_parts_do_not_open_without_the_vault(filled: Place) -> None:
    reader = LedgerReader.open(filled.ledger_file)
    assert "A" in reader.opening(0, "A")
    with pytest.raises(Refused) as caught:
        reader.opening(0, "AS")
    assert caught.value.code == "opening-needs-vault"


def test_an_opening_of_no_entry_or_no_part_is_invalid(filled: Place) -> None:
    reader = filled.reader()
    for index in (-1, 785):
        with pytest.raises(Invalid):
            reader.opening(index)
    with pytest.raises(Invalid):
        reader.opening(0, "AX")
