from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from integrator_audit import Invalid, Refused, Tampered, verify_opening
from integrator_audit.audience import AUDIENCES, audience_of, check_audience
from integrator_audit.openingfile import MAX_OPENING, opening_json, opening_proof, read_opening
from integrator_audit.receipt import HEADER, Receipt
from integrator_audit.strictjson import MAX_DEPTH, read_object
from tests.unit.audit.audit_samples import Place, signer
from tests.unit.audit.schema_check import breaches, schema


def strict(data: bytes) -> dict[str, object]:
    return read_object(data, what="it", limit=10_000)


def test_a_strict_document_may_be_written_with_any_spaces_order_and_escapes() -> None:
    data = '{ "b":\t[1, -5, true, false, {"k": "\\u0041\\/é"}],\n"a": "\\ud83d\\ude00" }\r\n'.encode()
    assert strict(data) == {"b": [1, -5, True, False, {"k": "A/é"}], "a": "\U0001f600"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b"{} {}",
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":1}',
        b'{"a":{"b":[{"c":1,"c":2}]}}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":9007199254740992}',
        b'{"a":-9007199254740992}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":01}',
        b'{"a":null}',
        b'{"a":{"12":1}}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":"\n"}',
        b'{"a":1} // why',
        b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b'{"a":' * 1_500 + b"1" + b"}" * 1_500,
        b'{"a":"' + b"x" * 10_000 + b'"}',
    ],
)
def test_what_two_readers_could_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        strict(data)
    assert caught.value.code == "document"


def test_the_depth_and_numbers_at_the_limit_are_read() -> None:
    assert strict(b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}")
    assert strict(b'{"a":9007199254740991,"b":-9007199254740991}')["b"] == -(2**53) + 1


@pytest.mark.parametrize(("audience", "letters"), AUDIENCES.items())
def test_each_audience_gets_its_parts_in_either_form_of_file(filled: Place, audience: str, letters: str) -> None:
    opening = filled.reader().opening(30, letters)
    check_audience(opening, audience)
    assert audience_of(opening) == audience
    for file in (opening_json(opening), opening_proof(opening), json.dumps(opening, indent=2).encode()):
        read = read_opening(file)
        assert read == opening
        assert set(verify_opening(read, signer().verifier).parts) == set(letters)
    assert opening_proof(opening).startswith(HEADER.encode() + b"\nextra ")
    assert not list(breaches(read_opening(opening_json(opening)), schema("opening.v1"), schema("opening.v1")))


@pytest.mark.parametrize("letters", ["", "A", "S", "ADS", "ASP", "DS"])
def test_more_or_less_than_an_audience_may_know_is_refused(filled: Place, letters: str) -> None:
    opening = filled.reader().opening(30, letters)
    assert audience_of(opening) is None
    for audience in AUDIENCES:
        with pytest.raises(Refused) as caught:
            check_audience(opening, audience)
        assert caught.value.code == "opening-audience"


def test_the_salt_of_part_s_never_reaches_a_recipient(filled: Place) -> None:
    with pytest.raises(Refused):
        check_audience(filled.reader().opening(30, "ADS"), "recipient")
    file = opening_proof(filled.reader().opening(30, "AD"))
    said = json.loads(Receipt.parse(file).extra)
    assert "hS" in said
    assert "S" not in said


def test_the_public_is_shown_no_single_entry(filled: Place) -> None:
    with pytest.raises(Invalid):
        check_audience(filled.reader().opening(30, ""), "public")


def with_extra(file: bytes, extra: bytes) -> bytes:
    receipt = Receipt.parse(file)
    return Receipt(receipt.index, receipt.hashes, receipt.checkpoint, extra).text


def test_the_extra_line_of_a_proof_has_one_form(filled: Place) -> None:
    file = opening_proof(filled.reader().opening(30))
    extra = Receipt.parse(file).extra
    assert read_opening(with_extra(file, extra))
    wrong = [
        b"",
        b"trust me",
        extra + b"\n",
        b" " + extra,
        extra.replace(b'{"origin"', b'{"index":30,"origin"'),
        extra[:-1] + b',"note":"trust me"}',
        extra[:-1] + b',"proof":""}',
        json.dumps(dict(reversed(json.loads(extra).items())), separators=(",", ":")).encode(),
    ]
    for other in wrong:
        with pytest.raises(Tampered) as caught:
            read_opening(with_extra(file, other))
        assert caught.value.code == "opening-malformed"


def test_a_changed_extra_line_does_not_verify(filled: Place) -> None:
    file = opening_proof(filled.reader().opening(30))
    extra = json.loads(Receipt.parse(file).extra)
    extra["A"]["bytes"] = base64.b64encode(b'{"schema":"sample.a/v1"}').decode()
    changed = with_extra(file, json.dumps(extra, separators=(",", ":")).encode())
    with pytest.raises(Tampered) as caught:
        verify_opening(read_opening(changed), signer().verifier)
    assert caught.value.code == "opening-commitment"


def test_a_file_that_is_too_large_is_not_read(filled: Place) -> None:
    opening = filled.reader().opening(30)
    for file in (opening_json(opening), opening_proof(opening)):
        with pytest.raises(Tampered) as caught:
            read_opening(file + b" " * MAX_OPENING)
        assert caught.value.code == "opening-malformed"


def test_an_opening_too_large_for_a_proof_says_to_write_json(filled: Place) -> None:
    opening = dict(filled.reader().opening(30))
    opening["A"] = {"salt": "", "bytes": "A" * 49_152}
    with pytest.raises(Invalid) as caught:
        opening_proof(opening)
    assert caught.value.code == "opening-too-large"


def test_a_schema_refuses_what_is_no_opening(filled: Place) -> None:
    rules, opening = schema("opening.v1"), dict(filled.reader().opening(30))
    for wrong in (
        opening | {"hA": opening["hD"]},
        opening | {"note": ""},
        opening | {"index": -1},
        opening | {"type": 3},
        opening | {"hD": "AAAA"},
        {name: opening[name] for name in opening if name != "hP"},
    ):
        assert list(breaches(wrong, rules, rules))


def test_the_schemas_ship_with_the_library() -> None:
    folder = Path(__file__).parents[3] / "audit" / "integrator_audit" / "documents"
    names = {file.name.removesuffix(".json") for file in folder.iterdir()}
    assert {"opening.v1", "public.v1"} <= names
    for name in names:
        found = schema(name)
        assert found["$id"] == f"urn:dienstenintegrator:{name.replace('.', ':')}"
