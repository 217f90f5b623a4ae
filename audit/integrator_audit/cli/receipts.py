"""The command that checks one receipt or opening offline: `verify-receipt`.

- Exit code 0 means everything: the proof, the quorum of a policy, and for a recipient's receipt the value received.
- What was not asked is not passed over: without a policy, or without the value, the answer is 2 unless the caller says
  that he does without.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.audience import check_audience
from integrator_audit.cli.answering import HOLDS, UNKNOWN, JsonOption, answering, read_vkey
from integrator_audit.errors import Invalid, Unavailable
from integrator_audit.receiptcheck import CheckedReceipt, Received, check_receipt
from integrator_audit.witnessing.policy import Policy

_SHA256 = re.compile("[0-9a-f]{64}")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Missing:
    """Something without which a receipt does not count, as a code and a sentence."""

    code: str
    message: str


_UNWITNESSED = _Missing(
    "receipt-unwitnessed",
    "No quorum of witnesses vouches for it here: the log could show others a different history. Give --policy, or "
    "--without-witnesses to do without.",
)
_NOT_COMPARED = _Missing(
    "receipt-not-compared",
    "It was not compared with what was received: it could be the receipt of another delivery. Give --value or "
    "--value-sha256, or --without-value to do without.",
)


def verify_receipt_command(  # noqa: PLR0913  each is an option of the command
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt or opening: JSON or .tlog-proof.")],
    vkey: Annotated[str, typer.Option(help="The log's verifier key, or a file that holds it.")],
    *,
    policy: Annotated[
        Path | None, typer.Option(help="Which witnesses are a quorum (c2sp.org/tlog-policy).", metavar="FILE")
    ] = None,
    without_witnesses: Annotated[
        bool, typer.Option("--without-witnesses", help="Let it count without a quorum of witnesses.")
    ] = False,
    audience: Annotated[
        str | None,
        typer.Option(help="Refuse it unless it shows what this audience may know: citizen, recipient or supervisor."),
    ] = None,
    value: Annotated[
        Path | None, typer.Option(help="The value that was received, byte for byte, in a file.", metavar="FILE")
    ] = None,
    value_sha256: Annotated[
        str | None, typer.Option("--value-sha256", help="Or its SHA-256, in hexadecimal.", metavar="HEX")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="The topic on which it was received.")] = None,
    partition: Annotated[int | None, typer.Option(help="The partition.")] = None,
    lane: Annotated[int | None, typer.Option(help="The lane that delivered.")] = None,
    sequence: Annotated[int | None, typer.Option(help="Its number within topic, partition and lane.")] = None,
    without_value: Annotated[
        bool, typer.Option("--without-value", help="Let a recipient's receipt count without what was received.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check one entry's receipt or opening, offline: its parts, its proof, its witnesses, and what was received."""
    with answering(as_json=as_json):
        received = Received(_digest(value, value_sha256), topic, partition, lane, sequence)
        checked = check_receipt(
            _read(file, "the receipt"),
            read_vkey(vkey),
            policy=None if policy is None else Policy.parse(_read(policy, "the policy")),
            received=received,
            now=int(time.time()),
        )
        if audience is not None:
            check_audience(checked.opening.parts, audience)
        missing = [
            *([] if checked.is_witnessed or _asks_for_none(checked) or without_witnesses else [_UNWITNESSED]),
            *([] if checked.compared or not checked.is_a_recipients or without_value else [_NOT_COMPARED]),
        ]
        _tell(checked, missing, as_json=as_json)


def _asks_for_none(checked: CheckedReceipt) -> bool:
    return checked.quorum is not None and checked.quorum.as_of is None


def _tell(checked: CheckedReceipt, missing: list[_Missing], *, as_json: bool) -> None:
    opening, quorum = checked.opening, checked.quorum
    cosigned = [] if quorum is None else sorted(quorum.cosigned)
    if as_json:
        document: dict[str, object] = {
            "result": "unknown" if missing else "verified",
            "origin": opening.origin,
            "index": opening.index,
            "size": opening.size,
            "type": opening.type,
            "audience": checked.audience,
            "parts": opening.parts,
            "witnessed": checked.is_witnessed,
            "cosigned": cosigned,
            "asOf": None if quorum is None else quorum.as_of,
            "compared": checked.compared,
        }
        if missing:
            document |= {"code": missing[0].code, "message": " ".join(item.message for item in missing)}
        print(json.dumps(document))
    else:
        for letter, said in opening.parts.items():
            print(f"{letter}: {json.dumps(said)}")
        print(f"Entry {opening.index} of {opening.origin} says this, under a signed checkpoint of size {opening.size}.")
        if checked.audience is not None:
            print(f"It shows what a {checked.audience} may know.")
        if checked.is_witnessed:
            print(f"A quorum of witnesses cosigned it: {', '.join(cosigned)}.")
        elif _UNWITNESSED not in missing:
            print("No quorum of witnesses was asked for: the log could show others a different history.")
        if checked.compared:
            print("It is about the value that was received.")
        for item in missing:
            print(f"could not tell: {item.message} ({item.code})")
    raise typer.Exit(UNKNOWN if missing else HOLDS)


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_BLOCK + 1)  # more than any of them may have: the readers refuse what is longer
    except OSError as error:
        raise Unavailable("file-unreadable", f"{what} in {path} cannot be read: {error.strerror}") from error


def _digest(value: Path | None, given: str | None) -> str | None:
    if value is not None and given is not None:
        raise Invalid("value-options", "give --value or --value-sha256, not both")
    if given is not None:
        if not _SHA256.fullmatch(given.lower()):
            raise Invalid("value-options", "--value-sha256 is 64 hexadecimal digits")
        return given.lower()
    if value is None:
        return None
    try:
        with value.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unavailable("file-unreadable", f"the value in {value} cannot be read: {error.strerror}") from error
