"""The command that makes a log, `create`: empty, or the log of days with all days before its first.

A log of days begins with its index, which holds the same leaves, and for good: which shards and which label key its
first half-year has stands in its leaves.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from integrator_audit.cli.answering import HOLDS, JsonOption, answering
from integrator_audit.cli.files import read_file
from integrator_audit.cli.keys import read_signer
from integrator_audit.cli.places import read_place
from integrator_audit.completeness.beginning import first_leaves
from integrator_audit.completeness.indexes import open_index
from integrator_audit.completeness.labels import LabelKey
from integrator_audit.errors import Invalid, Refused, Tampered
from integrator_audit.halfyear import date_of
from integrator_audit.note import Signer
from integrator_audit.rawlog import RawLog
from integrator_audit.stores import is_url, open_store
from integrator_audit.writer import LogWriter

_PEM: Final = b"-----BEGIN "
_MAX_SHARD: Final = 0xFFFF


class Kind(StrEnum):
    """What a log is for."""

    ENTRIES = "entries"
    LEAVES = "leaves"
    DAYS = "days"


def create_command(  # noqa: PLR0913  each is an option of the command
    place: Annotated[str, typer.Argument(metavar="LOG", help="The new ledger file, or a postgresql:// URL.")],
    key: Annotated[Path, typer.Option(help="The log's secret key (keygen log); its name is the log's origin.")],
    *,
    kind: Annotated[
        Kind,
        typer.Option(help="Entries about somebody or of the institution; days that are sealed; other public leaves."),
    ] = Kind.ENTRIES,
    index: Annotated[str | None, typer.Option(help="Of days: the new index beside the log, a file or a URL.")] = None,
    label_key: Annotated[
        Path | None, typer.Option(help="Of days: the public label key of this half-year, in PEM or DER.")
    ] = None,
    shard: Annotated[
        list[int] | None,
        typer.Option(help="Of days: the number of a shard whose entries are sealed.", min=0, max=_MAX_SHARD),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new log with its first checkpoint: empty, or of days, whose first is today (UTC)."""
    with answering(as_json=as_json):
        signer = read_signer(key)
        # The message does not name the place: a URL may hold a password.
        if not is_url(place) and Path(place).exists():
            raise Refused("log-exists", "there is a file at that place already; name another one")
        told: dict[str, object] = {"origin": signer.name, "vkey": signer.vkey, "kind": kind.value, "size": 0}
        sentence = f"{signer.name}: empty. Its verifier key is {signer.vkey}"
        if kind is Kind.DAYS:
            if index is None or label_key is None or not shard:
                raise Invalid("create-options", "a log of days is made with --index, --label-key and each --shard")
            size = _create_days(place, signer, index=index, label_key=_label_key(label_key), shards=shard)
            told |= {"size": size, "first": str(date_of(size))}
            sentence = f"{signer.name}: its first day is {date_of(size)}. Its verifier key is {signer.vkey}"
        elif index is not None or label_key is not None or shard:
            raise Invalid("create-options", "--index, --label-key and --shard are for a log of --kind days")
        else:
            _create(place, signer, RawLog if kind is Kind.LEAVES else _Entries)
        print(json.dumps(told) if as_json else sentence)
        raise typer.Exit(HOLDS)


class _Entries(LogWriter):
    """The writer of a log of entries that only makes the log: it needs no keys."""

    KIND = "entries"


def _create(place: str, signer: Signer, kind: type[RawLog | _Entries]) -> None:
    store = open_store(place, origin=signer.name)
    try:
        if store.identity() is not None:
            raise _exists(signer)
        kind(store, signer=signer)
    finally:
        store.close()


def _create_days(place: str, signer: Signer, *, index: str, label_key: bytes, shards: Sequence[int]) -> int:
    """Make a log of days and its index; return the number of its first day.

    After a crash the log has no days or all: `completeness.sealing.Sealer.begin` goes on, or both are made anew.
    """
    now = time.time_ns() // 1_000_000
    with ExitStack() as stack:
        # The index first: it has the lock that keeps a sealer away.
        days = open_index(read_place(index), origin=signer.name)
        stack.callback(days.close)
        if days.newest() is not None:
            raise Refused("index-exists", "there is an index at that place already; name another one")
        store = open_store(place, origin=signer.name)
        stack.callback(store.close)
        if store.identity() is not None:
            raise _exists(signer)
        leaves = first_leaves(now, shards=set(shards), label_key=label_key)
        days.begin(0)
        days.fill(0, leaves)
        RawLog(store, signer=signer).append_leaves(leaves, now_ms=now)
    return len(leaves)


def _exists(signer: Signer) -> Refused:
    return Refused("log-exists", f"there is a log {signer.name} at that place already")


def _label_key(path: Path) -> bytes:
    """Return the fingerprint of a public label key in a file."""
    data = read_file(path, "the label key")
    if data.startswith(_PEM):
        try:
            key = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            message = f"{path} holds no public key: `openssl pkey -in KEY -pubout` gives that of a secret one"
            raise Invalid("label-key-file", message) from error
        data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        return LabelKey.read(data).fingerprint
    except Tampered as error:
        raise Invalid("label-key-file", f"{path} holds no label key: {error.message}") from error
