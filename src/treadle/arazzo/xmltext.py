"""XML text that knows where its elements stand, so that a part of it can be exchanged and the rest stays as it is.

Writing a parsed tree out again would lose prefixes, comments and layout, and prefixes matter: `xsi:type="xsd:int"`
means something only where `xsd` is declared. So an edit is a stretch of bytes and what goes there. As everywhere, a
document with a DTD is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement
from xml.parsers import expat

from treadle.arazzo.expressions.text import ESCAPES, text_of
from treadle.arazzo.expressions.xpath import DEEPEST, LARGEST, XPathError
from treadle.seams import MISSING, Json, Missing

__all__ = ["Edit", "XmlText"]


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes from `start` to `end`, and what stands there afterwards."""

    start: int
    end: int
    text: bytes


@dataclass(slots=True)
class _Extent:
    """Where an element stands: `start` of its tag, `inside` behind it, `close` where the end tag begins, `end`."""

    start: int
    inside: int
    close: int = 0
    end: int = 0
    empty: bool = False
    """Written as `<a/>`."""


_ATTRIBUTE: Final = re.compile(rb"\s+([^\s=/>]+)\s*=\s*(\"[^\"]*\"|'[^']*')")


class XmlText:
    """A document. `root` is its tree, `defaults` the namespaces that are a default one. Raises `XPathError`."""

    def __init__(self, text: str) -> None:
        if len(text) > LARGEST:
            raise XPathError(f"the document is longer than {LARGEST} characters")
        try:
            self._bytes = text.encode()
        except UnicodeEncodeError as error:
            raise XPathError(f"the payload is no XML: {error}") from None
        self.defaults: set[str] = set()
        self._extents: dict[int, _Extent] = {}
        self._open: list[Element] = []
        self._root: Element | None = None
        self._read()

    @property
    def root(self) -> Element:
        """The outermost element."""
        if self._root is None:
            raise XPathError("the payload is no XML: it has no element")
        return self._root

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        # The encoding that the text may declare is that of a file; this one is in memory already.
        parser = expat.ParserCreate("utf-8", "}")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartElementHandler = lambda name, attributes: self._start(name, attributes, parser.CurrentByteIndex)
        parser.EndElementHandler = lambda _: self._end(parser.CurrentByteIndex)
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(self._bytes, True)  # noqa: FBT003  (expat's own order)
        except expat.ExpatError as error:
            raise XPathError(f"the payload is no XML: {error}") from None

    def _doctype(self, *_: Any) -> None:
        raise XPathError("the payload has a DTD, and those are refused: they can define entities")

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        if not prefix and uri:
            self.defaults.add(uri)

    def _start(self, name: str, attributes: Mapping[str, str], at: int) -> None:
        if len(self._open) >= DEEPEST:
            raise XPathError(f"the payload is nested more than {DEEPEST} levels deep")
        named = {_expanded(key): value for key, value in attributes.items()}
        tag = _expanded(name)
        element = SubElement(self._open[-1], tag, named) if self._open else Element(tag, named)
        if self._root is None:
            self._root = element
        self._open.append(element)
        inside = self._behind_tag(at)
        self._extents[id(element)] = _Extent(at, inside, empty=self._bytes[inside - 2 : inside] == b"/>")

    def _end(self, at: int) -> None:
        extent = self._extents[id(self._open.pop())]
        if extent.empty:
            extent.close = extent.end = extent.inside
        else:
            extent.close, extent.end = at, self._bytes.index(b">", at) + 1

    def _characters(self, text: str) -> None:
        element = self._open[-1]
        if len(element):
            element[-1].tail = (element[-1].tail or "") + text
        else:
            element.text = (element.text or "") + text

    def _behind_tag(self, start: int) -> int:
        """Give where a tag ends; a `>` inside quotes does not end it."""
        quote = 0
        for index in range(start, len(self._bytes)):
            each = self._bytes[index]
            if quote:
                quote = 0 if each == quote else quote
            elif each in b"\"'":
                quote = each
            elif each == 0x3E:
                return index + 1
        raise XPathError("the payload is no XML: a tag does not end")

    # -- editing ------------------------------------------------------------------------------------------------------

    def edit(self, node: Any, value: Json | Missing) -> Edit:
        """Give the edit that puts a value where a node of elementpath stands; a missing one takes the node away."""
        text = b"" if value is MISSING else ESCAPES["xml"](text_of(value)).encode()
        element = getattr(node, "elem", None)
        if isinstance(element, Element):
            return self._element(element, text, gone=value is MISSING)
        holder = getattr(getattr(node, "parent", None), "elem", None)
        name = getattr(node, "name", None)
        if isinstance(holder, Element) and isinstance(name, str):
            return self._attribute(holder, name, text, gone=value is MISSING)
        if isinstance(holder, Element) and name is None and not len(holder):
            return self._element(holder, text, gone=False)
        raise XPathError("it selects no element, attribute or text of an element that has nothing else")

    def _element(self, element: Element, text: bytes, *, gone: bool) -> Edit:
        extent = self._extents[id(element)]
        if gone:
            return Edit(extent.start, extent.end, b"")
        if not extent.empty:
            return Edit(extent.inside, extent.close, text)
        name = re.split(rb"[\s/>]", self._bytes[extent.start + 1 : extent.inside], maxsplit=1)[0]
        return Edit(extent.inside - 2, extent.inside, b">" + text + b"</" + name + b">")

    def _attribute(self, element: Element, name: str, text: bytes, *, gone: bool) -> Edit:
        extent = self._extents[id(element)]
        uri, _, local = name.rpartition("}")
        for found in _ATTRIBUTE.finditer(self._bytes, extent.start, extent.inside):
            prefix, _, own = found[1].decode().rpartition(":")
            if own == local and bool(prefix) == bool(uri):
                return (
                    Edit(found.start(), found.end(), b"") if gone else Edit(found.start(2) + 1, found.end(2) - 1, text)
                )
        raise XPathError(f"the attribute {local!r} is not written in the payload")

    def edited(self, edits: Iterable[Edit]) -> str:
        """Give the text with the edits made. Raises `XPathError` where two of them touch the same part."""
        text, before = self._bytes, len(self._bytes)
        for edit in sorted(edits, key=lambda each: (each.start, each.end), reverse=True):
            if edit.end > before:
                raise XPathError("it selects an element and something inside it")
            text, before = text[: edit.start] + edit.text + text[edit.end :], edit.start
        return text.decode()


def _expanded(name: str) -> str:
    return "{" + name if "}" in name else name
