"""Every command with every file that it takes missing, empty, of other content, a directory, of an impossible name."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from integrator_audit.cli.main import app
from integrator_audit.completeness.memory import Memory
from integrator_audit.note import Signer
from tests.unit.audit.audit_samples import GENERATION_KEY, Place, signer
from tests.unit.audit.lying.files import MemorySource
from tests.unit.audit.lying.operator import CHECKER, EPOCHS, POLICY, SUPERVISOR, Operator
from tests.unit.audit.lying.verifiers import cosigned
from tests.unit.audit.test_sampling import answered

ANN = "bsn:999990019"
OFFLINE = [Signer.generate(f"{name}.example") for name in ("alice", "bob")]


@pytest.fixture(scope="module", autouse=True)
def program() -> Iterator[None]:
    """Make the program's commands once: typer would build them anew for each of hundreds of runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(get_command))
        yield


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(item) for item in arguments])


def write(source: MemorySource, directory: Path) -> None:
    for path, data in source.files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


@dataclass(frozen=True, slots=True)
class World:
    """A directory with everything that commands take, and one for what they write."""

    root: Path
    operator: Operator

    @property
    def new(self) -> Path:
        return self.root / "new"

    def command(self, name: str) -> list[object]:
        """Return the arguments of a command that succeeds."""
        root, new, out = self.root, self.new, ("--out", self.new / "out")
        vault = ("--vault", root / "log/persons.sqlite", "--generation-key", root / "generation")
        epochs = ("--epochs", root / "epochs", "--vkey", root / "epochs.vkey")
        trust = ("--policy", root / "policy", "--cosigner", root / "checker.vkey", "--shard-vkey", root / "s0.vkey")
        state = ("--state", new / "state")
        files = ("--vkey", root / "log.vkey", *state)
        register = ("--register", new / "register")
        keys = ("--vault", root / "erasing/persons.sqlite", "--generations", root / "generations")
        logs = [item for at in (0, 3) for item in ("--log", root / f"s{at}", "--log-vkey", root / f"s{at}.vkey")]
        recipient = ("--received", root / "received", "--secret-file", root / "secret")
        cosigner = ("--key", root / "checker.key", "--supervisor", root / "supervisor.vkey", "--unlisted", 4)
        cosigner = (*cosigner, "--memory", new / "memory")
        commands: dict[str, tuple[object, ...]] = {
            "verify": (root / "public", *files),
            "monitor": (root / "public", *files, "--once", "--entries"),
            "fsck": (root / "log/s0.sqlite", "--vkey", root / "log.vkey", *vault),
            "verify-receipt": (root / "opening.json", *files, "--without-witnesses"),
            "history": (root / "history.json", *epochs, *trust, *state, "--number-file", root / "number"),
            "account": (root / "account.jsonl", *epochs, *trust, *state, *recipient),
            "cosign": (root / "dossier", *epochs, *state, *logs, *cosigner, *out),
            "sample draw": (*epochs, *state, "--count", 9, *out),
            "sample check": (root / "sample", root / "dossier", "--memory", root / "memory", *epochs, *state),
            "prove": (root / "log/s0.sqlite", 3, *out, "--for", "supervisor", *vault),
            "export": (root / "log/s0.sqlite", *out),
            "create": (new / "log", "--key", root / "log.key"),
            "index": (root / "log/s0.sqlite", "--index", new / "index"),
            "search": (root / "log/s0.sqlite", "--index", root / "search.sqlite"),
            "whole": (root / "log/s0.sqlite", new / "whole"),
            "verify-whole": (root / "whole", *files, "--where", "recipient=x", "--without-witnesses"),
            "erase finish": (*keys, *register),
            "erase status": ("--register", root / "register"),
            "rotate root": (root / "alice.vkey", root / "bob.vkey", *out),
            "rotate prepare": ("--add", root / "log.vkey", *out),
            "rotate sign": (root / "keys.text", "--key", root / "alice.key", *out),
            "rotate join": (root / "keys.alice", root / "keys.bob", "--keys-root", root / "root", *out),
        }
        return [*name.split(), *commands[name]]


COMMANDS = [
    *(
        "verify",
        "monitor",
        "fsck",
        "verify-receipt",
        "history",
        "account",
        "cosign",
        "sample draw",
        "sample check",
        "prove",
        "export",
        "create",
    ),
    *("index", "search", "whole", "verify-whole", "erase finish", "erase status"),
    *("rotate root", "rotate prepare", "rotate sign", "rotate join"),
]


