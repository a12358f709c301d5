"""The private network by itself: who joins it, what passes through a relay, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.networks import listening
from treadle.agent.sandbox import enter, netlink, network, rights, switch
from treadle.errors import LaunchError

Endpoint = tuple[str, int]


@pytest.fixture(autouse=True)
def possible() -> None:
    if problem := network.problem():
        pytest.skip(f"no private network here: {problem}")


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """Give one that no test beside this one has: names of sockets are the whole machine's."""
    return str(tmp_path)


async def test_join(tmp_path: Path, secret: str) -> None:
    """All hosts of an attempt meet, whoever is first; another attempt, with the same addresses, is another network."""
    hosts = network.addresses([f"algo-{number}" for number in range(1, 5)])
    before = len(list(Path("/proc/self/fd").iterdir()))
    joined = await asyncio.gather(
        *(network.Membership.join(secret, host, address, tmp_path) for host, address in hosts.items())
    )
    another = f"{secret} of another attempt"
    stranger = await network.Membership.join(another, "algo-1", hosts["algo-1"], tmp_path)
    assert len(listening(secret, another)) == 2
    listener = netlink.within(joined[3].namespace, lambda: socket.create_server((hosts["algo-4"], 80)))
    with closing(listener):
        asked = netlink.within(joined[0].namespace, lambda: socket.create_connection((hosts["algo-4"], 80), timeout=5))
        asked.close()
        with pytest.raises(OSError, match=r"No route to host|timed out"):
            netlink.within(stranger.namespace, lambda: socket.create_connection((hosts["algo-4"], 80), timeout=0.1))
    for each in (*joined, stranger):
        await each.leave()
    assert listening(secret, another) == set()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_join_when_the_first_has_gone(tmp_path: Path, secret: str) -> None:
    """Its name is free again at once, and others make a new network."""
    for _ in range(2):
        async with await network.Membership.join(secret, "algo-1", "10.0.0.1", tmp_path):
            pass


async def test_a_silent_owner(tmp_path: Path, secret: str) -> None:
    """Somebody who has the name and hands nothing over is an error, not a wait for ever."""
    with closing(socket.socket(socket.AF_UNIX)) as owner:
        owner.bind(network.name_of(secret))
        owner.listen()
        joining = asyncio.create_task(network.Membership.join(secret, "algo-1", "10.0.0.1", tmp_path))
        channel, _ = await asyncio.to_thread(owner.accept)
        channel.close()
        with pytest.raises(LaunchError, match="network of the job's hosts cannot be made for algo-1"):
            await joining


async def test_another_user_gets_nothing(tmp_path: Path, secret: str) -> None:
    """The name is no secret to who looks; the network is handed to processes of the same user alone."""
    if os.geteuid() != 0 or not Path("/usr/bin/python3").exists():
        pytest.skip("it takes root to become somebody else, and an interpreter that everybody may run")
    script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('\\0' + sys.argv[1]); print(socket.recv_fds(s, 1, 1)[1])"
    async with await network.Membership.join(secret, "algo-1", "10.0.0.1", tmp_path):
        (name,) = listening(secret)
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/python3", "-c", script, name.removeprefix("@"), user=65534, stdout=subprocess.PIPE, cwd="/"
        )
        said, _ = await process.communicate()
    assert said == b"[]\n"


# Without the right to make networks


def test_what_another_process_makes() -> None:
    """It is made in a user namespace, and what belongs to one is made there; the kernel's refusals come back."""
    with ExitStack() as stack:

        def made(name: str, arguments: tuple[Any, ...], namespace: int | None = None) -> int:
            stack.callback(os.close, descriptor := rights._asked(name, arguments, namespace))
            assert not os.get_inheritable(descriptor)
            return descriptor

        middle = made("new", ())
        assert not enter.is_ours(middle)
        hosts = [made("plug_in", (f"algo-{number}", f"10.0.0.{number}"), namespace=middle) for number in (1, 2)]
        bound = rights.acquire(switch.listener, "192.0.2.7", 80, namespace=hosts[0])
        with socket.socket(fileno=bound) as listener:
            assert listener.getsockname() == ("192.0.2.7", 80)
            listener.listen()
            with pytest.raises(OSError, match="Address already in use"):
                rights.acquire(switch.listener, "192.0.2.7", 80, namespace=hosts[0])
        with pytest.raises(FileExistsError):
            rights.acquire(switch.plug_in, "algo-1", "10.0.0.1", namespace=middle)


