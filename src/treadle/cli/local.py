"""The training service of this machine, as commands use it: found where it listens, started where it does not run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from treadle.errors import TransportError, TreadleError
from treadle.home import Endpoint, Home, write_whole
from treadle.seams import Request, Response, Transport
from treadle.sources.servers import LocalService, origin

if TYPE_CHECKING:
    from treadle.cli.client import Client

__all__ = ["Reviving", "Service", "client", "known", "stay", "using"]


Service: TypeAlias = Callable[[], LocalService]


@contextlib.contextmanager
def using() -> Iterator[Service]:
    """Give a function that gives the service, started if need be; it stays at least until the context ends."""
    with contextlib.ExitStack() as held:

        def service() -> LocalService:
            from treadle.embedded import ensure_service  # only those who want it pay

            endpoint = held.enter_context(ensure_service(Home.find()))
            return LocalService(endpoint.url, endpoint.region)

        yield service


class Reviving:
    """A transport that starts the service again when it has died in the middle of a run.

    The request itself fails all the same: whether it may be sent again is for the run to decide. A service that is
    started anew listens where the last one did, and finds the jobs that went on without it.
    """

    def __init__(self, inner: Transport, url: str, service: Service) -> None:
        self._inner = inner
        self._origin = origin(url)
        self._service = service

    async def send(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109  (the seam's)
        """Send. Raises `TransportError`."""
        try:
            return await self._inner.send(request, timeout=timeout)
        except TransportError as error:
            if error.fault in {"refused", "reset"} and origin(request.url) == self._origin:
                await self._revive(error)
            raise

    async def _revive(self, error: TransportError) -> None:
        import asyncio  # loaded already; `check` and `plan`, which have no loop, need not load it

        try:
            await asyncio.to_thread(self._service)
        except TreadleError as why:
            message = f"{error.message}; and the service cannot be started again: {why.message}"
            raise TransportError(error.fault, message, sent=error.sent, url=error.url, hint=why.hint) from why

    async def close(self) -> None:
        """Let go of all connections."""
        await self._inner.close()


def known() -> LocalService:
    """Give the service if it runs, else where it would be: for commands that send nothing and start nothing."""
    home = Home.find()
    endpoint = home.endpoint()
    if endpoint is None:
        return LocalService("http://127.0.0.1", home.region())
    return LocalService(endpoint.url, endpoint.region)


def stay() -> Endpoint:
    """Give the service, started if need be; one that would go away by itself stays from now on."""
    from treadle.embedded import ensure_service  # only those who want it pay

    home = Home.find()
    with ensure_service(home) as endpoint:
        write_whole(home.stay_file, str(endpoint.pid).encode())
        return endpoint


@contextlib.contextmanager
def client() -> Iterator[Client]:
    """Give a client of the service, which is started if need be."""
    from treadle.aws.sigv4 import Credentials  # signing and HTTP: nothing that `check` and `plan` need
    from treadle.cli.client import Client

    with using() as service:
        found = service()
        yield Client(found.url, found.region, Credentials(*Home.find().credentials()))
