from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from integrator_audit import Invalid, LedgerReader, LedgerWriter, Signer, Tampered, Unavailable
from integrator_audit.checkpoint import open_checkpoint
from integrator_audit.note import Note
from integrator_audit.sources import DirectorySource
from integrator_audit.verify import Demand, verify_log
from integrator_audit.witnessing.addcheckpoint import AddCheckpoint, Answer
from integrator_audit.witnessing.asked import AskedFile
from integrator_audit.witnessing.cosignature import Cosignature, Cosigner
from integrator_audit.witnessing.policy import Policy
from integrator_audit.witnessing.quorum import REFRESH, Publisher, Terms
from tests.unit.audit.audit_samples import Place, entry
from tests.unit.audit.witness_samples import LOG, NOW, SampleExchange, SampleLog, policy, witnesses

Exchanges = dict[str, SampleExchange]


@pytest.fixture
def exchanges(tmp_path: Path) -> Exchanges:
    return witnesses(tmp_path)


@pytest.fixture
def log() -> SampleLog:
    return SampleLog()


@pytest.fixture
def asked(tmp_path: Path) -> AskedFile:
    return AskedFile(tmp_path / "asked", LOG.name)


def publisher(
    log: SampleLog,
    exchanges: Exchanges,
    asked: AskedFile,
    *,
    timeout: float = 60,
    grace: float = 60,
    now: int = NOW,
    **more: object,
) -> Publisher:
    """Return a publisher that waits for everybody, however slow the machine is, unless the test says otherwise."""
    trusted = more.pop("policy", policy())
    assert isinstance(trusted, Policy)
    terms = Terms(trusted, LOG.verifier, asked, exchanges, timeout=timeout, grace=grace, clock=lambda: now)
    return Publisher(log, terms)


def test_a_checkpoint_is_published_when_the_quorum_has_cosigned_it(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile
) -> None:
    head = log.grow(5)
    publishing = publisher(log, exchanges, asked)
    done = publishing.publish()
    assert (done.size, done.published, done.failed) == (5, True, {})
    assert set(done.cosigned) == {"w0", "w1", "w2"}
    published = log.published()
    assert published is not None
    witnessed = policy().open(published[1], now=NOW)
    assert (witnessed.checkpoint.size, len(witnessed.quorum.cosigned)) == (5, 3)
    assert published[1].startswith(head.note)
    log.grow(1000)
    assert publishing.publish().published
    log.grow(1)
    assert publishing.publish().published
    assert [AddCheckpoint.parse(body).old_size for body in exchanges["w1"].bodies] == [5, 0, 5, 1005]


def test_without_a_quorum_nothing_is_published_and_the_next_round_tries_again(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile
) -> None:
    log.grow(5)
    publishing = publisher(log, exchanges, asked)
    exchanges["w0"].dead = exchanges["w2"].dead = True
    done = publishing.publish()
    assert (done.published, set(done.cosigned), set(done.failed)) == (False, {"w1"}, {"w0", "w2"})
    assert log.published() is None
    exchanges["w2"].dead = False
    log.grow(5)
    assert publishing.publish().published
    assert publishing.last is not None
    assert set(publishing.last.cosigned) == {"w1", "w2"}


def test_a_slow_witness_delays_a_quorum_by_the_grace_only_and_is_not_asked_twice(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile
) -> None:
    log.grow(5)
    publishing = publisher(log, exchanges, asked, grace=0.2)
    exchanges["w0"].holding.clear()
    begun = time.monotonic()
    done = publishing.publish()
    assert time.monotonic() - begun < 30
    assert done.published
    assert done.failed == {"w0": "it has not answered in time"}
    log.grow(5)
    assert publishing.publish().failed == {"w0": "it has not answered the last request yet"}
    assert len(exchanges["w0"].bodies) == 1
    exchanges["w0"].holding.set()
    log.grow(5)
    for _ in range(200):
        if (done := publishing.publish()).published and not done.failed:
            break
        log.grow(1)
        time.sleep(0.01)
    assert set(done.cosigned) == {"w0", "w1", "w2"}


