"""Says how a command reaches an integrator: an installation on this machine, or addresses and files of secrets.

A secret is never an argument: other users of the machine can read those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from integrator.domain.errors import Refused
from integrator.kafka.connection import Connection
from integrator.operation.settings import Installation

Data = Annotated[Path, typer.Option("--data", envvar="INTEGRATOR_DATA", help="The installation's directory.")]
Bootstrap = Annotated[
    str | None, typer.Option("--bootstrap", help="Addresses of Kafka, host:port,…; then no installation is needed.")
]
Api = Annotated[str | None, typer.Option("--api", help="Address of the integrator; else that of the installation.")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help="File with the Kafka password; needed with --bootstrap.")
]
TokenFile = Annotated[Path | None, typer.Option("--token-file", help="File with the token; needed with --bootstrap.")]
Authorities = Annotated[
    Path | None, typer.Option("--ca-file", help="PEM file of the authority of Kafka's certificate; turns TLS on.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
HERE = Path("data")


@dataclass(frozen=True, slots=True)
class Reach:
    """How one principal reaches an integrator. `token` is empty for those who need none."""

    connection: Connection
    api: str
    token: SecretStr


@dataclass(frozen=True, slots=True)
class Ways:
    """What the options of a command say about it."""

    data: Path
    bootstrap: str | None = None
    api: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    authorities: Path | None = None

    def only_agency(self, purpose: str) -> str:
        """Return the agency that the installation knows for `purpose`, when it is one. Raises `Refused` (`agency`)."""
        if self.bootstrap is not None:
            raise Refused("option-missing", "With --bootstrap, give --agency too.")
        folder = Installation.open(self.data).data / "secrets"
        known = (path.name.removeprefix("kafka-agency-").partition("--") for path in folder.glob("kafka-agency-*"))
        agencies = sorted(agency for agency, _, theirs in known if theirs == purpose)
        match agencies:
            case [agency]:
                return agency
            case []:
                raise Refused(
                    "agency", f"No agency has the purpose {purpose!r} here: look at its name, or give --agency."
                )
            case _:
                raise Refused(
                    "agency", f"Several agencies have this purpose, say which: --agency {' | '.join(agencies)}."
                )

    def reach(self, principal: str, *, token: str | None = None) -> Reach:
        """Return how `principal` gets there; `token` is the name of the secret with its token.

        Raises `Refused` (`option-missing`, `file-missing`, `no-installation`, `secret-missing`, …).
        """
        if self.bootstrap is None:
            installation = Installation.open(self.data)
            # `get`, never made here: a principal without a secret is one that the installation does not know.
            password = installation.secrets.get(f"kafka-{principal}")
            known = installation.secrets.get(token) if token is not None else b""
            return Reach(
                Connection(
                    installation.bootstrap,
                    principal,
                    SecretStr(password.decode()),
                    security_protocol=installation.settings.security_protocol,
                    authorities=self.authorities,
                ),
                self.api or installation.api_url,
                SecretStr(known.decode()),
            )
        needed: Mapping[str, object] = {"--api": self.api, "--password-file": self.password_file} | (
            {"--token-file": self.token_file} if token is not None else {}
        )
        if missing := [option for option, value in needed.items() if value is None]:
            raise Refused("option-missing", f"With --bootstrap, give {' and '.join(missing)} too.")
        connection = Connection(
            self.bootstrap,
            principal,
            _secret(self.password_file),
            security_protocol="SASL_PLAINTEXT" if self.authorities is None else "SASL_SSL",
            authorities=self.authorities,
        )
        return Reach(connection, self.api or "", _secret(self.token_file))


def _secret(file: Path | None) -> SecretStr:
    if file is None:
        return SecretStr("")
    try:
        return SecretStr(file.read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError):
        raise Refused("file-missing", f"The file {file} cannot be read.") from None
