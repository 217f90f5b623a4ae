"""The supervisor's sample as a file, and its comparison with a dossier: each drawn entry under a label of its person.

JSON lines, each a strict JSON object; bytes in base64. It names people: it is the supervisor's alone, for its time.

    {"schema": "dienstenintegrator/sample/v1", "origin", "keys": [{"period", "spki", "certificate": [nine roots]}]}
    {"day": epoch, "shard", "index"}                                an entry to ask about, as `draw_sample` writes it
    {"day", "shard", "index", "people": [{"number", "y"}, …]}       the same with the answer

- The operator opens the entry to the supervisor; the recipient that part D names says which persons the delivery was
  about; the label service gives its public key of each half-year, and y of each number. More than one person is for a
  delivery about several: its entry is then one of theirs.
- The lists are those of the dossier, whose trie has the root in the epoch log. So nobody is asked for a proof, and
  nobody but the recipient and the label service learns which entries were drawn of whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from integrator_audit.completeness.attribution import Random, draw
from integrator_audit.completeness.cosigning import check_remembered
from integrator_audit.completeness.dossier import PERSONS, Dossier
from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.completeness.fields import Fields
from integrator_audit.completeness.labels import (
    DAY,
    SIGNATURE_SIZE,
    LabelKey,
    label_of,
    label_secret,
    signed_input,
)
from integrator_audit.completeness.lines import MAX_LINE, line_of
from integrator_audit.completeness.memory import Memory
from integrator_audit.completeness.trie import root_of
from integrator_audit.errors import Invalid, Tampered, Unavailable
from integrator_audit.findings import Finding, Findings
from integrator_audit.halfyear import date_of, period_name
from integrator_audit.strictjson import read_object

SCHEMA: Final = "dienstenintegrator/sample/v1"


class Drawn(NamedTuple):
    """A drawn entry: its day, and where it stands."""

    day: int
    shard: int
    number: int


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom a delivery was about: canonical number "scheme:value", and y of it."""

    number: str = field(repr=False)
    y: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """What was drawn of which epoch log, with the answers so far; `keys` by half-year."""

    origin: str
    keys: Mapping[int, LabelKey]
    people: Mapping[Drawn, tuple[Person, ...]]


@dataclass(frozen=True, slots=True)
class Sampled:
    """What became of the drawn entries: `attributed` stand under their person, `unlisted` under nobody.

    What is unlisted was opened to the checking cosigner. `unanswered` are those whose persons are not in the file yet.
    """

    attributed: int
    unlisted: int
    unanswered: int
    findings: tuple[Finding, ...]
    left_out: int


def draw_sample(epochs: EpochLog, first: int, last: int, *, count: int, random: Random) -> Iterator[bytes]:
    """Yield the lines of a sample: at most `count` entries of each of these days. Raises `Invalid` (`sample-days`)."""
    if not epochs.first <= first <= last <= epochs.newest:
        raise Invalid("sample-days", "not all of these days are in the epoch log, or they end before they begin")
    yield line_of({"schema": SCHEMA, "origin": epochs.origin, "keys": list[object]()})
    for leaf in epochs.leaves[first : last + 1]:
        for shard, index in draw(leaf, count, random):
            yield line_of({"day": leaf.epoch, "shard": shard, "index": index})


def read_sample(lines: Iterable[bytes]) -> Sample:
    """Read a sample; raise `Invalid` (`sample-line`) naming the line, and never what stands in it.

    Raises `Tampered` (`label-key`, `label-key-certificate`) when a label key is no permutation.
    """
    origin = ""
    keys: dict[int, LabelKey] = {}
    people: dict[Drawn, tuple[Person, ...]] = {}
    for at, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = Fields(read_object(line, what="it", limit=MAX_LINE), "it")
            if not origin:
                if fields.text("schema") != SCHEMA:
                    raise fields.error(f"is not of the schema {SCHEMA}")
                origin, given = fields.text("origin"), fields.objects("keys")
            else:
                drawn = Drawn(*(fields.number(name) for name in ("day", "shard", "index")))
                people[drawn] = tuple(map(_person, fields.objects("people"))) if fields.has("people") else ()
                given = []
            fields.end()
            read = [_read_key(item) for item in given]
        except (Invalid, Tampered) as error:
            raise Invalid("sample-line", f"line {at} of the sample: {error.message}") from error
        keys.update((period, _checked_key(spki, roots)) for period, spki, roots in read)
    if not people:
        raise Invalid("sample-line", "the sample is empty: it has no entry")
    return Sample(origin, keys, people)


