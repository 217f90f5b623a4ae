"""Writes the vectors that the verifiers in Python and JavaScript are both held to; the same bytes in every run.

python -m tests.vectors.make
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.vectors import accepted, days, refused
from tests.vectors.accepted import Case
from tests.vectors.days import DayCase

FOLDER = Path(__file__).parent
NAMES = ("openings-accepted.json", "openings-refused.json", "days.json")
SOURCE = "Made by python -m tests.vectors.make. Keys, salts and contents are fictional: each follows from its name."


def document(about: str, cases: Sequence[Case | DayCase]) -> dict[str, Any]:
    """Return the file of some cases, each an object that says its `kind`, what is given, and what must come of it."""
    vectors = [_vector(case) if isinstance(case, Case) else _named(case, case.given, case.expected) for case in cases]
    return {"source": SOURCE, "about": about, "vectors": vectors}


def _vector(case: Case) -> dict[str, Any]:
    """Return an opening's vector; its file is text where it can be."""
    given: dict[str, Any] = {}
    try:
        given["file"] = case.file.decode()
    except UnicodeDecodeError:
        given["base64"] = base64.b64encode(case.file).decode()
    given |= {"vkey": case.vkey, "now": case.now}
    given |= {} if case.policy is None else {"policy": case.policy}
    return _named(case, given, case.expected)


def _named(case: Case | DayCase, given: dict[str, Any], expected: dict[str, Any] | str) -> dict[str, Any]:
    kind = {"kind": "opening" if isinstance(case, Case) else case.kind, "name": case.name}
    return kind | given | ({"code": expected} if isinstance(expected, str) else {"proves": expected})


def files() -> dict[str, dict[str, Any]]:
    """Return every file of vectors by its name."""
    return {
        "openings-accepted.json": document("Openings that hold, and what they prove.", accepted.cases()),
        "openings-refused.json": document("Openings that do not hold, and the code of the error.", refused.cases()),
        "days.json": document("Answers for a day, label keys and epoch leaves, true and false.", days.cases()),
    }


def written(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=True, indent=1) + "\n"


def made(cases: Sequence[Case | DayCase]) -> list[dict[str, Any]]:
    """Return the vectors of cases that are not kept as files."""
    return json.loads(written(document("", cases)))["vectors"]


def load(name: str) -> list[dict[str, Any]]:
    """Return the committed vectors of a file."""
    return json.loads((FOLDER / name).read_text("utf-8"))["vectors"]


def main() -> None:
    """Write every file."""
    for name, content in files().items():
        (FOLDER / name).write_text(written(content), "utf-8")
        print(f"{name}: {len(content['vectors'])} vectors")


if __name__ == "__main__":
    main()
