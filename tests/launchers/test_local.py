"""Agents on this machine: found again, told apart from others, and ended with all that they started."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.agent.plane import Plane, gone, make_spec
from treadle.errors import LaunchError
from treadle.launchers import processes
from treadle.launchers.local import LAUNCH_FILE, LocalLauncher
from treadle.launchers.processes import descendants
from treadle.seams import HostLaunch

BUSY = """
setsid sh -c 'trap "" TERM HUP; while :; do sleep 0.02; done' &
echo ready; trap "" TERM; while :; do sleep 0.02; done
"""


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    """Give a control plane whose job is busy until it is killed."""
    made = Plane(tmp_path, make_spec(tmp_path, BUSY))
    await made.start()
    yield made
    await made.stop()


def unreachable(directory: Path) -> HostLaunch:
    return HostLaunch(
        job="job", attempt=1, host="algo-1", token="t", endpoint="http://127.0.0.1:9", directory=str(directory / "host")
    )


def agent_of(handle: str) -> int:
    return int(json.loads(handle)["agent"]["pid"])


async def test_completes(tmp_path: Path) -> None:
    """A launched agent does its work and is gone, reaped; its token was readable by its owner alone."""
    plane = Plane(tmp_path, make_spec(tmp_path, "echo done"))
    await plane.start()
    launcher = LocalLauncher()
    handle = await launcher.launch(plane.launch())
    assert (await plane.event("ended")).outcome == "completed"
    assert await gone(agent_of(handle))
    assert not await launcher.alive(handle)
    assert (tmp_path / "host" / LAUNCH_FILE).stat().st_mode & 0o777 == 0o600
    await plane.stop()


async def test_kill_ends_the_program(plane: Plane) -> None:
    """Kill ends agent, program and a daemon of it; another launcher, as after a restart, does it by the handle."""
    handle = await LocalLauncher().launch(plane.launch())
    await plane.line("ready")
    inside = descendants(agent_of(handle))
    assert len(inside) >= 3
    await LocalLauncher().kill(handle)
    for pid in [agent_of(handle), *inside]:
        assert await gone(pid, within=0.1)


async def test_kill_after_the_agents_death(plane: Plane) -> None:
    """What a dead agent and its dead keeper left is found by the marker and ended."""
    launcher = LocalLauncher()
    handle = await launcher.launch(plane.launch())
    await plane.line("ready")
    inside = descendants(agent_of(handle))
    # The keeper first: nobody is left whom the kernel could tell.
    os.kill(inside[0], signal.SIGSTOP)
    os.kill(agent_of(handle), signal.SIGKILL)
    assert await gone(agent_of(handle))
    assert not await launcher.alive(handle)
    os.kill(inside[0], signal.SIGKILL)
    await launcher.kill(handle)
    for pid in inside:
        assert await gone(pid, within=0.1)


async def test_dead_and_not_reaped_is_dead(tmp_path: Path) -> None:
    """A zombie answers to signal 0, and is dead all the same."""
    child = subprocess.Popen(["sleep", "600"])
    identity = processes.identify(child.pid)
    assert identity is not None
    assert processes.alive(identity)
    child.kill()
    assert await gone(child.pid)
    os.kill(child.pid, 0)
    assert not processes.alive(identity)
    child.wait()
    assert tmp_path.exists()


async def test_same_number_is_not_the_same_process() -> None:
    """A process that started at another time, or in another boot, is neither alive nor killed."""
    child = subprocess.Popen(["sleep", "600"])
    identity = processes.identify(child.pid)
    assert identity is not None
    for other in (
        msgspec.structs.replace(identity, start=identity.start - 1),
        msgspec.structs.replace(identity, boot="another"),
    ):
        assert not processes.alive(other)
        processes.end(other)
        assert processes.gone(other, 0)
    assert processes.alive(identity)
    processes.end(identity)
    assert not processes.alive(identity)
    child.wait()


async def test_agent_outlives_its_starter(tmp_path: Path) -> None:
    """The agent goes on when the process that launched it is gone, with its process group."""
    program = (
        "import asyncio, sys, msgspec\n"
        "from treadle.launchers.local import LocalLauncher\n"
        "from treadle.seams import HostLaunch\n"
        "print(asyncio.run(LocalLauncher().launch(msgspec.json.decode(sys.argv[1], type=HostLaunch))))\n"
    )
    launch = msgspec.json.encode(unreachable(tmp_path)).decode()
    starter = subprocess.Popen(
        [sys.executable, "-c", program, launch], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    handle, _ = await asyncio.to_thread(starter.communicate)
    assert starter.returncode == 0
    launcher = LocalLauncher()
    assert await launcher.alive(handle)
    await launcher.kill(handle)
    assert not await launcher.alive(handle)


async def test_launch_that_fails(tmp_path: Path) -> None:
    """A directory that cannot be made is a `LaunchError` that names it."""
    (tmp_path / "host").write_text("a file")
    with pytest.raises(LaunchError, match="host"):
        await LocalLauncher().launch(unreachable(tmp_path))
