"""Verify a published log without trusting who publishes it: signature, every entry bundle, every tile, the history.

- The root is recomputed from the entry bundles; each tile is compared with it, and the wrong file is named.
- The log must extend the last checkpoint that this verifier accepted: a smaller one is a rollback, another root for
  that size a fork.
- With a policy, a quorum of witnesses must have cosigned the checkpoint, and lately: without that nobody knows whether
  others are shown the same log, and the verdict is that this could not be told.
- Memory does not grow with the log: files are fetched in order, a bounded number ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint
from integrator_audit.errors import Invalid, Refused, Tampered, Unavailable
from integrator_audit.findings import Finding, Findings, Progress, no_progress
from integrator_audit.sources import Source
from integrator_audit.state import State
from integrator_audit.tilecheck import TileCheck, entry_hashes
from integrator_audit.tiles import TileName, prefix
from integrator_audit.witnessing.policy import MAX_AGE, Policy, Quorum

CONCURRENT = 8
AHEAD = 64


@dataclass(frozen=True, slots=True)
class Demand:
    """Which witnesses must have cosigned, and when it is now (POSIX seconds); `max_age` in seconds."""

    policy: Policy
    now: int
    max_age: int = MAX_AGE


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found about one signed checkpoint.

    `previous` is the size of the checkpoint that was remembered, None when there was none: then a rollback or fork
    that happened before cannot be seen. `left_out` counts findings beyond those listed. `quorum` is None when none was
    demanded; `fresh` says whether what was demanded is met.
    """

    checkpoint: Checkpoint
    previous: int | None
    findings: tuple[Finding, ...]
    left_out: int
    quorum: Quorum | None = None
    fresh: bool = True

    @property
    def holds(self) -> bool:
        """Say whether nothing was found to be wrong."""
        return not self.findings

    @property
    def verdict(self) -> Literal["verified", "failed", "unknown"]:
        """Say what follows: a quorum that is missing or old is no proof that anything is wrong."""
        if self.findings:
            return "failed"
        return "verified" if self.fresh else "unknown"


def verify_log(
    source: Source,
    keys: LogKeys,
    *,
    state: State | None = None,
    demand: Demand | None = None,
    progress: Progress = no_progress,
) -> Verification:
    """Verify the log at `source` and, if nothing is wrong, remember its checkpoint in `state`.

    Raises `Tampered` when the checkpoint itself does not hold, `Unavailable` when the log cannot be fetched, `Refused`
    when what is remembered was accepted under another key, or the policy does not list the log; `Busy`
    (`state-changed`) when another verifier remembered something else meanwhile.
    """
    note = source.fetch("checkpoint")
    if note is None:
        raise Unavailable("no-checkpoint", "there is no checkpoint at that place: is it the prefix of a log?")
    try:
        quorum = None if demand is None else demand.policy.open(note, keys, now=demand.now).quorum
        checkpoint = open_checkpoint(note, keys)
    except Invalid as error:
        raise Tampered("checkpoint-malformed", f"checkpoint: {error.message}") from error
    seen = None if state is None else state.load(keys.name)
    previous = remembered(state, keys)
    findings = Findings()
    if previous is not None and previous.size > checkpoint.size:
        message = f"the log shows size {checkpoint.size} and has signed size {previous.size} before: it was rolled back"
        findings.add("rollback", "checkpoint", message)
    else:
        _check_files(source, checkpoint, previous, findings=findings, progress=progress)
    if state is not None and not findings.items:
        state.advance(keys.name, seen, note)
    fresh = demand is None or quorum is None or quorum.is_fresh(demand.now, demand.max_age)
    earlier = previous.size if previous else None
    return Verification(checkpoint, earlier, findings.items, findings.left_out, quorum, fresh)


def remembered(state: State | None, keys: LogKeys) -> Checkpoint | None:
    """Return the last accepted checkpoint; raise `Refused` (`state-other-key`) when these keys did not sign it."""
    note = None if state is None else state.load(keys.name)
    if state is None or note is None:
        return None
    try:
        return open_checkpoint(note, keys)
    except (Invalid, Tampered) as error:
        message = (
            f"the remembered checkpoint in {state.path(keys.name)} was not signed by this key: either the key is "
            "not the log's, or the file was changed. Find out which before removing the file"
        )
        raise Refused("state-other-key", message) from error


def _check_files(
    source: Source, checkpoint: Checkpoint, previous: Checkpoint | None, *, findings: Findings, progress: Progress
) -> None:
    # SPEC tlog-tiles: "Clients MUST NOT fetch arbitrary partial tiles without verifying a checkpoint with a size that
    # requires their existence"
    check = TileCheck(checkpoint.size, lambda name: fetch_tile(source, name), findings)
    old_size = None if previous is None else previous.size
    old_root = check.edge.root() if old_size == 0 else None
    files = _fetch_in_order(source, check.names())
    for (bundle_name, bundle), (tile_name, tile) in zip(files, files, strict=True):
        from_entries = entry_hashes(check.entries(bundle_name, bundle))
        from_tile = check.hashes(tile_name, tile)
        if from_entries is None and from_tile is None:
            # What comes after cannot be judged, and a size that nobody has entries for would have no end.
            return
        trusted = check.judge(tile_name, {"bundle": from_entries, "tile": from_tile}, checkpoint.root)
        if from_entries is not None and from_entries != trusted:
            findings.add("bundle-wrong", bundle_name.path, _where(from_entries, trusted, "entry"))
        if from_tile is not None and from_tile != trusted:
            findings.add("tile-wrong", tile_name.path, _where(from_tile, trusted, "hash"))
        start = check.edge.size
        if old_size is not None and start < old_size <= start + len(trusted):
            then = check.edge.copy()
            then.extend(trusted[: old_size - start])
            old_root = then.root()
        check.feed(trusted)
        progress(check.edge.size, checkpoint.size)
    check.finish()
    if check.edge.root() != checkpoint.root:
        findings.add("root-wrong", "checkpoint", "the entries do not give the root that the checkpoint signs")
    if previous is not None and old_root != previous.root:
        message = f"the log has another history up to size {previous.size} than it signed before: it was forked"
        findings.add("fork", "checkpoint", message)


def fetch_tile(source: Source, name: TileName) -> bytes | None:
    """Fetch a tile or bundle; where a partial one is gone, take it out of the full one.

    SPEC tlog-tiles: "MAY fetch the full tile in parallel as a fallback in case the partial tile is not available
    anymore."
    """
    data = source.fetch(name.path)
    if data is None and name != name.full:
        full = source.fetch(name.full.path)
        if full is not None:
            try:
                return prefix(name, full)
            except Tampered:
                return full
    return data


def _fetch_in_order(source: Source, names: Iterable[TileName]) -> Generator[tuple[TileName, bytes | None]]:
    waiting: deque[tuple[TileName, Future[bytes | None]]] = deque()
    with ThreadPoolExecutor(CONCURRENT, thread_name_prefix="fetch") as pool:
        try:
            for name in names:
                waiting.append((name, pool.submit(fetch_tile, source, name)))
                if len(waiting) > AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _where(given: Sequence[bytes], trusted: Sequence[bytes], what: str) -> str:
    wrong = next((at for at, (left, right) in enumerate(zip(given, trusted, strict=False)) if left != right), 0)
    return f"{what} {wrong} is not what the rest of the log says"
