"""Follow a log: each look must extend the last accepted one, and what was read of the entries must give the root.

- A look compares the checkpoint with the remembered one by the log's own tiles. When those belong to the new checkpoint
  and say another thing of the old size than was signed, that is a proof for everybody (`witnessing.contradiction`).
- A smaller checkpoint than the last is an old copy for a while, and a rollback when it stays.
- With entries read, each stretch of the log is compared with the signed root before `check_leaves` sees it, in order
  and without gaps. Memory does not grow with the log.
- What is missing or unreachable proves nothing: the next look tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint
from integrator_audit.errors import Invalid, Refused, Tampered, Unavailable
from integrator_audit.merkle import RightEdge, Subtree, leaf_hash
from integrator_audit.sources import Source
from integrator_audit.state import State
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, TileName, TileRow, hashes_at, split_bundle, subtree_reader
from integrator_audit.verify import Demand, fetch_tile, remembered
from integrator_audit.witnessing.contradiction import Contradiction, find_contradiction, prefix_root
from integrator_audit.witnessing.policy import Quorum

PATIENCE: Final = 600
"""Seconds for which a smaller checkpoint than the last may be an old copy."""
STRETCH: Final = 256 * TILE_WIDTH
"""Entries that are read before they are compared with the root."""
READ: Final = "read"
"""The kind of state that says up to where entries were read."""

CheckLeaves = Callable[[int, Sequence[bytes]], None]
"""(index of the first, leaves) -> None; raises `Tampered` when they break a rule of this kind of log."""


class Misbehaved(Tampered):
    """The log broke its word. `notes` are what it signed; `contradiction` proves it to others, where it can be."""

    def __init__(
        self, code: str, message: str, notes: Sequence[bytes], contradiction: Contradiction | None = None
    ) -> None:
        super().__init__(code, message)
        self.notes = tuple(notes)
        self.contradiction = contradiction


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw: the checkpoint, the size accepted before (None the first time), the quorum if demanded.

    `result` is `unknown` when what is demanded of witnesses is not met or the checkpoint is an older one. `read` counts
    the entries read by this look.
    """

    result: Literal["verified", "unknown"]
    checkpoint: Checkpoint
    previous: int | None
    quorum: Quorum | None
    stale: bool
    read: int


