"""The service of a storm: on a machine that says that it is larger than it is, so that jobs run beside each other."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from treadle.errors import TreadleError
from treadle.home import Home
from treadle.launchers.local import LocalLauncher
from treadle.seams import Capacity
from treadle.server import Settings, running
from treadle.training.room import RoomLimits

CPUS = 8


class Roomy(LocalLauncher):
    """Says that the machine has room for several instances."""

    async def capacity(self) -> Capacity:
        """Give more than there is, so that limits are set and jobs queue up all the same."""
        return Capacity(cpus=CPUS, memory=64 << 30)


async def _serve(home: Home) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    settings = Settings(stop_grace=3.0, tick=0.2, room=RoomLimits(0, 0))
    async with running(home, settings, launcher=Roomy()):
        await ended.wait()


def main() -> None:
    """Serve until SIGTERM."""
    home = Home.find()
    owned = home.own()
    assert owned is not None, "another service has the home"
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_serve(home))
    except TreadleError as error:
        sys.exit(f"error: {error.message} {error.hint}")  # as the command line does
    finally:
        owned.release()


if __name__ == "__main__":
    main()
