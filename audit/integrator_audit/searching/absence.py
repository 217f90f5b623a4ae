"""Checks what is claimed of a whole range of a log: that nothing in it, or exactly so much, answers a question.

- The list is whole, or the check fails: every leaf is computed from what the list says, and all of them together give
  the root under the checkpoint that the log signed. Whoever makes the list cannot leave an entry out.
- The question is put to every statement as it was committed: a member that the list's maker does not index is asked for
  like any other.
- Entries that stayed closed may answer too. They are counted, and it is for the reader to say how many are too many.

LIMIT: what is proved is that the ledger *says* nothing of the kind. That a disclosure was never made needs the double
entry with its recipient as well; and a claim about an organisation is about all of its logs, so about a list of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO, Final, NamedTuple

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint
from integrator_audit.errors import Invalid, Tampered, Unavailable
from integrator_audit.findings import MAX_FINDINGS, Progress, no_progress
from integrator_audit.merkle import RightEdge, leaf_hash, verify_consistency
from integrator_audit.parts import PART_PREFIXES, entry_prefix, leaf_entry
from integrator_audit.searching.terms import Alternatives, holds, read_terms
from integrator_audit.searching.whole import Entries, Header, Statement, edge_heights, read_whole
from integrator_audit.witnessing.policy import Policy, Quorum

MAX_STATEMENTS: Final = 1 << 30
"""Bytes of all statements of a list: they are held in memory, and a packed file of some megabytes may hold many."""
_PREFIX_A: Final = PART_PREFIXES["A"]


@dataclass(frozen=True, slots=True)
class WholeList:
    """What a whole list proves of the entries from `start` to below `stop` of the log `origin`.

    `answers` is how many of them answer the question, `first` the indices of the first hundred; `closed` how many could
    not be asked. `compared` says whether an earlier checkpoint that the reader knew lies in the list and agrees with
    it, `behind` how many entries more than under the list's checkpoint the reader has seen. `quorum` is None without a
    policy.
    """

    origin: str
    start: int
    stop: int
    checkpoint: Checkpoint
    statements: int
    answers: int
    first: tuple[int, ...]
    closed: int
    compared: bool
    behind: int
    quorum: Quorum | None

    @property
    def is_all(self) -> bool:
        """Say whether the list is of all entries under its checkpoint."""
        return self.start == 0 and self.stop == self.checkpoint.size

    @property
    def is_witnessed(self) -> bool:
        """Say whether a quorum of witnesses cosigned the checkpoint."""
        return self.quorum is not None and self.quorum.as_of is not None


class _Said(NamedTuple):
    text: bytes
    answers: bool


def check_whole(  # noqa: PLR0913  the parts of what is claimed
    file: BinaryIO,
    keys: LogKeys,
    question: Alternatives,
    *,
    now: int,
    policy: Policy | None = None,
    earlier: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> WholeList:
    """Check a whole list and put a question to each of its statements; `now` in POSIX seconds, for cosignatures.

    Raises `Tampered`: `whole-malformed`, `whole-cut`, `whole-statement` (a part A that is not in its one form),
    `whole-origin`, `whole-checkpoint` (signature or cosignature), `whole-quorum`, `whole-root` (an entry was left out,
    added or changed), `whole-earlier` (the log has another history than the reader knew); `Unavailable`
    (`whole-too-large`).
    """
    header, lines = read_whole(file)
    checkpoint, quorum = _checkpoint(header, keys, policy, now)
    reading = _Reading(header, question, earlier)
    for line in lines:
        if isinstance(line, Statement):
            reading.learn(line.text)
        else:
            reading.take(line)
            progress(reading.edge.size - header.start, header.stop - header.start)
    reading.finish(checkpoint)
    return WholeList(
        header.origin,
        header.start,
        header.stop,
        checkpoint,
        len(reading.said) - 1,
        reading.answers,
        tuple(reading.first),
        reading.closed,
        reading.compared,
        0 if earlier is None else max(earlier.size - checkpoint.size, 0),
        quorum,
    )


class _Reading:
    """A list while it is read."""

    def __init__(self, header: Header, question: Alternatives, earlier: Checkpoint | None) -> None:
        roots = dict(zip(edge_heights(header.start), header.edge, strict=True))
        self.edge = RightEdge.load(header.start, lambda height, _: roots[height])
        self.said: list[_Said] = [_Said(b"", answers=False)]
        self.first: list[int] = []
        self.answers = self.closed = 0
        self.compared = False
        self._held = 0
        self._header = header
        self._question = question
        self._earlier = earlier
        self._prefixes: dict[int, bytes] = {}
        self._compare(self.edge)

    def learn(self, text: bytes) -> None:
        """Read a statement."""
        if len(self.said) > self._header.stop - self._header.start:
            raise Tampered("whole-malformed", "the list has more statements than entries")
        self._held += len(text)
        if self._held > MAX_STATEMENTS:
            message = f"the list's statements have more than {MAX_STATEMENTS} bytes: ask for lists of shorter ranges"
            raise Unavailable("whole-too-large", message)
        try:
            terms = read_terms(text)
        except Invalid as error:
            message = f"statement {len(self.said)} is not in its one form: {error.message}"
            raise Tampered("whole-statement", message) from error
        self.said.append(_Said(text, holds(self._question, terms)))

    def take(self, entries: Entries) -> None:
        """Append the leaves of one line."""
        start, origin = self.edge.size, self._header.origin
        if start + len(entries.statements) > self._header.stop:
            raise Tampered("whole-root", f"the list goes on after entry {self._header.stop - 1}, where it says to end")
        leaves: list[bytes] = []
        columns = zip(entries.statements, entries.types, entries.salts, entries.others, strict=True)
        for index, (number, kind, salt, others) in enumerate(columns, start):
            if number:
                text, answers = self.said[number]
                opened = sha256(_PREFIX_A + salt + text).digest()
                if answers:
                    self.answers += 1
                    if len(self.first) < MAX_FINDINGS:
                        self.first.append(index)
            else:
                opened = salt
                self.closed += 1
            prefix = self._prefixes.get(kind)
            if prefix is None:
                prefix = self._prefixes[kind] = entry_prefix(origin, kind)
            leaves.append(leaf_hash(leaf_entry(kind, sha256(prefix + opened + others).digest())))
        earlier = self._earlier
        if earlier is not None and start < earlier.size < start + len(leaves):
            then = self.edge.copy()
            then.extend(leaves[: earlier.size - start])
            self._compare(then)
        self.edge.extend(leaves)
        self._compare(self.edge)

    def finish(self, checkpoint: Checkpoint) -> None:
        """Compare all of it with the signed root."""
        header = self._header
        if self.edge.size != header.stop:
            raise Tampered("whole-cut", f"the list ends after entry {self.edge.size - 1}, before its {header.stop}")
        try:
            verify_consistency(
                (header.stop, self.edge.root()), (checkpoint.size, checkpoint.root), proof=header.consistency
            )
        except Tampered as error:
            message = (
                f"the list of {header.origin} from {header.start} to {header.stop} does not give the root that the log "
                "signed: an entry was left out, added or changed"
            )
            raise Tampered("whole-root", message) from error

    def _compare(self, edge: RightEdge) -> None:
        earlier = self._earlier
        if earlier is None or earlier.size != edge.size:
            return
        if edge.root() != earlier.root:
            message = f"{earlier.origin} has another history up to size {earlier.size} than it signed before"
            raise Tampered("whole-earlier", message)
        self.compared = True


def _checkpoint(header: Header, keys: LogKeys, policy: Policy | None, now: int) -> tuple[Checkpoint, Quorum | None]:
    if header.origin != keys.name:
        raise Tampered("whole-origin", f"the list says to be of {header.origin}, the key is that of {keys.name}")
    try:
        checkpoint = open_checkpoint(header.checkpoint, keys)
        quorum = None if policy is None else policy.open(header.checkpoint, keys, now=now).quorum
    except (Invalid, Tampered) as error:
        raise Tampered("whole-checkpoint", f"the checkpoint in the list does not hold: {error.message}") from error
    if header.stop > checkpoint.size:
        raise Tampered("whole-checkpoint", f"the list goes to {header.stop}, its checkpoint to {checkpoint.size} only")
    if quorum is not None and not quorum.reached:
        raise Tampered("whole-quorum", "no quorum of the policy's witnesses cosigned the checkpoint in the list")
    return checkpoint, quorum
