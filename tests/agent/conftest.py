"""A control plane, and agents: in this process, or as processes of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agent.plane import Plane, make_spec
from treadle.agent.host import Host
from treadle.agent.main import open_objects
from treadle.agent.sandbox.choice import choose
from treadle.agent.sandbox.namespace import NamespaceSandbox
from treadle.agent.work import Tools

MakePlane = Callable[..., Awaitable[Plane]]
RunAgent = Callable[[Plane], "asyncio.Task[None]"]


@pytest.fixture
async def make_plane(tmp_path: Path) -> AsyncIterator[MakePlane]:
    """Give a way to start control planes for a job that runs a shell script."""
    planes: list[Plane] = []

    async def make(script: str, **changes: Any) -> Plane:
        plane = Plane(tmp_path, make_spec(tmp_path, script, **changes))
        await plane.start()
        planes.append(plane)
        return plane

    yield make
    for plane in planes:
        await plane.stop()


@pytest.fixture
async def run_agent() -> AsyncIterator[RunAgent]:
    """Give a way to run an agent as a task of the test."""
    tasks: list[asyncio.Task[None]] = []

    def run(plane: Plane) -> asyncio.Task[None]:
        host = Host(plane.launch(), Tools(open_objects, choose, measure_every=0.05))
        tasks.append(asyncio.create_task(host.run()))
        return tasks[-1]

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def start_agent() -> Any:
    """Give a way to run an agent as a process; it is killed at the end of the test if it is still there."""
    started: list[subprocess.Popen[bytes]] = []

    def start(plane: Plane, **changes: Any) -> subprocess.Popen[bytes]:
        file = plane.launch_file(**changes)
        with (file.parent / "agent.log").open("ab") as log:
            argv = [sys.executable, "-m", "treadle.agent", str(file)]
            started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def namespaces() -> str:
    """Say why namespaces do not work here, "" when they do."""
    return NamespaceSandbox().probe()


@pytest.fixture(params=["plain", "namespace"])
def sandbox(request: pytest.FixtureRequest, namespaces: str) -> str:
    """Give each sandbox that works on this machine."""
    if request.param == "namespace" and namespaces:
        pytest.skip(f"namespaces do not work here: {namespaces}")
    return str(request.param)
