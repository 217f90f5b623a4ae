"""Says which processes an installation has and wires each of its concrete parts: the one place that knows them all.

    feeder      applies the directory's topic to this machine's copy
    api         the one writer of the directory, and HTTP
    worker-<n>  the lanes that the group gives it
    labels      people's label keys: the only one that knows numbers and the key of a half-year
    ledger      disclosures and steps into the logs, and the days over them

`python -m integrator.operation.processes ROLE DIR` is one of them; the supervisor starts them so.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from integrator.directory.feeder import Feeder
from integrator.directory.store import Store
from integrator.directory.view import Directory
from integrator.directory.writer import DirectoryWriter
from integrator.domain.errors import Refused, Unavailable
from integrator.domain.identities import Identities
from integrator.http import audit, disclosures, histories, ledger
from integrator.http.app import Ports, create_app
from integrator.http.identity import Citizens, DevelopmentCitizens, NoCitizens, Tokens
from integrator.http.server import serve
from integrator.kafka import access
from integrator.kafka.directory import KafkaDirectoryLog, KafkaDirectoryTopic, KafkaRequests
from integrator.kafka.disclosures import KafkaDisclosureSource
from integrator.kafka.readings import KafkaReadings
from integrator.kafka.refusals import KafkaRefusals
from integrator.kafka.worker import make_worker
from integrator.operation.brakes import LedgerBrakes
from integrator.operation.orders import Orders
from integrator.operation.provisioned import ProvisionedWriter
from integrator.operation.running import Run, run_process, until_stopped
from integrator.operation.secrets import Secrets, key
from integrator.operation.settings import Installation
from integrator.operation.watching import InstallationWatch
from integrator.recording.auditing import Auditing
from integrator.recording.entered import Entered
from integrator.recording.failures import translated
from integrator.recording.indexing import Indexing
from integrator.recording.keeper import Terms
from integrator.recording.label_service import LabelKeys
from integrator.recording.label_wire import LEDGER, PEOPLE, LabelClient
from integrator.recording.label_wire import serve as serve_labels
from integrator.recording.logs import Naming, wall_clock
from integrator.recording.openings import Openings
from integrator.recording.process import Keys, LedgerProcess
from integrator.recording.quotas import Quotas
from integrator.recording.readers import Readers
from integrator.recording.sealed import Histories
from integrator.recording.searching import Searches
from integrator.routing.reference import PythonEngine
from integrator_audit import Verifier
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.witnessing.policy import Policy

_DIRECTORY_SECONDS: Final = 60.0
_COLLECTED_EVERY: Final = 100_000
"""So many new objects between two looks for garbage where records become something: a few times what one transaction
leaves in use at once."""


def commands(installation: Installation) -> list[tuple[str, Sequence[str]]]:
    """Return role and command of every process, in the order in which they start."""
    workers = [f"worker-{number}" for number in range(installation.settings.workers)]
    return [
        (role, (sys.executable, "-m", "integrator.operation.processes", role, str(installation.data)))
        for role in ("feeder", "labels", "api", *workers, "ledger")
    ]


def tokens_of(installation: Installation) -> Tokens:
    """Return the tokens of operators, auditors and agencies of this installation."""
    path = installation.data / "secrets" / "tokens.sha256"
    return Tokens(path, auditors=installation.settings.auditor_names)


def citizens_of(installation: Installation) -> DevelopmentCitizens:
    """Return the fictional people whom this installation knows. Raises `Refused` outside development."""
    return DevelopmentCitizens(
        installation.data / "secrets" / "citizens.sha256",
        installation.secrets.create("development-citizens", key),
        profile=installation.settings.profile,
    )


def generations_of(installation: Installation) -> FileGenerationKeys:
    """Return the keys of the vault's generations, the first of them made in a new installation."""
    folder = installation.data / "secrets"
    if not any(folder.glob(f"{FileGenerationKeys.STEM}*")):
        installation.secrets.create(f"{FileGenerationKeys.STEM}1", key)
    return FileGenerationKeys(folder)


def readers_of(installation: Installation) -> Readers:
    """Return the logs of this installation, for reading."""
    return Readers(installation.ledger_files, generation_key=generations_of(installation))


