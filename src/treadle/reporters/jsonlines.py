"""A run as JSON lines for programs: every event as it is, the last line is the result (`RunFinished`)."""

from __future__ import annotations

from typing import TextIO

from treadle.arazzo.events import Event, encode

__all__ = ["JsonLinesReporter"]


class JsonLinesReporter:
    """Writes each event as one line of JSON to `out`."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err

    def report(self, event: Event) -> None:
        """Write the event."""
        self._out.write(encode(event).decode() + "\n")
        self._out.flush()

    def say(self, text: str) -> None:
        """Write a line that is no event, for the person behind the program."""
        self._err.write(text + "\n")
        self._err.flush()

    def close(self) -> None:
        """Nothing is held."""
