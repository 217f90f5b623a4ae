from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from integrator_audit import Invalid, Refused, Signer, Tampered
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.note import Note, join_note
from integrator_audit.witnessing.cosignature import MLDSA44_COSIGNATURE, Cosigner, CosignerKey
from integrator_audit.witnessing.policy import MAX_AGE, MAX_POLICY, Policy
from tests.unit.audit.witness_samples import mldsa_note

LOG = Signer("example.com/log", bytes(32))
OTHER_LOG = Signer("example.com/other", bytes([1]) * 32)
WITNESSES = {name: Cosigner(f"{name.lower()}.example", bytes([number]) * 32) for number, name in enumerate("VWXYZ")}
NOW = 1_800_000_000
CHECKPOINT = Checkpoint(LOG.name, 7, bytes(range(32)))

LINES = [f"witness {name} {cosigner.key.vkey}" for name, cosigner in WITNESSES.items()]
TWO_LEVELS = "\n".join(
    [
        "# The supervisor and one of the universities, or all three newspapers.",
        f"log {LOG.vkey} https://example.com/log",
        "",
        *LINES,
        "\t group  pair 2\tV W",
        "group trio all X Y Z",
        "  # either",
        "group either any pair trio",
        "quorum either",
        "",
    ]
).encode()


def policy(*lines: str) -> Policy:
    return Policy.parse(("\n".join(lines) + "\n").encode())


def cosigned(**times: int) -> bytes:
    text = CHECKPOINT.text
    return join_note(text, [LOG.signature(text), *(WITNESSES[name].cosign(text, at) for name, at in times.items())])


def test_a_policy_is_read() -> None:
    read = Policy.parse(TWO_LEVELS)
    assert [(log.key, log.url) for log in read.logs] == [(LOG.verifier, "https://example.com/log")]
    assert [(witness.name, witness.key, witness.url) for witness in read.witnesses] == [
        (name, cosigner.key, "") for name, cosigner in WITNESSES.items()
    ]
    assert [(group.name, group.threshold, group.members) for group in read.groups] == [
        ("pair", 2, ("V", "W")),
        ("trio", 3, ("X", "Y", "Z")),
        ("either", 1, ("pair", "trio")),
    ]
    assert read.quorum == "either"


def test_every_set_of_witnesses_is_a_quorum_exactly_when_the_groups_say_so() -> None:
    read = Policy.parse(TWO_LEVELS)
    for count in range(len(WITNESSES) + 1):
        for names in itertools.combinations(WITNESSES, count):
            expected = {"V", "W"} <= set(names) or {"X", "Y", "Z"} <= set(names)
            assert read.reached(names) == expected
            needed = read.needed(names)
            assert read.reached(needed) == expected == bool(needed)
            assert set(needed) <= set(names)
            assert not any(read.reached([*needed[:at], *needed[at + 1 :]]) for at in range(len(needed)))


def test_a_quorum_may_be_one_witness_or_nobody() -> None:
    one = policy(*LINES, "quorum X")
    assert one.reached(["X"])
    assert not one.reached(["V", "W", "Y", "Z"])
    nobody = policy("quorum none")
    assert nobody.reached([])
    assert nobody.judge(cosigned(), now=NOW).is_fresh(NOW)
    assert nobody.needed(["V"]) == []
    # Whom a policy does not ask, it does not find old.
    unasked = policy(*LINES, "quorum none").judge(cosigned(V=NOW - MAX_AGE - 1), now=NOW)
    assert (unasked.as_of, unasked.is_fresh(NOW)) == (None, True)


def test_of_several_quorums_the_one_with_the_fewest_witnesses_is_needed() -> None:
    read = policy(*LINES, "group pair all V W", "group either any pair X", "quorum either")
    assert read.needed(WITNESSES) == ["X"]
    assert read.needed(["V", "W"]) == ["V", "W"]


def test_a_checkpoint_is_open_when_a_log_of_the_policy_signed_it() -> None:
    witnessed = Policy.parse(TWO_LEVELS).open(cosigned(V=NOW, W=NOW - 60, Z=NOW - 5), now=NOW)
    assert witnessed.checkpoint == CHECKPOINT
    assert witnessed.quorum.reached
    assert {name: item.time for name, item in witnessed.quorum.cosigned.items()} == {
        "V": NOW,
        "W": NOW - 60,
        "Z": NOW - 5,
    }


def test_a_quorum_is_as_old_as_its_oldest_needed_cosignature() -> None:
    read = Policy.parse(TWO_LEVELS)
    old = NOW - MAX_AGE - 1
    assert read.judge(cosigned(V=NOW, W=old), now=NOW).as_of == old
    assert not read.judge(cosigned(V=NOW, W=old), now=NOW).is_fresh(NOW)
    assert read.judge(cosigned(V=NOW, W=old), now=NOW).reached
    assert read.judge(cosigned(V=NOW, W=old + 1), now=NOW).is_fresh(NOW)
    fresh = read.judge(cosigned(V=NOW, W=old, X=NOW, Y=NOW - 9, Z=NOW), now=NOW)
    assert (fresh.as_of, fresh.is_fresh(NOW)) == (NOW - 9, True)
    none = read.judge(cosigned(V=NOW, X=NOW, Y=NOW), now=NOW)
    assert (none.reached, none.as_of, none.is_fresh(NOW)) == (False, None, False)


