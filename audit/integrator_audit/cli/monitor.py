"""The command `monitor`: follow a log, and stop at the first proof that it broke its word."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.cli.answering import FAILED, HOLDS, UNKNOWN, JsonOption, answering
from integrator_audit.cli.files import bounded, printable
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
from integrator_audit.cli.witness import parse_address
from integrator_audit.completeness.epoch import EpochRules
from integrator_audit.durable import replace_file
from integrator_audit.encoding import to_base64
from integrator_audit.errors import AuditError, Refused, Tampered, Unavailable
from integrator_audit.parts import LEAF_SIZE
from integrator_audit.sources import open_source
from integrator_audit.witnessing.metrics import Metrics, MetricsServer
from integrator_audit.witnessing.monitor import CheckLeaves, Look, Misbehaved, Monitor
from integrator_audit.witnessing.policy import MAX_AGE


def monitor_command(  # noqa: PLR0913  each is an option of the command
    location: LocationArgument,
    vkey: VkeyOption = None,
    *,
    policy: PolicyOption = None,
    max_age: MaxAgeOption = MAX_AGE / 3600,
    keys: KeysOption = None,
    keys_root: RootOption = None,
    state: StateOption = None,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.0, max=86_400.0)] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and say by the exit code what was seen.")] = False,
    entries: Annotated[bool, typer.Option("--entries", help="Read all new entries too.")] = False,
    epochs: Annotated[bool, typer.Option("--epochs", help="It is an epoch log: check the rules of its days.")] = False,
    evidence: Annotated[
        Path | None, typer.Option(help="Where evidence is written [default: beside the state].", metavar="DIR")
    ] = None,
    metrics_listen: Annotated[
        str | None, typer.Option(help="Serve /metrics there, with plain HTTP.", metavar="HOST:PORT")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a log: signature, witnesses, and that it only grows; with --entries, every new entry.

    It ends with 1 at the first proof that the log broke its word, and writes what the log signed into a file.
    """
    with answering(as_json=as_json), ExitStack() as stack:
        memory = read_state(state)
        trust = read_trust(vkey, policy, keys=keys, root=keys_root, state=memory)
        metrics = Metrics(trust.keys.name)
        if metrics_listen is not None:
            _serve(metrics, metrics_listen, stack)
        check = _epoch_rules() if epochs else _nothing_more if entries else None
        watch = _Watch(
            Monitor(open_source(location), trust.keys, state=memory, check_leaves=check, whole=epochs),
            trust,
            metrics,
            evidence=evidence or memory.directory,
            as_json=as_json,
        )
        stopping = threading.Event()
        for number in () if once else (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _signal, _frame: stopping.set())
        while True:
            result = watch.look(max_age)
            if once or result == FAILED or stopping.wait(interval):
                raise typer.Exit(result)


class _Watch:
    """Looks, tells, counts and keeps evidence."""

    def __init__(self, monitor: Monitor, trust: Trust, metrics: Metrics, *, evidence: Path, as_json: bool) -> None:
        self._monitor = monitor
        self._trust = trust
        self._metrics = metrics
        self._evidence = evidence
        self._as_json = as_json

    def look(self, max_age: float) -> int:
        """Look once and tell what was seen; return the exit code that says the same."""
        now = int(time.time())
        self._metrics.add(looks_total=1)
        try:
            seen = self._monitor.look(now, self._trust.demand(now, max_age))
        except Tampered as error:
            self._metrics.set(misbehaved=1)
            notes = error.notes if isinstance(error, Misbehaved) else ()
            self._tell_error(error, now, "failed", {"evidence": str(self._keep(error, notes, now))})
            return FAILED
        except AuditError as error:
            self._metrics.add(failed_looks_total=1)
            self._tell_error(error, now, "unknown", {})
            return UNKNOWN
        return self._tell(seen, now)

    def _tell(self, seen: Look, now: int) -> int:
        verified = seen.result == "verified"
        quorum = seen.quorum
        as_of = 0 if quorum is None or quorum.as_of is None else quorum.as_of
        self._metrics.set(stale=int(seen.stale), quorum=int(verified), quorum_timestamp_seconds=as_of)
        self._metrics.add(entries_read_total=seen.read)
        if not seen.stale:
            self._metrics.set(size=seen.checkpoint.size)
        if verified:
            self._metrics.set(last_verified_timestamp_seconds=now)
        else:
            self._metrics.add(failed_looks_total=1)
        if self._as_json:
            document: dict[str, object] = {
                "at": now,
                "result": seen.result,
                "origin": seen.checkpoint.origin,
                "size": seen.checkpoint.size,
                "root": to_base64(seen.checkpoint.root),
                "previousSize": seen.previous,
                "stale": seen.stale,
                "read": seen.read,
            }
            if quorum is not None:
                document |= {"quorum": quorum.reached, "cosigned": sorted(quorum.cosigned), "asOf": quorum.as_of}
            print(json.dumps(document), flush=True)
        else:
            what = "an older checkpoint than before" if seen.stale else "no quorum, or an old one"
            told = "verified" if verified else f"could not tell: {what}"
            print(f"{seen.checkpoint.origin}: {seen.checkpoint.size} entries, {seen.read} read: {told}.", flush=True)
        return HOLDS if verified else UNKNOWN

    def _tell_error(self, error: AuditError, now: int, result: str, more: dict[str, object]) -> None:
        message = bounded(error.message)
        if self._as_json:
            document = {"at": now, "result": result, "code": error.code, "message": message}
            print(json.dumps(document | more), flush=True)
        else:
            where = "".join(f" See {value}." for value in more.values())
            told = "FAILED" if result == "failed" else "could not tell"
            print(printable(f"{told}: {message} ({error.code}).{where}"), file=sys.stderr, flush=True)

    def _keep(self, error: Tampered, notes: Sequence[bytes], now: int) -> Path:
        """Write what the log signed into a file of this moment."""
        origin = self._trust.keys.name
        contradiction = error.contradiction if isinstance(error, Misbehaved) else None
        document = {
            "schema": "dienstenintegrator/misbehaviour/v1",
            "origin": origin,
            "at": now,
            "code": error.code,
            "message": error.message,
            "notes": [to_base64(note) for note in notes],
            "contradiction": None if contradiction is None else contradiction.document,
        }
        path = self._evidence / f"evidence-{hashlib.sha256(origin.encode()).hexdigest()[:16]}-{now}.json"
        try:
            # On disk before the program ends: the log may show it to nobody again.
            replace_file(path, json.dumps(document, indent=1).encode() + b"\n")
        except OSError as failure:
            message = f"{error.message} — and the evidence cannot be written to {path}: {failure.strerror}"
            raise Tampered(error.code, message) from error
        return path


def _epoch_rules() -> CheckLeaves:
    rules = EpochRules()

    def check(first: int, leaves: Sequence[bytes]) -> None:
        if first == 0 and all(len(leaf) == LEAF_SIZE for leaf in leaves):
            raise Refused("not-epochs", "this log holds entries and no days: give the epoch log, or --entries")
        for leaf in leaves:
            rules.take(leaf)

    return check


def _nothing_more(first: int, leaves: Sequence[bytes]) -> None:
    """Ask nothing of entries but that they give the root."""
    del first, leaves


def _serve(metrics: Metrics, listen: str, stack: ExitStack) -> None:
    try:
        server = stack.enter_context(MetricsServer(parse_address(listen), metrics))
    except OSError as error:
        raise Unavailable("metrics-listen", f"{listen} cannot be listened on: {error.strerror}") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    stack.callback(server.shutdown)
