"""Publish a log's checkpoints: a checkpoint is published when a quorum of witnesses has cosigned it.

- All witnesses are asked at once, each in a thread of its own; one that is slow or dead delays nobody and is asked
  again only when its last answer came or failed. Appending never waits for any of this.
- Before a cosignature is asked, that is written down (`witnessing.asked`). When the log was opened, nobody had seen
  more of it than was recovered: a witness that has is an alarm, and after one nothing is published or asked any more.
- At most one checkpoint is published per interval, because the volume of a log is public with it.

| crash                              | on disk                           | recovery                          |
|------------------------------------|-----------------------------------|-----------------------------------|
| before the list of what was asked  | the log                           | the next round asks               |
| between that and the answers       | the list; witnesses may know more | asks from the recovered size      |
| before the checkpoint is published | the same                          | the same: the size is signed anew |
| after that                         | the published checkpoint          | the next round                    |
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from integrator_audit.checkpoint import LogKeys, open_checkpoint
from integrator_audit.errors import AuditError, Invalid, Refused, Tampered
from integrator_audit.merkle import consistency_proof
from integrator_audit.note import MAX_SIGNATURES, Note, join_note
from integrator_audit.tiles import TileRow, subtree_reader
from integrator_audit.witnessing.addcheckpoint import own_signatures
from integrator_audit.witnessing.asked import AskedFile
from integrator_audit.witnessing.client import TIMEOUT, Asked, Exchange, HttpExchange, ask
from integrator_audit.witnessing.cosignature import Cosignature
from integrator_audit.witnessing.policy import MAX_AGE, Policy, PolicyWitness

INTERVAL = 60.0
"""Seconds between two publications of a public log."""
GRACE = 0.5
"""Seconds that a reached quorum waits for the cosignatures of others."""
REFRESH = MAX_AGE // 4
"""Seconds after which a log that does not grow asks for new cosignatures: they say that it still is the newest."""


class SignedHead(Protocol):
    """A log's newest checkpoint, as `store.Head` has it."""

    @property
    def size(self) -> int:
        """Return the number of entries."""
        ...

    @property
    def root(self) -> bytes:
        """Return the 32-byte root over them."""
        ...

    @property
    def note(self) -> bytes:
        """Return the note that the log signed."""
        ...


