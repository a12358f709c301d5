"""Hosts without processes, for tests of the control plane: a host is a function that says what an agent would say.

    async def quick(host: ScriptedHost) -> None:
        await host.claim()
        await host.happened("downloading")
        await host.happened("training")
        await host.log("epoch 1")
        await host.command()          # waits for a command
        await host.ended("stopped")

    launcher = ScriptedLauncher(quick)
    launcher.connect(handler)         # the control plane's own: (path, token, body) → (status, body)

When the function returns or is killed, the host is dead; a function that returns without `ended` is an agent that died.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from treadle.errors import LaunchError
from treadle.seams import (
    Capacity,
    ClaimAnswer,
    Command,
    HostEvent,
    HostEventKind,
    HostLaunch,
    HostSpec,
    LogBatch,
    Report,
    ReportAnswer,
    Room,
)

__all__ = ["Handler", "Refused", "Script", "ScriptedHost", "ScriptedLauncher"]

Handler = Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]]
"""The control plane without its HTTP: path, token of the attempt, body → status, body."""

_PATH: Final = "/_treadle/agent/v1/"


class Refused(Exception):  # noqa: N818  (what the control plane does, not a fault of the script)
    """The control plane did not answer 200; `status` says what it answered."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"status {status}: {body[:200].decode(errors='replace')}")
        self.status = status


class ScriptedHost:
    """What a script speaks through: an agent's side of the wire, one message a call. Raises `Refused`."""

    def __init__(self, launch: HostLaunch, handler: Handler) -> None:
        self.launch: Final = launch
        self.agent = uuid.uuid4().hex
        self.spec: HostSpec | None = None
        self.stream_epoch = int(time.time())
        self._handler = handler
        self._seq = 0
        self._lines = 0

    async def claim(self) -> HostSpec:
        """Claim the host."""
        names = {"job": self.launch.job, "attempt": self.launch.attempt, "host": self.launch.host}
        body = await self._post("claim", msgspec.json.encode({**names, "agent": self.agent}))
        self.spec = msgspec.json.decode(body, type=ClaimAnswer).spec
        return self.spec

    async def happened(self, kind: HostEventKind, **members: Any) -> ReportAnswer:
        """Report an event; `members` are those of `HostEvent`, `at` is now unless given."""
        self._seq += 1
        event = HostEvent(**{"seq": self._seq, "kind": kind, "at": time.time()} | members)
        return await self.report(events=[event])

    async def log(self, *lines: str) -> ReportAnswer:
        """Report lines of the program."""
        now = time.time_ns() // 1_000_000
        batch = LogBatch(first=self._lines, lines=[(now, line) for line in lines])
        self._lines += len(lines)
        return await self.report(log=batch)

    async def ended(self, outcome: str, **members: Any) -> ReportAnswer:
        """Report the end: "completed", "failed", "stopped" or "max-runtime"."""
        return await self.happened("ended", outcome=outcome, **members)

    async def command(self) -> list[Command]:
        """Wait for commands, with heartbeats that the control plane holds."""
        while True:
            asked = time.monotonic()
            if commands := (await self.report(wait=20.0)).commands:
                return commands
            # A control plane that does not hold heartbeats is not asked without pause.
            await asyncio.sleep(max(0.0, asked + 0.05 - time.monotonic()))

    async def report(self, **members: Any) -> ReportAnswer:
        """Send a report as it is; `members` are those of `Report`. For what an agent should not say."""
        own: dict[str, Any] = {
            "job": self.launch.job,
            "attempt": self.launch.attempt,
            "host": self.launch.host,
            "agent": self.agent,
            "stream_epoch": self.stream_epoch,
        }
        report = Report(**own | members)
        return msgspec.json.decode(await self._post("report", msgspec.json.encode(report)), type=ReportAnswer)

    async def _post(self, name: str, body: bytes) -> bytes:
        status, answer = await self._handler(_PATH + name, self.launch.token, body)
        if status != 200:
            raise Refused(status, answer)
        return answer


Script = Callable[[ScriptedHost], Awaitable[None]]


