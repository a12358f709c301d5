"""The launcher with a real cluster, beyond its contract: what it keeps, gives back, and says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ray.nodes import Cluster, inside
from treadle.launchers.ray.launcher import RayLauncher
from treadle.seams import Capacity

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

SMALL, LARGE = Capacity(1, 1 << 30), Capacity(100, 1 << 30)


@pytest.fixture
async def launcher(cluster: Cluster) -> AsyncIterator[RayLauncher]:
    made = RayLauncher(cluster.address, key="beyond")
    await made.open()
    yield made
    for job, _ in await groups(made):
        await made.release(job)
    await made.close()


async def groups(launcher: RayLauncher) -> list[tuple[str, int]]:
    found = await launcher._clerk.ask("reserved", 10.0)
    return [(job, attempt) for job, attempt in found]


async def kept(launcher: RayLauncher, job: str, attempt: int, *needs: Capacity) -> dict[str, str]:
    async with asyncio.timeout(20):
        while True:
            hosts = {f"algo-{number}": need for number, need in enumerate(needs, 1)}
            if (room := await launcher.reserve(job, attempt, hosts)) is not None:
                return room.addresses


async def test_each_host_has_a_node(launcher: RayLauncher, cluster: Cluster) -> None:
    """Whose address is told before anything is launched."""
    assert sorted((await kept(launcher, "two", 1, SMALL, SMALL)).values()) == sorted(cluster.nodes)


async def test_what_was_asked_for_otherwise_is_replaced(launcher: RayLauncher) -> None:
    """A job that prefers what there is no room for may get what it likes second."""
    for _ in range(2):
        assert await launcher.reserve("choosy", 1, {"algo-1": LARGE}) is None
    room = await launcher.reserve("choosy", 1, {"algo-1": SMALL})
    assert room is not None, "at once: the job asks for one after the other at each look"


async def test_the_next_attempt_takes_the_place_of_the_last(launcher: RayLauncher) -> None:
    """Also of one whose launch nobody can know of; other jobs keep what they have."""
    await kept(launcher, "other", 1, SMALL)
    await kept(launcher, "job", 1, SMALL)
    await kept(launcher, "job", 2, SMALL)
    assert sorted(await groups(launcher)) == [("job", 2), ("other", 1)]


async def test_what_an_earlier_service_left_is_given_back(launcher: RayLauncher, cluster: Cluster) -> None:
    """But for what live jobs have; other services of the cluster are none of its business."""
    stranger = RayLauncher(cluster.address, key="stranger")
    await stranger.open()
    try:
        await kept(stranger, "ended", 1, SMALL)
        await kept(launcher, "ended", 1, SMALL)
        await kept(launcher, "lives", 1, SMALL)
        successor = RayLauncher(cluster.address, key="beyond")
        await successor.open()
        try:
            await successor.sweep("/home/jobs", lambda: ["/home/jobs/lives/1/algo-1"])
            assert await groups(successor) == [("lives", 1)]
        finally:
            await successor.close()
        assert await groups(stranger) == [("ended", 1)]
        await stranger.release("ended")
    finally:
        await stranger.close()


def test_a_machine_that_is_no_node(cluster: Cluster, place: Path) -> None:
    """It is said how it becomes one."""
    machine = cluster.machine()
    assert machine.holder is not None
    # Ray's sockets are files: another machine does not have them.
    apart = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /tmp && exec "$@"', "sh"]
    serve = [sys.executable, "-m", "treadle.cli", "serve", "--launcher", "ray", "--ray-address", cluster.address]
    try:
        done = subprocess.run(
            [*inside(machine.holder.pid), *apart, *serve],
            env={"PATH": "/usr/bin:/bin:/usr/sbin", "TREADLE_HOME": str(place / "home")},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        machine.close()
    assert done.returncode == 2, done.stderr
    assert "There is no Ray cluster at '10.77.0.1:6380'" in done.stderr
    assert "`ray start --address=HOST:6379 --num-cpus=0`" in done.stderr
    assert len(done.stderr.splitlines()) == 2, "and nothing of Ray's"
