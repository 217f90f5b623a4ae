"""An installation is opened as it was made, and says plainly what is wrong with its settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from integrator.domain.errors import Invalid, Refused
from integrator.operation.durations import milliseconds
from integrator.operation.secrets import FileSecrets, key
from integrator.operation.settings import FILE, Installation, Settings, read_settings


def test_an_installation_is_opened_as_it_was_made(tmp_path: Path) -> None:
    made = Installation.create(tmp_path / "here", Settings(profile="development", lanes=8, host="a.example"))
    assert Installation.open(tmp_path / "here").settings == made.settings


def test_making_an_installation_again_leaves_its_settings_alone(tmp_path: Path) -> None:
    Installation.create(tmp_path, Settings(lanes=8))
    assert Installation.create(tmp_path, Settings(lanes=2)).settings.lanes == 8


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Installation.create(tmp_path, Settings(workers=2))
    monkeypatch.setenv("INTEGRATOR_WORKERS", "5")
    assert Installation.open(tmp_path).settings.workers == 5


def test_a_directory_without_settings_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--data") as refused:
        Installation.open(tmp_path)
    assert refused.value.code == "no-installation"


@pytest.mark.parametrize(
    ("text", "named"),
    [("lanes = 0", "lanes"), ("lane = 4", "lane"), ('profile = "test"', "profile"), ("lanes = [", "TOML")],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / FILE).write_text(text, "utf-8")
    with pytest.raises(Invalid, match=named):
        Installation.open(tmp_path)


def test_without_a_broker_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="integrator kafka start"):
        _ = Installation.create(tmp_path, read_settings({}, "")).bootstrap


def test_a_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    secrets = FileSecrets(tmp_path / "secrets")
    first = secrets.create("a-key", key)
    assert secrets.create("a-key", key) == first == secrets.get("a-key")
    assert (tmp_path / "secrets" / "a-key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["a-key"]


def test_a_secret_is_on_disk_before_it_is_used_and_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was signed under a key that a crash of the machine took away could never be gone on with."""
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    secrets = FileSecrets(tmp_path / "secrets")
    first = secrets.create("ledger-signing", key)
    assert synced[-1] == tmp_path / "secrets", "the name too, after the bytes"
    assert tmp_path in synced

    def make() -> bytes:
        raise AssertionError("a key of a half-year takes a second to make")

    assert secrets.create("ledger-signing", make) == first


def test_a_destroyed_secret_is_gone_and_destroying_it_again_is_no_error(tmp_path: Path) -> None:
    secrets = FileSecrets(tmp_path / "secrets")
    secrets.create("label-key-2001h1", lambda: b"k" * 32)
    inode = tmp_path / "secrets" / "label-key-2001h1"
    beside = tmp_path / "beside"
    beside.hardlink_to(inode)
    secrets.destroy("label-key-2001h1")
    assert list((tmp_path / "secrets").iterdir()) == []
    assert b"kkkk" not in beside.read_bytes(), "the bytes themselves are overwritten"
    secrets.destroy("label-key-2001h1")


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", ".a"])
def test_a_name_that_could_leave_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused):
        FileSecrets(tmp_path).get(name)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("P1D", 86_400_000), ("PT1H", 3_600_000), ("P1Y", 365 * 86_400_000), ("P1M2DT3S", 32 * 86_400_000 + 3000)],
)
def test_durations_are_read(duration: str, expected: int) -> None:
    assert milliseconds(duration) == expected


@pytest.mark.parametrize("duration", ["", "P", "PT", "1D", "P1H"])
def test_what_is_no_duration_is_refused(duration: str) -> None:
    with pytest.raises(Invalid):
        milliseconds(duration)


URL = "postgresql://ledger_writer@db.internal/ledger"


@pytest.mark.parametrize(
    ("ledger", "vault", "said"),
    [
        (URL, "", "set together"),
        ("", URL, "set together"),
        ("mysql://db/ledger", URL, "ledger_database is a URL"),
        (URL, "postgresql://vault:hunter2@db/vault", "ledger_vault holds a password"),
        (URL + "?password=hunter2", URL, "ledger_database holds a password"),
        (URL + "?schema=other", URL, "ledger_database names a schema"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_and_no_password_is_repeated(
    tmp_path: Path, ledger: str, vault: str, said: str
) -> None:
    (tmp_path / FILE).write_text(f'ledger_database = "{ledger}"\nledger_vault = "{vault}"\n', "utf-8")
    with pytest.raises(Invalid, match=said) as caught:
        Installation.open(tmp_path)
    assert "hunter2" not in str(caught.value)


def test_the_databases_passwords_are_a_secret_of_the_installation(tmp_path: Path) -> None:
    made = Installation.create(tmp_path, Settings(ledger_database=URL, ledger_vault=URL + "?sslmode=verify-full"))
    assert made.ledger_files.store("s0-2026h2") == URL + "?schema=ledger_s0_2026h2"
    assert made.ledger_files.index == URL + "?schema=index_epochs"
    made.secrets.create("pgpass", lambda: b"db.internal:5432:*:ledger_writer:secret")
    passwords = f"passfile={(tmp_path / 'secrets' / 'pgpass').resolve()}"
    assert made.ledger_files.store("s0-2026h2") == f"{URL}?{passwords}&schema=ledger_s0_2026h2"
    assert made.ledger_files.persons == f"{URL}?sslmode=verify-full&{passwords}"
    assert Installation.create(tmp_path / "files", Settings()).ledger_files.databases is None
