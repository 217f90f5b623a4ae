"""Holds no property to a time: whether an example takes long is the machine's matter, and a benchmark's."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("without-time", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without-time")
