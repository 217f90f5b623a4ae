"""The integrator: sources publish a change once, agencies receive the part that a law lets them have.

Users import `Agency`, `Citizen` and `RegistryOwner` from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrator.sdk.agency import Agency
    from integrator.sdk.citizen import Citizen
    from integrator.sdk.owner import RegistryOwner

__all__ = ["Agency", "Citizen", "RegistryOwner"]

_HOME = {"Agency": "agency", "Citizen": "citizen", "RegistryOwner": "owner"}


def __getattr__(name: str) -> object:
    # Looked up when asked for: a worker imports `integrator.routing` and should not load HTTP clients for it.
    if (module := _HOME.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"integrator.sdk.{module}"), name)
