"""Three names of `integrator_audit.halfyear` at their former address, for `benchmarks/sealing.py` only."""

from __future__ import annotations

from integrator_audit.halfyear import DAY_MS, first_day, start_of

__all__ = ["DAY_MS", "first_day", "start_of"]
