"""Shows what was measured: a table and what stands behind it, or the same as one JSON document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.copying import ROUND_RECORDS
from benchmarks.measuring import LINES, Figure, Line, Measured
from benchmarks.stage import LANES

_NAMES: Final[Mapping[Line, str]] = {
    "copy": "bare copy",
    "one": "one agency",
    "two": "two agencies",
}
_NOTES: Final = (
    "events/s: from the moment at which all records become visible at once, until the positions behind the last of "
    "them are committed.",
    f"one, two agencies: one worker with {LANES} lanes. Each event is read, validated to its last byte, decided, "
    "projected, keyed by pseudonym, delivered with its headers, disclosed to the ledger and receipted, exactly once. "
    "With two agencies there are two deliveries and two disclosures of each event.",
    f"bare copy: one process, up to {ROUND_RECORDS} records in a transaction with its own positions; key, value and "
    "headers as they came, on one topic. It decodes, decides, projects and records nothing.",
    "CPU µs: user and system time of the worker, or of the process that copies, divided by events (not by deliveries).",
    "cores: how many of this machine's were busy with the line itself, with the broker and with the ledger meanwhile; "
    "where they share too few, events/s says how the machine was shared, and CPU µs what the work costs.",
    "Not in it: people who are looked up (the population is `all`), conditions, TLS, compression, replication.",
)


def document(measured: Measured, machine: Mapping[str, str | int], *, records: int, rounds: int) -> dict[str, Any]:
    """Return everything as JSON: medians, every figure of every round, the machine and what the figures include."""
    return {
        "machine": dict(machine),
        "records": records,
        "rounds": rounds,
        "recordBytes": round(measured.record_bytes, 1),
        "lines": {line: _line(measured, line) for line in LINES},
        "ledger": {
            "entries": measured.ledger.entries,
            "entriesPerSecond": round(measured.ledger.entries / measured.ledger.seconds),
            "cpuMicrosPerEntry": _micros(measured.ledger.cpu, measured.ledger.entries),
        },
        "delivered": measured.delivered,
        "notes": list(_NOTES),
    }


def _line(measured: Measured, line: Line) -> dict[str, Any]:
    figures = [figure for figure in measured.figures if figure.line == line]

    def middle(of: Callable[[Figure], float]) -> float:
        return median(map(of, figures))

    rates = [round(figure.events / figure.seconds) for figure in figures]
    return {
        "eventsPerSecond": round(median(rates)),
        "eventsPerSecondByRound": rates,
        "cpuMicrosPerEvent": round(middle(lambda one: one.cpu / one.events * 1e6), 1),
        "cpuMicrosPerEventByRound": [_micros(figure.cpu, figure.events) for figure in figures],
        "brokerCpuMicrosPerEvent": round(middle(lambda one: one.broker_cpu / one.events * 1e6), 1),
        "coresOfWorker": round(middle(lambda one: one.cpu / one.seconds), 2),
        "coresOfBroker": round(middle(lambda one: one.broker_cpu / one.seconds), 2),
        "coresOfLedger": round(middle(lambda one: one.ledger_cpu / one.seconds), 2),
    }


def _micros(seconds: float, events: int) -> float | None:
    return round(seconds / events * 1e6, 1) if events else None


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print the document of `document` as a table with what stands behind it."""
    machine = found["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory']}, load before: {machine['loadBefore']}; "
        f"{machine['system']}, Python {machine['python']}, aiokafka {machine['aiokafka']}",
        highlight=False,
    )
    title = f"{found['records']:,} records of {found['recordBytes']:.0f} bytes, medians of {found['rounds']} rounds"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    table.add_column("line", no_wrap=True)
    for column in ("events/s", "least", "most", "CPU µs", "broker µs", "cores", "broker", "ledger"):
        table.add_column(column, justify="right", no_wrap=True)
    for line, name in _NAMES.items():
        figures = found["lines"][line]
        rates = figures["eventsPerSecondByRound"]
        table.add_row(
            name,
            f"{figures['eventsPerSecond']:,}",
            f"{min(rates):,}",
            f"{max(rates):,}",
            f"{figures['cpuMicrosPerEvent']:.1f}",
            f"{figures['brokerCpuMicrosPerEvent']:.1f}",
            *(f"{figures[f'coresOf{who}']:.2f}" for who in ("Worker", "Broker", "Ledger")),
        )
    console.print(table)
    ledger = found["ledger"]
    console.print(
        f"ledger: {ledger['entries']:,} entries while this was measured, {ledger['entriesPerSecond']:,}/s, "
        f"{ledger['cpuMicrosPerEntry']} µs of CPU each",
        highlight=False,
    )
    for note in found["notes"]:
        console.print(f"• {note}", style="dim", highlight=False)
