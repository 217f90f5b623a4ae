"""Whatever is wrong with a file: one sentence that says where and what to do, all at once, and never a number."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from integrator.directory.documents import Inscriptions, Rejected, from_wire, to_wire
from integrator.directory.manifests import load

REPOSITORY = Path(__file__).parents[3]
DEMO = REPOSITORY / "integrator/demo/manifests"
AGENCY = """\
kind: agency
name: svb
title: {nl: a, fr: b, en: c}
identifier: "1"
sector: s
capacities: [child]
recipientClass: {nl: a, fr: b, en: c}
modelled: true
"""
INSCRIPTIONS = """\
kind: inscriptions
agency: svb
capacity: child
start: 2026-01-01
"""


def told(folder: Path, text: str, name: str = "a.yaml") -> list[tuple[str, int, str]]:
    (folder / name).write_text(text)
    loaded = load([folder / name])
    return [(problem.path, problem.line, problem.message) for problem in loaded.problems]


def authorisation(**change: object) -> str:
    first = next(yaml.safe_load_all((DEMO / "authorisations.yaml").read_text("utf-8")))
    return yaml.safe_dump({key: value for key, value in (first | change).items() if value is not ...})


def test_everything_shipped_can_be_read() -> None:
    loaded = load([REPOSITORY / "schemas", DEMO])
    assert loaded.problems == ()
    assert len(loaded.documents) >= 20


@pytest.mark.parametrize(
    ("text", "path", "line", "says"),
    [
        ("", "", 0, None),
        ("# nothing\n---\n---\n", "", 0, None),
        ("- a\n", "", 1, "begins with its kind"),
        ("kind: x: y\n", "", 1, "This is no YAML"),
        ("a: [\n", "", 2, "This is no YAML"),
        ("a: *b\n", "", 1, "undefined alias"),
        ("name: svb\n", "kind", 1, "says its kind"),
        ("kind: agancy\n", "kind", 1, "Did you mean agency?"),
        ("kind: [a]\n", "kind", 1, "says its kind"),
        (AGENCY + "name: svb\n", "name", 9, "stands twice"),
        (AGENCY.replace("name: svb", "name: SVB"), "name", 2, "must be a name"),
        (AGENCY.replace('"1"', "1"), "identifier", 4, "in quotes"),
        (AGENCY.replace("modelled: true", "modelled: perhaps"), "modelled", 8, "true or false"),
        (AGENCY.replace("sector", "sectr"), "sectr", 5, "Did you mean sector?"),
        (AGENCY.replace("sector: s\n", ""), "sector", 1, "is missing"),
        (AGENCY.replace("[child]", "child"), "capacities", 6, "must be a list"),
        (AGENCY.replace("[child]", "[child, 3]"), "capacities[1]", 6, "must be a text"),
        (AGENCY.replace("en: c}\nident", "en: ''}\nident"), "title.en", 3, "must not be empty"),
        ("a: &a [*a]\n", "a[0]", 1, "inside what it is an alias of"),
        ("kind: agency\nname: 2026-02-30\n", "name", 2, "cannot be read"),
        ("kind: agency\nname: !!python/object:os.system x\n", "name", 2, "cannot be read"),
        ("kind: contract\n", "", 1, "no v1.avsc beside"),
        (INSCRIPTIONS + "personsFile: none.txt\n", "personsFile", 5, "cannot be read"),
        (INSCRIPTIONS + "persons: []\n", "persons", 5, "at least one"),
        (INSCRIPTIONS + "persons: ['test:123456789012', 'bsn:123']\n", "persons[1]", 5, "scheme:number"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, path: str, line: int, says: str | None) -> None:
    found = told(tmp_path, text)
    if says is None:
        assert found == []
        return
    assert [(where, at) for where, at, message in found if says in message] == [(path, line)], found


@pytest.mark.parametrize(
    ("change", "path", "says"),
    [
        ({"period": {"start": "2026-01-01T00:00:00"}}, "period.start", "without a time zone"),
        ({"period": {"start": "soon"}}, "period.start", "must be a day"),
        ({"period": {"start": "2026-01-01T12:00:00"}}, "period.start", "without a time zone"),
        ({"period": {"start": 1767225600}}, "period.start", "must be a day"),
        ({"period": {"start": "2026-02-30"}}, "period.start", "must be a day"),
        ({"period": "soon"}, "period", "must be a mapping"),
        ({"period": {"start": 3.5}}, "period.start", "must be a day"),
        ({"population": [{"population": "everyone"}]}, "population[0]", "one of 'inscribed'"),
        (
            {"population": [{"population": "territory", "codes": ["x"]}]},
            "population[0].codes[0]",
            "four or five digits",
        ),
        ({"population": [{"population": "territory"}]}, "population[0].codes", "is missing"),
        ({"retention": "5 years"}, "retention", "duration"),
        ({"version": 0}, "version", "at least 1"),
        ({"state": "on"}, "state", "must be 'requested'"),
        ({"stream": "brp"}, "stream", "source/stream"),
        ({"citations": []}, "citations", "at least one"),
        ({"fields": ...}, "fields", "is missing"),
        ({"inscribes": {"capacity": "child", "fase": "x"}}, "inscribes.fase", "Did you mean phase?"),
    ],
)
def test_a_wrong_authorisation_is_told_in_plain_words(
    tmp_path: Path, change: dict[str, object], path: str, says: str
) -> None:
    found = told(tmp_path, authorisation(**change))
    assert [where for where, _, message in found if says in message] == [path], found
    assert len(found) == 1


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(AGENCY.replace("svb", "S V B").replace("sector: s\n", "") + "---\nkind: x\n")
    (tmp_path / "b.yml").write_text("a: [")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "d.yaml").write_text("[" * 100_000)
    problems = load([tmp_path, tmp_path / "none"]).problems
    assert len(problems) == 7
    assert {Path(problem.origin.file).name for problem in problems} == {"a.yaml", "b.yml", "c.yaml", "d.yaml", "none"}
    assert [problem.origin.document for problem in problems if problem.path == "kind"] == [2]


@pytest.mark.parametrize(
    "text",
    [
        INSCRIPTIONS + "persons: ['bsn:999990018']\n",
        INSCRIPTIONS + "persons: [999990018]\n",
        INSCRIPTIONS + "persons: {bsn: 999990018}\n",
        INSCRIPTIONS + "persons: [bsn: 999990018]\n",
        INSCRIPTIONS + "'bsn:999990018': x\n",
        INSCRIPTIONS + "persons: [*999990018]\n",
        INSCRIPTIONS + "persons: [999990018: {}]\n",
        INSCRIPTIONS + "persons: [2026-02-30 999990018, 'bsn:999990018]\n",
        AGENCY.replace("svb", "'999990018'").replace("name", "999990018"),
    ],
)
def test_a_number_is_in_no_problem(tmp_path: Path, text: str) -> None:
    found = told(tmp_path, text)
    assert found
    assert "999990018" not in repr(load([tmp_path / "a.yaml"]))


def test_people_come_from_a_file_beside_and_stay_out_of_sight(tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("test:123456789012\n\n test:123456789013 \n")
    (tmp_path / "a.yaml").write_text(INSCRIPTIONS + "personsFile: people.txt\n")
    loaded = load([tmp_path])
    (stated,) = loaded.documents
    assert isinstance(stated.document, Inscriptions)
    assert [person.value for person in stated.document.references()] == ["123456789012", "123456789013"]
    assert "123456789012" not in repr(loaded)


def test_a_contract_takes_its_schemas_from_beside_it_whatever_their_spaces(tmp_path: Path) -> None:
    source = REPOSITORY / "schemas/ciz/wlz-indication"
    for name in ("contract.yaml", "v1.avsc"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    (before,) = load([tmp_path]).documents
    (tmp_path / "v1.avsc").write_text("\n\n" + (source / "v1.avsc").read_text("utf-8"))
    (after,) = load([tmp_path]).documents
    assert before.document == after.document
    (tmp_path / "v1.avsc").write_text("{")
    assert [Path(problem.origin.file).name for problem in load([tmp_path]).problems] == ["v1.avsc"]


def test_documents_survive_the_wire() -> None:
    documents = load([REPOSITORY / "schemas", DEMO]).documents
    assert from_wire(to_wire(documents)) == list(documents)


@given(st.lists(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner))))
def test_the_wire_refuses_anything_else_with_its_problems(values: list[object]) -> None:
    if not values:
        return
    with pytest.raises(Rejected) as caught:
        from_wire(values)
    assert len(caught.value.problems) >= len(values)
