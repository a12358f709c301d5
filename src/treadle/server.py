"""The training service as a process: it owns a home, wires the parts, listens, and goes.

`running` is the service itself; `serve` is the process around it: signals, and for an embedded service the rule of when
it is not needed any more. Both promise the same about the end: the endpoint is withdrawn, requests under way are
answered, what was begun in the store is finished. Agents are not told: they go on, and the next service finds them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import ipaddress
import logging
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from treadle._version import __version__
from treadle.errors import UsageError
from treadle.home import DEFAULT_ACCOUNT, Endpoint, Home, Lock, write_whole
from treadle.http.client import HttpTransport
from treadle.launchers import engine
from treadle.launchers.local import LocalLauncher
from treadle.launchers.ray.launcher import RayLauncher
from treadle.objects.filesystem import FilesystemObjects
from treadle.objects.multipart import StagedUploads
from treadle.seams import Launcher, Transport
from treadle.stores.sqlite import SqliteJobStore
from treadle.training.api.agents import agents_app
from treadle.training.api.app import build_app
from treadle.training.api.cloudwatch import cloudwatch_apis
from treadle.training.api.iam import iam_api
from treadle.training.api.logs import logs_api
from treadle.training.api.own import own_api
from treadle.training.api.s3 import s3_app
from treadle.training.api.sagemaker import sagemaker_api
from treadle.training.api.sts import sts_api
from treadle.training.file_systems import FileSystems
from treadle.training.images import Containers, ImageRegistry
from treadle.training.keyring import Keyring, agents_objects, environment
from treadle.training.logs_store import ServiceLogs
from treadle.training.room import Room, RoomLimits
from treadle.training.service import TrainingService
from treadle.training.spec import Place
from treadle.training.supervisor import Supervisor
from treadle.training.webhook import Edit, Webhook

__all__ = ["Settings", "Tls", "running", "serve"]

_log: Final = logging.getLogger(__name__)

# Where agents and commands of this machine reach a service that others reach with TLS.
LOOPBACK: Final = "127.0.0.1"

# Seconds for requests under way when the service ends. Reports that are held are answered at once.
_GRACE: Final = 5.0

# Files open at once, where the system allows so many; the usual 1,024 are too few for a thousand clients.
_FILES: Final = 16_384


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the certificate with what it is signed by, and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """How a service is set up. `port` 0 is any that is free; `linger` is how long an unused embedded service stays.

    `region` is that of the ARNs, for which requests must be signed; "" is that of the last time.

    `stop_grace` is the time between SIGTERM and SIGKILL. `max_volume` and `max_log` are the most bytes that the volume
    and the log of a host may have. `webhook` is a URL that is told of status changes. With `tls` the service listens
    twice: with TLS on `host` and `port`, and for this machine's own agents and commands on loopback without.
    `advertise` is the name or address by which other machines reach it, "" for `host`. `launcher` is "local" or "ray";
    `ray_address` is that of the cluster, "auto" for the one that this machine is a node of.
    """

    host: str = "127.0.0.1"
    port: int = 0
    region: str = ""
    account: str = DEFAULT_ACCOUNT
    sandbox: str = "auto"
    auth: bool = True
    stop_grace: float = 120.0
    max_volume: int | None = None
    max_log: int = 1 << 30
    room: RoomLimits = field(default_factory=RoomLimits)
    webhook: str = ""
    tls: Tls | None = None
    advertise: str = ""
    launcher: str = "local"
    ray_address: str = "auto"
    tick: float = 1.0
    linger: float = 5.0


@dataclass(frozen=True, slots=True)
class Running:
    """A service that listens. `wait` returns only when something broke it, and raises that."""

    endpoint: Endpoint
    supervisor: Supervisor
    wait: Callable[[], Any]


def serve(
    home: Home,
    settings: Settings | None = None,
    *,
    embedded: bool = False,
    on_ready: Callable[[Endpoint], None] | None = None,
) -> None:
    """Run the service until SIGTERM or SIGINT; an embedded one also ends when nobody needs it.

    `on_ready` is called when it listens; without it, a line on standard error says so. Raises `UsageError` when the
    home has an owner already (an embedded one then just returns: the client finds that owner), or the address cannot
    be used.
    """
    settings = settings or Settings()
    _check_installed(settings)
    _check_safe(settings)
    owned = home.own()
    if owned is None:
        if embedded:
            return
        other = home.endpoint()
        where = f" (process {other.pid}, {other.url})" if other else ""
        raise UsageError(
            f"The home {home.root} is in use by another service{where}.",
            hint="Use that one, stop it first, or set TREADLE_HOME to another directory.",
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            unneeded = runner.run(_serve(home, settings, embedded=embedded, on_ready=on_ready or _announce(home)))
    finally:
        owned.release()
    # Only now may a client that waits for this lock look whether the home has an owner.
    if unneeded is not None:
        unneeded.release()


async def _serve(
    home: Home, settings: Settings, *, embedded: bool, on_ready: Callable[[Endpoint], None]
) -> Lock | None:
    """Serve until there is a reason to end; give the lock on the clients when it was that there are none."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    _allow_many_files()
    if not settings.auth:
        _log.warning("requests are taken without a signature: any process of this machine can use the service")
    async with running(home, settings) as service:
        # Nothing here makes cycles by the thousand: the collector looks seldom, and not at what was here before jobs.
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        on_ready(service.endpoint)
        if embedded:
            _tell_starter()
        reasons = [asyncio.ensure_future(each) for each in (ended.wait(), service.wait())]
        unneeded = asyncio.ensure_future(_unneeded(home, service.supervisor, settings.linger)) if embedded else None
        all_reasons: list[asyncio.Future[Any]] = [*reasons, *([unneeded] if unneeded else [])]
        try:
            done, _ = await asyncio.wait(all_reasons, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in all_reasons:
                each.cancel()
        return unneeded.result() if unneeded is not None and unneeded in done else None


def _allow_many_files() -> None:
    """Let the process open what it may: a connection is a file, and so is an upload that is coming in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.asynccontextmanager
async def running(
    home: Home, settings: Settings | None = None, *, launcher: Launcher | None = None
) -> AsyncIterator[Running]:
    """Run the service of a home that the caller owns (`Home.own`). Raises `UsageError`, `StoreError`."""
    settings = _settled(home, settings or Settings())
    async with contextlib.AsyncExitStack() as stack:
        public = stack.enter_context(_public(settings)) if settings.tls else None
        local = stack.enter_context(
            _listening(LOOPBACK if public else settings.host, 0 if public else settings.port, home)
        )
        public_url = _url(public, "https", settings.advertise) if public else ""
        if launcher is None:
            launcher = await stack.enter_async_context(_launcher(home, settings))
        cluster = (await launcher.capacity()).machines is not None
        # Agents of this machine do without TLS.
        wired = _wire(home, settings, launcher, (cluster and public_url) or _url(local), cluster=cluster)
        stack.push_async_callback(wired.close)
        await wired.supervisor.start()
        release = wired.supervisor.release
        broken = [await stack.enter_async_context(_answering(wired.app, local, release))]
        if public is not None:
            broken.append(await stack.enter_async_context(_answering(wired.app, public, release, settings.tls)))
        looking = asyncio.create_task(wired.room.watch())
        stack.callback(looking.cancel)
        endpoint = Endpoint(
            url=_url(local),
            pid=os.getpid(),
            region=settings.region,
            account=settings.account,
            version=__version__,
            public_url=public_url,
        )
        with _writing(home):
            home.publish(endpoint)
        stack.callback(home.withdraw)
        yield Running(
            endpoint, wired.supervisor, lambda: _first(wired.supervisor.run(), looking, *(each() for each in broken))
        )


def _settled(home: Home, settings: Settings) -> Settings:
    """Check what was asked for, and give it with the region of the last time where none was; one is remembered."""
    _check_safe(settings)
    home.prepare()
    if not settings.region:
        return replace(settings, region=home.region())
    with _writing(home):
        write_whole(home.region_file, settings.region.encode("ascii"))
    return settings


@dataclass(frozen=True, slots=True)
class _Wired:
    """The parts of a service that have a life of their own, and its HTTP face."""

    app: Any
    supervisor: Supervisor
    room: Room
    close: Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def _launcher(home: Home, settings: Settings) -> AsyncIterator[Launcher]:
    """Choose the launcher. Raises `UsageError` where it cannot be used."""
    if settings.launcher == "local":
        yield LocalLauncher()
        return
    key, _ = home.credentials()
    certificate = _certificates(settings.tls.certificate) if settings.tls else ""
    launcher = RayLauncher(settings.ray_address, key=key, certificate=certificate, near=settings.tls is None)
    try:
        await launcher.open()
        yield launcher
    finally:
        await launcher.close()


def _certificates(file: Path) -> str:
    """Give what may be told to others of a PEM file: certificates, and never a key."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", file.read_text(), re.DOTALL)
    return "".join(found)


