"""Makes what an operator shows: the history of a person, the account of a recipient.

- Each day of the range has an answer from the day's trie; a half-year that lies in the range whole and is closed has
  one answer, for a person. Every entry that these list is opened, under the checkpoint with which its day ended.
- Nothing here reads which entries are withheld, or how many: what is read and how long it takes depends on what is
  listed under the label that was asked for. Withheld entries are listed under no person's label.
- Who asks is checked elsewhere; the label's secret that is given here decides whose list is shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.index import IndexReading, Trie
from integrator_audit.completeness.labels import DAY, PERIOD, label_of, label_secret
from integrator_audit.completeness.lines import line_of
from integrator_audit.completeness.listing import LabelService
from integrator_audit.completeness.pages import PLACE_SIZE, Found, find, places_of, unpack
from integrator_audit.encoding import to_base64
from integrator_audit.errors import Invalid, Tampered, Unavailable
from integrator_audit.halfyear import first_day, last_day, period_of
from integrator_audit.reader import LedgerReader
from integrator_audit.store import Ground

HISTORY: Final = "dienstenintegrator/history/v1"
ACCOUNT: Final = "dienstenintegrator/account/v1"


@dataclass(frozen=True, slots=True)
class Sealed:
    """The sealed days, their owner's to close: epoch log, index, and by number the shards of each half-year."""

    epochs: LedgerReader
    index: IndexReading
    shards: Callable[[int], Mapping[int, LedgerReader]]

    def leaf(self, epoch: int) -> EpochLeaf:
        """Return a sealed day; raise `Tampered` (`epoch-leaf`) when what is kept of it is none."""
        try:
            return EpochLeaf.parse(self.epochs.leaf(epoch))
        except Invalid as error:
            raise Tampered("epoch-leaf", f"the log of days holds no day {epoch}: {error.message}") from error

    @property
    def newest(self) -> int:
        """Return the newest sealed day, -1 when there is none."""
        return self.epochs.size - 1


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a trie holds at a label: for one day, or by the last day of a half-year for all of it."""

    leaf: EpochLeaf
    trie: Trie
    label: bytes
    found: Found


@dataclass(slots=True)
class _Opened:
    """What was opened so far, and of which shards."""

    entries: list[object] = field(default_factory=list[object])
    erased: list[object] = field(default_factory=list[object])
    shards: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])


def history(
    sealed: Sealed, first: int, last: int, *, signature: Callable[[int], bytes], service: LabelService
) -> dict[str, object]:
    """Return the history document of a person for the days from `first` to `last`.

    `signature` gives y of the person for a period; it is asked for each period of the range, whether or not anything is
    listed. Raises `Invalid` (`days`) when not all of these days are sealed.
    """
    keys: dict[int, bytes] = {}

    def secret(period: int) -> bytes:
        if period not in keys:
            keys[period] = signature(period)
        return label_secret(keys[period])

    answers = list(_answers(sealed, (first, last), secret))
    document = _document(sealed, (first, last), answers)
    document["keys"] = [
        {
            "period": period,
            "spki": to_base64(service.spki(period)),
            "certificate": [to_base64(root) for root in service.certificate(period)],
            "y": to_base64(y),
        }
        for period, y in sorted(keys.items())
    ]
    return document


def account_lines(sealed: Sealed, first: int, last: int, *, recipient: str, secret: bytes) -> Iterator[bytes]:
    """Yield the account of a recipient, whose 32-byte secret is given, for the days from `first` to `last`.

    The form is that of `integrator_audit.completeness.account`. Lines are made one after the other: memory does not
    grow with the entries.

    Raises `Invalid` (`days`) when not all of these days are sealed, `Unavailable` (`shard-missing`), `Tampered`.
    """
    _check_days(sealed, first, last)
    days = [leaf for leaf in map(sealed.leaf, range(first, last + 1)) if leaf.shards]
    yield line_of(
        {
            "schema": ACCOUNT,
            "recipient": recipient,
            "epochs": {"origin": sealed.epochs.origin, "first": first, "last": last},
            "shards": [
                {"period": period, "shard": shard, "origin": reader.origin}
                for period in sorted({leaf.period for leaf in days})
                for shard, reader in sorted(sealed.shards(period).items())
            ],
        }
    )
    for leaf in days:
        label = label_of(secret, DAY, leaf.epoch)
        answer = _Answer(leaf, Trie.RECIPIENTS, label, find(sealed.index, leaf.epoch, Trie.RECIPIENTS, label))
        stored = answer.found.end
        siblings = [to_base64(sibling) for sibling in answer.found.siblings]
        day: dict[str, object] = {"day": leaf.epoch, "siblings": siblings}
        if stored is None or stored.label != label or stored.salt is None:
            yield line_of(day | {"end": _unlisted_end(answer)})
            continue
        # Twice over the list: how long it is stands before it, and it may be as long as the day.
        count = sum(len(piece) for piece in places_of(sealed.index, leaf.epoch, Trie.RECIPIENTS, stored)) // PLACE_SIZE
        yield line_of(day | {"end": {"leaf": {"salt": to_base64(stored.salt), "m": count}}})
        places = chain.from_iterable(map(unpack, places_of(sealed.index, leaf.epoch, Trie.RECIPIENTS, stored)))
        for opening, ground in _openings(sealed, leaf, places, letters="AD"):
            yield line_of({"entry": opening} if ground is None else {"erased": {"ground": ground, "opening": opening}})


def document_bytes(document: Mapping[str, object]) -> bytes:
    """Return a document as JSON in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _check_days(sealed: Sealed, first: int, last: int) -> None:
    if not 0 <= first <= last <= sealed.newest:
        raise Invalid("days", f"days {first} to {last} are not all sealed; the newest sealed day is {sealed.newest}")


