from __future__ import annotations

import gzip
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrator_audit import Invalid, Unavailable, part
from integrator_audit.completeness.compiling import dossier_lines, scan_releases
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.labels import DAY, label_of
from integrator_audit.completeness.lines import write_lines
from integrator_audit.completeness.pages import erase_leaves, leaves_of
from integrator_audit.completeness.trie import root_of
from integrator_audit.encoding import from_base64
from integrator_audit.halfyear import last_day, period_of
from integrator_audit.store import Erasure
from tests.unit.audit.sealing_samples import FIRST, Installation, entry, secret
from tests.unit.audit.test_presenting import sealed


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    installation.close()


def compiled(place: Installation, first: int = FIRST, last: int | None = None) -> list[dict[str, Any]]:
    """Return the lines of a dossier up to the newest sealed day."""
    days = sealed(place)
    lines = dossier_lines(
        days,
        first,
        days.newest if last is None else last,
        logs=place.logs,
        releases=scan_releases(place.logs, place.vault),
    )
    return [json.loads(line) for line in lines]


def test_a_dossier_has_all_rows_and_all_that_is_unlisted(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(1, 2, 1)
    (hidden,) = place.deliver(3, listed=False)
    padding = place.pad(2)
    place.at(2)
    sealer.seal_due()
    header, *lines = compiled(place)
    period = period_of(FIRST)
    assert header == {
        "schema": "dienstenintegrator/dossier/v1",
        "epochs": {"origin": sealed(place).epochs.origin, "first": FIRST, "last": FIRST + 1},
        "shards": [{"period": period, "shard": 0, "origin": place.origin("s0", period)}],
        "institution": [],
    }
    assert [line["day"] for line in lines if "day" in line] == [FIRST, FIRST + 1]
    tries = Counter(line["trie"] for line in lines if "trie" in line)
    assert tries == {"persons": 2, "recipients": 1}
    persons = [line for line in lines if line.get("trie") == "persons"]
    assert sorted(line["m"] for line in persons) == [1, 2]
    assert all(line["m"] == len(line["list"]) for line in persons)
    unlisted = [line["unlisted"] for line in lines if "unlisted" in line]
    assert [opening["index"] for opening in unlisted] == sorted([hidden, *padding])
    assert all(set("ADSP") <= set(opening) for opening in unlisted)


def test_a_dossier_names_release_entries(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(1)
    release = entry(2, 5)
    told = part("sample.d/v1", {"topic": "svb.pension", "releases": {"origin": "x", "index": 3}})
    spoken = part("sample.d/v1", {"topic": "svb.pension", "note": '"releases":'})
    at, _ = place.append([release._replace(d=told), release._replace(d=spoken)])
    place.at(1)
    sealer.seal_due()
    assert [line["release"]["index"] for line in compiled(place) if "release" in line] == [at]


def test_a_long_list_goes_on_in_further_lines(place: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrator_audit.completeness.compiling.PLACES_IN_LINE", 4)
    sealer = place.begun()
    place.deliver(*range(9))
    place.at(1)
    sealer.seal_due()
    lines = compiled(place)
    at = next(number for number, line in enumerate(lines) if line.get("trie") == "recipients")
    assert lines[at]["m"] == 9
    assert [len(line["list"]) for line in lines[at : at + 3]] == [4, 4, 1]
    assert list(lines[at + 1]) == ["list"]


def test_lists_that_lost_entries_before_their_half_year_closed_are_shown_as_they_were(place: Installation) -> None:
    sealer = place.begun()
    period = place.period
    one, other = place.deliver(1, 1)
    place.deliver(2)
    place.at(1)
    (alone,) = place.deliver(1)
    place.at(2)
    sealer.seal_due()
    place.writer("s0").erase([Erasure(one, "order"), Erasure(alone, "order")])
    label = label_of(secret(period, 1), DAY, FIRST + 1)
    assert erase_leaves(place.index, FIRST + 1, Trie.PERSONS, [label], ground="order") == 1
    place.writer("institution", period)
    place.close_period(period)
    place.at(last_day(period) - FIRST + 1)
    sealer.seal_due()
    place.leaves()
    lines = compiled(place)
    altered = [line["altered"] for line in lines if "altered" in line]
    assert sorted(altered, key=lambda line: line["epoch"]) == [
        {"epoch": FIRST, "was": sorted([[0, one], [0, other]]), "is": [[0, other]]},
        {"epoch": FIRST + 1, "was": [[0, alone]], "is": []},
    ]
    listed = sorted(place for line in lines if line.get("trie") == "period" for place in line["list"])
    on_days = [tuple(at) for line in lines if line.get("trie") == "persons" and "list" in line for at in line["list"]]
    assert sorted(map(tuple, listed)) == sorted(set(on_days) - {(0, one)})
    gone = next(line for line in lines if "ground" in line)
    assert (gone["trie"], gone["ground"], set(gone)) == ("persons", "order", {"trie", "label", "hL", "ground"})
    closing = [line for line in lines if line.get("trie") == "period"]
    leaves = list(leaves_of(place.index, last_day(period), Trie.PERIOD))
    assert [from_base64(line["label"], what="label") for line in closing] == [leaf.label for leaf in leaves]
    assert root_of([leaf[:2] for leaf in leaves]) == place.leaves()[-1].period_root


def test_days_that_are_not_sealed_have_no_dossier(place: Installation) -> None:
    place.begun()
    with pytest.raises(Invalid):
        compiled(place, FIRST, FIRST)


def test_a_dossier_appears_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "dossier.jsonl.gz"

    def failing() -> Iterator[bytes]:
        yield b"{}\n"
        raise OSError(5, "no luck")

    with pytest.raises(Unavailable):
        write_lines(path, failing(), code="dossier")
    assert list(tmp_path.iterdir()) == []
    write_lines(path, [b"{}\n", b"[]\n"], code="dossier")
    assert gzip.decompress(path.read_bytes()) == b"{}\n[]\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [path.name]