def test_a_dead_quorum_ends_after_the_timeout(log: SampleLog, exchanges: Exchanges, asked: AskedFile) -> None:
    log.grow(5)
    for exchange in exchanges.values():
        exchange.holding.clear()
    begun = time.monotonic()
    done = publisher(log, exchanges, asked, timeout=0.3).publish()
    assert 0.25 < time.monotonic() - begun < 30
    assert (done.published, len(done.failed)) == (False, 3)
    for exchange in exchanges.values():
        exchange.holding.set()


def test_a_grace_that_is_longer_than_the_timeout_does_not_make_a_round_longer(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile
) -> None:
    log.grow(5)
    exchanges["w0"].holding.clear()
    begun = time.monotonic()
    terms = Terms(policy(), LOG.verifier, asked, exchanges, timeout=3, grace=60, clock=lambda: NOW)
    assert Publisher(log, terms).publish().published
    assert time.monotonic() - begun < 30
    exchanges["w0"].holding.set()


def test_a_log_that_does_not_grow_is_cosigned_again_only_when_the_quorum_gets_old(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile
) -> None:
    log.grow(5)
    assert publisher(log, exchanges, asked).publish().published
    assert not publisher(log, exchanges, asked, now=NOW + REFRESH).publish().published
    assert len(exchanges["w0"].bodies) == 2
    assert publisher(log, exchanges, asked, now=NOW + REFRESH + 1).publish().published
    assert AddCheckpoint.parse(exchanges["w0"].bodies[-1]).old_size == 5


def test_a_policy_that_asks_for_nobody_publishes_at_once(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile
) -> None:
    head = log.grow(5)
    nobody = Policy.parse(b"quorum none\n")
    assert publisher(log, {}, asked, policy=nobody).publish().published
    assert log.published() == (5, head.note)


def test_an_alarm_of_one_witness_stops_publishing_for_good(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile
) -> None:
    log.grow(5)
    backup = log.fork(b"other ")
    log.grow(3)
    knowing = {name: exchanges[name] for name in ("w1", "w2")}
    assert publisher(log, knowing, asked, policy=policy("all w1 w2")).publish().published
    backup.grow(10)
    alarms: list[Tampered] = []
    other = AskedFile(Path(asked._path).with_name("lost"), LOG.name)
    terms = Terms(policy(), LOG.verifier, other, exchanges, timeout=60, clock=lambda: NOW)
    publishing = Publisher(backup, terms, on_alarm=alarms.append)
    with pytest.raises(Tampered) as caught:
        publishing.publish()
    assert caught.value.code == "witness-fork"
    assert backup.published() is None
    count = len(exchanges["w0"].bodies)
    backup.grow(1)
    with pytest.raises(Tampered):
        publishing.publish()
    assert len(exchanges["w0"].bodies) == count, "nobody is asked any more"
    time.sleep(0.05)
    assert alarms == [publishing.alarm], "it is called once, however many witnesses know another history"


def test_a_witness_that_knows_one_entry_more_than_was_recovered_is_the_alarm(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile, tmp_path: Path
) -> None:
    log.grow(5)
    backup = log.fork(b"")
    log.grow(1)
    assert publisher(log, exchanges, asked).publish().published
    # It would come to the very same entries: but it signs them anew, and what was entered since may be lost.
    publishing = publisher(backup, exchanges, AskedFile(tmp_path / "lost", LOG.name))
    backup.grow(10)
    with pytest.raises(Tampered) as caught:
        publishing.publish()
    assert caught.value.code == "witness-ahead"


