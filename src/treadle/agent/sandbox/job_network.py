"""The network of a job whose hosts are containers: one of the engine's own, made for the attempt and gone with it.

    single host, isolated      none: there is nobody to reach
    several hosts, isolated    an internal network without an address of the machine's on it
    otherwise                  a bridge of the engine's, through which the internet is reached; the service listens on
                               loopback only, so a relay passes on what comes to the bridge's own address
    on several machines        the machine's network, because the hosts reach each other by the machines' addresses
    an engine without root     the machine's network, as the namespace sandbox has it without root: the bridges of such
                               an engine are in a namespace of its own, where the service cannot be passed on to

The relay listens on the bridge's address, which other machines may find a route to, so it takes nothing but what comes
from addresses of that very network: an answer to anybody else who claims to have one goes into the bridge.

Every agent of the attempt holds a shared lock on a file for as long as it uses the network; the one that finds itself
alone removes it. Addresses are chosen here and written to everybody's `/etc/hosts`, so that a name resolves before the
host that has it is up.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from treadle.agent.sandbox import network
from treadle.errors import LaunchError
from treadle.launchers import containers
from treadle.launchers.engine import Engine
from treadle.seams import Json
from treadle.training.hosts import loopback_addresses

__all__ = ["JobNetwork", "retold"]

_log: Final = logging.getLogger(__name__)

_LOCK: Final = "network.lock"
# Not in the socket module of every Python. linux/in.h
_IP_FREEBIND: Final = 15
# From the choice of a subnet to its use another program may take it.
_TRIES: Final = 5
# Docker, from 19.03 on: no address of the machine's on the bridge.
_NO_ADDRESS: Final = {"com.docker.network.bridge.inhibit_ipv4": "true"}


@dataclass(frozen=True, slots=True)
class JobNetwork:
    """Where the container of a host belongs: `mode` is Docker's NetworkMode, `address` its own in there, "" for any.

    `addresses` by host name. `subnet` and `gateway`, the address of the bridge, are those of a network of the engine's.
    """

    mode: str
    addresses: Mapping[str, str]
    address: str = ""
    notices: tuple[str, ...] = ()
    subnet: ipaddress.IPv4Network | None = None
    gateway: str = ""


def alone(host: str) -> JobNetwork:
    """Give the network of a single host that must reach nobody."""
    return JobNetwork("none", {host: "127.0.0.1"}, notices=("network: none",))


def shared(its: Engine, hosts: Sequence[str]) -> JobNetwork:
    """Give the machine's network, where the engine can give no other that the service is reached from."""
    said = [f"the container shares the machine's network: {its.name} runs without root"]
    if len(hosts) > 1:
        said.append(f"the hosts are 127.0.0.1 to 127.0.0.{len(hosts)}: two cannot listen on one port of all addresses")
    return JobNetwork("host", loopback_addresses(hosts), notices=tuple(said))


def between_machines(addresses: Mapping[str, str], notices: tuple[str, ...]) -> JobNetwork:
    """Give the machine's network, by which hosts on other machines are reached."""
    return JobNetwork("host", addresses, notices=notices)


def given(namespace: int, addresses: Mapping[str, str], host: str) -> JobNetwork:
    """Give a network namespace that this process holds, to an engine that takes one."""
    said = f"network: {addresses[host]}; the other hosts can be reached, and nothing else"
    return JobNetwork(f"ns:/proc/{os.getpid()}/fd/{namespace}", addresses, notices=(said,))


@contextlib.contextmanager
def joined(
    its: Engine, name: str, directory: Path, labels: Mapping[str, str], hosts: Sequence[str], host: str, *, apart: bool
) -> Iterator[JobNetwork]:
    """Make or join the attempt's own network; leave it afterwards, and remove it if nobody else has it.

    `directory` is the host's; the agents of the attempt share the one above. Blocks. Raises `LaunchError`.
    """
    attempt = directory.parent
    with (attempt / _LOCK).open("wb") as held:
        with network.locked(attempt):
            found = _found(its, name) or _made(its, name, labels, several=len(hosts) > 1, apart=apart)
            fcntl.flock(held, fcntl.LOCK_SH)
        try:
            yield _joined(name, found, hosts, host)
        finally:
            with network.locked(attempt):
                fcntl.flock(held, fcntl.LOCK_UN)
                _left(its, name, directory, last=_nobody_has(held))


def _left(its: Engine, name: str, directory: Path, *, last: bool) -> None:
    """Remove the network if it is for us to do; if that fails, it is for the launcher, who has the record."""
    try:
        if last:
            containers.remove_network(its, name)
        containers.forget(directory, network=True)
    except LaunchError as error:
        _log.warning("%s", error.message)