def test_a_log_that_the_policy_does_not_name_or_another_key_is_not_believed() -> None:
    text = CHECKPOINT.text
    for keys in (None, LOG.verifier):
        with pytest.raises(Refused) as caught:
            policy(f"log {OTHER_LOG.vkey}", "quorum none").open(cosigned(), keys, now=NOW)
        assert caught.value.code == "policy-log"
    forged = Signer(LOG.name, bytes([9]) * 32)
    with pytest.raises(Tampered):
        policy(f"log {LOG.vkey}", "quorum none").open(forged.sign(text), now=NOW)
    # The other log's key is trusted, for its own origin only.
    both = policy(f"log {LOG.vkey}", f"log {OTHER_LOG.vkey}", "quorum none")
    with pytest.raises(Tampered):
        both.open(OTHER_LOG.sign(text), now=NOW)
    assert both.open(cosigned(), now=NOW).checkpoint == CHECKPOINT


def test_a_policy_may_list_the_post_quantum_key_of_a_log_beside_the_other() -> None:
    secret = MLDSA44PrivateKey.generate()
    modern = CosignerKey(LOG.name, MLDSA44_COSIGNATURE, secret.public_key().public_bytes_raw())
    both = policy(f"log {LOG.vkey}", f"log {modern.vkey}", "quorum none")
    signed = mldsa_note(secret, LOG.name, CHECKPOINT, NOW)
    for note in (cosigned(), signed, cosigned() + Note.parse(signed).signatures[0].line):
        assert both.open(note, now=NOW).checkpoint == CHECKPOINT
    with pytest.raises(Tampered):
        both.open(mldsa_note(MLDSA44PrivateKey.generate(), LOG.name, CHECKPOINT, NOW), now=NOW)


def test_a_log_may_have_several_keys_of_which_one_signed() -> None:
    second = Signer(LOG.name, bytes([9]) * 32)
    both = policy(f"log {LOG.vkey}", f"log {second.vkey}", "quorum none")
    assert both.open(second.sign(CHECKPOINT.text), now=NOW).checkpoint == CHECKPOINT
    assert both.open(cosigned(), now=NOW).checkpoint == CHECKPOINT


def test_a_policy_without_logs_takes_the_key_from_its_user() -> None:
    read = policy(*LINES, "quorum V")
    with pytest.raises(Invalid):
        read.open(cosigned(V=NOW), now=NOW)
    assert read.open(cosigned(V=NOW), LOG.verifier, now=NOW).quorum.reached


def test_the_only_log_of_a_policy_needs_not_be_named() -> None:
    second = Signer(LOG.name, bytes([9]) * 32)
    one = policy(f"log {LOG.vkey}", f"log {second.vkey}", "quorum none")
    assert one.keys_of() == one.keys_of(LOG.name)
    assert one.keys_of().for_size(5) == (LOG.verifier, second.verifier)
    with pytest.raises(Invalid, match="lists 2 logs"):
        policy(f"log {LOG.vkey}", f"log {OTHER_LOG.vkey}", "quorum none").keys_of()


def test_a_wrong_cosignature_of_a_known_witness_fails_and_an_unknown_one_is_ignored() -> None:
    text = CHECKPOINT.text
    stranger = Cosigner.generate("stranger.example").cosign(text, NOW)
    wrong = WITNESSES["V"].cosign(text.replace(b"\n7\n", b"\n8\n"), NOW)
    read = Policy.parse(TWO_LEVELS)
    assert not read.judge(join_note(text, [stranger, LOG.signature(text)]), now=NOW).cosigned
    with pytest.raises(Tampered):
        read.judge(join_note(text, [wrong, LOG.signature(text)]), now=NOW)


def test_names_are_octets() -> None:
    # U+212A is the Kelvin sign, which some programs take for K; FF is no UTF-8 at all.
    lines = [LINES[0].replace(" V ", " K "), LINES[1].replace(" W ", " \u212a ")]
    assert policy(*lines, "quorum K").reached(["K"])
    assert not policy(*lines, "quorum K").reached(["\u212a"])
    raw = LINES[0].encode().replace(b" V ", b" \xff ")
    assert Policy.parse(raw + b"\n# \xfe comment\nquorum \xff\n").witnesses[0].name == "\udcff"
    with pytest.raises(Invalid, match=r"line 2 .*\\udcff"):
        Policy.parse(raw + b"\n" + LINES[1].encode().replace(b" W ", b" \xff ") + b"\nquorum \xff\n")


