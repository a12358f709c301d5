"""FIFOs of Pipe mode: one for each epoch, for as long as somebody reads, and nothing hangs when nobody does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from treadle.agent import streams
from treadle.agent.faults import DataError
from treadle.agent.pipes import Feeders
from treadle.objects.memory import MemoryObjects

BUCKET = "bucket"
LARGE = 1 << 20
Start = Callable[..., Feeders]


class Told(list[DataError]):
    """What feeders said."""

    def __init__(self) -> None:
        self.heard = threading.Event()

    def take(self, error: DataError) -> None:
        self.append(error)
        self.heard.set()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def start(tmp_path: Path, told: Told) -> Start:
    """Give a way to start the feeder of a channel; each test stops its own."""
    objects = MemoryObjects()
    objects.create_bucket(BUCKET)

    def begin(*contents: bytes, absent: bool = False) -> Feeders:
        parts = []
        for number, content in enumerate(contents):
            objects.write(BUCKET, str(number), iter([content]))
            parts.append(streams.ObjectPart(BUCKET, str(number), len(content)))
        if absent:
            parts.append(streams.ObjectPart(BUCKET, "absent", 1))
        source = streams.Listing(parts, streams.Share())
        feeders = Feeders([streams.Stream("c", source, objects, gzip=False, records=False)], tmp_path, told.take)
        feeders.start()
        return feeders

    return begin


def within(seconds: float, what: Callable[[], None]) -> None:
    """See that something that could hang does not."""
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive()


def test_epoch_after_epoch(start: Start, tmp_path: Path) -> None:
    """Who reads to the end finds the next FIFO at once; the one that was read is gone."""
    feeders = start(b"one\n", b"x" * LARGE)
    for epoch in range(3):
        assert (tmp_path / f"c_{epoch}").is_fifo()
        assert (tmp_path / f"c_{epoch}").read_bytes() == b"one\n" + b"x" * LARGE
    within(5, feeders.stop)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["c_3"]


def test_early_close(start: Start, tmp_path: Path) -> None:
    """A reader that has enough begins a new epoch by closing; it may have to wait for the FIFO, as on AWS."""
    feeders = start(b"x" * LARGE)
    for epoch in range(3):
        deadline = time.monotonic() + 5
        while not (tmp_path / f"c_{epoch}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        with (tmp_path / f"c_{epoch}").open("rb") as file:
            assert file.read(10) == b"x" * 10
    within(5, feeders.stop)


def test_stop_while_nobody_reads(start: Start) -> None:
    """The feeder waits in `open`."""
    within(5, start(b"x").stop)


def test_stop_while_a_reader_sleeps(start: Start, tmp_path: Path) -> None:
    """The feeder waits in `write`."""
    feeders = start(b"x" * LARGE)
    with (tmp_path / "c_0").open("rb") as file:
        assert file.read(1) == b"x"
        within(5, feeders.stop)


def test_stop_when_the_fifo_has_gone(start: Start, tmp_path: Path) -> None:
    """A program may remove it, or put something else there."""
    feeders = start(b"x")
    (tmp_path / "c_0").unlink()
    (tmp_path / "c_0").write_bytes(b"mine")
    within(5, feeders.stop)
    assert (tmp_path / "c_0").read_bytes() == b"mine"


def test_data_that_breaks(start: Start, tmp_path: Path, told: Told) -> None:
    """It is told, and the reader does not take it for the end of the data."""
    feeders = start(b"one\n", absent=True)
    with (tmp_path / "c_0").open("rb") as file:
        assert file.readline() == b"one\n"
        assert told.heard.wait(5)
        os.set_blocking(file.fileno(), False)
        assert file.read(1) is None
        within(5, feeders.stop)
    assert "absent" in str(told[0])


def test_nothing_is_left(start: Start) -> None:
    """Threads and descriptors of feeders are gone after `stop`."""
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    feeders = start(b"x")
    within(5, feeders.stop)
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before