def _wire(home: Home, settings: Settings, launcher: Launcher, url: str, *, cluster: bool) -> _Wired:
    """Choose the parts and put them together; `url` is where agents and training programs find the service.

    On a `cluster` agents reach objects through it, too.
    """
    key, secret = home.credentials()
    jobs = SqliteJobStore(home.service_db)
    objects = FilesystemObjects(home.s3)
    logs = ServiceLogs(home.logs)
    room = Room(home.root, settings.room)
    transport = HttpTransport() if settings.webhook else None
    webhook = _webhook(settings, transport, lambda *of: supervisor.edit(*of)) if transport else None  # noqa: PLW0108  (made below)
    supervisor = Supervisor(
        jobs=jobs,
        objects=objects,
        launcher=launcher,
        logs=logs,
        place=Place(
            home,
            settings.region,
            settings.sandbox,
            settings.stop_grace,
            max_volume=settings.max_volume,
            max_log=settings.max_log,
            environment=lambda job: environment(keyring, job, endpoint=url, region=settings.region),
            objects=(lambda job: agents_objects(keyring, job, endpoint=url, region=settings.region))
            if cluster
            else None,
        ),
        endpoint=lambda: url,
        tick=settings.tick,
        announcer=webhook,
    )
    keyring = Keyring(key, secret, account=settings.account, running=supervisor.running)
    service = TrainingService(
        jobs=jobs,
        objects=objects,
        images=ImageRegistry(home.images_file, _containers(settings.sandbox, cluster=cluster)),
        file_systems=FileSystems(home.file_systems),
        supervisor=supervisor,
        room=room.check,
        region=settings.region,
        account=settings.account,
    )
    app = build_app(
        [
            sagemaker_api(service),
            logs_api(logs),
            *cloudwatch_apis(supervisor.find, jobs.all, logs),
            sts_api(keyring),
            iam_api(),
            own_api(service),
        ],
        secret_for=keyring.secret_for,
        identify=keyring.identity,
        region=settings.region,
        account=settings.account,
        authenticate=settings.auth,
        agents=agents_app(supervisor),
        s3=s3_app(
            objects,
            StagedUploads(objects, FilesystemObjects(home.s3 / ".treadle" / "uploads")),
            secret_for=keyring.secret_for,
            identify=keyring.identity,
            region=settings.region,
            account=settings.account,
            authenticate=settings.auth,
        ),
    )

    async def close() -> None:
        if webhook is not None:
            await webhook.stop()
        await supervisor.stop()
        if transport is not None:
            await transport.close()
        await jobs.close()

    return _Wired(app, supervisor, room, close)


