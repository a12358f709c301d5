"""The program's output on its way into the spool: read as it comes, cut into lines, watched for metrics."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence

from treadle.agent.lines import LineSplitter
from treadle.agent.metrics import Metrics
from treadle.agent.spool import Spool

__all__ = ["JobLog", "Pump"]

_READ = 64 * 1024
_TAIL_LINES = 50
_TAIL_WIDTH = 1024


class JobLog:
    """The log of a job: lines of the program and lines of the agent. `tail` holds the program's last ones."""

    def __init__(self, spool: Spool, metrics: Metrics) -> None:
        self._spool = spool
        self._metrics = metrics
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def say(self, text: str) -> None:
        """Add a line of the agent's own."""
        self._spool.add_lines([(_now(), f"[treadle] {text}")])

    def add(self, lines: Sequence[str]) -> None:
        """Add lines of the program."""
        now = _now()
        for line in lines:
            self._metrics.observe(line, now / 1000)
        self.tail.extend(line[-_TAIL_WIDTH:] for line in lines[-_TAIL_LINES:])
        self._spool.add_lines([(now, line) for line in lines])

    def close(self) -> None:
        """No more lines follow."""
        self._spool.close_log(_now())


class Pump:
    """Reads a pipe until its end, in the event loop; `done` is set then."""

    def __init__(self, output: int, log: JobLog) -> None:
        self._output = output
        self._log = log
        self._splitter = LineSplitter()
        self._loop = asyncio.get_running_loop()
        self.done = asyncio.Event()
        os.set_blocking(output, False)
        self._loop.add_reader(output, self._read)

    def _read(self) -> bool:
        """Read once; False when there is nothing more at the moment."""
        try:
            data = os.read(self._output, _READ)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        if lines := self._splitter.feed(data):
            self._log.add(lines)
        return True

    def drain(self) -> None:
        """Read what is in the pipe, and no longer wait for its end: somebody else may hold it open for ever."""
        while not self.done.is_set() and self._read():
            pass
        self.close()

    def close(self) -> None:
        """Stop reading; the last line counts without its end."""
        if self.done.is_set():
            return
        self._loop.remove_reader(self._output)
        os.close(self._output)
        if lines := self._splitter.finish():
            self._log.add(lines)
        self.done.set()


def _now() -> int:
    return time.time_ns() // 1_000_000
