from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integrator_audit import Tampered
from tests.unit.audit.judging_samples import Lines, close_with_erasures
from tests.unit.audit.sealing_samples import FIRST, Installation

# What cannot even be put into the sum of all lists.
NO_LISTS: dict[str, dict[str, object]] = {
    "no-day": {"epoch": 1 << 40},
    "later-day": {"epoch": FIRST + 400},
    "no-shard": {"was": [[1 << 20, 0], [1 << 20, 1]], "is": []},
    "twice": {"was": [[0, 0], [0, 0]], "is": []},
    "nothing": {"was": [], "is": [[0, 0]]},
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path, shards=2)
    yield installation
    installation.close()


@pytest.mark.parametrize("lie", [*NO_LISTS, "left-out", "added", "unchanged", "backwards", "others"])
def test_a_false_word_about_lists_that_lost_entries_is_found_by_the_cosigner(place: Installation, lie: str) -> None:
    judges = close_with_erasures(place)

    def change(lines: Lines) -> Lines:
        at = next(number for number, line in enumerate(lines) if "altered" in line and line["altered"]["is"])
        altered = lines[at]["altered"]
        match lie:
            case "left-out":
                del lines[at]
            case "added":
                lines.insert(at, {"altered": {"epoch": FIRST, "was": [[0, 0], [0, 1], [0, 2]], "is": [[0, 0]]}})
            case "unchanged":
                altered["is"] = altered["was"]
            case "backwards":
                altered["is"] = altered["was"][::-1]
            case _ if lie in NO_LISTS:
                altered.update(NO_LISTS[lie])
            case _:
                altered["is"] = [[0, 99]]
        return lines

    with pytest.raises(Tampered) as caught:
        judges.cosign(change)
    expected = "period-other" if lie in ("left-out", "added") else "altered-wrong"
    assert caught.value.code == expected


def test_an_entry_that_a_half_year_calls_erased_is_counted_to_the_supervisor(place: Installation) -> None:
    judges = close_with_erasures(place)
    *_, closing = judges.cosign()
    # The supervisor knows of how many entries it ordered the erasure; here nobody did.
    assert closing.erased == 2
