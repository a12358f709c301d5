"""Room on the disk: a warning in time, and no new jobs before it is full."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.training.world import world

from treadle.errors import ServiceError
from treadle.training.room import Room, RoomLimits

GIB = 1 << 30


class Disk:
    def __init__(self, free: float) -> None:
        self.free = free

    def __call__(self, _directory: Path) -> int:
        return int(self.free * GIB)


def room(disk: Disk) -> Room:
    return Room(Path("home"), RoomLimits(refuse=GIB, warn=5 * GIB), disk)


def test_it_warns_once_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """Not at every look; and again when there was room in between."""
    disk = Disk(10)
    its = room(disk)
    with caplog.at_level(logging.INFO):
        for free in (10, 4, 3, 4, 6, 2):
            disk.free = free
            assert its.look() == free * GIB
    advice = "below 1.0 GB new jobs are refused. Make room with treadle jobs prune and treadle data rm."
    assert [each.getMessage() for each in caplog.records] == [
        f"the disk of home has 4.0 GB left; {advice}",
        "the disk of home has 6.0 GB left again",
        f"the disk of home has 2.0 GB left; {advice}",
    ]


def test_without_room_there_are_no_new_jobs() -> None:
    """The text says why, and what to do."""
    room(Disk(1)).check()
    with pytest.raises(ServiceError) as caught:
        room(Disk(0.05)).check()
    assert caught.value.code == "ResourceLimitExceeded"
    assert caught.value.message == (
        "New training jobs are refused because the disk of this service has 51.2 MB left, and 1.0 GB must stay free. "
        "Make room with treadle jobs prune and treadle data rm."
    )


@pytest.mark.parametrize(("fresh", "taken"), [(3600.0, True), (0.0, False)], ids=["within-a-burst", "later"])
def test_a_burst_of_jobs_looks_once(fresh: float, taken: bool) -> None:
    """What some jobs need is little beside what must stay free; but soon it is looked again."""
    disk = Disk(10)
    its = Room(Path("home"), RoomLimits(refuse=GIB, warn=5 * GIB), disk, fresh)
    its.check()
    disk.free = 0.5
    with contextlib.nullcontext() if taken else pytest.raises(ServiceError):
        its.check()


async def test_it_is_looked_at_all_the_time() -> None:
    """Without anybody creating jobs."""
    looks = 0
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def free(_directory: Path) -> int:
        nonlocal looks
        looks += 1
        if looks == 3:
            loop.call_soon_threadsafe(enough.set)
        return GIB

    watching = asyncio.create_task(Room(Path(), free=free).watch(0.001))
    await asyncio.wait_for(enough.wait(), 5)
    watching.cancel()


def test_a_service_refuses_jobs(tmp_path: Path) -> None:
    """Through the API, while all else works: what runs goes on, and room can be made."""
    with world(tmp_path, room=RoomLimits(refuse=1 << 60, warn=1 << 61)) as service:
        sagemaker = service.client()
        with pytest.raises(ClientError, match="New training jobs are refused because the disk") as caught:
            service.create(sagemaker, "quick-refused")
        assert caught.value.response["Error"]["Code"] == "ResourceLimitExceeded"
        assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
