"""Writes Python source that walks over an Avro record and validates every byte on its way.

- What a walk accepts is well-formed to the last byte: block counts and sizes, union and enum indexes, 64-bit varints,
  32-bit ints, UTF-8, booleans, nothing after the end. It refuses more than a decoder does (a union index in more bytes
  than it needs, a block that lies about its size), never less.
- The source holds numbers of the schema only, never a name or a text from it.
- Positions only grow and every loop reads or is bounded, so a walk ends after at most as many steps as there are bytes;
  a value nested deeper than Python's recursion limit is refused.

Source of the encoding: Apache Avro 1.12 specification, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

from integrator.domain.errors import Invalid
from integrator.domain.projection import Types

_DEEPEST_LOOP = 3
"""Loops inside one generated function; Python allows 20 nested blocks, an array takes two."""
_ONE_BYTE = 64
"""So many unions and symbols have an index of one byte."""
_FEW = 64
_SIZES = {"null": 0, "float": 4, "double": 8}


def _bad() -> NoReturn:
    raise Invalid("contract", "The value does not fit its schema.")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned varint of at most 64 bits at `at`; return it and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                _bad()
            return value, at
        shift += 7
        if shift > 63:
            _bad()


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Read a length of more than one byte at `at`, still zigzag, or refuse a negative one."""
    value, at = _varint(data, at)
    if value & 1:
        _bad()
    return value, at


