from __future__ import annotations

from pathlib import Path

import pytest

from integrator_audit import Invalid, Signer
from integrator_audit.cli.witness import read_logs
from integrator_audit.witnessing.cosignature import CosignerKey
from integrator_audit.witnessing.loglist import is_list, read_list

FOO = Signer("tlog.foo.example", bytes(32))
BAR = Signer("bar.example/tlog", bytes([1]) * 32)
MLDSA = (Path(__file__).parent / "vectors" / "cosigned.vkeys").read_text().splitlines()[1]
LIST = f"""#
# List:      10qps-100klogs
# Generated: yesterday
#
logs/v0

# foo's log
vkey {FOO.vkey}
qpd 86400
contact https://tlog.foo.example/contact

# bar's log
vkey {BAR.vkey}
origin go.sum database tree
  \tqpd 24
\tcontact sysadmin (at) bar.example\t
vkey {MLDSA}
qpd 2147483647
contact nobody"""


def test_a_list_says_which_key_signs_under_which_origin() -> None:
    assert read_list(LIST.encode()) == {
        FOO.name: FOO.verifier,
        "go.sum database tree": BAR.verifier,
        "witness.example/pq": CosignerKey.from_text(MLDSA),
    }
    assert read_list(b"logs/v0\n") == {}


def test_a_witness_takes_a_list_or_a_policy() -> None:
    assert read_logs(LIST.encode())["go.sum database tree"] == [BAR.verifier]
    second = Signer(FOO.name, bytes([2]) * 32)
    policy = f"log {FOO.vkey}\nlog {second.vkey}\nquorum none\n".encode()
    assert (is_list(policy), is_list(b""), is_list(LIST.encode())) == (False, False, True)
    assert read_logs(policy) == {FOO.name: [FOO.verifier, second.verifier]}


@pytest.mark.parametrize(
    ("lines", "number", "what"),
    [
        (["logs/v1"], 1, "starts with logs/v0"),
        (["logs/v0", "logs/v0"], 2, "here stands vkey"),
        (["logs/v0", "qpd 1"], 2, "here stands vkey"),
        (["logs/v0", "vkey"], 2, "here stands vkey"),
        (["logs/v0", f"vkey {FOO.vkey[:-4]}"], 2, "verifier key"),
        (["logs/v0", f"vkey {FOO.text}"], 2, "verifier key"),
        (["logs/v0", f"vkey {FOO.vkey}", "contact me"], 3, "here stands origin or qpd"),
        (["logs/v0", f"vkey {FOO.vkey}", "qpd 1", "origin late"], 4, "here stands contact"),
        (["logs/v0", f"vkey {FOO.vkey}", "origin a", "origin b"], 4, "here stands qpd"),
        (["logs/v0", f"vkey {FOO.vkey}", "origin "], 3, "here stands origin or qpd"),
        *((["logs/v0", f"vkey {FOO.vkey}", f"qpd {qpd}"], 3, "qpd is") for qpd in ("0", "01", "-1", "x", "\u0661")),
        (["logs/v0", f"vkey {FOO.vkey}", "qpd 2147483648"], 3, "below 2^31"),
        (["logs/v0", f"vkey {FOO.vkey}", "qpd 99999999999999"], 3, "qpd is"),
        (["logs/v0", f"vkey {FOO.vkey}", "qpd 1"], 4, "ends in the middle"),
        (
            [
                *("logs/v0", f"vkey {FOO.vkey}", "qpd 1", "contact a"),
                f"vkey {BAR.vkey}",
                f"origin {FOO.name}",
                "qpd 1",
                "contact b",
            ],
            8,
            "the same origin",
        ),
        (["logs/v0", "unknown line"], 2, "here stands vkey"),
        (["", "# nothing but a remark"], 3, "starts with logs/v0"),
    ],
)
def test_an_error_names_its_line(lines: list[str], number: int, what: str) -> None:
    with pytest.raises(Invalid, match=f"line {number} of the list of logs: .*{what}".replace("^", r"\^")):
        read_list("\n".join([*lines, ""]).encode())


def test_a_list_is_utf8_and_bounded() -> None:
    with pytest.raises(Invalid, match="line 2 of the list of logs: it is not UTF-8"):
        read_list(b"logs/v0\n\xff\n")
    with pytest.raises(Invalid, match="at most"):
        read_list(b"logs/v0\n" + b"#" * (16 * 1024 * 1024))
