"""Tells an operator how the installation is: how far the ledger is, and how much of each stream waits."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Sequence
from typing import Any

from integrator.directory.view import Directory
from integrator.domain.identifiers import split_stream
from integrator.domain.topics import source_topic
from integrator.http.ports import LedgerCare, LedgerHead, StreamLag
from integrator.kafka.access import OPERATOR
from integrator.kafka.accounts import read_accounts, read_ends
from integrator.operation.settings import Installation
from integrator.recording.readers import Readers


class InstallationWatch:
    """Looks at the logs and at the lanes' own records. Implements `integrator.http.ports.Watch`."""

    def __init__(self, installation: Installation, directory: Directory, readers: Readers) -> None:
        self._installation = installation
        self._directory = directory
        self._readers = readers

    async def heads(self) -> Sequence[LedgerHead]:
        """Return the newest checkpoint of each log; none before the ledger has begun."""
        return await asyncio.to_thread(self._heads)

    def _heads(self) -> list[LedgerHead]:
        return [
            LedgerHead(reader.origin, reader.size, base64.b64encode(reader.root).decode())
            for reader in self._readers.every()
        ]

    async def care(self) -> LedgerCare:
        """Return how the ledger is kept, as its process says it."""
        return await asyncio.to_thread(self._care)

    def _care(self) -> LedgerCare:
        told: dict[str, Any] = {}
        # Absent while the ledger's process has said nothing yet.
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(self._installation.ledger_files.state.read_bytes())
        days: dict[str, Any] = told.get("days", {})
        aside = sum(len(reader.set_asides()) for reader in self._readers.every())
        return LedgerCare(
            bool(self._installation.settings.ledger_policy),
            str(days.get("newest", "")),
            int(days.get("waiting", 0)),
            str(days.get("problem", "")),
            aside,
        )

    async def lag(self) -> Sequence[StreamLag]:
        """Return how many records of each stream no lane has decided about yet."""
        with self._directory.read() as view:
            streams = sorted(view.knowledge.contracts)
        if not streams:
            return []
        connection = self._installation.connection(OPERATOR)
        topics = {source_topic(*split_stream(stream)): stream for stream in streams}
        ends = await read_ends(connection, list(topics))
        positions = (await read_accounts(connection, lanes=self._installation.settings.lanes)).positions
        waiting = dict.fromkeys(streams, 0)
        for place, end in ends.items():
            waiting[topics[place[0]]] += max(0, end - positions.get(place, 0))
        return [StreamLag(stream, records) for stream, records in waiting.items()]