class ScriptedLauncher:
    """`seams.Launcher` whose hosts are tasks of this event loop.

    `launched` holds every `HostLaunch` in order; `refusal` makes the next launches fail; a handle is the host's number.
    `again` is the script of an agent that is launched again; without one, that is not possible.
    With a `capacity` that has `machines` it is a cluster. `room` says whether there is room, `kept` has who has some.
    A script that ends with `Refused` has been told that its attempt is over; other exceptions come out of `finished`.
    """

    def __init__(self, script: Script, *, capacity: Capacity | None = None, handler: Handler | None = None) -> None:
        self.script = script
        self.launched: list[HostLaunch] = []
        self.refusal = ""
        self.again: Script | None = None
        self.room: Callable[[Mapping[str, Capacity]], bool] = lambda _needs: True
        self.kept: dict[str, int] = {}
        self._capacity = capacity or Capacity(cpus=8, memory=32 << 30)
        self._handler = handler
        self._gpus: dict[str, set[int]] = {}
        self._hosts: dict[str, asyncio.Task[None]] = {}
        self._said: dict[str, ScriptedHost] = {}
        self._numbers = itertools.count(1)

    def connect(self, handler: Handler) -> None:
        """Say which control plane the hosts speak to."""
        self._handler = handler

    def capacity_is(self, capacity: Capacity) -> None:
        """Say what there is from now on."""
        self._capacity = capacity

    async def capacity(self) -> Capacity:
        """Give what the launcher was made with, or has been told since."""
        return self._capacity

    async def reserve(self, job: str, attempt: int, needs: Mapping[str, Capacity]) -> Room | None:
        """Keep room, if the test says that there is some, and on one machine GPUs that nobody has."""
        self._gpus.pop(job, None)
        taken = set().union(*self._gpus.values())
        free = iter([number for number in range(self._capacity.gpus) if number not in taken])
        given = {host: tuple(itertools.islice(free, each.gpus)) for host, each in needs.items()}
        if not self.room(needs) or any(len(given[host]) < each.gpus for host, each in needs.items()):
            return None
        self.kept[job] = attempt
        self._gpus[job] = set().union(*given.values())
        addresses = {host: f"192.0.2.{number}" for number, host in enumerate(needs, 1)}
        return Room(addresses=addresses, gpus={} if self._capacity.machines else given)

    async def release(self, job: str) -> None:
        """Give room back."""
        self.kept.pop(job, None)
        self._gpus.pop(job, None)

    async def launch(self, host: HostLaunch) -> str:
        """Start the script for a host. Raises `LaunchError` when told to."""
        if self.refusal or self._handler is None:
            raise LaunchError(self.refusal or "The scripted launcher is not connected to a control plane.")
        self.launched.append(host)
        return self._begin(ScriptedHost(host, self._handler), self.script)

    async def launch_again(self, handle: str) -> str:
        """Start the other script for a host, as the same agent: it goes on with what that has said."""
        await self.kill(handle)
        if self.again is None:
            raise LaunchError("There is no script for an agent that is launched again.")
        return self._begin(self._said[handle], self.again)

    def _begin(self, host: ScriptedHost, script: Script) -> str:
        handle = str(next(self._numbers))
        self._said[handle] = host
        self._hosts[handle] = asyncio.create_task(self._run(host, script))
        return handle

    async def _run(self, host: ScriptedHost, script: Script) -> None:
        with contextlib.suppress(Refused):
            await script(host)

    async def alive(self, handle: str) -> bool:
        """Tell whether the script still runs."""
        host = self._hosts.get(handle)
        return host is not None and not host.done()

    async def kill(self, handle: str) -> None:
        """Cancel the script, and wait until it is gone."""
        if host := self._hosts.get(handle):
            host.cancel()
            await asyncio.wait({host})

    async def sweep(self, directory: str, live: Callable[[], Collection[str]]) -> None:
        """Do nothing: a task leaves nothing behind."""

    async def finished(self) -> None:
        """Wait until all scripts have ended; raises the first exception of a script that failed."""
        for host in list(self._hosts.values()):
            await asyncio.wait({host})
            if not host.cancelled():
                host.result()

    async def close(self) -> None:
        """Kill all hosts."""
        for handle in list(self._hosts):
            await self.kill(handle)
