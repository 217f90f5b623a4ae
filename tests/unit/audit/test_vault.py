from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from integrator_audit import Invalid, Refused, Tampered, Unavailable, Vault
from integrator_audit.keystore import key_class
from tests.unit.audit.audit_samples import GENERATION_KEY, PEOPLE

NONCE = bytes(12)
CLASS = key_class(53, 20)


def in_class(people: list[bytes]) -> list[tuple[bytes, int]]:
    return [(person, CLASS) for person in people]


def test_a_person_keeps_the_key_that_was_made_first(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "v", GENERATION_KEY)
    box = vault.people(in_class(PEOPLE[:2]))[PEOPLE[0], CLASS].cipher.encrypt(NONCE, b"body", b"")
    vault.close()
    again = Vault.open(tmp_path / "v", GENERATION_KEY)
    assert again.people(in_class(PEOPLE))[PEOPLE[0], CLASS].cipher.decrypt(NONCE, box, b"") == b"body"
    key = Vault.read_only(tmp_path / "v", GENERATION_KEY).person(PEOPLE[0], CLASS)
    assert key is not None
    assert key.decrypt(NONCE, box, b"") == b"body"


def test_two_ledgers_on_one_file_agree_on_a_persons_key(tmp_path: Path) -> None:
    one, other = Vault.open(tmp_path / "v", GENERATION_KEY), Vault.open(tmp_path / "v", GENERATION_KEY)
    box = one.people(in_class(PEOPLE[:3]))[PEOPLE[2], CLASS].cipher.encrypt(NONCE, b"body", b"")
    assert other.people(in_class(PEOPLE[1:]))[PEOPLE[2], CLASS].cipher.decrypt(NONCE, box, b"") == b"body"


def test_who_has_no_key_gets_none_by_reading(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "v", GENERATION_KEY)
    assert vault.person(PEOPLE[0], CLASS) is None
    assert vault.entry_key(bytes(16)) is None


def test_entries_get_keys_of_their_own(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "v", GENERATION_KEY)
    keys = vault.entry_keys(3)
    assert len({key.id for key in keys}) == 3
    box = keys[0].cipher.encrypt(NONCE, b"body", b"")
    found = vault.entry_key(keys[0].id)
    assert found is not None
    assert found.decrypt(NONCE, box, b"") == b"body"


def test_another_generation_key_is_refused(tmp_path: Path) -> None:
    Vault.open(tmp_path / "v", GENERATION_KEY).close()
    for make in (Vault.open, Vault.read_only):
        with pytest.raises(Refused) as caught:
            make(tmp_path / "v", bytes(32))
        assert caught.value.code == "vault-other-key"
    with pytest.raises(Invalid):
        Vault.open(tmp_path / "v", b"short")


def test_a_vault_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Vault.read_only(tmp_path / "v", GENERATION_KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_or_moved_wrapped_key_is_noticed(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "v", GENERATION_KEY)
    vault.people(in_class(PEOPLE[:2]))
    with sqlite3.connect(tmp_path / "v") as connection:
        connection.execute(
            "UPDATE person SET wrapped = (SELECT wrapped FROM person WHERE pseudonym = ?) WHERE pseudonym = ?",
            (PEOPLE[0], PEOPLE[1]),
        )
    with pytest.raises(Tampered):
        vault.person(PEOPLE[1], CLASS)


def test_more_people_than_one_query_takes_get_their_keys(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "v", GENERATION_KEY)
    people = [number.to_bytes(32, "big") for number in range(1700)]
    assert set(vault.people(in_class(people[:900]))) == set(in_class(people[:900]))
    vault.close()
    assert set(Vault.open(tmp_path / "v", GENERATION_KEY).people(in_class(people))) == set(in_class(people))
