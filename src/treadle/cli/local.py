"""The training service of this machine, as commands use it: found where it listens, started where it does not run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from treadle.home import DEFAULT_REGION, Endpoint, Home, write_whole
from treadle.sources.servers import LocalService

if TYPE_CHECKING:
    from treadle.cli.client import Client

__all__ = ["client", "known", "stay", "using"]


@contextlib.contextmanager
def using() -> Iterator[Callable[[], LocalService]]:
    """Give a function that gives the service, started if need be; it stays at least until the context ends."""
    with contextlib.ExitStack() as held:

        def service() -> LocalService:
            from treadle.embedded import ensure_service  # only those who want it pay

            endpoint = held.enter_context(ensure_service(Home.find()))
            return LocalService(endpoint.url, endpoint.region)

        yield service


def known() -> LocalService:
    """Give the service if it runs, else where it would be: for commands that send nothing and start nothing."""
    endpoint = Home.find().endpoint()
    if endpoint is None:
        return LocalService("http://127.0.0.1", DEFAULT_REGION)
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
