"""The private network of a job with several hosts on one machine: each host has its own `eth0`, ports never collide.

    namespace "switch"            the bridge; nobody's program is in it, and neither are the machine's packet filters
      ├── veth ── eth0 of algo-1  10.0.0.1, a network namespace that the program of algo-1 is started in
      └── veth ── eth0 of algo-2  10.0.0.2

Nothing of it has a name on the machine, and nothing has an address there: every part is held by descriptors of the
agents alone, so when they end, however they end, the kernel takes all of it away, and there is nothing to clean up. All
jobs use the same addresses; they never meet.

The agents of a job find each other by an abstract Unix socket whose name comes from the token of the attempt: who binds
it first makes the switch, the others are handed its descriptor. The kernel lets go of that name, too, with its holder.

A host has no route to anywhere else. The service is reached all the same, at the address that the program was told:
inside the namespace a relay listens there, outside the agent passes on what comes (`Relay`). Not chosen: routes and
address translation through the machine, which would need its packet filters and its forwarding changed, and would let
the addresses of two jobs meet. The internet is seen through an HTTP proxy at the end of another such relay (`proxy`).

It takes the right to make network namespaces and devices, which root has, and anybody in a user namespace (`rights`).
Where the kernel allows neither, all hosts share the machine's network, with a loopback address each
(`loopback_addresses`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

from treadle.agent.connections import closed, copied
from treadle.agent.sandbox import rights, switch
from treadle.errors import LaunchError

__all__ = ["Membership", "Relay", "addresses", "endpoints", "is_endpoint", "locked", "name_of", "problem", "target"]

# Handing a descriptor over takes no time; an agent that is stopped in the middle of it is not waited for for ever.
_PATIENCE = 30.0
_PIECE = 64 * 1024


def problem() -> str:
    """Give "" where a private network can be made, else why not. It really makes one."""
    if sys.platform != "linux":
        return f"network namespaces are Linux's; this is {sys.platform}"
    try:
        os.close(rights.acquire(switch.trial))
    except OSError as error:
        return f"{error.strerror} ({error.filename or 'network'})"
    return ""


def addresses(hosts: Iterable[str]) -> dict[str, str]:
    """Give every host's address, in the order of their numbers.

    >>> addresses(["algo-1", "algo-10", "algo-2"])["algo-10"]
    '10.0.0.3'
    """
    ordered = sorted(hosts, key=lambda host: (len(host), host))
    return {host: str(switch.NETWORK[number]) for number, host in enumerate(ordered, 1)}


class Membership:
    """A host's place in the network of its job: `namespace` is where its program belongs. An async context manager."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.namespace = -1
        self._switch = -1
        self._listener: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None

    @classmethod
    async def join(cls, secret: str, host: str, address: str, meeting_place: Path) -> Self:
        """Join the network of the attempt that has this secret; `meeting_place` is a directory that its agents share.

        Raises `LaunchError`.
        """
        membership = cls(address)
        try:
            await membership._join(name_of(secret), meeting_place)
            membership.namespace = rights.acquire(switch.plug_in, host, address, namespace=membership._switch)
        except BaseException as error:
            await membership.leave()
            if isinstance(error, OSError | TimeoutError):
                raise LaunchError(f"The network of the job's hosts cannot be made for {host}: {error}.") from error
            raise
        return membership

    async def _join(self, name: str, meeting_place: Path) -> None:
        ours, first = _bind_or_connect(name, meeting_place)
        if not first:
            self._switch = await _handed_over(ours)
            return
        self._listener = ours
        self._switch = rights.acquire(switch.new)
        self._serving = asyncio.create_task(_hand_over(ours, self._switch))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Let go of everything; the kernel removes what nobody else holds."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        for descriptor in (self.namespace, self._switch):
            if descriptor >= 0:
                os.close(descriptor)
        self.namespace = self._switch = -1


def name_of(secret: str) -> str:
    """Give the abstract name of the socket at which the hosts of an attempt meet; nobody learns the secret from it."""
    return f"\0treadle-{hashlib.sha256(f'network of {secret}'.encode()).hexdigest()}"


def _bind_or_connect(name: str, meeting_place: Path) -> tuple[socket.socket, bool]:
    """Be the first, who listens, or reach who was. Under a lock: nobody meets a name that does not listen yet."""
    with locked(meeting_place):
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            ours.bind(name)
        except OSError:
            ours.connect(name)
            return ours, False
        ours.listen(1024)
        return ours, True


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Be the only one who has the lock of a directory, among all agents of the machine."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


