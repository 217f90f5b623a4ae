"""Counts what was played into one document, from what the agencies, the lanes and the ledger each say."""

from __future__ import annotations

import base64
import math
import os
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from integrator.demo.play import STREAMS, Play, topic_of
from integrator.demo.scenarios import CHILD_BENEFIT, S4, Right
from integrator.domain.decision import UNIDENTIFIED
from integrator.domain.identifiers import split_stream
from integrator.domain.topics import QUARANTINE, source_topic
from integrator.kafka.access import OPERATOR
from integrator.kafka.accounts import read_accounts, read_all, read_ends, read_steps
from integrator.recording.logs import EPOCHS, INSTITUTION

Document = dict[str, Any]


async def report(play: Play, *, started: datetime) -> Document:
    """Return the document that `integrator demo --once --json` prints; `started` is when the process began."""
    installation = play.stage.installation
    operator = installation.connection(OPERATOR)
    accounts = await read_accounts(operator, lanes=installation.settings.lanes)
    delivered: Document = {}
    withheld: Document = {}
    unidentified = 0
    for notes in play.recipients.notes.values():
        _put(delivered, notes.right, notes.received)
    for (authorisation, version, reason), number in sorted(accounts.counts.items()):
        right = _right(play.story.plot.rights, authorisation, version)
        if reason == UNIDENTIFIED:
            unidentified += number
        elif right is not None:
            _put(withheld, right, {reason: number})
    logs = _logs(play)
    latencies = [each for notes in play.recipients.notes.values() for each in notes.latencies]
    first = play.story.first_delivery
    return {
        "published": await _published(play),
        "delivered": delivered,
        "withheld": withheld,
        "refused": dict(sorted(play.story.refused.items())),
        "quarantined": len(await read_all(operator, QUARANTINE)),
        "unidentified": unidentified,
        "entries": sum(log["size"] - log["unlisted"] for log in logs["subjects"]),
        "ledger": logs,
        "latencyMs": {"p50": _percentile(latencies, 0.50), "p99": _percentile(latencies, 0.99)},
        "secondsToFirstDelivery": round((first - started).total_seconds(), 2) if first else None,
        "scenarios": _scenarios(play),
        "topics": {"/".join(notes.right.key): topic_of(notes.right) for notes in play.recipients.notes.values()},
        "data": str(installation.data),
    }


async def _published(play: Play) -> Document:
    """Count, for each stream, the records that are decided at or after the position of its first authorisation."""
    operator = play.stage.installation.connection(OPERATOR)
    topics: dict[str, str] = {source_topic(*split_stream(stream)): stream for stream in STREAMS}
    ends = await read_ends(operator, list(topics))
    steps = await read_steps(operator)
    published: dict[str, int] = dict.fromkeys(STREAMS, 0)
    for (topic, partition), end in ends.items():
        stream = topics[topic]
        since = play.positions.get(stream)
        if since is None:
            continue
        mine = [step for step in steps if (step.topic, step.partition) == (topic, partition)]
        begun = min((step.start for step in mine if step.directory >= since), default=end)
        published[stream] += end - begun
    return dict(published)


def _logs(play: Play) -> Document:
    files = play.stage.installation.ledger_files
    shown: Document = {"subjects": [], "institution": None, "days": None}
    for name in files.logs():
        reader = play.readers.reader(name)
        log = {
            "origin": reader.origin,
            "vkey": reader.vkey,
            "size": reader.size,
            "unlisted": play.readers.unlisted(name),
            "root": base64.b64encode(reader.root).decode(),
            "directory": str(files.public(name)),
        }
        if name == EPOCHS:
            shown["days"] = log
        elif name.startswith(INSTITUTION):
            shown["institution"] = log
        else:
            shown["subjects"].append(log)
    return shown


def _scenarios(play: Play) -> Document:
    """Return what each recipient got about the people of each scenario, field by field."""
    story = play.story
    dying = [person.number for person in story.plot.dying]
    before = [person.number for person in story.plot.indicated_before]
    after = [person.number for person in story.plot.indicated_after]
    s4 = [right for right in story.plot.rights if right.authorisation.id == S4]
    s19 = [right for right in story.plot.rights if right.authorisation.id.startswith("s19-")]
    s3 = [right for right in story.plot.rights if right.authorisation.agency == CHILD_BENEFIT]
    return {
        "S3": {"modelled": True, "born": len(story.newborn), **_received(play, s3, story.newborn)},
        "S4": {
            "beforeTheLaw": {"indicated": len(before), **_received(play, s4, before)},
            "afterTheLaw": {"indicated": len(after), **_received(play, s4, after)},
        },
        "S19": {"died": len(dying), **_received(play, s19, dying)},
    }


def _received(play: Play, rights: Iterable[Right], numbers: Sequence[str]) -> Document:
    received: Document = {}
    for right in rights:
        notes = play.recipients.notes.get(right.key)
        about = notes.about if notes else {}
        received[right.authorisation.agency] = [delivery for number in numbers for delivery in about.get(number, ())]
    return {"received": received}


def _put(into: Document, right: Right, value: Any) -> None:
    agency, purpose, stream = right.key
    streams = into.setdefault(agency, {}).setdefault(purpose, {})
    if isinstance(value, dict):
        streams.setdefault(stream, {}).update(value)
    else:
        streams[stream] = value


def _right(rights: Iterable[Right], authorisation: str, version: int) -> Right | None:
    wanted = (authorisation, version)
    return next((one for one in rights if (one.authorisation.id, one.authorisation.version) == wanted), None)


def _percentile(seconds: Sequence[float], share: float) -> float | None:
    """Return the percentile in milliseconds: the smallest value that at least `share` of them do not exceed."""
    if not seconds:
        return None
    ranked = sorted(seconds)
    return round(1000 * ranked[max(0, math.ceil(len(ranked) * share) - 1)], 1)


def process_started() -> datetime:
    """Return when this process began: as the kernel says where it does, else when this is asked."""
    try:
        fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text("utf-8").split()[0])
        ago = uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        ago = 0.0
    return datetime.fromtimestamp(time.time() - ago, UTC)
