"""One host of one attempt: claim it, do its work, and carry what there is to tell until the control plane has it.

The attempt can be over at any moment: another agent has claimed it (409), the control plane abandons it, or somebody
sends SIGTERM to the agent. Then the program is killed, nothing is uploaded and nothing more is told. Whatever way it
ends, no process of the job is left and the job's copy of the data is gone.

Only an agent that is told to leave, or fails, leaves the directory as it is, as one that is killed does: for the agent
that may come after it (`heir`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from treadle.agent import heir
from treadle.agent.control import ControlPlane, OverError, UnreachableError
from treadle.agent.courier import Backoff, Courier, News
from treadle.agent.orders import Orders
from treadle.agent.spool import Spool
from treadle.agent.surroundings import Place
from treadle.agent.work import Tools, Work
from treadle.launchers import processes
from treadle.seams import Command, HostLaunch, HostSpec

__all__ = ["Host"]

_log = logging.getLogger(__name__)

# A control plane that has been away for so long does not come back for this host.
_PATIENCE = 7 * 24 * 3600.0

_T = TypeVar("_T")


class Host:
    """An agent's life. Build it in the event loop, in the thread that will outlive the program."""

    def __init__(self, launch: HostLaunch, tools: Tools) -> None:
        self._launch = launch
        self._tools = tools
        self._directory = Path(launch.directory)
        self._place = Place(
            self._directory,
            processes.marker(launch),
            launch.token,
            hidden=tuple(Path(each) for each in launch.hidden),
            gpus=tuple(launch.gpus),
            claims=tuple(launch.claims),
            certificate=launch.certificate,
        )
        self._orders = Orders()
        self._over = asyncio.Event()
        self._leaving = False

    def leave(self) -> None:
        """End the program, tell nothing more, and go."""
        self._leaving = True
        self._over.set()

    async def run(self) -> None:
        """Do everything; returns when the control plane has all there is to tell, or the attempt is over."""
        its, last_seen = heir.known(self._directory)
        async with ControlPlane(self._launch, its.agent) as control:
            spec = await self._unless_over(_patiently(self._claimed(control)))
            if spec is None:
                return
            news = News()
            spool = Spool(self._place.spool, arrived=news.note)
            courier = Courier(
                self._launch,
                its.agent,
                control,
                spool,
                news,
                self._commanded,
                stream_epoch=its.stream_epoch,
                beat=partial(heir.live, self._directory),
            )
            work = Work(spec, self._place, spool, self._tools, self._orders, courier.told, last_seen)
            carrying = asyncio.create_task(self._carry(courier))
            try:
                await self._unless_over(self._work(work, courier))
            finally:
                carrying.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await carrying
                spool.close()

    async def _claimed(self, control: ControlPlane) -> HostSpec | None:
        backoff = Backoff()
        while True:
            try:
                return (await control.claim()).spec
            except UnreachableError:
                await backoff.wait()
            except OverError as error:
                _log.warning("the attempt is not ours: %s", error)
                return None

    async def _carry(self, courier: Courier) -> None:
        try:
            await courier.run()
        except OverError as error:
            _log.warning("the attempt is over: %s", error)
        finally:
            self._over.set()

    async def _work(self, work: Work, courier: Courier) -> None:
        over = False
        try:
            await work.run()
            await _patiently(courier.told())
            over = True
        except asyncio.CancelledError:
            over = not self._leaving
            raise
        finally:
            await work.end()
            if over:
                await work.clear()

    def _commanded(self, commands: Sequence[Command]) -> None:
        if "abandon" in commands:
            self._over.set()
        self._orders.take(commands)

    async def _unless_over(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Do the work; when the attempt is over, give it up and wait until it has cleaned up."""
        doing = asyncio.ensure_future(work)
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({doing, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            doing.cancel()  # has no effect on what is done
            await asyncio.wait({doing})
        return None if doing.cancelled() else doing.result()


async def _patiently(work: Coroutine[Any, Any, _T]) -> _T:
    return await asyncio.wait_for(work, _PATIENCE)
