"""What the commands about completeness share: the epoch log and who vouches for it, days, and how doubts are told.

- Exit code 0 means everything: the document holds, a quorum of witnesses and the checking cosigner vouch for the epoch
  log, and it is new. What holds without that is 2, with the reason; a lie that was found is 1, with its name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.checkpoint import LogKeys
from integrator_audit.cli.answering import progress
from integrator_audit.cli.files import text_or_file
from integrator_audit.cli.trust import known_keys, read_policy, read_state, read_trust
from integrator_audit.completeness.epochlog import EpochLog, Trust, read_epoch_log
from integrator_audit.errors import Invalid, Unavailable
from integrator_audit.findings import Finding
from integrator_audit.halfyear import LAST_DAY, number_of, start_of
from integrator_audit.sources import open_source
from integrator_audit.witnessing.cosignature import CosignerKey
from integrator_audit.witnessing.policy import Policy

EpochsOption = Annotated[
    str, typer.Option("--epochs", metavar="URL|DIR", help="The epoch log: its prefix, or a directory with its files.")
]
CosignerOption = Annotated[
    str | None,
    typer.Option(help="The checking cosigner's key, a file that holds it, or its name as a witness in the policy."),
]
ShardVkeyOption = Annotated[
    list[str] | None,
    typer.Option(help="Verifier keys of shards; those that the policy lists need not be given.", metavar="VKEY"),
]
SinceOption = Annotated[str | None, typer.Option(help="The first day asked for [default: the log's first].")]
UntilOption = Annotated[str | None, typer.Option(help="The last day asked for [default: the log's newest].")]


@dataclass(frozen=True, slots=True)
class Trusted:
    """The epoch log, verified, and the keys of shards that are known."""

    epochs: EpochLog
    shards: Mapping[str, LogKeys]


def trusted_epochs(  # noqa: PLR0913  what the commands were given
    location: str,
    trust: Trust,
    shard_vkeys: Sequence[str] | None,
    *,
    keys: tuple[str | None, Path | None, Path | None, Path | None],
    state: Path | None,
    as_json: bool,
) -> Trusted:
    """Verify the epoch log; `keys` are the options --vkey, --policy, --keys and --keys-root."""
    vkey, policy, key_policy, root = keys
    memory = read_state(state)
    log_keys = read_trust(vkey, policy, keys=key_policy, root=root, state=memory).keys
    with progress("epoch log", as_json=as_json) as shown:
        epochs = read_epoch_log(open_source(location), log_keys, trust=trust, state=memory, progress=shown)
    return Trusted(epochs, known_keys(trust.policy, shard_vkeys))


def vouchers(policy: Path | None, cosigner: str | None) -> Trust:
    """Return who is to vouch for the epoch log: a policy's witnesses, and the checking cosigner."""
    read = None if policy is None else read_policy(policy)
    key: CosignerKey | None = None
    if cosigner is not None:
        named = [] if read is None else [witness.key for witness in read.witnesses if witness.name == cosigner]
        key = named[0] if named else CosignerKey.from_text(text_or_file(cosigner, "the cosigner's key"))
        _check_apart(key, read)
    return Trust(read_clock(), read, key)


def read_clock() -> int:
    """Return the time in POSIX seconds; raise `Unavailable` (`clock`) when no day of an epoch log can be today."""
    now = int(time.time())
    if not start_of(0) <= now * 1000 < start_of(LAST_DAY):
        raise Unavailable("clock", "the clock of this machine is before 2000 or after 9999: set it right")
    return now


def _check_apart(key: CosignerKey, policy: Policy | None) -> None:
    """Refuse a cosigner whose key cosigns under another name too: what one says could be passed off as the other's."""
    # SPEC tlog-cosignature: "A cosigner operator that operates multiple Ed25519 cosigners (e.g. with distinct
    # additional statements, see below) MUST use distinct public keys for each cosigner."
    witnesses = () if policy is None else policy.witnesses
    if any(witness.key.public_key == key.public_key and witness.key != key for witness in witnesses):
        message = f"the policy has a witness with the public key of {key.name}: its word counts as the cosigner's too"
        raise Invalid("cosigner-key", message)


def read_day(text: str | None) -> int | None:
    """Return the number of a day that a person gave, None when they gave none."""
    if text is None:
        return None
    try:
        return number_of(date.fromisoformat(text))
    except ValueError as error:
        raise Invalid("day", "a day is given as 2026-08-31") from error


def read_document_file(path: Path, limit: int) -> bytes:
    """Return a document, and one byte more than it may have when it is too large: its reader says so."""
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise Unavailable("file-unreadable", f"{path} cannot be read: {error.strerror}") from error


def verdict(doubts: Sequence[Finding]) -> dict[str, object]:
    """Return the members of a JSON answer that say what follows from these doubts."""
    if not doubts:
        return {"result": "verified", "doubts": []}
    first = doubts[0]
    return {"result": "unknown", "code": first.code, "message": first.message, "doubts": doubts_json(doubts)}


def doubts_json(doubts: Sequence[Finding]) -> list[dict[str, str]]:
    """Return doubts as a member of a JSON answer."""
    return [{"code": doubt.code, "message": doubt.message} for doubt in doubts]


def print_doubts(epochs: EpochLog, doubts: Sequence[Finding]) -> None:
    """Print for people what could not be told."""
    if epochs.previous is None:
        print("This is the first look: had the epoch log been rolled back or forked before, it could not be seen here.")
    for doubt in doubts:
        print(f"could not tell: {doubt.message} ({doubt.code})")
