"""The commands about keys: `keygen` makes one, `rotate` changes those of a log with offline signatures.

A secret key is written to a new file that only its owner can read, and never shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.cli.answering import HOLDS, JsonOption, answering, read_vkey
from integrator_audit.cli.files import read_file
from integrator_audit.durable import PRIVATE, create_file
from integrator_audit.errors import Invalid, Refused, Unavailable
from integrator_audit.note import Note, Signer, join_note
from integrator_audit.witnessing.cosignature import Cosigner
from integrator_audit.witnessing.keys import KeyPolicy, KeyRange, KeyRoot, sign_offline

rotate = typer.Typer(
    name="rotate", help="Change the keys of a log, with the signatures of offline keys.", no_args_is_help=True
)


class Kind(StrEnum):
    """What a key is for."""

    LOG = "log"
    WITNESS = "witness"
    OFFLINE = "offline"


OutOption = Annotated[Path, typer.Option("--out", help="The file to write; it must not exist.", metavar="FILE")]


def keygen_command(
    kind: Annotated[Kind, typer.Argument(help="What the key is for.")],
    name: Annotated[str, typer.Argument(help="Its name; that of a log's key is the log's origin.")],
    out: OutOption,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a key: the secret goes to a new file for its owner only, the public key (vkey) is printed."""
    with answering(as_json=as_json):
        if kind is Kind.WITNESS:
            cosigner = Cosigner.generate(name)
            secret, vkey = cosigner.text, cosigner.key.vkey
        else:
            signer = Signer.generate(name)
            secret, vkey = signer.text, signer.vkey
        write_new(out, f"{secret}\n".encode(), mode=PRIVATE)
        print(json.dumps({"kind": kind.value, "vkey": vkey, "file": str(out)}) if as_json else vkey)


@rotate.command("root")
def root_command(
    vkeys: Annotated[list[str], typer.Argument(metavar="VKEY...", help="The offline keys, or files that hold them.")],
    out: OutOption,
    *,
    threshold: Annotated[int, typer.Option(help="How many of them must sign a key policy.", min=1)] = 2,
    as_json: JsonOption = False,
) -> None:
    """Write the root file, which verifiers must get from elsewhere than the log."""
    with answering(as_json=as_json):
        root = KeyRoot(threshold, tuple(read_vkey(vkey) for vkey in vkeys)).checked()
        write_new(out, root.text)
        _tell(out, f"{threshold} of {len(vkeys)} offline keys sign key policies.", {}, as_json=as_json)


