"""Openings at the limits of size and just above: too large to be kept as files, made where they are needed."""

from __future__ import annotations

from dataclasses import replace

from integrator_audit.note import MAX_NOTE, Signature, join_note
from integrator_audit.openingfile import MAX_OPENING
from integrator_audit.parts import MAX_PART
from tests.vectors.accepted import Case, compact, proved
from tests.vectors.log import LOG, Log, disclosure


def _part(size: int) -> bytes:
    start, end = b'{"schema":"example/a/v1","b":"', b'"}'
    return start + b"x" * (size - len(start) - len(end)) + end


def cases() -> list[Case]:
    """Return every case; in each pair the first is accepted and the second one byte too large."""
    text, expected = compact(LOG.opening(5, "AS")), proved(LOG, 5, "AS")
    said = LOG.checkpoint().text
    bare = join_note(said, [LOG.signer.signature(said)])
    line = Signature("unknown.example", b"\0\0\0\0", b"?").line
    # In base64 three bytes are four characters: what is left over goes into the name.
    missing = MAX_NOTE - len(bare) - len(line)
    filling = Signature("unknown.example" + "e" * (missing % 4), b"\0\0\0\0", b"?" * (1 + missing // 4 * 3))
    full = bare + filling.line
    over = bare + replace(filling, name=filling.name + "e").line
    large, larger = Log([disclosure(0, A=_part(MAX_PART))]), Log([disclosure(0, A=_part(MAX_PART + 1))])

    def note(checkpoint: bytes) -> bytes:
        return compact(LOG.opening(5, "AS", replace(LOG.receipt(5), checkpoint=checkpoint)))

    assert (len(full), len(over)) == (MAX_NOTE, MAX_NOTE + 1)
    return [
        Case("a file of a mebibyte", text + b" " * (MAX_OPENING - len(text)), expected),
        Case("a file of more than a mebibyte", text + b" " * (MAX_OPENING + 1 - len(text)), "opening-malformed"),
        Case("a part of 65535 bytes", compact(large.opening(0, "AS")), proved(large, 0, "AS")),
        Case("a part of 65536 bytes", compact(larger.opening(0, "AS")), "opening-part"),
        Case("a note of 128 KiB", note(full), expected),
        Case("a note of more than 128 KiB", note(over), "opening-malformed"),
    ]
