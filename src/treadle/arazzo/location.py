"""Where a value stands: document URI, JSON Pointer (RFC 6901), line and column.

A document's value is plain JSON: dict, list, str, int, float, bool, None. Values that carry their position would make
it several times as heavy, and positions are wanted only when something is wrong. So a `Document` keeps its text and
finds all positions at once when it is first asked for one: `load` gives it the function that walks the text again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypedDict, Unpack

from treadle.errors import Diagnostic, Place, Repair, Severity
from treadle.seams import MISSING, Json, Missing

__all__ = ["Document", "MoreOfFinding", "Node", "Span", "find", "join", "lines_of", "pointed", "tokens"]

# The line breaks of YAML 1.1, which libyaml counts; JSON documents are counted alike.
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


def join(pointer: str, *parts: str | int) -> str:
    """Extend a JSON Pointer by reference tokens, escaped as RFC 6901 §3 says.

    >>> join("/paths", "/pets", "get")
    '/paths/~1pets/get'
    """
    return pointer + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def tokens(pointer: str) -> list[str]:
    """Give the reference tokens of a JSON Pointer, unescaped. Raises `ValueError` when it is none.

    >>> tokens("/paths/~1pets/get")
    ['paths', '/pets', 'get']
    """
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise ValueError(f"a JSON Pointer starts with '/': {pointer!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def find(value: Json, pointer: str) -> Json | Missing:
    """Give what a JSON Pointer names in a value, or MISSING. Raises `ValueError` when it is no JSON Pointer."""
    for token in tokens(pointer):
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            return MISSING
    return value


# RFC 6901 §4; nine digits are more than any list here has, and keep `int` cheap.
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text: where it begins and how many characters of that line it covers; all counted from 0."""

    line: int
    column: int
    width: int


@dataclass(frozen=True, slots=True)
class Node:
    """The position of a value and of what is in it: `members` by key, each with its key's position, or `items`."""

    span: Span
    members: Mapping[str, tuple[Span, Node]] | None = None
    items: Sequence[Node] | None = None


Walk: TypeAlias = "Callable[[], Node]"


class MoreOfFinding(TypedDict, total=False):
    """What a finding can have besides; `instead` is the text that should stand there, where that is certain."""

    severity: Severity
    hint: str
    key: bool
    instead: str
    repair: Repair | None


class Document:
    """A document that has been read: its URI, its plain value, and where each value stands.

    `label` is what messages call it (the path that the user gave, say), the URI unless given. Two documents are equal
    only when they are the same; the value must not be changed.
    """

    __slots__ = ("_lines", "_root", "_text", "_walk", "label", "uri", "value")

    def __init__(self, uri: str, value: Json, *, label: str = "", text: str = "", walk: Walk | None = None) -> None:
        self.uri = uri
        self.value = value
        self.label = label or uri
        self._text = text
        self._walk = walk
        self._root: Node | None = None
        self._lines: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Document({self.uri!r})"

    @property
    def text(self) -> str:
        """The text that it was read from; "" where it was made from a value."""
        return self._text

    @property
    def digest(self) -> str:
        """The SHA-256 of the text, in hexadecimal."""
        import hashlib  # it loads OpenSSL, which a check does not need

        return hashlib.sha256(self._text.encode("utf-8", "surrogatepass")).hexdigest()

    def place(self, pointer: str, *, key: bool = False) -> Place:
        """Give the place of the value at a JSON Pointer, or of its key.

        Where the pointer leads to nothing it is the place of the innermost value on its way that exists. Without a
        text (a document made from a value) line is 0: not known.
        """
        node = self._positions()
        if node is None:
            return Place(self.label, pointer)
        span = node.span
        for token in tokens(pointer):
            found = _child(node, token)
            if found is None:
                return self._at(pointer, span)
            key_span, node = found
            span = key_span if key and key_span else node.span
        return self._at(pointer, span)

    def finding(self, rule: str, message: str, pointer: str, **more: Unpack[MoreOfFinding]) -> Diagnostic:
        """Make a diagnostic that points into the document, at a value or, with `key`, at its key."""
        place = self.place(pointer, key=more.get("key", False))
        repair = Repair("value", more["instead"]) if more.get("instead") else more.get("repair")
        return Diagnostic(rule, message, place, more.get("severity", "error"), more.get("hint", ""), repair)

    def find(self, pointer: str) -> Json | Missing:
        """Give the value at a JSON Pointer, or MISSING. Raises `ValueError` when it is no JSON Pointer."""
        return find(self.value, pointer)

    def _positions(self) -> Node | None:
        if self._root is None and self._walk is not None:
            self._root = self._walk()
            self._lines = lines_of(self._text)
        return self._root

    def _at(self, pointer: str, span: Span) -> Place:
        return pointed(self.label, pointer, self._lines, span)


def lines_of(text: str) -> list[str]:
    """Split a text into lines, without their ends."""
    return LINE_BREAK.split(text)


def pointed(document: str, pointer: str, lines: Sequence[str], span: Span) -> Place:
    """Make a place from a span, with the source line that it is in."""
    text = lines[span.line] if span.line < len(lines) else ""
    return Place(document, pointer, span.line + 1, span.column + 1, text, max(1, span.width))


def _child(node: Node, token: str) -> tuple[Span | None, Node] | None:
    if node.members is not None:
        return node.members.get(token)
    if node.items is not None and _INDEX.fullmatch(token) and int(token) < len(node.items):
        return None, node.items[int(token)]
    return None
