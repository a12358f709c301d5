"""Bytes that a program writes become lines of text, however long, broken or binary they are.

A tab becomes `#011`, as in AWS's logs (its rsyslog writes control characters so): the metric definitions of AWS's own
algorithms look for that. Other control characters stay, so that progress bars and colours are what they are.
"""

from __future__ import annotations

__all__ = ["LINE_LIMIT", "LineSplitter"]

LINE_LIMIT = 64 * 1024
"""Bytes: a longer line is cut into pieces of at most this size."""


class LineSplitter:
    """Gives lines as they become whole, each with the number of the byte after it: whoever splits from there goes on.

    Holds at most `limit` bytes and what one call brought. `position` is the number of the first byte.
    """

    def __init__(self, limit: int = LINE_LIMIT, position: int = 0) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._end = position

    def feed(self, data: bytes) -> list[tuple[str, int]]:
        """Take bytes, give the lines that they complete."""
        *whole, begun = data.split(b"\n")
        lines: list[tuple[str, int]] = []
        for each in whole:
            line = each
            if self._rest or len(each) > self._limit:
                self._rest += each
                lines += self._cut()
                line = bytes(self._rest)
                self._rest.clear()
            self._end += len(line) + 1
            lines.append((_text(line.removesuffix(b"\r")), self._end))
        self._rest += begun
        return lines + self._cut()

    def finish(self) -> list[tuple[str, int]]:
        """Give the last line, if it had no end."""
        self._end += len(self._rest)
        last = [(_text(self._rest), self._end)] if self._rest else []
        self._rest.clear()
        return last

    def _cut(self) -> list[tuple[str, int]]:
        """Take whole pieces off what has gathered; the rest is shorter than the limit."""
        rest, at = self._rest, 0
        pieces = []
        while len(rest) - at > self._limit:
            end = _boundary(rest, at + self._limit)
            self._end += end - at
            pieces.append((_text(rest[at:end]), self._end))
            at = end
        del rest[:at]
        return pieces


def _boundary(data: bytearray, end: int) -> int:
    """Give the nearest place up to `end` where no UTF-8 character is cut; `end` itself when this is not UTF-8."""
    for back in range(4):
        if data[end - back] & 0b1100_0000 != 0b1000_0000:
            return end - back
    return end


# A NUL is legal in JSON but not in every database that keeps logs.
_INSTEAD = str.maketrans({"\t": "#011", "\0": "\N{REPLACEMENT CHARACTER}"})


def _text(data: bytes | bytearray) -> str:
    text = data.decode("utf-8", "replace")
    # To look is a fifth of the work, and most lines have neither.
    return text.translate(_INSTEAD) if "\t" in text or "\0" in text else text
