"""Agents on this machine: found again, told apart from others, and ended with all that they started."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.agent.plane import Plane, gone, make_spec
from treadle.errors import LaunchError
from treadle.launchers import processes
from treadle.launchers.gpus import Gpu
from treadle.launchers.local import LAUNCH_FILE, LocalLauncher
from treadle.launchers.processes import descendants
from treadle.seams import Capacity, HostLaunch

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


async def test_an_update_under_a_running_service(plane: Plane) -> None:
    """Its agents would be of the new version; the old one says what to do instead of running into what has changed."""
    with pytest.raises(LaunchError, match=r"^This service is Treadle [\d.]+, and 9\.9 has been installed since\.$"):
        await LocalLauncher(installed=lambda: "9.9").launch(plane.launch())


async def test_what_is_installed_has_gone(plane: Plane) -> None:
    """Half way through an update there may be nothing: so the job cannot be launched, and is not tried for ever."""

    def installed() -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "_version.py")

    with pytest.raises(LaunchError, match=r"cannot be started: .*_version\.py"):
        await LocalLauncher(installed=installed).launch(plane.launch())


def two_gpus() -> list[Gpu]:
    """Give GPUs that no other test has."""
    return [Gpu(number, f"GPU-{uuid.uuid4()}") for number in range(2)]


def needs(*gpus: int) -> dict[str, Capacity]:
    return {f"algo-{number}": Capacity(1, 1 << 30, each) for number, each in enumerate(gpus, 1)}


async def test_gpus_of_several_services() -> None:
    """Whoever is first has them; the other says so, and of its own says nothing: they may be about to be free."""
    machine = two_gpus()
    here, there = LocalLauncher(devices=lambda: machine), LocalLauncher(devices=lambda: machine)
    room = await here.reserve("one", 1, needs(1))
    assert room is not None
    assert room.gpus == {"algo-1": (0,)}
    assert await here.reserve("two", 1, needs(1, 1)) is None
    with pytest.raises(LaunchError, match=r"^GPU 0 is taken by another service$"):
        await there.reserve("one", 1, needs(1, 1))
    other = await there.reserve("one", 1, needs(0, 1))
    assert other is not None
    assert other.gpus == {"algo-1": (), "algo-2": (1,)}
    with pytest.raises(LaunchError, match=r"^GPU 1 is taken by another service$"):
        await here.reserve("two", 1, needs(1))
    await there.release("one")
    assert await here.reserve("one", 2, needs(2)) is not None  # what its earlier attempt had is given back first
    with pytest.raises(LaunchError, match=r"^GPUs 0 and 1 are taken by another service$"):
        await there.reserve("one", 1, needs(1))
    await here.release("one")
    await here.release("one")
    assert await there.reserve("one", 1, needs(2)) is not None
    await there.release("one")


async def test_gpus_that_are_kept_from_a_service() -> None:
    """They do not count, and are given to nobody; what keeps them is told."""
    machine = two_gpus()
    launcher = LocalLauncher({"CUDA_VISIBLE_DEVICES": "1"}, devices=lambda: machine)
    capacity = await launcher.capacity()
    assert (capacity.gpus, capacity.withheld) == (1, "CUDA_VISIBLE_DEVICES is '1'")
    room = await launcher.reserve("job", 1, needs(1))
    assert room is not None
    assert room.gpus == {"algo-1": (1,)}
    await launcher.release("job")


@pytest.mark.parametrize("assigned", [True, False], ids=["assigned", "kept"])
async def test_a_gpu_is_an_agents_until_it_ends(plane: Plane, assigned: bool) -> None:
    """However that is, and whatever becomes of the service; those that somebody else assigns, too (Ray)."""
    machine = two_gpus()
    service, other = LocalLauncher(devices=lambda: machine), LocalLauncher(devices=lambda: machine)
    launch = plane.launch()
    if assigned:
        launch = msgspec.structs.replace(launch, gpus=["0", "1"])
    else:
        await service.reserve(launch.job, launch.attempt, {launch.host: Capacity(1, 1 << 30, 2)})
    handle = await service.launch(launch)
    await service.release(launch.job)
    with pytest.raises(LaunchError, match=r"^GPUs 0 and 1 are taken by another service$"):
        await other.reserve("other", 1, needs(1))
    os.kill(agent_of(handle), signal.SIGKILL)
    assert await gone(agent_of(handle))
    assert await other.reserve("other", 1, needs(2)) is not None
    await other.release("other")
    await service.kill(handle)


async def test_a_gpu_is_free_when_it_is_told_that_the_program_has_ended(tmp_path: Path) -> None:
    """So that the next job is not told that it is taken."""
    machine = two_gpus()
    plane = Plane(tmp_path, make_spec(tmp_path, "sleep 0.2"))
    await plane.start()
    launcher = LocalLauncher(devices=lambda: machine)
    launch = plane.launch()
    await launcher.reserve(launch.job, launch.attempt, {launch.host: Capacity(1, 1 << 30, 2)})
    handle = await launcher.launch(launch)
    assert await launcher.reserve("next", 1, needs(1)) is None
    await plane.event("ended")
    assert await launcher.reserve("next", 1, needs(2)) is not None
    await launcher.release("next")
    assert await gone(agent_of(handle))
    await plane.stop()


async def test_a_gpu_that_is_assigned_and_taken(plane: Plane) -> None:
    """It is waited for: who had it before may be about to end."""
    machine = two_gpus()
    service, other = LocalLauncher(devices=lambda: machine), LocalLauncher(devices=lambda: machine)
    await other.reserve("other", 1, needs(1))
    launching = asyncio.ensure_future(service.launch(msgspec.structs.replace(plane.launch(), gpus=["0"])))
    await asyncio.sleep(0.3)
    assert not launching.done()
    await other.release("other")
    await service.kill(await launching)


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


async def test_nothing_is_left_of_a_host(tmp_path: Path) -> None:
    """Without its directory there is nothing that another agent could go on with."""
    launcher = LocalLauncher()
    handle = await launcher.launch(unreachable(tmp_path))
    await launcher.kill(handle)
    shutil.rmtree(tmp_path / "host")
    with pytest.raises(LaunchError, match="No other agent can be started in"):
        await launcher.launch_again(handle)
