"""Plays a covert investigation: hidden from its person, seen by agency and supervisor, told when the order is over."""

from __future__ import annotations

import asyncio
import json
import zlib
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from integrator.domain.directory import Knowledge
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import SubjectRef
from integrator.recording import sealing
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.logs import end_of
from integrator.recording.openings import Openings
from integrator.recording.readers import Readers
from integrator.recording.sealed import Range
from integrator.recording.withholding import Withholding
from integrator_audit import Entry, LedgerReader, Signer, Vault, Verifier, read_part
from integrator_audit.completeness.account import AccountDocument, AskedAccount, verify_account
from integrator_audit.completeness.cosigning import CheckedDay, Rules, check_dossier
from integrator_audit.completeness.dossier import Dossier
from integrator_audit.completeness.doubleentry import Received
from integrator_audit.completeness.following import Follower
from integrator_audit.completeness.members import Delivery, DeliverySequence
from integrator_audit.completeness.memory import Memory
from integrator_audit.completeness.padding import padding_entries
from integrator_audit.completeness.unlisted import Order
from integrator_audit.halfyear import date_of, day_of, start_of
from integrator_audit.sources import DirectorySource
from integrator_audit.stores import open_reading
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_process import Sources, disclosures
from tests.unit.recording.test_recording_sealing import (
    MINUTES,
    TODAY,
    Accounts,
    Place,
    days_of,
    entries,
    histories,
    judged,
    ledger,
)

SUPERVISOR = Signer("supervisor.example/orders", b"o" * 32)
UNLISTED = 16
THAT_DAY = date_of(TODAY)


def known(*, last: date = THAT_DAY, agency: str = "groeifonds", signer: Signer = SUPERVISOR) -> Knowledge:
    """The directory with an authorisation that carries an order, from four days ago on."""
    note = Order("case-7", agency, date_of(TODAY - 4), last).sign(signer)
    return world.knowledge(world.authorisation(order=note.decode()))


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LOOK", 0.02)


async def seal(place: Place, day: int) -> None:
    """Let the day be filled with padding to its end, and then be over."""
    place.clock.now = start_of(day + 1) - 1
    await world.until(lambda: hidden(place) == UNLISTED * (day + 1 - TODAY))
    place.clock.now = start_of(day + 1) + MINUTES
    await place.sealed(day)


def hidden(place: Place) -> int:
    """How many entries of the shard are listed under nobody."""
    with closing(open_reading(world.files_at(place.root).store("s0-2026h2"))) as reading:
        head = reading.head()
        return 0 if head is None else len(reading.unlisted_between(0, head.size))


def seen(place: Place, who: SubjectRef) -> int:
    """How many disclosures the person is shown at once, without any day being over."""
    files = world.files_at(place.root)
    readers = Readers(files, generation_key=world.GENERATION)
    shown = Openings(readers.subjects, world.StillDirectory(world.knowledge()), key=world.LEDGER_KEY)
    try:
        return len(shown.page(who, after=None, limit=50).disclosures)
    finally:
        readers.close()


def checked(place: Place) -> dict[int, CheckedDay]:
    """What the checking cosigner makes of all days, from the dossier and the public files."""
    lines = zlib.decompress(b"".join(histories(place).dossier(Range())), wbits=31).splitlines(keepends=True)
    epochs = days_of(place)
    logs: dict[str, Follower] = {}
    for public in (place.root / "public").iterdir():
        if public.name != "epochs":
            key = Verifier.from_text((place.root / f"{public.name}.vkey").read_text().strip())
            logs[key.name] = Follower(DirectorySource(public), key, 2 if public.name.startswith("institution") else 1)
    rules = Rules(SUPERVISOR.verifier, UNLISTED)
    found = check_dossier(Dossier(lines), epochs, logs=logs, memory=Memory(epochs.origin), rules=rules)
    return {one.epoch: one for one in found}


def agreed(place: Place, count: int) -> list[str]:
    """What the agency finds when it compares what it received."""
    sequence = DeliverySequence("agency.groeifonds.startbedrag.brp.person", 2, 2)
    received = [Received(Delivery(sequence, one, world.read_value(one))) for one in range(1, count + 1)]
    document = AccountDocument(world.unpacked(histories(place).account("groeifonds", Range())))
    asked = AskedAccount(Accounts().secret("groeifonds"), day_of(place.clock.now))
    return [finding.code for finding in verify_account(document, days_of(place), received, asked).findings]


async def until_public(place: Place, log: str, size: int) -> None:
    """Wait until the static files of a log are as far as this."""
    checkpoint = place.root / "public" / log / "checkpoint"
    await world.until(lambda: int(checkpoint.read_text().splitlines()[1]) >= size)


async def test_what_an_order_withholds_is_hidden_from_its_person_and_from_nobody_who_checks(tmp_path: Path) -> None:
    terms = {"known": known(), "unlisted": UNLISTED, "supervisor": SUPERVISOR.verifier}
    async with ledger(tmp_path, count=3, **terms) as place:
        assert await asyncio.to_thread(seen, place, world.CHILD) == 0
        await seal(place, TODAY)
        history = await asyncio.to_thread(judged, place, world.CHILD)
        assert (len(history.entries), history.unlisted) == (0, UNLISTED)
        assert await asyncio.to_thread(agreed, place, 3) == []
        # The order's last day is over: what it withheld is entered anew, for its people to find.
        await world.until(lambda: entries(tmp_path) >= UNLISTED + 9)
        await seal(place, TODAY + 1)
        assert await asyncio.to_thread(seen, place, world.CHILD) == 3
        history = await asyncio.to_thread(judged, place, world.CHILD)
        assert {date_of(day.first): len(day.entries) for day in history.days if day.entries} == {date_of(TODAY + 1): 3}
        assert await asyncio.to_thread(agreed, place, 3) == []
        await until_public(place, "s0-2026h2", UNLISTED * 2 + 9)
        days = await asyncio.to_thread(checked, place)
        assert (days[TODAY].withheld, days[TODAY].padding, days[TODAY].released) == (9, UNLISTED - 9, 0)
        assert (days[TODAY + 1].listed, days[TODAY + 1].padding, days[TODAY + 1].released) == (9, UNLISTED, 9)