def _nobody_has(held: Any) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _found(its: Engine, name: str) -> dict[str, Json] | None:
    with its.speaking("The networks of the engine cannot be listed") as client:
        # The filter takes parts of names, too.
        same = [each for each in client.networks(names=[name]) if each["Name"] == name]
        return client.inspect_network(same[0]["Id"]) if same else None


def _made(its: Engine, name: str, labels: Mapping[str, str], *, several: bool, apart: bool) -> dict[str, Json]:
    """Make a network; the engine knows which subnets are free.

    Docker lets containers choose their addresses only in subnets that were chosen, too: so there the engine's choice is
    made ours.
    """
    make = partial(_create, its, name, labels, apart, _NO_ADDRESS if apart and not its.podman else None)
    found = make()
    if its.podman or not several:
        return found
    for _ in range(_TRIES - 1):
        containers.remove_network(its, name)
        with contextlib.suppress(LaunchError):
            return make(found["IPAM"]["Config"][0])
        found = make()
    containers.remove_network(its, name)
    return make(found["IPAM"]["Config"][0])


def _create(
    its: Engine,
    name: str,
    labels: Mapping[str, str],
    internal: bool,
    options: Mapping[str, str] | None,
    chosen: Mapping[str, str] | None = None,
) -> dict[str, Json]:
    ipam = {"Config": [{"Subnet": chosen["Subnet"], "Gateway": chosen["Gateway"]}]} if chosen else None
    with its.speaking(f"The network {name} cannot be made") as client:
        made = client.create_network(
            name,
            driver="bridge",
            internal=internal,
            labels=dict(labels),
            options=options,
            ipam=ipam,
            check_duplicate=True,
        )
        found: dict[str, Json] = client.inspect_network(made["Id"])
        return found


def _joined(name: str, found: Mapping[str, Json], hosts: Sequence[str], host: str) -> JobNetwork:
    chosen = next((each for each in found["IPAM"]["Config"] if ":" not in each["Subnet"]), None)
    if chosen is None:
        raise LaunchError(f"The network {name} has no IPv4 subnet.")
    subnet = ipaddress.IPv4Network(chosen["Subnet"])
    gateway = chosen.get("Gateway") or str(subnet[1])
    if len(hosts) == 1:
        return JobNetwork(name, {}, subnet=subnet, gateway=gateway)
    if subnet.num_addresses < len(hosts) + 4:
        raise LaunchError(f"The network {name} has too few addresses ({subnet}) for {len(hosts)} hosts.")
    # The first addresses are the engine's to give, to the bridge for example.
    ordered = sorted(hosts, key=lambda each: (len(each), each))
    addresses = {each: str(subnet[number]) for number, each in enumerate(ordered, 2)}
    said = f"network: {addresses[host]} in {subnet}"
    return JobNetwork(name, addresses, addresses[host], notices=(said,), subnet=subnet, gateway=gateway)


# ---------------------------------------------------------------------------------------------------------------------
# The way to the service
# ---------------------------------------------------------------------------------------------------------------------


async def relayed(relay: network.Relay, joined: JobNetwork, environment: Mapping[str, str]) -> dict[str, str]:
    """Listen on the bridge for what the program was told of on this machine; give old and new URL. Raises OSError."""
    moved = {}
    for target in sorted(network.endpoints(environment)):
        if ipaddress.ip_address(target[0]).is_loopback:
            listener = _listener(joined.gateway)
            await relay.listen(listener, target, joined.subnet)
            moved[_netloc(*target)] = _netloc(joined.gateway, listener.getsockname()[1])
    return moved


def _listener(gateway: str) -> socket.socket:
    """Listen on a bridge that some engines make only when the first container is there."""
    listener = socket.socket(socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        listener.bind((gateway, 0))
    except BaseException:
        listener.close()
        raise
    return listener


def _netloc(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def retold(environment: Mapping[str, str], moved: Mapping[str, str]) -> dict[str, str]:
    """Give the variables with the endpoints that have moved where they are.

    >>> retold({"AWS_ENDPOINT_URL": "http://localhost:8000/x", "A": "b"}, {"127.0.0.1:8000": "10.89.0.1:40000"})
    {'AWS_ENDPOINT_URL': 'http://10.89.0.1:40000/x', 'A': 'b'}
    """
    return {name: _moved(value, moved) if network.is_endpoint(name) else value for name, value in environment.items()}


def _moved(url: str, moved: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    target = network.target(url)
    found = moved.get(_netloc(*target)) if target else None
    return urlunsplit(parts._replace(netloc=found)) if found else url