class Monitor:
    """Follow one log. One thread at a time."""

    def __init__(
        self,
        source: Source,
        keys: LogKeys,
        *,
        state: State,
        check_leaves: CheckLeaves | None = None,
        whole: bool = False,
    ) -> None:
        """Follow the log at `source` from what `state` remembers.

        With `check_leaves` the entries are read too, from where they were read before; with `whole` from the first on
        in each process, for rules that need all of them.
        """
        self._source = source
        self._keys = keys
        self._state = state
        self._check_leaves = check_leaves
        # The tree over the entries that were read; None until the first look finds out.
        self._edge = RightEdge() if whole else None
        self._stale_since: int | None = None

    def look(self, now: int, demand: Demand | None = None) -> Look:
        """Fetch the checkpoint, check everything that is new, and remember it; `now` in POSIX seconds.

        Raises `Misbehaved` when the log broke its word, another `Tampered` when a signature or the data does not hold,
        `Unavailable` when something cannot be fetched.
        """
        note = self._source.fetch("checkpoint")
        if note is None:
            raise Unavailable("no-checkpoint", "there is no checkpoint at that place: is it the prefix of a log?")
        try:
            quorum = None if demand is None else demand.policy.open(note, self._keys, now=now).quorum
            checkpoint = open_checkpoint(note, self._keys)
        except Invalid as error:
            raise Tampered("checkpoint-malformed", f"checkpoint: {error.message}") from error
        previous = remembered(self._state, self._keys)
        earlier = self._state.load(self._keys.name)
        if previous is not None and earlier is not None:
            self._compare(earlier, previous, note, checkpoint)
            if checkpoint.size < previous.size:
                self._be_patient((earlier, note), previous.size, checkpoint.size, now)
                return Look("unknown", checkpoint, previous.size, quorum, stale=True, read=0)
        self._stale_since = None
        read = 0 if self._check_leaves is None else self._read(note, checkpoint, self._check_leaves)
        self._state.advance(self._keys.name, earlier, note)
        if self._check_leaves is not None:
            self._state.save(self._keys.name, note, READ)
        fresh = demand is None or quorum is None or quorum.is_fresh(now, demand.max_age)
        size = None if previous is None else previous.size
        return Look("verified" if fresh else "unknown", checkpoint, size, quorum, stale=False, read=read)

    def _compare(self, earlier: bytes, previous: Checkpoint, note: bytes, checkpoint: Checkpoint) -> None:
        """Raise `Misbehaved` when the two checkpoints cannot be of one history."""
        older, newer = (earlier, note) if previous.size <= checkpoint.size else (note, earlier)
        size = max(previous.size, checkpoint.size)
        try:
            found = find_contradiction(older, newer, keys=self._keys, subtree=self._subtree(size))
        except (Unavailable, Tampered) as error:
            if checkpoint.size < previous.size:
                return  # A log that was rolled back has no tiles of the larger size; `_be_patient` sees to it.
            if isinstance(error, Unavailable):
                raise
            message = f"the tiles do not belong to the checkpoint of size {size} that the log signed: run verify"
            raise Misbehaved("tile-wrong", message, (earlier, note)) from error
        if found is not None:
            message = (
                f"the log signed two histories up to size {min(previous.size, checkpoint.size)}: "
                f"one that it showed before, of size {previous.size}, and one of size {checkpoint.size}"
            )
            raise Misbehaved("fork", message, (earlier, note), found)

    def _be_patient(self, notes: Sequence[bytes], previous: int, size: int, now: int) -> None:
        self._stale_since = now if self._stale_since is None else self._stale_since
        if now - self._stale_since >= PATIENCE:
            message = (
                f"for {now - self._stale_since} seconds the log has shown size {size}, "
                f"and it has signed size {previous} before: it was rolled back"
            )
            raise Misbehaved("rollback", message, notes)

    def _read(self, note: bytes, checkpoint: Checkpoint, check_leaves: CheckLeaves) -> int:
        """Read the entries that are new, compare each stretch with the signed root, and show it to the check."""
        subtree = self._subtree(checkpoint.size)
        edge = self._recovered_edge(checkpoint.size, subtree) if self._edge is None else self._edge
        start = edge.size
        if start > checkpoint.size:
            raise Unavailable("read-ahead", f"entries were read up to {start}, the log shows {checkpoint.size}")
        while edge.size < checkpoint.size:
            first = edge.size
            stop = min(checkpoint.size, (first // STRETCH + 1) * STRETCH)
            leaves = self._leaves(first, stop, checkpoint.size)
            grown = edge.copy()
            grown.extend(map(leaf_hash, leaves))
            try:
                holds = grown.root() == prefix_root(stop, checkpoint, subtree)[0]
            except Tampered:
                holds = False
            if not holds:
                message = f"the entries {first} to {stop - 1} do not give the root that the log signed: run verify"
                raise Misbehaved("root-wrong", message, (note,))
            try:
                check_leaves(first, leaves)
            except Tampered as error:
                raise Misbehaved(error.code, error.message, (note,)) from error
            edge = self._edge = grown
        self._edge = edge
        return checkpoint.size - start

    def _recovered_edge(self, size: int, subtree: Subtree) -> RightEdge:
        """Return the tree up to where entries were read, checked against the note that was remembered then.

        By the tiles of the log as it is now: what was whole then is whole in them too, and a log that was exported anew
        has no partial tiles of earlier sizes.
        """
        note = self._state.load(self._keys.name, READ)
        if note is None:
            return RightEdge()
        try:
            then = open_checkpoint(note, self._keys)
        except (Invalid, Tampered) as error:
            # It is this verifier's own file: nothing in it speaks against the log.
            path = self._state.path(self._keys.name, READ)
            message = (
                f"what is remembered in {path} of the entries that were read was not signed by this key: the file was "
                "changed. Find out how before removing it"
            )
            raise Refused("state-other-key", message) from error
        if then.size > size:
            raise Unavailable("read-ahead", f"entries were read up to {then.size}, the log shows {size}")
        edge = RightEdge.load(then.size, subtree)
        if edge.root() != then.root:
            raise Unavailable("tile-wrong", f"the tiles do not give the root that was accepted for size {then.size}")
        return edge

    def _leaves(self, start: int, stop: int, size: int) -> list[bytes]:
        found: list[bytes] = []
        for number in range(start // TILE_WIDTH, -(-stop // TILE_WIDTH)):
            name = TileName(ENTRIES, number, min(TILE_WIDTH, size - number * TILE_WIDTH))
            entries = split_bundle(self._fetched(name), name.width)
            first = number * TILE_WIDTH
            found += entries[max(start - first, 0) : stop - first]
        return found

    def _subtree(self, size: int) -> Subtree:
        """Return a reader of the tree of `size` by the log's tiles, each fetched once."""
        tiles: dict[tuple[int, int], TileRow] = {}

        def tile(level: int, index: int) -> TileRow:
            if (level, index) not in tiles:
                width = min(TILE_WIDTH, hashes_at(level, size) - index * TILE_WIDTH)
                tiles[level, index] = TileRow(level, index, width, self._fetched(TileName(level, index, width)))
            return tiles[level, index]

        return subtree_reader(tile)

    def _fetched(self, name: TileName) -> bytes:
        data = fetch_tile(self._source, name)
        if data is None:
            raise Unavailable("tile-missing", f"{name.path} is missing: the log does not serve what it signed")
        return data
