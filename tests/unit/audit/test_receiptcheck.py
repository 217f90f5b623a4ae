from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from integrator_audit import Entry, Refused, Signer, Tampered, part
from integrator_audit.checkpoint import Checkpoint, read_unverified
from integrator_audit.cli.main import app
from integrator_audit.merkle import RightEdge, inclusion_proof, leaf_hash
from integrator_audit.note import Note, join_note
from integrator_audit.openingfile import opening_json, opening_proof
from integrator_audit.parts import commitment, leaf_entry, part_hash
from integrator_audit.receipt import Receipt
from integrator_audit.receiptcheck import Received, check_receipt
from integrator_audit.witnessing.cosignature import Cosigner
from integrator_audit.witnessing.keys import KeyPolicy, KeyRange, KeyRoot, sign_offline
from integrator_audit.witnessing.policy import Policy
from tests.unit.audit.audit_samples import ORIGIN, PEOPLE

NOW = 1_795_000_000
VALUE = b"\0\0\0\0\1 the delivered value"
SIGNER = Signer(ORIGIN, bytes(range(32)))
WITNESSES = {name: Cosigner(f"witness.example/{name}", bytes([number]) * 32) for number, name in enumerate("WXYZ", 1)}
POLICY = "".join(
    (
        f"log {SIGNER.vkey}\n",
        *(f"witness {name} {WITNESSES[name].key.vkey}\n" for name in "WXY"),
        "group two 2 W X Y\nquorum two\n",
    )
).encode()


def delivery(number: int) -> dict[str, object]:
    members = {"topic": "agency.svb", "partition": 3, "lane": 1, "sequence": number}
    return members | {"valueSha256": sha256(VALUE if number == 2 else b"another").hexdigest()}


def opening(number: int, letters: str, *, cosigned: Sequence[tuple[str, int]] = ()) -> dict[str, object]:
    """Open entry `number` of a log of three whose checkpoint these witnesses cosigned at these times."""
    entries = [
        Entry(0x01, part("a/v1", {}), part("d/v1", delivery(at)), part("s/v1", {}), b"", PEOPLE[0]) for at in range(3)
    ]
    hashes = [[part_hash(letter, bytes(32), data) for letter, data in parts(entry)] for entry in entries]
    leaves = [leaf_hash(leaf_entry(1, commitment(ORIGIN, 1, b"".join(item)))) for item in hashes]
    edge = RightEdge()
    edge.extend(leaves)

    def subtree(height: int, at: int) -> bytes:
        below = RightEdge()
        below.extend(leaves[at << height : (at + 1) << height])
        return below.root()

    text = Checkpoint(ORIGIN, 3, edge.root()).text
    signatures = [SIGNER.signature(text), *(WITNESSES[name].cosign(text, time) for name, time in cosigned)]
    proof = Receipt(number, tuple(inclusion_proof(number, 3, subtree)), join_note(text, signatures)).text
    shown: dict[str, object] = {"origin": ORIGIN, "index": number, "type": 1}
    for (letter, data), hashed in zip(parts(entries[number]), hashes[number], strict=True):
        opened = {"salt": text_of(bytes(32)), "bytes": text_of(data)}
        shown |= {letter: opened} if letter in letters else {f"h{letter}": text_of(hashed)}
    return shown | {"proof": text_of(proof)}


def parts(entry: Entry) -> list[tuple[str, bytes]]:
    return list(zip("ADSP", (entry.a, entry.d, entry.s, entry.p), strict=True))


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


QUORUM = (("W", NOW - 5), ("Y", NOW - 9))


def refused(file: bytes, *, received: Received | None = None, policy: bytes = POLICY) -> str:
    with pytest.raises((Tampered, Refused)) as caught:
        check_receipt(file, SIGNER.verifier, policy=Policy.parse(policy), received=received, now=NOW)
    return caught.value.code


@pytest.mark.parametrize("write", [opening_json, opening_proof])
def test_a_receipt_counts_with_a_quorum_and_the_value_received(write: Callable[[dict[str, object]], bytes]) -> None:
    file = write(opening(2, "AD", cosigned=QUORUM))
    received = Received(sha256(VALUE).hexdigest(), topic="agency.svb", partition=3, lane=1, sequence=2)
    checked = check_receipt(file, SIGNER.verifier, policy=Policy.parse(POLICY), received=received, now=NOW)
    assert checked.is_witnessed
    assert checked.compared
    assert checked.quorum is not None
    assert sorted(checked.quorum.cosigned) == ["W", "Y"]
    assert checked.quorum.as_of == NOW - 9
    assert (checked.audience, checked.is_a_recipients, checked.opening.index) == ("recipient", True, 2)


def test_a_receipt_may_be_years_old() -> None:
    file = opening_json(opening(2, "AD", cosigned=[("W", 1_000_000_000), ("X", 1_000_000_001)]))
    assert check_receipt(file, SIGNER.verifier, policy=Policy.parse(POLICY), now=NOW).is_witnessed


