from __future__ import annotations

from pathlib import Path

import pytest

from integrator_audit import Invalid, Unavailable
from integrator_audit.cli.places import VARIABLE, need_file, read_place

PASSWORD = "Gz7-secret"
URL = f"postgresql://ledger:{PASSWORD}@db.example/ledger"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_path_is_a_path_and_a_url_a_url() -> None:
    assert read_place("ledger/s0.sqlite") == Path("ledger/s0.sqlite")
    assert read_place("ledger_s0_2026h2") == Path("ledger_s0_2026h2")
    assert read_place("postgresql://ledger@db.example/ledger?schema=x") == (
        "postgresql://ledger@db.example/ledger?schema=x"
    )


@pytest.mark.parametrize(
    "url",
    [URL, URL + "?schema=a", f"postgresql://h/d?password={PASSWORD}", f"postgres://h/d?schema=a&password={PASSWORD}"],
)
def test_a_password_in_an_argument_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_place(url)
    assert caught.value.code == "database-password"
    assert PASSWORD not in caught.value.message


def test_a_name_is_a_schema_of_the_database_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, URL)
    assert read_place("ledger_s0_2026h2") == f"{URL}?schema=ledger_s0_2026h2"
    monkeypatch.setenv(VARIABLE, f"{URL}?sslmode=require")
    assert read_place("vault") == f"{URL}?sslmode=require&schema=vault"
    assert read_place("./vault") == Path("vault")
    (tmp_path / "vault").touch()
    assert read_place("vault") == Path("vault"), "a file that is there is meant"


def test_the_environment_may_name_a_file_with_the_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(URL + "\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "url"))
    assert read_place("vault") == f"{URL}?schema=vault"
    (tmp_path / "url").write_text(PASSWORD)
    with pytest.raises(Invalid) as caught:
        read_place("vault")
    assert PASSWORD not in caught.value.message
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(Unavailable):
        read_place("vault")


def test_what_must_be_there_is_looked_for_among_files_only(tmp_path: Path) -> None:
    need_file(URL, "vault")
    with pytest.raises(Unavailable, match="there is no vault"):
        need_file(tmp_path / "absent", "vault")
