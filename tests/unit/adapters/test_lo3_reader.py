"""Files of the same kind that nobody has seen: other columns, other ends of line, wrong rows, and the count."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator.domain.errors import Invalid
from integrator.sdk.adapter import Converted, Notice, Summary
from integrator_adapters.lo3 import ADAPTER
from tests.unit.adapters.lists import FIRST, NOW, SECOND, THIRD, convert, person, rejects, row, text, values

LISTS = [person(p08_H="58"), row(p08_09_10="0363"), person(SECOND, p09_02_10="Arend", p09_01_20=THIRD)]


def test_the_order_of_columns_changes_neither_records_nor_ids(tmp_path: Path) -> None:
    columns = ["", *sorted({name for cells in LISTS for name in cells} - {""})]
    made = [
        [item.event for item in convert(tmp_path, text(LISTS, columns=order))[0] if isinstance(item, Converted)]
        for order in (columns, columns[::-1], columns[3:] + columns[:3])
    ]
    assert made[0] == made[1] == made[2]
    assert len(made[0]) == 2


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_mark_and_ends_of_line_do_not_matter(tmp_path: Path, mark: str, end: str) -> None:
    items, summary = convert(tmp_path, mark + text(LISTS, end=end))
    assert (summary.rows, summary.blank, summary.events, rejects(items)) == (3, 0, 2, [])


def test_quoted_cells_may_hold_the_separator_and_an_end_of_line(tmp_path: Path) -> None:
    items, _ = convert(tmp_path, text([person(p08_11_10="Nevel;laan"), person(SECOND)]))
    assert values(items)[0]["address"]["street"] == "Nevel;laan"  # pyright: ignore[reportIndexIssue] - a JSON object
    items, _ = convert(tmp_path, text([person(p08_11_10="Nevel\nlaan"), person(SECOND, p08_11_10="Dauwpad")]))
    # A street of two lines is no street; the row after it is still row 3.
    assert rejects(items) == [(2, "08", "shape-invalid")]
    assert [item.row for item in items if isinstance(item, Converted)] == [2, 3]


def test_blank_rows_are_counted_and_end_nothing(tmp_path: Path) -> None:
    items, summary = convert(tmp_path, text([person(p08_H="58"), {}, {}, row(p08_09_10="0363")]) + ";;  ;\n\n")
    assert (summary.rows, summary.blank, summary.events, rejects(items)) == (6, 4, 1, [])
    assert summary.applied == 4


def test_an_unknown_column_is_named_in_a_notice_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    items, _ = convert(tmp_path, text([person(premark="x")]))
    assert [item for item in items if isinstance(item, Notice)] == [
        Notice("1 columns are no LO3 elements and are not read.")
    ]
    items, _ = convert(tmp_path, f";01.01.20\nlist;{FIRST}\n")
    (value,) = values(items)
    assert (value["municipality"], value["steward"], value["restriction"]) == (None, "0000", 7)


def test_of_a_column_that_is_there_twice_the_filled_cell_counts_and_two_that_differ_reject_the_unit(
    tmp_path: Path,
) -> None:
    header = ";01.01.20;08.09.10;08.09.10\n"
    items, _ = convert(tmp_path, f"{header}a;{FIRST};;0599\nb;{SECOND};0599;0599\nc;{THIRD};0599;0363\n")
    assert [value["municipality"] for value in values(items)] == ["0599", "0599", None]
    assert rejects(items) == [(4, "08", "column-conflict")]


def test_cells_after_the_last_column_are_rejected_when_filled(tmp_path: Path) -> None:
    items, _ = convert(tmp_path, f";01.01.20;\na;{FIRST};;;;\nb;{SECOND};;x\n")
    assert rejects(items) == [(3, "", "extra-cells")]
    assert len(values(items)) == 2


def test_rows_before_any_list_are_rejected(tmp_path: Path) -> None:
    items, summary = convert(tmp_path, text([row(p08_09_10="0363", p09_02_10="Arend"), person()]))
    assert rejects(items) == [(2, "08", "list-missing"), (2, "09", "list-missing")]
    assert (summary.events, summary.applied) == (1, 3)


def test_a_second_list_of_the_same_person_is_rejected_whole(tmp_path: Path) -> None:
    items, summary = convert(tmp_path, text([person(), person(p08_H="58"), row(p08_09_10="0363"), person(SECOND)]))
    assert rejects(items) == [
        (3, "01", "duplicate-person"),
        (3, "07", "duplicate-person"),
        (3, "08", "duplicate-person"),
        (4, "08", "duplicate-person"),
    ]
    assert summary.events == 2


def test_a_rejected_list_makes_no_number_known(tmp_path: Path) -> None:
    _, summary = convert(tmp_path, text([person(p01_04_10="X"), person()]))
    assert summary.events == 1
    assert "duplicate-person" not in summary.codes


def test_an_unannounced_row_is_history_where_it_can_be_nothing_else_and_rejected_elsewhere(tmp_path: Path) -> None:
    items, _ = convert(
        tmp_path, text([person(p09_02_10="Arend"), row(p01_02_10="Zwaan", p08_09_10="0363", p09_02_10="Bente")])
    )
    assert rejects(items) == [(3, "09", "not-announced")]
    history = values(items)[0]["history"]
    assert isinstance(history, dict)
    assert (len(history["person"]), len(history["residences"]), history["children"]) == (1, 1, [])


@pytest.mark.parametrize(
    ("content", "code", "where"),
    [
        (b"", "lo3-header", "empty"),
        (b"name,bsn\nx,1\n", "lo3-header", "01.01.20"),
        (b"\n;01.01.20\n", "lo3-header", "01.01.20"),
        (b"01.01.20;01.02.10\n1;2\n", "lo3-header", "names each person list"),
        (b";01.01.20\nlist;1\nlist;\xe9\n", "lo3-encoding", "Row 3"),
        (";01.01.20\n".encode("utf-16"), "lo3-encoding", "Row 1"),
        (b';01.01.20;08.11.10\nlist;1;"open\nlist;2;\n', "lo3-csv", "Row 2"),
    ],
)
def test_another_kind_of_file_is_refused_with_one_clear_message(
    tmp_path: Path, content: bytes, code: str, where: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        convert(tmp_path, content)
    assert refusal.value.code == code
    assert where in refusal.value.message


def test_a_list_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refusal:
        convert(tmp_path, text([person(p08_H="58"), *[row(p08_09_10="0363", p08_H="58")] * 10_001]))
    assert refusal.value.code == "lo3-list-too-long"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    block = [person(p01_01_20=""), *[row(p08_09_10="0363", p08_H="58")] * 20]

    def peak(lists: int) -> int:
        source = tmp_path / f"{lists}.csv"
        source.write_text(text(block * lists))
        tracemalloc.start()
        for _ in ADAPTER.convert(source, now=NOW):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(400) < 2 * peak(20)


_CELLS = st.sampled_from(
    ["", "", "", "0599", "19800100", "00000000", "x", "V", "O", "H", "59", "09", "58", FIRST, "1999"]
)
_ELEMENTS = (
    "01.01.20 01.04.10 01.H 02.02.10 03.04.10 04.05.10 04.H 05.06.10 05.07.10 05.H 06.08.10 07.70.10 08.09.10 08.85.10"
    " 08.H 09.02.10 09.01.20 09.H 12.35.10 note 08.09.10"
)
_COLUMNS = st.lists(st.sampled_from([*_ELEMENTS.split(), ""]), max_size=16)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_rows_units_and_decisions_add_up_whatever_the_file_holds(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    columns = ["", "01.01.20", *data.draw(_COLUMNS)]
    lines = data.draw(st.lists(st.lists(_CELLS, max_size=len(columns) + 1), max_size=12))
    content = "\n".join(";".join(line) for line in [columns, *lines]) + "\n"
    items, summary = convert(tmp_path_factory.mktemp("lo3"), content)
    assert summary.rows == len(lines)
    assert summary.blank == sum(not any(line) for line in lines)
    # Counted here once more, from the text itself.
    assert summary.units == sum(len(units(columns, line)) for line in lines)
    decided = rejects(items)
    assert len({(number, category) for number, category, _ in decided}) == len(decided)


def units(columns: list[str], line: list[str]) -> set[str]:
    """Return the categories of a row that hold an element; the first row of a list always has a person."""
    filled = [name for name, cell in zip(columns, line, strict=False) if cell and name[2:3] == "."]
    found = {name[:2] for name in filled if not name.endswith(".H")}
    return found | ({"01"} if line and line[0] else set()) | ({""} if any(line[len(columns) :]) else set())


def test_a_summary_that_lost_a_unit_does_not_add_up() -> None:
    assert not Summary(units=2, applied=1).adds_up
    assert not Summary(units=2, applied=1, rejected=1).adds_up
    assert Summary(units=2, applied=1, rejected=1, codes={"x": 1}).adds_up
