"""Pipe mode: for every channel a FIFO `<channel>_0`, then `<channel>_1` …, one for each epoch that the program reads.

A thread for each channel opens the FIFO, which waits for a reader, and writes the bytes of the epoch. When all are
written, or the reader has closed early, the next FIFO takes its place: it is made before the old one is closed, so who
reads to the end finds it there. A program that has read enough goes, and its feeder is still waiting: so whatever a
feeder waits for can be ended from outside (`stop`), an `open` by opening the other end, a `write` by an event.

The FIFO is held by a descriptor, not by its name: what the program puts in the place of the name is nobody's business.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from treadle.agent.faults import DataError
from treadle.agent.streams import Stream

__all__ = ["Feeders"]


class _StoppedError(Exception):
    """The feeder is to end."""


class Feeders:
    """The feeders of all channels of a host. `failed` is called, in a feeder's thread, with what is wrong with data."""

    def __init__(self, streams: Iterable[Stream], data: Path, failed: Callable[[DataError], None]) -> None:
        self._feeders = [_Feeder(each, data, failed) for each in streams]

    def start(self) -> None:
        """Make the first FIFO of each channel, and wait for readers."""
        for each in self._feeders:
            each.start()

    def stop(self) -> None:
        """End all feeders, whatever they wait for, and wait until they have ended."""
        for each in self._feeders:
            each.stop()


class _Feeder(threading.Thread):
    """Feeds one channel."""

    def __init__(self, stream: Stream, data: Path, failed: Callable[[DataError], None]) -> None:
        super().__init__(name=f"pipe {stream.channel}", daemon=True)
        self._stream = stream
        self._data = data
        self._failed = failed
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._stopped = False
        self._epoch = 0
        self._fifo = self._make(0)

    def _path(self, epoch: int) -> Path:
        return self._data / f"{self._stream.channel}_{epoch}"

    def _make(self, epoch: int) -> int:
        path = self._path(epoch)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.mkfifo(path, 0o666)
        return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def run(self) -> None:
        """Feed epoch after epoch until stopped."""
        try:
            while True:
                self._feed()
        except _StoppedError:
            return

    def _feed(self) -> None:
        end = self._opened()
        try:
            os.set_blocking(end, False)
            self._write(end)
        except (DataError, OSError) as error:
            what = f'The FIFO of the channel "{self._stream.channel}" broke: {error}.'
            self._failed(error if isinstance(error, DataError) else DataError(what))
            # To close the FIFO now would tell the program that the data ends here.
            select.select([self._wake], [], [])
        finally:
            os.close(end)

    def _write(self, end: int) -> None:
        """Write an epoch, then make the next FIFO. A reader that closes early ends the epoch."""
        epoch = self._epoch
        with contextlib.suppress(BrokenPipeError):
            for piece in self._stream.epoch(epoch):
                view = memoryview(piece)
                while view:
                    self._go_on()
                    view = view[self._some(end, view) :]
        following = self._make(epoch + 1)
        with self._lock:
            os.close(self._fifo)
            self._fifo, self._epoch = following, epoch + 1
        with contextlib.suppress(FileNotFoundError):
            self._path(epoch).unlink()

    def _some(self, end: int, view: memoryview) -> int:
        """Write as much as goes; wait where nothing does."""
        try:
            return os.write(end, view)
        except BlockingIOError:
            poll = select.poll()
            poll.register(end, select.POLLOUT)
            poll.register(self._wake, select.POLLIN)
            poll.poll()
            return 0

    def _opened(self) -> int:
        """Wait for a reader."""
        with self._lock:
            self._go_on()
        # Nobody but this thread puts another FIFO in its place.
        return os.open(f"/proc/self/fd/{self._fifo}", os.O_WRONLY | os.O_CLOEXEC)

    def _go_on(self) -> None:
        if self._stopped:
            raise _StoppedError

    def stop(self) -> None:
        """End the thread, whatever it waits for. May be called for one that was never started."""
        with self._lock:
            self._stopped = True
            # Another end for the feeder's `open` to meet. Kept until the feeder has gone.
            other = os.open(f"/proc/self/fd/{self._fifo}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.eventfd_write(self._wake, 1)
        try:
            if self.is_alive():
                self.join()
        finally:
            os.close(other)
            os.close(self._fifo)
            os.close(self._wake)
