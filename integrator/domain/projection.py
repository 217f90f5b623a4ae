"""Cuts a schema and its values down to authorised fields; everything that is not named is gone.

- Fields keep the order of the contract's schema. A named subtree stays whole, a record of which only some fields are
  named is reduced to those.
- A path goes through arrays and through unions of null and one other type without a mark. A map, any other union and a
  record inside itself are one value: they are authorised whole or not at all.
- `pick` states what a projection means; the byte projection of `routing.splice` must equal it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.errors import Invalid

MOST_PATHS = 5_000
"""A schema that spells more paths than this is refused: its types refer to each other in a way that multiplies."""

Selection = dict[str, "Selection | None"]
"""Authorised fields as a tree: `None` is a whole subtree, a dictionary the authorised part of a record."""


@dataclass(frozen=True, slots=True)
class Addressable:
    """What stands at a path. `many` when an array is passed on the way or at the end, `optional` when a null is."""

    type: str
    """The Avro type behind arrays and nulls: `record`, `string`, `enum`, `map`, …, `union`, or `recursion`."""
    logical: str | None
    many: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class _Reached:
    """A type behind arrays and nulls; `node` is a definition, never the name of one."""

    type: str
    node: Any
    many: bool
    optional: bool


class Types:
    """A schema with its names resolved. Raises `Invalid` (`schema-invalid`) when it is none, or no record."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.named: dict[str, dict[str, Any]] = {}
        try:
            parsed = fastavro.parse_schema(dict(_plain(schema)), named_schemas=cast("Any", self.named))
        except (SchemaParseException, UnknownType, KeyError, TypeError, ValueError) as error:
            raise Invalid("schema-invalid", f"This is no Avro schema: {error}") from None
        self.top = dict(_plain(cast("dict[str, Any]", parsed)))
        if self.top.get("type") != "record":
            raise Invalid("schema-invalid", "The schema of a stream is a record at its top.")

    def resolve(self, node: Any) -> Any:
        """Return the definition that `node` names, or `node` itself."""
        return self.named.get(node, node) if isinstance(node, str) else node

    def definition(self, node: Any) -> Any:
        """Return `node` as a schema that stands alone: each name is defined where it is met first."""
        return self._define(node, set())

    def _define(self, node: Any, defined: set[str]) -> Any:
        if isinstance(node, list):
            return [self._define(branch, defined) for branch in cast("list[Any]", node)]
        found = self.resolve(node)
        if isinstance(found, str):
            return found
        kind = cast("dict[str, Any]", found)
        if (name := kind.get("name")) is not None:
            if name in defined:
                return name
            defined.add(name)
        below = {part: self._define(kind[part], defined) for part in ("items", "values") if part in kind}
        if "fields" in kind:
            below["fields"] = [field | {"type": self._define(field["type"], defined)} for field in kind["fields"]]
        return kind | below

    def reach(self, node: Any) -> _Reached:
        """Go through arrays and unions of null and one other type to what stands behind them."""
        many = optional = False
        while True:
            node = self.resolve(node)
            if isinstance(node, list):
                others = [branch for branch in cast("list[Any]", node) if branch != "null"]
                if len(others) != 1:
                    return _Reached("union", cast("Any", node), many, optional or "null" in node)
                node, optional = others[0], True
            elif isinstance(node, dict):
                found = cast("dict[str, Any]", node)
                if found["type"] != "array":
                    return _Reached("record" if found["type"] == "error" else found["type"], found, many, optional)
                node, many = found["items"], True
            else:
                return _Reached(cast("str", node), node, many, optional)


