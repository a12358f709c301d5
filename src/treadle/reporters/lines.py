"""A run as lines of text, for logs and pipes: one line for each event that is news."""

from __future__ import annotations

from typing import TextIO

from treadle.arazzo.events import Event, RunFinished
from treadle.reporters.ending import ending
from treadle.reporters.story import Line, Story
from treadle.reporters.text import duration

__all__ = ["LinesReporter", "written"]


class LinesReporter:
    """Writes the story to `err` and the outputs to `out`. `quiet` leaves out everything but the end of a failed run."""

    def __init__(self, out: TextIO, err: TextIO, *, explain: bool = False, quiet: bool = False) -> None:
        self._out = out
        self._err = err
        self._quiet = quiet
        self._story = Story(explain=explain, heartbeat=True)

    def report(self, event: Event) -> None:
        """Write what is news."""
        for line in self._story.tell(event):
            if not self._quiet or line.tone == "warn":
                self._write(self._err, written(line))
        if isinstance(event, RunFinished):
            self._end(event)

    def _end(self, event: RunFinished) -> None:
        told = ending(event, event.at - self._story.started_at)
        if not self._quiet or event.status != "succeeded":
            self._write(self._err, told.head, *told.notes)
        self._write(self._out, *told.outputs)

    def say(self, text: str) -> None:
        """Write a line that is no event."""
        self._write(self._err, text)

    def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def _write(stream: TextIO, *lines: str) -> None:
        # Flushed: whoever reads the other end of a pipe wants to see it now.
        stream.writelines(line + "\n" for line in lines)
        stream.flush()


def written(line: Line) -> str:
    """Give a line of the story as text: time since the start, step, what happened."""
    return f"{duration(line.after):>12}  {line.step + '  ' if line.step else ''}{line.text}"
