"""The module for browsers says of every vector what Python says, in Node and in Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings

from tests.browser.conftest import Judge
from tests.vectors import large
from tests.vectors.judging import judge
from tests.vectors.make import NAMES, load, made
from tests.vectors.mutating import damaged

pytestmark = pytest.mark.browser

VECTORS = [vector for name in NAMES for vector in load(name)] + made(large.cases())
Found = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="session", params=["in_node", "in_chromium"])
def found(request: pytest.FixtureRequest) -> Found:
    """Return what the module says of a vector; all are judged at once."""
    run: Judge = request.getfixturevalue(request.param)
    results = dict(zip([vector["name"] for vector in VECTORS], run(VECTORS), strict=True))
    assert len(results) == len(VECTORS)
    return lambda vector: results[vector["name"]]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_module_says_what_python_says(found: Found, vector: dict[str, Any]) -> None:
    expected = {"code": vector["code"]} if "code" in vector else {"proves": vector["proves"]}
    assert judge(vector) == expected
    assert found(vector) == expected


@pytest.mark.parametrize("place", ["in_node", "in_chromium"])
def test_what_was_damaged_at_random_is_accepted_by_both_or_by_neither(
    request: pytest.FixtureRequest, place: str
) -> None:
    vectors: list[dict[str, Any]] = []

    @settings(max_examples=400, deadline=None, database=None)
    @given(damaged())
    def collect(vector: dict[str, Any]) -> None:
        vectors.append(vector)

    collect()
    run: Judge = request.getfixturevalue(place)
    for vector, said in zip(vectors, run(vectors), strict=True):
        expected = judge(vector)
        assert ("proves" in said) == ("proves" in expected), (vector, expected, said)
        assert said.get("proves", vector["proves"]) == vector["proves"], vector
    assert len(vectors) >= 300


_HOSTILE: list[Any] = [
    None,
    True,
    -1,
    1.5,
    2**53,
    "",
    "__proto__",
    "\ud800",
    "\ufeff",
    "AB==",
    "AA\n==",
    "A" * 1_000_000,
]
_HOSTILE += [[], [[0]], {}, {"__proto__": {}}, {"toString": 1}]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in _places(item, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = _replaced(copy[path[0]], path[1:], other)
    return copy


@pytest.mark.parametrize("kind", ["opening", "day", "label-key"])
def test_a_value_of_any_other_kind_is_refused_with_a_code(in_node: Judge, kind: str) -> None:
    vector = next(vector for vector in VECTORS if vector["kind"] == kind and "proves" in vector)
    member = {"opening": "file", "day": "day", "label-key": "key"}[kind]
    document = json.loads(vector[member]) if kind == "opening" else vector[member]
    tried = [_replaced(document, place, other) for place in _places(document) for other in _HOSTILE]
    changed = [value for value in tried if value != document]
    files = [json.dumps(value) if kind == "opening" else value for value in changed]
    said = in_node([vector | {member: file} for file in files])
    stumbled = [(str(file)[:200], one) for file, one in zip(files, said, strict=True) if ":" in one.get("code", ":")]
    assert stumbled == []
    assert len(said) > 50


def test_a_buffer_without_a_length_is_no_file(page: Any) -> None:
    vector = next(vector for vector in VECTORS if vector["name"] == "citizen")
    script = """async ([vector, size]) => {
        const file = size === null ? null : new TextEncoder().encode(vector.file.padEnd(size)).buffer;
        return verifyOpening(file, { vkey: vector.vkey }).then(() => "accepted", (error) => error.code);
    }"""
    for size in (None, 1, 1 << 21):
        assert page.evaluate(script, [vector, size]) == "opening-malformed"


def test_a_text_is_read_like_the_bytes_of_a_file(page: Any) -> None:
    vector = next(vector for vector in VECTORS if vector["name"] == "citizen")
    assert page.evaluate("v => verifyOpening(v.file, { vkey: v.vkey })", vector) == vector["proves"]


def test_a_page_that_came_over_plain_http_says_that_it_cannot_check(site: str, page: Any) -> None:
    # Chromium takes another name than localhost for insecure, even where it leads to this machine.
    other = page.context.browser.new_page()
    other.route(
        "http://insecure.test/**",
        lambda route: route.fulfill(response=other.request.get(site + route.request.url[20:])),
    )
    other.goto("http://insecure.test/")
    other.wait_for_function("globalThis.judgeAll !== undefined")
    said = other.evaluate("vectors => judgeAll(vectors)", json.dumps(VECTORS[:1]))
    other.close()
    assert json.loads(said) == [{"code": "not-possible"}]


def test_a_hundred_openings_hold_one_after_the_other(page: Any, capsys: pytest.CaptureFixture[str]) -> None:
    vector = next(vector for vector in VECTORS if vector["name"] == "cosigned by groups of groups")
    options = {name: vector[name] for name in ("vkey", "policy", "now")}
    found = [page.evaluate("given => time(...given)", [vector["file"], options, 100]) for _ in range(3)]
    with capsys.disabled():
        print(
            f"\n100 cosigned openings in Chromium: {', '.join(f'{milliseconds:.0f} ms' for milliseconds, _ in found)}"
        )
    assert [proves for _, proves in found] == [vector["proves"]] * 3


def test_the_module_is_short_and_stands_alone() -> None:
    folder = resources.files("integrator_audit").joinpath("browser")
    assert {file.name for file in folder.iterdir()} == {"verify.mjs", "verify-day.mjs"}
    for file in folder.iterdir():
        text = file.read_text("utf-8")
        assert len(text.splitlines()) <= 250
        assert max(map(len, text.splitlines())) <= 120
        assert not re.findall(r"require\(|import\(|eval|fetch|document\.\w+\(|window\.", text)
        imports = re.findall(r"^import .* from (.*);$", text, re.MULTILINE)
        assert imports == ([] if file.name == "verify.mjs" else ['"./verify.mjs"'])