async def _hand_over(listener: socket.socket, handed: int) -> None:
    """Give the switch to everybody of this user who asks."""
    loop = asyncio.get_running_loop()
    while True:
        channel, _ = await loop.sock_accept(listener)
        with channel, contextlib.suppress(OSError):  # who has gone again needs nothing
            if _user_of(channel) == os.geteuid():
                socket.send_fds(channel, [b"!"], [handed])


async def _handed_over(channel: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(channel, readable.set)
    try:
        await asyncio.wait_for(readable.wait(), _PATIENCE)
    finally:
        loop.remove_reader(channel)
    with channel:
        if _user_of(channel) != os.geteuid():
            raise PermissionError(1, "the one who has the network is another user")
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not descriptors:
        raise ConnectionError(104, "the one who had the network is gone")
    os.set_inheritable(descriptors[0], False)  # noqa: FBT003  (it takes no keyword)
    return descriptors[0]


def _user_of(channel: socket.socket) -> int:
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


# ---------------------------------------------------------------------------------------------------------------------
# The way to the service
# ---------------------------------------------------------------------------------------------------------------------


def endpoints(environment: Mapping[str, str]) -> set[tuple[str, int]]:
    """Give the addresses and ports of the services that a program is told of.

    >>> sorted(endpoints({"AWS_ENDPOINT_URL": "http://127.0.0.1:8000", "AWS_REGION": "http://[::1]:1"}))
    [('127.0.0.1', 8000)]
    """
    return {found for name, value in environment.items() if is_endpoint(name) and (found := target(value))}


def is_endpoint(name: str) -> bool:
    """Tell whether a variable of that name tells a program of a service."""
    return name.startswith("AWS_ENDPOINT_URL") or name == "S3_ENDPOINT_URL"


def target(url: str) -> tuple[str, int] | None:
    """Give the address and port that a URL names, or None."""
    with contextlib.suppress(ValueError):  # a name: who looks it up in there finds nothing either
        parts = urlsplit(url)
        host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
        return str(ipaddress.ip_address(host or "")), parts.port or (443 if parts.scheme == "https" else 80)
    return None


_Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Relay:
    """Listens where programs can reach it, and passes on to services, both ways, what comes."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, namespace: int, targets: Iterable[tuple[str, int]]) -> Self:
        """Begin to listen in a namespace, at the services' own addresses. Raises OSError."""
        relay = cls()
        for target in sorted(targets):
            bound = rights.acquire(switch.listener, *target, namespace=namespace)
            await relay.listen(socket.socket(fileno=bound), target)
        return relay

    async def listen(
        self, listener: socket.socket, target: tuple[str, int], callers: ipaddress.IPv4Network | None = None
    ) -> None:
        """Pass on what comes to a bound socket; with `callers`, only what these send. Raises OSError."""
        await self._listen(listener, partial(_pass_on, *target), callers)

    async def open(self, namespace: int, serve: _Serve) -> int:
        """Listen at a free port of a namespace's loopback for what `serve` is there for; the port. Raises OSError."""
        bound = socket.socket(fileno=rights.acquire(switch.listener, "127.0.0.1", 0, namespace=namespace))
        await self._listen(bound, serve, None)
        return int(bound.getsockname()[1])

    async def _listen(self, listener: socket.socket, serve: _Serve, callers: ipaddress.IPv4Network | None) -> None:
        accept = partial(self._serve, serve, callers)
        self._servers.append(await asyncio.start_server(accept, sock=listener, limit=_PIECE))

    def _serve(
        self,
        serve: _Serve,
        callers: ipaddress.IPv4Network | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        stranger = callers is not None and ipaddress.ip_address(writer.get_extra_info("peername")[0]) not in callers
        if stranger or not self._servers:
            _break(writer)
            return
        task = asyncio.create_task(serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        task.add_done_callback(lambda _: writer.close())  # who is stopped before the first step closes nothing

    async def stop(self) -> None:
        """Listen no more, and break what is open: the programs at the ends are gone."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for each in self._open:
            each.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


async def _pass_on(address: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    ends = [writer]
    try:
        there_reader, there_writer = await asyncio.open_connection(address, port, limit=_PIECE)
        ends.append(there_writer)
        await asyncio.gather(copied(reader, there_writer), copied(there_reader, writer))
    except OSError:
        for each in ends:
            _break(each)  # as it would be without us: nobody answers, or the connection breaks
    finally:
        await closed(ends)


def _break(writer: asyncio.StreamWriter) -> None:
    """Reset the connection: to close it would tell the program that this was all there is to say."""
    with contextlib.suppress(OSError):
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()
