"""Trust policies after C2SP tlog-policy: which logs, which witnesses, and which of them together are a quorum.

- Source: https://c2sp.org/tlog-policy. The parser takes nothing that the specification does not; an error says which
  line is wrong.
- `Policy.open` answers the question that matters: did a trusted log sign this checkpoint, and did a quorum cosign it?
- A quorum has a date: the newest moment at which enough witnesses said that this is the log. How old is too old is the
  caller's to say: a receipt may be years old, the state of a log not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint, read_unverified
from integrator_audit.errors import Invalid, Refused
from integrator_audit.note import Note
from integrator_audit.witnessing.cosignature import (
    Cosignature,
    CosignerKey,
    LogKey,
    read_log_key,
    verified_cosignatures,
)

MAX_POLICY = 256 * 1024
MAX_AGE = 48 * 3600
"""Seconds after which the newest quorum no longer says how a log is now."""

NONE = "none"

_Key = TypeVar("_Key", LogKey, CosignerKey)


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log that the policy trusts; `url` is its prefix, empty when the policy gives none."""

    key: LogKey
    url: str


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness by its name in the policy; `url` is its submission prefix, empty when the policy gives none."""

    name: str
    key: CosignerKey
    url: str


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """A group, which has witnessed what at least `threshold` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quorum:
    """Who cosigned a checkpoint, by the witness's name in the policy, and whether that is a quorum.

    `as_of` is the newest moment (POSIX seconds) at which those who had cosigned by then or later are a quorum; None
    without a quorum, and when the policy asks for none.
    """

    cosigned: Mapping[str, Cosignature]
    reached: bool
    as_of: int | None

    def is_fresh(self, now: int, max_age: int = MAX_AGE) -> bool:
        """Say whether the quorum is reached and, where cosignatures are asked for, at most `max_age` seconds old."""
        return self.reached and (self.as_of is None or now - self.as_of <= max_age)


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint that a trusted log signed, and its quorum, reached or not."""

    checkpoint: Checkpoint
    quorum: Quorum


@dataclass(frozen=True, slots=True)
class Policy:
    """What to trust. Groups stand in an order in which each refers to earlier ones only."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]
    quorum: str

    @classmethod
    def parse(cls, data: bytes) -> Policy:
        """Read a policy file; raise `Invalid` (`policy`) naming the line that is wrong."""
        return _Parser().read(data)

    def reached(self, names: Collection[str]) -> bool:
        """Say whether the witnesses of these names are a quorum."""
        if self.quorum == NONE:
            return True
        satisfied = set(names)
        for group in self.groups:
            if sum(member in satisfied for member in group.members) >= group.threshold:
                satisfied.add(group.name)
        return self.quorum in satisfied

    def needed(self, names: Iterable[str]) -> list[str]:
        """Return a smallest selection of `names`, the first ones preferred, that is a quorum; [] when there is none."""
        chosen: dict[str, list[str]] = {name: [name] for name in names}
        for group in self.groups:
            members = sorted((chosen[member] for member in group.members if member in chosen), key=len)
            if len(members) >= group.threshold:
                chosen[group.name] = [name for member in members[: group.threshold] for name in member]
        return chosen.get(self.quorum, [])

    def judge(self, note: bytes, *, now: int) -> Quorum:
        """Say which witnesses cosigned a note, whoever signed it; `now` in POSIX seconds.

        Raises `Invalid` for a malformed note, `Tampered` when the cosignature of a known witness is wrong.
        """
        by_key = {witness.key: witness.name for witness in self.witnesses}
        found = verified_cosignatures(Note.parse(note), by_key, now=now)
        found.sort(key=lambda cosignature: -cosignature.time)
        cosigned: dict[str, Cosignature] = {}
        as_of: int | None = None
        for cosignature in found:
            cosigned[by_key[cosignature.key]] = cosignature
            if as_of is None and self.quorum != NONE and self.reached(cosigned):
                as_of = cosignature.time
        return Quorum(cosigned, self.reached(cosigned), as_of)

    def open(self, note: bytes, keys: LogKeys | None = None, *, now: int) -> Witnessed:
        """Return the checkpoint that a log of the policy (or that `keys`) signed, with its quorum, reached or not.

        Raises `Invalid` for a malformed note or a policy without logs where `keys` are not given; `Refused` when the
        log is not one of the policy's; `Tampered` when no trusted key signed it, or a signature is wrong.
        """
        origin = read_unverified(note).origin
        if keys is None or self.logs:
            listed = self.keys_of(origin)
            keys = listed if keys is None else keys
        return Witnessed(open_checkpoint(note, keys), self.judge(note, now=now))

    def keys_of(self, origin: str | None = None) -> ListedKeys:
        """Return the keys of a log; without `origin`, of the only log that the policy lists.

        Raises `Refused` when the log is not among those listed, `Invalid` when the policy does not say which is meant.
        """
        origins = list(dict.fromkeys(log.key.name for log in self.logs))
        if not origins:
            raise Invalid("policy", "the policy lists no log; give the log's key, or add a line: log VKEY")
        if origin is None and len(origins) > 1:
            raise Invalid("policy", f"the policy lists {len(origins)} logs; give the key of the one that is meant")
        wanted = origins[0] if origin is None else origin
        if wanted not in origins:
            raise Refused("policy-log", f"the policy does not list the log {wanted}")
        return ListedKeys(wanted, tuple(log.key for log in self.logs if log.key.name == wanted))


