"""Ask one witness for its cosignature, after C2SP tlog-witness.

- Nothing that a witness answers is believed: the answer is bounded in bytes and time, and its cosignature is verified
  before anybody sees it.
- A witness that has seen a larger log than we ever showed, or another one of a size that we showed, is the alarm that
  witnesses are there for: two histories carry our signature. That is `Tampered`, everything else is `Unavailable`.
"""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from integrator_audit.errors import Invalid, Tampered, Unavailable
from integrator_audit.note import Note, join_note
from integrator_audit.patience import open_within
from integrator_audit.witnessing.addcheckpoint import (
    SIZE_TYPE,
    AddCheckpoint,
    Answer,
    own_signatures,
    read_signatures,
    read_size,
)
from integrator_audit.witnessing.cosignature import Cosignature, CosignerKey, verified_cosignatures

MAX_ANSWER = 64 * 1024
TIMEOUT = 10.0
"""Seconds for one answer."""
MAX_CONFLICTS = 3
"""How often a witness may name another size before we give up for this time."""

Prove = Callable[[int], Sequence[bytes]]
"""Return the consistency proof from a size to the size asked for; between equal sizes it is empty."""


class Exchange(Protocol):
    """One HTTP exchange with a witness; raises `Unavailable` when there was no answer."""

    def __call__(self, body: bytes) -> Answer:
        """Send a request's body and return the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask: our signed note of `size`, a guess what the witness knows, and the most that we ever showed it."""

    note: bytes
    size: int
    old_size: int
    limit: int


def ask(asked: Asked, prove: Prove, *, key: CosignerKey, exchange: Exchange, now: Callable[[], int]) -> Cosignature:
    """Return the cosignature of one witness over a checkpoint.

    Raises `Tampered` (`witness-ahead`, `witness-fork`) when the witness knows another history under our key,
    `Unavailable` when it gives no cosignature for any other reason.
    """
    old_size = asked.old_size
    note = own_signatures(asked.note)
    for _ in range(MAX_CONFLICTS):
        # SPEC tlog-witness: "The consistency proof lines MUST encode a Merkle Consistency Proof from the old size to
        # the checkpoint size"
        # SPEC tlog-witness: "The proof MUST be empty if the old size is zero."
        proof = tuple(prove(old_size)) if old_size else ()
        answer = exchange(AddCheckpoint(old_size, proof, note).body)
        if answer.status == 200:
            return _cosignature(note, answer, key=key, now=now())
        if answer.status == 422:
            message = (
                f"{key.name} says that our log of size {asked.size} does not extend the log of size {old_size} that it "
                "knows under our key. Two histories were signed: stop, and call the witness"
            )
            raise Tampered("witness-fork", message)
        if answer.status != 409:
            raise Unavailable("witness-refused", f"{key.name} answered {answer.status}")
        old_size = _other_size(asked, old_size, answer, name=key.name)
    raise Unavailable("witness-conflict", f"{key.name} named another size {MAX_CONFLICTS} times")


def _other_size(asked: Asked, old_size: int, answer: Answer, *, name: str) -> int:
    # SPEC tlog-witness: "The response MUST have a `Content-Type` of `text/x.tlog.size`."
    try:
        if answer.content_type != SIZE_TYPE:
            raise Invalid("witness-size", "the witness names no size")
        theirs = read_size(answer.body)
    except Invalid as error:
        # A witness that knows another size has to name it; one that knows another root of this size does not.
        if old_size == asked.size:
            message = f"{name} answered 409 to our checkpoint of the size {old_size} that it knows, and named no other"
            raise Tampered("witness-fork", f"{message}: two histories were signed. Stop, and call it") from error
        raise Unavailable("witness-conflict", f"{name} answered 409 without a size") from error
    if theirs > asked.limit:
        message = (
            f"{name} has cosigned size {theirs} of our log, and the most that this ledger knows to have shown it is "
            f"{asked.limit}: the file is an older backup, or somebody else signs with our key. Stop, call the witness"
        )
        raise Tampered("witness-ahead", message)
    # SPEC tlog-witness: "If the old size matches the checkpoint size, the witness MUST check that the root hashes are
    # also identical. If they don't match, the witness MUST respond with a "409 Conflict" HTTP status code."
    if theirs == old_size == asked.size:
        message = f"{name} knows another log of size {theirs} under our key. Two histories were signed: stop"
        raise Tampered("witness-fork", message)
    if theirs == old_size:
        raise Unavailable("witness-conflict", f"{name} answered 409 to the size that it names")
    if theirs > asked.size:
        raise Unavailable("witness-conflict", f"{name} has cosigned a later checkpoint of ours already")
    return theirs


def _cosignature(note: bytes, answer: Answer, *, key: CosignerKey, now: int) -> Cosignature:
    text = Note.parse(note).unverified_text
    # SPEC tlog-witness: "The client MUST ignore any cosignatures from unknown keys."
    ours = [item for item in read_signatures(answer.body) if (item.name, item.key_id) == (key.name, key.key_id)]
    try:
        found = verified_cosignatures(Note.parse(join_note(text, ours)), [key], now=now) if ours else []
    except (Tampered, Invalid) as error:
        raise Unavailable("witness-answer", f"{key.name} answered with a wrong cosignature: {error.message}") from error
    if not found:
        raise Unavailable("witness-answer", f"{key.name} answered without a cosignature of its key and of this time")
    return found[0]


class HttpExchange:
    """The exchange with the witness whose submission prefix is `url`.

    Redirects are not followed: that a witness moved is a matter for the policy, not for the network.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        if not url.startswith(("http://", "https://")):
            raise Invalid("witness-url", "a witness's URL starts with http:// or https://")
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._timeout = timeout

    def __call__(self, body: bytes) -> Answer:
        """Send a request's body and return the answer, at most `MAX_ANSWER` bytes of it, within the time given."""
        # SPEC tlog-witness: "The request MUST be an HTTP POST."
        headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "integrator-audit"}
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310  scheme checked above
        try:
            with open_within(request, timeout=self._timeout, seconds=self._timeout, redirects=False) as response:
                content = response.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise Unavailable("witness-unreachable", f"{self._url} could not be asked: {reason}") from error
        if len(content) > MAX_ANSWER:
            message = f"{self._url} could not be asked: the answer has more than {MAX_ANSWER} bytes"
            raise Unavailable("witness-unreachable", message)
        return Answer(response.status, response.headers.get("Content-Type", ""), content)
