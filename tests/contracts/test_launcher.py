"""What every launcher promises: a host starts, is found again by its handle, and is gone after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from treadle.errors import LaunchError
from treadle.launchers.local import LocalLauncher
from treadle.launchers.ray.launcher import RayLauncher
from treadle.launchers.scripted import ScriptedHost, ScriptedLauncher
from treadle.seams import Capacity, HostLaunch, Launcher

NEED = Capacity(1, 1 << 30)


async def _for_ever(_: ScriptedHost) -> None:
    await asyncio.Event().wait()


async def _nobody(_path: str, _token: str, _body: bytes) -> tuple[int, bytes]:
    return 503, b""


@pytest.fixture(params=["local", "scripted", pytest.param("ray", marks=pytest.mark.ray)])
async def launcher(request: pytest.FixtureRequest) -> AsyncIterator[Launcher]:
    """Give each launcher; its hosts find no control plane, so they stay."""
    if request.param == "local":
        yield LocalLauncher()
    elif request.param == "scripted":
        scripted = ScriptedLauncher(_for_ever, handler=_nobody)
        scripted.again = _for_ever
        yield scripted
        await scripted.close()
    else:
        ray = RayLauncher(request.getfixturevalue("cluster").address, key="contract")
        await ray.open()
        yield ray
        await ray.release("job")
        await ray.close()


def host(directory: Path, name: str = "algo-1") -> HostLaunch:
    return HostLaunch(
        job="job", attempt=1, host=name, token="t", endpoint="http://127.0.0.1:9", directory=str(directory / name)
    )


async def launched(launcher: Launcher, directory: Path, *names: str) -> list[str]:
    """Keep room, and launch hosts."""
    room = await launcher.reserve("job", 1, dict.fromkeys(names, NEED))
    assert room is not None
    assert sorted(room.addresses) == sorted(names)
    return [await launcher.launch(host(directory, name)) for name in names]


async def until_kept(launcher: Launcher, job: str, need: Capacity, tries: int = 60) -> bool:
    """Ask until there is room; a launcher takes its time to answer that there is none."""
    for _ in range(tries):
        if await launcher.reserve(job, 1, {"algo-1": need}) is not None:
            return True
    return False


async def test_life_and_death(launcher: Launcher, tmp_path: Path) -> None:
    """A launched host lives until it is killed; killing it again is no error."""
    (handle,) = await launched(launcher, tmp_path, "algo-1")
    assert await launcher.alive(handle)
    await launcher.kill(handle)
    assert not await launcher.alive(handle)
    await launcher.kill(handle)


async def test_an_agent_takes_the_place_of_another(launcher: Launcher, tmp_path: Path) -> None:
    """Of one that lives, too, which ends; the handle that is given is that of the new one."""
    (handle,) = await launched(launcher, tmp_path, "algo-1")
    again = await launcher.launch_again(handle)
    assert await launcher.alive(again)
    assert again == handle or not await launcher.alive(handle)
    await launcher.kill(again)
    assert not await launcher.alive(again)


async def test_hosts_are_their_own(launcher: Launcher, tmp_path: Path) -> None:
    """Killing one host leaves the others alone."""
    one, two = await launched(launcher, tmp_path, "algo-1", "algo-2")
    assert one != two
    await launcher.kill(one)
    assert (await launcher.alive(one), await launcher.alive(two)) == (False, True)
    await launcher.kill(two)


@pytest.mark.parametrize("foreign", ['{"agent":"?"}', '{"pid":1,"place":"elsewhere"}'])
async def test_a_host_of_another_launcher(launcher: Launcher, foreign: str) -> None:
    """The service was started with another one before: the host is not taken for dead, and cannot be killed."""
    if isinstance(launcher, ScriptedLauncher):
        pytest.skip("a scripted host lives in its launcher, which a service is never started without")
    assert await launcher.alive(foreign)
    for what in (launcher.kill, launcher.launch_again):
        with pytest.raises(LaunchError, match="The host was not launched on this"):
            await what(foreign)


async def test_capacity(launcher: Launcher) -> None:
    """There is a CPU and some memory; of a cluster, what its machines have together."""
    capacity = await launcher.capacity()
    assert capacity.cpus > 0
    assert capacity.memory > 1 << 20
    assert capacity.gpus >= 0
    if capacity.machines is not None:
        assert capacity.cpus == sum(each.cpus for each in capacity.machines)


async def test_room_is_given_back(launcher: Launcher) -> None:
    """What is released can be had again; to release what is not kept is no error."""
    whole = await launcher.capacity()
    need = Capacity(max(each.cpus for each in whole.machines or [whole]), 1 << 20)
    for job in ("one", "another"):
        assert await until_kept(launcher, job, need)
        await launcher.release(job)
    await launcher.release("another")
