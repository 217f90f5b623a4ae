"""The scenarios that the demonstration plays, as documents and as people: what is applied, who is inscribed, who acts.

- S3, birth → child benefit: by territory, the child is inscribed by the delivery itself.
- S4, care indication → double child benefit: refused before the law, permitted after, the diagnosis never.
- S19, death → five agencies, each its own fields.

Sources and agencies are modelled; citations that nobody has verified are shown as unverified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final

from integrator.demo.people import Person, Population, reference
from integrator.directory.documents import Inscriptions, Origin, Rejected, Stated
from integrator.directory.manifests import load
from integrator.domain.authorisation import Authorisation, Territory
from integrator.encoding import schemas_directory

PERSONS: Final = "brp/person"
INDICATIONS: Final = "ciz/wlz-indication"
S4: Final = "s4-svb-zorgindicatie"
CHILD_BENEFIT: Final = "groeifonds"
BIRTHS: Final = 2
INDICATIONS_EACH: Final = 3
"""So many children get an indication before the law, and as many others after it."""
_MOST_DEATHS: Final = 24
_SINCE: Final = date(2024, 1, 1)


@dataclass(frozen=True, slots=True)
class Right:
    """Who may receive which stream for which purpose, with what."""

    authorisation: Authorisation

    @property
    def key(self) -> tuple[str, str, str]:
        """Agency, purpose and stream."""
        return self.authorisation.agency, self.authorisation.purpose, self.authorisation.stream


@dataclass(frozen=True, slots=True)
class Plot:
    """Everything that is decided before the curtain rises."""

    documents: tuple[Stated, ...]
    """What is applied at the start, inscriptions included."""
    law: Stated
    """The authorisation of S4; `with_law` says when its law comes into force."""
    rights: tuple[Right, ...]
    dying: tuple[Person, ...]
    indicated_before: tuple[Person, ...]
    indicated_after: tuple[Person, ...]
    territory: tuple[str, ...]
    """The municipalities whose newborns S3 is about."""


def plot(population: Population) -> Plot:
    """Return the plot for `population`."""
    stated = documents()
    rights = tuple(Right(one.document) for one in stated if isinstance(one.document, Authorisation))
    law = next(one for one in stated if isinstance(one.document, Authorisation) and one.document.id == S4)
    by_agency = {right.authorisation.agency: right.authorisation for right in rights if right.authorisation.id != S4}
    dying = _dying(population, _territory(by_agency["gemeente"]))
    children = tuple(population.eligible(2 * INDICATIONS_EACH))
    return Plot(
        documents=(*(one for one in stated if one is not law), *_inscriptions(population, dying)),
        law=law,
        rights=rights,
        dying=dying,
        indicated_before=children[:INDICATIONS_EACH],
        indicated_after=children[INDICATIONS_EACH:],
        territory=_territory(by_agency[CHILD_BENEFIT]),
    )


def documents() -> tuple[Stated, ...]:
    """Return the documents of the demonstration: parties, purposes, authorisations and both contracts."""
    root = Path(str(schemas_directory()))
    here = Path(__file__).resolve().parent / "manifests"
    loaded = load([here, *(root / stream / "contract.yaml" for stream in (PERSONS, INDICATIONS))])
    if loaded.problems:
        raise Rejected(loaded.problems)
    return tuple(loaded.documents)


def with_law(stated: Stated, at: datetime) -> Stated:
    """Return an authorisation with all that it cites in force from `at`."""
    authorisation = stated.document
    if not isinstance(authorisation, Authorisation):
        raise TypeError(S4)
    citations = tuple(citation.model_copy(update={"in_force_from": at}) for citation in authorisation.citations)
    return replace(stated, document=authorisation.model_copy(update={"citations": citations}))


def _territory(authorisation: Authorisation) -> tuple[str, ...]:
    return next(each.codes for each in authorisation.population if isinstance(each, Territory))


def _dying(population: Population, territory: tuple[str, ...]) -> tuple[Person, ...]:
    """Return the first of the eldest, three or more, so that one of them lives where the municipality is told."""
    for n in range(3, _MOST_DEATHS):
        found = tuple(population.eldest(n))
        if any(person.home.municipality in territory for person in found):
            return found
    return tuple(population.eldest(_MOST_DEATHS))


def _inscriptions(population: Population, dying: tuple[Person, ...]) -> list[Stated]:
    """Inscribe those who die with every agency, and beside them whom such agencies would know."""
    today = population.today
    alive = [person for person in population.people if person.died is None]
    known = {
        ("svb", "pensioner"): [person for person in alive if person.age(today) >= 60],
        ("toeslagen", "applicant"): [person for person in alive if person.age(today) >= 25][::3],
        ("duo", "debtor"): [person for person in alive if 20 <= person.age(today) < 45][::2],
        ("pensioenfonds", "participant"): [person for person in alive if person.age(today) >= 50][::2],
    }
    found: list[Stated] = []
    for (agency, capacity), people in known.items():
        members = {reference(population, person).canonical for person in (*people, *dying)}
        inscriptions = Inscriptions(agency=agency, capacity=capacity, start=_SINCE, persons=tuple(sorted(members)))
        found.append(Stated(inscriptions, Origin(f"{agency}-{capacity}")))
    return found
