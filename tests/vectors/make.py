"""Writes the vectors that the verifiers in Python and JavaScript are both held to; the same bytes in every run.

python -m tests.vectors.make
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tests.vectors import accepted, refused
from tests.vectors.accepted import Case

FOLDER = Path(__file__).parent
SOURCE = "Made by python -m tests.vectors.make. Keys, salts and contents are fictional: each follows from its name."


def document(about: str, cases: list[Case]) -> dict[str, Any]:
    """Return the file of some cases. A file is text where it can be; spaces at its end are counted, not written."""
    return {"source": SOURCE, "about": about, "vectors": [vector(case) for case in cases]}


def vector(case: Case) -> dict[str, Any]:
    given: dict[str, Any] = {"name": case.name}
    short = case.file.rstrip(b" ")
    try:
        given["file"] = short.decode()
    except UnicodeDecodeError:
        given["base64"] = base64.b64encode(short).decode()
    given |= {"spaces": spaces} if (spaces := len(case.file) - len(short)) else {}
    given |= {"vkey": case.vkey, "now": case.now}
    given |= {} if case.policy is None else {"policy": case.policy}
    return given | ({"code": case.expected} if isinstance(case.expected, str) else {"proves": case.expected})


def files() -> dict[str, dict[str, Any]]:
    """Return every file of vectors by its name."""
    return {
        "openings-accepted.json": document("Openings that hold, and what they prove.", accepted.cases()),
        "openings-refused.json": document("Openings that do not hold, and the code of the error.", refused.cases()),
    }


def written(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=True, indent=1) + "\n"


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
