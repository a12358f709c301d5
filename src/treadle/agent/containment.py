"""The surroundings of a program in a container: engine, image, network of the job, limits.

Imported by hosts that have a container alone: the others start sooner without.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from treadle.agent import contract, image
from treadle.agent.faults import PullError
from treadle.agent.sandbox import devices, job_network, network
from treadle.agent.sandbox.container import ContainerSandbox, Limits
from treadle.agent.sandbox.job_network import JobNetwork
from treadle.agent.surroundings import Place, Say, Surroundings, member_of, where
from treadle.errors import LaunchError
from treadle.launchers import containers, gpus
from treadle.launchers.engine import Engine
from treadle.seams import HostSpec

__all__ = ["ContainerImage", "contained"]


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """The image that a container is to have; `bring` sees that the engine has it, and tells the sandbox which it is.

    `hint` says what else may have been meant by its reference.
    """

    engine: Engine
    reference: str
    sandbox: ContainerSandbox
    hint: str = ""

    def bring(self, say: Say, progress: Say, cancelled: threading.Event) -> str:
        """Blocks; gives its id, "" when it was cancelled. Raises `PullError`, `LaunchError`."""
        try:
            self.sandbox.image = image.bring(self.engine, self.reference, say, progress, cancelled, os.environ)
        except PullError as error:
            error.hint = f"{self.hint} {error.hint}".strip()
            raise
        return self.sandbox.image

    @property
    def out_of_memory(self) -> bool:
        """Whether a process of the container was killed because of its memory limit."""
        return self.sandbox.out_of_memory


async def contained(
    stack: contextlib.AsyncExitStack, spec: HostSpec, place: Place, find: Callable[[], Engine], say: Say
) -> Surroundings:
    """Arrange the surroundings of a container; what is made is let go of with the stack. Raises `LaunchError`."""
    if spec.sandbox not in {"auto", "container"}:
        raise LaunchError(f'The sandbox "{spec.sandbox}" runs no container images.')
    its = await asyncio.to_thread(_asked, find)
    say(f"sandbox: container ({its.name})")
    limits = Limits(
        spec.cpus,
        spec.memory,
        # As on the instances: half of the memory, of which only what is used is taken.
        shared_memory=(spec.memory or int(its.information["MemTotal"])) // 2,
        devices=devices.request(its, spec.gpus, gpus.devices()),
    )
    if (spec.cpus or spec.memory) and its.unlimited:
        say(f"the program runs with no limit of memory and CPUs: {its.name} has no control groups of its own")
    record = containers.record_of(its.address, place.directory, spec.job, spec.attempt, spec.host)
    record.write(place.directory)
    joined = await _job_network(stack, its, spec, place, record)
    for each in joined.notices:
        say(each)
    sandbox = ContainerSandbox(
        its,
        spec.image["name"],
        place.directory,
        record,
        entrypoint=spec.image.get("entrypoint"),
        labels=containers.labels(place.directory, spec.job, spec.attempt, spec.host),
        joined=joined,
        endpoints=await _relayed(stack, spec, joined),
        limits=limits,
        claims=place.claims,
    )
    brought = ContainerImage(its, spec.image["name"], sandbox, spec.image.get("hint", ""))
    return Surroundings(sandbox, joined.addresses, network=joined.mode != "none", image=brought)


def _asked(find: Callable[[], Engine]) -> Engine:
    its = find()
    _ = its.information  # it takes its time, and is kept
    return its


async def _job_network(
    stack: contextlib.AsyncExitStack, its: Engine, spec: HostSpec, place: Place, record: containers.Record
) -> JobNetwork:
    apart = bool(spec.request.get("EnableNetworkIsolation"))
    if contract.on_several_machines(spec):
        return job_network.between_machines(spec.addresses, (where(spec.addresses),))
    if apart and len(spec.hosts) == 1:
        return job_network.alone(spec.host)
    if its.rootless and not apart:
        return job_network.shared(its, spec.hosts)
    if apart and its.podman and not its.rootless and not await asyncio.to_thread(network.problem):
        # Its own internal networks let the machine's services and its DNS be reached.
        member = await member_of(stack, spec, place)
        return job_network.given(member.namespace, network.addresses(spec.hosts), spec.host)
    made = job_network.joined(
        its,
        record.network,
        place.directory,
        containers.labels(place.directory.parent, spec.job, spec.attempt),
        spec.hosts,
        spec.host,
        apart=apart,
    )
    joined = await asyncio.to_thread(made.__enter__)
    stack.push_async_callback(asyncio.to_thread, made.__exit__, None, None, None)
    return joined


async def _relayed(stack: contextlib.AsyncExitStack, spec: HostSpec, joined: JobNetwork) -> dict[str, str]:
    if joined.subnet is None or spec.request.get("EnableNetworkIsolation"):
        return {}
    relay = network.Relay()
    stack.push_async_callback(relay.stop)
    try:
        return await job_network.relayed(relay, joined, contract.environment(spec))
    except OSError as error:
        raise LaunchError(f"The way to the service cannot be made: {error}.") from error
