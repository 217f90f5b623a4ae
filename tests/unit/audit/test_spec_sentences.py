"""Each sentence of a specification that the code quotes has a test, and each MUST is quoted or said not to bind.

The list is `spec_sentences.txt`. That it holds all sentences with MUST was checked by reading, not by a program: the
texts are not ours to ship.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import integrator_audit

CODE = Path(integrator_audit.__file__).parent
TESTS = Path(__file__).parent
SPECS = frozenset(
    (
        *("tlog-tiles", "tlog-checkpoint", "signed-note", "tlog-cosignature", "tlog-witness", "tlog-policy"),
        *("tlog-proof", "tlog-list"),
    )
)


class Sentence(NamedTuple):
    """A sentence, the tests that hold us to it, and why it does not bind us if it does not."""

    spec: str
    text: str
    tests: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def quotation(self) -> str:
        return f'SPEC {self.spec}: "{self.text}"'


def sentences() -> Iterator[Sentence]:
    lines = (TESTS / "spec_sentences.txt").read_text().split("\n")
    listed = [line for line in lines if line and not line.startswith("#")]
    starts = [at for at, line in enumerate(listed) if not line.startswith("  ")]
    for start, stop in zip(starts, [*starts[1:], len(listed)], strict=True):
        spec, _, text = listed[start].partition(": ")
        below = listed[start + 1 : stop]
        assert all(line.startswith(("  + ", "  - ")) for line in below), listed[start]
        tests = tuple(line[4:] for line in below if line.startswith("  + "))
        yield Sentence(spec, text, tests, tuple(line[4:] for line in below if line.startswith("  - ")))


ALL = tuple(sentences())
OURS = tuple(sentence for sentence in ALL if sentence.tests)
QUOTED = re.compile(rf'SPEC ({"|".join(sorted(SPECS))}): "')


def normalised(path: Path) -> str:
    """Return a file without the beginnings of comment lines and with single spaces."""
    lines = (line.strip().removeprefix("# ") for line in path.read_text().split("\n"))
    return re.sub(r"\s+", " ", " ".join(lines)).replace("\\\\n", "\\n")


@cache
def code() -> dict[str, str]:
    return {str(path.relative_to(CODE)): normalised(path) for path in sorted(CODE.rglob("*.py"))}


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / f"{file}.py").read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_the_list_covers_the_specifications_and_each_sentence_has_either_tests_or_a_reason() -> None:
    assert {sentence.spec for sentence in ALL} == SPECS
    assert len({sentence.quotation for sentence in ALL}) == len(ALL)
    for sentence in ALL:
        assert bool(sentence.tests) != bool(sentence.reasons), sentence.quotation
    assert len(OURS) > 70


@pytest.mark.parametrize("sentence", OURS, ids=lambda sentence: f"{sentence.spec}: {sentence.text[:40]}")
def test_a_sentence_that_binds_us_stands_beside_the_code_that_obeys_it(sentence: Sentence) -> None:
    assert any(sentence.quotation in text for text in code().values())
    for test in sentence.tests:
        file, _, function = test.partition(":")
        assert function.startswith("test_")
        assert function in functions(file), test


def test_no_sentence_is_quoted_that_has_no_test() -> None:
    for file, text in code().items():
        rest = text
        for sentence in sorted(OURS, key=lambda one: -len(one.text)):
            rest = rest.replace(sentence.quotation, "")
        left = QUOTED.search(rest)
        assert left is None, f"{file}: {rest[left.start() : left.start() + 160]}"


def test_a_sentence_that_does_not_bind_us_is_quoted_nowhere() -> None:
    for sentence in ALL:
        if sentence.reasons:
            assert not any(sentence.quotation in text for text in code().values()), sentence.quotation