def _containers(sandbox: str, *, cluster: bool) -> Containers:
    if sandbox in {"auto", "container"}:
        # Whether the nodes of a cluster have an engine is theirs to say.
        return Containers((lambda: "") if cluster else engine.problem, only=sandbox == "container")
    return Containers(lambda: f"Container images are not run: the service was started with --sandbox {sandbox}.")


def _webhook(settings: Settings, transport: Transport, edit: Edit) -> Webhook:
    return Webhook(
        settings.webhook,
        transport=transport,
        edit=edit,
        account=settings.account,
        region=settings.region,
        clock=time.time,
    )


async def _first(*reasons: Any) -> None:
    """Wait for the first of several; its exception is ours."""
    tasks = [asyncio.ensure_future(each) for each in reasons]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for each in tasks:
            each.cancel()


# ---------------------------------------------------------------------------------------------------------------------
# Listening
# ---------------------------------------------------------------------------------------------------------------------


def _check_installed(settings: Settings) -> None:
    """Refuse to begin without the packages that only a service needs. Raises `UsageError`."""
    if settings.launcher == "ray" and importlib.util.find_spec("ray") is None:
        raise UsageError(
            "The launcher for Ray is not installed: it needs the Python package ray.",
            hint=f"Install it: {sys.executable} -m pip install 'treadle[training,ray]'.",
        )
    missing = [name for name in ("httptools", "regex", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"The training service is not installed: it needs the Python packages {', '.join(missing)}.",
            hint=f"Install them: {sys.executable} -m pip install 'treadle[training]'.",
        )


def _check_safe(settings: Settings) -> None:
    """Refuse to listen where others could listen in, or do as they like. Raises `UsageError`."""
    if settings.tls is not None:
        _check_certificate(settings.tls)
    if settings.launcher == "ray" and settings.tls is not None and not settings.port:
        raise UsageError(
            "On a cluster the service must listen on the same port each time: agents look for it there.",
            hint="Choose one: --port 4585.",
        )
    if settings.advertise and settings.tls is None:
        raise UsageError(
            "Without TLS there are no other machines to which --advertise could tell where the service is.",
            hint="Give --host, --tls-cert and --tls-key.",
        )
    if _is_loopback(settings.host):
        return
    if settings.tls is None:
        raise UsageError(
            f"Without TLS the service listens on loopback addresses only, and {settings.host} is none.",
            hint="Give --tls-cert and --tls-key, or use a tunnel (ssh -L): keys' signatures and data would cross the "
            "network in the open.",
        )
    if not settings.auth:
        raise UsageError(
            "Without signatures the service listens on loopback addresses only.",
            hint="Leave --no-auth out: anybody on the network could run programs here.",
        )


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    return False


def _check_certificate(tls: Tls) -> None:
    import ssl  # only who has a certificate pays

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # SSLError is one
        raise UsageError(
            f"The certificate {tls.certificate} cannot be used with the key {tls.key}: {error.strerror or error}.",
            hint="Give PEM files that belong together; the key must not have a passphrase.",
        ) from error


@contextlib.contextmanager
def _listening(host: str, port: int, home: Home) -> Iterator[socket.socket]:
    """Listen, where the last service of this home listened if any port will do."""
    with _told(host, port):
        listener = _again(host, home) if port == 0 else _bound(host, port)
    with listener:
        with _writing(home):
            write_whole(home.port_file, str(listener.getsockname()[1]).encode())
        yield listener


@contextlib.contextmanager
def _writing(home: Home) -> Iterator[None]:
    """Say that it is the home that cannot be written to."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"The service cannot write to its home {home.root}: {error.strerror or error}.",
            hint="Make room there, or set TREADLE_HOME to another directory.",
        ) from error


@contextlib.contextmanager
def _public(settings: Settings) -> Iterator[socket.socket]:
    with _told(settings.host, settings.port):
        listener = _bound(settings.host, settings.port)
    with listener:
        yield listener


@contextlib.contextmanager
def _told(host: str, port: int) -> Iterator[None]:
    """Say which address it is that cannot be used."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"The service cannot listen on {host}, port {port}: {os.strerror(error.errno) if error.errno else error}.",
            hint="Choose another port, or 0 for any that is free.",
        ) from error


