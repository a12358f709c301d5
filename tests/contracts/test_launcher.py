"""What every launcher promises: a host starts, is found again by its handle, and is gone after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from treadle.launchers.local import LocalLauncher
from treadle.launchers.scripted import ScriptedHost, ScriptedLauncher
from treadle.seams import HostLaunch, Launcher


async def _for_ever(_: ScriptedHost) -> None:
    await asyncio.Event().wait()


async def _nobody(_path: str, _token: str, _body: bytes) -> tuple[int, bytes]:
    return 503, b""


@pytest.fixture(params=["local", "scripted"])
async def launcher(request: pytest.FixtureRequest) -> AsyncIterator[Launcher]:
    """Give each launcher; its hosts find no control plane, so they stay."""
    if request.param == "local":
        yield LocalLauncher()
        return
    scripted = ScriptedLauncher(_for_ever, handler=_nobody)
    yield scripted
    await scripted.close()


def host(directory: Path, name: str = "algo-1") -> HostLaunch:
    return HostLaunch(
        job="job", attempt=1, host=name, token="t", endpoint="http://127.0.0.1:9", directory=str(directory / name)
    )


async def test_life_and_death(launcher: Launcher, tmp_path: Path) -> None:
    """A launched host lives until it is killed; killing it again is no error."""
    handle = await launcher.launch(host(tmp_path))
    assert await launcher.alive(handle)
    await launcher.kill(handle)
    assert not await launcher.alive(handle)
    await launcher.kill(handle)


async def test_hosts_are_their_own(launcher: Launcher, tmp_path: Path) -> None:
    """Killing one host leaves the others alone."""
    one, two = await launcher.launch(host(tmp_path)), await launcher.launch(host(tmp_path, "algo-2"))
    assert one != two
    await launcher.kill(one)
    assert (await launcher.alive(one), await launcher.alive(two)) == (False, True)
    await launcher.kill(two)


async def test_capacity(launcher: Launcher) -> None:
    """There is a CPU and some memory."""
    capacity = await launcher.capacity()
    assert capacity.cpus > 0
    assert capacity.memory > 1 << 20
    assert capacity.gpus >= 0
