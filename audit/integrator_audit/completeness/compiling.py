"""Compiles the dossier of some days for the checking cosigner: all rows of all tries, all that is unlisted, opened.

- The form is that of `integrator_audit.completeness.dossier`. Lines are made one after the other: memory does not
  grow with the day. A whole trie links the entries of one label, so a dossier goes to the cosigner and nobody else.
- Release entries stand among millions of others and only part D says which they are: their bodies are opened to look,
  unless the caller knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from cryptography.exceptions import InvalidTag

from integrator_audit.bodies import Erased, open_body
from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.lines import line_of
from integrator_audit.completeness.pages import PLACE_SIZE, Stored, leaves_of, places_of, unpack
from integrator_audit.completeness.presenting import Sealed, day_note
from integrator_audit.completeness.sealing import PeriodLogs
from integrator_audit.completeness.unlisted import RELEASE_MEMBER
from integrator_audit.encoding import to_base64
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.findings import Progress, no_progress
from integrator_audit.halfyear import last_day
from integrator_audit.keystore import KeyStore
from integrator_audit.parts import SALT_SIZE, read_part
from integrator_audit.store import EntryRow

SCHEMA: Final = "dienstenintegrator/dossier/v1"
PLACES_IN_LINE: Final = 16_384
"""Places of a list in one line: at most 450 KB of the 1 MiB that a line may have."""

_NAMES: Final = {Trie.PERSONS: "persons", Trie.RECIPIENTS: "recipients", Trie.PERIOD: "period"}
_RELEASES: Final = f'"{RELEASE_MEMBER}":'.encode()

Places = Iterable[tuple[int, int]]
Releases = Callable[[EpochLeaf], Places]


def dossier_lines(  # noqa: PLR0913  what days are made from
    sealed: Sealed,
    first: int,
    last: int,
    *,
    logs: Callable[[int], PeriodLogs],
    releases: Releases,
    progress: Progress = no_progress,
) -> Iterator[bytes]:
    """Yield the lines of the dossier for the days from `first` to `last`.

    `releases` gives the (shard, index) of a day's release entries, ascending: `scan_releases` finds them. Raises
    `Invalid` (`days`) when not all of these days are sealed, `Tampered` when the index or a shard is damaged.
    """
    if not 0 <= first <= last <= sealed.newest:
        raise Invalid("days", f"days {first} to {last} are not all sealed; the newest sealed day is {sealed.newest}")
    days = [leaf for leaf in map(sealed.leaf, range(first, last + 1)) if leaf.shards]
    periods = sorted({leaf.period for leaf in days})
    yield line_of(
        {
            "schema": SCHEMA,
            "epochs": {"origin": sealed.epochs.origin, "first": first, "last": last},
            "shards": [
                {"period": period, "shard": shard, "origin": reader.origin}
                for period in periods
                for shard, reader in sorted(sealed.shards(period).items())
            ],
            "institution": [
                {"period": period, "origin": identity.origin}
                for period in periods
                if (log := logs(period).institution) is not None and (identity := log.identity()) is not None
            ],
        }
    )
    for done, leaf in enumerate(days):
        progress(done, len(days))
        yield line_of({"day": leaf.epoch})
        tries = [Trie.PERSONS, Trie.RECIPIENTS]
        for trie in [*tries, Trie.PERIOD] if leaf.epoch == last_day(leaf.period) else tries:
            for stored in leaves_of(sealed.index, leaf.epoch, trie):
                yield from _row(sealed, leaf.epoch, trie, stored)
        if leaf.epoch == last_day(leaf.period):
            for one in sealed.index.altered(leaf.period):
                was, left = unpack(one.was), unpack(one.left)
                yield line_of({"altered": {"epoch": one.epoch, "was": was, "is": left}})
        yield from _openings(sealed, leaf, "unlisted", _unlisted(leaf, logs(leaf.period)))
        yield from _openings(sealed, leaf, "release", releases(leaf))


def scan_releases(logs: Callable[[int], PeriodLogs], vault: KeyStore) -> Releases:
    """Return what finds a day's release entries by opening part D of each listed entry of the day."""

    def found(leaf: EpochLeaf) -> Iterator[tuple[int, int]]:
        shards = logs(leaf.period).shards
        for item in leaf.shards:
            log = shards.get(item.shard)
            identity = None if log is None else log.identity()
            if log is None or identity is None:
                continue
            for row in log.entries(item.start, item.end):
                if not row.listed:
                    continue
                # What has another form is no release, and `fsck` names it.
                with suppress(Erased, Invalid):
                    said = _part_d(row, vault, origin=identity.origin, period=leaf.period)
                    if _RELEASES in said and RELEASE_MEMBER in read_part(said):
                        yield item.shard, row.number

    return found


def _part_d(row: EntryRow, vault: KeyStore, *, origin: str, period: int) -> bytes:
    try:
        return open_body(row, vault, origin=origin, period=period)["D"][SALT_SIZE:]
    except InvalidTag as error:
        message = f"part D of entry {row.number} of {origin} is not what was committed; run fsck"
        raise Tampered("entry-changed", message) from error


def _row(sealed: Sealed, epoch: int, trie: Trie, stored: Stored) -> Iterator[bytes]:
    """Yield a row, its list in as many lines as it takes."""
    row: dict[str, object] = {"trie": _NAMES[trie], "label": to_base64(stored.label)}
    if stored.salt is None:
        yield line_of(row | {"hL": to_base64(stored.content), "ground": stored.ground})
        return
    # Twice over the list: how long it is stands before it, and it may be as long as the day.
    count = sum(len(piece) for piece in places_of(sealed.index, epoch, trie, stored)) // PLACE_SIZE
    row |= {"salt": to_base64(stored.salt), "m": count}
    for places in _split(places_of(sealed.index, epoch, trie, stored)):
        yield line_of(row | {"list": places})
        row = {}


def _split(pieces: Iterable[bytes]) -> Iterator[Sequence[tuple[int, int]]]:
    for piece in pieces:
        places = unpack(piece)
        for start in range(0, len(places), PLACES_IN_LINE):
            yield places[start : start + PLACES_IN_LINE]


def _unlisted(leaf: EpochLeaf, logs: PeriodLogs) -> Iterator[tuple[int, int]]:
    for item in leaf.shards:
        log = logs.shards.get(item.shard)
        if log is not None:
            yield from ((item.shard, index) for index in log.unlisted_between(item.start, item.end))


def _openings(sealed: Sealed, leaf: EpochLeaf, kind: str, places: Places) -> Iterator[bytes]:
    """Yield the openings of entries; one whose body was erased since cannot be opened, and is missing."""
    shards = sealed.shards(leaf.period)
    notes: dict[int, bytes] = {}
    for shard, index in places:
        if shard not in notes:
            notes[shard] = day_note(sealed, leaf, shard)
        with suppress(Erased):
            yield line_of({kind: shards[shard].opening(index, "ADSP", note=notes[shard])})