def test_white_space_is_spaces_and_tabs_and_nothing_else() -> None:
    assert policy(" \t ", f"\t{LINES[0]}\t ", "   # none", "quorum\tV").reached(["V"])
    with pytest.raises(Invalid, match="line 1"):
        policy(LINES[0].replace(" ", "\u00a0"), "quorum V")
    for octet in (b"\r", b"\x00", b"\x0b", b"\x0c", b"\x1f", b"\x7f"):
        with pytest.raises(Invalid, match="line 2 of the policy: it has a control character"):
            Policy.parse(LINES[0].encode() + b"\nquorum V" + octet + b"\n")


def test_thirty_two_logs_witnesses_and_groups_are_read() -> None:
    logs = [f"log {Signer(f'log{number}', bytes([number]) * 32).vkey}" for number in range(32)]
    witnesses = [f"witness w{n} {Cosigner(f'w{n}', bytes([n]) * 32).key.vkey} https://w{n}.example" for n in range(32)]
    groups = [f"group g{number} any w{number}" for number in range(31)]
    last = "group g 31 " + " ".join(f"g{number}" for number in range(31))
    read = policy(*logs, *witnesses, *groups, last, "quorum g")
    assert read.reached([f"w{number}" for number in range(31)])
    assert not read.reached([f"w{number}" for number in range(1, 32)])


V, W = LINES[0], LINES[1]


@pytest.mark.parametrize(
    ("lines", "line", "what"),
    [
        ([V], None, "no quorum line"),
        ([V, "quorum V", "quorum V"], 3, "already"),
        ([V, "quorum W"], 2, "defines a witness or group W"),
        (["quorum V", V], 1, "defines a witness or group V"),
        ([V, "quorum V W"], 2, "none of"),
        (["quorum"], 1, "none of"),
        ([V, "Quorum V"], 2, "none of"),
        ([V, "quorum V # all of them"], 2, "none of"),
        ([V, V.replace("V ", "v "), "quorum V"], 2, "same public key"),
        ([V, f"witness v {Cosigner('other.example', bytes(32)).key.vkey}", "quorum V"], 2, "same public key"),
        ([V, W.replace(" W ", " V "), "quorum V"], 2, "the name V is taken"),
        ([V.replace(" V ", " none "), "quorum none"], 1, "the name none is taken"),
        ([V, "group V any V", "quorum V"], 2, "the name V is taken"),
        ([V, "group none any V", "quorum none"], 2, "the name none is taken"),
        (["group g any none", "quorum g"], 1, "group none"),
        (["group g any g", "quorum g"], 1, "group g"),
        (["group g any h", "group h any g", "quorum g"], 1, "group h"),
        ([V, "group g any V V", "quorum g"], 2, "V is a member of a group already"),
        ([V, W, "group g any V W", "group h any V g", "quorum h"], 4, "V is a member of a group already"),
        ([V, "group g any", "quorum g"], 2, "none of"),
        ([V, "group g 0 V", "quorum g"], 2, "threshold"),
        ([V, "group g 01 V", "quorum g"], 2, "threshold"),
        ([V, "group g +1 V", "quorum g"], 2, "threshold"),
        ([V, "group g some V", "quorum g"], 2, "threshold"),
        ([V, "group g \u0661 V", "quorum g"], 2, "threshold"),
        ([V, "group g 2 V", "quorum g"], 2, "has 1 members and asks for 2"),
        ([f"log {LOG.vkey}", f"log {LOG.vkey}", "quorum none"], 2, "another log has the same public key"),
        ([f"log {LOG.vkey}", f"log {Signer('x', bytes(32)).vkey}", "quorum none"], 2, "another log"),
        ([f"log {LOG.vkey} https://a https://b", "quorum none"], 1, "none of"),
        ([f"log {WITNESSES['V'].key.vkey}", "quorum none"], 1, "type 0x01"),
        ([f"witness V {LOG.vkey}", "quorum none"], 1, "type 0x04 or 0x06"),
        (["witness V", "quorum none"], 1, "none of"),
        (["log", "quorum none"], 1, "none of"),
        ([V[:-4], "quorum V"], 1, "witness's key"),
    ],
)
def test_an_error_names_its_line(lines: list[str], line: int | None, what: str) -> None:
    with pytest.raises(Invalid) as caught:
        policy(*lines)
    assert what in caught.value.message
    assert (f"line {line} of the policy" in caught.value.message) == (line is not None)


def test_a_file_without_its_last_newline_or_a_huge_one_is_refused() -> None:
    with pytest.raises(Invalid, match="line 1 of the policy: it does not end"):
        Policy.parse(b"quorum none")
    with pytest.raises(Invalid, match="at most"):
        Policy.parse(b"quorum none\n" + b"#" * (MAX_POLICY - 12) + b"\n")
    assert Policy.parse(b"quorum none\n" + b"#" * (MAX_POLICY - 13) + b"\n").quorum == "none"
