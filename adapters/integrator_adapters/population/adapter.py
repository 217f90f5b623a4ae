"""Converts a description of a population into its people, so that it can be published like any other file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import yaml

from integrator.domain.errors import Invalid
from integrator.sdk.adapter import Adapter, Converted, Item, RowRead
from integrator_adapters.population.population import PERSONS, Population

MOST_FAMILIES = 10_000_000


@dataclass(frozen=True, slots=True)
class GeneratedPopulation:
    """The adapter `population`. Its file is YAML: `seed: 1` and `families: 200`, two whole numbers."""

    name: str = "population"
    stream: str = PERSONS

    def convert(self, source: Path, *, now: datetime) -> Iterator[Item]:
        """Yield one event for each person; a row is a person. Raises `Invalid` (`population-file`)."""
        seed, families = _read(source)
        population = Population(seed, families, clock=lambda: now)
        for row, message in enumerate(population.initial(), start=1):
            yield RowRead(row, units=1)
            yield Converted(row, message, applied=1)


def _read(source: Path) -> tuple[int, int]:
    try:
        content: object = yaml.safe_load(source.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _wrong() from None
    if not isinstance(content, dict) or set(cast("dict[str, Any]", content)) != {"seed", "families"}:
        raise _wrong()
    seed, families = (cast("dict[str, Any]", content)[name] for name in ("seed", "families"))
    if type(seed) is not int or type(families) is not int or not 1 <= families <= MOST_FAMILIES:
        raise _wrong()
    return seed, families


def _wrong() -> Invalid:
    return Invalid(
        "population-file",
        f"A population is described in YAML by two whole numbers: `seed`, and `families` from 1 to {MOST_FAMILIES}.",
    )


ADAPTER: Adapter = GeneratedPopulation()
