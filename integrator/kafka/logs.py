"""Keeps the log readable while a broker is away: each message of aiokafka at most once in ten seconds, with a count.

Without it one worker writes a thousand "Unable connect" lines in a second. Only what is printed is decided here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

PAUSE_SECONDS = 10.0


class CalmHandler(logging.Handler):
    """Hands the first of equal records to the root logger, then none for `PAUSE_SECONDS`; the next one says how many.

    Records are equal when logger and message template are: the arguments differ in every line of a flood.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        # Templates are literals of the library's source, so this cannot grow without bound.
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        kind, now = (record.name, str(record.msg)), self._clock()
        since, hidden = self._seen.get(kind, (float("-inf"), 0))
        if now - since < PAUSE_SECONDS:
            self._seen[kind] = (since, hidden + 1)
            return
        self._seen[kind] = (now, 0)
        if hidden:
            record.msg, record.args = f"{record.getMessage()} ({hidden} more like this)", None
        logging.getLogger().handle(record)


def calm_aiokafka() -> None:
    """Send aiokafka's records through one `CalmHandler`. Calling it again changes nothing.

    A filter on the logger `aiokafka` would miss the records of its children, which do most of the talking.
    """
    logger = logging.getLogger("aiokafka")
    if not any(isinstance(handler, CalmHandler) for handler in logger.handlers):
        logger.addHandler(CalmHandler())
        logger.propagate = False
