"""What the agent has to tell, on disk until the control plane has it.

`events.jsonl` holds every event, each on the disk before anything follows from it. Log lines go to segments,
`log-<number of the first line>.jsonl`, each line `[milliseconds, text]`; a segment whose lines have all been
acknowledged is removed. So a control plane that is away costs disk and no memory, and disk only up to a limit: beyond
it, and when the disk has no room, lines are dropped, and a line in the log says how many.

The control plane acknowledges by number: events by `seq`, lines by how many it has. What is not acknowledged is given
out again, so nothing depends on a request having arrived.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from treadle.seams import HostEvent, LogBatch

__all__ = ["Spool"]

_log = logging.getLogger(__name__)

_BATCH_LINES = 2000
_BATCH_BYTES = 256 * 1024


@dataclass(slots=True)
class _Segment:
    """A file of log lines: `first` is the number of its first line, `size` in bytes."""

    path: Path
    first: int
    lines: int = 0
    size: int = 0


class Arrived(Protocol):
    """Takes notice that there is something new; an event is urgent, a log line is not."""

    def __call__(self, *, urgent: bool) -> None: ...


class Spool:
    """Events and log lines of one host. `arrived` is called when there is something new to tell."""

    def __init__(
        self,
        directory: Path,
        *,
        arrived: Arrived = lambda *, urgent: None,  # noqa: ARG005  (nobody waits)
        limit: int = 256 * 1024 * 1024,
        segment_size: int = 4 * 1024 * 1024,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._arrived = arrived
        self._limit = limit
        self._segment_size = segment_size
        self._events: list[HostEvent] = []
        self._seq = 0
        self._segments: list[_Segment] = []
        self._end: int | None = None  # descriptor of the last segment
        self._lines = 0
        self._held = 0  # bytes in segments
        self._dropped = 0
        self._why = ""  # they were
        self._told = 0  # lines acknowledged
        self._lost = 0  # lines that were acknowledged and that the control plane has no more
        self._offset = 0  # where the first line not acknowledged begins in its segment

    # Events

    @property
    def next_seq(self) -> int:
        """The number of the next event."""
        return self._seq + 1

    def add_event(self, event: HostEvent) -> None:
        """Keep an event; it is on the disk on return. The log lines before it are, too."""
        self._sync_log()
        with (self._directory / "events.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(event) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._seq = event.seq
        self._events.append(event)
        self._arrived(urgent=True)

    def events(self) -> list[HostEvent]:
        """Give the events not acknowledged; `ended` only after every log line has been: logs are complete first."""
        log_told = self._told == self._lines and not self._dropped
        return [each for each in self._events if each.kind != "ended" or log_told]

    # Log lines

    def add_lines(self, lines: Sequence[tuple[int, str]]) -> None:
        """Keep lines, each [milliseconds, text]; where there is no room for them they are counted instead."""
        kept = self._keep(lines) if lines and (not self._dropped or self._room_again(lines[0][0])) else 0
        self._dropped += len(lines) - kept
        self._arrived(urgent=False)

    def _keep(self, lines: Sequence[tuple[int, str]]) -> int:
        """Write lines as long as there is room; how many were written."""
        encoded = [msgspec.json.encode(line) + b"\n" for line in lines]
        kept = 0
        while kept < len(encoded):
            if self._held >= self._limit:
                self._why = "the control plane did not take them as fast as they were written"
                break
            try:
                kept += self._append(encoded[kept:])
            except OSError as error:
                self._why = f"the host could not keep them ({error.strerror})"
                break
        return kept

    def _room_again(self, at: int) -> bool:
        """Tell whether there is room after lines were dropped; then a line stands for them."""
        if self._held >= self._limit // 2 or not self._keep([self._gap(at)]):
            return False
        self._dropped = 0
        return True

    def close_log(self, at: int) -> None:
        """No more lines follow: if some were dropped last, say so. `at` in milliseconds."""
        if self._dropped:
            try:
                self._append([msgspec.json.encode(self._gap(at)) + b"\n"])
            except OSError as error:
                # The end of the job must be told all the same.
                _log.warning("%d lines of the log are lost: %s", self._dropped, error.strerror)
            self._dropped = 0
        self._sync_log()
        self._arrived(urgent=False)

    def batch(self) -> LogBatch | None:
        """Give the next lines not acknowledged, a bounded number of them; None when there are none."""
        if self._told == self._lines:
            return None
        lines: list[tuple[int, str]] = []
        size = 0
        with self._segments[0].path.open("rb") as file:
            file.seek(self._offset)
            while len(lines) < _BATCH_LINES and size < _BATCH_BYTES and (raw := file.readline()):
                lines.append(_decoder.decode(raw))
                size += len(raw)
        return LogBatch(first=self._told - self._lost, lines=lines)

    # Both

    @property
    def pending(self) -> bool:
        """Whether there is anything that has not been acknowledged."""
        return bool(self._events) or self._told < self._lines

    @property
    def told(self) -> tuple[int, int]:
        """How far the control plane has come: events it still lacks, lines it has."""
        return len(self._events), self._told

    def acknowledge(self, events_to: int, log_to: int) -> None:
        """Forget what the control plane has taken: events up to that `seq`, and so many lines."""
        self._events = [each for each in self._events if each.seq > events_to]
        taken = min(log_to + self._lost, self._lines)
        while self._told < taken:
            self._forget(taken)

    def go_on_from(self, log_to: int, at: int) -> None:
        """Give the next line the number `log_to`, for a control plane that has lost lines. The log says how many."""
        missing = self._told - self._lost - log_to
        if missing > 0:
            self._lost += missing
            self.add_lines([(at, f"… {missing} lines that stood before are lost: the control plane has them no more")])

    def _forget(self, log_to: int) -> None:
        """Move past the acknowledged lines of the first segment, and remove it when nothing is left in it."""
        segment = self._segments[0]
        if log_to >= segment.first + segment.lines:
            self._told, self._offset = segment.first + segment.lines, 0
            self._held -= segment.size
            self._segments.pop(0)
            if not self._segments and self._end is not None:
                os.close(self._end)
                self._end = None
            segment.path.unlink()
            return
        with segment.path.open("rb") as file:
            file.seek(self._offset)
            for _ in range(log_to - self._told):
                self._offset += len(file.readline())
        self._told = log_to

    def _gap(self, at: int) -> tuple[int, str]:
        """Give the line that stands for those dropped."""
        return at, f"… {self._dropped} lines dropped: {self._why}"

    def _append(self, lines: Sequence[bytes]) -> int:
        """Write lines to the last segment, a new one when that is full; how many were written."""
        if self._end is None or self._segments[-1].size >= self._segment_size:
            self._begin_segment()
        segment = self._segments[-1]
        count, size = 0, 0
        for line in lines:
            if size and segment.size + size >= self._segment_size:
                break
            count += 1
            size += len(line)
        self._write(memoryview(b"".join(lines[:count])), segment.size)
        segment.lines += count
        segment.size += size
        self._lines += count
        self._held += size
        return count

    def _write(self, data: memoryview, position: int) -> None:
        """Write all of it at the end of the last segment, or nothing."""
        if self._end is None:
            return
        try:
            while data:
                data = data[os.write(self._end, data) :]
        except OSError:
            # Half a line must not stay: the next one would go on in it.
            os.ftruncate(self._end, position)
            raise

    def _begin_segment(self) -> None:
        self._sync_log()
        path = self._directory / f"log-{self._lines:012d}.jsonl"
        end = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._end is not None:
            os.close(self._end)
        self._end = end
        self._segments.append(_Segment(path, self._lines))

    def _sync_log(self) -> None:
        if self._end is not None:
            os.fsync(self._end)

    def close(self) -> None:
        """Let go of the files."""
        if self._end is not None:
            os.close(self._end)
            self._end = None


_decoder = msgspec.json.Decoder(tuple[int, str])
