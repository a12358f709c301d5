"""`MetricDefinitions` (§1.11): regular expressions over the log, group 1 is the value.

The agent watches the log as it is written, for the last value of each; the service goes through what is kept of it, for
all of them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from treadle.seams import Json

__all__ = ["Metrics"]


class Metrics:
    """Watches log lines. `refused` says which definitions the linear-time engine cannot take."""

    def __init__(self, definitions: Sequence[Json]) -> None:
        self._patterns: dict[str, Any] = {}
        self._values: dict[str, list[float]] = {}
        self.refused: list[str] = []
        if not definitions:
            return
        import re2  # every program waits for the agent's imports; most jobs define no metrics

        options = re2.Options()
        options.log_errors = False
        for each in definitions:
            try:
                pattern = re2.compile(each["Regex"], options)
            except re2.error as error:
                self.refused.append(f"{each['Name']}: {_words(error)}")
                continue
            if pattern.groups:
                self._patterns[each["Name"]] = pattern
            else:
                self.refused.append(f"{each['Name']}: the expression has no group to take the value from")

    def observe(self, line: str, at: float) -> None:
        """Take the values that the line holds. `at` in Unix seconds; AWS gives whole ones."""
        for name, value in self.found(line):
            self._values[name] = [value, float(int(at))]

    def found(self, line: str) -> Iterator[tuple[str, float]]:
        """Give the names and values that the line holds."""
        for name, pattern in self._patterns.items():
            if (match := pattern.search(line)) and (value := _float32(match.group(1))) is not None:
                yield name, value

    def last(self) -> dict[str, list[float]]:
        """Give metric name → [value, Unix time] of its last match."""
        return dict(self._values)


def _float32(text: str | None) -> float | None:
    """Give the value as AWS keeps it, a 32-bit float; None for what is no finite number."""
    try:
        value: float = struct.unpack("f", struct.pack("f", float(text or "")))[0]
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _words(error: Exception) -> str:
    text = error.args[0] if error.args else error
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