def _answers(sealed: Sealed, days: tuple[int, int], secret: Callable[[int], bytes]) -> Iterator[_Answer]:
    first, last = days
    _check_days(sealed, first, last)
    epoch = first
    while epoch <= last:
        period = period_of(epoch)
        closing = last_day(period)
        whole = epoch == first_day(period) and closing <= last
        leaf = sealed.leaf(closing if whole else epoch)
        epoch = leaf.epoch + 1
        # Days before the log's first half-year have no shards, and nothing to say.
        if leaf.shards:
            level, number = (PERIOD, period) if whole else (DAY, leaf.epoch)
            label = label_of(secret(period), level, number)
            asked = Trie.PERIOD if whole else Trie.PERSONS
            yield _Answer(leaf, asked, label, find(sealed.index, leaf.epoch, asked, label))


def _document(sealed: Sealed, days: tuple[int, int], answers: Sequence[_Answer]) -> dict[str, object]:
    opened = _Opened()
    ends = [_end(sealed, answer, opened) for answer in answers]
    return {
        "schema": HISTORY,
        "epochs": {"origin": sealed.epochs.origin, "first": days[0], "last": days[1]},
        "shards": [
            {"origin": origin, "period": period, "shard": shard}
            for origin, (period, shard) in sorted(opened.shards.items(), key=lambda item: item[1])
        ],
        "days": ends,
        "entries": opened.entries,
        "erased": opened.erased,
    }


def _end(sealed: Sealed, answer: _Answer, opened: _Opened) -> dict[str, object]:
    """Return a day's answer; open what it lists."""
    stored = answer.found.end
    if stored is None or stored.label != answer.label or stored.salt is None:
        end = _unlisted_end(answer)
    else:
        pieces = places_of(sealed.index, answer.leaf.epoch, answer.trie, stored)
        places = [place for piece in pieces for place in unpack(piece)]
        end = {"leaf": {"salt": to_base64(stored.salt), "list": [list(place) for place in places]}}
        shards = sealed.shards(answer.leaf.period)
        for opening, ground in _openings(sealed, answer.leaf, places, letters="AS"):
            opened.entries += [opening] if ground is None else []
            opened.erased += [] if ground is None else [{"opening": opening, "ground": ground}]
        opened.shards.update({shards[shard].origin: (answer.leaf.period, shard) for shard, _ in places})
    return {
        "epoch": answer.leaf.epoch,
        "level": PERIOD if answer.trie is Trie.PERIOD else DAY,
        "siblings": [to_base64(sibling) for sibling in answer.found.siblings],
        "end": end,
    }


def _unlisted_end(answer: _Answer) -> dict[str, object]:
    """Return the end of a proof where nothing is listed under the label, or no longer."""
    stored = answer.found.end
    if stored is None:
        return {"empty": True}
    if stored.label != answer.label:
        return {"other": {"label": to_base64(stored.label), "hL": to_base64(stored.content)}}
    return {"erased": {"hL": to_base64(stored.content), "ground": stored.ground}}


def _openings(
    sealed: Sealed, leaf: EpochLeaf, places: Iterable[tuple[int, int]], *, letters: str
) -> Iterator[tuple[dict[str, object], Ground | None]]:
    """Open entries with the proof and the checkpoint of the day's end; of those that were erased, part A."""
    shards = sealed.shards(leaf.period)
    notes: dict[int, bytes] = {}
    for shard, index in places:
        if shard not in notes:
            notes[shard] = day_note(sealed, leaf, shard)
        reader = shards.get(shard)
        if reader is None:
            message = f"shard {shard} of the half-year of day {leaf.epoch} is not here to be opened"
            raise Unavailable("shard-missing", message)
        ground = reader.erased(index)
        yield reader.opening(index, letters if ground is None else "A", note=notes[shard]), ground


def day_note(sealed: Sealed, leaf: EpochLeaf, shard: int) -> bytes:
    """Return the checkpoint with which a day ended in a shard."""
    cut = sealed.index.cut(leaf.epoch, shard)
    item = leaf.range_of(shard)
    if cut is None or item is None or cut.size != item.end:
        message = f"the index lacks the checkpoint with which day {leaf.epoch} ended in shard {shard}"
        raise Tampered("index-cut", message)
    return cut.note