class Walker:
    """Source of one walk. In it `b` is the body and `p` the position; `x` and `q` hold for a few lines only.

    `validated` walks are for bodies that another walk over the same schema has accepted: they step over what that one
    has looked at, and what they make of any other bytes means nothing.
    """

    def __init__(self, types: Types, *, validated: bool = False) -> None:
        self.types = types
        self.validated = validated
        self._lines: list[str] = []
        self._indent = 2
        self._functions: list[str] = []
        self._named: dict[str, str] = {}
        # Inside the function of a named type, which only steps over it and is given nothing to keep.
        self._skipping = False
        self._count = 0
        self._constants: dict[str, Any] = {"bad": _bad, "varint": _varint, "length": _length, "Invalid": Invalid}

    def function(self, *, first: str, result: str) -> Callable[[bytes], Any]:
        """Return the walk as a function of the body: it begins with the statement `first` and returns `result`."""
        source = [
            *self._functions,
            "def walk(b):",
            " try:",
            f"  p = 0; {first}",
            *self._lines,
            *(() if self.validated else ("  if p != len(b): bad()",)),
            f"  return {result}",
            " except (IndexError, UnicodeDecodeError, RecursionError):",
            "  raise Invalid('contract', 'The value does not fit its schema.') from None",
        ]
        exec(compile("\n".join(source), "<walk>", "exec"), self._constants)  # noqa: S102  # no text of the schema
        return self._constants["walk"]

    def line(self, *lines: str) -> None:
        """Write lines at the present depth."""
        self._lines.extend(" " * self._indent + line for line in lines)

    def inside(self, head: str, body: Callable[[], object]) -> None:
        """Write a compound statement."""
        self.line(head)
        self._indent += 1
        body()
        self.line("pass")
        self._indent -= 1

    def name(self, letter: str) -> str:
        """Return a variable that nothing else uses."""
        self._count += 1
        return f"{letter}{self._count}_"

    def constant(self, value: Any) -> str:
        """Return a name by which the walk finds `value`."""
        name = self.name("k")
        self._constants[name] = value
        return name

    def long(self) -> None:
        """Read a varint into `x`, still zigzag."""
        self.line("x = b[p]", "if x < 128: p += 1", "else: x, p = varint(b, p)")

    def length(self) -> None:
        """Read a length into `q`: the position after so many bytes. Past the end is noticed at the next read."""
        # One look tells that a length is below 64 and not negative, as nearly all are.
        self.line("x = b[p]", "if x & 129: x, p = length(b, p)", "else: p += 1", "q = p + (x >> 1)")

    def index(self, choices: int) -> None:
        """Read the doubled index of one of `choices` into `x`."""
        if choices <= _ONE_BYTE:
            self.line("x = b[p]; p += 1")
        else:
            self.long()
        if not self.validated:
            self.line(f"if x & 1 or x > {2 * choices - 2}: bad()")

    def skip(self, node: Any, *, depth: int) -> None:
        """Walk over a value of the type `node`. `depth` counts the loops around it in this function."""
        found = self.types.resolve(node)
        if (size := self.size(found)) is not None:
            if size:
                self.line(f"p += {size}")
        elif isinstance(node, str) and isinstance(found, dict) and "fields" in found:
            self._skip_named(node)
        elif isinstance(found, dict):
            self._skip_complex(cast("dict[str, Any]", found), depth=depth)
        elif isinstance(node, list):
            self.union(cast("list[Any]", node), lambda branch: self.skip(branch, depth=depth))
        else:
            self._skip_primitive(node)

    def _skip_primitive(self, kind: str) -> None:
        match kind:
            case "string":
                self.length()
                self.line("p = q" if self.validated else "b[p:q].decode(); p = q")
            case "bytes":
                self.length()
                self.line("p = q")
            case "int" if not self.validated:
                self.long()
                self.line("if x > 0xFFFFFFFF: bad()")
            case "boolean":
                self.line("if b[p] > 1: bad()", "p += 1")
            case _:
                self.line("if b[p] < 128: p += 1", "else: p = varint(b, p)[1]")

    def _skip_complex(self, node: Mapping[str, Any], *, depth: int) -> None:
        match node["type"]:
            case "record" | "error":
                for field in node["fields"]:
                    self.skip(field["type"], depth=depth)
            case "enum":
                self.index(len(node["symbols"]))
            case "array":
                items = node["items"]
                self.blocks(lambda inner: self.skip(items, depth=inner), depth=depth, size=self.size(items))
            case "map":
                self.blocks(lambda inner: self._skip_entry(node["values"], depth=inner), depth=depth)
            case primitive:
                self._skip_primitive(primitive)

    def _skip_entry(self, values: Any, *, depth: int) -> None:
        self.skip("string", depth=depth)
        self.skip(values, depth=depth)

    def _skip_named(self, name: str) -> None:
        """Walk over a type by its name: in a function of its own, because a type may contain itself."""
        if name not in self._named:
            self._named[name] = self.name("f")
            outer, self._skipping = self._skipping, True
            self._define(self._named[name], "b, p", lambda: self.skip(self.types.named[name], depth=0))
            self._skipping = outer
        self.line(f"p = {self._named[name]}(b, p)")

    def _define(self, name: str, taking: str, body: Callable[[], object]) -> None:
        outer = self._lines, self._indent
        self._lines, self._indent = [], 1
        body()
        self._functions.extend([f"def {name}({taking}):", *self._lines, " return p"])
        self._lines, self._indent = outer

    def size(self, node: Any, within: tuple[str, ...] = ()) -> int | None:
        """Return how many bytes every value of `node` takes, or `None` when they differ or need validation."""
        node = self.types.resolve(node)
        if isinstance(node, str):
            return _SIZES.get(node)
        if isinstance(node, list):
            return None
        kind = cast("dict[str, Any]", node)
        if kind["type"] == "fixed":
            return kind["size"]
        if kind["type"] not in ("record", "error"):
            return _SIZES.get(kind["type"])
        if kind["name"] in within:
            return None
        sizes = [self.size(field["type"], (*within, kind["name"])) for field in kind["fields"]]
        return None if None in sizes else sum(cast("list[int]", sizes))

    def union(self, union: list[Any], branch: Callable[[Any], object]) -> None:
        """Walk over a union: `branch` writes the walk over one of its types."""
        self.index(len(union))
        index = self.name("u")
        self.line(f"{index} = x")
        for number, node in enumerate(union):
            head = f"{'if' if number == 0 else 'elif'} {index} == {2 * number}:"
            self.inside(head, lambda node=node: branch(node))

    def blocks(
        self,
        item: Callable[[int], object],
        *,
        depth: int,
        size: int | None = None,
        counted: Callable[[str], None] | None = None,
    ) -> None:
        """Walk over the blocks of an array or map.

        `item` writes the walk over one item at the depth that it is given, `counted` what is to be done with the
        variable that holds a block's count; items of a fixed `size` are stepped over at once.
        """
        if depth >= _DEEPEST_LOOP:
            shared = () if self._skipping else self.shared()
            name, taking = self.name("f"), ", ".join(("b", "p", *shared))
            self._define(name, taking, lambda: self.blocks(item, depth=0, size=size, counted=counted))
            self.line(f"p = {name}({taking})")
            return
        self.inside("while True:", lambda: self._block(item, depth=depth, size=size, counted=counted))

    def shared(self) -> tuple[str, ...]:
        """Return the variables beside `b` and `p` that every function of the walk needs where it keeps something."""
        return ()

    def _block(
        self, item: Callable[[int], object], *, depth: int, size: int | None, counted: Callable[[str], None] | None
    ) -> None:
        count, end = self.name("c"), self.name("e")
        self.long()
        self.line("if x == 0: break", f"{count} = (x + 1) >> 1; {end} = -1")
        # SPEC Avro "Arrays": "If a block's count is negative, its absolute value is used, and the count is followed
        # immediately by a long block size indicating the number of bytes in the block."
        self.inside("if x & 1:", lambda: (self.length(), self.line(f"{end} = q")))
        if counted is not None:
            counted(count)
        if size is None:
            self.inside(f"for _ in range({count}):", lambda: item(depth + 1))
        elif size:
            self.line(f"p += {size} * {count}")
        else:
            # Items that take no bytes could be counted without end, and whoever decodes them would count along; a few
            # more than there are bytes are an honest list in a short record.
            self.line(f"if {count} > len(b) + {_FEW}: bad()")
        self.line(f"if {end} >= 0 and {end} != p: bad()")
