"""Care indications of fictional children, with reasons that nobody but the source should ever see.

Diagnosis, ground, profile and telephone numbers are words that occur nowhere else, so that a search for them over
every topic and file shows a leak.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from integrator_adapters.population.people import Part, Person
from integrator_adapters.population.words import CARE_KINDS, DIAGNOSES, DOMAINS, GROUNDS, PROFILES

YOUNGEST, OLDEST = 3, 17
"""The ages in whole years at which the generator gives an indication."""


@dataclass(slots=True)
class Indication:
    """One decision; owned by the population."""

    number: str
    person: Person
    decided: date
    until: date | None
    care: str
    ground: str
    diagnosis: str
    profile: str
    scores: dict[str, int]
    phone: str
    withdrawn: bool = False
    last_event: str | None = field(default=None)

    def record(self, kind: str, changed: list[str], *, at: str, corrects: str | None = None) -> Part:
        """Return the whole `ciz/wlz-indication` record. `at` is when it was recorded, RFC 3339 in UTC."""
        return {
            "kind": kind,
            "changed": changed,
            "corrects": corrects,
            "registeredAt": at,
            "indicationId": self.number,
            "steward": "ciz",
            "bsn": self.person.number,
            "birthDate": self.person.born.isoformat(),
            "decidedOn": self.decided.isoformat(),
            "validFrom": self.decided.isoformat(),
            "validUntil": self.until.isoformat() if self.until else None,
            "careKind": self.care,
            "withdrawn": self.withdrawn,
            "ground": self.ground,
            "diagnosis": self.diagnosis,
            "careProfile": self.profile,
            "scores": self.scores,
            "contactPersons": [
                {
                    "bsn": parent.number,
                    "name": " ".join(part for part in (parent.given, parent.prefix, parent.family) if part),
                    "phone": self.phone,
                    "relation": "parent",
                }
                for parent in self.person.parents
                if parent.died is None
            ],
        }


def new_indication(random: Random, person: Person, order: int, today: date) -> Indication:
    """Return the indication number `order` of a population, decided today."""
    return Indication(
        number=f"WLZ-{today.year}-{order:06d}",
        person=person,
        decided=today,
        until=today + timedelta(days=365 * random.randint(1, 5)) if random.random() < 0.5 else None,
        care=random.choice(CARE_KINDS),
        ground=random.choice(GROUNDS),
        diagnosis=f"{random.choice(DIAGNOSES)}-{order:06d}",
        profile=random.choice(PROFILES),
        scores=_scores(random),
        # Numbers under 097 are for machines, and theirs are longer than ten digits.
        phone=f"09700000{order % 10_000:04d}",
    )


def reassess(random: Random, indication: Indication) -> tuple[str, ...]:
    """Give `indication` another profile and other scores, and return the paths that changed."""
    before = indication.profile
    while indication.profile == before:
        indication.profile = random.choice(PROFILES)
    scores, indication.scores = indication.scores, _scores(random)
    return ("careProfile",) if scores == indication.scores else ("careProfile", "scores")


def _scores(random: Random) -> dict[str, int]:
    return {domain: random.randint(0, 3) for domain in DOMAINS}