@rotate.command("prepare")
def prepare_command(  # noqa: PLR0913  each is an option of the command
    out: OutOption,
    *,
    current: Annotated[
        Path | None, typer.Option(help="The key policy in force; none for the first.", metavar="FILE")
    ] = None,
    add: Annotated[str | None, typer.Option(help="The new log key (vkey), or a file that holds it.")] = None,
    first: Annotated[int, typer.Option("--from", help="The first size that the new key signs.", min=0)] = 0,
    last: Annotated[
        int | None, typer.Option("--until", help="The last size that the keys in force until now sign.", min=0)
    ] = None,
    close: Annotated[
        int | None, typer.Option(help="Close the log at this size: the last that a quorum had cosigned.", min=0)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the text of the next key policy, for the offline keys to sign. Nothing is in force by that."""
    with answering(as_json=as_json):
        earlier = None if current is None else _policy_of(read_file(current, "the key policy"))
        key = None if add is None else read_vkey(add)
        if earlier is None and key is None:
            raise Invalid("rotate-options", "the first key policy of a log takes --add")
        ranges = [] if earlier is None else list(earlier.ranges)
        if last is not None:
            ranges = [item if item.last is not None else KeyRange(item.key, item.first, last) for item in ranges]
        if key is not None:
            ranges.append(KeyRange(key, first, None))
        name = earlier.name if earlier is not None else ranges[0].key.name
        closed = close if earlier is None or close is not None else earlier.closed
        policy = KeyPolicy(name, 1 if earlier is None else earlier.version + 1, tuple(ranges), closed).checked()
        if earlier is not None:
            policy.check_follows(earlier)
        write_new(out, policy.text)
        duties = _duties(policy, key is not None, first)
        _tell(out, " ".join(duties), {"version": policy.version, "duties": duties}, as_json=as_json)


@rotate.command("sign")
def sign_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The text of the key policy: read it before you sign.")],
    key: Annotated[Path, typer.Option(help="The file with the secret offline key.")],
    out: OutOption,
    *,
    as_json: JsonOption = False,
) -> None:
    """Sign the text of a key policy with one offline key, on the machine that has it."""
    with answering(as_json=as_json):
        signer = read_signer(key)
        note = sign_offline(read_file(file, "the key policy"), [signer])
        write_new(out, note)
        _tell(out, f"Signed by {signer.name}.", {"vkey": signer.vkey}, as_json=as_json)


@rotate.command("join")
def join_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The signed texts, one from each signer.")],
    keys_root: Annotated[Path, typer.Option(help="The root file.")],
    out: OutOption,
    *,
    current: Annotated[
        Path | None, typer.Option(help="The key policy in force; none for the first.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put the signatures together, check that enough offline keys signed, and write the key policy for verifiers."""
    with answering(as_json=as_json):
        root = KeyRoot.parse(read_file(keys_root, "the root file"))
        notes = [Note.parse(read_file(file, "the signed key policy")) for file in files]
        texts = {note.unverified_text for note in notes}
        if len(texts) != 1:
            raise Refused("rotate-texts", "the files do not carry the same text: somebody signed something else")
        signatures = dict.fromkeys(signature for note in notes for signature in note.signatures)
        joined = join_note(texts.pop(), list(signatures))
        policy = root.open(joined)
        if current is not None:
            policy.check_follows(root.open(read_file(current, "the key policy")))
        write_new(out, joined)
        signed = sorted(key.name for key in root.signed_by(joined))
        more = {"version": policy.version, "signedBy": signed}
        _tell(out, f"Version {policy.version}, signed by {', '.join(signed)}.", more, as_json=as_json)


def read_signer(path: Path) -> Signer:
    """Return the secret key of a log or an offline key in a file; raise `Invalid` when it is none."""
    return Signer.from_text(_secret(path))


def read_cosigner(path: Path) -> Cosigner:
    """Return the secret key of a witness in a file; raise `Invalid` when it is none."""
    return Cosigner.from_text(_secret(path))


def write_new(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file that is not there yet, whole or not at all; it is on disk when this returns.

    Raises `Refused` (`file-exists`) when it is there, so that no key is ever overwritten, and `Unavailable`.
    """
    try:
        create_file(path, content, mode=mode)
    except FileExistsError as error:
        raise Refused("file-exists", f"{path} is there already; name another file, or put it away first") from error
    except OSError as error:
        raise Unavailable("file-unwritable", f"{path} cannot be written: {error.strerror}") from error


def _secret(path: Path) -> str:
    try:
        return read_file(path, "the secret key").decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise Invalid("signing-key", f"{path} does not hold a secret key") from error


def _policy_of(data: bytes) -> KeyPolicy:
    """Return what a key policy says; its signatures are checked when the next one is joined."""
    return KeyPolicy.parse(Note.parse(data).unverified_text)


def _duties(policy: KeyPolicy, added: bool, first: int) -> list[str]:
    """Say what must be done beside signing, so that the log keeps to its policy."""
    duties = ["Let the offline keys sign it (rotate sign), then put the signatures together (rotate join)."]
    if added:
        duties.append(
            f"Before the log reaches size {first}: give its ledger the new secret key and the joined key policy, "
            "and its witnesses the new vkey."
        )
    if policy.closed is not None:
        duties.append(
            f"Stop the ledger of {policy.name} for good, go on under another origin with a new key, and enter the "
            "event in the institution log."
        )
    return duties


def _tell(out: Path, sentence: str, more: Mapping[str, object], *, as_json: bool) -> None:
    print(json.dumps({"file": str(out), **more}) if as_json else f"{out}: {sentence}")
    raise typer.Exit(HOLDS)