def test_a_witness_that_knows_one_entry_more_than_it_was_last_asked_about_is_the_alarm(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile, tmp_path: Path
) -> None:
    log.grow(5)
    publishing = publisher(log, exchanges, asked)
    log.grow(2)
    assert publishing.publish().published
    elsewhere = log.fork(b"")
    elsewhere.grow(1)
    assert publisher(elsewhere, exchanges, AskedFile(tmp_path / "elsewhere", LOG.name)).publish().published
    log.grow(10)
    with pytest.raises(Tampered) as caught:
        publishing.publish()
    assert caught.value.code == "witness-ahead"


def test_a_checkpoint_that_the_logs_key_did_not_sign_goes_to_nobody_and_ends_the_thread(
    exchanges: Exchanges, asked: AskedFile
) -> None:
    forged = SampleLog(Signer(LOG.name, bytes(32)))
    forged.grow(1)
    alarms: list[Tampered] = []
    terms = Terms(policy(), LOG.verifier, asked, exchanges, timeout=60, clock=lambda: NOW)
    publishing = Publisher(forged, terms, on_alarm=alarms.append)
    others = set(threading.enumerate())
    publishing.start(0.01)
    for _ in range(500):
        if not set(threading.enumerate()) - others:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the thread goes on after an alarm")
    assert [alarm.code for alarm in alarms] == ["note-signature"]
    assert publishing.alarm is alarms[0]
    assert asked.last is None
    assert all(exchange.bodies == [] for exchange in exchanges.values())


def test_an_answer_that_was_lost_is_no_alarm(log: SampleLog, exchanges: Exchanges, asked: AskedFile) -> None:
    def lost(answer: Answer) -> Answer:
        if answer.status == 200:
            raise Unavailable("witness-unreachable", "the connection broke")
        return answer

    log.grow(5)
    publishing = publisher(log, exchanges, asked)
    log.grow(5)
    for exchange in exchanges.values():
        exchange.change = lost
    assert not publishing.publish().published
    # The witnesses have cosigned more than was recovered, and more than we know of: but no more than we asked.
    for exchange in exchanges.values():
        exchange.change = lambda answer: answer
    log.grow(5)
    assert publishing.publish().published


def test_it_is_written_down_before_anybody_is_asked(log: SampleLog, exchanges: Exchanges, tmp_path: Path) -> None:
    head = log.grow(5)
    path = tmp_path / "asked"
    asked = AskedFile(path, LOG.name)
    seen: list[tuple[int, bytes] | None] = []
    for exchange in exchanges.values():
        exchange.change = lambda answer: (seen.append(AskedFile(path, LOG.name).last), answer)[1]
    publisher(log, exchanges, asked).publish()
    assert set(seen) == {(5, head.root)}


def test_a_quorum_that_cannot_be_asked_is_refused_at_the_start(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile
) -> None:
    del exchanges["w0"]
    with pytest.raises(Invalid):
        publisher(log, exchanges, asked, policy=policy("all w0 w1 w2"))
    with pytest.raises(Invalid):
        Publisher(log, Terms(policy(), LOG.verifier, asked))


def all_of(count: int) -> Policy:
    """Return a policy whose quorum is each of so many witnesses."""
    many = [Cosigner(f"m{number}", bytes([number + 9]) * 32) for number in range(count)]
    lines = [f"witness {cosigner.name} {cosigner.key.vkey} https://{cosigner.name}.example" for cosigner in many]
    group = " ".join(["group all all", *(cosigner.name for cosigner in many)])
    return Policy.parse("\n".join([*lines, group, "quorum all", ""]).encode())


def test_a_quorum_has_room_for_as_many_as_a_note_has_lines_beside_the_logs_own(
    log: SampleLog, asked: AskedFile
) -> None:
    Publisher(log, Terms(all_of(15), LOG.verifier, asked))
    with pytest.raises(Invalid) as caught:
        Publisher(log, Terms(all_of(16), LOG.verifier, asked))
    assert caught.value.code == "publish-policy"


