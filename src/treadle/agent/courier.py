"""Carries the spool to the control plane, and its commands back.

Two requests may be under way: one that tells, sent as soon as there is something; and one that listens, a heartbeat
that the control plane holds open until it has a command. So a command arrives at once, however much there is to tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence

from treadle.agent.control import ControlPlane, UnreachableError
from treadle.agent.spool import Spool
from treadle.seams import Command, HostLaunch, Report, ReportAnswer

__all__ = ["Backoff", "Courier", "News"]

_HELD = 20.0
# Lines gather for so long after a report of lines alone: a chatty program makes four requests a second, not a thousand.
_GATHER = 0.25
# The shortest time between two heartbeats.
_BEAT = 1.0


class Backoff:
    """Grows the wait between tries, from 0.1 s to 5 s, with jitter, so that many agents do not come at once."""

    def __init__(self) -> None:
        self._next = 0.1

    async def wait(self) -> None:
        """Wait before the next try."""
        await asyncio.sleep(self._next * random.uniform(0.7, 1.0))  # noqa: S311  (nothing secret)
        self._next = min(self._next * 2, 5.0)

    def reset(self) -> None:
        """There was an answer."""
        self._next = 0.1


class News:
    """Something new is to be told; `urgent` when it should not wait for more to gather."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.urgent = asyncio.Event()

    def note(self, *, urgent: bool) -> None:
        """Take notice; what a `Spool` calls."""
        self.arrived.set()
        if urgent:
            self.urgent.set()


class Courier:
    """Runs until it is cancelled, or raises `OverError` when the attempt is over. `commanded` gets the commands.

    `beat` is called again and again, as a sign of life.
    """

    def __init__(
        self,
        launch: HostLaunch,
        agent: str,
        control: ControlPlane,
        spool: Spool,
        news: News,
        commanded: Callable[[Sequence[Command]], None],
        *,
        stream_epoch: int,
        beat: Callable[[], None],
    ) -> None:
        self._launch = launch
        self._agent = agent
        self._control = control
        self._spool = spool
        self._news = news
        self._commanded = commanded
        self._stream_epoch = stream_epoch
        self._beat = beat
        self._all_told = asyncio.Event()

    async def run(self) -> None:
        """Tell and listen."""
        both = [asyncio.ensure_future(each) for each in (self._tell(), self._listen())]
        try:
            await asyncio.gather(*both)
        finally:
            for each in both:
                each.cancel()

    async def told(self) -> None:
        """Wait until the control plane has everything."""
        while self._spool.pending:
            self._all_told.clear()
            await self._all_told.wait()

    async def _tell(self) -> None:
        backoff = Backoff()
        while True:
            await self._news.arrived.wait()
            self._news.arrived.clear()
            while self._spool.pending:
                before = self._spool.told
                report = self._report(events=self._spool.events(), log=self._spool.batch())
                try:
                    answer = await self._control.report(report)
                except UnreachableError:
                    self._spool.sync()  # nobody else has it now
                    await backoff.wait()
                    continue
                self._take(answer)
                if report.log is not None and answer.log_to < report.log.first:
                    self._spool.go_on_from(answer.log_to, time.time_ns() // 1_000_000)
                if self._spool.told == before:  # it answers, and takes nothing
                    await backoff.wait()
                    continue
                backoff.reset()
            self._all_told.set()
            await self._gather()

    async def _gather(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.urgent.wait(), _GATHER)
        self._news.urgent.clear()

    async def _listen(self) -> None:
        backoff = Backoff()
        clock = asyncio.get_running_loop().time
        while True:
            asked = clock()
            self._beat()
            try:
                self._take(await self._control.report(self._report(wait=_HELD)))
                backoff.reset()
            except UnreachableError:
                await backoff.wait()
            # Once there is a command, every heartbeat is answered at once.
            await asyncio.sleep(max(0.0, asked + _BEAT - clock()))

    def _take(self, answer: ReportAnswer) -> None:
        self._spool.acknowledge(answer.events_to, answer.log_to)
        self._commanded(answer.commands)

    def _report(self, **members: object) -> Report:
        return Report(
            job=self._launch.job,
            attempt=self._launch.attempt,
            host=self._launch.host,
            agent=self._agent,
            stream_epoch=self._stream_epoch,
            **members,  # type: ignore[arg-type]
        )
