"""The epoch log as a verifier sees it: fetched once, checked like any log, every rule of its leaves, and who vouches.

- A log that holds can still be shown to one person only, be old, or leave entries out. What speaks against that are
  cosignatures: a quorum of witnesses (others see the same log), the checking cosigner (all tries were rebuilt and
  nothing is left out), both at most 48 hours old, and a newest day that is yesterday, or today where midnight is near.
- What is missing of these is a *doubt*: nothing was found, and nothing can be said about it either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from integrator_audit.checkpoint import Checkpoint, LogKeys
from integrator_audit.completeness.epoch import EpochLeaf, check_log
from integrator_audit.errors import Tampered
from integrator_audit.findings import Finding, Progress, no_progress
from integrator_audit.halfyear import day_of
from integrator_audit.note import Note
from integrator_audit.sources import Source
from integrator_audit.state import State
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, TileName, split_bundle
from integrator_audit.verify import fetch_tile, verify_log
from integrator_audit.witnessing.cosignature import CosignerKey, verified_cosignatures
from integrator_audit.witnessing.policy import MAX_AGE, Policy

NOT_CHECKED: Final = "not-checked-for-omission"
AHEAD: Final = "epochs-ahead"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a verifier trusts: a policy of witnesses, the key of the checking cosigner. `now` is in POSIX seconds."""

    now: int
    policy: Policy | None = None
    cosigner: CosignerKey | None = None

    @property
    def today(self) -> int:
        """Return the number of the day."""
        return day_of(self.now * 1000)


@dataclass(frozen=True, slots=True)
class EpochLog:
    """A verified epoch log. `previous` is the size that was remembered, None when this is the first look.

    `doubts` say why it cannot be told whether everybody sees this log, whether it is whole and whether it is new.
    """

    checkpoint: Checkpoint
    note: bytes
    leaves: Sequence[EpochLeaf]
    previous: int | None
    doubts: tuple[Finding, ...]

    @property
    def origin(self) -> str:
        """Return the log's origin."""
        return self.checkpoint.origin

    @property
    def first(self) -> int:
        """Return the first day that has shards, or the number of days when none has."""
        return next((leaf.epoch for leaf in self.leaves if leaf.shards), len(self.leaves))

    @property
    def newest(self) -> int:
        """Return the newest day, -1 when there is none."""
        return len(self.leaves) - 1


def read_epoch_log(
    source: Source,
    keys: LogKeys,
    *,
    trust: Trust,
    state: State | None = None,
    progress: Progress = no_progress,
) -> EpochLog:
    """Fetch and verify an epoch log and all its leaves.

    Raises `Tampered` with the code of what `verify_log` finds first (`rollback`, `fork`, `root-wrong` …), with that of
    a leaf's rule (`epoch-…`), or `cosignature`; otherwise as `verify_log`.
    """
    kept = _Remembering(source)
    result = verify_log(kept, keys, state=state, progress=progress)
    if result.findings:
        finding = result.findings[0]
        raise Tampered(finding.code, f"epoch log, {finding.where}: {finding.message}")
    note = kept.fetch("checkpoint") or b""
    leaves = check_log(entry for bundle in _bundles(kept, result.checkpoint.size) for entry in bundle)
    doubts = tuple(_doubts(note, leaves, trust, keys))
    return EpochLog(result.checkpoint, note, leaves, result.previous, doubts)


def _bundles(source: Source, size: int) -> Sequence[Sequence[bytes]]:
    names = [
        TileName(ENTRIES, start // TILE_WIDTH, min(TILE_WIDTH, size - start)) for start in range(0, size, TILE_WIDTH)
    ]
    return [split_bundle(fetch_tile(source, name) or b"", name.width) for name in names]


def _doubts(note: bytes, leaves: Sequence[EpochLeaf], trust: Trust, keys: LogKeys) -> list[Finding]:
    doubts: list[Finding] = []
    if trust.policy is None:
        doubts.append(_doubt("no-policy", "no policy of witnesses was given: others may be shown another epoch log"))
    else:
        quorum = trust.policy.open(note, keys, now=trust.now).quorum
        if not quorum.reached or quorum.as_of is None:
            doubts.append(_doubt("no-quorum", "too few witnesses cosigned the epoch log: others may see another one"))
        elif not quorum.is_fresh(trust.now):
            doubts.append(_doubt("quorum-old", "the witnesses saw this epoch log more than 48 hours ago"))
    doubts += _cosigner_doubts(note, trust)
    if len(leaves) - 1 < trust.today - 1:
        message = f"the newest of {len(leaves)} days in the epoch log is older than yesterday"
        doubts.append(_doubt("epochs-old", message))
    if len(leaves) - 1 > trust.today:
        doubts.append(_doubt(AHEAD, "the epoch log has days that are not over: is the clock here right?"))
    elif leaves and day_of(leaves[-1].sealed_at) > trust.today + 1:
        # Those before were sealed earlier. What time it was sealed at is the operator's word, and this one is false.
        message = f"day {len(leaves) - 1} of the epoch log says to be sealed later than now: is the clock here right?"
        doubts.append(_doubt(AHEAD, message))
    return doubts


def _cosigner_doubts(note: bytes, trust: Trust) -> list[Finding]:
    if trust.cosigner is None:
        return [_doubt(NOT_CHECKED, "not checked for omission: no key of a checking cosigner was given")]
    found = verified_cosignatures(Note.parse(note), [trust.cosigner], now=trust.now)
    if not found:
        return [_doubt(NOT_CHECKED, f"not checked for omission: {trust.cosigner.name} has not cosigned the epoch log")]
    if trust.now - found[0].time > MAX_AGE:
        message = f"not checked for omission lately: {trust.cosigner.name} cosigned more than 48 hours ago"
        return [_doubt(NOT_CHECKED, message)]
    return []


def _doubt(code: str, message: str) -> Finding:
    return Finding(code, "checkpoint", message)


class _Remembering:
    """Fetches each file once: what was verified is what is read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._files: dict[str, bytes | None] = {}

    def fetch(self, path: str) -> bytes | None:
        """Return a file."""
        if path not in self._files:
            self._files[path] = self._source.fetch(path)
        return self._files[path]
