"""Guarantees that the development broker is made of exactly the pinned jars, and fetches those that are missing.

- `deploy/kafka/jars.txt` lists coordinates, sizes and SHA-256 sums. There is no resolution: nothing can float.
- Jars live in the user's cache under the digest of that list, so two versions of this program never share a folder.
- A folder is complete or absent: jars are fetched beside it, compared, and renamed into place. Installations that need
  it at the same time wait for one another; an interrupted download goes on where it stopped.
- Every start compares every jar again: the cache is not trusted, and a file that is not listed is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from integrator.domain.errors import Invalid, Refused, Tampered, Unavailable

_LINE = re.compile(r"([0-9a-f]{64}) +([0-9]+) ([A-Za-z0-9_.-]+):([A-Za-z0-9_.-]+):([A-Za-z0-9_.-]+)")
_SECONDS_WITHOUT_BYTES = 30
_DOWNLOADS_AT_ONCE = 6

Progress = Callable[[int, int], None]
"""Called with bytes fetched so far and bytes to fetch in all; never called when nothing is missing."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One jar: its Maven coordinates, its size in bytes and its SHA-256 in hexadecimal."""

    group: str
    artefact: str
    version: str
    size: int
    sha256: str

    @property
    def coordinates(self) -> str:
        return f"{self.group}:{self.artefact}:{self.version}"

    @property
    def filename(self) -> str:
        return f"{self.artefact}-{self.version}.jar"


@dataclass(frozen=True, slots=True)
class Pins:
    """The whole class path in its order, and the digest that names this set."""

    jars: tuple[Pin, ...]
    digest: str


Fetch = Callable[[Pin, Path], Path]
"""Fetches one jar into a folder and returns its path; raises any exception when it cannot."""


def deployment_directory() -> Traversable:
    """Return the folder of `deploy/kafka`: inside the wheel, or beside the package in a checkout."""
    packaged = resources.files("integrator") / "_data" / "kafka"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "deploy" / "kafka"


def cache_directory() -> Path:
    """Return the folder where jars and class archives of all versions are kept (XDG base directories)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "integrator" / "kafka"


def read_pins(text: str) -> Pins:
    """Read a list of pins: `sha256 size group:artefact:version`, `#` begins a comment line.

    Raises `Invalid` (`kafka-pins`) for a line of another form or a jar that is listed twice.
    """
    jars: list[Pin] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise Invalid("kafka-pins", f"Line {number} of jars.txt is not: SHA-256, size, group:artefact:version.")
        sha256, size, group, artefact, version = match.groups()
        jars.append(Pin(group, artefact, version, int(size), sha256))
    if len({pin.filename for pin in jars}) != len(jars):
        raise Invalid("kafka-pins", "jars.txt lists a jar twice.")
    listed = "\n".join(f"{pin.sha256} {pin.coordinates}" for pin in jars)
    return Pins(tuple(jars), hashlib.sha256(listed.encode()).hexdigest()[:16])


def pinned() -> Pins:
    """Return the pins that this installation came with."""
    return read_pins((deployment_directory() / "jars.txt").read_text("utf-8"))


def obtain(
    pins: Pins, cache: Path, *, progress: Progress | None = None, fetch: Fetch | None = None
) -> tuple[Path, ...]:
    """Return the paths of the pinned jars, in the order of the list, after fetching them when they are missing.

    When this returns, every jar has its pinned sum and the folder holds nothing else. Blocks: call it in a thread.
    Raises `Refused` (`kafka-extra-missing`, `kafka-jar-unlisted`), `Unavailable` (`kafka-download`) and
    `Tampered` (`kafka-jar-checksum`).
    """
    folder = cache / pins.digest
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f"{pins.digest}.lock"):
            if not folder.is_dir():
                _download(pins, cache / f"{pins.digest}.partial", folder, progress=progress, fetch=fetch or with_jgo())
    return _checked(pins, folder)


def _checked(pins: Pins, folder: Path) -> tuple[Path, ...]:
    if unlisted := {path.name for path in folder.iterdir()} - {pin.filename for pin in pins.jars}:
        raise Refused(
            "kafka-jar-unlisted", f"{folder} holds {min(unlisted)}, which jars.txt does not list: remove that folder."
        )
    paths = tuple(folder / pin.filename for pin in pins.jars)
    for pin, path in zip(pins.jars, paths, strict=True):
        if not path.is_file() or _sha256(path) != pin.sha256:
            raise Tampered(
                "kafka-jar-checksum",
                f"{path} is not the pinned {pin.coordinates}: find out who changed it, then remove its folder.",
            )
    return paths


def _download(pins: Pins, partial: Path, folder: Path, *, progress: Progress | None, fetch: Fetch) -> None:
    partial.mkdir(exist_ok=True)
    total = sum(pin.size for pin in pins.jars)
    done = 0
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE, thread_name_prefix="jar") as pool:
        jobs = {pool.submit(_download_one, pin, partial, fetch): pin for pin in pins.jars}
        try:
            for job in as_completed(jobs):
                job.result()
                done += jobs[job].size
                if progress is not None:
                    progress(done, total)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    for leftover in {path.name for path in partial.iterdir()} - {pin.filename for pin in pins.jars}:
        shutil.rmtree(partial / leftover)
    partial.rename(folder)


def _download_one(pin: Pin, partial: Path, fetch: Fetch) -> None:
    target = partial / pin.filename
    if target.is_file() and _sha256(target) == pin.sha256:
        return
    scratch = partial / f"{pin.sha256}.fetching"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        fetched = fetch(pin, scratch)
    except Exception as error:
        # The repository's client raises what its HTTP library raises; all of it means that the jar did not come.
        raise Unavailable(
            "kafka-download",
            f"Could not fetch {pin.coordinates} ({type(error).__name__}): check the network or the proxy, then try "
            "again; what has been fetched is kept.",
        ) from error
    if _sha256(fetched) != pin.sha256:
        shutil.rmtree(scratch)
        raise Tampered(
            "kafka-jar-checksum",
            f"What the repository gave for {pin.coordinates} is not the pinned jar: do not use this repository or "
            "proxy before you know why.",
        )
    fetched.rename(target)
    shutil.rmtree(scratch)


def with_jgo() -> Fetch:
    """Return a way to fetch a jar by its coordinates with jgo, from the repositories of the user's jgo settings.

    Raises `Refused` (`kafka-extra-missing`) when jgo is not installed.
    """
    try:
        maven: Any = import_module("jgo.maven")
        settings: Any = import_module("jgo.config").GlobalSettings.load()
    except ImportError:
        raise Refused(
            "kafka-extra-missing",
            "The development broker needs the package jgo: python -m pip install 'integrator[kafka]'. "
            "Or use a Kafka of your own with --bootstrap-servers.",
        ) from None
    repositories: dict[str, str] | None = dict(settings.repositories) or None

    def fetch(pin: Pin, folder: Path) -> Path:
        context = maven.MavenContext(
            repo_cache=folder, remote_repos=repositories, timeout=_SECONDS_WITHOUT_BYTES, local_repos=[]
        )
        path: Path = context.create_dependency(pin.coordinates).artifact.resolve()
        return path

    return fetch


@contextmanager
def _alone(lock: Path) -> Generator[None]:
    # The kernel lets go of the lock when its holder dies, so a killed download never blocks the next.
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
