"""`seams.Launcher` on a Ray cluster, as the service has it: everything about Ray itself is the clerk's.

What cannot be known because Ray does not answer is taken to be as it was: hosts live, nodes are there. Agents speak to
the service without Ray, so a cluster whose head is away for a while stops nothing but new hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from treadle._version import __version__
from treadle.errors import LaunchError, UsageError
from treadle.launchers.handles import Handle
from treadle.launchers.local import AGENT_LOG
from treadle.launchers.ray.placement import bundle, strategy, together
from treadle.seams import Capacity, HostLaunch, Room

__all__ = ["RayLauncher", "is_here"]

_log: Final = logging.getLogger(__name__)

# Nodes come and go, but not with every job.
_LOOK_AGAIN: Final = 2.0
# An answer that takes longer is for the next look: one node that hangs must not keep others from being looked at.
_AT_ONCE: Final = 0.5
_CONNECT: Final = 90.0
_ANSWER: Final = 30.0
# The clerk's own patience is a little shorter.
_START: Final = 75.0
_END: Final = 60.0
# Between two clerks, when one after the other ends: to start one takes a second of CPU time.
_BETWEEN: Final = 2.0
_LONGEST_BETWEEN: Final = 60.0
_LONGEST_LINE: Final = 16 << 20
# A clerk that has answered nothing for so long is given up; Ray's calls can hang.
_MUTE: Final = 120.0
_ENDED: Final = b'{"problem": "Ray has ended its driver at once, as it does where this machine is no node of it"}'


class _Handle(Handle, frozen=True):
    """The actor's name, and the host's directory in the home, where its agent's log goes."""

    name: str
    directory: str


