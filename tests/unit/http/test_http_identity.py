"""Tokens are stored as hashes, mean one principal each, and citizens have them in development only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from integrator.domain.errors import Refused
from integrator.domain.identifiers import SubjectRef
from integrator.http.identity import AgencyFor, DevelopmentCitizens, Operator, TokenFile, Tokens, token_secret
from integrator.operation.secrets import FileSecrets

PRINCIPALS = [Operator(), AgencyFor("svb", "dubbele-kinderbijslag"), AgencyFor("svb", "nabestaanden")]
PERSON = SubjectRef("test", "000000000001")
OTHER = SubjectRef("test", "000000000002")


def test_every_principal_is_known_by_the_token_in_its_secret(tmp_path: Path) -> None:
    secrets, tokens = FileSecrets(tmp_path / "secrets"), Tokens(tmp_path / "tokens")
    tokens.provide(secrets, PRINCIPALS)
    for principal in PRINCIPALS:
        assert tokens.identify(secrets.get(token_secret(principal)).decode()) == principal
    assert tokens.identify("") is None
    assert tokens.identify("guess") is None


def test_the_names_of_the_secrets_are_those_of_the_design() -> None:
    names = [token_secret(principal) for principal in PRINCIPALS]
    assert names[:2] == ["token-operator", "token-agency-svb--dubbele-kinderbijslag"]


def test_the_file_holds_hashes_and_is_private(tmp_path: Path) -> None:
    secrets, file = FileSecrets(tmp_path / "secrets"), tmp_path / "tokens"
    Tokens(file).provide(secrets, [Operator()])
    token = secrets.get("token-operator")
    assert file.read_bytes() == b"%b operator\n" % hashlib.sha256(token).hexdigest().encode()
    assert file.stat().st_mode & 0o777 == 0o600


def test_providing_again_changes_nothing(tmp_path: Path) -> None:
    secrets, file = FileSecrets(tmp_path / "secrets"), tmp_path / "tokens"
    Tokens(file).provide(secrets, PRINCIPALS)
    before = file.read_bytes()
    Tokens(file).provide(secrets, PRINCIPALS)
    assert file.read_bytes() == before


def test_a_running_process_learns_of_a_token_that_another_adds(tmp_path: Path) -> None:
    running, other = TokenFile(tmp_path / "tokens"), TokenFile(tmp_path / "tokens")
    running.register([("one", "a")])
    other.register([("two", "b")])
    assert running.name_of("two") == "b"
    assert running.name_of("one") == "a"


def test_a_line_that_is_being_written_is_not_read_by_half(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    tokens = TokenFile(file)
    tokens.register([("one", "a")])
    line = f"{hashlib.sha256(b'two').hexdigest()} b\n".encode()
    with file.open("ab") as out:
        out.write(line[:30])
    assert tokens.name_of("two") is None
    with file.open("ab") as out:
        out.write(line[30:])
    assert tokens.name_of("two") == "b"


def test_the_token_of_a_fictional_person_is_the_hmac_that_the_docstring_names(tmp_path: Path) -> None:
    citizens = DevelopmentCitizens(tmp_path / "citizens", b"k" * 32, profile="development")
    digest = hmac.new(b"k" * 32, b"citizen\x00test:000000000001", hashlib.sha256).digest()
    assert citizens.token(PERSON) == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_only_registered_people_are_let_in(tmp_path: Path) -> None:
    citizens = DevelopmentCitizens(tmp_path / "citizens", b"k" * 32, profile="development")
    citizens.register([PERSON])
    assert citizens.identify(citizens.token(PERSON)) == PERSON
    assert citizens.identify(citizens.token(OTHER)) is None


def test_citizens_have_no_tokens_in_production(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="development"):
        DevelopmentCitizens(tmp_path / "citizens", b"k" * 32, profile="production")


def test_two_requests_at_once_read_the_same_new_tokens_and_skip_none_that_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, other = TokenFile(tmp_path / "tokens"), TokenFile(tmp_path / "tokens")
    other.register([("first", "agency-a--b")])
    both_have_opened = threading.Barrier(2, timeout=10)
    open_file = Path.open

    def open_together(path: Path, *arguments: Any, **options: Any) -> Any:
        file = open_file(path, *arguments, **options)
        both_have_opened.wait()
        return file

    with monkeypatch.context() as patched, ThreadPoolExecutor(2) as threads:
        patched.setattr(Path, "open", open_together)
        assert list(threads.map(running.name_of, ["first", "first"])) == ["agency-a--b"] * 2
    other.register([("second", "agency-c--d")])
    assert running.name_of("second") == "agency-c--d"