def _again(host: str, home: Home) -> socket.socket:
    with contextlib.suppress(OSError, ValueError, OverflowError):
        return _bound(host, int(home.port_file.read_text("ascii")))
    return _bound(host, 0)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _url(listener: socket.socket, scheme: str = "http", advertised: str = "") -> str:
    host, port = listener.getsockname()[:2]
    if advertised:
        host = advertised
    elif not host.strip("0:."):  # every address of the machine
        host = socket.gethostname()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@contextlib.asynccontextmanager
async def _answering(
    app: Any, listener: socket.socket, release: Callable[[], None], tls: Tls | None = None
) -> AsyncIterator[Callable[[], Any]]:
    """Answer requests; at the end those under way first. Gives what waits until the server has ended by itself."""
    import uvicorn  # a hundred milliseconds that only a service pays

    from treadle.training.api.connection import BoundedProtocol  # the same

    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are ours

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        http=BoundedProtocol,
        ws="none",
        server_header=False,
        proxy_headers=False,  # what they say of the client is of no use to us
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(_GRACE),
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    waiting = asyncio.create_task(started.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            raise RuntimeError("the HTTP server ended before it had begun")

        async def broken() -> None:
            await asyncio.shield(serving)
            raise RuntimeError("the HTTP server ended by itself")

        yield broken
    finally:
        waiting.cancel()
        release()
        server.should_exit = True
        await asyncio.wait({serving})


# ---------------------------------------------------------------------------------------------------------------------
# The process
# ---------------------------------------------------------------------------------------------------------------------


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # not on every platform
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _announce(home: Home) -> Callable[[Endpoint], None]:
    def announce(endpoint: Endpoint) -> None:
        beyond = f", and for other machines on {endpoint.public_url}" if endpoint.public_url else ""
        sys.stderr.write(
            f"The training service listens on {endpoint.url}{beyond} (home {home.root}).\n"
            'eval "$(treadle env)" in another shell points boto3 and the AWS CLI at it. Ctrl-C ends it; jobs go on.\n'
        )
        sys.stderr.flush()

    return announce


def _tell_starter() -> None:
    """Tell the client that started us that we listen (see `embedded`), and keep its pipe no longer."""
    with contextlib.suppress(OSError):  # it may be gone
        os.write(1, b"ready\n")
    os.dup2(2, 1)


def _stays(home: Home) -> bool:
    """Tell whether somebody was told where this very process listens, and will come back (`treadle env`)."""
    try:
        return home.stay_file.read_text("ascii") == str(os.getpid())
    except (OSError, UnicodeDecodeError):
        return False


async def _unneeded(home: Home, supervisor: Supervisor, linger: float) -> Lock:
    """Wait until for `linger` seconds there has been no unfinished job and no client; give the lock that proves it."""
    since: float | None = None
    while True:
        await supervisor.quiet()
        lock = Lock.alone(home.clients_lock)
        now = time.monotonic()
        if lock is not None and not supervisor.busy and not _stays(home):
            since = now if since is None else since
            if now - since >= linger:
                return lock
        else:
            since = None
        if lock is not None:
            lock.release()
        # A lock cannot be waited for without being in the way of those who want it.
        await asyncio.sleep(linger / 10)