async def test_a_restart_releases_nothing_twice_also_in_the_next_half_year(tmp_path: Path) -> None:
    end = end_of("2026h2")
    last = date_of(day_of(end) - 1)
    sources = Sources(disclosures(2))
    terms = {"known": known(last=last), "supervisor": SUPERVISOR.verifier, "sources": sources}
    async with ledger(tmp_path, now=end - 1000, **terms) as place:
        place.clock.now = end + MINUTES
        await place.sealed(day_of(end) - 1)
        await world.until(lambda: released(tmp_path, "s0-2027h1") == 6)
    for days in (1, 2):
        async with ledger(tmp_path, now=end + MINUTES + days * 86_400_000, **terms) as place:
            # It has looked for what is due, since it has seen that nothing else comes.
            await world.until(partial(has_looked, place, "s0-2027h1"))
    assert released(tmp_path, "s0-2027h1") == 6


def has_looked(place: Place, log: str) -> bool:
    known = place.process.state(place.clock.now)["logs"].get(log)
    return known is not None and known["reaches"] is not None


def released(root: Path, log: str) -> int:
    if not (root / f"{log}.vkey").is_file():
        return 0
    reader = LedgerReader.open(world.files_at(root).store(log))
    try:
        return reader.size
    finally:
        reader.close()


async def test_an_order_that_cannot_be_checked_hides_nothing_and_betrays_nothing(tmp_path: Path) -> None:
    async with ledger(tmp_path, count=2, known=known()) as place:
        await world.until(lambda: bool(asides(tmp_path)))
        assert asides(tmp_path) == ["order-nobody", "order-nobody"]
        assert entries(tmp_path) == 0
        # Deliveries under other authorisations go on.
        assert place.process.state(place.clock.now)["logs"]["s0-2026h2"]["behind"] == 0


def asides(root: Path) -> list[str]:
    reader = LedgerReader.open(world.files_at(root).store("s0-2026h2"))
    try:
        return [one.reason for one in reader.set_asides()]
    finally:
        reader.close()


def made(knowledge: Knowledge, *, day: int = TODAY, mediated: bool = False) -> list[bool]:
    """Whether each person's entry is listed, when a delivery is committed on a day."""
    subjects = [world.person(world.CHILD, "subject"), world.person(world.MOTHER, "parent", mediated=mediated)]
    found = DisclosureRecorder().read(world.record(world.disclosure(subjects=subjects), 0)).make(knowledge)
    applied = Withholding(SUPERVISOR.verifier).apply(found, knowledge, start_of(day) + 1)
    assert all(("order" in read_part(entry.a)) != entry.listed for entry in applied)
    return [entry.listed for entry in applied]


def test_an_order_holds_from_its_first_to_its_last_day_and_for_mediated_entries_too() -> None:
    assert made(known()) == [False, False]
    assert made(known(), mediated=True) == [False, False]
    assert [made(known(), day=day) for day in (TODAY - 5, TODAY - 4, TODAY, TODAY + 1)] == [
        [True, True],
        [False, False],
        [False, False],
        [True, True],
    ]
    assert made(world.knowledge()) == [True, True]


@pytest.mark.parametrize(
    ("knowledge", "code"),
    [
        (known(agency="svb"), "order-other"),
        (known(signer=Signer("supervisor.example/orders", b"x" * 32)), "order-signature"),
    ],
)
def test_another_order_is_not_followed(knowledge: Knowledge, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        made(knowledge)
    assert caught.value.code == code


def test_an_answer_to_a_person_has_the_same_bytes_whether_something_is_withheld_or_padding_stands_there(
    tmp_path: Path,
) -> None:
    def answer(root: Path, *, withheld: bool) -> int:
        root.mkdir()
        ordinary = DisclosureRecorder().read(world.record(world.disclosure(1), 0)).make(world.knowledge())
        others: list[Entry] = []
        if withheld:
            found = DisclosureRecorder().read(world.record(world.disclosure(2), 1)).make(known())
            others = list(Withholding(SUPERVISOR.verifier).apply(found, known(), world.AT_MS))
            assert len(others) == 3
            assert not any(entry.listed for entry in others)
        others += padding_entries(5 - len(others), at=world.AT_MS, retention=10)
        with world.ledger_at(root) as held:
            held.append([*ordinary, *others])  # Eight: every proof in such a tree is as long as every other.
        vault = Vault.read_only(world.files_at(root).persons, world.GENERATION)
        reader = LedgerReader.open(world.files_at(root).store("s0-2026h2"), vault=vault)
        shown = Openings(
            lambda: [("2026h2", [reader])], world.StillDirectory(world.knowledge()), key=world.LEDGER_KEY
        ).page(world.CHILD, after=None, limit=50)
        reader.close()
        vault.close()
        (one,) = shown.disclosures
        assert shown.after is None
        return len(json.dumps(one.opening))

    with_padding = answer(tmp_path / "padding", withheld=False)
    with_withheld = answer(tmp_path / "withheld", withheld=True)
    assert with_padding == with_withheld
