"""The command `witness`: cosign the checkpoints of other people's logs."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.cli.answering import HOLDS, JsonOption, answering
from integrator_audit.cli.files import read_file
from integrator_audit.cli.keys import read_cosigner
from integrator_audit.errors import Invalid, Unavailable
from integrator_audit.witnessing.cosignature import LogKey
from integrator_audit.witnessing.loglist import is_list, read_list
from integrator_audit.witnessing.policy import Policy
from integrator_audit.witnessing.server import WitnessServer
from integrator_audit.witnessing.witness import Witness

LISTEN = "127.0.0.1:7380"


def witness_command(
    key: Annotated[Path, typer.Option(help="The witness's secret key (keygen witness).", metavar="FILE")],
    logs: Annotated[
        Path,
        typer.Option(
            help="Lines 'log VKEY', and 'quorum none' (c2sp.org/tlog-policy); or c2sp.org/tlog-list.", metavar="FILE"
        ),
    ],
    state: Annotated[Path, typer.Option(help="The file that remembers what was cosigned.", metavar="FILE")],
    *,
    listen: Annotated[str, typer.Option(help="Where to listen, with plain HTTP.", metavar="HOST:PORT")] = LISTEN,
    as_json: JsonOption = False,
) -> None:
    """Be a witness (c2sp.org/tlog-witness): cosign a log's checkpoint when it extends all that was cosigned before.

    Its state must not be lost or set back: it would cosign a second history. Never run two with the same key.
    """
    with answering(as_json=as_json):
        listed = read_logs(read_file(logs, "the list of logs"))
        if not listed:
            raise Invalid("witness-logs", f"{logs} lists no log; add lines: log VKEY")
        cosigner = read_cosigner(key)
        witness = Witness.open(state, cosigner=cosigner, logs=listed, clock=time.time)
        try:
            server = WitnessServer(parse_address(listen), witness)
        except OSError as error:
            raise Unavailable("witness-listen", f"{listen} cannot be listened on: {error.strerror}") from error
        where = f"http://{server.server_address[0]!s}:{server.server_port}"
        if as_json:
            print(json.dumps({"listening": where, "vkey": witness.vkey, "logs": len(listed)}), flush=True)
        else:
            print(f"{witness.vkey}\nlistens on {where} for {len(listed)} logs", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _signal, _frame: threading.Thread(target=server.shutdown).start())
        with server:
            server.serve_forever()
        witness.close()
    raise typer.Exit(HOLDS)


def read_logs(data: bytes) -> dict[str, list[LogKey]]:
    """Return the keys that a policy or a list of logs names, by origin; raise `Invalid` when it is neither."""
    if is_list(data):
        return {origin: [key] for origin, key in read_list(data).items()}
    found: dict[str, list[LogKey]] = {}
    for log in Policy.parse(data).logs:
        found.setdefault(log.key.name, []).append(log.key)
    return found


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; raise `Invalid` when it is none."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise Invalid("address", f"{text} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
