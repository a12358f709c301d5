"""How times, values and tables look to a person. Pure functions; the command line uses them too."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from treadle.seams import Json

__all__ = ["Table", "duration", "moment", "pairs", "plain", "shorten", "table", "value"]

Table: TypeAlias = Sequence[Sequence[str]]

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))

# What a terminal obeys: C0 and C1 controls and DEL (tab and line feed are told apart by the callers), and the marks
# that turn the direction of text. A server's answer must not be able to move the cursor or to hide a line.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    r"""Give the text with everything that a terminal would obey written out as `\x1b`; tabs and line feeds stay."""
    return _CONTROLS.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def shorten(text: str, width: int) -> str:
    """Give the text on one line of at most `width` characters; what is left out is shown as `…`."""
    line = " ".join(plain(text).split())
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def duration(seconds: float) -> str:
    """Give a length of time in at most two units: `0.03 s`, `4.2 s`, `58 s`, `3 min 05 s`, `2 h 10 min`, `1 d 4 h`."""
    if seconds < 0.095:
        return f"{max(seconds, 0):.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    rest = round(seconds)
    for at, (size, unit) in enumerate(_UNITS):
        if rest >= size:
            whole, remainder = divmod(rest, size)
            if at + 1 == len(_UNITS):
                return f"{whole} {unit}"
            small, small_unit = _UNITS[at + 1]
            part = remainder // small
            return f"{whole} {unit} {part:02d} {small_unit}" if small_unit != "h" else f"{whole} {unit} {part} h"
    return "0 s"


def moment(at: float) -> str:
    """Give a Unix time as local date and time, to the second."""
    return dt.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def value(data: Json) -> str:
    """Give a JSON value on one line: text as it is, everything else as compact JSON."""
    if isinstance(data, str):
        return plain(data)
    return plain(json.dumps(data, ensure_ascii=False, separators=(", ", ": ")))


def pairs(values: Iterable[tuple[str, Json]], *, indent: str = "") -> list[str]:
    """Give names and values as aligned lines; text of several lines and big values continue indented below."""
    known = [(plain(name), each) for name, each in values]
    width = max((len(name) for name, _ in known), default=0) + 1
    lines: list[str] = []
    for name, each in known:
        text = value(each)
        if not isinstance(each, str) and len(text) > 100:
            text = plain(json.dumps(each, ensure_ascii=False, indent=2))
        first, *rest = text.split("\n")
        lines.append(f"{indent}{name + ':':<{width}} {first}")
        lines.extend(f"{indent}{'':<{width}} {line}" for line in rest)
    return lines


def table(head: Sequence[str], rows: Table) -> list[str]:
    """Give aligned lines, the head first; columns are two blanks apart, and no line ends in blanks."""
    every = [list(head), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in every]
