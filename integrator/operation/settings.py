"""Knows one installation: where its files are, which cluster it uses, and under which name its ledger signs.

An installation is a directory:

    settings.toml   what an operator may read and change
    secrets/        one file each, mode 0600
    kafka/          the development broker, when there is one
    directory/      this machine's copy of the reference directory (LMDB)
    ledger/         one SQLite file per log, or none with `ledger_database`; `public/` with the static files
    logs/, run/     what the processes write while they run
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from integrator.domain.errors import Invalid, Refused
from integrator.kafka.connection import Connection
from integrator.kafka.development import status_of
from integrator.operation.secrets import FileSecrets, Secrets, password
from integrator.recording.logs import Databases, LedgerFiles
from integrator_audit.stores import holds_password, is_url

FILE = "settings.toml"
PASSWORDS = "pgpass"
"""The secret with the passwords of the ledger's databases, in the form of libpq."""


class Settings(BaseSettings):
    """What an operator sets: in `settings.toml`, or as `INTEGRATOR_…` in the environment, which wins."""

    model_config = SettingsConfigDict(env_prefix="INTEGRATOR_", extra="forbid", frozen=True)

    profile: Literal["development", "production"] = "production"
    """`development` alone accepts tokens of fictional people."""
    installation: str = Field(default="integrator", pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    host: str = Field(default="integrator.example", pattern=r"^[a-z0-9.-]+$")
    """The name in the ledger's origins: hashed into every entry, so final. Never a port."""
    lanes: int = Field(default=4, ge=1, le=256)
    """Fixed at installation."""
    ledger_shards: int = Field(default=1, ge=1, le=256)
    """How many subject shards the lanes are divided over, each with a writer of its own; fixed at installation."""
    ledger_database: str = ""
    """`postgresql://` URL of the database that has the logs and the index of the days; empty keeps them in files."""
    ledger_vault: str = ""
    """The same of the people's keys: a database with a role and a plan of backups of its own."""
    ledger_unlisted: int = Field(default=64, ge=0, le=65_536)
    """How many entries of each day are unlisted: padding, and among it what a supervisor's order withholds."""
    ledger_policy: str = ""
    """A file with the witnesses that have to cosign what is published (C2SP tlog-policy); empty publishes at once."""
    ledger_supervisor: str = ""
    """Verification key of the supervisor whose orders to withhold entries are followed; empty follows nobody's."""
    workers: int = Field(default=2, ge=1, le=64)
    bootstrap: str = ""
    """`host:port,…` of the cluster; empty means the development broker of this directory."""
    security_protocol: Literal["SASL_PLAINTEXT", "SASL_SSL"] = "SASL_PLAINTEXT"
    replication: int = Field(default=1, ge=1, le=7)
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    """0 takes a free port at the first start and keeps it in `run/http-port`."""
    auditors: str = Field(default="", pattern=r"^([a-z0-9]+(-[a-z0-9]+)*(,[a-z0-9]+(-[a-z0-9]+)*)*)?$")
    """Organisations that may search the ledger, separated by commas; each gets a token, good while it stands here."""
    audit_openings: int = Field(default=2000, ge=0, le=1_000_000)
    """In how many people's entries each auditor may see part S in a day (UTC)."""
    otlp_endpoint: str = ""
    """Address of a collector for spans and metrics; empty sends nothing. Needs the extra `integrator[otlp]`."""

    @model_validator(mode="after")
    def _shards_have_lanes(self) -> Self:
        if self.ledger_shards > self.lanes:
            raise ValueError("ledger_shards is at most lanes: a shard without a lane would stay empty")
        return self

    @model_validator(mode="after")
    def _databases_can_be_used(self) -> Self:
        given = {"ledger_database": self.ledger_database, "ledger_vault": self.ledger_vault}
        for member, url in given.items():
            # What was given is not repeated: it may hold a password.
            if url and not is_url(url):
                raise ValueError(f"{member} is a URL such as postgresql://ledger_writer@db.internal/ledger")
            if holds_password(url):
                raise ValueError(
                    f"{member} holds a password: put that into secrets/{PASSWORDS}, in the form of ~/.pgpass"
                )
            if "schema=" in url:
                raise ValueError(f"{member} names a schema: each log gets one of its own")
        if bool(self.ledger_database) != bool(self.ledger_vault):
            raise ValueError(
                "ledger_database and ledger_vault are set together: the keys are in a database of their own"
            )
        return self

    @property
    def auditor_names(self) -> list[str]:
        """The organisations that may search the ledger."""
        return self.auditors.split(",") if self.auditors else []

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


@dataclass(frozen=True, slots=True)
class Installation:
    """One installation on this machine."""

    data: Path
    settings: Settings

    @classmethod
    def open(cls, data: Path) -> Installation:
        """Open an existing installation. Raises `Refused` (`no-installation`) or `Invalid` (`settings`)."""
        file = data / FILE
        try:
            members = tomllib.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            raise Refused(
                "no-installation",
                f"There is no {FILE} in {data}: name the directory with --data, or run `integrator run`.",
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Invalid("settings", f"{file} is no TOML: {error}", where=str(file)) from None
        return cls(data, read_settings(members, str(file)))

    @classmethod
    def create(cls, data: Path, settings: Settings) -> Installation:
        """Write `settings.toml` into `data`; an existing one is left alone and opened."""
        data.mkdir(parents=True, exist_ok=True)
        try:
            with (data / FILE).open("x", encoding="utf-8") as out:
                out.write("# Every member may also be set as INTEGRATOR_<MEMBER> in the environment.\n")
                for name, value in settings.model_dump().items():
                    out.write(f"{name} = {_toml(value)}\n")
        except FileExistsError:
            return cls.open(data)
        for folder in ("logs", "run"):
            (data / folder).mkdir(exist_ok=True)
        return cls(data, settings)

    @property
    def secrets(self) -> Secrets:
        """The secrets of this installation."""
        return FileSecrets(self.data / "secrets")

    @property
    def directory(self) -> Path:
        """Where this machine's copy of the directory is."""
        return self.data / "directory"

    @property
    def ledger(self) -> Path:
        """Where the ledger's files are."""
        return self.data / "ledger"

    @property
    def ledger_files(self) -> LedgerFiles:
        """The ledger's files and stores."""
        return LedgerFiles(self.ledger, self._databases())

    @property
    def labels(self) -> Path:
        """Where the label service can be asked."""
        return self.data / "run" / "labels"

    @property
    def bootstrap(self) -> str:
        """The cluster's addresses: the configured ones, or those of the development broker."""
        if self.settings.bootstrap:
            return self.settings.bootstrap
        if (bootstrap := status_of(self.data).bootstrap) is not None:
            return bootstrap
        raise Refused(
            "no-kafka",
            f"{self.data / FILE} names no cluster and no development broker was started here: "
            "set `bootstrap`, or run `integrator kafka start`.",
        )

    @property
    def api_url(self) -> str:
        """The address of this installation's HTTP interface, without a trailing slash."""
        port = self.settings.http_port
        if port == 0:
            try:
                port = int((self.data / "run" / "http-port").read_text("utf-8"))
            except (FileNotFoundError, ValueError):
                raise Refused(
                    "not-running", f"The installation in {self.data} does not run: start it with `integrator run`."
                ) from None
        return f"http://{self.settings.http_host}:{port}"

    def _databases(self) -> Databases | None:
        if not self.settings.ledger_database:
            return None
        passwords = self.data / "secrets" / PASSWORDS
        extra = f"passfile={quote(str(passwords.resolve()), safe='/')}" if passwords.is_file() else ""

        def completed(url: str) -> str:
            return url if not extra or "passfile=" in url else f"{url}{'&' if '?' in url else '?'}{extra}"

        return Databases(completed(self.settings.ledger_database), completed(self.settings.ledger_vault))

    def connection(self, principal: str) -> Connection:
        """Return how `principal` connects, with its password from the secrets (made when it is new)."""
        secret = self.secrets.create(f"kafka-{principal}", password)
        return Connection(
            self.bootstrap, principal, SecretStr(secret.decode()), security_protocol=self.settings.security_protocol
        )


def read_settings(members: dict[str, Any], where: str) -> Settings:
    """Check `members` as settings. Raises `Invalid` (`settings`) that names each wrong member."""
    try:
        return Settings(**members)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise Invalid("settings", f"{where}: {problems}", where=where) from None


def _toml(value: object) -> str:
    if isinstance(value, str):
        return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)
