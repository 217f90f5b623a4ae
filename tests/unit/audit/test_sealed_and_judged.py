"""What the operator's side makes is judged by the sides that do not trust it: person, recipient, checking cosigner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integrator_audit.errors import Invalid
from integrator_audit.fsck import fsck
from integrator_audit.halfyear import first_day, period_of
from tests.unit.audit.judging_samples import Judges, Lines, close_with_erasures, fill, received
from tests.unit.audit.sealing_samples import FIRST, Installation


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path, shards=2)
    yield installation
    installation.close()


def test_all_sides_accept_what_an_honest_operator_seals(place: Installation) -> None:
    fill(place)
    judges = Judges(place)
    checked = judges.cosign()[-3:]
    assert [(day.listed, day.padding, day.withheld, day.released) for day in checked] == [
        (4, 4, 0, 0),
        (0, 3, 1, 0),
        (1, 4, 0, 1),
    ]
    assert not any(day.short or day.erased for day in checked)
    assert [judges.count_of(person) for person in (1, 2, 3, 4)] == [3, 1, 1, 0]
    assert judges.findings_of("svb", received(1, 2, 3, 4)) == set()
    assert judges.findings_of("groeifonds", received(1, recipient="groeifonds")) == set()
    assert judges.findings_of("svb", received(1, 2, 3, 4, 5)) == {"not-logged"}
    assert judges.findings_of("svb", received(1, 2, 3)) == {"invented"}
    files = [place.file(name, place.period) for name in ("s0", "s1", "institution")]
    assert all(fsck(file, vault=place.vault).holds for file in (*files, place.epoch_file))


def test_without_the_public_files_of_an_institution_log_that_the_days_name_they_are_not_cosigned(
    place: Installation,
) -> None:
    fill(place)

    def unnamed(lines: Lines) -> Lines:
        return [lines[0] | {"institution": []}, *lines[1:]]

    with pytest.raises(Invalid) as caught:
        Judges(place).cosign(unnamed)
    assert caught.value.code == "log-missing"


def test_a_day_at_whose_end_the_ledger_stood_still_is_told_and_accepted(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(1, 2)
    place.pad(3)
    place.at(2)
    sealer.seal_due()
    *_, short, empty = Judges(place).cosign()
    assert (short.padding, short.short, empty.short) == (3, True, False)


def test_a_half_year_that_closes_without_erased_entries_is_accepted_and_says_how_many(place: Installation) -> None:
    judges = close_with_erasures(place)
    *_, closing = judges.cosign()
    assert closing.erased == 2
    assert judges.count_of(1, first=first_day(period_of(FIRST))) == 1
    assert judges.count_of(2, first=first_day(period_of(FIRST))) == 1
