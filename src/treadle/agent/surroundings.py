"""Where the program of a host runs: the sandbox, its network and control groups, made before anything is brought.

All of it is let go of when the host's work ends; what a killed agent leaves is taken away by the kernel (the network)
or found by the launcher (the control groups).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from treadle.agent import contract
from treadle.agent.sandbox import Choice, network
from treadle.errors import LaunchError
from treadle.launchers import cgroups
from treadle.seams import HostSpec, Sandbox
from treadle.training.hosts import loopback_addresses

__all__ = ["Place", "Surroundings", "arranged"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """What is told from one attempt of one host to another: its directory, its marker, the secret of the attempt."""

    directory: Path
    marker: str
    secret: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was arranged; `addresses` by host name, `network` whether the machine's is the program's, too."""

    sandbox: Sandbox
    addresses: dict[str, str]
    network: bool
    namespace: int | None = None
    group: cgroups.Group | None = None

    @property
    def mounts(self) -> bool:
        """Whether directories can be shown to the program where they do not lie."""
        return self.sandbox.name == "namespace"


@contextlib.asynccontextmanager
async def arranged(
    spec: HostSpec, place: Place, choose: Callable[[str], Choice], private: Callable[[], str], say: Say
) -> AsyncIterator[Surroundings]:
    """Arrange the surroundings, and say what they are; `private` says why there is no private network, "" if there is.

    Raises `LaunchError`.
    """
    choice = await asyncio.to_thread(choose, spec.sandbox)
    say(f"sandbox: {choice.sandbox.name}" + (f" ({choice.warning})" if choice.warning else ""))
    async with contextlib.AsyncExitStack() as stack:
        group = await asyncio.to_thread(_group, spec, place)
        if group is not None:
            stack.push_async_callback(asyncio.to_thread, group.remove)
            if group.problem:
                say(f"the program runs with {group.problem}")
        apart = spec.request.get("EnableNetworkIsolation", False)
        if len(spec.hosts) == 1:
            yield Surroundings(choice.sandbox, loopback_addresses(spec.hosts), not apart, group=group)
            return
        named = choice.sandbox.name == "namespace"
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
            yield Surroundings(choice.sandbox, loopback_addresses(spec.hosts), network=True, group=group)
            return
        addresses = network.addresses(spec.hosts)
        member = await network.Membership.join(place.secret, spec.host, addresses[spec.host], place.directory.parent)
        await stack.enter_async_context(member)
        if apart:
            say(f"network: {addresses[spec.host]}; the other hosts can be reached, and nothing else")
        else:
            await _relay(stack, spec, member.namespace)
            say(f"network: {addresses[spec.host]}; the other hosts and the service can be reached, and nothing else")
        yield Surroundings(choice.sandbox, addresses, network=True, namespace=member.namespace, group=group)


async def _relay(stack: contextlib.AsyncExitStack, spec: HostSpec, namespace: int) -> None:
    try:
        relay = await network.Relay.start(namespace, network.endpoints(contract.environment(spec)))
    except OSError as error:
        raise LaunchError(f"The way to the service cannot be made: {error}.") from error
    stack.push_async_callback(relay.stop)


def _group(spec: HostSpec, place: Place) -> cgroups.Group | None:
    if not spec.cpus and not spec.memory:
        return None
    name = f"treadle-{hashlib.sha256(place.marker.encode()).hexdigest()[:24]}"
    return cgroups.create(name, place.directory / cgroups.RECORD, cpus=spec.cpus, memory=spec.memory)
