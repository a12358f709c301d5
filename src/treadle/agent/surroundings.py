"""Where the program of a host runs: the sandbox, its network and control groups, made before anything is brought.

All of it is let go of when the host's work ends; what a killed agent leaves is taken away by the kernel (a network of
namespaces) or found by the launcher (control groups, containers and their network).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from treadle.agent import contract
from treadle.agent.data import Shows
from treadle.agent.sandbox import network, proxy
from treadle.agent.sandbox.choice import Choice
from treadle.agent.sandbox.entrance import Entrance
from treadle.errors import LaunchError
from treadle.launchers import cgroups, gpus
from treadle.launchers.engine import Engine
from treadle.seams import HostSpec, Sandbox
from treadle.training.hosts import loopback_addresses

__all__ = ["Image", "Place", "Say", "Surroundings", "arranged", "member_of", "where"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """What is told from one attempt of one host to another: its directory, its marker, the secret of the attempt.

    `hidden`, `gpus`, `claims` and `certificate` are what the launcher says of the machine; see `HostLaunch`.
    """

    directory: Path
    marker: str
    secret: str
    hidden: tuple[Path, ...] = ()
    gpus: tuple[str, ...] = ()
    claims: tuple[int, ...] = ()
    certificate: str = ""

    @property
    def spool(self) -> Path:
        """Where what is to be told is kept until it has been."""
        return self.directory / "spool"


class Image(Protocol):
    """The image that a container is to have; `containment.ContainerImage`."""

    @property
    def out_of_memory(self) -> bool:
        """Whether a process of the container was killed because of its memory limit."""
        ...

    def bring(self, say: Say, progress: Say, cancelled: threading.Event) -> str:
        """See that the engine has it; its id, "" when it was cancelled. Blocks. Raises `PullError`, `LaunchError`."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was arranged; `addresses` by host name, `network` whether the machine's is the program's, too.

    `variables` are what the program is told of it, unless the request says otherwise.
    """

    sandbox: Sandbox
    addresses: Mapping[str, str]
    network: bool
    namespace: int | None = None
    group: cgroups.Group | None = None
    image: Image | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def shows(self) -> Shows:
        """Where directories can be shown to the program besides where they lie."""
        kinds: Mapping[str, Shows] = {"namespace": "covering", "container": "anywhere"}
        return kinds.get(self.sandbox.name, "nowhere")

    @property
    def out_of_memory(self) -> bool:
        """Whether a process of the program was killed because it took more memory than it may."""
        if self.image is not None:
            return self.image.out_of_memory
        return self.group is not None and bool(self.group.out_of_memory)


@contextlib.asynccontextmanager
async def arranged(
    spec: HostSpec,
    place: Place,
    choose: Callable[[str], Choice],
    private: Callable[[], str],
    find: Callable[[], Engine],
    say: Say,
    entrance: Entrance | None = None,
) -> AsyncIterator[Surroundings]:
    """Arrange the surroundings, and say what they are; `private` says why there is no private network, "" if there is.

    `entrance` is the one of the sandboxes; it is closed if no program has been started by then. Raises `LaunchError`.
    """
    async with contextlib.AsyncExitStack() as stack:
        if contract.in_container(spec):
            if entrance is not None:
                entrance.close()
            from treadle.agent.containment import contained  # only who has a container pays for it

            yield await contained(stack, spec, place, find, say)
        else:
            yield await _on_the_machine(stack, spec, place, choose, private, say, entrance)


async def _on_the_machine(
    stack: contextlib.AsyncExitStack,
    spec: HostSpec,
    place: Place,
    choose: Callable[[str], Choice],
    private: Callable[[], str],
    say: Say,
    entrance: Entrance | None,
) -> Surroundings:
    choice = await asyncio.to_thread(choose, spec.sandbox)
    say(f"sandbox: {choice.sandbox.name}" + (f" ({choice.warning})" if choice.warning else ""))
    group = await asyncio.to_thread(_group, spec, place)
    if group is not None:
        stack.push_async_callback(asyncio.to_thread, group.remove)
        if entrance is not None:
            stack.callback(entrance.close)
            entrance.join(group.directories)
        if group.problem:
            say(f"the program runs with {group.problem}")
    if spec.gpus and (missing := await asyncio.to_thread(gpus.made_ready)):
        say(missing)
    apart = spec.request.get("EnableNetworkIsolation", False)
    if len(spec.hosts) == 1:
        return Surroundings(choice.sandbox, loopback_addresses(spec.hosts), not apart, group=group)
    named = choice.sandbox.name == "namespace"
    if contract.on_several_machines(spec):
        say(where(spec.addresses))
        if not named:
            say(f"the hosts' names do not resolve, because the sandbox is {choice.sandbox.name}: use these addresses")
        if apart:
            say("EnableNetworkIsolation has no effect: without a network the hosts would not reach each other")
        return Surroundings(choice.sandbox, spec.addresses, network=True, group=group)
    problem = await asyncio.to_thread(private) if named else f"the sandbox is {choice.sandbox.name}"
    if problem:
        say(
            f"the hosts share the machine's network, as 127.0.0.1 to 127.0.0.{len(spec.hosts)}: two of them cannot "
            f"listen on one port of all addresses, and there is no eth0 ({problem})"
        )
        if not named:
            say("the hosts' names do not resolve: who needs them has to use these addresses")
        if apart:
            say("EnableNetworkIsolation has no effect: without a network the hosts would not reach each other")
        return Surroundings(choice.sandbox, loopback_addresses(spec.hosts), network=True, group=group)
    member = await member_of(stack, spec, place)
    told: dict[str, str] = {}
    if apart:
        say(f"network: {member.address}; the other hosts can be reached, and nothing else")
    else:
        told = await _relay(stack, spec, member.namespace)
        say(f"network: {member.address}; the other hosts and the service can be reached, others by HTTPS_PROXY")
    addresses = network.addresses(spec.hosts)
    return Surroundings(
        choice.sandbox, addresses, network=True, namespace=member.namespace, group=group, variables=told
    )


def where(addresses: Mapping[str, str]) -> str:
    """Say on which machines the hosts of a job are.

    >>> where({"algo-1": "10.0.0.1", "algo-2": "10.0.0.2"})
    'hosts: algo-1 on 10.0.0.1, algo-2 on 10.0.0.2'
    """
    machines: dict[str, list[str]] = {}
    for host, address in addresses.items():
        machines.setdefault(address, []).append(host)
    said = ", ".join(f"{' and '.join(hosts)} on {address}" for address, hosts in machines.items())
    shared = len(machines) < len(addresses)
    return f"hosts: {said}" + (": those on one machine cannot listen on one port of it" if shared else "")


async def member_of(stack: contextlib.AsyncExitStack, spec: HostSpec, place: Place) -> network.Membership:
    """Give the host's place in the network of its job, until the stack is left. Raises `LaunchError`."""
    address = network.addresses(spec.hosts)[spec.host]
    member = await network.Membership.join(place.secret, spec.host, address, place.directory.parent)
    return await stack.enter_async_context(member)


async def _relay(stack: contextlib.AsyncExitStack, spec: HostSpec, namespace: int) -> dict[str, str]:
    """Make the ways to the service and outside; what the program is told of them."""
    endpoints = network.endpoints(contract.environment(spec))
    try:
        relay = await network.Relay.start(namespace, endpoints)
        stack.push_async_callback(relay.stop)
        port = await relay.open(namespace, proxy.forward)
    except OSError as error:
        raise LaunchError(f"The way to the service cannot be made: {error}.") from error
    return proxy.variables(port, network.addresses(spec.hosts), {host for host, _ in endpoints})


def _group(spec: HostSpec, place: Place) -> cgroups.Group | None:
    if not spec.cpus and not spec.memory:
        return None
    name = f"treadle-{hashlib.sha256(place.marker.encode()).hexdigest()[:24]}"
    return cgroups.create(name, place.directory / cgroups.RECORD, cpus=spec.cpus, memory=spec.memory)
