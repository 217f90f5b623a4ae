from __future__ import annotations

import pytest

from integrator_audit import Invalid, Signer, Tampered
from integrator_audit.checkpoint import Checkpoint, open_checkpoint, read_head, read_unverified
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.receipt import Receipt

NAME = "example.com/behind-the-sofa"
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
# C2SP tlog-checkpoint: the text of its example.
TEXT = f"{NAME}\n20852163\n{ROOT}\n".encode()


def test_the_published_example_is_read_and_written_back() -> None:
    checkpoint = Checkpoint.parse(TEXT)
    assert (checkpoint.origin, checkpoint.size) == (NAME, 20852163)
    assert checkpoint.text == TEXT


def test_a_signed_checkpoint_opens_with_its_key_only() -> None:
    signer = Signer.generate(NAME)
    note = Checkpoint.parse(TEXT).sign(signer)
    assert open_checkpoint(note, signer.verifier) == Checkpoint.parse(TEXT) == read_unverified(note)
    with pytest.raises(Tampered):
        open_checkpoint(note, Signer.generate(NAME).verifier)


def test_a_checkpoint_of_another_origin_under_a_trusted_key_is_refused() -> None:
    signer = Signer.generate(NAME)
    with pytest.raises(Tampered, match=r"is of example\.com/other"):
        open_checkpoint(signer.sign(TEXT.replace(b"behind-the-sofa", b"other")), signer.verifier)
    with pytest.raises(Invalid):
        Checkpoint("example.com/other", 0, EMPTY_ROOT).sign(signer)


@pytest.mark.parametrize(
    "text",
    [
        b"\n",
        TEXT[:-1],
        TEXT + b"extension\n",
        TEXT + b"\n",
        TEXT.replace(NAME.encode(), b""),
        TEXT.replace(b"behind-the-sofa", b"behind the sofa"),
        TEXT.replace(b"20852163", b"020852163"),
        TEXT.replace(b"20852163", b"+20852163"),
        TEXT.replace(b"20852163", b"-1"),
        TEXT.replace(b"20852163", b""),
        TEXT.replace(b"20852163", b"00"),
        TEXT.replace(b"20852163", b"0"),
        TEXT.replace(b"20852163", b"9223372036854775808"),
        TEXT.replace(b"20852163", "\u0662".encode()),
        TEXT.replace(b"q2I=", b"q2J="),
        TEXT.replace(b"q2I=", b"q2I"),
        TEXT.replace(ROOT.encode(), ROOT[4:].encode()),
        TEXT.replace(ROOT.encode(), b""),
    ],
)
def test_every_other_form_of_a_checkpoint_is_invalid(text: bytes) -> None:
    with pytest.raises(Invalid):
        Checkpoint.parse(text)


def test_the_checkpoints_of_other_logs_are_read_in_every_form_that_the_specification_allows() -> None:
    other = TEXT.replace(NAME.encode(), b"go.sum database tree +1") + b"extension\nlines\n"
    head = read_head(other)
    assert (head.origin, head.size, head.extensions) == ("go.sum database tree +1", 20852163, ("extension", "lines"))
    for malformed in (other[:-1], other + b"\n", other.replace(b"go.sum database tree +1", b""), b"\xff" + other):
        with pytest.raises(Invalid):
            read_head(malformed)


NOTE = Checkpoint.parse(TEXT).sign(Signer.generate(NAME))
HASHES = (bytes(32), bytes(range(32)))


def test_a_receipt_is_the_text_of_the_specification() -> None:
    receipt = Receipt(73894, HASHES, NOTE, b"salt")
    lines = receipt.text.split(b"\n")
    assert lines[:3] == [b"c2sp.org/tlog-proof@v1", b"extra c2FsdA==", b"index 73894"]
    assert receipt.text.endswith(b"\n\n" + NOTE)
    assert Receipt.parse(receipt.text) == receipt


def test_a_receipt_with_nothing_to_say_has_no_extra_line() -> None:
    receipt = Receipt(0, (), NOTE)
    assert receipt.text == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + NOTE
    assert Receipt.parse(receipt.text) == receipt


GOOD = Receipt(73894, HASHES, NOTE, b"salt").text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        GOOD.replace(b"@v1", b"@v2"),
        b"\n" + GOOD,
        GOOD.replace(b"c2FsdA==", b""),
        GOOD.replace(b"c2FsdA==", b"c2FsdB=="),
        GOOD.replace(b"extra ", b"Extra "),
        GOOD.replace(b"extra c2FsdA==\n", b"extra c2FsdA==\nextra c2FsdA==\n"),
        GOOD.replace(b"index 73894\n", b""),
        GOOD.replace(b"index 73894", b"index 073894"),
        GOOD.replace(b"index 73894", b"index -1"),
        GOOD.replace(b"index 73894", b"index 73894 "),
        GOOD.replace(b"AAA=\n", b"AAA= \n"),
        GOOD.replace(b"index 73894\n", b"index 73894\nAAAA\n"),
        Receipt(1, (bytes(32),) * 64, NOTE).text,
        Receipt(1, (bytes(31),), NOTE).text,
        GOOD.replace(b"\n\n", b"\n"),
        GOOD.replace(b"c2FsdA==", b"AAAA" * 16_383),
    ],
)
def test_a_malformed_receipt_is_invalid(text: bytes) -> None:
    with pytest.raises(Invalid):
        Receipt.parse(text)


def test_a_proof_of_63_hashes_is_read() -> None:
    receipt = Receipt(1, (bytes(32),) * 63, NOTE)
    assert Receipt.parse(receipt.text) == receipt


def test_an_extra_line_stays_below_64_kib() -> None:
    with pytest.raises(Invalid):
        _ = Receipt(0, (), NOTE, bytes(49_200)).text
