"""The command with which a recipient finds what was left out, invented or changed: `account`.

The secret shared with the operator is read from a file, never from the command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.cli.answering import (
    FAILED,
    HOLDS,
    UNKNOWN,
    JsonOption,
    answering,
    findings_json,
    print_findings,
    progress,
)
from integrator_audit.cli.epochs import (
    CosignerOption,
    EpochsOption,
    ShardVkeyOption,
    SinceOption,
    UntilOption,
    doubts_json,
    print_doubts,
    read_day,
    trusted_epochs,
    verdict,
    vouchers,
)
from integrator_audit.cli.files import file_size, printable, read_file
from integrator_audit.cli.trust import KeysOption, PolicyOption, RootOption, StateOption, VkeyOption
from integrator_audit.completeness.account import (
    Account,
    AccountDocument,
    AskedAccount,
    read_received,
    verify_account,
)
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.completeness.lines import open_lines
from integrator_audit.encoding import from_base64
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.findings import Finding, Progress
from integrator_audit.halfyear import date_of

SECRET_SIZE = 32


def account_command(  # noqa: PLR0913  each is an option of the command
    document: Annotated[
        Path,
        typer.Argument(
            metavar="DOCUMENT", help="The account that the operator handed over, JSON lines, also packed by gzip."
        ),
    ],
    epochs: EpochsOption,
    received: Annotated[
        Path, typer.Option(help="What was received: a JSON object on each line, also packed by gzip.", metavar="FILE")
    ],
    secret_file: Annotated[
        Path, typer.Option(help="The secret shared with the operator: 32 bytes, or their base64.", metavar="FILE")
    ],
    vkey: VkeyOption = None,
    *,
    policy: PolicyOption = None,
    keys: KeysOption = None,
    keys_root: RootOption = None,
    cosigner: CosignerOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    shard_vkey: ShardVkeyOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare what a recipient received with what the ledger lists under it, and name each difference."""
    with answering(as_json=as_json):
        secret = _secret(secret_file)
        trust = vouchers(policy, cosigner)
        trusted = trusted_epochs(
            epochs, trust, shard_vkey, keys=(vkey, policy, keys, keys_root), state=state, as_json=as_json
        )
        asked = AskedAccount(secret, trust.today, first=read_day(since), last=read_day(until), keys=trusted.shards)
        with progress("account", as_json=as_json) as shown:
            # One bar for both files, of which the account comes first.
            sizes = file_size(document), file_size(received)
            given = AccountDocument(open_lines(document, progress=lambda done, _: shown(done, sum(sizes))))
            lines = _lines(received, progress=lambda done, _: shown(sizes[0] + done, sum(sizes)))
            result = verify_account(given, trusted.epochs, read_received(lines), asked)
        _tell_account(result, trusted.epochs, as_json=as_json)


def _lines(path: Path, *, progress: Progress) -> Iterator[bytes]:
    """Yield the lines of the recipient's own file: whatever is wrong with it says nothing of the ledger."""
    try:
        yield from open_lines(path, progress=progress)
    except Tampered as error:
        raise Invalid("received-line", f"what was received cannot be read: {error.message}") from error


def _secret(path: Path) -> bytes:
    data = read_file(path, "the secret")
    if len(data) != SECRET_SIZE:
        data = from_base64(data.decode(errors="replace").strip(), what="the secret")
    if len(data) != SECRET_SIZE:
        raise Invalid("secret", f"the secret in {path} does not have {SECRET_SIZE} bytes")
    return data


def _tell_account(result: Account, epochs: EpochLog, *, as_json: bool) -> None:
    doubts, findings = [*epochs.doubts, *_own_doubts(result)], result.findings
    if as_json:
        listed = [{"epoch": epoch, "date": str(date_of(epoch)), "entries": m} for epoch, m in result.listed.items()]
        document: dict[str, object] = {
            "recipient": result.recipient,
            "days": listed,
            "received": result.received,
            "outside": result.outside,
            "erased": result.erased,
            "uncompared": result.uncompared,
            "previousSize": epochs.previous,
        }
        failed: dict[str, object] = {"result": "failed", "doubts": doubts_json(doubts)}
        print(
            json.dumps((failed if findings else verdict(doubts)) | document | findings_json(findings, result.left_out))
        )
    else:
        print_findings(findings, result.left_out, print_line=print)
        total = sum(result.listed.values())
        counts = f"{total} entries on {len(result.listed)} days, {result.received} deliveries received."
        print(printable(f"{result.recipient}: {counts}"))
        if result.outside:
            print(f"{result.outside} deliveries were before or after these days, and were not compared.")
        if result.erased:
            print(f"{result.erased} entries were erased: which deliveries they were about can no longer be compared.")
        print("FAILED: the ledger and what was received differ." if findings else "Nothing differs.")
        print_doubts(epochs, doubts)
    raise typer.Exit(FAILED if findings else UNKNOWN if doubts else HOLDS)


def _own_doubts(result: Account) -> list[Finding]:
    if not result.uncompared:
        return []
    message = (
        f"{result.uncompared} deliveries are not in the ledger, and {result.erased} erased entries may have been about "
        "them, or stand for something that was never logged: compare with the orders to erase"
    )
    return [Finding("erased-uncompared", "account", message)]
