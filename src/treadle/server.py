"""The training service as a process: it owns a home, wires the parts, listens, and goes.

`running` is the service itself; `serve` is the process around it: signals, and for an embedded service the rule of when
it is not needed any more. Both promise the same about the end: the endpoint is withdrawn, requests under way are
answered, what was begun in the store is finished. Agents are not told: they go on, and the next service finds them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from treadle._version import __version__
from treadle.errors import UsageError
from treadle.home import DEFAULT_ACCOUNT, DEFAULT_REGION, Endpoint, Home, Lock, write_whole
from treadle.launchers.local import LocalLauncher
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import Launcher
from treadle.stores.sqlite import SqliteJobStore
from treadle.training.api.agents import agents_app
from treadle.training.api.app import build_app
from treadle.training.api.iam import iam_api
from treadle.training.api.logs import logs_api
from treadle.training.api.own import own_api
from treadle.training.api.sagemaker import sagemaker_api
from treadle.training.api.sts import sts_api
from treadle.training.images import ImageRegistry
from treadle.training.keyring import Keyring, environment
from treadle.training.logs_store import ServiceLogs
from treadle.training.service import TrainingService
from treadle.training.spec import Place
from treadle.training.supervisor import Supervisor

__all__ = ["Settings", "running", "serve"]

_log: Final = logging.getLogger(__name__)

# Seconds for requests under way when the service ends. Reports that are held are answered at once.
_GRACE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a service is set up. `port` 0 is any that is free; `linger` is how long an unused embedded service stays.

    `stop_grace` is the time between SIGTERM and SIGKILL. `max_volume` and `max_log` are the most bytes that the volume
    and the log of a host may have.
    """

    host: str = "127.0.0.1"
    port: int = 0
    region: str = DEFAULT_REGION
    account: str = DEFAULT_ACCOUNT
    sandbox: str = "auto"
    auth: bool = True
    stop_grace: float = 120.0
    max_volume: int | None = None
    max_log: int = 1 << 30
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
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    embedded: bool = False,
    sandbox: str = "auto",
    auth: bool = True,
    stop_grace: float = 120.0,
    max_volume: int | None = None,
    max_log: int = 1 << 30,
    on_ready: Callable[[Endpoint], None] | None = None,
) -> None:
    """Run the service until SIGTERM or SIGINT; an embedded one also ends when nobody needs it.

    `on_ready` is called when it listens; without it, a line on standard error says so. Raises `UsageError` when the
    home has an owner already (an embedded one then just returns: the client finds that owner), or the address cannot
    be used.
    """
    _check_loopback(host)
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
    settings = Settings(
        host=host,
        port=port,
        sandbox=sandbox,
        auth=auth,
        stop_grace=stop_grace,
        max_volume=max_volume,
        max_log=max_log,
    )
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
    if not settings.auth:
        _log.warning("requests are taken without a signature: any process of this machine can use the service")
    async with running(home, settings) as service:
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


@contextlib.asynccontextmanager
async def running(
    home: Home, settings: Settings | None = None, *, launcher: Launcher | None = None
) -> AsyncIterator[Running]:
    """Run the service of a home that the caller owns (`Home.own`). Raises `UsageError`, `StoreError`."""
    settings = settings or Settings()
    home.prepare()
    key, secret = home.credentials()
    jobs = SqliteJobStore(home.service_db)
    objects = FilesystemObjects(home.s3)
    logs = ServiceLogs(home.logs)
    with _listening(settings.host, settings.port, home) as listener:
        url = _url(listener)
        supervisor = Supervisor(
            jobs=jobs,
            objects=objects,
            launcher=launcher or LocalLauncher(),
            logs=logs,
            place=Place(
                home,
                settings.region,
                settings.sandbox,
                settings.stop_grace,
                max_volume=settings.max_volume,
                max_log=settings.max_log,
                environment=lambda job: environment(keyring.of_job(job), endpoint=url, region=settings.region),
            ),
            endpoint=lambda: url,
            tick=settings.tick,
        )
        keyring = Keyring(key, secret, account=settings.account, running=supervisor.running)
        service = TrainingService(
            jobs=jobs,
            objects=objects,
            images=ImageRegistry(home.images_file),
            supervisor=supervisor,
            region=settings.region,
            account=settings.account,
        )
        app = build_app(
            [sagemaker_api(service), logs_api(logs), sts_api(keyring), iam_api(), own_api(service)],
            secret_for=keyring.secret_for,
            identify=keyring.identity,
            region=settings.region,
            account=settings.account,
            authenticate=settings.auth,
            agents=agents_app(supervisor),
        )
        try:
            await supervisor.start()
            async with _answering(app, listener, supervisor.release) as broken:
                endpoint = Endpoint(
                    url=url, pid=os.getpid(), region=settings.region, account=settings.account, version=__version__
                )
                home.publish(endpoint)
                try:
                    yield Running(endpoint, supervisor, lambda: _first(supervisor.run(), broken()))
                finally:
                    home.withdraw()
        finally:
            await supervisor.stop()
            await jobs.close()


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


def _check_loopback(host: str) -> None:
    with contextlib.suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return
    raise UsageError(
        f"The service listens on loopback addresses only, and {host} is none.",
        hint="Without TLS, keys' signatures and data would cross the network in the open. Use a tunnel (ssh -L).",
    )


@contextlib.contextmanager
def _listening(host: str, port: int, home: Home) -> Iterator[socket.socket]:
    _check_loopback(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = _again(host, family, home) if port == 0 else None
        listener = listener or socket.create_server((host, port), family=family, backlog=2048)
        write_whole(home.port_file, str(listener.getsockname()[1]).encode())
    except OSError as error:
        raise UsageError(
            f"The service cannot listen on {host}, port {port}: {error.strerror or error}.",
            hint="Choose another port, or 0 for any that is free.",
        ) from error
    with listener:
        yield listener


def _again(host: str, family: int, home: Home) -> socket.socket | None:
    """Listen where the last service of this home listened, or give None where that cannot be."""
    with contextlib.suppress(OSError, ValueError, OverflowError):
        port = int(home.port_file.read_text("ascii"))
        return socket.create_server((host, port), family=family, backlog=2048)
    return None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def _answering(
    app: Any, listener: socket.socket, release: Callable[[], None]
) -> AsyncIterator[Callable[[], Any]]:
    """Answer requests; at the end those under way first. Gives what waits until the server has ended by itself."""
    import uvicorn  # a hundred milliseconds that only a service pays

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
        ws="none",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(_GRACE),
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
        sys.stderr.write(
            f"The training service listens on {endpoint.url} (home {home.root}).\n"
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