@pytest.mark.parametrize(
    "cosigned",
    [
        (),
        (("W", NOW),),
        (("W", NOW), ("Z", NOW)),
        (("W", NOW), ("W", NOW - 1)),
        (("W", NOW), ("X", NOW + 301)),
    ],
)
def test_too_few_cosignatures_are_no_receipt(cosigned: Sequence[tuple[str, int]]) -> None:
    assert refused(opening_json(opening(2, "AD", cosigned=cosigned))) == "receipt-quorum"


def test_a_cosignature_of_another_checkpoint_condemns_the_receipt() -> None:
    changed = opening(2, "AD", cosigned=QUORUM)
    receipt = Receipt.parse(base64.b64decode(str(changed["proof"])))
    note = Note.parse(receipt.checkpoint)
    other = Checkpoint(ORIGIN, 3, sha256(b"another root").digest()).text
    wrong = WITNESSES["X"].cosign(other, NOW)
    checkpoint = join_note(note.unverified_text, [*note.signatures, wrong])
    changed["proof"] = text_of(Receipt(receipt.index, receipt.hashes, checkpoint).text)
    assert refused(opening_json(changed)) == "receipt-cosignature"


def test_a_policy_for_other_logs_does_not_vouch_for_this_one() -> None:
    policy = POLICY.replace(SIGNER.vkey.encode(), Signer.generate("other.example/log").vkey.encode())
    assert refused(opening_json(opening(2, "AD", cosigned=QUORUM)), policy=policy) == "receipt-log"


@pytest.mark.parametrize(
    ("received", "code"),
    [
        (Received(sha256(b"another").hexdigest()), "receipt-value"),
        (Received(topic="agency.uwv"), "receipt-position"),
        (Received(partition=4), "receipt-position"),
        (Received(lane=0), "receipt-position"),
        (Received(sequence=1), "receipt-position"),
    ],
)
def test_the_receipt_of_one_delivery_does_not_pass_for_another(received: Received, code: str) -> None:
    assert refused(opening_json(opening(2, "AD", cosigned=QUORUM)), received=received) == code


def test_true_is_not_the_lane_1(monkeypatch: pytest.MonkeyPatch) -> None:
    said = delivery(2) | {"lane": True}
    monkeypatch.setitem(globals(), "delivery", lambda _: said)
    file = opening_json(opening(2, "AD", cosigned=QUORUM))
    assert refused(file, received=Received(lane=1)) == "receipt-position"


