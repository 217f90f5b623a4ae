"""What a vault must do whatever tables it is kept in. A subclass of `KeyStoreContract` gives the fixture `kept`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit import Invalid, Refused, Tampered, Unavailable, Vault
from integrator_audit.generationkeys import FileGenerationKeys, GenerationKeys
from integrator_audit.keystore import key_class
from tests.unit.audit.audit_samples import GENERATION_KEY, PEOPLE

NONCE = bytes(12)
CLASS = key_class(53, 20)


class Kept(Protocol):
    """A place for one vault."""

    @property
    def place(self) -> Path | str:
        """Return what `Vault.open` takes."""
        ...

    def change(self, statement: str) -> None:
        """Change rows behind the vault's back."""
        ...


def in_class(people: list[bytes]) -> list[tuple[bytes, int]]:
    return [(person, CLASS) for person in people]


def is_key(cipher: AESGCM | None, other: AESGCM) -> bool:
    """Say whether two ciphers have one key."""
    return cipher is not None and cipher.encrypt(NONCE, b"body", b"") == other.encrypt(NONCE, b"body", b"")


@pytest.fixture
def generations(tmp_path: Path) -> FileGenerationKeys:
    keys = FileGenerationKeys(tmp_path)
    keys.make()
    return keys


class KeyStoreContract:
    """Subclass it, and give the fixture `kept`."""

    @pytest.fixture
    def kept(self) -> Kept:
        raise NotImplementedError("a subclass says where the vault is kept")

    def open(self, kept: Kept, keys: GenerationKeys | bytes = GENERATION_KEY) -> Vault:
        return Vault.open(kept.place, keys)

    def test_a_person_keeps_the_key_that_was_made_first(self, kept: Kept) -> None:
        vault = self.open(kept)
        cipher = vault.people(in_class(PEOPLE[:2]))[PEOPLE[0], CLASS].cipher
        vault.close()
        assert is_key(self.open(kept).people(in_class(PEOPLE))[PEOPLE[0], CLASS].cipher, cipher)
        assert is_key(Vault.read_only(kept.place, GENERATION_KEY).person(PEOPLE[0], CLASS), cipher)

    def test_two_ledgers_on_one_vault_agree_on_a_persons_key(self, kept: Kept) -> None:
        one, other = self.open(kept), self.open(kept)
        cipher = one.people(in_class(PEOPLE[:3]))[PEOPLE[2], CLASS].cipher
        assert is_key(other.people(in_class(PEOPLE[1:]))[PEOPLE[2], CLASS].cipher, cipher)

    def test_ledgers_that_make_keys_at_once_agree(self, kept: Kept) -> None:
        vaults = [self.open(kept) for _ in range(3)]
        found: list[dict[tuple[bytes, int], AESGCM]] = []

        def make(vault: Vault) -> None:
            found.append({one: key.cipher for one, key in vault.people(in_class(PEOPLE)).items()})

        threads = [threading.Thread(target=make, args=(vault,)) for vault in vaults]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 3
        assert all(is_key(ciphers[one], found[0][one]) for ciphers in found for one in in_class(PEOPLE))

    def test_who_has_no_key_gets_none_by_reading(self, kept: Kept) -> None:
        vault = self.open(kept)
        assert vault.person(PEOPLE[0], CLASS) is None
        assert vault.entry_key(bytes(16)) is None
        assert vault.labels(PEOPLE, 53) == {}

    def test_entries_get_keys_of_their_own(self, kept: Kept) -> None:
        vault = self.open(kept)
        keys = vault.entry_keys(3)
        assert len({key.id for key in keys}) == 3
        assert is_key(vault.entry_key(keys[0].id), keys[0].cipher)
        assert not is_key(vault.entry_key(keys[1].id), keys[0].cipher)

    def test_a_key_that_comes_again_by_chance_is_noticed(self, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
        vault = self.open(kept)
        monkeypatch.setattr("os.urandom", bytes)
        vault.entry_keys(1)
        with pytest.raises(Tampered) as caught:
            vault.entry_keys(1)
        assert caught.value.code == "vault-repeated"

    def test_another_generation_key_is_refused(self, kept: Kept) -> None:
        self.open(kept).close()
        for make in (Vault.open, Vault.read_only):
            with pytest.raises(Refused) as caught:
                make(kept.place, bytes(32))
            assert caught.value.code == "vault-other-key"
        with pytest.raises(Invalid):
            self.open(kept, b"short")

    def test_a_vault_that_is_not_there_is_not_made_by_reading(self, kept: Kept) -> None:
        for _ in range(2):
            with pytest.raises(Unavailable):
                Vault.read_only(kept.place, GENERATION_KEY)

    def test_a_changed_or_moved_wrapped_key_is_noticed(self, kept: Kept) -> None:
        vault = self.open(kept)
        for person in in_class(PEOPLE[:2]):
            vault.renew(person)
        kept.change("UPDATE person SET wrapped = (SELECT max(wrapped) FROM person)")
        tampered = 0
        for person in PEOPLE[:2]:
            try:
                vault.person(person, CLASS, 2)
            except Tampered:
                tampered += 1
        assert tampered == 1

    def test_more_people_than_one_query_takes_get_their_keys(self, kept: Kept) -> None:
        vault = self.open(kept)
        people = [number.to_bytes(32, "big") for number in range(1700)]
        assert set(vault.people(in_class(people[:900]))) == set(in_class(people[:900]))
        vault.close()
        assert set(self.open(kept).people(in_class(people))) == set(in_class(people))

    def test_nothing_is_stored_for_a_person_before_an_order(self, kept: Kept) -> None:
        vault = self.open(kept)
        people = [number.to_bytes(32, "big") for number in range(1700)]
        found = vault.people(in_class(people))
        assert len({key.cipher.encrypt(NONCE, b"body", b"") for key in found.values()}) == len(people)
        assert vault.destroy_class(CLASS) == 1, "the tree is all there is"

    def test_a_label_key_is_kept_once(self, kept: Kept) -> None:
        vault = self.open(kept)
        vault.keep_labels({PEOPLE[0]: b"y of 0", PEOPLE[1]: b"y of 1"}, 53)
        vault.keep_labels({PEOPLE[0]: b"another", PEOPLE[2]: b"y of 2"}, 53)
        expected = {PEOPLE[number]: b"y of %d" % number for number in range(3)}
        assert self.open(kept).labels(PEOPLE, 53) == expected
        assert vault.labels(PEOPLE, 52) == {}

    def test_what_is_destroyed_is_gone_for_whoever_had_it(self, kept: Kept) -> None:
        one, other = self.open(kept), self.open(kept)
        keys = one.people(in_class(PEOPLE[:3]))
        other.people(in_class(PEOPLE[:3]))
        (entry_key,) = one.entry_keys(1)
        one.keep_labels({PEOPLE[0]: b"y"}, 53)
        before = other.destructions()
        one.destroy(people=in_class(PEOPLE[:2]), entries=[entry_key.id], labels=[(PEOPLE[0], 53)])
        assert other.destructions() > before
        assert [other.person(person, CLASS) is None for person in PEOPLE[:3]] == [True, True, False]
        assert (other.entry_key(entry_key.id), other.labels(PEOPLE, 53)) == (None, {})
        made = other.people(in_class(PEOPLE[:3]))
        assert not is_key(made[PEOPLE[0], CLASS].cipher, keys[PEOPLE[0], CLASS].cipher)
        assert is_key(made[PEOPLE[2], CLASS].cipher, keys[PEOPLE[2], CLASS].cipher)

    def test_whole_classes_are_destroyed_and_the_label_keys_of_all_but_some(self, kept: Kept) -> None:
        vault = self.open(kept)
        vault.people([*in_class(PEOPLE), (PEOPLE[0], key_class(53, 2)), (PEOPLE[1], key_class(54, 2))])
        vault.keep_labels({PEOPLE[0]: b"y", PEOPLE[1]: b"z", PEOPLE[2]: b"x"}, 53)
        vault.keep_labels({PEOPLE[0]: b"w"}, 54)
        assert (vault.destroy_class(CLASS), vault.destroy_class(CLASS)) == (1, 0)
        assert vault.person(PEOPLE[0], CLASS) is None
        assert vault.person(PEOPLE[0], key_class(53, 2)) is not None
        assert [vault.has_labels(period) for period in (52, 53, 54)] == [False, True, True]
        keeping = [PEOPLE[0], PEOPLE[5], PEOPLE[0]]
        assert vault.destroy_labels(53, keeping=iter(keeping)) == 2
        assert vault.labels(PEOPLE, 53) == {PEOPLE[0]: b"y"}
        assert (vault.destroy_labels(53), vault.labels(PEOPLE, 53)) == (1, {})
        assert [vault.has_labels(period) for period in (53, 54)] == [False, True]
        assert vault.labels(PEOPLE, 54) == {PEOPLE[0]: b"w"}

    def test_a_renewed_key_seals_and_the_older_one_still_opens_until_it_is_destroyed(self, kept: Kept) -> None:
        vault, other = self.open(kept), self.open(kept)
        one = (PEOPLE[0], CLASS)
        first = vault.people([one])[one]
        other.people([one])
        renewed = vault.renew(one)
        assert renewed.version == first.version + 1
        assert other.people([one])[one].version == renewed.version
        assert is_key(other.person(*one, first.version), first.cipher)
        assert other.versions(one) == [first.version, renewed.version]
        vault.destroy_older(one, renewed.version)
        assert other.versions(one) == [renewed.version]
        assert other.person(*one, first.version) is None
        assert is_key(other.person(*one, renewed.version), renewed.cipher)

    def test_rewrapping_brings_everything_to_a_new_generation_and_retires_the_old(
        self, kept: Kept, generations: FileGenerationKeys, tmp_path: Path
    ) -> None:
        vault = self.open(kept, generations)
        people = [number.to_bytes(32, "big") for number in range(300)]
        keys = vault.people(in_class(people))
        entry_keys = vault.entry_keys(2500)
        vault.keep_labels({people[0]: b"y"}, 53)
        with pytest.raises(Refused):
            self._half_rewrapped(kept, generations)
        seen: list[tuple[int, int]] = []
        assert vault.rewrap(lambda done, total: seen.append((done, total))) == 2
        assert seen[-1] == (2501, 2501), "the tree was moved before the stop"
        assert vault.retire() == [1]
        assert [path.name for path in tmp_path.glob("vault-generation-*")] == ["vault-generation-2"]
        again = self.open(kept, generations)
        assert all(is_key(again.person(person, CLASS), keys[person, CLASS].cipher) for person in people[::100])
        assert all(is_key(again.entry_key(key.id), key.cipher) for key in entry_keys)
        assert again.labels(people[:2], 53) == {people[0]: b"y"}

    def test_a_vault_that_is_in_use_goes_on_under_the_new_generation_and_forgets_the_old_key(
        self, kept: Kept, generations: FileGenerationKeys
    ) -> None:
        used, other = self.open(kept, generations), self.open(kept, generations)
        keys = used.people(in_class(PEOPLE[:2]))
        assert (other.rewrap(), other.retire()) == (2, [1])
        assert is_key(used.person(PEOPLE[0], CLASS), keys[PEOPLE[0], CLASS].cipher)
        made = used.people(in_class(PEOPLE))
        assert is_key(made[PEOPLE[1], CLASS].cipher, keys[PEOPLE[1], CLASS].cipher)
        assert is_key(other.person(PEOPLE[5], CLASS), made[PEOPLE[5], CLASS].cipher)
        assert set(used._wrapping._ciphers) == {2}
        assert (used.rewrap(), used.retire()) == (3, [2])

    def _half_rewrapped(self, kept: Kept, generations: FileGenerationKeys) -> None:
        vault = self.open(kept, generations)

        def stop(_done: int, _total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            vault.rewrap(stop)
        # Somebody who is still wrapped by the old generation keeps it from being retired.
        vault.retire()
