"""What every lane of a process shares: its ports and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from integrator.routing.engine import Engine
from integrator.routing.ports import Brakes, Clock, Directories, EventLog, Ownership, Unbraked


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """How a lane trades latency for work, and when it gives up. Times in seconds."""

    round_records: int = 1000
    """Source records of one transaction at most: bounds memory, and how long one lane holds the event loop."""
    fetch_wait: float = 0.2
    """How long a fetch waits for the first record; a change of the directory does not wait for it."""
    stall: float = 15.0
    """With input and without a commit for so long, the lane starts anew."""
    pause: float = 0.1
    """Between an error and the new start: without it a dead broker costs thousands of tries."""
    longest_pause: float = 1.0
    """After several errors in a row."""
    recheck: float = 0.25
    """How often a lane looks again at what no event tells: clocks, ownership, streams that were left out."""


@dataclass(frozen=True, slots=True)
class LaneSetting:
    """What a lane works with. `lanes` is L, fixed at the installation."""

    lanes: int
    log: EventLog
    ownership: Ownership
    directories: Directories
    engine: Engine
    clock: Clock
    limits: LaneLimits = LaneLimits()
    brakes: Brakes = field(default_factory=Unbraked)
