"""Persons' keys in a vault: the first of a person and class comes from the class's tree, newer ones have rows.

- A tree is made with the first entry of its class. Nothing is written for a person, however many there are.
- A person who was cut out of the tree, because an entry of theirs was erased by order, and has new entries, gets a
  random key of a newer version. Those rows are few: as many as orders.
- LIMIT: the names of persons with newer keys are held in memory, a hundred bytes each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.columns import typed
from integrator_audit.keystore import (
    KEY_SIZE,
    KEY_VERSION,
    NODE,
    NONCE_SIZE,
    PERSON,
    PersonClass,
    PersonKey,
    Wrapping,
    node_name,
    person_name,
)
from integrator_audit.keytree import TOP, cut, find, path_of, person_key, person_keys
from integrator_audit.vaulttables import Present, VaultTables

MAX_PEOPLE: Final = 16_384
MAX_NODES: Final = 1_024


class PersonKeys:
    """Finds, makes and destroys persons' keys. Owned by its vault's lock; `forget` it when anybody destroyed a key."""

    def __init__(self, tables: VaultTables, wrapping: Wrapping, generation: Callable[[], int]) -> None:
        """`generation` returns the newest generation; it is asked inside the transactions that write."""
        self._tables = tables
        self._wrapping = wrapping
        self._generation = generation
        # All of this is what is stored, or derived from it.
        self._people: dict[PersonClass, PersonKey] = {}
        self._nodes: dict[tuple[int, bytes], bytes | None] = {}
        self._tops: dict[int, dict[bytes, bytes]] = {}
        self._renewed: dict[PersonClass, int] | None = None

    def forget(self) -> None:
        """Drop everything that is remembered."""
        self._people.clear()
        self._nodes.clear()
        self._tops.clear()
        self._renewed = None

    def newest(self, wanted: Iterable[PersonClass]) -> dict[PersonClass, PersonKey]:
        """Return the newest key of each, making in one transaction what is not there."""
        found, others = self._at_hand(wanted)
        missing: list[PersonClass] = []
        for one in others:
            if (key := self._find(one)) is None:
                missing.append(one)
            else:
                found[one] = self._people[one] = key
        if missing:
            try:
                with self._tables.transaction():
                    self.forget()
                    found.update({one: self._find(one) or self._make(one) for one in sorted(missing)})
            except BaseException:
                # What was remembered inside may not be stored.
                self.forget()
                raise
        return found

    def _at_hand(self, wanted: Iterable[PersonClass]) -> tuple[dict[PersonClass, PersonKey], list[PersonClass]]:
        """Return the keys that are remembered, or follow from what is, and who else is wanted."""
        known, renewed = self._people, self._versions()
        if len(known) > MAX_PEOPLE:
            known.clear()
        found: dict[PersonClass, PersonKey] = {}
        first: dict[int, list[bytes]] = {}
        others: list[PersonClass] = []
        for one in wanted:
            if (key := known.get(one)) is not None:
                found[one] = key
            elif one in renewed:
                others.append(one)
            else:
                first.setdefault(one[1], []).append(one[0])
        for wanted_class, people in first.items():
            for pseudonym, key in zip(people, person_keys(self._tops.get(wanted_class, {}), people), strict=True):
                one = (pseudonym, wanted_class)
                if key is None:
                    others.append(one)
                else:
                    found[one] = known[one] = PersonKey(KEY_VERSION, key)
        return found, others

    def of_version(self, one: PersonClass, version: int) -> AESGCM | None:
        """Return the key of a version, or None when it was never made or is destroyed."""
        key = self._derived(one) if version == KEY_VERSION else self._stored(one, version)
        return None if key is None else AESGCM(key)

    def versions(self, one: PersonClass) -> list[int]:
        """Return which versions of a key there are, ascending."""
        pseudonym, wanted_class = one
        query = "SELECT version FROM person WHERE class = ? AND pseudonym = ? ORDER BY version"
        stored = [
            version for (version,) in typed("v", self._tables.rows(query, (wanted_class, pseudonym)), what="vault")
        ]
        return stored if self._derived(one) is None else [KEY_VERSION, *stored]

    def renew(self, one: PersonClass) -> PersonKey:
        """Make the next version of a person's key, in the running transaction."""
        self.forget()
        version = max(self._versions().get(one, KEY_VERSION), KEY_VERSION) + 1
        return self._insert(one, version)

    def destroy(self, one: PersonClass) -> None:
        """Destroy all versions of a person's key, in the running transaction."""
        self.destroy_older(one, 1 << 32)

    def destroy_older(self, one: PersonClass, version: int) -> None:
        """Destroy the versions of a person's key before `version`, in the running transaction."""
        pseudonym, wanted_class = one
        if version > KEY_VERSION:
            self.forget()
            for path, node in cut(partial(self._node, wanted_class), pseudonym).items():
                self._write_node(wanted_class, path, node, present="replace")
        statement = "DELETE FROM person WHERE class = ? AND pseudonym = ? AND version < ?"
        self._tables.run(statement, (wanted_class, pseudonym, version))
        self.forget()

    def destroy_class(self, key_class: int) -> int:
        """Destroy the keys of everybody in a class, in the running transaction; return how many rows went."""
        statements = ("DELETE FROM node WHERE class = ?", "DELETE FROM person WHERE class = ?")
        self.forget()
        return sum(self._tables.run(statement, (key_class,)) for statement in statements)

    def _find(self, one: PersonClass) -> PersonKey | None:
        version = self._versions().get(one)
        if version is not None:
            key = self._stored(one, version)
            return None if key is None else PersonKey(version, key)
        key = self._derived(one)
        return None if key is None else PersonKey(KEY_VERSION, key)

    def _make(self, one: PersonClass) -> PersonKey:
        """Make the tree of the class where there is none, else a newer key for who was cut out of it."""
        if self._node(one[1], b"") is None:
            self._write_node(one[1], b"", os.urandom(KEY_SIZE), present="refuse")
            self.forget()
            if (key := self._find(one)) is not None:
                return key
        return self._insert(one, KEY_VERSION + 1)

    def _derived(self, one: PersonClass) -> bytes | None:
        pseudonym, wanted_class = one
        path = path_of(pseudonym)
        tops = self._tops.get(wanted_class)
        top = None if tops is None else tops.get(path[:TOP])
        if top is None:
            load = partial(self._node, wanted_class)
            top = find(load, path[:TOP])
            if top is None:
                # Opened that far, or nothing there: the long way.
                leaf = find(load, path)
                return None if leaf is None else person_key(leaf, b"", pseudonym)
            self._tops.setdefault(wanted_class, {})[path[:TOP]] = top
        return person_key(top, path[TOP:], pseudonym)

    def _node(self, wanted_class: int, path: bytes) -> bytes | None:
        name = (wanted_class, path)
        if name not in self._nodes:
            if len(self._nodes) >= MAX_NODES:
                self._nodes.clear()
            query = "SELECT generation, wrapped FROM node WHERE class = ? AND path = ?"
            rows = typed("vb", self._tables.rows(query, name), what="vault")
            unwrap = self._wrapping.unwrap
            self._nodes[name] = unwrap(rows[0][0], NODE, node_name(*name), rows[0][1]) if rows else None
        return self._nodes[name]

    def _write_node(self, wanted_class: int, path: bytes, node: bytes, *, present: Present) -> None:
        generation = self._generation()
        name = node_name(wanted_class, path)
        wrapped = self._wrapping.wrap(generation, NODE, name, node, nonce=os.urandom(NONCE_SIZE))
        self._tables.insert("node", [(wanted_class, path, generation, wrapped)], present=present)

    def _versions(self) -> dict[PersonClass, int]:
        """Return the newest version of each person who has more than the first."""
        if self._renewed is None:
            query = "SELECT pseudonym, class, max(version) FROM person GROUP BY class, pseudonym"
            rows = typed("bvv", self._tables.rows(query), what="vault")
            self._renewed = {(pseudonym, wanted_class): version for pseudonym, wanted_class, version in rows}
        return self._renewed

    def _stored(self, one: PersonClass, version: int) -> bytes | None:
        pseudonym, wanted_class = one
        query = "SELECT generation, wrapped FROM person WHERE class = ? AND pseudonym = ? AND version = ?"
        rows = typed("vb", self._tables.rows(query, (wanted_class, pseudonym, version)), what="vault")
        name = person_name(pseudonym, wanted_class, version)
        return self._wrapping.unwrap(rows[0][0], PERSON, name, rows[0][1]) if rows else None

    def _insert(self, one: PersonClass, version: int) -> PersonKey:
        pseudonym, wanted_class = one
        generation, key, nonce = self._generation(), os.urandom(KEY_SIZE), os.urandom(NONCE_SIZE)
        name = person_name(pseudonym, wanted_class, version)
        wrapped = self._wrapping.wrap(generation, PERSON, name, key, nonce=nonce)
        self._tables.insert("person", [(wanted_class, pseudonym, version, generation, wrapped)], present="refuse")
        self.forget()
        return PersonKey(version, key)
