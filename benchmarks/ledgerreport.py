"""Says what `benchmarks.ledger` measured: each figure beside what was promised and what its reference took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

Found = Mapping[str, Any]

_NOTES: Final = (
    "entries/s, one core: from disclosure records to durable, encrypted, checkpointed entries, with the ledger's own "
    "sequencer, vault and SQLite store. Both indexes, by person and by recipient, are always on.",
    "Plain hashing: hashlib over the same bytes in as many calls. Plain inserts: the same rows, as the ledger stores "
    "them, into an SQLite table without an index, in durable transactions of the same size.",
    "Proofs and openings: by the ledger's reader, without HTTP; each was verified after it was timed. Plain index: by "
    "person over the whole log, and rows selected.",
    "Search: the slowest of the questions for a page of 25. Its reference: SQL over a column and an index per member.",
    "Sealing: label keys of persons are in the vault already.",
)


def document(found: Found, *, quick: bool) -> dict[str, Any]:
    """Return everything as one JSON document; `figures` are the promises, as far as they were measured."""
    return {"quick": quick, **found, "figures": list(_figures(found)), "notes": list(_NOTES)}


def _figures(found: Found) -> Iterator[dict[str, Any]]:
    if "write" in found:
        yield from _writing(found["write"])
    if "postgresql" in found:
        lines = found["postgresql"]["lines"]
        yield _figure(
            "PostgreSQL: rows with their indexes, tiles, checkpoint",
            lines["store"]["rowsPerSecond"],
            "rows/s",
            at_least=80_000,
            reference=f"plain COPY of the same rows: {lines['copy']['rowsPerSecond']:,}",
        )
        yield _figure(
            "PostgreSQL: the whole append, vault included",
            lines["ledger"]["rowsPerSecond"],
            "entries/s",
            reference=f"plain COPY of the same rows: {lines['copy']['rowsPerSecond']:,}",
        )
    if "read" in found:
        yield from _reading(found["read"])
    if "search" in found:
        lines = [line for name, line in found["search"]["lines"].items() if "thousand" not in name and "p95" in line]
        ours, theirs = max(line["p95"] for line in lines), max(line["referenceP95"] for line in lines)
        yield _figure("search p95, slowest question", ours, "ms", below=50, reference=f"plain indexes: {theirs}")
    if "seal" in found:
        sealed = found["seal"]
        yield _figure(
            f"sealing a day of {sealed['entries']:,} about {sealed['persons']:,} persons",
            round(sealed["seconds"], 1),
            "s",
            below=180,
            reference=f"plain hashing {sealed['hashing']:.1f}, plain inserts {sealed['inserting']:.1f}",
        )


def _writing(wrote: Found) -> Iterator[dict[str, Any]]:
    references = f"plain hashing {wrote['hashing']:,}, plain inserts {wrote['inserting']:,}"
    for title, promised in (("indexed by person", 40_000), ("by person and recipient (the same)", 30_000)):
        yield _figure(
            f"SQLite, one core, {title}", wrote["perSecond"], "entries/s", at_least=promised, reference=references
        )
    yield _figure("the same, entries in a second of CPU", wrote["perCpuSecond"], "entries/s", reference=references)
    first, last = wrote["memoryAt"], wrote["memoryEnd"]
    yield _figure(
        f"memory at {last['entries']:,} entries",
        last["mib"],
        "MiB",
        below=round(first["mib"] * 1.1) + 1,
        reference=f"at {first['entries']:,}: {first['mib']}",
    )
    yield _figure(
        f"append of {wrote['entriesPerCommit']:,} entries, p95: durable and checkpointed in one transaction",
        wrote["commitMs"]["p95"],
        "ms",
        below=1_000,
        reference=f"as many bytes appended to a file, with fdatasync: {wrote['syncMs']}",
    )
    yield _figure("append of one record, p95", wrote["single"]["p95"], "ms", below=1_000, reference="as above")


def _reading(read: Found) -> Iterator[dict[str, Any]]:
    yield _figure(
        "proof of an entry, p50",
        read["proof"]["p50"],
        "ms",
        below=0.3,
        reference=f"the same row and tiles selected: {read['proofReference']['p50']}",
    )
    yield _figure(
        "opening of A and S with its proof, p50",
        read["opening"]["p50"],
        "ms",
        reference=f"the same row and tiles selected: {read['openingReference']['p50']}",
    )
    count = read["personEntries"]
    yield _figure(
        f"a person's disclosures with proofs, p95 ({count['mean']} on average, {count['most']} at most)",
        read["person"]["p95"],
        "ms",
        below=50,
        reference=f"plain index and rows: {read['personReference']['p95']}",
    )


def _figure(  # noqa: PLR0913  what a line of the table says
    title: str, value: float, unit: str, *, reference: str, at_least: float | None = None, below: float | None = None
) -> dict[str, Any]:
    promised = f"≥ {at_least:,}" if at_least is not None else f"< {below:,}" if below is not None else ""
    met = value >= at_least if at_least is not None else value < below if below is not None else None
    return {"figure": title, "value": value, "unit": unit, "promised": promised, "met": met, "reference": reference}


def show(said: Found, console: Console) -> None:
    """Print the document of `document` for people."""
    machine, plan = said["machine"], said["plan"]
    loads = ", ".join(f"{name} {load}" for name, load in said["load"].items())
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory']}; {machine['system']}, "
        f"Python {machine['python']}, {machine['engine']} engine; load before: {loads}",
        highlight=False,
    )
    title = f"{plan['entries']:,} entries" + (" (--quick: not the sizes that were promised)" if said["quick"] else "")
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    table.add_column("figure")
    for column in ("measured", "promised", ""):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("reference in the same run")
    for figure in said["figures"]:
        met = {True: "yes", False: "NO", None: ""}[figure["met"]]
        value = f"{figure['value']:,} {figure['unit']}"
        table.add_row(figure["figure"], value, figure["promised"], met, figure["reference"])
    console.print(table)
    if wrote := said.get("write"):
        rates = f"{wrote['least']:,} – {wrote['most']:,}, first {wrote['first']:,}, last {wrote['last']:,}"
        console.print(f"writing, by rounds: {rates}; {wrote['fileBytes']:,} bytes an entry", highlight=False)
        stages = ", ".join(f"{name} {micros}" for name, micros in wrote["stages"].items())
        console.print(f"CPU µs an entry: {stages}", highlight=False)
    for note in said["notes"]:
        console.print(f"• {note}", style="dim", highlight=False)