@pytest.mark.timeout(120)
def test_who_may_make_none_has_them_all_the_same() -> None:
    """Root without its capabilities is a user like any other: the hosts of a job have their network."""
    if os.geteuid() != 0 or not (setpriv := shutil.which("setpriv")):
        pytest.skip("it takes root, and util-linux, to give capabilities up")
    # To stand for root in a user namespace is the one right that takes one; other users need none to be themselves.
    bare = [setpriv, "--bounding-set=-all,+setfcap", "--inh-caps=-all"]
    trial = subprocess.run([*bare, sys.executable, "-c", _TRIAL], capture_output=True, text=True, check=True)
    if trial.stdout.strip():
        pytest.skip(f"the kernel does not allow it: {trial.stdout.strip()}")
    tests = str(Path(__file__).with_name("test_hosts.py"))
    chosen = [f"{tests}::test_one_port_on_two_hosts", f"{tests}::test_reach"]
    asked = [*bare, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


_TRIAL = "from treadle.agent.sandbox import network; print(network.problem())"


# The relay


@pytest.fixture
async def namespace() -> AsyncIterator[int]:
    made = netlink.new_namespace()
    netlink.within(made, lambda: netlink.set_up("lo"))
    yield made
    os.close(made)


async def _serve(stack: AsyncExitStack, host: str = "127.0.0.1") -> Endpoint:
    """Answer with what comes, backwards, when the other side has said that it is all."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read())[::-1])
        writer.close()

    server = await asyncio.start_server(answer, host, 0)
    stack.callback(server.close)
    address: Endpoint = server.sockets[0].getsockname()[:2]
    return address


def ask(address: Endpoint, data: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as asked:
        asked.sendall(data)
        asked.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := asked.recv(1 << 20):
            answer += piece
    return answer


async def test_relay(namespace: int) -> None:
    """Both ways, however much, and each side's end is passed on by itself."""
    async with AsyncExitStack() as stack:
        service = await _serve(stack)
        relay = await network.Relay.start(namespace, [service])
        data = os.urandom(4 << 20)
        answers = [asyncio.to_thread(netlink.within, namespace, lambda: ask(service, data)) for _ in range(4)]
        assert await asyncio.gather(*answers) == [data[::-1]] * 4
        await relay.stop()


async def test_relay_to_another_address(namespace: int) -> None:
    """A service that listens elsewhere than on loopback is reached at that address."""
    address = "127.0.0.77"  # as good as another one: loopback ones all are of this machine
    async with AsyncExitStack() as stack:
        service = await _serve(stack, address)
        relay = await network.Relay.start(namespace, [service])
        assert await asyncio.to_thread(netlink.within, namespace, lambda: ask(service, b"abc")) == b"cba"
        await relay.stop()
    os.close(switch.listener(namespace, "192.0.2.7", 80))


async def test_relay_to_nobody(namespace: int) -> None:
    """A service that has gone is as it would be without a relay: the connection breaks."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        gone: Endpoint = taken.getsockname()
    relay = await network.Relay.start(namespace, [gone])
    with pytest.raises(OSError, match=r"reset|not connected|Broken pipe"):
        await asyncio.to_thread(netlink.within, namespace, lambda: ask(gone, b"abc"))
    await relay.stop()


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:8000", "S3_ENDPOINT_URL": "http://localhost:8001"},
            {("127.0.0.1", 8000), ("127.0.0.1", 8001)},
        ),
        ({"AWS_ENDPOINT_URL_S3": "https://192.0.2.7"}, {("192.0.2.7", 443)}),
        ({"AWS_ENDPOINT_URL": "http://[::1]:9"}, {("::1", 9)}),
        ({"AWS_ENDPOINT_URL": "http://minio:9000", "OTHER": "http://127.0.0.1:1"}, set()),
    ],
)
def test_endpoints(environment: dict[str, str], found: set[Endpoint]) -> None:
    assert network.endpoints(environment) == found


def test_netlink_says_what_is_wrong() -> None:
    """The kernel's refusals are OSErrors, also from another namespace."""
    made = netlink.new_namespace()
    try:
        netlink.within(made, lambda: netlink.add_bridge("hosts"))
        with pytest.raises(FileExistsError):
            netlink.within(made, lambda: netlink.add_bridge("hosts"))
        with pytest.raises(OSError, match="no interface with this name"):
            netlink.within(made, lambda: netlink.set_up("none"))
        netlink.within(made, lambda: netlink.add_address("lo", "10.1.2.3", 32))
        netlink.within(made, lambda: netlink.add_address("lo", "10.1.2.3", 32))
    finally:
        os.close(made)