async def run_feeder(installation: Installation, stop: asyncio.Event) -> None:
    """Keep this machine's copy of the directory."""
    topic = KafkaDirectoryTopic(installation.connection(access.FEEDER))
    store = Store.create(installation.directory)
    feeder = Feeder(topic, store)
    try:
        await until_stopped(stop, feeder.run())
    finally:
        await topic.close()
        store.close()


async def run_worker(installation: Installation, stop: asyncio.Event) -> None:
    """Run the lanes that the group gives this process."""
    _collect_seldom()
    store = installation.secrets
    engine = PythonEngine(
        _pairwise(installation),
        directory_key=store.create("pseudonym-directory", key),
        ledger_key=store.create("pseudonym-ledger", key),
        identities=Identities(store.create("label-identities", key), random=secrets.token_bytes),
    )
    directory = await _directory(installation)
    try:
        worker = make_worker(
            installation.connection(access.LANES),
            lanes=installation.settings.lanes,
            engine=engine,
            directories=directory,
            brakes=LedgerBrakes(installation.ledger_files.state),
        )
        await worker.run(stop)
    finally:
        directory.close()


def supervisor_of(installation: Installation) -> Verifier | None:
    """Return the key with which orders to withhold are signed; `None` where nobody's are followed."""
    if not (vkey := installation.settings.ledger_supervisor):
        return None
    with translated():
        return Verifier.from_text(vkey)


class AccountSecrets:
    """The secrets under which agencies are listed: one each, which they have too. `RecipientSecrets` of the ledger."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def secret(self, recipient: str) -> bytes:
        """Return the 32 bytes of an agency, made when they are first needed."""
        return self._secrets.create(f"account-{recipient}", key)


def ledger_terms(installation: Installation) -> Terms:
    """Return how the ledger is to be kept. Raises `Refused` or `Invalid` for a policy that cannot be used."""
    settings = installation.settings
    policy = None
    if settings.ledger_policy:
        path = installation.data / settings.ledger_policy
        try:
            data = path.read_bytes()
        except OSError as error:
            raise Refused(
                "ledger-policy", f"The policy of witnesses {path} cannot be read: {error.strerror}."
            ) from None
        with translated():
            policy = Policy.parse(data)
    return Terms(settings.ledger_shards, settings.ledger_unlisted, policy, supervisor_of(installation))


async def run_labels(installation: Installation, stop: asyncio.Event) -> None:
    """Make people's label keys for the ledger and for the interface."""
    store = installation.secrets
    keys = LabelKeys(
        store,
        identities=Identities(store.create("label-identities", key), random=secrets.token_bytes),
        ledger_key=store.create("pseudonym-ledger", key),
        clock=wall_clock,
    )
    await serve_labels(keys, installation.labels, stop)


async def run_ledger(installation: Installation, stop: asyncio.Event) -> None:
    """Make ledger entries of what the lanes disclosed, and of the steps and refusals of the institution."""
    _collect_seldom()
    directory = await _directory(installation)
    connection = installation.connection(access.LEDGER)
    store = installation.secrets
    process = LedgerProcess(
        installation.ledger_files,
        naming=Naming(installation.settings.host, installation.settings.installation),
        keys=Keys(store.create("ledger-signing", key), generations_of(installation)),
        directories=directory,
        source=lambda topics, share: KafkaDisclosureSource(connection, topics, share),
        labels=(LabelClient(installation.labels, LEDGER), AccountSecrets(store)),
        terms=ledger_terms(installation),
    )
    try:
        await process.run(stop)
    finally:
        directory.close()


def _collect_seldom() -> None:
    """Look for garbage at another pace than Python's own.

    What a record becomes dies with its transaction and is in no cycle, and would be looked at dozens of times before
    that: a fifth of a worker's time, a twentieth of the ledger's.
    """
    gc.freeze()
    gc.set_threshold(_COLLECTED_EVERY, 20, 20)