def test_more_cosignatures_than_a_note_carries_keep_those_of_the_quorum(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile
) -> None:
    head = log.grow(1)
    text = Note.parse(head.note).unverified_text
    many = [Cosigner(f"m{number}", bytes([number + 9]) * 32) for number in range(20)]
    lines = [f"witness m{n} {cosigner.key.vkey}" for n, cosigner in enumerate(many)]
    quorum = "group g all " + " ".join(f"m{n}" for n in range(10, 20))
    reached: dict[str, Cosignature] = {
        f"m{n}": Cosignature(it.key, NOW, it.cosign(text, NOW)) for n, it in enumerate(many)
    }
    chosen = Policy.parse("\n".join([*lines, quorum, "quorum g", ""]).encode())
    answers = {name: (lambda body, line=item.signature.line: Answer(200, "", line)) for name, item in reached.items()}
    terms = Terms(chosen, LOG.verifier, asked, answers, timeout=60, grace=60, clock=lambda: NOW)
    assert Publisher(log, terms).publish().published
    published = log.published()
    assert published is not None
    assert len(Note.parse(published[1]).signatures) == 16


def test_the_thread_publishes_at_its_pace_and_stops(log: SampleLog, exchanges: Exchanges, asked: AskedFile) -> None:
    log.grow(1)
    publishing = publisher(log, exchanges, asked)
    publishing.start(0.05)
    for size in (1, 2, 3):
        for _ in range(500):
            if (log.published() or (0, b""))[0] == size:
                break
            time.sleep(0.01)
        assert (log.published() or (0, b""))[0] == size
        log.grow(1)
    publishing.close()
    count = len(exchanges["w0"].bodies)
    time.sleep(0.15)
    assert len(exchanges["w0"].bodies) == count


def test_a_list_that_cannot_be_written_asks_nobody(
    log: SampleLog, exchanges: Exchanges, asked: AskedFile, tmp_path: Path
) -> None:
    log.grow(1)
    publishing = publisher(log, exchanges, asked)
    (tmp_path / "asked").unlink()
    (tmp_path / "asked").mkdir()
    with pytest.raises(Unavailable):
        publishing.publish()
    assert all(exchange.bodies == [] for exchange in exchanges.values())


def test_a_ledger_is_published_and_only_what_is_published_is_shown(
    place: Place, exchanges: Exchanges, asked: AskedFile, tmp_path: Path
) -> None:
    ledger = LedgerWriter.open(place.ledger_file, origin=LOG.name, signer=LOG, vault=place.vault())
    ledger.append([entry(number) for number in range(300)])
    reader = LedgerReader.open(place.ledger_file, vault=place.vault())
    assert reader.resource("checkpoint", published=True) is None
    assert reader.resource("tile/0/000", published=True) is None
    reader.export(tmp_path / "site", published=True)
    assert not (tmp_path / "site").exists()

    publishing = Publisher(ledger, Terms(policy(), LOG.verifier, asked, exchanges, timeout=60, clock=lambda: NOW))
    assert publishing.publish().published
    ledger.append([entry(number) for number in range(300, 600)])
    shown = reader.resource("checkpoint", published=True)
    assert shown is not None
    assert policy().open(shown.content, now=NOW).checkpoint.size == 300
    newest = reader.resource("checkpoint")
    assert newest is not None
    assert open_checkpoint(newest.content, LOG.verifier).size == 600
    for path, is_shown in (("tile/0/000", True), ("tile/0/001.p/44", True), ("tile/0/001.p/45", False)):
        assert (reader.resource(path, published=True) is not None) == is_shown
        assert reader.resource(path) is not None

    reader.export(tmp_path / "site", published=True)
    demand = Demand(policy(), NOW)
    result = verify_log(DirectorySource(tmp_path / "site"), LOG.verifier, demand=demand)
    assert (result.verdict, result.checkpoint.size) == ("verified", 300)
    assert publishing.publish().published
    reader.export(tmp_path / "site", published=True)
    result = verify_log(DirectorySource(tmp_path / "site"), LOG.verifier, demand=demand)
    assert (result.verdict, result.checkpoint.size) == ("verified", 600)
    ledger.close()
