"""The program's output on its way into the spool: read as it comes, cut into lines, watched for metrics."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence

from treadle.agent.lines import LineSplitter
from treadle.agent.spool import Spool
from treadle.training.metrics import Metrics

__all__ = ["JobLog", "Pump"]

_READ = 64 * 1024
# What a program has printed and not flushed comes after its traceback: some kilobytes of often short lines.
_TAIL_LINES = 1000
_TAIL_WIDTH = 1024
# What a line costs beside its text: its time, its place in an index.
_LINE_COST = 32


class JobLog:
    """The log of a job: lines of the program and lines of the agent. `tail` holds the program's last ones.

    A program that never stops talking must not fill the disk of the control plane: beyond `limit` bytes its lines are
    left out, but for the last ones. All of them are watched for metrics.
    """

    def __init__(self, spool: Spool, metrics: Metrics, limit: int) -> None:
        self._spool = spool
        self._metrics = metrics
        self._limit = limit
        self._room = limit
        self._left_out = 0
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
        kept = 0 if self._left_out else self._fitting(lines)
        self._spool.add_lines([(now, line) for line in lines[:kept]])
        if kept < len(lines):
            if not self._left_out:
                self.say(
                    f"the log has its limit of {self._limit / 1024**2:g} MB; of what follows the last lines are kept"
                )
            self._left_out += len(lines) - kept

    def _fitting(self, lines: Sequence[str]) -> int:
        """Give how many of the lines there is still room for, and take it."""
        for count, line in enumerate(lines):
            self._room -= len(line.encode("utf-8", "replace")) + _LINE_COST
            if self._room < 0:
                return count
        return len(lines)

    def close(self) -> None:
        """No more lines follow."""
        if self._left_out:
            last = list(self.tail)[-self._left_out :]
            self.say(f"{self._left_out} lines did not fit in the log; the last {len(last)} of them are:")
            now = _now()
            self._spool.add_lines([(now, line) for line in last])
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