class RayLauncher:
    """Hosts on the cluster at `address`, "auto" for the one that this machine is a node of. Open before use.

    `key` is anything that tells this service from others on the cluster. `certificate` (PEM) is sent to agents. `near`
    says that the service can be reached from this machine only.
    """

    def __init__(self, address: str, *, key: str, certificate: str = "", near: bool = False) -> None:
        self._clerk = _Clerk(address, f"treadle-{hashlib.sha256(key.encode()).hexdigest()[:12]}")
        self._certificate = certificate
        self._near = near
        self._looked = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._capacity: Capacity | None = None
        self._away = False
        # Which bundle of its attempt's group a host has, for those that are about to be launched.
        self._bundles: dict[tuple[str, int], tuple[str, ...]] = {}
        self._asked: dict[str, asyncio.Task[bool]] = {}
        # Jobs whose room is to be given back as soon as Ray can be told.
        self._owed: set[str] = set()
        # Who gives back what nobody knows must not meet who has just been given it.
        self._arranging = asyncio.Lock()

    async def open(self) -> None:
        """Connect. Raises `UsageError` where there is no cluster, or none that could be used."""
        try:
            await self._clerk.start()
            nodes = await self._nodes()
        except LaunchError as error:
            raise UsageError(error.message, hint=error.hint) from error
        if problem := self._out_of_reach([address for address, _ in nodes]):
            raise UsageError(problem, hint="Give --host, --port, --tls-cert and --tls-key.")

    def _out_of_reach(self, addresses: Sequence[str]) -> str:
        """Say which nodes the service cannot be reached from, "" for none."""
        far = [address for address in addresses if not is_here(address)] if self._near else []
        if not far:
            return ""
        return (
            f"The cluster has nodes on other machines ({', '.join(far[:3])}), and the service listens on loopback "
            "only: they would not reach it."
        )

    async def close(self) -> None:
        """Let the clerk go. Hosts stay."""
        under_way = [*self._asked.values(), *([self._looking] if self._looking is not None else [])]
        for each in under_way:
            each.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._clerk.close()

    async def capacity(self) -> Capacity:
        """Give what the nodes offer to Ray; what it was when Ray does not answer. Raises `LaunchError` at first."""
        if self._capacity is None:
            self._capacity = _capacity([each for _, each in await self._nodes()])
        elif time.monotonic() - self._looked >= _LOOK_AGAIN:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            await asyncio.wait({self._looking}, timeout=_AT_ONCE)
        return self._capacity

    async def _look(self) -> None:
        try:
            self._capacity = _capacity([each for _, each in await self._nodes()])
            self._note("")
        except LaunchError as error:
            self._note(error.message)
        self._looked = time.monotonic()

    def _note(self, problem: str) -> None:
        """Write down when Ray goes away and when it is back, not every try."""
        if problem and not self._away:
            _log.warning("%s; what runs goes on, and nothing new begins", problem)
        elif not problem and self._away:
            _log.info("Ray answers again")
        self._away = bool(problem)

    async def _nodes(self) -> list[tuple[str, Capacity]]:
        """Give address and capacity of the nodes that hosts could be placed on."""
        found = await self._clerk.ask("nodes", _ANSWER)
        return [
            (each["address"], Capacity(each["cpus"], each["memory"], each["gpus"])) for each in found if each["cpus"]
        ]

    async def reserve(self, job: str, attempt: int, needs: Mapping[str, Capacity]) -> Room | None:
        """Ask Ray for room on the nodes; None while there is none. Raises `LaunchError`."""
        hosts = tuple(needs)
        nodes = (await self.capacity()).machines or ()
        async with self._arranging:
            await self._give_back_what_is_owed()
            self._forget(job)
            self._bundles[job, attempt] = hosts
            addresses = await self._clerk.ask(
                "reserve",
                _ANSWER,
                job=job,
                attempt=attempt,
                bundles=[bundle(each) for each in needs.values()],
                strategy=strategy(list(needs.values()), nodes),
            )
        if problem := self._out_of_reach(addresses or ()):
            raise LaunchError(problem)
        return None if addresses is None else Room(addresses=dict(zip(hosts, addresses, strict=True)))

    def _forget(self, job: str) -> None:
        self._bundles = {key: its for key, its in self._bundles.items() if key[0] != job}

    async def _give_back_what_is_owed(self) -> None:
        for job in sorted(self._owed):
            await self._clerk.ask("release", _ANSWER, job=job)
            self._owed.discard(job)

    async def release(self, job: str) -> None:
        """Give back what is kept for a job; its actors end with it. Raises `LaunchError`."""
        self._forget(job)
        self._owed.add(job)
        await self._clerk.ask("release", _ANSWER, job=job)
        self._owed.discard(job)

    async def launch(self, host: HostLaunch) -> str:
        """Start an actor on the node that is kept for the host, and the agent in it. Raises `LaunchError`."""
        hosts = self._bundles.get((host.job, host.attempt), ())
        if host.host not in hosts:
            raise LaunchError(f"No room is kept for {host.host} of {host.job}.")
        given = msgspec.json.encode(msgspec.structs.replace(host, certificate=self._certificate)).decode()
        try:
            await self._clerk.ask(
                "launch",
                _START,
                job=host.job,
                attempt=host.attempt,
                host=host.host,
                number=hosts.index(host.host),
                given=given,
                version=__version__,
            )
        except LaunchError as error:
            raise LaunchError(f"The agent of {host.job}/{host.host} cannot be started: {error.message}.") from error
        return _Handle(f"{host.job}/{host.attempt}/{host.host}", host.directory).text()

    async def alive(self, handle: str) -> bool:
        """Tell whether the agent runs; True until Ray says that it does not."""
        try:
            name = _Handle.read(handle).name
        except LaunchError:
            return True  # it speaks for itself, to the service
        # Who did not answer the last time is not waited for again.
        patience = 0.0 if name in self._asked else _AT_ONCE
        task = self._asked[name] = self._asked.get(name) or asyncio.create_task(self._ask_alive(name))
        await asyncio.wait({task}, timeout=patience)
        if not task.done():
            return True
        del self._asked[name]
        return task.result()

    async def _ask_alive(self, name: str) -> bool:
        try:
            lives = bool(await self._clerk.ask("alive", _ANSWER, name=name))
        except LaunchError as error:
            self._note(error.message)
            return True
        self._note("")
        return lives

    async def kill(self, handle: str) -> None:
        """End the agent and its actor; what the agent had to say is kept in the home. Raises `LaunchError`."""
        its = _Handle.read(handle)
        said = await self._clerk.ask("kill", _END, name=its.name)
        if said:
            await asyncio.to_thread(_keep, Path(its.directory), said)

    async def launch_again(self, handle: str) -> str:
        """Have the actor start another agent, where that is not lost as well. Raises `LaunchError`."""
        await self._clerk.ask("launch_again", _START, name=_Handle.read(handle).name)
        return handle

    async def sweep(self, directory: str, live: Callable[[], Collection[str]]) -> None:
        """Give back what is kept for jobs that nobody knows any more."""
        try:
            for job in sorted({name for name, _ in await self._clerk.ask("reserved", _ANSWER)}):
                async with self._arranging:
                    known = {Path(each).relative_to(directory).parts[0] for each in live()}
                    if job not in known | {name for name, _ in self._bundles}:
                        await self._clerk.ask("release", _ANSWER, job=job)
        except LaunchError as error:
            _log.warning("what earlier jobs left on the cluster stays for now: %s", error.message)