def check_sample(sample: Sample, dossier: Dossier, epochs: EpochLog, memory: Memory) -> Sampled:
    """Check that each drawn entry stands under a label of the persons whom its delivery was about.

    `memory` is that of the checking cosigner, who accounted for all these days in this epoch log. Findings:
    `attribution-other` (the entry is listed under nobody of them), `label-signature` (a y is not of its number).

    Raises `Tampered` (`rollback`, `fork`, `trie-root`, `trie-order`, `label-key-other`, and what reading a dossier
    raises), `Invalid` (`sample-other`, `sample-days`, `sample-keys`), `Unavailable` (`dossier-erased`).
    """
    if not sample.origin == dossier.header.origin == epochs.origin:
        message = f"sample and dossier are not both about the epoch log {epochs.origin}"
        raise Invalid("sample-other", message)
    check_remembered(epochs, memory)
    first, last = dossier.header.first, dossier.header.last
    days = {drawn.day for drawn in sample.people}
    if min(days) < max(first, epochs.first) or max(days) > min(last, epochs.newest, memory.next_epoch - 1):
        message = "entries were drawn of days that are not in this dossier, or that were not checked and cosigned yet"
        raise Invalid("sample-days", message)
    check = _Check(sample)
    for leaf in epochs.leaves[first : min(last, max(days)) + 1]:
        if not leaf.shards:
            continue
        dossier.begin(leaf.epoch)
        drawn = [one for one in sample.people if one.day == leaf.epoch]
        if drawn:
            check.day(leaf, drawn, _labels(dossier, leaf, drawn))
        dossier.skip()
    return check.result()


class _Check:
    """Compares labels, and counts."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._findings = Findings()
        self._attributed = self._unlisted = self._unanswered = 0

    def day(self, leaf: EpochLeaf, drawn: Iterable[Drawn], labels: Mapping[Drawn, bytes]) -> None:
        """Compare the labels of the drawn entries of a day with those of their persons."""
        for one in sorted(drawn):
            item = leaf.range_of(one.shard)
            if item is None or not item.start <= one.number < item.end:
                message = f"entry {one.number} of shard {one.shard} is not of {date_of(leaf.epoch)}"
                raise Invalid("sample-days", message)
            people = self._sample.people[one]
            if one not in labels:
                self._unlisted += 1
            elif not people:
                self._unanswered += 1
            else:
                self._compare(one, leaf, people, labels[one])

    def result(self) -> Sampled:
        """Return what was found."""
        counts = self._attributed, self._unlisted, self._unanswered
        return Sampled(*counts, self._findings.items, self._findings.left_out)

    def _compare(self, drawn: Drawn, leaf: EpochLeaf, people: Iterable[Person], label: bytes) -> None:
        key = self._sample.keys.get(leaf.period)
        if key is None:
            message = f"the sample lacks the label key of {period_name(leaf.period)}: the label service makes it public"
            raise Invalid("sample-keys", message)
        if key.fingerprint != leaf.label_key:
            raise Tampered("label-key-other", f"the label key is not the one of day {leaf.epoch}")
        where = f"{date_of(leaf.epoch)}, shard {drawn.shard}, entry {drawn.number}"
        labels: list[bytes] = []
        for person in people:
            try:
                key.check_signature(person.y, signed_input(leaf.period, person.number))
            except Tampered as error:
                self._findings.add(error.code, where, "what the label service gave is not its signature of the number")
                return
            labels.append(label_of(label_secret(person.y), DAY, leaf.epoch))
        if label in labels:
            self._attributed += 1
        else:
            message = "it is listed, and not under the person whom its delivery was about"
            self._findings.add("attribution-other", where, message)


def _labels(dossier: Dossier, leaf: EpochLeaf, drawn: Iterable[Drawn]) -> dict[Drawn, bytes]:
    """Return under which label each drawn entry is listed; the whole trie is the one that was sealed."""
    wanted = {(one.shard, one.number): one for one in drawn}
    found: dict[Drawn, bytes] = {}

    def rows() -> Iterator[tuple[bytes, bytes]]:
        for row in dossier.rows(PERSONS):
            if row.ground is not None:
                message = f"lists of {date_of(leaf.epoch)} were erased: nobody can tell any more what stood in them"
                raise Unavailable("dossier-erased", message)
            for piece in row.pieces:
                found.update((wanted[place], row.label) for place in piece if place in wanted)
            yield row.label, row.content

    try:
        root = root_of(rows())
    except Invalid as error:
        raise Tampered("trie-order", f"the persons of {date_of(leaf.epoch)}: {error.message}") from error
    if root != leaf.persons_root:
        message = f"the persons in the dossier for {date_of(leaf.epoch)} are not those of the epoch log"
        raise Tampered("trie-root", message)
    return found


def _person(fields: Fields) -> Person:
    person = Person(fields.text("number"), fields.data("y", size=SIGNATURE_SIZE))
    fields.end()
    signed_input(0, person.number)
    return person


def _read_key(fields: Fields) -> tuple[int, bytes, tuple[bytes, ...]]:
    read = fields.number("period"), fields.data("spki"), fields.hashes("certificate", size=SIGNATURE_SIZE)
    fields.end()
    return read


def _checked_key(spki: bytes, certificate: tuple[bytes, ...]) -> LabelKey:
    key = LabelKey.read(spki)
    key.check_certificate(certificate)
    return key
