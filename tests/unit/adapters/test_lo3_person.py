"""What a person list says, it says in the record: current, former, wrong, unknown, secret, dead, gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from integrator_adapters.lo3.dates import date_of, instant_of
from tests.unit.adapters.lists import FIRST, SECOND, THIRD, convert, person, rejects, row, text, values


def one(folder: Path, *rows: dict[str, str]) -> dict[str, Any]:
    items, _ = convert(folder, text(rows))
    assert rejects(items) == []
    (value,) = values(items)
    return cast("dict[str, Any]", value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("19620315", "1962-03-15"),
        ("19620300", "1962-03"),
        ("19620000", "1962"),
        ("00000000", "unknown"),
        ("19620015", None),
        ("00002014", None),
        ("19620230", None),
        ("19621301", None),
        ("2015", None),
        ("000000000", None),
        ("1962-3-1", None),
        ("１９６２0315", None),
    ],
)
def test_dates_may_be_partial_and_must_be_of_the_calendar(written: str, meant: str | None) -> None:
    assert date_of(written) == meant


def test_a_time_stamp_is_dutch_civil_time() -> None:
    assert instant_of("20200630101112131") == "2020-06-30T08:11:12.131Z"
    assert instant_of("20200131101112131") == "2020-01-31T09:11:12.131Z"
    assert instant_of("20201331101112131") is None
    assert instant_of("2020") is None


def test_the_first_row_holds_what_is_now_and_later_rows_what_was_newest_first(tmp_path: Path) -> None:
    value = one(
        tmp_path,
        person(p08_11_10="Derde", p08_H="58"),
        row(p08_09_10="0363", p08_11_10="Tweede", p08_85_10="20100000", p08_H="58"),
        row(p08_09_10="0518", p08_11_10="Eerste"),
    )
    assert (value["municipality"], value["steward"], value["address"]["street"]) == ("0599", "0599", "Derde")
    assert [home["address"]["street"] for home in value["history"]["residences"]] == ["Tweede", "Eerste"]
    assert value["history"]["residences"][0]["validity"]["validFrom"] == "2010"
    assert value["registeredAt"] == "2020-06-30T08:11:12.131Z"


def test_a_mark_tells_a_former_state_of_a_child_from_a_further_child(tmp_path: Path) -> None:
    value = one(
        tmp_path,
        person(p09_02_10="Arend", p09_01_20=SECOND, p09_H="59"),
        row(p09_02_10="Aernd", p09_84_10="O", p09_H="09"),
        row(p09_02_10="Bente", p09_01_20=THIRD, p09_H="59"),
        row(p09_02_10="Bendte"),
    )
    assert [child["names"]["given"] for child in value["children"]] == ["Arend", "Bente"]
    assert [child["bsn"] for child in value["children"]] == [SECOND, THIRD]
    former = value["history"]["children"]
    assert [(child["names"]["given"], child["validity"]["incorrect"]) for child in former] == [
        ("Aernd", "O"),
        ("Bendte", None),
    ]


def test_a_mark_holds_until_the_next_row_of_its_category(tmp_path: Path) -> None:
    value = one(
        tmp_path,
        person(p09_02_10="Arend", p09_H="09", p08_H="58"),
        row(p08_09_10="0363"),
        row(p09_02_10="Bente"),
    )
    assert [child["names"]["given"] for child in value["children"]] == ["Arend", "Bente"]


def test_a_marriage_that_ended_is_history_and_the_one_in_force_is_the_partner(tmp_path: Path) -> None:
    value = one(
        tmp_path,
        person(p05_02_10="Otto", p05_07_10="20100101", p05_07_40="S", p05_15_10="H", p05_H="55"),
        row(p05_02_10="Otto", p05_06_10="20000101", p05_15_10="H", p05_H="05"),
        row(p05_02_10="Zeger", p05_01_20=SECOND, p05_06_10="20150000", p05_15_10="P"),
    )
    assert (value["partner"]["bsn"], value["partner"]["since"], value["partner"]["form"]) == (SECOND, "2015", "P")
    assert [(former["until"], former["since"]) for former in value["history"]["partners"]] == [
        ("2010-01-01", None),
        (None, "2000-01-01"),
    ]


def test_several_nationalities_stand_side_by_side_and_an_ended_one_in_the_history(tmp_path: Path) -> None:
    value = one(
        tmp_path,
        person(p04_05_10="0001", p04_63_10="001", p04_85_10="19800102", p04_H="04"),
        row(p04_64_10="404", p04_85_10="20100101", p04_H="54"),
        row(p04_05_10="0052", p04_63_10="301", p04_H="04"),
        row(p04_05_10="0055", p04_63_10="301"),
    )
    assert [nationality["code"] for nationality in value["nationalities"]] == ["0001", "0055"]
    assert [(former["code"], former["endReason"]) for former in value["history"]["nationalities"]] == [
        (None, "404"),
        ("0052", None),
    ]


def test_a_parent_who_does_not_exist_in_law_is_left_out(tmp_path: Path) -> None:
    value = one(tmp_path, person(p02_02_10="Alida", p02_01_20=SECOND, p03_85_10="19800102", p03_86_10="19800103"))
    assert [(parent["order"], parent["bsn"]) for parent in value["parents"]] == [(1, SECOND)]


def test_the_dead_keep_their_record_and_say_so(tmp_path: Path) -> None:
    value = one(
        tmp_path,
        person(p06_08_10="20200000", p06_08_20="0599", p06_08_30="6030", p07_67_10="20200000", p07_67_20="O"),
    )
    assert (value["death"]["date"], value["suspension"]) == ("2020", {"date": "2020", "reason": "O"})
    assert value["municipality"] == "0599"


def test_a_death_that_was_withdrawn_is_history_only(tmp_path: Path) -> None:
    value = one(tmp_path, person(p06_85_10="20200101", p06_H="56"), row(p06_08_10="20191231", p06_84_10="O"))
    assert value["death"] is None
    assert [(death["date"], death["validity"]["incorrect"]) for death in value["history"]["deaths"]] == [
        ("2019-12-31", "O")
    ]


def test_who_emigrated_has_a_country_and_lines_and_no_municipality_to_live_in(tmp_path: Path) -> None:
    value = one(
        tmp_path,
        person(p08_09_10="1999", p08_13_10="5003", p08_13_20="20111200", p08_13_30="1 Main Road", p08_13_50="Town"),
    )
    assert value["municipality"] == "1999"
    assert (value["address"]["country"], value["address"]["abroadSince"]) == ("5003", "2011-12")
    assert value["address"]["abroad"] == ["1 Main Road", "Town"]


def test_a_row_under_investigation_says_which_aspect_and_since_when(tmp_path: Path) -> None:
    value = one(tmp_path, person(p08_83_10="081160", p08_83_20="20200000"))
    assert value["residenceValidity"]["investigation"] == {"aspect": "081160", "since": "2020", "until": None}


@pytest.mark.parametrize("level", "01234567")
def test_secrecy_is_carried_as_it_is(tmp_path: Path, level: str) -> None:
    assert one(tmp_path, person(p07_70_10=level))["restriction"] == int(level)


def test_a_list_that_does_not_say_how_secret_it_is_is_closed(tmp_path: Path) -> None:
    assert one(tmp_path, person(p07_70_10=""))["restriction"] == 7


def test_secrecy_that_cannot_be_read_closes_the_record(tmp_path: Path) -> None:
    items, _ = convert(tmp_path, text([person(p07_70_10="9")]))
    assert rejects(items) == [(2, "07", "code-unknown")]
    assert values(items)[0]["restriction"] == 7


def test_a_former_number_that_was_wrong_stays_as_it_was_written(tmp_path: Path) -> None:
    value = one(tmp_path, person(p01_H="51"), row(p01_01_20="999990638", p01_02_40="Kwartelhof", p01_84_10="O"))
    assert [former["bsn"] for former in value["history"]["person"]] == ["999990638"]
    assert value["bsn"] == FIRST


@pytest.mark.parametrize(
    ("cells", "category", "code"),
    [
        ({"p08_85_10": "20200230"}, "08", "date-invalid"),
        ({"p08_10_10": "X"}, "08", "code-unknown"),
        ({"p08_11_60": "1234"}, "08", "shape-invalid"),
        ({"p08_09_10": "599"}, "08", "shape-invalid"),
        ({"p02_04_10": "X", "p02_02_10": "Alida"}, "02", "code-unknown"),
        ({"p03_01_20": "999990638"}, "03", "bsn-invalid"),
        ({"p04_05_10": "0001", "p04_63_10": "1"}, "04", "shape-invalid"),
        ({"p05_02_10": "Otto", "p05_15_10": "X"}, "05", "code-unknown"),
        ({"p05_02_10": "Otto", "p05_07_40": "X"}, "05", "code-unknown"),
        ({"p06_08_10": "2020"}, "06", "date-invalid"),
        ({"p07_67_20": "X"}, "07", "code-unknown"),
        ({"p07_80_20": "2020"}, "07", "date-invalid"),
        ({"p09_01_20": "1", "p09_02_10": "Arend"}, "09", "bsn-invalid"),
        ({"p10_39_10": "21"}, "10", "not-in-contract"),
        ({"p35_95_10": "1"}, "35", "not-in-contract"),
    ],
)
def test_a_unit_that_cannot_be_used_is_rejected_and_the_rest_stands(
    tmp_path: Path, cells: dict[str, str], category: str, code: str
) -> None:
    items, summary = convert(tmp_path, text([person(**cells)]))
    assert rejects(items) == [(2, category, code)]
    assert (summary.events, summary.applied) == (1, summary.units - 1)


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"p01_01_20": ""}, "bsn-missing"),
        ({"p01_01_20": "999990638"}, "bsn-invalid"),
        ({"p01_03_10": "1980"}, "date-invalid"),
        ({"p01_04_10": "X"}, "code-unknown"),
    ],
)
def test_without_a_usable_person_the_whole_list_is_rejected(tmp_path: Path, cells: dict[str, str], code: str) -> None:
    items, summary = convert(tmp_path, text([person(**cells, p09_02_10="Arend"), person(SECOND)]))
    assert rejects(items) == [
        (2, "01", code),
        (2, "07", "person-unusable"),
        (2, "08", "person-unusable"),
        (2, "09", "person-unusable"),
    ]
    assert (summary.events, summary.applied) == (1, 3)


def test_a_second_marriage_in_force_is_rejected(tmp_path: Path) -> None:
    items, _ = convert(tmp_path, text([person(p05_02_10="Otto", p05_H="05"), row(p05_02_10="Zeger")]))
    assert rejects(items) == [(3, "05", "second-partner")]
