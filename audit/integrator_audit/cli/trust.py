"""What a person names and trusts, as options of commands: a log, its keys, witnesses, and what was seen last."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.checkpoint import LogKeys
from integrator_audit.cli.files import read_file, text_or_file
from integrator_audit.errors import Invalid
from integrator_audit.state import State, default_directory
from integrator_audit.verify import Demand
from integrator_audit.witnessing.cosignature import LogKey, read_log_key
from integrator_audit.witnessing.keys import KeyPolicy, KeyRoot, accept_keys
from integrator_audit.witnessing.policy import Policy

LocationArgument = Annotated[
    str, typer.Argument(metavar="URL|DIR", help="The log's prefix, or a directory with its files.")
]
VkeyOption = Annotated[str | None, typer.Option("--vkey", help="The log's verifier key, or a file that holds it.")]
PolicyOption = Annotated[
    Path | None,
    typer.Option(help="Which logs and witnesses to trust, and which quorum (c2sp.org/tlog-policy).", metavar="FILE"),
]
KeysOption = Annotated[
    Path | None, typer.Option(help="The log's key policy, instead of --vkey: which key for which size.", metavar="FILE")
]
RootOption = Annotated[
    Path | None, typer.Option("--keys-root", help="The offline keys that sign the key policy.", metavar="FILE")
]
MaxAgeOption = Annotated[
    float, typer.Option(help="Hours that the quorum's newest cosignatures may be old.", min=0.0, max=1_000_000.0)
]
StateOption = Annotated[
    Path | None,
    typer.Option(help="Where the last accepted checkpoint is kept [default: in the user's state directory]."),
]


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys of a log, and the policy if one was given."""

    keys: LogKeys
    policy: Policy | None

    def demand(self, now: int, max_age_hours: float) -> Demand | None:
        """Return what is demanded of witnesses; None without a policy. A closed log has its last quorum for ever.

        Raises `Invalid` when the log was closed after its key was stolen and no policy was given: then only witnesses
        can tell the log's own checkpoints from the thief's.
        """
        closed = isinstance(self.keys, KeyPolicy) and self.keys.closed is not None
        if self.policy is not None:
            return Demand(self.policy, now, now if closed else int(max_age_hours * 3600))
        if closed:
            message = f"{self.keys.name} was closed because its key was not its own any more; it takes a --policy"
            raise Invalid("closed-needs-policy", message)
        return None


def read_policy(path: Path) -> Policy:
    """Return the policy in a file that a person named."""
    return Policy.parse(read_file(path, "the policy"))


def read_state(directory: Path | None) -> State:
    """Return what was accepted before: in the directory that a person named, or else in the user's own."""
    return State(directory or default_directory(os.environ))


def read_log_vkey(text: str) -> LogKey:
    """Return the key of a log that a person gave as text or as a file that holds it."""
    return read_log_key(text_or_file(text, "the verifier key"))


def known_keys(policy: Policy | None, vkeys: Iterable[str] | None) -> dict[str, LogKeys]:
    """Return the keys of logs by origin: those that a policy lists, and those that a person gave, which win."""
    found: dict[str, LogKeys] = {}
    if policy is not None:
        found.update({log.key.name: policy.keys_of(log.key.name) for log in policy.logs})
    found.update({key.name: key for key in map(read_log_vkey, vkeys or ())})
    return found


def read_trust(
    vkey: str | None, policy: Path | None, *, keys: Path | None, root: Path | None, state: State | None
) -> Trust:
    """Read what was given: one of a key, a key policy with its root, or a policy that lists one log."""
    trusted = None if policy is None else read_policy(policy)
    if keys is not None or root is not None:
        if keys is None or root is None or vkey is not None:
            raise Invalid("trust-options", "give --keys and --keys-root together, and not with --vkey")
        opened = KeyRoot.parse(read_file(root, "the root file"))
        return Trust(accept_keys(read_file(keys, "the key policy"), opened, state), trusted)
    if vkey is not None:
        return Trust(read_log_vkey(vkey), trusted)
    if trusted is None:
        message = "give the log's key: --vkey, or --keys with --keys-root, or a --policy that lists the log"
        raise Invalid("trust-options", message)
    return Trust(trusted.keys_of(), trusted)
