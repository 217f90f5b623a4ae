"""Says whether what one Avro schema wrote can be read with another, and if not, where.

SPEC Avro 1.12 "Schema Resolution". Names are compared without their namespaces, as resolution allows and as the
derived schemas of agencies need. Logical types are left out: they change the meaning, not the reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from integrator.domain.projection import Types

Compatibility = Literal["FULL_TRANSITIVE", "BACKWARD_TRANSITIVE"]

# SPEC: "int is promotable to long, float, or double", and so on.
_PROMOTED: Mapping[str, frozenset[str]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}


def incompatibilities(
    new: Mapping[str, Any], earlier: Mapping[str, Any], compatibility: Compatibility
) -> list[tuple[str, str]]:
    """Return path and reason of everything in `new` that breaks `compatibility` with one earlier schema.

    `BACKWARD`: readers with `new` can read what `earlier` wrote. `FULL`: the reverse as well.
    Raises `Invalid` (`schema-invalid`).
    """
    found = list(unreadable(new, earlier))
    if compatibility == "FULL_TRANSITIVE":
        found += [(path, f"{reason}, for readers of the earlier schema") for path, reason in unreadable(earlier, new)]
    return list(dict.fromkeys(found))


def unreadable(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield path and reason of everything that `writer` can write and `reader` cannot read."""
    comparison = _Comparison(Types(reader), Types(writer))
    yield from comparison.differences(comparison.reader.top, comparison.writer.top, "")


class _Comparison:
    """One comparison. Pairs of records are compared once, so that types which contain themselves end."""

    def __init__(self, reader: Types, writer: Types) -> None:
        self.reader = reader
        self.writer = writer
        self._seen: set[tuple[str, str]] = set()

    def differences(self, reading: Any, writing: Any, path: str) -> Iterator[tuple[str, str]]:
        reading, writing = self.reader.resolve(reading), self.writer.resolve(writing)
        if isinstance(writing, list):
            for branch in cast("list[Any]", writing):
                yield from self.differences(reading, branch, path)
        elif isinstance(reading, list):
            branches = cast("list[Any]", reading)
            if not any(self._reads(branch, writing, path) for branch in branches):
                yield path, f"no alternative takes {_type(writing)}"
        elif _type(reading) != _type(writing):
            if _type(reading) not in _PROMOTED.get(_type(writing), frozenset()):
                yield path, f"{_type(writing)} cannot be read as {_type(reading)}"
        elif isinstance(reading, dict):
            yield from self._complex(cast("dict[str, Any]", reading), _definition(writing), path)

    def _reads(self, reading: Any, writing: Any, path: str) -> bool:
        # An alternative that does not fit must not mark a pair as compared.
        before = set(self._seen)
        fits = not any(True for _ in self.differences(reading, writing, path))
        if not fits:
            self._seen = before
        return fits

    def _complex(self, reading: dict[str, Any], writing: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
        match _type(reading):
            case "array":
                yield from self.differences(reading["items"], writing["items"], path)
            case "map":
                yield from self.differences(reading["values"], writing["values"], path)
            case "enum":
                yield from _enum(reading, writing, path)
            case "fixed":
                if (_name(reading), reading["size"]) != (_name(writing), writing["size"]):
                    yield path, "a fixed type changed its name or size"
            case "record":
                pair = (reading["name"], writing["name"])
                if pair not in self._seen:
                    self._seen.add(pair)
                    yield from self._record(reading, writing, path)
            case _:
                return

    def _record(self, reading: dict[str, Any], writing: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
        if _name(writing) not in {_name(reading), *_aliases(reading)}:
            yield path, f"the record {_name(writing)} is called {_name(reading)}"
            return
        written = {field["name"]: field for field in writing["fields"]}
        for field in reading["fields"]:
            where = f"{path}.{field['name']}" if path else field["name"]
            source = next((written[name] for name in (field["name"], *_aliases(field)) if name in written), None)
            if source is not None:
                yield from self.differences(field["type"], source["type"], where)
            elif "default" not in field:
                yield where, "the field has no default and is not in the other schema"


def _enum(reading: dict[str, Any], writing: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if _name(writing) not in {_name(reading), *_aliases(reading)}:
        yield path, f"the enum {_name(writing)} is called {_name(reading)}"
    elif (missing := [each for each in writing["symbols"] if each not in reading["symbols"]]) and (
        "default" not in reading
    ):
        yield path, f"the enum has no {', '.join(missing)} and no default"


def _definition(node: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", node) if isinstance(node, dict) else {"type": node}


def _type(node: Any) -> str:
    found = cast("str", cast("dict[str, Any]", node)["type"]) if isinstance(node, dict) else cast("str", node)
    return "record" if found == "error" else found


def _name(definition: Mapping[str, Any]) -> str:
    return cast("str", definition["name"]).rpartition(".")[2]


def _aliases(definition: Mapping[str, Any]) -> list[str]:
    return [cast("str", alias).rpartition(".")[2] for alias in definition.get("aliases", ())]
