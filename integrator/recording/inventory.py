"""Compares the logs that an installation names with the stores that are there, before any of them is opened.

- A store without its name is named: a crash came between the two, or the files beside the stores were lost.
- A name without its store is refused. Somebody put another database in its place, or an older backup, and to make the
  log anew would be a second history under one origin.
- The number of subject shards is written down before the first log is made, and never changes: entries of a lane would
  be looked for in a shard that never read it.
"""

from __future__ import annotations

from integrator.domain.errors import Refused, Tampered, Unavailable
from integrator.recording.failures import translated
from integrator.recording.keeper import Setting, write, write_once
from integrator.recording.logs import LedgerFiles, is_shard, series_of
from integrator_audit.stores import open_reading


def check_inventory(setting: Setting) -> None:
    """Name what has no name. Blocks.

    Raises `Refused` (`ledger-log-missing`, `ledger-shards`, `ledger-other-key`), `Unavailable` for a database that does
    not answer, `Tampered` (`ledger-shards`) for a file that is no number.
    """
    files = setting.files
    with translated():
        stores = files.stores()
    named = set(files.logs())
    if missing := sorted(named - set(stores)):
        where = "the database that `ledger_database` names" if files.databases is not None else str(files.root)
        raise Refused(
            "ledger-log-missing",
            f"{', '.join(missing)}: named by a file .vkey in {files.root}, and not in {where}. Put back the newest "
            "store; of a log that was removed for good, remove that file too.",
        )
    for log in stores:
        if log not in named and _is_made(files, log, origin=setting.naming.origin(log)):
            write_once(files.vkey(log), setting.signer(log).vkey)
    _check_shards(files, setting.terms.shards)


def _is_made(files: LedgerFiles, log: str, *, origin: str) -> bool:
    """Tell whether a store holds the log `origin`: it may be empty still, or something else. Its writer will look."""
    try:
        with translated():
            reading = open_reading(files.store(log))
            try:
                identity = reading.identity()
            finally:
                reading.close()
    except (Unavailable, Refused) as error:
        if error.code not in ("ledger-absent", "ledger-format"):
            raise
        return False
    return identity is not None and identity.origin == origin


def _check_shards(files: LedgerFiles, ours: int) -> None:
    try:
        there = int(files.shards.read_text("ascii"))
    except FileNotFoundError:
        there = len({series_of(log) for log in files.logs() if is_shard(log)}) or ours
    except ValueError:
        raise Tampered("ledger-shards", f"{files.shards} holds no number: write how many shards there are.") from None
    if there != ours:
        raise Refused(
            "ledger-shards",
            f"The ledger has {there} subject shards; `ledger_shards` says {ours}. The number is fixed at "
            "installation: set it back.",
        )
    if not files.shards.is_file():
        write(files.shards, f"{ours}\n")
