from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.audit.audit_samples import Place, signer

PUBLISHED = "https://demo.integrator.example/ledger/demo/s0-2026h2"
README = Path(__file__).parents[3] / "audit" / "README.md"


def test_the_examples_of_the_readme_run(
    filled: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = filled.reader()
    reader.export(tmp_path / "exported")
    (tmp_path / "s0.vkey").write_text(signer().vkey + "\n")
    (tmp_path / "witnesses.policy").write_text(f"log {signer().vkey}\nquorum none\n")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "opening.json").write_text(json.dumps(reader.opening(5)))
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(examples) == 2
    for example, said in zip(examples, ("verified 785 ()", "sample.a/v1"), strict=True):
        exec(compile(example.replace(PUBLISHED, "exported"), str(README), "exec"), {})
        assert said in capsys.readouterr().out
