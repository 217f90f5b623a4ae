"""Copies the authorised byte spans of an Avro record, and reads a few of its values, without decoding the rest.

- Both are compiled once for a schema and fields, and both validate the whole record (`routing.walker`), unless the
  projection is told that the reader has done so.
- A projection is made of spans of authorised fields, of the union indexes and block counts on the way to them, and of
  nothing else. `projection.pick` says what it must mean; fastavro is the oracle of the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from integrator.domain.errors import Invalid
from integrator.domain.projection import Addressable, Selection, Types, paths, selection
from integrator.encoding import decode, parse_schema
from integrator.routing.walker import Walker

Projector = Callable[[bytes], bytes]
"""Avro body in, projected Avro body out. Raises `Invalid` (`contract`)."""
Reader = Callable[[bytes], tuple[Any, ...]]
"""Avro body in, values out: those of `ones` (`None` when absent), then those of `lists`. Raises `Invalid`."""


def compile_projector(schema: Mapping[str, Any], fields: Sequence[str], *, validated: bool = False) -> Projector:
    """Compile the projection of records of `schema` to `fields`.

    `validated`: it is only given bodies that a `Reader` of the same schema has accepted; it does not look at them
    again, nor at all behind the last authorised field. Raises `Invalid` (`path-unknown`, `schema-invalid`).
    """
    _check(schema, fields)
    return _Projection(Types(schema), validated=validated).compile(selection(fields))


def compile_reader(schema: Mapping[str, Any], *, ones: Sequence[str], lists: Sequence[str]) -> Reader:
    """Compile the reading of single values and of lists. A path of `ones` MUST not pass an array, but may end in one.

    A path of `lists` gives every value that is reached, in the order of the record: none where a record on the way
    is null, `None` where the last value itself is. Raises `Invalid` (`path-unknown`, `schema-invalid`).
    """
    known = _check(schema, [*ones, *lists])
    for path in ones:
        parents = path.split(".")[:-1]
        if any(known[".".join(parents[:end])].many for end in range(1, len(parents) + 1)):
            raise Invalid("path-many", f"{path} stands in an array: it has no one value.", where=path)
    return _Reading(Types(schema)).compile(ones, lists)


def _check(schema: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Addressable]:
    known = paths(schema)
    for path in fields:
        if path not in known:
            raise Invalid("path-unknown", f"The schema has no field {path}.", where=path)
    return known


def _count(items: int) -> bytes:
    """Encode a positive block count as an Avro long."""
    value, out = items << 1, bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Projection(Walker):
    """Keeps spans: `s` is where the present one starts, `o` takes a finished one."""

    _keeping = False
    """Whether a span is open at this point of the source."""

    def compile(self, chosen: Selection) -> Projector:
        fields = self.types.top["fields"]
        if self.validated:
            last = max((at for at, field in enumerate(fields) if field["name"] in chosen), default=-1)
            fields = fields[: last + 1]
        self._fields(fields, chosen, depth=0)
        self._stop()
        return cast("Projector", self.function(first="out = []; o = out.append", result="b''.join(out)"))

    def shared(self) -> tuple[str, ...]:
        return ("o",)

    def _start(self) -> None:
        if not self._keeping:
            self.line("s = p")
            self._keeping = True

    def _stop(self) -> None:
        if self._keeping:
            self.line("o(b[s:p])")
            self._keeping = False

    def _project(self, node: Any, chosen: Selection | None, *, depth: int) -> None:
        if chosen is None:
            self._start()
            self.skip(node, depth=depth)
            return
        node = self.types.resolve(node)
        if isinstance(node, list):
            self._start()
            self.union(cast("list[Any]", node), lambda branch: self._branch(branch, chosen, depth=depth))
            self._keeping = False
        elif node["type"] == "array":
            self._stop()
            count = self.constant(_count)
            self.blocks(
                lambda inner: self._item(node["items"], chosen, depth=inner),
                depth=depth,
                counted=lambda items: self.line(f"o({count}({items}))"),
            )
            self.line("o(b'\\0')")
        else:
            self._fields(node["fields"], chosen, depth=depth)

    def _fields(self, fields: Sequence[Any], chosen: Selection, *, depth: int) -> None:
        for field in fields:
            if field["name"] in chosen:
                self._project(field["type"], chosen[field["name"]], depth=depth)
            else:
                self._stop()
                self.skip(field["type"], depth=depth)

    def _branch(self, node: Any, chosen: Selection, *, depth: int) -> None:
        self._keeping = True  # the index of the union
        if node != "null":
            self._project(node, chosen, depth=depth)
        self._stop()

    def _item(self, node: Any, chosen: Selection, *, depth: int) -> None:
        self._project(node, chosen, depth=depth)
        self._stop()


class _Reading(Walker):
    """Reads values: each slot is a variable, `a<slot>` the append of one that is a list."""

    def compile(self, ones: Sequence[str], lists: Sequence[str]) -> Reader:
        self._stores: dict[str, list[str]] = {}
        for slot, path in enumerate([*ones, *lists]):
            self._stores.setdefault(path, []).append(f"v{slot} = v" if slot < len(ones) else f"a{slot}(v)")
        all_slots = range(len(ones) + len(lists))
        list_slots = all_slots[len(ones) :]
        self._appends = tuple(f"a{slot}" for slot in list_slots)
        first = [f"v{slot} = None" for slot in all_slots[: len(ones)]]
        first += [f"v{slot} = []; a{slot} = v{slot}.append" for slot in list_slots]
        for field in self.types.top["fields"]:
            self._read(field["type"], field["name"], depth=0)
        result = "".join(f"v{slot}," for slot in all_slots)
        return cast("Reader", self.function(first="; ".join(first) or "pass", result=f"({result})"))

    def shared(self) -> tuple[str, ...]:
        return self._appends

    def _read(self, node: Any, path: str, *, depth: int) -> None:
        stores = self._stores.get(path)
        deeper = any(known.startswith(f"{path}.") for known in self._stores)
        if stores is None:
            (self._below if deeper else self._pass)(node, path, depth=depth)
            return
        if deeper or not self._scalar(node):
            whole, start = self.constant(self._decoder(node)), self.name("s")
            self.line(f"{start} = p")
            (self._below if deeper else self._pass)(node, path, depth=depth)
            self.line(f"v = {whole}(b[{start}:p])")
        self.line(*stores)

    def _pass(self, node: Any, _path: str, *, depth: int) -> None:
        self.skip(node, depth=depth)

    def _below(self, node: Any, path: str, *, depth: int) -> None:
        """Walk over a value of which something deeper is read."""
        node = self.types.resolve(node)
        if isinstance(node, list):
            self.union(cast("list[Any]", node), lambda branch: self._below(branch, path, depth=depth))
        elif isinstance(node, str):
            self.skip(node, depth=depth)
        elif node["type"] == "array":
            self.blocks(lambda inner: self._below(node["items"], path, depth=inner), depth=depth)
        else:
            for field in node["fields"]:
                self._read(field["type"], f"{path}.{field['name']}", depth=depth)

    def _scalar(self, node: Any) -> bool:
        """Read a value of one of the common types into `v`, if it is one: strings, numbers, enums, lists of strings."""
        if isinstance(node, list):
            branches = cast("list[Any]", node)
            if len(branches) != 2 or branches[0] != "null" or not self._is_scalar(branches[1]):
                return False
            self.line("x = b[p]; p += 1; v = None")
            self.inside("if x == 2:", lambda: self._scalar(branches[1]))
            self.line("elif x: bad()")
            return True
        if not self._is_scalar(node):
            return False
        found = self.types.resolve(node)
        if isinstance(found, dict) and "items" in found:
            self.line("v = []; w = v.append")
            self.blocks(lambda _: (self.length(), self.line("w(b[p:q].decode()); p = q")), depth=0)
        elif isinstance(found, dict):
            symbols = cast("dict[str, Any]", found)["symbols"]
            self.index(len(symbols))
            self.line(f"v = {self.constant(tuple(symbols))}[x >> 1]")
        elif found == "string":
            self.length()
            self.line("v = b[p:q].decode(); p = q")
        elif found == "boolean":
            self.skip(found, depth=0)
            self.line("v = b[p - 1] == 1")
        else:
            self.long()
            if found == "int":
                self.line("if x > 0xFFFFFFFF: bad()")
            self.line("v = (x >> 1) ^ -(x & 1)")
        return True

    def _is_scalar(self, node: Any) -> bool:
        found = self.types.resolve(node)
        if isinstance(found, dict):
            kind = cast("dict[str, Any]", found)
            return kind["type"] == "enum" or kind == {"type": "array", "items": "string"}
        return found in ("string", "int", "long", "boolean")

    def _decoder(self, node: Any) -> Callable[[bytes], Any]:
        """Return fastavro's decoding of bytes that the walk has validated."""
        fields = [{"name": "value", "type": self.types.definition(node)}]
        schema = parse_schema(
            json.dumps({"type": "record", "name": "Read", "namespace": "integrator", "fields": fields})
        )
        return lambda body: decode(schema, body)["value"]
