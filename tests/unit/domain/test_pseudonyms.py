"""Holds that a prepared key makes the same pseudonyms, and that a pairwise id is a UUID that tells nothing."""

from __future__ import annotations

import base64
import hmac
import uuid

from hypothesis import given
from hypothesis import strategies as st

from integrator.domain.identifiers import SubjectRef
from integrator.domain.pseudonyms import PairwiseEventIds, Pseudonyms, pairwise_key, pseudonym

PERSON = SubjectRef("test", "123456789012")


@given(st.binary(min_size=1, max_size=80))
def test_a_prepared_key_makes_the_same_pseudonyms(key: bytes) -> None:
    expected = hmac.digest(key, b"ledger\0test:123456789012", "sha256")
    assert Pseudonyms(key, "ledger").of(PERSON) == pseudonym(key, "ledger", PERSON) == expected
    assert Pseudonyms(key, "pairwise").key_of(PERSON) == pairwise_key(key, PERSON)
    padded = pairwise_key(key, PERSON) + b"="
    assert base64.urlsafe_b64decode(padded) == pseudonym(key, "pairwise", PERSON)


@given(st.binary(min_size=1, max_size=64), st.text(max_size=9), st.text(max_size=9))
def test_a_pairwise_id_is_a_uuid_of_version_8_from_the_keyed_hash(key: bytes, source: str, event: str) -> None:
    digest = hmac.digest(key, b"event\0" + source.encode() + b"\0" + event.encode(), "sha256")
    found = uuid.UUID(text := PairwiseEventIds(key, source).of(event))
    assert (found.version, found.variant, str(found)) == (8, uuid.RFC_4122, text)
    kept = (2**128 - 1) ^ (0xF << 76) ^ (0x3 << 62)
    assert found.int & kept == int.from_bytes(digest[:16], "big") & kept