class PublishedLog(Protocol):
    """What a publisher needs of a log; every `writer.LogWriter` is one. Called from several threads at once."""

    @property
    def head(self) -> SignedHead:
        """Return the newest durable checkpoint."""
        ...

    def tile(self, level: int, index: int) -> TileRow | None:
        """Return a tile as wide as it is now."""
        ...

    def published(self) -> tuple[int, bytes] | None:
        """Return size and note of the newest published checkpoint."""
        ...

    def publish(self, note: bytes) -> None:
        """Make a checkpoint with its cosignatures the published one; it is durable when this returns.

        The same size may come again, with newer cosignatures.
        """
        ...


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of asking gave: the size asked about, who cosigned and why others did not, by name."""

    size: int
    published: bool
    cosigned: Mapping[str, int] = field(default_factory=dict[str, int])
    failed: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class _Standing:
    """What is known of one witness. Owned by the publisher's lock."""

    # From which we prove to it: what it cosigned last, as far as we know; at the start what was recovered.
    size: int
    # The largest size that we ever showed it.
    limit: int
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms checkpoints are published.

    `exchanges` reach the witnesses by name, by the policy's URLs when they are None. `timeout` is how many seconds a
    round waits for a quorum, `grace` how many more a reached quorum waits for the others.
    """

    policy: Policy
    keys: LogKeys
    asked: AskedFile
    exchanges: Mapping[str, Exchange] | None = None
    timeout: float = TIMEOUT
    grace: float = GRACE
    clock: Callable[[], float] = time.time


class Publisher:
    """Publish the checkpoints of one log."""

    def __init__(
        self, log: PublishedLog, terms: Terms, *, on_alarm: Callable[[Tampered], None] = lambda _: None
    ) -> None:
        """Take a log that was just opened and checked with `check_start`.

        `on_alarm` is called once, from a thread, with the evidence that witnesses know another history: the log's owner
        stops appending.

        Raises `Invalid` (`publish-policy`) when the quorum cannot be asked: a witness has no URL, or the cosignatures
        do not fit into a note.
        """
        self._log = log
        self._policy = terms.policy
        self._terms = terms
        self._on_alarm = on_alarm
        self._exchanges = _exchanges(terms) if terms.exchanges is None else dict(terms.exchanges)
        needed = self._policy.needed(self._exchanges)
        if len(needed) >= MAX_SIGNATURES or not self._policy.reached(self._exchanges):
            message = f"the quorum needs witnesses that have no URL, or more than the {MAX_SIGNATURES} lines of a note"
            raise Invalid("publish-policy", message)
        recovered = log.head.size
        self._lock = threading.Lock()
        self._standings = {name: _Standing(recovered, recovered) for name in self._exchanges}
        self._alarm: Tampered | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: Round | None = None

    @property
    def alarm(self) -> Tampered | None:
        """Return the evidence that witnesses know another history, None while there is none."""
        with self._lock:
            return self._alarm

    @property
    def last(self) -> Round | None:
        """Return what the newest round gave."""
        with self._lock:
            return self._last

    def publish(self) -> Round:
        """Ask all witnesses about the newest checkpoint, and publish it if a quorum cosigns it in time.

        Without growth, and with a quorum that is not old yet, nobody is asked. Raises `Tampered` when a witness knows
        another history, now or earlier; nothing is published then.
        """
        self._raise_alarm()
        head = self._log.head
        if self._is_current(head.size):
            return self._finished(Round(head.size, published=False))
        open_checkpoint(head.note, self._terms.keys)
        self._terms.asked.record(head.size, head.root)
        answers: queue.SimpleQueue[tuple[str, Cosignature | AuditError]] = queue.SimpleQueue()
        failed: dict[str, str] = {}
        waiting: set[str] = set()
        for witness in self._policy.witnesses:
            if witness.name not in self._exchanges:
                continue
            if self._begin(witness.name):
                waiting.add(witness.name)
                name = f"witness {witness.name}"
                threading.Thread(target=self._ask, args=(witness, head, answers), name=name, daemon=True).start()
            else:
                failed[witness.name] = "it has not answered the last request yet"
        cosigned = self._collect(answers, waiting, failed)
        self._raise_alarm()
        failed |= dict.fromkeys(waiting, "it has not answered in time")
        note = self._assemble(head.note, cosigned)
        reached = self._policy.judge(note, now=self._now()).reached
        if reached:
            self._log.publish(note)
        times = {name: cosignature.time for name, cosignature in cosigned.items()}
        return self._finished(Round(head.size, reached, times, failed))

    def start(self, interval: float = INTERVAL) -> None:
        """Publish every `interval` seconds in a thread, until `close` or an alarm."""
        self._thread = threading.Thread(target=self._run, args=(interval,), name="publisher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; a round that is under way ends first."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, interval: float) -> None:
        while not self._stopping.is_set():
            try:
                self.publish()
            except Tampered as error:
                self._set_alarm(error)
                return
            except AuditError as error:
                self._finished(Round(-1, published=False, failed={"": error.message}))
            self._stopping.wait(interval)

    def _is_current(self, size: int) -> bool:
        published = self._log.published()
        if published is None or published[0] != size:
            return False
        return self._policy.judge(published[1], now=self._now()).is_fresh(self._now(), REFRESH)

    def _begin(self, name: str) -> bool:
        """Take the one place that a witness has for requests; say whether it was free."""
        with self._lock:
            free = not self._standings[name].busy
            self._standings[name].busy = True
        return free

    def _ask(
        self, witness: PolicyWitness, head: SignedHead, answers: queue.SimpleQueue[tuple[str, Cosignature | AuditError]]
    ) -> None:
        standing = self._standings[witness.name]
        answer: Cosignature | AuditError = Refused("witness-asked", "it could not be asked")
        try:
            answer = ask(
                Asked(head.note, head.size, standing.size, standing.limit),
                lambda old_size: consistency_proof(old_size, head.size, subtree_reader(self._log.tile)),
                key=witness.key,
                exchange=self._exchanges[witness.name],
                now=self._now,
            )
            with self._lock:
                standing.size = head.size
        except AuditError as error:
            answer = error
            if isinstance(error, Tampered):
                self._set_alarm(error)
        finally:
            with self._lock:
                standing.limit = max(standing.limit, head.size)
                standing.busy = False
            answers.put((witness.name, answer))

    def _collect(
        self,
        answers: queue.SimpleQueue[tuple[str, Cosignature | AuditError]],
        waiting: set[str],
        failed: dict[str, str],
    ) -> dict[str, Cosignature]:
        """Take answers out of `waiting` until all came, the time is over, or a quorum has waited its grace."""
        cosigned: dict[str, Cosignature] = {}
        until = time.monotonic() + self._terms.timeout
        reached = False
        while waiting:
            if not reached and self._policy.reached(cosigned):
                reached, until = True, min(until, time.monotonic() + self._terms.grace)
            try:
                name, answer = answers.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                break
            waiting.discard(name)
            if isinstance(answer, Cosignature):
                cosigned[name] = answer
            else:
                failed[name] = answer.message
        return cosigned

    def _assemble(self, note: bytes, cosigned: Mapping[str, Cosignature]) -> bytes:
        """Return our signed note with as many cosignatures as it may carry, those of the quorum first."""
        own = Note.parse(own_signatures(note))
        order = [*self._policy.needed(cosigned), *cosigned]
        lines = [cosigned[name].signature for name in dict.fromkeys(order)]
        return join_note(own.unverified_text, [*own.signatures, *lines][:MAX_SIGNATURES])

    def _now(self) -> int:
        return int(self._terms.clock())

    def _raise_alarm(self) -> None:
        if (alarm := self.alarm) is not None:
            raise alarm

    def _set_alarm(self, alarm: Tampered) -> None:
        with self._lock:
            first = self._alarm is None
            self._alarm = self._alarm or alarm
        if first:
            self._on_alarm(alarm)

    def _finished(self, result: Round) -> Round:
        with self._lock:
            self._last = result
        return result


def _exchanges(terms: Terms) -> dict[str, Exchange]:
    return {item.name: HttpExchange(item.url, timeout=terms.timeout) for item in terms.policy.witnesses if item.url}
