"""The program's output on its way into the spool: kept as it comes, cut into lines, watched for metrics.

What an agent that is killed had not brought so far, the next one does: `JobLog.recover`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from treadle.agent import tape
from treadle.agent.lines import LineSplitter
from treadle.agent.spool import Spool
from treadle.agent.tape import Tape
from treadle.training.metrics import Metrics

__all__ = ["JobLog", "Pump"]

# What a program has printed and not flushed comes after its traceback: some kilobytes of often short lines.
_TAIL_LINES = 1000
_TAIL_WIDTH = 1024
# What a line costs beside its text: its time, its place in an index.
_LINE_COST = 32
# Where the output is when no more of it becomes lines: only the last ones still do, or they have.
_FULL, _CLOSED = -1, -2
# In the directory of the spool: the metrics so far.
_METRICS = "metrics.json"


class JobLog:
    """The log of a job: lines of the program and lines of the agent. `tail` holds the program's last ones.

    A program that never stops talking must not fill the disk of the control plane: beyond `limit` bytes its lines are
    left out, but for the last ones. All of them are watched for metrics. `directory` is the spool's.
    """

    def __init__(self, directory: Path, spool: Spool, metrics: Metrics, limit: int) -> None:
        self._directory = directory
        self._spool = spool
        self._metrics = metrics
        self._limit = limit
        self._room = limit
        self._left_out = 0
        self._left_out_before = False
        self._kept_metrics = -1
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def say(self, text: str) -> None:
        """Add a line of the agent's own."""
        self._spool.add_lines([(_now(), f"[treadle] {text}")])

    def add(self, lines: Sequence[tuple[str, int]], at: int | None = None) -> None:
        """Add lines of the program, each with the number of the byte after it; `at` in milliseconds, else now."""
        now = at or _now()
        texts = [line for line, _ in lines]
        found = [self._metrics.observe(line, now / 1000) for line in texts]
        if any(found):
            self._keep_metrics()
        self.tail.extend(line[-_TAIL_WIDTH:] for line in texts[-_TAIL_LINES:])
        kept = 0 if self._left_out else self._fitting(texts)
        self._spool.add_lines([(now, line) for line in texts[:kept]], [after for _, after in lines[:kept]])
        if kept < len(lines):
            if not self._left_out:
                limit = f"the log has its limit of {self._limit / 1024**2:g} MB"
                self._spool.add_lines([(now, f"[treadle] {limit}; of what follows the last lines are kept")], [_FULL])
            self._left_out += len(lines) - kept

    def _keep_metrics(self) -> None:
        """Keep them for an agent that comes after this one, in place: a file of its own each time costs 150 us."""
        with contextlib.suppress(OSError):  # where there is no room now, the next ones are kept
            if self._kept_metrics < 0:
                self._kept_metrics = os.open(self._directory / _METRICS, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._kept_metrics, msgspec.json.encode(self._metrics.last()) + b"\n", 0)

    def _fitting(self, lines: Sequence[str]) -> int:
        """Give how many of the lines there is still room for, and take it."""
        for count, line in enumerate(lines):
            self._room -= len(line.encode("utf-8", "replace")) + _LINE_COST
            if self._room < 0:
                return count
        return len(lines)

    def recover(self) -> None:
        """Add what an agent that is gone had not, from where it was. Blocks."""
        # Those of more than a page can be torn by a kill; they are missing then.
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            kept = (self._directory / _METRICS).read_bytes().partition(b"\n")[0]
            self._metrics.go_on_from(msgspec.json.decode(kept, type=dict[str, list[float]]))
        position = self._spool.position
        if position == _CLOSED:
            return
        first, written, pieces = tape.left(self._directory, position)
        at = max(written, self._spool.last_at)
        self._room = self._limit - position
        if position == _FULL:
            self._left_out, self._left_out_before = 1, True
        elif first > position:
            self.say(f"{first - position} bytes of the output are lost: the host could not keep them")
        splitter = LineSplitter(position=first)
        for piece in pieces:
            self.add(splitter.feed(piece), at)
        self.add(splitter.finish(), at)

    def close(self) -> None:
        """No more lines of the program follow."""
        if self._left_out:
            last = list(self.tail)[-self._left_out :]
            many = "more" if self._left_out_before else f"{self._left_out}"
            said = f"[treadle] {many} lines did not fit in the log; the last {len(last)} of them are:"
            now = _now()
            self._spool.add_lines([(now, line) for line in (said, *last)], [_CLOSED] * (len(last) + 1))
            self._left_out = 0
        self._spool.close_log(_now())

    def let_go(self) -> None:
        """Close what is open."""
        if self._kept_metrics >= 0:
            os.close(self._kept_metrics)
            self._kept_metrics = -1


class Pump:
    """Reads a pipe until its end, in the event loop; `done` is set then. What it reads is on the `tape` before."""

    def __init__(self, output: int, log: JobLog, tape: Tape) -> None:
        self._output = output
        self._log = log
        self._tape = tape
        self._splitter = LineSplitter()
        self._loop = asyncio.get_running_loop()
        self.done = asyncio.Event()
        os.set_blocking(output, False)
        self._loop.add_reader(output, self._read)

    def _read(self) -> bool:
        """Read once; False when there is nothing more at the moment."""
        try:
            data = self._tape.read(self._output)
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
        self._tape.close()
        if lines := self._splitter.finish():
            self._log.add(lines)
        self.done.set()


def _now() -> int:
    return time.time_ns() // 1_000_000