async def run_api(installation: Installation, stop: asyncio.Event) -> None:
    """Write the directory and answer over HTTP."""
    store = installation.secrets
    connection = installation.connection(access.DIRECTORY)
    async with AsyncExitStack() as stack:
        directory = await _directory(installation)
        stack.callback(directory.close)
        writer = DirectoryWriter(
            KafkaDirectoryLog(connection),
            directory,
            KafkaRequests(connection),
            clock=lambda: datetime.now(UTC),
            key=store.create("pseudonym-directory", key),
        )
        stack.push_async_callback(writer.close)
        await writer.start()
        refusals = await stack.enter_async_context(KafkaRefusals(installation.connection(access.API)))
        readers = readers_of(installation)
        stack.callback(readers.close)
        openings = Openings(readers.subjects, directory, key=store.create("pseudonym-ledger", key))
        searches = Searches(installation.ledger_files)
        stack.callback(searches.close)
        auditing = Auditing(
            searches,
            readers,
            Quotas(searches, in_a_day=installation.settings.audit_openings),
            directories=directory,
            readings=KafkaReadings(refusals, Entered(readers)),
            random=secrets.token_bytes,
        )
        cursor_key = secrets.token_bytes(32)
        app = create_app(
            Ports(
                directories=directory,
                writer=ProvisionedWriter(
                    installation, writer, directory, tokens_of(installation), Orders(supervisor_of(installation))
                ),
                identities=tokens_of(installation),
                refusals=refusals,
                watch=InstallationWatch(installation, directory, readers),
                profile=installation.settings.profile,
                installation=installation.settings.installation,
                v1=[
                    disclosures.router(openings, _citizens(installation), cursor_key=cursor_key),
                    audit.router(auditing, tokens_of(installation), cursor_key=cursor_key),
                    histories.router(
                        _histories(installation, readers), _citizens(installation), tokens_of(installation)
                    ),
                ],
                root=ledger.routes(readers, witnessed=bool(installation.settings.ledger_policy)),
            )
        )
        with _listening(installation) as listener:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(writer.run(), name="directory")
                indexing = tasks.create_task(Indexing(searches).run(), name="indexing")
                serving = tasks.create_task(serve(app, listener, stop), name="http")
                await serving
                writing.cancel()
                indexing.cancel()


def _histories(installation: Installation, readers: Readers) -> Histories:
    store = installation.secrets
    return Histories(
        installation.ledger_files,
        readers,
        LabelClient(installation.labels, PEOPLE),
        key=store.create("pseudonym-ledger", key),
        account_secret=AccountSecrets(store).secret,
    )


def _citizens(installation: Installation) -> Citizens:
    return citizens_of(installation) if installation.settings.profile == "development" else NoCitizens()


def _pairwise(installation: Installation) -> Callable[[str, str], bytes]:
    """Return the keys of agencies by purpose, each made when it is first needed, read once."""
    store = installation.secrets

    @cache
    def pairwise(agency: str, purpose: str) -> bytes:
        return store.create(f"pairwise-{agency}--{purpose}", key)

    return pairwise


async def _directory(installation: Installation) -> Directory:
    try:
        async with asyncio.timeout(_DIRECTORY_SECONDS):
            return await Directory.wait_open(installation.directory)
    except TimeoutError:
        raise Unavailable("no-directory", "The feeder has made no copy of the directory: does it run?") from None


def _listening(installation: Installation) -> socket.socket:
    """Return the listening socket. A port that was chosen once is kept, so that addresses stay good."""
    settings = installation.settings
    noted = installation.data / "run" / "http-port"
    port = settings.http_port
    if port == 0 and noted.is_file():
        port = int(noted.read_text("utf-8"))
    listener = socket.socket(socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.http_host, port))
    except OSError as error:
        listener.close()
        raise Refused(
            "port-in-use",
            f"The address {settings.http_host}:{port} cannot be used ({error.strerror}): "
            "stop what listens there, or set another `http_port`.",
        ) from None
    listener.listen(128)
    noted.parent.mkdir(exist_ok=True)
    noted.write_text(f"{listener.getsockname()[1]}\n", "utf-8")
    return listener


RUNS: Final[dict[str, Run]] = {
    "feeder": run_feeder,
    "api": run_api,
    "worker": run_worker,
    "labels": run_labels,
    "ledger": run_ledger,
}


if __name__ == "__main__":
    sys.exit(run_process(sys.argv[1], Path(sys.argv[2]), RUNS[sys.argv[1].partition("-")[0]]))
