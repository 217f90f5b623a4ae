"""A purpose is one version of a processing activity with its legal ground; who acts under it is an agency."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from integrator.domain.documents import Document, Text, Texts
from integrator.domain.identifiers import Name

Retention = Literal[2, 10, 20]
"""Years for which the ledger keeps what an entry says, after the end of the half-year in which it was made."""
LegalGround = Literal["6(1)(a)", "6(1)(b)", "6(1)(c)", "6(1)(d)", "6(1)(e)", "6(1)(f)"]
"""GDPR art. 6(1). Objection (art. 21) exists under (e) and (f), consent under (a)."""


class Source(Document):
    """An authoritative registry; `urn` is the CloudEvents source of all its events."""

    name: Name
    title: Texts
    urn: Annotated[str, StringConstraints(pattern=r"^urn:[a-z0-9][a-z0-9-]{0,31}:[A-Za-z0-9:._-]+$", max_length=200)]
    modelled: bool


class Agency(Document):
    """An organisation that receives.

    Where its name would tell too much, its class stands for it: `class` in the ledger (its sector, if not said) and
    `recipient_class` for people. A class is one of many like it: a municipality, never which.
    """

    name: Name
    title: Texts
    identifier: Text
    sector: Name
    capacities: tuple[Name, ...] = ()
    class_: Name | None = Field(default=None, alias="class")
    recipient_class: Texts
    modelled: bool

    @property
    def class_name(self) -> str:
        """What stands in the ledger where the agency's own name may not."""
        return self.class_ or self.sector


class Purpose(Document):
    """Why an agency may receive: a processing activity at a version, with its ground in the GDPR.

    `retention` is the activity's retention profile in the ledger, which people rely on to find out what was done with
    their data: 10 years unless the activity's law says less (2) or its consequences last longer (20).
    """

    name: Name
    version: int = Field(ge=1)
    title: Texts
    description: Texts
    activity: Text
    legal_ground: LegalGround
    special_ground: Text | None = None
    retention: Retention = 10
