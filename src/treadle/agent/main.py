"""Wires an agent and runs it: `python -m treadle.agent FILE`. FILE holds a `HostLaunch` as JSON."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from treadle.agent.host import Host
from treadle.agent.sandbox.choice import choose
from treadle.agent.sandbox.entrance import Entrance
from treadle.agent.work import Tools
from treadle.errors import ObjectError
from treadle.home import remove_tree
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import HostLaunch, HostObjects

__all__ = ["main", "open_objects"]

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_log = logging.getLogger(__name__)


def open_objects(description: Mapping[str, str], certificate: str = "") -> HostObjects:
    """Open the objects that a specification describes; for `certificate` see `HostLaunch`. Raises `ObjectError`."""
    kind = description.get("kind", "")
    if kind == "filesystem":
        return FilesystemObjects(Path(description["root"]))
    if kind != "s3":
        raise ObjectError(f'This agent cannot open objects of kind "{kind}".')
    # Only a host of a cluster pays for it.
    from treadle.agent.trust import trusting
    from treadle.aws.sigv4 import Credentials
    from treadle.objects.s3 import S3Objects

    keys = (description[each] for each in ("access_key_id", "secret_access_key", "session_token"))
    endpoint = description["endpoint"]
    trust = trusting(certificate) if endpoint.startswith("https:") else None
    return S3Objects(endpoint, Credentials(*keys), description["region"], trust=trust)


def main(arguments: list[str], entrance: Entrance | None = None) -> int:
    """Run the agent; 0 when all has been told or the attempt was over, 2 for a launch file that cannot be used.

    `entrance` is one that is up already, with its trial.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if len(arguments) != 1:
        _log.error("usage: python -m treadle.agent FILE")
        return 2
    try:
        launch = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=HostLaunch)
    except (OSError, msgspec.DecodeError) as error:
        _log.error("%s is no launch file: %s", arguments[0], error)
        return 2
    _adopt_orphans()
    return asyncio.run(_run(launch, entrance))


async def _run(launch: HostLaunch, entrance: Entrance | None) -> int:
    objects = partial(open_objects, certificate=launch.certificate)
    host = Host(launch, Tools(objects, partial(choose, entrance=entrance), adopts=True, entrance=entrance))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.leave)
    gone = asyncio.Event()
    if launch.leased:
        loop.add_reader(sys.stdin.fileno(), _unleased, loop, host, gone)
    code = 0
    try:
        await host.run()
    except Exception:  # noqa: BLE001  (whatever it is, it goes to the agent's log, and the agent ends)
        _log.exception("the agent has failed")
        code = 1
    logging.shutdown()
    if gone.is_set():
        remove_tree(Path(launch.directory))  # nobody will come for what is left of it
    # A download that nobody waits for any more may still be under way in a thread, which a normal exit would join.
    os._exit(code)


def _unleased(loop: asyncio.AbstractEventLoop, host: Host, gone: asyncio.Event) -> None:
    """Nobody writes to the pipe, so this is its end."""
    _log.warning("whoever launched this agent is gone")
    loop.remove_reader(sys.stdin.fileno())
    gone.set()
    host.leave()


def _adopt_orphans() -> None:
    """Let processes of the job that lose their parents become this process's children, so that it can end them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
