"""One host of one attempt: claim it, do its work, and carry what there is to tell until the control plane has it.

The attempt can be over at any moment: another agent has claimed it (409), the control plane abandons it, or somebody
sends SIGTERM to the agent. Then the program is killed, nothing is uploaded and nothing more is told. Whatever way it
ends, no process of the job is left and the job's copy of the data is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
import uuid
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from treadle.agent.control import ControlPlane, OverError, UnreachableError
from treadle.agent.courier import Backoff, Courier, News
from treadle.agent.data import DIRECTORIES
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
        self._orders = Orders()
        self._over = asyncio.Event()

    def leave(self) -> None:
        """End the program, tell nothing more, and go."""
        self._over.set()

    async def run(self) -> None:
        """Do everything; returns when the control plane has all there is to tell, or the attempt is over."""
        agent = uuid.uuid4().hex
        async with ControlPlane(self._launch, agent) as control:
            spec = await self._unless_over(_patiently(self._claimed(control)))
            if spec is None:
                return
            news = News()
            spool = Spool(self._directory / "spool", arrived=news.note)
            epoch = int(time.time())
            courier = Courier(self._launch, agent, control, spool, news, self._commanded, stream_epoch=epoch)
            carrying = asyncio.create_task(self._carry(courier))
            try:
                await self._unless_over(self._work(spec, spool, courier))
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

    async def _work(self, spec: HostSpec, spool: Spool, courier: Courier) -> None:
        launch = self._launch
        place = Place(
            self._directory,
            processes.marker(launch),
            launch.token,
            hidden=tuple(Path(each) for each in launch.hidden),
            gpus=tuple(launch.gpus),
            claims=tuple(launch.claims),
            certificate=launch.certificate,
        )
        work = Work(spec, place, spool, self._tools, self._orders)
        try:
            await work.run()
            await _patiently(courier.told())
        finally:
            await work.end()
            for each in DIRECTORIES:
                await asyncio.to_thread(shutil.rmtree, self._directory / each, ignore_errors=True)

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
