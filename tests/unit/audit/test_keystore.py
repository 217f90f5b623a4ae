"""Holds the vault's key classes, versions, identities, labels and generations, and that what is destroyed is gone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integrator_audit import Invalid, Refused, Tampered, Unavailable, Vault
from integrator_audit.generationkeys import FileGenerationKeys, SingleKey
from integrator_audit.keystore import key_class
from tests.unit.audit.audit_samples import PEOPLE

NONCE = bytes(12)
TEN, TWENTY = key_class(53, 10), key_class(53, 20)
ONE, OTHER = PEOPLE[:2]


@pytest.fixture
def keys(tmp_path: Path) -> FileGenerationKeys:
    (tmp_path / "keys").mkdir()
    keys = FileGenerationKeys(tmp_path / "keys")
    keys.make()
    return keys


@pytest.fixture
def vault(tmp_path: Path, keys: FileGenerationKeys) -> Vault:
    return Vault.open(tmp_path / "vault", keys)


def again(tmp_path: Path) -> Vault:
    return Vault.read_only(tmp_path / "vault", FileGenerationKeys(tmp_path / "keys"))


def test_a_key_class_is_a_half_year_and_a_length_of_retention() -> None:
    assert key_class(53, 20) == 53 * 256 + 20


def test_a_person_has_another_key_in_each_class(vault: Vault) -> None:
    found = vault.people([(ONE, TEN), (ONE, TWENTY), (OTHER, TEN)])
    boxes = {found[one].cipher.encrypt(NONCE, b"body", b"") for one in found}
    assert len(boxes) == 3
    assert {key.version for key in found.values()} == {1}
    assert vault.person(OTHER, key_class(53, 2)) is None


def test_a_renewed_key_seals_from_now_on_and_the_former_still_opens(tmp_path: Path, vault: Vault) -> None:
    first = vault.people([(ONE, TEN)])[ONE, TEN]
    box = first.cipher.encrypt(NONCE, b"body", b"")
    counted = vault.destructions()
    assert vault.renew((ONE, TEN)).version == 2
    assert vault.destructions() > counted
    assert vault.people([(ONE, TEN)])[ONE, TEN].version == 2
    former = vault.person(ONE, TEN, 1)
    assert former is not None
    assert former.decrypt(NONCE, box, b"") == b"body"
    vault.destroy_older((ONE, TEN), 2)
    assert again(tmp_path).person(ONE, TEN, 1) is None
    assert again(tmp_path).person(ONE, TEN, 2) is not None


def test_no_label_key_stands_in_the_file_in_the_clear(tmp_path: Path, vault: Vault) -> None:
    vault.people([(ONE, TEN)])
    vault.keep_labels({ONE: b"a label key to look for"}, 53)
    vault.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert len(stored) > 8_000
    assert b"to look for" not in stored


def test_who_was_destroyed_and_comes_again_gets_a_key_of_a_newer_version(tmp_path: Path, vault: Vault) -> None:
    vault.people([(person, TEN) for person in PEOPLE])
    vault.destroy(people=[(ONE, TEN)])
    assert vault.person(ONE, TEN) is None
    fresh = vault.people([(ONE, TEN), (OTHER, TEN)])
    assert (fresh[ONE, TEN].version, fresh[OTHER, TEN].version) == (2, 1)
    assert again(tmp_path).person(ONE, TEN, 2) is not None
    vault.destroy(people=[(ONE, TEN)])
    assert (vault.person(ONE, TEN, 1), vault.person(ONE, TEN, 2)) == (None, None)
    assert vault.people([(ONE, TEN)])[ONE, TEN].version == 2


def test_a_tree_that_was_not_committed_is_not_remembered(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = vault._tables
    real = tables.transaction

    @contextmanager
    def failing() -> Generator[None]:
        with real():
            yield
            raise KeyboardInterrupt

    monkeypatch.setattr(tables, "transaction", failing)
    with pytest.raises(KeyboardInterrupt):
        vault.people([(ONE, TEN)])
    monkeypatch.undo()
    assert vault.person(ONE, TEN) is None
    key = vault.people([(ONE, TEN)])[ONE, TEN].cipher.encrypt(NONCE, b"body", b"")
    found = vault.person(ONE, TEN)
    assert found is not None
    assert found.encrypt(NONCE, b"body", b"") == key


def test_label_keys_are_kept_by_person_and_half_year_and_the_first_stays(tmp_path: Path, vault: Vault) -> None:
    vault.keep_labels({ONE: b"y1", OTHER: b"y2"}, 53)
    vault.keep_labels({ONE: b"y3"}, 53)
    vault.keep_labels({}, 53)
    assert again(tmp_path).labels(PEOPLE, 53) == {ONE: b"y1", OTHER: b"y2"}
    assert vault.labels(PEOPLE, 54) == {}
    vault.destroy(labels=[(ONE, 53), (ONE, 54)])
    assert vault.labels(PEOPLE, 53) == {OTHER: b"y2"}
    assert vault.destroy_labels(53) == 1
    assert vault.labels(PEOPLE, 53) == {}


def test_what_was_destroyed_is_not_used_again_by_another_process_that_knew_it(
    tmp_path: Path, keys: FileGenerationKeys, vault: Vault
) -> None:
    other = Vault.open(tmp_path / "vault", keys)
    box = other.people([(ONE, TEN)])[ONE, TEN].cipher.encrypt(NONCE, b"body", b"")
    vault.destroy(people=[(ONE, TEN)])
    assert other.people([(ONE, TEN)])[ONE, TEN].cipher.encrypt(NONCE, b"body", b"") != box


def test_a_whole_class_is_destroyed_at_the_end_of_its_retention(tmp_path: Path, vault: Vault) -> None:
    vault.people([(person, wanted) for person in PEOPLE for wanted in (TEN, TWENTY)])
    assert vault.destroy_class(TEN) == 1
    assert vault.destroy_class(TEN) == 0
    assert again(tmp_path).person(ONE, TEN) is None
    assert again(tmp_path).person(ONE, TWENTY) is not None


def test_destroyed_keys_are_in_no_byte_of_the_files(tmp_path: Path, vault: Vault) -> None:
    """Neither what was deleted nor the seeds on the way to who was cut out, however they were wrapped."""
    entry = vault.entry_keys(1)[0]
    vault.people([(person, TEN) for person in PEOPLE])
    vault.renew((ONE, TEN))
    with sqlite3.connect(tmp_path / "vault") as connection:
        wrapped = [row[0] for row in connection.execute("SELECT wrapped FROM person")]
        wrapped += [row[0] for row in connection.execute("SELECT wrapped FROM entry_key")]
        wrapped += [row[0] for row in connection.execute("SELECT wrapped FROM node")]
    connection.close()
    assert len(wrapped) == 3
    vault.destroy(people=[(ONE, TEN)], entries=[entry.id])
    assert vault.entry_key(entry.id) is None
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert not [one for one in (*wrapped, ONE, entry.id) if one in stored]


def test_everything_opens_after_a_change_of_generation_and_nothing_under_the_former_one(
    tmp_path: Path, keys: FileGenerationKeys, vault: Vault
) -> None:
    many = [number.to_bytes(32, "big") for number in range(20)]
    vault.people([(one, TEN) for one in many])
    vault.destroy(people=[(many[1], TEN)])
    renewed = vault.renew((many[2], TEN))
    box = vault.people([(many[7], TEN)])[many[7], TEN].cipher.encrypt(NONCE, b"body", b"")
    entry = vault.entry_keys(2_500)[1]
    vault.keep_labels({many[3]: b"y"}, 53)
    backup = (tmp_path / "backup").absolute()
    with sqlite3.connect(tmp_path / "vault") as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    connection.close()
    seen: list[tuple[int, int]] = []
    assert vault.rewrap(lambda done, total: seen.append((done, total))) == 2
    # Six opened nodes of the tree, a renewed key, the entries' keys and a label.
    assert seen[-1] == (2_508, 2_508)
    assert vault.retire() == [1]
    assert not (tmp_path / "keys" / "vault-generation-1").exists()
    new = again(tmp_path)
    key = new.person(many[7], TEN)
    assert key is not None
    assert key.decrypt(NONCE, box, b"") == b"body"
    assert new.entry_key(entry.id) is not None
    assert new.labels([many[3]], 53) == {many[3]: b"y"}
    assert new.person(many[1], TEN) is None
    assert new.person(many[2], TEN, renewed.version) is not None
    # What is made from now on is of the new generation.
    vault.people([(ONE, TEN)])
    assert again(tmp_path).person(ONE, TEN) is not None
    with pytest.raises(Refused):
        Vault.read_only(backup, keys)


def test_a_change_of_generation_goes_on_after_a_crash_in_the_middle(
    tmp_path: Path, keys: FileGenerationKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault.open(tmp_path / "vault", keys)
    vault.people([(bytes(32), TEN)])
    vault.entry_keys(2_500)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vault.rewrap(stop)
    with pytest.raises(Refused) as caught:
        vault.retire()
    assert caught.value.code == "vault-generation-used"
    vault.close()
    following = Vault.open(tmp_path / "vault", keys)
    assert following.person(bytes(32), TEN) is not None
    assert following.rewrap() == 2, "no third generation"
    assert following.retire() == [1]
    assert following.retire() == []
    assert following.rewrap() == 3


def test_one_key_alone_wraps_and_cannot_make_the_next(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "vault", SingleKey(bytes(32)))
    vault.people([(ONE, TEN)])
    with pytest.raises(Refused) as caught:
        vault.rewrap()
    assert caught.value.code == "generation-keys"
    with pytest.raises(Refused):
        SingleKey(bytes(32)).destroy(1)


def test_a_wrapped_tree_moved_to_another_class_is_noticed(tmp_path: Path, vault: Vault) -> None:
    vault.people([(ONE, TEN), (ONE, TWENTY)])
    with sqlite3.connect(tmp_path / "vault") as connection:
        connection.execute("UPDATE node SET wrapped = (SELECT wrapped FROM node WHERE class = ?)", (TEN,))
    connection.close()
    following = again(tmp_path)
    assert following.person(ONE, TEN) is not None
    with pytest.raises(Tampered):
        following.person(ONE, TWENTY)


def test_generation_keys_are_files_that_only_their_owner_reads(tmp_path: Path, keys: FileGenerationKeys) -> None:
    assert (keys.newest(), keys.make(), keys.newest()) == (1, 2, 2)
    file = tmp_path / "keys" / "vault-generation-2"
    assert (file.stat().st_mode & 0o777, len(file.read_bytes())) == (0o600, 32)
    assert keys.key(1) != keys.key(2) == file.read_bytes()
    with pytest.raises(Refused):
        keys.destroy(2)
    keys.destroy(1)
    keys.destroy(1)
    assert (keys.key(1), keys.newest(), keys.make()) == (None, 2, 3)
    assert sorted(os.listdir(tmp_path / "keys")) == ["vault-generation-2", "vault-generation-3"]


def test_a_place_without_keys_or_with_a_short_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        FileGenerationKeys(tmp_path).newest()
    (tmp_path / "vault-generation-1").write_bytes(b"short")
    with pytest.raises(Invalid):
        FileGenerationKeys(tmp_path).key(1)
    with pytest.raises(Unavailable):
        FileGenerationKeys(tmp_path / "none").make()
