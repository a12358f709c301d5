"""TOML with the places of its keys and of its faults: tomllib keeps none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from treadle.errors import Place

__all__ = ["NotToml", "Toml"]


class NotToml(Exception):  # noqa: N818  (for who reads a file, who says what file that is)
    """A text is no TOML: why not, and where."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.message = message
        self.place = place


@dataclass(frozen=True, slots=True)
class Toml:
    """The text of a file; `label` is what places call it."""

    text: str
    label: str

    def parsed(self) -> dict[str, Any]:
        """Give its value. Raises `NotToml`."""
        import tomllib  # only where there is a file

        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise self._fault(str(error)) from error

    def _fault(self, said: str) -> NotToml:
        message, _, _ = said.partition(" (at ")
        at = _AT.search(said)
        lines = self.text.splitlines() or [""]
        line, column = (int(at[1]), int(at[2])) if at else (len(lines), len(lines[-1]) + 1)
        return NotToml(message, self._place(line, column))

    def place(self, at: tuple[str, ...], *, quiet: bool = False) -> Place:
        """Give where a key stands, by the names that lead to it; the beginning of the file for ().

        Of a key in an inline table it is the place of what it is in. `quiet` leaves the line itself out.
        """
        best, position = 0, (1, 1, 1)
        for path, line, column, width in _keys(self.text):
            if len(path) > best and at[: len(path)] == path:
                best, position = len(path), (line, column, width)
        return self._place(*position, quiet=quiet)

    def _place(self, line: int, column: int, width: int = 1, *, quiet: bool = False) -> Place:
        lines = self.text.splitlines()
        text = lines[line - 1] if 0 < line <= len(lines) and not quiet else ""
        return Place(self.label, "", line, column, text, width)


_AT: Final = re.compile(r" \(at line (\d+), column (\d+)\)")
_HEADER: Final = re.compile(r"\s*\[\[?([^\]\n]*)\]")
_KEY: Final = re.compile(
    r"""\s*((?:[A-Za-z0-9_\-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[A-Za-z0-9_\-]+|"[^"\n]*"|'[^'\n]*'))*)\s*="""
)
_PART: Final = re.compile(r"""[A-Za-z0-9_\-]+|"([^"\n]*)"|'([^'\n]*)'""")


def _keys(text: str) -> Iterator[tuple[tuple[str, ...], int, int, int]]:
    """Give every key that stands at the beginning of a line, with the tables that it is in: line, column, width."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = _parts(header[1])
            yield table, number, header.start(1) + 1, len(header[1])
        elif key:
            yield (*table, *_parts(key[1])), number, key.start(1) + 1, len(key[1])


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(each[1] or each[2] or each[0] for each in _PART.finditer(dotted))
