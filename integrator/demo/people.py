"""Says what the demonstration needs of a population, and finds the one that is installed.

The generator is a distribution of its own (`integrator-adapters`), found by its entry point: the integrator imports no
adapter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from importlib.metadata import entry_points
from typing import Protocol, cast

from integrator.domain.errors import Refused
from integrator.domain.identifiers import Scheme, SubjectRef
from integrator.sdk.message import SourceMessage

GROUP = "integrator.populations"


class Home(Protocol):
    """Where somebody lives."""

    @property
    def municipality(self) -> str: ...


class Person(Protocol):
    """Somebody fictional."""

    @property
    def number(self) -> str: ...

    @property
    def died(self) -> date | None: ...

    @property
    def home(self) -> Home: ...

    def age(self, today: date) -> int: ...


class Population(Protocol):
    """Fictional families and what happens to them; see the generator's own text."""

    @property
    def scheme(self) -> Scheme: ...

    @property
    def today(self) -> date: ...

    @property
    def people(self) -> Iterator[Person]: ...

    def eldest(self, n: int) -> Collection[Person]: ...

    def eligible(self, n: int) -> Collection[Person]: ...

    def births(self, n: int, *, municipalities: Collection[str]) -> Iterator[SourceMessage]: ...

    def deaths(self, n: int) -> Iterator[SourceMessage]: ...

    def indications(self, n: int) -> Iterator[SourceMessage]: ...

    def background(self, *, sparing: Collection[str]) -> Iterator[SourceMessage]: ...


class MakePopulation(Protocol):
    """Makes a population from a seed and a number of families."""

    def __call__(self, seed: int, families: int) -> Population: ...


def installed_population() -> MakePopulation:
    """Return the installed generator. Raises `Refused` (`no-population`)."""
    for point in entry_points(group=GROUP):
        return cast("MakePopulation", point.load())
    raise Refused("no-population", "The demonstration needs the distribution `integrator-adapters`: install it.")


def reference(population: Population, person: Person) -> SubjectRef:
    """Return the person as the directory knows people."""
    return SubjectRef(population.scheme, person.number)
