r"""JSON (RFC 8259) as PyYAML's events, with line and column of every value.

libyaml reads most JSON, but refuses surrogate escapes (`"\ud83d\ude00"`), which every JSON writer in ASCII mode
produces. So JSON has this reader; what is common to both syntaxes (a key twice, depth) is checked where events are made
into values. It is a loop over two states, with the open brackets on a list: depth costs memory, not the stack.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from yaml import MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from treadle.arazzo.location import LINE_BREAK

__all__ = ["SURROGATE", "JsonSyntax", "json_events"]

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that stands for half a character, or, with its other half, for a whole one."""

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_NUMBER_OR_WORD = re.compile(
    r"(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null)(?![0-9A-Za-z_.])"
)


class JsonSyntax(Exception):  # noqa: N818  (never leaves `load`)
    """It is not JSON: what is wrong, and at which character of the text."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message, self.offset = message, offset


class _Mark(NamedTuple):
    line: int
    column: int


def json_events(text: str) -> Iterator[Any]:
    """Give the events of a JSON text. Raises `JsonSyntax`."""
    reader = _Reader(text)
    open_brackets: list[str] = []
    while True:
        opened = yield from reader.value()
        if opened:
            open_brackets.append(opened)
            if not reader.takes(opened):
                yield from reader.key(opened)
                continue
            yield reader.end(open_brackets.pop())
        while open_brackets and reader.takes(open_brackets[-1]):
            yield reader.end(open_brackets.pop())
        if not open_brackets:
            break
        if not reader.takes(","):
            raise reader.expected(f"',' or '{open_brackets[-1]}'")
        yield from reader.key(open_brackets[-1])
    if reader.offset < len(text):
        raise JsonSyntax("something follows the end of the document", reader.offset)


class _Reader:
    """A place in the text; every method leaves it before the next sign that means something."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(each.end() for each in LINE_BREAK.finditer(text))]
        self.offset = 0
        self._past_space(0)

    def takes(self, sign: str) -> bool:
        """Pass over a sign if it stands here."""
        if self._text[self.offset : self.offset + 1] != sign:
            return False
        self._past_space(self.offset + 1)
        return True

    def value(self) -> Generator[Any, None, str]:
        """Yield a scalar or the start of a collection; return the bracket that closes it, or ""."""
        sign, start = self._text[self.offset : self.offset + 1], self.offset
        if sign and sign in "{[":
            kind: Any = MappingStartEvent if sign == "{" else SequenceStartEvent
            yield kind(None, None, True, self._mark(start), self._mark(start + 1), flow_style=True)  # noqa: FBT003  (its signature)
            self._past_space(start + 1)
            return "}" if sign == "{" else "]"
        yield self._scalar(_STRING if sign == '"' else _NUMBER_OR_WORD, "a value")
        return ""

    def key(self, closing: str) -> Iterator[Any]:
        """Yield a key with its colon, where the collection is a mapping."""
        if closing == "}":
            yield self._scalar(_STRING, "a key in double quotes")
            if not self.takes(":"):
                raise self.expected("':'")

    def end(self, closing: str) -> Any:
        """Give the event for a bracket that was taken just now."""
        kind: Any = MappingEndEvent if closing == "}" else SequenceEndEvent
        after = self._text.rfind(closing, 0, self.offset) + 1
        return kind(self._mark(after - 1), self._mark(after))

    def expected(self, what: str) -> JsonSyntax:
        """Say what should stand here."""
        sign = self._text[self.offset : self.offset + 1]
        found = f"'{sign}'" if sign else "the end of the document"
        return JsonSyntax(f"{what} was expected, not {found}", self.offset)

    def _scalar(self, pattern: re.Pattern[str], what: str) -> Any:
        found = pattern.match(self._text, self.offset)
        if not found:
            raise self.expected(what)
        quoted = pattern is _STRING
        kind: Any = ScalarEvent
        value, style = (_unescaped(found[0]), '"') if quoted else (found[0], None)
        event = kind(
            None, None, (not quoted, quoted), value, self._mark(found.start()), self._mark(found.end()), style=style
        )
        self._past_space(found.end())
        return event

    def _past_space(self, offset: int) -> None:
        found = _SPACE.match(self._text, offset)
        self.offset = found.end() if found else offset

    def _mark(self, offset: int) -> _Mark:
        line = bisect_right(self._starts, offset) - 1
        return _Mark(line, offset - self._starts[line])


def _unescaped(quoted: str) -> str:
    """Give the text of a JSON string; half a surrogate pair, which no encoding can carry, becomes U+FFFD."""
    text: str = json.loads(quoted)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if SURROGATE.search(quoted) else text
