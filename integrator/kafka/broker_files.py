"""Lays out the folder of a development broker: what is written, who may read it, and in which form Kafka wants it.

`DIR/kafka` (mode 0700): `server.properties` (0600, has the broker's password), `log4j2.properties`, `ports.json`,
`pid.json`, `lock`, `broker.log`, `data/`. Each file is replaced in one step, so a crash leaves the old or the new one.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any, cast

from integrator.domain.errors import Refused
from integrator.kafka.artefacts import deployment_directory
from integrator.kafka.process import Process

_PASSWORD = re.compile(r"[A-Za-z0-9_-]{12,}")
_LOG_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ports:
    """The two ports that the broker listens on; clients know only the first."""

    client: int
    controller: int


@dataclass(frozen=True, slots=True)
class Running:
    """Who was started last, and where it leaves an archive of its classes when it stops cleanly (else empty)."""

    pid: int
    birth: str
    archive: str = ""
    draft: str = ""

    @property
    def process(self) -> Process:
        return Process(self.pid, self.birth)


class BrokerFiles:
    """The files of one broker. Raises `Refused` (`data-directory`) for a folder that Kafka cannot name."""

    def __init__(self, directory: Path) -> None:
        self.root = directory.absolute() / "kafka"
        if "," in str(self.root) or "\n" in str(self.root):
            raise Refused("data-directory", f"Kafka cannot keep data in {self.root}: choose a path without a comma.")
        self.data = self.root / "data"
        self.log = self.root / "broker.log"
        self.lock = self.root / "lock"
        self.properties = self.root / "server.properties"
        self.log_settings = self.root / "log4j2.properties"
        self._ports = self.root / "ports.json"
        self._pid = self.root / "pid.json"

    def prepare(self) -> None:
        """Make the folder, for its owner only."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)

    def ports(self) -> Ports | None:
        """Return the ports of the last start, or `None` before the first."""
        found = _read(self._ports)
        return Ports(int(found["client"]), int(found["controller"])) if found else None

    def running(self) -> Running | None:
        """Return who was started last and not stopped by us; it may have died since."""
        found = _read(self._pid)
        return Running(**found) if found else None

    def write_ports(self, ports: Ports) -> None:
        self.write(self._ports, json.dumps(asdict(ports)))

    def write_running(self, running: Running) -> None:
        self.write(self._pid, json.dumps(asdict(running)))

    def forget_running(self) -> None:
        self._pid.unlink(missing_ok=True)

    def write(self, path: Path, text: str) -> None:
        """Replace a file in one step; only its owner can read it."""
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        scratch.replace(path)

    def write_settings(self, ports: Ports, password: str, *, data: Path | None = None) -> None:
        """Write the broker's settings; `data` is the data folder when it is not the usual one."""
        template = Template((deployment_directory() / "server.properties").read_text("utf-8"))
        self.write(
            self.properties,
            template.substitute(
                client=ports.client,
                controller=ports.controller,
                password=checked_password(password),
                data=property_value(str(data or self.data)),
            ),
        )
        self.write(self.log_settings, (deployment_directory() / "log4j2.properties").read_text("utf-8"))

    def cluster(self) -> str:
        """Return the id that this broker was formatted with."""
        for line in (self.data / "meta.properties").read_text("utf-8").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "cluster.id":
                return value.strip()
        raise Refused(
            "kafka-data", f"{self.data} has no cluster id: it is not the data of a broker; remove {self.root}."
        )

    def log_size(self) -> int:
        """Return the size of the log, after setting a log aside that has grown large."""
        if not self.log.exists():
            return 0
        if self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
            return 0
        return self.log.stat().st_size

    def log_tail(self, since: int) -> list[str]:
        """Return the lines after byte `since`: the last three that name an error, else the last three."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(since)
            lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"\b(ERROR|FATAL)\b|Exception|Error:", line)]
        return (telling or lines)[-3:]


def checked_password(password: str) -> str:
    """Return a password that needs no escaping in Kafka's settings. Raises `Refused` (`kafka-password`)."""
    if not _PASSWORD.fullmatch(password):
        raise Refused("kafka-password", "A broker's password has at least 12 of A-Z, a-z, 0-9, '-' and '_'.")
    return password


def property_value(text: str) -> str:
    """Escape a value for a Java properties file, which is read as Latin-1. Source: `java.util.Properties.load`."""
    units = text.replace("\\", "\\\\").encode("utf-16-be")
    characters = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(unit) if 0x20 <= unit < 0x7F else f"\\u{unit:04x}" for unit in characters)


def argument(text: str) -> str:
    """Quote one argument for a Java argument file. Source: the `java` command's manual, "Argument Files"."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return cast("dict[str, Any]", json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except ValueError:
        raise Refused("kafka-files", f"{path} is damaged: stop the broker by hand and remove that file.") from None
