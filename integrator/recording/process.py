"""Runs the ledger of one installation: subject shards, institution log, the days over them, and what it says of itself.

- Each log has a keeper; of two logs that must not go on the first is told, and everything stops: nothing is delivered
  that cannot be entered.
- `ledger/state.json` is written once a second, when all logs are open. Lanes stop when it is silent.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from integrator import telemetry
from integrator.domain import topics
from integrator.domain.errors import IntegratorError, Unavailable
from integrator.recording.failures import translated
from integrator.recording.inventory import check_inventory
from integrator.recording.keeper import PLAIN, Keeper, Setting, Terms, first, pause, write
from integrator.recording.logs import (
    EPOCHS,
    INSTITUTION,
    Clock,
    LedgerFiles,
    Naming,
    shard,
    wall_clock,
)
from integrator.recording.sealing import Days, DaysState, Labels
from integrator.recording.sequencer import WHOLE, Directories, DisclosureSource, Share
from integrator.recording.threads import in_thread
from integrator_audit import Vault
from integrator_audit.completeness.listing import LabelService
from integrator_audit.completeness.recipients import RecipientSecrets
from integrator_audit.generationkeys import GenerationKeys

_LOG = telemetry.log("recording")

TELL: Final = 1.0
"""Seconds between two writings of the state."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of the ledger: `ledger-signing`, 32 bytes, and the keys of the vault's generations."""

    signing: bytes = field(repr=False)
    generation: GenerationKeys | bytes = field(repr=False)
    """The 32 bytes of one generation, or where all are kept: only then may the generation change."""


class LedgerProcess:
    """The ledger of one installation. One process, and one only, runs it."""

    def __init__(  # noqa: PLR0913  each is a part of the world that the process is wired to
        self,
        files: LedgerFiles,
        *,
        naming: Naming,
        keys: Keys,
        directories: Directories,
        source: Callable[[Sequence[str], Share], DisclosureSource],
        labels: tuple[LabelService, RecipientSecrets] | None,
        terms: Terms = PLAIN,
        clock: Clock = wall_clock,
    ) -> None:
        """`source` makes a reader of a share of the topics that it is given.

        `labels` are where people's and agencies' label keys come from; `None` seals no days, for trials.
        """
        self._files = files
        self._keys = keys
        self._setting = Setting(files, naming, keys.signing, directories, source, terms, clock)
        self._labels = labels
        self._days = DaysState()
        self._keepers = [
            *(
                Keeper(
                    self._setting,
                    shard(number),
                    topics=[topics.DISCLOSURES, topics.REQUESTS],
                    share=Share(number, terms.shards),
                )
                for number in range(terms.shards)
            ),
            Keeper(self._setting, INSTITUTION, topics=[topics.DIRECTORY, topics.REQUESTS], share=WHOLE),
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the logs until `stop` is set; then the batches in hand are finished and the last state is published.

        Raises `Refused` or `Tampered` when a log must not go on: another key, an older backup, another cluster, a store
        that is gone, another number of shards; `Unavailable` when a database does not answer at the start.
        """
        self._files.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        await in_thread(check_inventory, self._setting)
        with translated():
            vault = await in_thread(Vault.open, self._files.persons, self._keys.generation)
        try:
            async with asyncio.TaskGroup() as tasks:
                for keeper in self._keepers:
                    tasks.create_task(keeper.run(vault, stop))
                tasks.create_task(self._tell(stop), name="ledger state")
                if self._labels is not None:
                    tasks.create_task(self._seal(vault, *self._labels, stop), name="ledger days")
        except* IntegratorError as errors:
            raise first(errors) from None
        finally:
            vault.close()
        await self._tell_once()

    async def _seal(
        self, vault: Vault, service: LabelService, recipients: RecipientSecrets, stop: asyncio.Event
    ) -> None:
        await Days(
            self._files,
            self._setting.signer(EPOCHS),
            Labels(service, vault, recipients),
            self._setting.terms.shards,
            self._setting.terms.policy,
            self._setting.clock,
            self._days,
        ).run(stop)

    async def _tell(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._tell_once()
            await pause(stop, TELL)

    async def _tell_once(self) -> None:
        # Before every log is open it is not known how far they are, and silence is the right thing to say.
        if not all(keeper.published >= 0 or keeper.progress.reaches() for keeper in self._keepers):
            return
        try:
            await in_thread(write, self._files.state, json.dumps(self.state(self._setting.clock())) + "\n")
        except Unavailable as error:
            _LOG.warning("ledger-publishing-failed", log="state.json", code=error.code)

    def state(self, now: int) -> dict[str, Any]:
        """Return how far the logs are at `now` (milliseconds since 1970), as `ledger/state.json` tells it.

        `at` and `reaches` are milliseconds since 1970 (`null`: not known yet), `free` bytes on the ledger's disk.
        """
        return {
            "at": now,
            "free": shutil.disk_usage(self._files.root).free,
            "witnessed": self._setting.terms.policy is not None,
            "days": {"newest": self._days.newest, "waiting": self._days.waiting, "problem": self._days.problem},
            "logs": {
                keeper.log: {
                    "origin": self._setting.naming.origin(keeper.log),
                    "published": max(keeper.published, 0),
                    "behind": keeper.progress.behind,
                    "reaches": keeper.progress.reaches(),
                    "seconds": round(keeper.progress.seconds(now / 1000), 3),
                    "waits": keeper.progress.waits,
                }
                for keeper in self._keepers
            },
        }