@dataclass(frozen=True, slots=True)
class ListedKeys:
    """The keys that a policy lists for one origin: any of them may sign. It is a `checkpoint.LogKeys`.

    SPEC tlog-policy: "This name MUST correspond to the log's origin line, representing the identity of the log."
    """

    name: str
    verifiers: tuple[LogKey, ...]

    def for_size(self, size: int) -> Sequence[LogKey]:
        """Return all of them, whatever the size."""
        del size
        return self.verifiers


class _Parser:
    """Reads a policy line by line. Names are octets: they are kept as text in a way that can be undone."""

    def __init__(self) -> None:
        self._line = 0
        self._logs: list[PolicyLog] = []
        self._witnesses: list[PolicyWitness] = []
        self._groups: list[PolicyGroup] = []
        self._quorum: str | None = None
        self._public_keys: dict[str, set[bytes]] = {"log": set(), "witness": set()}
        self._members: set[str] = set()
        self._names: set[str] = set()

    def read(self, data: bytes) -> Policy:
        if len(data) > MAX_POLICY:
            raise Invalid("policy", f"a policy has at most {MAX_POLICY} bytes")
        # SPEC tlog-policy: "The policy file is line based, where each line is terminated by ASCII newline"
        lines = data.split(b"\n")
        unfinished = lines.pop()
        for self._line, line in enumerate(lines, 1):
            # SPEC tlog-policy: "the allowed octet values are 0x09 (tab), 0x0A (newline), 0x20-0x7E, and 0x80-0xFF."
            if any((octet < 0x20 and octet != 0x09) or octet == 0x7F for octet in line):
                raise self._error("it has a control character other than tab")
            # SPEC tlog-policy: "the items on each line are separated by "whitespace", which in this specification means
            # sequences of ASCII space and tab characters *only*."
            items = line.replace(b"\t", b" ").split(b" ")
            self._read_line([item.decode(errors="surrogateescape") for item in items if item])
        if unfinished:
            self._line = len(lines) + 1
            raise self._error("it does not end in a newline")
        if self._quorum is None:
            raise Invalid("policy", f"the policy has no quorum line; without witnesses it says 'quorum {NONE}'")
        return Policy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum)

    def _read_line(self, items: list[str]) -> None:
        # SPEC tlog-policy: "Empty lines (whitespace only) and comment lines (lines starting with "#", possibly preceded
        # by whitespace) are allowed and ignored."
        if not items or items[0].startswith("#"):
            return
        match items:
            case ["log", vkey, *url] if len(url) < 2:
                key = self._key(read_log_key, vkey)
                self._unique("log", key.public_key)
                self._logs.append(PolicyLog(key, "".join(url)))
            case ["witness", name, vkey, *url] if len(url) < 2:
                witness_key = self._key(CosignerKey.from_text, vkey)
                self._define(name)
                self._unique("witness", witness_key.public_key)
                self._witnesses.append(PolicyWitness(name, witness_key, "".join(url)))
            # SPEC tlog-policy: "At least one member must be listed (i.e., n >= 1)."
            case ["group", name, threshold, *members] if members:
                self._add_group(name, threshold, members)
            case ["quorum", name]:
                # SPEC tlog-policy: "A policy file must include exactly one quorum line."
                if self._quorum is not None:
                    raise self._error("there is a quorum line already")
                if name != NONE:
                    self._defined(name)
                self._quorum = name
            case _:
                raise self._error(
                    "it is none of: log VKEY [URL], witness NAME VKEY [URL], group NAME all|any|K NAME..., quorum NAME"
                )

    def _add_group(self, name: str, threshold: str, members: list[str]) -> None:
        # SPEC tlog-policy: "a group definition can only refer to names defined on preceding lines. (This also rules out
        # circular group definitions)."
        for member in members:
            self._defined(member)
            # SPEC tlog-policy: "Each defined name can be listed as a group member at most once."
            if member in self._members:
                raise self._error(f"{_shown(member)} is a member of a group already")
            self._members.add(member)
        # SPEC tlog-policy: "If k is given numerically, it must be written in decimal, and it is required that 1 <= k <=
        # n."
        if threshold in ("all", "any"):
            needed = len(members) if threshold == "all" else 1
        elif threshold.isascii() and threshold.isdigit() and len(threshold) < 7 and not threshold.startswith("0"):
            needed = int(threshold)
        else:
            raise self._error("the threshold of a group is all, any or a decimal number from 1 on")
        if needed > len(members):
            raise self._error(f"the group has {len(members)} members and asks for {needed}")
        self._define(name)
        self._groups.append(PolicyGroup(name, needed, tuple(members)))

    def _define(self, name: str) -> None:
        # SPEC tlog-policy: "Witnesses and groups share a single namespace. The special name `none` is predefined; it
        # can be used when defining the quorum, but it is invalid as a group member."
        if name == NONE or name in self._names:
            raise self._error(f"the name {_shown(name)} is taken")
        self._names.add(name)

    def _defined(self, name: str) -> None:
        # SPEC tlog-policy: "the name must be properly defined on a line preceding the quorum definition."
        if name not in self._names:
            raise self._error(f"no line before it defines a witness or group {_shown(name)}")

    def _unique(self, kind: str, public_key: bytes) -> None:
        # SPEC tlog-policy: "Duplicate witnesses, i.e., multiple witness lines with the same public key, are not
        # allowed."
        # SPEC tlog-policy: "Two vkeys are considered *duplicate* if they wrap the same underlying public key, even if
        # they differ by key name and key id."
        if public_key in self._public_keys[kind]:
            raise self._error(f"another {kind} has the same public key")
        self._public_keys[kind].add(public_key)

    def _key(self, read: Callable[[str], _Key], vkey: str) -> _Key:
        # SPEC tlog-policy: "Log and witness keys must use a signature type approprate respective function"
        try:
            return read(vkey)
        except Invalid as error:
            raise self._error(error.message) from error

    def _error(self, what: str) -> Invalid:
        return Invalid("policy", f"line {self._line} of the policy: {what}")


def _shown(name: str) -> str:
    """Return a name as it may be printed."""
    return name.encode("ascii", "backslashreplace").decode()
