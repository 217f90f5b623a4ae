"""Names every topic, group, transactional id and principal of the event log, and says which partition a person is in.

This is the only place where such a name is put together. Names of sources, streams, agencies and purposes have no
dots and no `--` (`identifiers.NAME_PATTERN`), so no two of them can meet in one topic or one principal, and a prefix
that ends in a dot holds nothing of anybody else.
"""

from __future__ import annotations

import re
import struct

from integrator.domain.errors import Invalid
from integrator.domain.identifiers import NAME_PATTERN, SubjectRef

DIRECTORY = "integrator.directory"
REQUESTS = "integrator.requests"
LANES = "integrator.lanes"
STEPS = "integrator.steps"
DISCLOSURES = "integrator.disclosures"
QUARANTINE = "integrator.quarantine"

LANES_GROUP = "integrator.lanes"
"""The group whose members share the lanes: it subscribes to `LANES` only."""
LAG_GROUP = "integrator.lag"
"""The group that holds a copy of the lanes' positions for lag tools; nobody reads it back."""
DIRECTORY_GROUP = "integrator.directory"
"""The group in which the directory writer keeps a copy of its positions in `REQUESTS`."""
DIRECTORY_TRANSACTIONS = "integrator.directory"
"""The transactional id that fences the one writer of the directory."""
LANE_TRANSACTIONS = "integrator.lane."
"""The prefix of every lane's transactional id; see `lane_transactions`."""

_NAME = re.compile(NAME_PATTERN)
# Topics that the integrator itself writes beside a source's streams and an agency's deliveries.
_RESERVED_STREAMS = ("receipts", "error-reports")


def _name(word: str, value: str) -> str:
    if not _NAME.fullmatch(value) or len(value) > 60:
        raise Invalid("name-invalid", f"The {word} {value!r} is no name: use a-z, 0-9 and single hyphens, at most 60.")
    return value


def source_prefix(source: str) -> str:
    """Return the prefix of everything that belongs to a source: topics and groups."""
    return f"source.{_name('source', source)}."


def source_topic(source: str, stream: str) -> str:
    """Return the topic on which a source publishes one stream. Raises `Invalid` (`name-invalid`, `name-reserved`)."""
    if stream in _RESERVED_STREAMS:
        raise Invalid(
            "name-reserved", f"A stream cannot be called {stream!r}: the integrator writes a topic of that name."
        )
    return source_prefix(source) + _name("stream", stream)


def receipts_topic(source: str) -> str:
    """Return the topic on which a source reads what became of its records."""
    return source_prefix(source) + "receipts"


def error_reports_topic(source: str) -> str:
    """Return the topic on which a source, as steward, reads the error reports about its records."""
    return source_prefix(source) + "error-reports"


def agency_prefix(agency: str, purpose: str) -> str:
    """Return the prefix of everything that an agency has for one purpose: topics and groups."""
    return f"agency.{_name('agency', agency)}.{_name('purpose', purpose)}."


def agency_topic(agency: str, purpose: str, source: str, stream: str) -> str:
    """Return the topic on which an agency receives one stream for one purpose."""
    return f"{agency_prefix(agency, purpose)}{_name('source', source)}.{_name('stream', stream)}"


def lane_transactions(lane: int) -> str:
    """Return the transactional id of a lane: whoever starts a producer with it fences the one before."""
    return f"{LANE_TRANSACTIONS}{lane}"


def source_principal(source: str) -> str:
    """Return the user name under which a source logs in to the broker."""
    return f"source-{_name('source', source)}"


def agency_principal(agency: str, purpose: str) -> str:
    """Return the user name under which an agency logs in for one purpose."""
    return f"agency-{_name('agency', agency)}--{_name('purpose', purpose)}"


def is_agency_principal(principal: str) -> bool:
    """Tell whether a user name is that of an agency and a purpose, as `agency_principal` makes them."""
    agency, separator, purpose = principal.removeprefix("agency-").partition("--")
    return principal.startswith("agency-") and bool(separator and _NAME.fullmatch(agency) and _NAME.fullmatch(purpose))


def partition_of(subject: SubjectRef, partitions: int) -> int:
    """Return the partition that holds everything about a person, of a topic with so many partitions.

    It is what a default Kafka client computes for the key `scheme:value`. Records have a longer key (the fact follows
    the person), so producers must set the partition themselves, with this function.
    """
    return (_murmur2(subject.canonical.encode()) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    """Return Kafka's variant of MurmurHash2 as an unsigned 32-bit number.

    Source: `org.apache.kafka.common.utils.Utils.murmur2`: seed 0x9747b28c, little-endian words of four bytes.
    """
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    whole = len(data) & ~3
    state = 0x9747B28C ^ len(data)
    for word in struct.unpack(f"<{whole >> 2}I", data[:whole]):
        mixed = word * multiplier & mask
        state = (state * multiplier ^ (mixed ^ mixed >> 24) * multiplier) & mask
    if tail := data[whole:]:
        state = (state ^ int.from_bytes(tail, "little")) * multiplier & mask
    state = (state ^ state >> 13) * multiplier & mask
    return state ^ state >> 15
