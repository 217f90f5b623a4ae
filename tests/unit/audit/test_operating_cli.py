from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from typer.testing import CliRunner

from integrator_audit import Verifier, verify_opening
from integrator_audit.audience import audience_of
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.cli.main import app
from integrator_audit.halfyear import date_of
from integrator_audit.openingfile import read_opening
from integrator_audit.sources import DirectorySource
from integrator_audit.verify import verify_log
from tests.unit.audit.audit_samples import GENERATION_KEY, ORIGIN
from tests.unit.audit.label_samples import label_signer
from tests.unit.audit.sealing_samples import FIRST, HOST, Installation, key


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    (tmp_path / "generation").write_bytes(GENERATION_KEY)
    yield installation
    installation.close()


def run(*arguments: object, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def keys(place: Installation) -> list[object]:
    return ["--vault", place.directory / "persons.sqlite", "--generation-key", place.directory / "generation"]


@pytest.mark.parametrize("kind", ["entries", "leaves"])
def test_a_new_log_is_made_once_and_is_a_whole_log(tmp_path: Path, kind: str) -> None:
    run("keygen", "log", ORIGIN, "--out", tmp_path / "key")
    made = run("create", tmp_path / "log.sqlite", "--key", tmp_path / "key", "--kind", kind)
    assert (made["origin"], made["size"], made["kind"]) == (ORIGIN, 0, kind)
    assert run("fsck", tmp_path / "log.sqlite", "--vkey", made["vkey"])["result"] == "holds"
    again = run("create", tmp_path / "log.sqlite", "--key", tmp_path / "key", code=2)
    assert again["code"] == "log-exists"


def days(place: Installation, *more: object) -> list[object]:
    """Return how a log of days is made, with its key and label key in files."""
    name = f"{HOST}/epochs"
    (place.directory / "epochs.key").write_text(key(name).text)
    public = load_der_public_key(label_signer().spki)
    (place.directory / "label.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (place.directory / "label.der").write_bytes(label_signer().spki)
    (place.directory / "secret.pem").write_bytes(label_signer().pem)
    made = ["create", place.epoch_file, "--key", place.directory / "epochs.key", "--kind", "days"]
    return [*made, "--index", place.index_file, *more]


@pytest.mark.parametrize("form", ["pem", "der"])
def test_a_log_of_days_that_was_made_is_the_one_that_a_sealer_begins(
    place: Installation, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    place.shards = 2
    place.at(0)
    monkeypatch.setattr("time.time_ns", lambda: place.now * 1_000_000)
    made = run(*days(place, "--label-key", place.directory / f"label.{form}", "--shard", 1, "--shard", 0))
    assert (made["origin"], made["size"], made["first"]) == (f"{HOST}/epochs", FIRST, date_of(FIRST).isoformat())
    sealer = place.sealer()
    assert sealer.begin() == FIRST
    place.deliver(1, 2)
    place.at(1)
    (sealed,) = sealer.seal_due()
    assert (sealed.epoch, sealed.listed) == (FIRST, 2)
    leaves = place.leaves()
    place.close()
    again = Installation(place.directory / "again", shards=2)
    again.directory.mkdir()
    again.at(0)
    again.sealer().begin()
    assert again.leaves() == leaves[:-1]
    again.close()
    assert run(*days(place), code=2)["code"] == "log-exists"
    checked = run("fsck-index", place.index_file, "--epochs", place.epoch_file)
    assert (checked["result"], checked["days"]) == ("holds", FIRST + 1)


def test_a_log_of_days_is_not_made_from_half_of_what_it_takes(place: Installation) -> None:
    label = ("--label-key", place.directory / "label.pem")
    for given, code in [
        ((), "create-options"),
        (label, "create-options"),
        (("--shard", 0), "create-options"),
        (("--shard", 0, "--label-key", place.directory / "secret.pem"), "label-key-file"),
        (("--shard", 0, "--label-key", place.directory / "epochs.key"), "label-key-file"),
        (("--shard", 0, *label, "--kind", "entries"), "create-options"),
    ]:
        assert run(*days(place, *given), code=2)["code"] == code
        assert not place.epoch_file.exists()
        assert not place.index_file.exists()
    place.begun()
    place.epoch_file.unlink()
    place.close()
    assert run(*days(place, "--shard", 0, *label), code=2)["code"] == "index-exists"
    assert not place.epoch_file.exists()


def test_the_public_files_of_a_log_verify_and_a_closed_log_is_told(place: Installation, tmp_path: Path) -> None:
    place.deliver(*range(5))
    period = place.period
    file, public = place.file("s0", period), tmp_path / "public"
    told = run("export", file, "--out", public)
    assert (told["size"], told["closed"]) == (5, False)
    verifier = key(place.origin("s0", period)).verifier
    assert verify_log(DirectorySource(public), verifier).holds
    place.writer("s0").freeze()
    assert run("export", file, "--out", public)["closed"] is True
    assert "do not change any more" in CliRunner().invoke(app, ["export", str(file), "--out", str(public)]).stdout


def test_nothing_is_exported_as_published_before_a_quorum_was_there(place: Installation, tmp_path: Path) -> None:
    place.deliver(1, 2)
    file, public = place.file("s0", place.period), tmp_path / "public"
    assert run("export", file, "--out", public, "--published", code=2)["code"] == "not-published"
    assert not public.exists()
    place.writer("s0").publish(place.writer("s0").checkpoint)
    place.deliver(3)
    assert run("export", file, "--out", public, "--published")["size"] == 2
    assert Checkpoint.parse((public / "checkpoint").read_bytes().partition(b"\n\n")[0] + b"\n").size == 2


@pytest.mark.parametrize("audience", ["citizen", "recipient", "supervisor"])
@pytest.mark.parametrize("suffix", ["json", "tlog-proof"])
def test_an_entry_is_proven_to_each_audience_with_its_parts_only(
    place: Installation, tmp_path: Path, audience: str, suffix: str
) -> None:
    at, _ = place.deliver(1, 2)
    file, out = place.file("s0", place.period), tmp_path / f"opening.{suffix}"
    told = run("prove", file, at, "--for", audience, "--out", out, *keys(place))
    assert (told["index"], told["published"]) == (at, False)
    opening = read_opening(out.read_bytes())
    assert audience_of(opening) == audience
    assert verify_opening(opening, key(place.origin("s0", place.period)).verifier).index == at
    assert run("prove", file, at, "--for", audience, "--out", out, *keys(place), code=2)["code"] == "file-exists"


def test_a_proof_is_to_the_last_published_checkpoint_that_has_the_entry(place: Installation, tmp_path: Path) -> None:
    (first,) = place.deliver(1)
    place.writer("s0").publish(place.writer("s0").checkpoint)
    (second,) = place.deliver(2)
    file = place.file("s0", place.period)
    verifier: Verifier = key(place.origin("s0", place.period)).verifier
    for at, size, published in ((first, 1, True), (second, 2, False)):
        out = tmp_path / f"{at}.json"
        told = run("prove", file, at, "--for", "recipient", "--out", out, *keys(place))
        assert told["published"] is published
        assert verify_opening(read_opening(out.read_bytes()), verifier).size == size


def test_what_is_withheld_is_proven_to_no_citizen(place: Installation, tmp_path: Path) -> None:
    (hidden,) = place.deliver(1, listed=False)
    file, out = place.file("s0", place.period), tmp_path / "opening.json"
    assert (
        run("prove", file, hidden, "--for", "citizen", "--out", out, *keys(place), code=2)["code"] == "prove-unlisted"
    )
    assert not out.exists()
    run("prove", file, hidden, "--for", "supervisor", "--out", out, *keys(place))


@pytest.mark.parametrize("index", [1, 1 << 63, 10**20])
def test_an_entry_that_is_not_there_is_proven_to_nobody(place: Installation, tmp_path: Path, index: int) -> None:
    place.deliver(1)
    file, out = place.file("s0", place.period), tmp_path / "opening.json"
    for audience in ("citizen", "recipient", "supervisor"):
        told = run("prove", file, index, "--for", audience, "--out", out, *keys(place), code=2)
        assert told["code"] == "no-such-entry"
        assert not out.exists()


def test_a_dossier_is_compiled_from_files(place: Installation, tmp_path: Path) -> None:
    sealer = place.begun()
    place.deliver(1, 2)
    place.pad(2)
    place.at(1)
    place.writer("institution")
    sealer.seal_due()
    period = place.period
    out = tmp_path / "dossier.jsonl.gz"
    arguments = [place.file("s0", period), place.file("institution", period), "--epochs", place.epoch_file]
    arguments += ["--index", place.index_file, *keys(place), "--out", out, "--first", date_of(FIRST)]
    told = run("dossier", *arguments)
    assert (told["first"], told["last"]) == (FIRST, FIRST)
    lines = [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
    assert [len([line for line in lines if name in line]) for name in ("day", "trie", "unlisted")] == [1, 3, 2]
    assert lines[0]["institution"] == [{"period": period, "origin": place.origin("institution", period)}]
    assert run("dossier", *arguments[:-1], "soon", code=2)["code"] == "day"
    without = [one for one in arguments if one not in keys(place)]
    assert run("dossier", *without, code=2)["code"] == "vault-options"


def test_an_index_is_checked_from_the_command_line(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(1, 2)
    place.at(1)
    sealer.seal_due()
    arguments = ["fsck-index", place.index_file, "--epochs", place.epoch_file]
    assert run(*arguments) == {
        "result": "holds",
        "origin": "demo.integrator.example/ledger/demo/epochs",
        "days": FIRST + 1,
        "findings": [],
        "findingsLeftOut": 0,
    }
    place.index.connection.execute("UPDATE sealed SET leaf = x'10' WHERE epoch = 5")
    assert [found["where"] for found in run(*arguments, code=1)["findings"]] == ["day 5"]
    shown = CliRunner().invoke(app, [*map(str, arguments)])
    assert "day 5: the index has another leaf" in shown.stdout
    assert "FAILED" in shown.stdout
