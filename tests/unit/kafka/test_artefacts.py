"""Holds that the broker is made of the pinned jars only, whatever a repository, a cache or a second process does."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integrator.domain.errors import IntegratorError, Invalid, Refused, Tampered, Unavailable
from integrator.kafka import artefacts
from integrator.kafka.artefacts import Pin, Pins, obtain, pinned, read_pins

BODIES = {"one": b"1" * 100, "two": b"2" * 200, "three": b"3" * 300}


def pins() -> Pins:
    lines = [f"{hashlib.sha256(body).hexdigest()} {len(body)} org.x:{name}:1.0" for name, body in BODIES.items()]
    return read_pins("# a comment\n\n" + "\n".join(lines))


class Repository:
    """A Maven repository that counts what is fetched; what it serves can be changed or taken away."""

    def __init__(self) -> None:
        self.bodies = dict(BODIES)
        self.fetched: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, pin: Pin, folder: Path) -> Path:
        with self._lock:
            self.fetched.append(pin.artefact)
        if pin.artefact not in self.bodies:
            raise ConnectionError("no route to host")
        path = folder / pin.filename
        path.write_bytes(self.bodies[pin.artefact])
        return path


def test_missing_jars_are_fetched_once_and_come_in_the_order_of_the_list(tmp_path: Path) -> None:
    repository, told = Repository(), list[tuple[int, int]]()
    paths = obtain(pins(), tmp_path, fetch=repository, progress=lambda *step: told.append(step))
    assert [path.name for path in paths] == ["one-1.0.jar", "two-1.0.jar", "three-1.0.jar"]
    assert [path.read_bytes() for path in paths] == list(BODIES.values())
    assert told[-1] == (600, 600)
    assert obtain(pins(), tmp_path, fetch=repository) == paths
    assert sorted(repository.fetched) == sorted(BODIES)


def test_a_jar_with_another_sum_is_refused_and_not_kept(tmp_path: Path) -> None:
    repository = Repository()
    repository.bodies["two"] = b"something else"
    with pytest.raises(Tampered, match=r"org\.x:two:1\.0 is not the pinned jar") as caught:
        obtain(pins(), tmp_path, fetch=repository)
    assert caught.value.code == "kafka-jar-checksum"
    assert not (tmp_path / pins().digest).exists()
    assert not list(tmp_path.glob("**/two-1.0.jar"))
    repository.bodies["two"] = BODIES["two"]
    assert len(obtain(pins(), tmp_path, fetch=repository)) == 3


def test_a_jar_that_was_changed_in_the_cache_is_refused_at_the_next_start(tmp_path: Path) -> None:
    path = obtain(pins(), tmp_path, fetch=Repository())[1]
    path.write_bytes(b"changed")
    with pytest.raises(Tampered, match="is not the pinned"):
        obtain(pins(), tmp_path, fetch=Repository())
    path.unlink()
    with pytest.raises(Tampered, match="is not the pinned"):
        obtain(pins(), tmp_path, fetch=Repository())


def test_a_jar_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    folder = obtain(pins(), tmp_path, fetch=Repository())[0].parent
    (folder / "extra.jar").write_bytes(b"")
    with pytest.raises(Refused, match=r"extra\.jar, which jars\.txt does not list"):
        obtain(pins(), tmp_path, fetch=Repository())


def test_a_download_that_broke_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    repository = Repository()
    del repository.bodies["three"]
    with pytest.raises(Unavailable, match=r"Could not fetch org\.x:three:1\.0") as caught:
        obtain(pins(), tmp_path, fetch=repository)
    assert caught.value.code == "kafka-download"
    repository.bodies, repository.fetched = dict(BODIES), []
    obtain(pins(), tmp_path, fetch=repository)
    assert repository.fetched == ["three"]


def test_installations_at_the_same_time_fetch_once(tmp_path: Path) -> None:
    repository = Repository()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: obtain(pins(), tmp_path, fetch=repository), range(4)))
    assert len(set(found)) == 1
    assert sorted(repository.fetched) == sorted(BODIES)


@pytest.mark.parametrize("line", ["x 1 a:b:1", f"{'0' * 64} a:b:1", f"{'0' * 64} 1 a:b", f"{'0' * 64} 1 a:b:../c"])
def test_a_line_of_another_form_is_refused(line: str) -> None:
    with pytest.raises(Invalid, match="Line 1"):
        read_pins(line)


def test_a_jar_is_not_listed_twice() -> None:
    with pytest.raises(Invalid, match="twice"):
        read_pins(f"{'0' * 64} 1 a:b:1\n{'1' * 64} 1 c:b:1")


def test_the_committed_list_is_apache_kafka_and_names_no_host() -> None:
    text = (artefacts.deployment_directory() / "jars.txt").read_text("utf-8")
    assert "://" not in text
    found = {pin.artefact: pin for pin in pinned().jars}
    assert found["kafka_2.13"].version == found["kafka-clients"].version == "4.3.1"
    assert len(found) == 44
    assert sum(pin.size for pin in found.values()) == 41_001_641


def test_without_jgo_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(artefacts, "import_module", missing)
    with pytest.raises(IntegratorError, match=r"integrator\[kafka\]") as caught:
        artefacts.with_jgo()
    assert caught.value.code == "kafka-extra-missing"
