"""Generates fictional families, the same from the same seed, that agree with each other in every stream."""

from integrator_adapters.population.adapter import ADAPTER
from integrator_adapters.population.population import Population

__all__ = ["ADAPTER", "Population"]