def test_an_opening_without_part_d_is_no_receipt_for_a_delivery() -> None:
    file = opening_json(opening(2, "AS", cosigned=QUORUM))
    assert refused(file, received=Received(sha256(VALUE).hexdigest())) == "receipt-position"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Run `verify-receipt` on the receipt of delivery 2, with its files in place."""
    (tmp_path / "log.vkey").write_text(SIGNER.vkey + "\n")
    (tmp_path / "policy").write_bytes(POLICY)
    (tmp_path / "value").write_bytes(VALUE)
    (tmp_path / "recipient").write_bytes(opening_proof(opening(2, "AD", cosigned=[("W", 1_700_000_000), ("X", 1)])))
    (tmp_path / "lonely").write_bytes(opening_json(opening(2, "AD")))
    (tmp_path / "citizen").write_bytes(opening_json(opening(2, "AS", cosigned=[("W", 1_700_000_000), ("X", 1)])))
    (tmp_path / "toomuch").write_bytes(opening_json(opening(2, "ADS", cosigned=[("W", 1), ("X", 1)])))
    (tmp_path / "twice").write_bytes(opening_json(opening(2, "AD")).replace(b'"index":2', b'"index":1,"index":2'))

    def start(file: str, *arguments: str, vkey: str | None = "@log.vkey") -> Result:
        options = [*arguments, *(() if vkey is None else ("--vkey", vkey)), "--state", "@state"]
        given = [f"{tmp_path}/{item[1:]}" if item.startswith("@") else item for item in options]
        return CliRunner().invoke(app, ["verify-receipt", str(tmp_path / file), *given])

    return start


DIGEST = sha256(VALUE).hexdigest()


@pytest.mark.parametrize(
    ("file", "arguments", "code", "said"),
    [
        ("recipient", ("--policy", "@policy", "--value", "@value"), 0, "A quorum of witnesses cosigned it: W, X."),
        ("recipient", ("--policy", "@policy", "--value-sha256", DIGEST.upper()), 0, "the value that was received"),
        ("recipient", ("--policy", "@policy", "--without-value", "--sequence", "2"), 0, "what a recipient may know"),
        ("recipient", ("--policy", "@policy"), 2, "receipt-not-compared"),
        ("recipient", ("--value", "@value"), 2, "the log could show others a different history"),
        ("lonely", ("--value", "@value", "--without-witnesses"), 0, "could show others a different history"),
        ("lonely", ("--value", "@value", "--policy", "@policy"), 1, "receipt-quorum"),
        ("lonely", ("--value", "@value", "--policy", "@policy", "--without-witnesses"), 1, "receipt-quorum"),
        ("recipient", ("--policy", "@policy", "--value", "@policy"), 1, "receipt-value"),
        ("recipient", ("--policy", "@policy", "--value", "@value", "--sequence", "3"), 1, "receipt-position"),
        ("citizen", ("--policy", "@policy"), 0, "what a citizen may know"),
        ("citizen", ("--policy", "@policy", "--audience", "citizen"), 0, "what a citizen may know"),
        ("citizen", ("--policy", "@policy", "--audience", "recipient"), 2, "opening-audience"),
        ("toomuch", ("--policy", "@policy", "--audience", "recipient"), 2, "opening-audience"),
        ("citizen", ("--policy", "@policy", "--audience", "public"), 2, "audience"),
        ("twice", ("--without-witnesses", "--without-value"), 1, "opening-malformed"),
        ("policy", ("--without-witnesses",), 1, "opening-malformed"),
        ("missing", ("--without-witnesses",), 2, "file-unreadable"),
        ("citizen", ("--policy", "@missing"), 2, "file-unreadable"),
        ("citizen", ("--policy", "@value"), 2, "policy"),
        ("recipient", ("--value", "@missing"), 2, "file-unreadable"),
        ("recipient", ("--value-sha256", "abc"), 2, "value-options"),
        ("recipient", ("--value", "@value", "--value-sha256", DIGEST), 2, "value-options"),
    ],
)
def test_verify_receipt_says_what_holds_and_what_it_was_not_asked(
    run: Callable[..., Result], file: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = run(file, *arguments)
    assert said in result.output
    assert result.exit_code == code
    document = json.loads(run(file, *arguments, "--json").stdout)
    assert document["result"] == {0: "verified", 1: "failed", 2: "unknown"}[code]
    assert ("code" in document) == (code != 0)


def test_a_policy_that_asks_for_no_witness_is_obeyed_and_said(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "none").write_text("quorum none\n")
    result = run("citizen", "--policy", "@none")
    assert result.exit_code == 0
    assert "could show others a different history" in result.stdout


def test_verify_receipt_answers_programs_with_what_is_proved(run: Callable[..., Result]) -> None:
    document = json.loads(run("recipient", "--policy", "@policy", "--value", "@value", "--json").stdout)
    assert (document["index"], document["size"], document["audience"]) == (2, 3, "recipient")
    assert document["parts"]["D"]["sequence"] == 2
    assert (document["witnessed"], document["cosigned"], document["asOf"]) == (True, ["W", "X"], 1)
    checkpoint = read_unverified(Receipt.parse(opening_proof(opening(2, "AD"))).checkpoint)
    assert checkpoint.origin == document["origin"]


def test_a_policy_that_lists_the_log_needs_no_key_beside_it(run: Callable[..., Result], tmp_path: Path) -> None:
    other = Signer.generate("other.example/log").vkey
    (tmp_path / "many").write_bytes(f"log {other}\n".encode() + POLICY)
    (tmp_path / "others").write_bytes(POLICY.replace(SIGNER.vkey.encode(), other.encode()))
    assert run("citizen", "--policy", "@many", vkey=None).exit_code == 0
    result = run("citizen", "--policy", "@others", vkey=None)
    assert (result.exit_code, "receipt-log" in result.output) == (2, True)
    assert run("citizen", "--without-witnesses", vkey=None).exit_code == 2


@pytest.mark.parametrize(
    ("closed", "arguments", "code", "said"),
    [
        (None, ("--policy", "@policy"), 0, "A quorum of witnesses cosigned it"),
        (None, ("--without-witnesses",), 0, "could show others"),
        (3, ("--policy", "@policy"), 0, "A quorum of witnesses cosigned it"),
        (3, ("--without-witnesses",), 2, "closed-needs-policy"),
        (2, ("--policy", "@policy"), 1, "opening-checkpoint"),
    ],
)
def test_a_key_policy_says_which_key_signs_and_where_the_log_ends(
    run: Callable[..., Result], tmp_path: Path, *, closed: int | None, arguments: tuple[str, ...], code: int, said: str
) -> None:
    offline = [Signer.generate(f"offline.example/{number}") for number in range(3)]
    keys = KeyPolicy(ORIGIN, 1, (KeyRange(SIGNER.verifier, 0, None),), closed)
    (tmp_path / "keys").write_bytes(sign_offline(keys.text, offline[:2]))
    (tmp_path / "root").write_bytes(KeyRoot(2, tuple(signer.verifier for signer in offline)).text)
    result = run("citizen", "--keys", "@keys", "--keys-root", "@root", *arguments, vkey=None)
    assert said in result.output
    assert result.exit_code == code
