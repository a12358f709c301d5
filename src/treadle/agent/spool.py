"""What the agent has to tell, on disk until the control plane has it.

`events.jsonl` holds every event, each on the disk before anything follows from it. Log lines go to segments,
`log-<number of the first line>.jsonl`, each line `[milliseconds, text, position]`; a segment whose lines have all been
acknowledged is removed, but for the last one. So a control plane that is away costs disk and no memory, and disk only
up to a limit: beyond it, and when the disk has no room, lines are dropped, and a line in the log says how many.

The control plane acknowledges by number: events by `seq`, lines by how many it has. What is not acknowledged is given
out again, so nothing depends on a request having arrived.

An agent that is killed leaves its spool to the next one, which goes on with it. `position` says how far the program's
output (`tape`) has become lines.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from treadle.agent.files import write_whole
from treadle.seams import HostEvent, LogBatch

__all__ = ["Spool"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_BATCH_LINES = 2000
_BATCH_BYTES = 256 * 1024
# How many lines the control plane has lost: they are not counted between it and us.
_LOST = "lost"


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
    """Events and log lines of one host, and those that are in the directory already.

    `arrived` is called when there is something new to tell.
    """

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
        self._held = 0  # bytes in segments, those of lines that were acknowledged included
        self._dropped = 0
        self._why = ""  # they were
        self._told = 0  # lines acknowledged
        self._lost = 0  # lines that were acknowledged and that the control plane has no more
        self._offset = 0  # where the first line not acknowledged begins in its segment
        self._position = 0
        self.last_at = 0
        """When the last line was added, in milliseconds."""
        self._take_over()
        self.inherited: Sequence[HostEvent] = tuple(self._events)
        """The events of the agent that had the spool before."""
        if self.pending:
            self._arrived(urgent=True)

    def _take_over(self) -> None:
        """Read what an earlier agent has left. What was taken is not known: all of it is told again."""
        self._events = _whole(self._directory / "events.jsonl", _events)
        self._seq = self._events[-1].seq if self._events else 0
        with contextlib.suppress(FileNotFoundError):
            self._lost = int((self._directory / _LOST).read_text())
        for path in sorted(self._directory.glob("log-*.jsonl")):
            if lines := _whole(path, _lines):
                segment = _Segment(path, int(path.stem.partition("-")[2]), len(lines), path.stat().st_size)
                self._segments.append(segment)
                self._held += segment.size
                self._lines = segment.first + segment.lines
                self.last_at, _, self._position = lines[-1]
            else:
                path.unlink()
        self._told = self._segments[0].first if self._segments else 0

    # Events

    @property
    def next_seq(self) -> int:
        """The number of the next event."""
        return self._seq + 1

    @property
    def position(self) -> int:
        """How many bytes of the program's output have become lines; below zero when no more of them do."""
        return self._position

    def add_event(self, event: HostEvent, *, provisional: bool = False) -> None:
        """Keep an event; it is on the disk on return. The log lines before it are, too.

        One that is provisional is not: another agent would find out for itself. Until it has been told it can be
        withdrawn.
        """
        self.sync()
        if not provisional:
            self._write_event(event)
        self._seq = event.seq
        self._events.append(event)
        self._arrived(urgent=True)

    def withdraw(self) -> None:
        """Forget the last event."""
        self._seq = self._events.pop().seq - 1

    def _write_event(self, event: HostEvent) -> None:
        with (self._directory / "events.jsonl").open("ab", buffering=0) as file:
            before = file.tell()
            try:
                _write_all(file.fileno(), msgspec.json.encode(event) + b"\n")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise

    def events(self) -> list[HostEvent]:
        """Give the events not acknowledged; `ended` only after every log line has been: logs are complete first."""
        log_told = self._told == self._lines and not self._dropped
        return [each for each in self._events if each.kind != "ended" or log_told]

    # Log lines

    def add_lines(self, lines: Sequence[tuple[int, str]], positions: Sequence[int] = ()) -> None:
        """Keep lines, each [milliseconds, text]; where there is no room for them they are counted instead.

        `positions` are those in the program's output after each of them; a line of the agent's own leaves it as it is.
        """
        given = [(*line, after) for line, after in zip(lines, positions or repeat(self._position), strict=False)]
        kept = self._keep(given) if given and (not self._dropped or self._room_again(given[0][0])) else 0
        self._dropped += len(given) - kept
        if given:
            self.last_at, _, self._position = given[-1]
        self._arrived(urgent=False)

    def _keep(self, lines: Sequence[_Line]) -> int:
        """Write lines as long as there is room; how many were written."""
        encoded = [_encode(line) + b"\n" for line in lines]
        kept = 0
        while kept < len(encoded):
            if self._waiting >= self._limit:
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
        if self._waiting >= self._limit // 2 or not self._keep([self._gap(at)]):
            return False
        self._dropped = 0
        return True

    @property
    def _waiting(self) -> int:
        """How many bytes the lines have that the control plane lacks."""
        return self._held - self._offset

    def close_log(self, at: int) -> None:
        """No more lines follow: if some were dropped last, say so. `at` in milliseconds."""
        if self._dropped:
            try:
                self._append([_encode(self._gap(at)) + b"\n"])
            except OSError as error:
                # The end of the job must be told all the same.
                _log.warning("%d lines of the log are lost: %s", self._dropped, error.strerror)
            self._dropped = 0
        self.sync()
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
                lines.append(_lines.decode(raw)[:2])
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
            write_whole(self._directory / _LOST, b"%d" % self._lost)
            self.add_lines([(at, f"… {missing} lines that stood before are lost: the control plane has them no more")])

    def _forget(self, log_to: int) -> None:
        """Move past the acknowledged lines of the first segment, and remove it when nothing is left in it."""
        segment = self._segments[0]
        if log_to >= segment.first + segment.lines:
            self._told, self._offset = segment.first + segment.lines, segment.size
            self._remove_taken()
            return
        with segment.path.open("rb") as file:
            file.seek(self._offset)
            for _ in range(log_to - self._told):
                self._offset += len(file.readline())
        self._told = log_to

    def _remove_taken(self) -> None:
        """Remove the first segment if all of it was taken. The last line stays, for how far it was; see `position`."""
        if len(self._segments) > 1 and self._segments[1].lines and self._offset == self._segments[0].size:
            taken = self._segments.pop(0)
            self._held -= taken.size
            self._offset = 0
            taken.path.unlink()

    def _gap(self, at: int) -> _Line:
        """Give the line that stands for those dropped."""
        return at, f"… {self._dropped} lines dropped: {self._why}", self._position

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
        self._remove_taken()
        return count

    def _write(self, data: memoryview, position: int) -> None:
        """Write all of it at the end of the last segment, or nothing."""
        if self._end is None:
            return
        try:
            _write_all(self._end, data)
        except OSError:
            # Half a line must not stay: the next one would go on in it.
            os.ftruncate(self._end, position)
            raise

    def _begin_segment(self) -> None:
        self.sync()
        path = self._directory / f"log-{self._lines:012d}.jsonl"
        end = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._end is not None:
            os.close(self._end)
        self._end = end
        self._segments.append(_Segment(path, self._lines))

    def sync(self) -> None:
        """See that the lines are on the disk, should the machine go down."""
        if self._end is not None:
            os.fsync(self._end)

    def close(self) -> None:
        """Let go of the files."""
        if self._end is not None:
            os.close(self._end)
            self._end = None


_Line: TypeAlias = tuple[int, str, int]

_encode = msgspec.json.Encoder().encode
_lines = msgspec.json.Decoder(_Line)
_events = msgspec.json.Decoder(HostEvent)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _whole(path: Path, decoder: msgspec.json.Decoder[_T]) -> list[_T]:
    """Read the values of a file, one a line. What a crash has torn is cut off, and so is what comes after it."""
    values: list[_T] = []
    size = 0
    try:
        with path.open("r+b") as file:
            with contextlib.suppress(msgspec.DecodeError):
                while (line := file.readline()).endswith(b"\n"):
                    values.append(decoder.decode(line))
                    size += len(line)
            file.truncate(size)
    except FileNotFoundError:
        return []
    return values
