"""A control plane and agents whose programs run in containers, and a world whose service finds the tests' engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.plane import Plane, make_spec
from tests.containers.service import BUSYBOX, Service
from tests.end_to_end.world import BUCKET, World
from tests.waiting import until
from treadle.agent.host import Host
from treadle.agent.main import open_objects
from treadle.agent.sandbox.choice import choose
from treadle.agent.work import Tools
from treadle.launchers.engine import Engine
from treadle.objects.filesystem import FilesystemObjects

Contain = Callable[..., Awaitable[Plane]]


@pytest.fixture
async def contain(container_engine: Service, tmp_path: Path) -> AsyncIterator[Contain]:
    """Give a way to run a host's whole work in this process, with a shell script in a container of busybox."""
    planes: list[Plane] = []
    tasks: list[asyncio.Task[None]] = []

    async def begin(
        script: str, *, reference: str = BUSYBOX, image: Any = None, wait: bool = True, **members: Any
    ) -> Plane:
        given = {"kind": "container", "name": reference, "entrypoint": None} | (image or {})
        command = ["/bin/sh", "-c", script] if script else []
        spec = make_spec(tmp_path, "", **{"image": given, "command": command, "sandbox": "auto"} | members)
        plane = Plane(tmp_path, spec)
        await plane.start()
        planes.append(plane)
        tools = Tools(
            open_objects, choose, measure_every=0.05, engine=lambda: Engine.connect(container_engine.engine.address)
        )
        tasks.append(asyncio.create_task(Host(plane.launch(), tools).run()))
        if wait:
            await asyncio.wait_for(asyncio.shield(tasks[-1]), 60)
            assert container_engine.left() == []
        return plane

    (tmp_path / "host").mkdir()
    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for plane in planes:
        await plane.stop()
    assert container_engine.left() == []


@pytest.fixture
def world(container_engine: Service, tmp_path: Path) -> Iterator[World]:
    """Give a world whose service finds the engine; when the test is over nothing of it must be left there either."""
    made = World(tmp_path, more=dict(container_engine.environment))
    made.home.prepare()
    FilesystemObjects(made.home.s3).create_bucket(BUCKET)
    yield made
    until(lambda: not any(made.home.jobs.glob("*")) and not made.zombies(), what="the agents have gone")
    made.close()
    assert container_engine.left() == []
