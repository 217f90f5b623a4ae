from __future__ import annotations

import contextlib
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator_audit import Entry, Invalid, part, read_part
from integrator_audit.parts import check_entries, check_entry, commitment, leaf_entry, part_hash
from tests.unit.audit.audit_samples import ORIGIN, PEOPLE, entry, institution_entry

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = TEXT.filter(lambda key: not (key.isascii() and key.isdigit()) and key != "schema")
VALUES = st.recursive(
    TEXT | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


def test_a_part_is_compact_json_with_its_schema_first_and_its_keys_in_order() -> None:
    data = part("disclosure.a/v1", {"z": "é\n", "a": [1, True, {"k": "v"}]})
    assert data == '{"schema":"disclosure.a/v1","z":"é\\n","a":[1,true,{"k":"v"}]}'.encode()
    assert list(read_part(data)) == ["schema", "z", "a"]


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_a_part_says_comes_back_from_its_one_form(members: dict[str, object]) -> None:
    data = part("any/v1", members)
    assert read_part(data) == {"schema": "any/v1", **members}
    assert json.dumps(json.loads(data), ensure_ascii=False, separators=(",", ":")).encode() == data


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(Invalid):
        read_part(data)


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), None, 2**53, -(2**53), "\ud800", b"bytes", {"1": 2}, {3: 4}, {"007": 1}, [None], {1, 2}],
)
def test_what_has_no_single_form_is_refused(value: object) -> None:
    with pytest.raises(Invalid):
        part("any/v1", {"key": value})


def test_a_part_is_nested_32_deep_at_most() -> None:
    value: object = "x"
    for _ in range(31):
        value = [value]
    assert read_part(part("any/v1", {"key": value}))["key"] == value
    with pytest.raises(Invalid):
        part("any/v1", {"key": [value]})
    with pytest.raises(Invalid):
        read_part(b'{"schema":"any/v1","key":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    with pytest.raises(Invalid):
        read_part(b'{"schema":"any/v1","key":' + b"[" * 20_000 + b"]" * 20_000 + b"}")


@pytest.mark.parametrize("schema", ["", "any", "any/v0", "any/v01", "Any/v1", "any/v1/", "/v1", "any /v1"])
def test_a_schema_is_a_name_and_a_version(schema: str) -> None:
    with pytest.raises(Invalid):
        part(schema, {})


def test_a_part_has_a_limit() -> None:
    with pytest.raises(Invalid):
        part("any/v1", {"key": "x" * 65_536})


@pytest.mark.parametrize(
    "data",
    [
        b'{"schema":"any/v1","a":1,"a":1}',
        b'{"schema":"any/v1", "a":1}',
        b'{"schema":"any/v1","a":1}\n',
        b'\xef\xbb\xbf{"schema":"any/v1"}',
        b'{"a":1,"schema":"any/v1"}',
        b'{"schema":"any/v1","a":-0}',
        b'{"schema":"any/v1","a":1.0}',
        b'{"schema":"any/v1","a":1e3}',
        b'{"schema":"any/v1","a":NaN}',
        b'{"schema":"any/v1","a":null}',
        b'{"schema":"any/v1","a":9007199254740992}',
        b'{"schema":"any/v1","a":' + b"9" * 5000 + b"}",
        b'{"schema":"any/v1","a":"\\u0041"}',
        b'{"schema":"any/v1","a":"\\/"}',
        b'{"schema":"any/v1","a":"\\ud800"}',
        b'{"schema":"any/v1","a":"\xff"}',
        b'{"schema":"any/v1","1":1}',
        b'{"schema":1}',
        b"{}",
        b"[]",
        b"1",
    ],
)
def test_bytes_that_are_not_the_one_form_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        read_part(data)


def test_the_commitment_is_the_one_of_the_format() -> None:
    hashes = b""
    for letter in "ADSP":
        salt, data = letter.encode() * 32, b"bytes of " + letter.encode()
        expected = sha256(b"dienstenintegrator/part/v1\x00" + letter.encode() + salt + data).digest()
        assert part_hash(letter, salt, data) == expected
        hashes += expected
    origin = sha256(ORIGIN.encode()).digest()
    expected = sha256(b"dienstenintegrator/entry/v1\x00" + origin + b"\x01" + hashes).digest()
    assert commitment(ORIGIN, 0x01, hashes) == expected
    assert leaf_entry(0x01, expected) == b"\x01" + expected
    assert len(leaf_entry(0x01, expected)) == 33


def test_entries_of_both_types_have_their_shape() -> None:
    check_entry(entry(1))
    check_entry(entry(1, actor="somebody"))
    check_entry(institution_entry(1))
    check_entry(institution_entry(1, actor="somebody"))
    check_entry(entry(1)._replace(recipient="x" * 255, identity=bytes(1024), at=2**53 - 1))


A = part("a/v1", {})


@pytest.mark.parametrize(
    "wrong",
    [
        Entry(0x01, A, A, A, b"", None),
        Entry(0x01, A, A, A, b"", b"short"),
        Entry(0x01, b"", A, A, b"", PEOPLE[0]),
        Entry(0x01, A, b"", A, b"", PEOPLE[0]),
        Entry(0x01, A, A, b"", b"", PEOPLE[0]),
        Entry(0x01, A, A, b"not a part", b"", PEOPLE[0]),
        Entry(0x01, A, A, A[:-1], b"", PEOPLE[0]),
        Entry(0x02, A, b"", b"", b"", PEOPLE[0]),
        Entry(0x02, A, A, b"", b"", None),
        Entry(0x02, A, b"", A, b"", None),
        Entry(0x02, b"", b"", b"", b"", None),
        Entry(0x03, A, b"", b"", b"", None),
        Entry(0x10, A, A, A, b"", PEOPLE[0]),
        Entry(0x01, A, A, A, b"not a part", PEOPLE[0]),
        Entry(0x01, A[:-1], A, A, b"", PEOPLE[0]),
        Entry(0x01, A, A[:-1], A, b"", PEOPLE[0]),
        Entry(0x01, A, b'{"other":1}', A, b"", PEOPLE[0]),
        Entry(0x01, A, A[:-2] + b"x" * 65_536 + A[-2:], A, b"", PEOPLE[0]),
        entry(1)._replace(retention=3),
        entry(1)._replace(at=-1),
        entry(1)._replace(at=2**53),
        entry(1)._replace(recipient="x" * 256),
        entry(1)._replace(identity=bytes(1025)),
        institution_entry(1)._replace(identity=b"x"),
        institution_entry(1)._replace(listed=False),
    ],
)
def test_an_entry_of_another_shape_is_refused_alone_and_among_others(wrong: Entry) -> None:
    with pytest.raises(Invalid):
        check_entry(wrong)
    with pytest.raises(Invalid):
        check_entries([entry(1), wrong, entry(2)])
