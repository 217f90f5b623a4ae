from __future__ import annotations

import base64
from hashlib import sha256

import pytest

from integrator_audit import Invalid, Signer, Tampered, Verifier
from integrator_audit.note import Note, verify_note
from integrator_audit.witnessing.cosignature import CosignerKey

# C2SP signed-note (the example of golang.org/x/mod/sumdb/note with the same key).
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
TEXT = b"This is an example message.\n"
SIGNATURE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
NOTE = TEXT + f"\n\u2014 example.com/foo {SIGNATURE}\n".encode()


def test_the_published_example_verifies() -> None:
    assert verify_note(NOTE, [Verifier.from_text(VKEY)]) == TEXT
    assert Verifier.from_text(VKEY).vkey == VKEY


def test_a_generated_key_signs_and_comes_back_from_its_text() -> None:
    signer = Signer.generate("demo.integrator.example/ledger")
    again = Signer.from_text(signer.text)
    assert again == signer
    assert again.vkey == signer.vkey
    note = again.sign(b"hello\n\nworld\n")
    assert verify_note(note, [Verifier.from_text(signer.vkey)]) == b"hello\n\nworld\n"


def test_the_secret_does_not_stand_in_the_repr() -> None:
    signer = Signer.generate("demo.integrator.example/ledger")
    assert repr(signer) == "Signer(name='demo.integrator.example/ledger')"


def test_a_changed_text_or_signature_is_refused() -> None:
    verifier = Verifier.from_text(VKEY)
    changed = base64.b64encode(base64.b64decode(SIGNATURE)[:-1] + b"\0").decode()
    for note in (NOTE.replace(b"example m", b"Example m"), NOTE.replace(SIGNATURE.encode(), changed.encode())):
        with pytest.raises(Tampered):
            verify_note(note, [verifier])


def test_signatures_of_unknown_keys_are_ignored_even_with_a_known_name_or_id() -> None:
    verifier = Verifier.from_text(VKEY)
    other_id = f"\u2014 example.com/foo {base64.b64encode(b'abcd' + bytes(64)).decode()}\n"
    other_name = f"\u2014 example.com/bar {SIGNATURE}\n"
    assert verify_note(NOTE + (other_id + other_name).encode(), [verifier]) == TEXT


def test_a_note_without_a_known_signature_is_refused() -> None:
    with pytest.raises(Tampered):
        verify_note(NOTE, [Signer.generate("example.com/foo").verifier])


def test_a_wrong_signature_of_a_known_key_beside_a_right_one_is_refused() -> None:
    wrong = base64.b64encode(base64.b64decode(SIGNATURE)[:4] + bytes(64)).decode()
    with pytest.raises(Tampered):
        verify_note(NOTE + f"\u2014 example.com/foo {wrong}\n".encode(), [Verifier.from_text(VKEY)])


