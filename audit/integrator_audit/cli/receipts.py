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
from integrator_audit.cli.answering import HOLDS, UNKNOWN, JsonOption, answering
from integrator_audit.cli.files import read_file
from integrator_audit.cli.trust import (
    KeysOption,
    PolicyOption,
    RootOption,
    StateOption,
    Trust,
    VkeyOption,
    read_policy,
    read_state,
    read_trust,
)
from integrator_audit.errors import Invalid, Refused, Unavailable
from integrator_audit.openingfile import read_opening
from integrator_audit.receiptcheck import CheckedReceipt, Received, check_receipt
from integrator_audit.witnessing.policy import Policy

_SHA256 = re.compile("[0-9a-f]{64}")


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
    vkey: VkeyOption = None,
    *,
    policy: PolicyOption = None,
    keys: KeysOption = None,
    keys_root: RootOption = None,
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
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check one entry's receipt or opening, offline: its parts, its proof, its witnesses, and what was received."""
    with answering(as_json=as_json):
        data, now = read_file(file, "the receipt"), int(time.time())
        if vkey is None and keys is None and keys_root is None and policy is not None:
            trust = _listed(data, read_policy(policy))
        else:
            memory = read_state(state)
            trust = read_trust(vkey, policy, keys=keys, root=keys_root, state=memory)
        trust.demand(now, 0.0)  # refuses a log that was closed because its key was stolen, unless witnesses vouch
        received = Received(_digest(value, value_sha256), topic, partition, lane, sequence)
        checked = check_receipt(data, trust.keys, policy=trust.policy, received=received, now=now)
        if audience is not None:
            check_audience(checked.opening.parts, audience)
        missing = [
            *([] if checked.is_witnessed or _asks_for_none(checked) or without_witnesses else [_UNWITNESSED]),
            *([] if checked.compared or not checked.is_a_recipients or without_value else [_NOT_COMPARED]),
        ]
        _tell(checked, missing, as_json=as_json)


def _listed(data: bytes, policy: Policy) -> Trust:
    """Return the keys that the policy lists for the log of which the receipt says to be."""
    origin = read_opening(data).get("origin")
    if policy.logs and not (isinstance(origin, str) and any(log.key.name == origin for log in policy.logs)):
        raise Refused("receipt-log", "the policy does not list the log of this receipt")
    return Trust(policy.keys_of(str(origin)), policy)


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
