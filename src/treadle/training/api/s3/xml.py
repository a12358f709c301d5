"""XML as S3 speaks it: small documents, written from nested elements and read without anything that XML could do.

A reader that knows no document types knows no entities, so a body costs as much memory as it has bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from xml.parsers import expat

from treadle.training.api.s3.errors import refusal

__all__ = ["DECLARATION", "NAMESPACE", "Element", "document", "element", "read"]

DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"

_DEEPEST: Final = 8
_SPECIAL: Final = re.compile(r"[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_NAMED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

Content: TypeAlias = "str | int | bool | Iterable[str]"


def element(name: str, content: Content = "") -> str:
    """Give an element: with text, a number, a truth value, or elements in it.

    >>> element("Owner", [element("ID", "a&b")])
    '<Owner><ID>a&amp;b</ID></Owner>'
    """
    if isinstance(content, bool):
        content = "true" if content else "false"
    if isinstance(content, str):
        # Keys may hold characters that no XML can; S3 writes them as references, and so do we.
        inner = _SPECIAL.sub(lambda found: _NAMED.get(found[0]) or f"&#x{ord(found[0]):x};", content)
    else:
        inner = str(content) if isinstance(content, int) else "".join(content)
    return f"<{name}>{inner}</{name}>"


def document(name: str, content: Iterable[str], *, namespace: bool = True) -> bytes:
    """Give a whole document."""
    inner = "".join(content)
    start = f'<{name} xmlns="{NAMESPACE}">' if namespace else f"<{name}>"
    return DECLARATION + f"{start}{inner}</{name}>".encode("utf-8", "replace")


@dataclass(slots=True)
class Element:
    """An element that was read: its name without namespace, the text in it, the elements in it."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> list[Element]:
        """Give the elements of that name in it."""
        return [each for each in self.children if each.name == name]

    def find(self, name: str) -> str | None:
        """Give the text of the first element of that name in it, or None."""
        return next((each.text for each in self.children if each.name == name), None)


def read(body: bytes, root: str) -> Element:
    """Read a document whose outermost element has the name `root`. Raises `S3Error`: MalformedXML."""
    reader = _Reader()
    try:
        reader.parser.Parse(body, True)  # noqa: FBT003  (expat takes it by position only)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise refusal("MalformedXML") from error
    top = reader.top.children[0]
    if top.name != root:
        raise refusal("MalformedXML")
    return top


class _Reader:
    def __init__(self) -> None:
        self.top = Element("")
        self._open = [self.top]
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _start(self, name: str, _attributes: object) -> None:
        if len(self._open) > _DEEPEST:
            raise refusal("MalformedXML")
        begun = Element(name.rpartition(" ")[2])
        self._open[-1].children.append(begun)
        self._open.append(begun)

    def _end(self, _name: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        self._open[-1].text += text

    def _doctype(self, *_: object) -> None:
        raise refusal("MalformedXML")