def _plain(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Drop the marks that fastavro leaves in a parsed schema."""
    return {name: value for name, value in schema.items() if not name.startswith("__")}


def paths(schema: Mapping[str, Any]) -> dict[str, Addressable]:
    """Return every path that a contract or an authorisation can name, in the order of the schema.

    Raises `Invalid` (`schema-invalid`).
    """
    types = Types(schema)
    found: dict[str, Addressable] = {}
    for path, addressable in _walk(types, types.top, "", (types.top["name"],)):
        found[path] = addressable
        if len(found) > MOST_PATHS:
            raise Invalid("schema-invalid", f"The schema has more than {MOST_PATHS} paths; use fewer shared types.")
    return found


def _walk(
    types: Types, record: Mapping[str, Any], prefix: str, within: tuple[str, ...]
) -> Iterator[tuple[str, Addressable]]:
    for field in record["fields"]:
        path = f"{prefix}{field['name']}"
        reached = types.reach(field["type"])
        node = cast("dict[str, Any]", reached.node) if isinstance(reached.node, dict) else {}
        inside = reached.type == "record" and node["name"] not in within
        kind = "recursion" if reached.type == "record" and not inside else reached.type
        yield path, Addressable(kind, node.get("logicalType"), reached.many, reached.optional)
        if inside:
            yield from _walk(types, node, f"{path}.", (*within, node["name"]))


def leaf_paths(schema: Mapping[str, Any]) -> list[str]:
    """Return the paths that hold values and not records, in the order of the schema. Raises `Invalid`."""
    return [path for path, addressable in paths(schema).items() if addressable.type != "record"]


def selection(fields: Sequence[str]) -> Selection:
    """Return `fields` as a tree; a path that another one covers adds nothing."""
    tree: Selection = {}
    for path in fields:
        *parents, last = path.split(".")
        branch = tree
        for name in parents:
            below = branch.setdefault(name, {})
            if below is None:
                break
            branch = below
        else:
            branch[last] = None
    return tree


def delivered_fields(authorisation: Authorisation, contract: Contract) -> tuple[str, ...]:
    """Return the paths that a delivery under `authorisation` holds: a notification names the subject only."""
    return (contract.roles.subject.path,) if authorisation.payload == "notification" else authorisation.fields


def derive_schema(schema: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Return the schema of the values that `pick(schema, value, fields)` makes: plain JSON, same order of fields.

    The top record keeps its full name. Another record keeps its name where it stands first in the contract's schema;
    elsewhere its namespace says where it stands, as in `brp.parents.names.Names` (resolution compares unqualified
    names), or its name does when it has no namespace. So a name depends on the path and not on what is authorised: a
    wider authorisation renames nothing, and both versions stay compatible.

    Raises `Invalid` (`schema-invalid`; `path-unknown` for a field that the schema cannot address).
    """
    known = paths(schema)
    for path in fields:
        if path not in known:
            raise Invalid("path-unknown", f"The schema has no field {path}.", where=path)
    return _Derivation(Types(schema), known).top(selection(fields))


class _Derivation:
    """One derivation: which definitions were written already, and where each record first stands."""

    def __init__(self, types: Types, known: Mapping[str, Addressable]) -> None:
        self._types = types
        self._written: set[str] = set()
        self._first: dict[str, str] = {types.top["name"]: ""}
        self._names: dict[tuple[str, str], str] = {}
        self._taken = set(types.named)
        for path, addressable in known.items():
            if addressable.type == "record":
                self._first.setdefault(self._record(path)["name"], path)

    def _record(self, path: str) -> dict[str, Any]:
        record = self._types.top
        for name in path.split(".") if path else ():
            field = next(field for field in record["fields"] if field["name"] == name)
            record = self._types.reach(field["type"]).node
        return record

    def top(self, chosen: Selection) -> dict[str, Any]:
        return self._derive_record(self._types.top, "", chosen, {})

    def _name(self, name: str, path: str) -> str:
        if self._first.get(name) == path:
            return name
        if (name, path) not in self._names:
            space, _, unqualified = name.rpartition(".")
            full = f"{space}.{path}.{unqualified}" if space else f"{name}_{path.replace('.', '_')}"
            while full in self._taken:
                full += "_"
            self._taken.add(full)
            self._names[name, path] = full
        return self._names[name, path]

    def _derive(self, node: Any, path: str, chosen: Selection | None, within: Mapping[str, str]) -> Any:
        """Derive the type at `path`; `within` maps the whole records around it to their derived names."""
        if isinstance(node, list):
            return [self._derive(branch, path, chosen, within) for branch in cast("list[Any]", node)]
        if isinstance(node, str) and node in within:
            return within[node]
        found = self._types.resolve(node)
        if not isinstance(found, dict):
            return found
        kind = cast("dict[str, Any]", found)
        match kind["type"]:
            case "array":
                return kind | {"items": self._derive(kind["items"], path, chosen, within)}
            case "map":
                # A map is one value: what it holds stands at no path of its own, so its records are named by the map.
                return kind | {"values": self._derive(kind["values"], path, None, within)}
            case "enum" | "fixed":
                if kind["name"] in self._written:
                    return kind["name"]
                self._written.add(kind["name"])
                return dict(kind)
            case "record" | "error":
                name = self._name(kind["name"], path)
                return name if name in self._written else self._derive_record(kind, path, chosen, within)
            case _:
                return dict(kind)

    def _derive_record(
        self, record: Mapping[str, Any], path: str, chosen: Selection | None, within: Mapping[str, str]
    ) -> dict[str, Any]:
        name = self._name(record["name"], path)
        self._written.add(name)
        # A record that contains itself may refer to itself only while it is whole: a reduced one is another type.
        inner = {**within, record["name"]: name} if chosen is None else within
        fields: list[dict[str, Any]] = []
        for field in record["fields"]:
            if chosen is not None and field["name"] not in chosen:
                continue
            below = None if chosen is None else chosen[field["name"]]
            where = f"{path}.{field['name']}" if path else field["name"]
            derived = field | {"type": self._derive(field["type"], where, below, inner)}
            if "default" in field and below is not None:
                derived["default"] = _pick(self._types, field["type"], field["default"], below)
            fields.append(derived)
        return {**record, "name": name, "fields": fields}


def pick(schema: Mapping[str, Any], value: Any, fields: Sequence[str]) -> Any:
    """Return `value`, a decoded record of `schema`, with nothing but `fields`: the reference of every projection."""
    types = Types(schema)
    return _pick(types, types.top, value, selection(fields))


def _pick(types: Types, node: Any, value: Any, chosen: Selection | None) -> Any:
    if chosen is None or value is None:
        return value
    node = types.resolve(node)
    if isinstance(node, list):
        node = types.resolve(next(branch for branch in cast("list[Any]", node) if branch != "null"))
    if node["type"] == "array":
        return [_pick(types, node["items"], item, chosen) for item in value]
    return {
        field["name"]: _pick(types, field["type"], value[field["name"]], chosen[field["name"]])
        for field in node["fields"]
        if field["name"] in chosen and field["name"] in value
    }
