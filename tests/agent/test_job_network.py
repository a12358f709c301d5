"""The way from a container's network to the service, and who may take it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.waiting import until
from treadle.agent.sandbox import job_network, network
from treadle.agent.sandbox.job_network import JobNetwork, relayed, retold


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.fixture
async def service() -> AsyncIterator[str]:
    """Give the URL of a service that echoes what comes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await closed(writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


def within(subnet: str) -> JobNetwork:
    return JobNetwork("net", {}, subnet=ipaddress.IPv4Network(subnet), gateway="127.0.0.1")


async def ask(environment: dict[str, str], moved: dict[str, str]) -> bytes:
    """Ask who the program is told of, as the program does."""
    host, _, port = retold(environment, moved)["AWS_ENDPOINT_URL"].removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"abc")
        writer.write_eof()
        return await reader.read()
    finally:
        await closed(writer)


async def test_who_is_in_the_network_is_passed_on(service: str) -> None:
    """The program reaches what it was told of at the gateway, on a port of the relay's."""
    environment = {"AWS_ENDPOINT_URL": service, "OTHER": service}
    relay = network.Relay()
    moved = await relayed(relay, within("127.0.0.0/24"), environment)
    assert await ask(environment, moved) == b"abc"
    assert retold(environment, moved)["OTHER"] == service
    await relay.stop()


# In the turn before, the loop is between accepting and telling us, and asyncio (gh-109564) loses the socket.
@pytest.mark.parametrize("turns", range(3, 30))
async def test_who_stops_at_any_moment_leaves_nothing_open(service: str, turns: int) -> None:
    """A job may end while a connection is accepted, passed on or closed: both its ends are let go of."""

    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    relay = network.Relay()
    before = opened()
    moved = await relayed(relay, within("127.0.0.0/24"), {"AWS_ENDPOINT_URL": service})
    port = int(next(iter(moved.values())).rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as asking:
        asking.sendall(b"abc")
        asking.shutdown(socket.SHUT_WR)
        for _ in range(turns):
            await asyncio.sleep(0)
        await relay.stop()
    await asyncio.to_thread(until, lambda: opened() <= before, what="closed")


async def test_who_is_not_in_it_hears_nothing(service: str) -> None:
    """Another address, be it this machine's or one that has found a route here, is cut off."""
    environment = {"AWS_ENDPOINT_URL": service}
    relay = network.Relay()
    moved = await relayed(relay, within("10.89.0.0/24"), environment)
    with pytest.raises(OSError, match=r"reset|Broken pipe|not connected"):
        await ask(environment, moved)
    await relay.stop()


async def test_what_is_not_of_this_machine_is_not_relayed() -> None:
    """A service elsewhere is reached by the container itself."""
    environment = {"AWS_ENDPOINT_URL_S3": "https://192.0.2.7", "AWS_ENDPOINT_URL": "http://minio:9000"}
    assert await relayed(network.Relay(), within("127.0.0.0/24"), environment) == {}


def test_a_gateway_that_is_not_there_yet_can_be_listened_on() -> None:
    """Podman makes the bridge with the first container: the relay must listen before."""
    with job_network._listener("192.0.2.77") as listener:
        assert listener.getsockname()[0] == "192.0.2.77"
        assert listener.family == socket.AF_INET


def test_the_hosts_addresses() -> None:
    """In the order of their numbers, after those that are the engine's to give."""
    found = {"IPAM": {"Config": [{"Subnet": "fd00::/64"}, {"Subnet": "10.89.3.0/24", "Gateway": "10.89.3.1"}]}}
    joined = job_network._joined("n", found, ["algo-1", "algo-10", "algo-2"], "algo-10")
    assert joined.addresses == {"algo-1": "10.89.3.2", "algo-2": "10.89.3.3", "algo-10": "10.89.3.4"}
    assert (joined.address, joined.gateway) == ("10.89.3.4", "10.89.3.1")
