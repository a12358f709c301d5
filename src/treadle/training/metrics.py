"""`MetricDefinitions` (§1.11): regular expressions over the log, group 1 is the value.

RE2 needs time in proportion to the line. What it cannot take (`(?<!val_)loss: (.*)`) is taken as Python has it, with a
time limit: an expression that once needs longer is given up.

The agent watches the log as it is written, for the last value of each; the service goes through what is kept of it, for
all of them.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from treadle.seams import Json

__all__ = ["Metrics"]


# Of a processor, for one line and one expression.
_PATIENCE: Final = 0.2
# An expression is written out as often as it says at least (`a{1000}`), and in each other: some 300 bytes a character.
_LEAST: Final = re.compile(r"\{\s*(\d+)")
_LARGEST: Final = 250_000


class Metrics:
    """Watches log lines. `refused` says which definitions cannot be used, `given_up` which needed too long."""

    def __init__(self, definitions: Sequence[Json]) -> None:
        self._patterns: dict[str, Any] = {}
        self._values: dict[str, list[float]] = {}
        self.refused: list[str] = []
        self.given_up: list[str] = []
        for each in definitions:
            try:
                pattern = _compiled(each["Regex"])
            except ValueError as error:
                self.refused.append(f"{each['Name']}: {error}")
                continue
            if pattern.groups:
                self._patterns[each["Name"]] = pattern
            else:
                self.refused.append(f"{each['Name']}: the expression has no group to take the value from")

    def observe(self, line: str, at: float) -> bool:
        """Take the values that the line holds, if there are some. `at` in Unix seconds; AWS gives whole ones."""
        found = [(name, [value, float(int(at))]) for name, value in self.found(line)]
        self._values.update(found)
        return bool(found)

    def go_on_from(self, values: Mapping[str, list[float]]) -> None:
        """Take the values that were found so far, as `last` gave them."""
        self._values.update(values)

    def found(self, line: str) -> Iterator[tuple[str, float]]:
        """Give the names and values that the line holds."""
        for name, pattern in list(self._patterns.items()):
            try:
                match = pattern.search(line)
            except TimeoutError:
                del self._patterns[name]
                self.given_up.append(name)
                continue
            if match and (value := _float32(match.group(1))) is not None:
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


class _Backtracking:
    """An expression with a time limit; `search` raises `TimeoutError`."""

    def __init__(self, expression: str) -> None:
        import regex

        if len(expression) * math.prod(max(1, int(each)) for each in _LEAST.findall(expression)) > _LARGEST:
            raise ValueError("it repeats too much")
        try:
            self._compiled = regex.compile(expression)
        except regex.error as error:
            raise ValueError(str(error)) from None
        self.groups: int = self._compiled.groups

    def search(self, line: str) -> Any:
        # The service does other things meanwhile.
        return self._compiled.search(line, timeout=_PATIENCE, concurrent=True)


def _compiled(expression: str) -> Any:
    """Compile an expression. Raises `ValueError`, with the reason, for what is none."""
    import re2  # every program waits for the agent's imports; most jobs define no metrics

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error:
        return _Backtracking(expression)
