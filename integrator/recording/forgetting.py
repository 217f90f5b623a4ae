"""Erases people from the ledger of one installation, beside its running process: an order, what is due, the completion.

- All logs, the vault, the index of the days and the indexes of search are gone through; what stands elsewhere is in
  `docs/register-of-copies.md`, with who erases it there.
- Nothing is complete before `finish`: until then an older backup still opens it.
- One erasure at a time, and none while a day is sealed: whoever erases holds the lock of the index, and waits for it.

LIMIT: a person is looked for under the present key of the ledger's pseudonyms; there is no other yet.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from integrator.domain.errors import Unavailable
from integrator.recording.failures import translated
from integrator.recording.logs import EPOCHS, Clock, LedgerFiles, half_year_of, is_shard, shard_number, wall_clock
from integrator.recording.searching import update_indexes
from integrator_audit import Vault
from integrator_audit.completeness.index import IndexStore
from integrator_audit.completeness.indexes import open_index
from integrator_audit.errors import Busy
from integrator_audit.findings import Progress, no_progress
from integrator_audit.forgetting.erasure import Erased, Eraser, Finished, Log
from integrator_audit.forgetting.orders import SCHEMA, ErasureOrder
from integrator_audit.forgetting.register import Month, Pending, Register
from integrator_audit.forgetting.retention import LENGTHS, due_lengths
from integrator_audit.generationkeys import GenerationKeys
from integrator_audit.halfyear import day_of, period_of_name
from integrator_audit.stores import open_erasing

PATIENCE: Final = 120.0
"""Seconds to wait while a day is sealed; one of ten million entries takes longer, and then it is said."""
_LOOK: Final = 0.2


class Standing(NamedTuple):
    """What the register shows: what was erased and is not complete, and what became complete in which month."""

    pending: Pending
    months: Sequence[Month]


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Erases from the stores of one installation. One process at a time; the others wait."""

    files: LedgerFiles
    generations: GenerationKeys
    clock: Clock = wall_clock

    def order(self, person: bytes, name: str, progress: Progress = no_progress) -> Erased:
        """Erase everything that is kept about a person (a pseudonym of the ledger) under the order `name`.

        Raises `Invalid` (`erasure-order`) for a name that is none, `Busy`, `Unavailable`.
        """
        told = {"schema": SCHEMA, "order": name, "subject": base64.b64encode(person).decode()}
        with translated():
            meant = ErasureOrder.parse(json.dumps(told).encode())
            with self._eraser(self.files.logs()) as eraser:
                erased = eraser.by_order(meant, progress)
        update_indexes(self.files)
        return erased

    def retention(self, progress: Progress = no_progress) -> Erased:
        """Erase what is due today. Raises `Refused` (`erase-open-log`) when a log that is due was never closed."""
        with translated(), self._eraser(self.files.logs()) as eraser:
            erased = eraser.by_retention(day_of(self.clock()), progress)
        update_indexes(self.files)
        return erased

    def over(self) -> list[str]:
        """Return the half-years of which nothing may be opened any more, the oldest first."""
        today = day_of(self.clock())
        halves = sorted({half_year_of(log) for log in self.files.logs() if log != EPOCHS})
        return [half for half in halves if len(due_lengths(period_of_name(half), today)) == len(LENGTHS)]

    def finish(self, progress: Progress = no_progress) -> Finished:
        """Change the generation of keys: then no older backup opens what was erased."""
        with translated(), self._eraser([]) as eraser:
            return eraser.finish(progress)

    def standing(self) -> Standing:
        """Return what the register of erasures shows."""
        with translated():
            register = Register(self.files.erasures)
            return Standing(register.pending(), register.months())

    @contextmanager
    def _eraser(self, names: Sequence[str]) -> Generator[Eraser]:
        here = self.files.logs()
        if not here:
            raise Unavailable("no-log", f"There is no ledger in {self.files.root} yet: nothing can be erased.")
        with ExitStack() as stack:
            index = _patiently(lambda: open_index(self.files.index)) if EPOCHS in here else None
            if index is not None:
                stack.callback(index.close)
            keys = Vault.open(self.files.persons, self.generations)
            stack.callback(keys.close)
            logs: list[Log] = []
            for name in names:
                if name == EPOCHS:
                    continue
                store = open_erasing(self.files.store(name))
                stack.callback(store.close)
                identity = store.identity()
                if identity is not None:
                    logs.append(Log(identity.origin, shard_number(name) if is_shard(name) else None, store))
            yield Eraser(logs, keys=keys, index=index, register=Register(self.files.erasures), clock=self.clock)


def _patiently(opening: Callable[[], IndexStore]) -> IndexStore:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return opening()
        except Busy:
            if time.monotonic() > end:
                raise
            time.sleep(_LOOK)
