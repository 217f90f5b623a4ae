"""Lists of logs after C2SP tlog-list: which logs a witness cosigns, and which key it believes of each origin.

- Source: https://c2sp.org/tlog-list. The parser takes nothing that the specification does not; an error says which line
  is wrong.
- Here a log's origin may differ from its key's name, as that of older logs does; a trust policy cannot say that.
- How often a log may ask, and whom to call, are read and left to whoever runs the witness.
"""

from __future__ import annotations

from typing import Final

from integrator_audit.errors import Invalid
from integrator_audit.witnessing.cosignature import LogKey, read_log_key

MAX_LIST: Final = 16 * 1024 * 1024
HEADER: Final = "logs/v0"
_MAX_PER_DAY: Final = 1 << 31


def is_list(data: bytes) -> bool:
    """Say whether a file is meant as a list of logs."""
    lines = (line.strip(b" \t") for line in data[:MAX_LIST].split(b"\n"))
    return next((line for line in lines if line and not line.startswith(b"#")), b"") == HEADER.encode()


def read_list(data: bytes) -> dict[str, LogKey]:
    """Return the key of each listed log by its origin; raise `Invalid` (`log-list`) naming the line that is wrong."""
    if len(data) > MAX_LIST:
        raise Invalid("log-list", f"a list of logs has at most {MAX_LIST} bytes")
    reader = _Reader()
    for number, line in enumerate(data.split(b"\n"), 1):
        reader.number = number
        try:
            text = line.decode().strip(" \t")
        except UnicodeDecodeError as error:
            raise reader.error("it is not UTF-8") from error
        if text and not text.startswith("#"):
            reader.read(text)
    return reader.end()


class _Reader:
    """Reads a list line by line: what stands next is said by what stood before."""

    def __init__(self) -> None:
        self.number = 0
        self._next: tuple[str, ...] = ("",)
        self._origin: str | None = None
        self._key: LogKey | None = None
        self._found: dict[str, LogKey] = {}

    def error(self, what: str) -> Invalid:
        return Invalid("log-list", f"line {self.number} of the list of logs: {what}")

    def read(self, text: str) -> None:
        if self._next == ("",):
            if text != HEADER:
                raise self.error(f"a list of logs starts with {HEADER}")
            self._next = ("vkey",)
            return
        word, _, value = text.partition(" ")
        value = value.strip(" \t")
        if word not in self._next or not value:
            raise self.error(f"here stands {' or '.join(self._next)}, a space and what it is")
        match word:
            case "vkey":
                try:
                    self._key = read_log_key(value)
                except Invalid as error:
                    raise self.error(error.message) from error
                self._origin, self._next = None, ("origin", "qpd")
            case "origin":
                self._origin, self._next = value, ("qpd",)
            case "qpd":
                # SPEC tlog-list: "It MUST be a number in the range [1, 2^31) encoded as an ASCII decimal consisting of
                # characters in the range `0`-`9` only, with no leading zeroes."
                if not (value.isascii() and value.isdigit()) or value[0] == "0" or len(value) > 10:
                    raise self.error("qpd is a decimal number without leading zeroes")
                if int(value) >= _MAX_PER_DAY:
                    raise self.error("qpd is below 2^31")
                self._next = ("contact",)
            case _:
                self._add()
                self._next = ("vkey",)

    def _add(self) -> None:
        assert self._key is not None  # noqa: S101  a contact comes after a key
        origin = self._origin or self._key.name
        # SPEC tlog-list: "Two logs MUST NOT share the same origin."
        if origin in self._found:
            raise self.error("another log of the list has the same origin")
        self._found[origin] = self._key

    def end(self) -> dict[str, LogKey]:
        if self._next == ("",):
            raise self.error(f"a list of logs starts with {HEADER}")
        if self._next != ("vkey",):
            raise self.error("the list ends in the middle of a log")
        return self._found