@pytest.fixture(scope="module")
def world(filled: Place, tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    operator = Operator()
    for _ in range(2):
        operator.deliver("bsn:1", "svb")
        operator.deliver(ANN, "svb")
        operator.end_day()
    write(operator.source(), root / "epochs")
    lines = [json.dumps(line).encode() for line in operator.dossier()]
    files: dict[str, bytes | str] = {
        "history.json": json.dumps(operator.history(ANN)),
        "account.jsonl": "\n".join(map(json.dumps, operator.account("svb"))),
        "number": ANN,
        "secret": operator.secret_of("svb"),
        "policy": POLICY,
        "received": "\n".join(json.dumps(line) for line in operator.received("svb")),
        "dossier": gzip.compress(b"\n".join(lines)),
        "sample": "\n".join(map(json.dumps, answered(operator))),
        "epochs.vkey": operator.epoch_signer.vkey,
        "checker.key": CHECKER.text,
        "checker.vkey": CHECKER.key.vkey,
        "supervisor.vkey": SUPERVISOR.vkey,
        "log.key": signer().text,
        "log.vkey": signer().vkey,
        "register": "",
        "generation": GENERATION_KEY,
        "generations/vault-generation-1": GENERATION_KEY,
        **{f"{key.name.removesuffix('.example')}.vkey": key.vkey for key in OFFLINE},
        **{f"{key.name.removesuffix('.example')}.key": key.text for key in OFFLINE},
    }
    for shard in operator.shards:
        write(operator.shard_source(shard, 0), root / f"s{shard}")
        files[f"s{shard}.vkey"] = operator.signer(operator.origin(shard, 0)).vkey
    memory = Memory(EPOCHS, random=bytes)
    cosigned(operator, memory)
    memory.save(root / "memory")
    (root / "generations").mkdir()
    for name, content in files.items():
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    shutil.copytree(filled.directory, root / "log")
    shutil.copytree(filled.directory, root / "erasing")
    place = Place(root / "log")
    place.reader().export(root / "public")
    vault = ("--vault", root / "log/persons.sqlite", "--generation-key", root / "generation")
    for made in (
        ("prove", place.ledger_file, 3, "--for", "citizen", "--out", root / "opening.json", *vault),
        ("index", place.ledger_file, "--index", root / "search.sqlite"),
        ("whole", place.ledger_file, root / "whole"),
        ("rotate", "root", root / "alice.vkey", root / "bob.vkey", "--out", root / "root"),
        ("rotate", "prepare", "--add", root / "log.vkey", "--out", root / "keys.text"),
        ("rotate", "sign", root / "keys.text", "--key", root / "alice.key", "--out", root / "keys.alice"),
        ("rotate", "sign", root / "keys.text", "--key", root / "bob.key", "--out", root / "keys.bob"),
    ):
        assert run(*made).exit_code == 0, made
    return World(root, operator)


@pytest.fixture
def ready(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return the world with nothing written yet, soon after the operator's last day."""
    shutil.rmtree(world.new, ignore_errors=True)
    world.new.mkdir()
    monkeypatch.setattr("time.time", lambda: float(world.operator.now()))
    return world


KINDS: dict[str, bytes | None] = {
    "empty": b"",
    "binary": bytes(range(256)) * 20,
    "deep": b"[" * 100_000,
    "a bomb": gzip.compress(bytes(2_000_000)),
    "missing": None,
    "a directory": None,
    "an impossible name": None,
}


def put(kind: str, place: Path) -> Path:
    """Make a file of this kind and return its name."""
    content = KINDS[kind]
    if content is not None:
        place.write_bytes(content)
    elif kind == "a directory":
        place.mkdir()
    return Path("x" * 5000) if kind == "an impossible name" else place


def changed(arguments: Sequence[object], at: int, value: Path) -> list[object]:
    return [value if index == at else item for index, item in enumerate(arguments)]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_succeeds_with_what_it_takes(ready: World, name: str) -> None:
    result = run(*ready.command(name), "--json")
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_a_file_is_a_command_ends_with_a_verdict(ready: World, name: str, kind: str) -> None:
    arguments = ready.command(name)
    for at, item in enumerate(arguments):
        if not isinstance(item, Path):
            continue
        shutil.rmtree(ready.new)
        ready.new.mkdir()
        result = run(*changed(arguments, at, put(kind, ready.new / "given")), "--json")
        where = f"{name}, {arguments[at - 1]} {kind}"
        assert result.exception is None or isinstance(result.exception, SystemExit), where
        assert result.exit_code in (0, 1, 2), where
        document = json.loads(result.stdout)
        if result.exit_code:
            assert {"code", "message"} <= set(document) or document.get("findings"), where
            assert "Traceback" not in result.stderr, where


def test_a_finished_erasure_is_not_reported_of_a_vault_that_was_only_just_made(ready: World) -> None:
    arguments = ready.command("erase finish")
    (ready.new / "given").write_bytes(b"")
    result = run(*changed(arguments, 3, ready.new / "given"), "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (2, "vault-format")


def test_a_file_that_is_no_register_is_not_cut(ready: World) -> None:
    given = ready.new / "register"
    given.write_bytes(b"something dear")
    result = run(*ready.command("erase finish"), "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, "erasure-register")
    assert given.read_bytes() == b"something dear"


def test_a_message_moves_no_cursor(ready: World) -> None:
    given = ready.new / "given"
    line = {"schema": "dienstenintegrator/whole/v1", "origin": "\x1b[2J\u202e", "start": 0, "stop": 0}
    line |= {"edge": [], "consistency": [], "checkpoint": ""}
    given.write_bytes(gzip.compress(json.dumps(line).encode() + b"\n"))
    result = run("verify-whole", given, "--vkey", ready.root / "log.vkey", "--where", "a=b")
    assert result.exit_code == 2
    assert all(character.isprintable() for character in result.stderr.rstrip("\n"))


def test_one_key_is_not_a_witness_and_the_checking_cosigner(ready: World) -> None:
    other = CHECKER.key.__class__("witness.example/other", CHECKER.key.type, CHECKER.key.public_key)
    policy = ready.new / "policy"
    policy.write_bytes(f"witness w {other.vkey}\nquorum w\n".encode())
    arguments = ready.command("history")
    result = run(*changed(arguments, arguments.index(ready.root / "policy"), policy), "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (2, "cosigner-key")
