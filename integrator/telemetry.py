"""Every name of a log event, a span and a metric, with a line of meaning each; the docs page is made from this file.

- No value of a record, no number of a person and no pseudonym is ever an attribute.
- One span per batch, with links; nothing per record.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import structlog
from opentelemetry import metrics, trace
from opentelemetry.trace import Span, Status, StatusCode

LOG_EVENTS: Final[dict[str, str]] = {
    "directory-rebuilt": "The copy belonged to another topic or cluster; it is made anew from the topic.",
    "directory-request-unread": "A request to the directory could not be read; it is passed over.",
    "directory-waits": "The directory's writer does not append now, and says why; it tries again.",
    "directory-writes": "The directory's writer has fenced every earlier one and has caught up.",
    "lane-fenced": "Another owner took the lane's transactional id; this one stops.",
    "lane-left-stream-out": "A stream keeps failing; the lane goes on without it and tries again later.",
    "lane-opened": "The lane reads on from its recorded positions.",
    "lane-restarted": "The lane starts anew after an error in a transaction; nothing of it became visible.",
    "lane-resumed": "The lane decides again after it had to wait.",
    "lane-stopped": "The lane gave up its partitions.",
    "lane-waits": "The lane does not decide now, and says why.",
    "lanes-group-restarted": "The membership through which workers share the lanes failed and is made anew.",
    "ledger-day-sealed": "A day was sealed: its lists are in the epoch log's leaf.",
    "ledger-day-waits": "A day is over and cannot be sealed yet; the code says what it waits for.",
    "ledger-erasures-unread": "The register of erasures cannot be read; what it shows is not entered until it can.",
    "ledger-log-opened": "A log is written from now on, by an engine; the one before it, if any, is closed for good.",
    "ledger-published": "A log's static files and checkpoint were written as far as its size.",
    "ledger-publishing-failed": "A log's static files could not be written; they are tried again.",
    "ledger-quorum-missing": "Too few witnesses cosigned a checkpoint in time; it is not published, and asked again.",
    "ledger-released": "What orders withheld was entered openly: their last day is over.",
    "ledger-restarted": "A log is opened anew after an error whose outcome is unknown; it goes on from its positions.",
    "ledger-set-aside": "A record could not become entries; its position and reason are kept in the log's file.",
    "ledger-unlisted-many": "A day has more withheld entries than `ledger_unlisted`, so it stands out: raise it.",
    "ledger-waits": "A log waits for this machine's copy of the directory.",
    "positions-not-copied": "The copy of positions for lag tools could not be written; nothing depends on it.",
    "process-failed": "A process ended because of an error that an operator can do something about.",
    "process-ready": "A process of the installation does its work.",
    "process-restarted": "A process ended by itself and was started again.",
    "process-stopped": "A process drained and ended because it was told to.",
    "request-failed": "A request over HTTP ended in an error of ours; the answer names the incident.",
    "search-index-failed": "An index of search could not be brought up to date; answers get slower until it is.",
}

SPANS: Final[dict[str, str]] = {
    "lane.transaction": "One transaction of one lane over all its streams.",
    "ledger.append": "One batch of disclosure records made into ledger entries.",
    "ledger.seal": "The sealing of one day: its lists made, its leaf in the epoch log.",
}

METRICS: Final[dict[str, tuple[str, str]]] = {
    "integrator.deliveries": ("1", "Deliveries made visible, by agency and purpose."),
    "integrator.lane.records": ("1", "Source records of committed transactions, by lane."),
    "integrator.lane.restarts": ("1", "Starts of a lane after an error, by lane and code of the error."),
    "integrator.ledger.behind": ("1", "Records that the event log holds and a log of the ledger does not, by log."),
    "integrator.ledger.day-listed": ("1", "Entries that the newest sealed day lists under persons."),
    "integrator.ledger.day-unlisted": ("1", "Entries of the newest sealed day that are withheld or padding."),
    "integrator.ledger.days-sealed": ("1", "Days sealed since the start."),
    "integrator.ledger.days-waiting": ("1", "Days that are over and not sealed."),
    "integrator.ledger.entries": ("1", "Entries made durable, by log."),
    "integrator.ledger.set-aside": ("1", "Records set aside, by log and reason."),
}


def log(room: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a room. Its events are the keys of `LOG_EVENTS`."""
    return structlog.stdlib.get_logger(room=room)


def tracer() -> trace.Tracer:
    """Return the tracer of the project."""
    return trace.get_tracer("integrator")


@contextmanager
def span(name: str) -> Generator[Span]:
    """Open a span, one of `SPANS`. Of an error it says kind and place and never the text, which may quote a record."""
    with tracer().start_as_current_span(name, record_exception=False, set_status_on_exception=False) as opened:
        try:
            yield opened
        except BaseException as error:
            opened.set_status(Status(StatusCode.ERROR, place_of(error)))
            raise


def meter() -> metrics.Meter:
    """Return the meter of the project."""
    return metrics.get_meter("integrator")


def place_of(error: BaseException) -> str:
    """Return the kind and the innermost place of an error: its text might quote a record, this cannot."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(place_of(part) for part in cast("BaseExceptionGroup[BaseException]", error).exceptions)
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
    return f"{type(error).__name__} at {place}"


def page() -> str:
    """Return `docs/telemetry.md`, which a test holds equal to this file."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in sorted(LOG_EVENTS.items())]
    spans = [f"| `{name}` | {meaning} |" for name, meaning in sorted(SPANS.items())]
    numbers = [f"| `{name}` | {unit} | {meaning} |" for name, (unit, meaning) in sorted(METRICS.items())]
    return "\n".join(
        [
            "# Telemetry",
            "",
            "Made from `integrator/telemetry.py` with `python -m integrator.telemetry > docs/telemetry.md`.",
            "",
            "Log lines are JSON, one event a line, on standard error of each process (`logs/` of an installation).",
            "Spans and metrics go to the collector that `otlp_endpoint` names.",
            "None of them carries a value of a record, a number of a person or a pseudonym.",
            "",
            "## Log events",
            "",
            "| event | means |",
            "|---|---|",
            *rows,
            "",
            "## Spans",
            "",
            "| span | covers |",
            "|---|---|",
            *spans,
            "",
            "## Metrics",
            "",
            "| metric | unit | means |",
            "|---|---|---|",
            *numbers,
            "",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(page())