def test_sixteen_signatures_are_accepted_and_seventeen_are_not() -> None:
    line = f"\u2014 example.com/bar {SIGNATURE}\n".encode()
    assert verify_note(NOTE + line * 15, [Verifier.from_text(VKEY)]) == TEXT
    with pytest.raises(Invalid):
        Note.parse(NOTE + line * 16)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        TEXT,
        NOTE[:-1],
        NOTE + b"\n",
        NOTE.replace(b"\n\n", b"\n"),
        TEXT + b"\n",
        NOTE.replace(b"message", b"mess\tage"),
        NOTE.replace(b"message", b"mess\rage"),
        NOTE.replace(b"message", b"mess\x00age"),
        NOTE.replace(b"message", b"mess\xffage"),
        NOTE.replace("\u2014".encode(), b"-"),
        NOTE.replace("\u2014 ".encode(), "\u2014".encode()),
        NOTE.replace(b"example.com/foo ", b"example.com/foo  "),
        NOTE.replace(b"example.com/foo ", b""),
        NOTE.replace(b"example.com/foo ", b" "),
        NOTE.replace(b"example.com/foo", b"example+com"),
        NOTE.replace(b"example.com/foo", "example\u00a0com".encode()),
        NOTE.replace(b"aQM=", b"aQM"),
        NOTE.replace(b"aQM=", b"aQN="),
        NOTE.replace(b"aQM=", b"a-M="),
        NOTE.replace(SIGNATURE.encode(), b"Uw2QOg=="),
        NOTE + b"trailing line\n",
        b"x" * 200_000 + b"\n" + NOTE,
    ],
)
def test_a_malformed_note_is_invalid(note: bytes) -> None:
    with pytest.raises(Invalid):
        verify_note(note, [Verifier.from_text(VKEY)])


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("530d903a", "530D903A"),
        VKEY.replace("example.com/foo", "example.com/bar"),
        VKEY.replace("example.com/foo", ""),
        VKEY.replace("example.com/foo", "example com"),
        VKEY + "=",
        VKEY[:-4],
        VKEY.replace("+Aeky", "+BOky"),
        VKEY + "\n",
    ],
)
def test_a_malformed_verifier_key_is_invalid(vkey: str) -> None:
    with pytest.raises(Invalid):
        Verifier.from_text(vkey)


def test_a_malformed_signing_key_is_invalid() -> None:
    text = Signer.generate("example.com/foo").text
    for wrong in (text.removeprefix("PRIVATE+KEY+"), text[:-4], text.replace("foo", "bar"), text + "\n"):
        with pytest.raises(Invalid):
            Signer.from_text(wrong)


def test_a_key_id_is_the_start_of_the_hash_of_name_type_and_key() -> None:
    verifier = Verifier.from_text(VKEY)
    assert verifier.key_id == sha256(b"example.com/foo\n\x01" + verifier.public_key).digest()[:4]


def test_a_name_that_would_become_text_signs_nothing() -> None:
    with pytest.raises(Invalid):
        Signer("example.com/foo AAAAAAA=\n\n\u2014 example.com/foo", bytes(32)).sign(b"text\n")


def test_a_note_has_128_kib_at_most() -> None:
    rest = NOTE.removeprefix(TEXT)
    text = b"x" * (128 * 1024 - len(rest) - 1) + b"\n"
    assert Note.parse(text + rest).unverified_text == text
    with pytest.raises(Invalid):
        Note.parse(b"x" + text + rest)


def test_a_text_that_does_not_end_in_a_newline_is_not_signed() -> None:
    with pytest.raises(Invalid):
        Signer.generate("example.com/foo").sign(b"text")


SMALL_ORDER = [
    *(bytes(32), (1).to_bytes(32, "little"), (2**255 - 20).to_bytes(32, "little")),
    # The same points in encodings that are not reduced.
    *((2**255 - 19).to_bytes(32, "little"), (2**255 - 18).to_bytes(32, "little")),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_key_under_which_everybody_can_sign_is_refused(point: bytes) -> None:
    for public_key in (point, point[:31] + bytes([point[31] | 0x80])):
        forged = (1).to_bytes(32, "little") + bytes(32)
        assert any(Verifier("log.example", public_key).accepts(b"text %d" % at, forged) for at in range(200))
        with pytest.raises(Invalid, match="everybody can sign"):
            Verifier.from_text(Verifier("log.example", public_key).vkey)
        with pytest.raises(Invalid, match="everybody can sign"):
            CosignerKey.from_text(CosignerKey("witness.example", 0x04, public_key).vkey)


def test_a_signature_that_is_not_reduced_is_not_accepted() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signer = Signer.generate("log.example")
    value = signer.signature(b"text\n").value
    other = value[:32] + (int.from_bytes(value[32:], "little") + order).to_bytes(32, "little")
    assert signer.verifier.accepts(b"text\n", value)
    assert not signer.verifier.accepts(b"text\n", other)