def _keep(directory: Path, said: str) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / AGENT_LOG).write_text(said)


def _capacity(machines: list[Capacity]) -> Capacity:
    return replace(together(machines), machines=tuple(machines))


def is_here(address: str) -> bool:
    """Tell whether an address is one of this machine's.

    >>> is_here("127.0.0.1"), is_here("192.0.2.1")
    (True, False)
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


class _Clerk:
    """The clerk's process, and who waits for its answers. It is started again when it has ended."""

    def __init__(self, address: str, namespace: str) -> None:
        self._address = address
        self._namespace = namespace
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._starting = asyncio.Lock()
        self._began = 0.0
        self._heard = 0.0
        self._between = _BETWEEN

    async def start(self) -> None:
        """Start the process, and wait until it is connected. Raises `LaunchError`."""
        self._began = self._heard = time.monotonic()
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "treadle.launchers.ray.clerk",
            self._address,
            self._namespace,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # A Ctrl-C in the terminal is for the service.
            start_new_session=True,
            limit=_LONGEST_LINE,
            env={"RAY_USAGE_STATS_ENABLED": "0", **os.environ},
        )
        said: Mapping[str, Any] = {"problem": "it does not answer"}
        try:
            async with asyncio.timeout(_CONNECT):
                said = json.loads(await _line(process) or _ENDED)
        except TimeoutError:
            pass
        if problem := said.get("problem"):
            await self.close()
            raise LaunchError(
                f"There is no Ray cluster at {self._address!r}: {problem}.".replace("..", "."),
                hint="This machine must be a node of the cluster: `ray start --head`, or `ray start "
                "--address=HOST:6379 --num-cpus=0` to join one without giving it anything.",
            )
        self._between = _BETWEEN
        self._listening = asyncio.create_task(self._listen(process))

    async def close(self) -> None:
        """End the process, and wait for it."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if self._listening is not None:
            await asyncio.gather(self._listening, return_exceptions=True)
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(OSError):  # what was still to be said is said to nobody
                await process.stdin.wait_closed()

    async def ask(self, call: str, seconds: float, **given: Any) -> Any:
        """Ask the clerk, one that is started for it if need be. Raises `LaunchError`."""
        process = await self._running()
        self._number += 1
        number = self._number
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            process.stdin.write(json.dumps({"id": number, "call": call, "with": given}).encode() + b"\n")  # type: ignore[union-attr]
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            if time.monotonic() - self._heard > _MUTE:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            raise LaunchError(f"Ray has not answered for {seconds:.0f} seconds") from None
        except OSError as error:
            raise LaunchError(f"Ray does not answer: its driver has ended ({error})") from error
        finally:
            del self._waiting[number]

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                if time.monotonic() - self._began < self._between:
                    raise LaunchError("Ray does not answer: its driver has ended")
                await self.close()
                self._between = min(2 * self._between, _LONGEST_BETWEEN)
                await self.start()
            assert self._process is not None  # noqa: S101  (`start` raises otherwise)
            return self._process

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        while line := await _line(process):
            self._heard = time.monotonic()
            said = json.loads(line)
            answer = self._waiting.get(said["id"])
            if answer is None or answer.done():
                continue  # nobody waits any more
            if "problem" in said:
                answer.set_exception(LaunchError(said["problem"]))
            else:
                answer.set_result(said["value"])
        await process.wait()
        for each in self._waiting.values():
            if not each.done():
                each.set_exception(LaunchError("Ray does not answer: its driver has ended"))


async def _line(process: asyncio.subprocess.Process) -> bytes:
    return await process.stdout.readline() if process.stdout is not None else b""
