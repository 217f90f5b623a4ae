"""The commands that check what is there: `verify` a published log, `fsck` a ledger's own store."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
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
    open_vault,
    print_findings,
    progress,
)
from integrator_audit.cli.places import read_place
from integrator_audit.cli.trust import (
    KeysOption,
    LocationArgument,
    MaxAgeOption,
    PolicyOption,
    RootOption,
    StateOption,
    Trust,
    VkeyOption,
    read_state,
    read_trust,
)
from integrator_audit.completeness.dayends import day_ends
from integrator_audit.completeness.epoch import EpochLeaf, check_log
from integrator_audit.encoding import to_base64
from integrator_audit.fsck import Report, fsck
from integrator_audit.reader import LedgerReader
from integrator_audit.sources import open_source
from integrator_audit.verify import Verification, verify_log
from integrator_audit.witnessing.policy import MAX_AGE


def verify_command(  # noqa: PLR0913  each is an option of the command
    location: LocationArgument,
    vkey: VkeyOption = None,
    *,
    policy: PolicyOption = None,
    max_age: MaxAgeOption = MAX_AGE / 3600,
    keys: KeysOption = None,
    keys_root: RootOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a log, recompute its root from every entry, compare every tile, and see that it only ever grew."""
    with answering(as_json=as_json):
        memory = read_state(state)
        trust = read_trust(vkey, policy, keys=keys, root=keys_root, state=memory)
        demand = trust.demand(int(time.time()), max_age)
        with progress("verifying", as_json=as_json) as shown:
            result = verify_log(open_source(location), trust.keys, state=memory, demand=demand, progress=shown)
        _tell_verification(result, trust, as_json=as_json)


def fsck_command(  # noqa: PLR0913  each is an option of the command
    files: Annotated[
        list[str], typer.Argument(metavar="LOG...", help="Ledgers: files, postgresql:// URLs, or names of schemas.")
    ],
    *,
    vkey: Annotated[
        str | None, typer.Option(help="The log's verifier key, or a file that holds it [default: the file's own].")
    ] = None,
    keys: KeysOption = None,
    keys_root: RootOption = None,
    vault: Annotated[
        str | None, typer.Option(help="The vault with the keys of persons, to check D, S and P: a file or a URL.")
    ] = None,
    generation_key: Annotated[
        Path | None,
        typer.Option(help="The file with the 32-byte key of the vault, or the directory with its generations."),
    ] = None,
    epochs: Annotated[
        str | None,
        typer.Option(help="The log of days, to miss a closing or the checkpoint of a sealed day: a file or a URL."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Re-derive everything in a ledger from its rows and name what does not fit.

    A name such as ledger_s0_2026h2, which is no file, is a schema of the database that the environment variable
    INTEGRATOR_AUDIT_DATABASE names: its URL, or a file that holds the URL.
    """
    with answering(as_json=as_json):
        given = vkey is not None or keys is not None or keys_root is not None
        verifier = read_trust(vkey, None, keys=keys, root=keys_root, state=None).keys if given else None
        opened = open_vault(vault, generation_key)
        days = [] if epochs is None else _days(epochs)
        reports: list[tuple[str, Report]] = []
        for file in files:
            with progress(Path(file).name, as_json=as_json) as shown:
                report = fsck(
                    read_place(file),
                    vault=opened,
                    verifier=verifier,
                    day_ends=lambda origin: day_ends(days, origin),
                    progress=shown,
                )
            reports.append((file, report))
        _tell_reports(reports, as_json=as_json)


def _days(place: str) -> list[EpochLeaf]:
    reader = LedgerReader.open(read_place(place))
    try:
        return check_log(reader.leaves(0, reader.size))
    finally:
        reader.close()


def _tell_verification(result: Verification, trust: Trust, *, as_json: bool) -> None:
    checkpoint, quorum = result.checkpoint, result.quorum
    if as_json:
        document: dict[str, object] = {
            "result": result.verdict,
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": to_base64(checkpoint.root),
            "vkey": trust.keys.for_size(checkpoint.size)[0].vkey,
            "previousSize": result.previous,
        }
        if quorum is not None:
            cosigned = {name: cosignature.time for name, cosignature in sorted(quorum.cosigned.items())}
            document |= {"quorum": quorum.reached, "cosigned": cosigned, "asOf": quorum.as_of}
        if result.verdict == "unknown":
            document["code"] = "no-quorum"
        print(json.dumps(document | findings_json(result.findings, result.left_out)))
    else:
        print_findings(result.findings, result.left_out, print_line=print)
        if result.holds:
            print(f"{checkpoint.origin}: {checkpoint.size} entries: every bundle, every tile and the signed root hold.")
        else:
            print(f"{checkpoint.origin}: FAILED.")
        if result.previous is None:
            print("This is the first look: had the log been rolled back or forked before, it could not be seen here.")
        elif result.holds:
            print(f"It extends the {result.previous} entries that were verified before.")
        if result.holds:
            print(_quorum_sentence(result))
    raise typer.Exit({"verified": HOLDS, "failed": FAILED, "unknown": UNKNOWN}[result.verdict])


def _quorum_sentence(result: Verification) -> str:
    quorum = result.quorum
    if quorum is None:
        return "No witnesses were asked for (--policy): others may be shown another log."
    names = ", ".join(sorted(quorum.cosigned)) or "nobody"
    if not quorum.reached:
        return f"could not tell: {names} cosigned it, no quorum: others may be shown another log (no-quorum)"
    if quorum.as_of is None:
        return "The policy asks for no witnesses: others may be shown another log."
    moment = datetime.fromtimestamp(quorum.as_of, UTC).isoformat()
    if not result.fresh:
        return f"could not tell: a quorum cosigned it at {moment} last, and there may be a newer log (no-quorum)"
    return f"A quorum of witnesses cosigned it, at {moment} last: {names}."


def _tell_reports(reports: Sequence[tuple[str, Report]], *, as_json: bool) -> None:
    holds = all(report.holds for _, report in reports)
    if as_json:
        files = [
            {
                "file": path,
                "result": "holds" if report.holds else "failed",
                "origin": report.origin,
                "size": report.size,
                "vkey": report.vkey,
                "vault": report.opened,
                "days": report.days,
            }
            | findings_json(report.findings, report.left_out)
            for path, report in reports
        ]
        print(json.dumps({"result": "holds" if holds else "failed", "files": files}))
    else:
        for path, report in reports:
            print_findings(
                report.findings, report.left_out, print_line=lambda line, path=path: print(f"{path}: {line}")
            )
            verdict = "everything holds" if report.holds else "FAILED"
            print(f"{path}: {report.origin}, {report.size} entries: {verdict}.")
            if report.days:
                print(f"{path}: compared with the ends of {report.days} sealed days.")
            if not report.opened:
                print(f"{path}: parts D, S and P were checked by their seals only; give --vault to open them.")
    raise typer.Exit(HOLDS if holds else FAILED)
