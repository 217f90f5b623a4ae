"""Writes the directory so that what a document needs of the broker is there before it, and what it ends goes after."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from integrator.directory.documents import Rejected, Stated
from integrator.directory.plan import Plan
from integrator.directory.view import Directory
from integrator.directory.writer import Applied, DirectoryWriter
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.http.identity import AgencyFor, Tokens
from integrator.operation.orders import Orders
from integrator.operation.provisioning import needs_of, prepare, provision
from integrator.operation.settings import Installation


class ProvisionedWriter:
    """The writer as HTTP sees it. Implements `integrator.http.ports.Writer`.

    A crash between topics and record leaves topics that nobody writes to, one after the record leaves rules that are no
    more: applying again, or `integrator topics apply`, settles both. One call at a time: two that overlap would each
    take away what the other has just given.
    """

    def __init__(
        self,
        installation: Installation,
        writer: DirectoryWriter,
        directory: Directory,
        tokens: Tokens,
        orders: Orders,
    ) -> None:
        self._installation = installation
        self._writer = writer
        self._directory = directory
        self._tokens = tokens
        self._orders = orders
        self._lock = asyncio.Lock()

    async def plan(self, documents: Sequence[Stated]) -> Plan:
        """Return what `apply` would do now, or every problem that keeps it from being done."""
        found = await self._writer.plan(documents)
        wrong = tuple(self._orders.problems(documents, today=datetime.now(UTC).date()))
        return replace(found, problems=(*found.problems, *wrong), records=()) if wrong else found

    async def apply(self, documents: Sequence[Stated], *, based_on: int | None = None) -> Applied:
        """Make topics, users, rules and tokens, then the records; take away what they end.

        Raises `Rejected` or `Refused` (`stale`).
        """
        needing = [one.document for one in documents if isinstance(one.document, Contract | Authorisation)]
        if not needing:
            return await self._writer.apply(documents, based_on=based_on)
        async with self._lock:
            found = await self.plan(documents)
            if found.problems:
                raise Rejected(found.problems)
            with self._directory.read() as view:
                knowledge = view.knowledge
            left = await prepare(
                self._installation, needs_of(knowledge, needing, lanes=self._installation.settings.lanes)
            )
            self._tokens.provide(
                self._installation.secrets,
                [AgencyFor(each.agency, each.purpose) for each in needing if isinstance(each, Authorisation)],
            )
            applied = await self._writer.apply(documents, based_on=based_on)
            if left is not None:
                await provision(self._installation, left)
            return applied
