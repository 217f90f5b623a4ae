"""Reads the members of documents that an operator hands over: each of its type, none missing, none besides.

- What is not of the form is not believed: `Tampered`, code `document-malformed`, naming the place in the document.
- The text itself was read by `strictjson`, so that no key stands twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from integrator_audit.encoding import from_base64
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.strictjson import read_object


def read_document(data: bytes, schema: str, *, limit: int) -> Fields:
    """Return the members of a document of this schema."""
    try:
        members = read_object(data, what="the document", limit=limit)
    except Invalid as error:
        raise Tampered("document-malformed", error.message) from error
    fields = Fields(members, "the document")
    if fields.text("schema") != schema:
        raise fields.error(f"is not of the schema {schema}")
    return fields


class Fields:
    """The members of one object; `where` names it in messages."""

    def __init__(self, members: object, where: str) -> None:
        if not isinstance(members, Mapping):
            raise Tampered("document-malformed", f"{where} is not an object")
        self._members = cast(Mapping[str, object], members)
        self._where = where
        self._taken: set[str] = set()

    @property
    def members(self) -> Mapping[str, object]:
        """Return all members, as they are."""
        return self._members

    def error(self, what: str) -> Tampered:
        """Return the error that says what is wrong with this object."""
        return Tampered("document-malformed", f"{self._where} {what}")

    def has(self, name: str) -> bool:
        """Say whether there is such a member."""
        return name in self._members

    def value(self, name: str) -> object:
        """Return a member of any type."""
        self._taken.add(name)
        if name not in self._members:
            raise self.error(f"has no {name}")
        return self._members[name]

    def text(self, name: str) -> str:
        """Return a text."""
        value = self.value(name)
        if type(value) is not str:
            raise self.error(f"does not have a text as {name}")
        return value

    def number(self, name: str) -> int:
        """Return a number from 0 on."""
        return self._number(self.value(name), name)

    def data(self, name: str, *, size: int | None = None) -> bytes:
        """Return bytes, of exactly `size` where that is given."""
        return self._bytes(self.value(name), name, size=size)

    def items(self, name: str) -> list[object]:
        """Return a list."""
        value = self.value(name)
        if type(value) is not list:
            raise self.error(f"does not have a list as {name}")
        return cast(list[object], value)

    def objects(self, name: str) -> list[Fields]:
        """Return a list of objects."""
        where = name if self._where == "the document" else f"{self._where}.{name}"
        return [Fields(item, f"{where}[{at}]") for at, item in enumerate(self.items(name))]

    def object(self, name: str) -> Fields:
        """Return an object."""
        return Fields(self.value(name), name if self._where == "the document" else f"{self._where}.{name}")

    def mapping(self, name: str) -> Mapping[str, object]:
        """Return an object whose members somebody else reads."""
        return self.object(name).members

    def hashes(self, name: str, *, size: int) -> tuple[bytes, ...]:
        """Return a list of byte strings of this size."""
        return tuple(self._bytes(item, name, size=size) for item in self.items(name))

    def places(self, name: str) -> list[tuple[int, int]]:
        """Return a list of pairs of numbers."""
        return [self._pair(item, name) for item in self.items(name)]

    def end(self) -> None:
        """Refuse members that nobody asked for."""
        if unknown := self._members.keys() - self._taken:
            raise self.error(f"has {len(unknown)} members that its schema does not know")

    def _pair(self, item: object, name: str) -> tuple[int, int]:
        pair = cast(list[object], item)
        if type(item) is not list or len(pair) != 2:
            raise self.error(f"has a {name} whose items are not pairs of a shard and an index")
        return self._number(pair[0], name), self._number(pair[1], name)

    def _number(self, value: object, name: str) -> int:
        if type(value) is not int or value < 0:
            raise self.error(f"does not have a number as {name}")
        return value

    def _bytes(self, value: object, name: str, *, size: int | None) -> bytes:
        if type(value) is not str:
            raise self.error(f"does not have base64 as {name}")
        try:
            data = from_base64(value, what=name)
        except Invalid as error:
            raise self.error(f"does not have canonical base64 as {name}") from error
        if size is not None and len(data) != size:
            raise self.error(f"does not have {size} bytes as {name}")
        return data
