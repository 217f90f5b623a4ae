"""Reads the person lists of the Dutch population register (LO3, as RvIG publishes its test set) into `brp/person`."""

from integrator_adapters.lo3.adapter import ADAPTER

__all__ = ["ADAPTER"]
