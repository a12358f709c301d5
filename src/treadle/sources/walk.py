"""Walking a description that may be broken: every value keeps its JSON Pointer, every mistake becomes a diagnostic.

A description of a megabyte is never walked whole. A `Node` is made only for what an operation needs, and following a
`$ref` costs one lookup. References are local (`#/…`), as bundled descriptions have them, or lead into other documents,
each of which is read when a reference into it is first followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import unquote, urldefrag, urljoin

from treadle.errors import DescriptionError, Diagnostic, Place
from treadle.seams import Json

__all__ = ["Node", "ReadOther", "UnreadReference", "split_pointer"]

ReadOther: TypeAlias = "Callable[[str, str], tuple[str, Json]]"
"""Gives the URI and the value of the document that a reference, without its fragment, means in the one at a base URI.

Raises `DescriptionError`. The same document is the same value each time.
"""

# A chain of references in a real description has one or two links; a longer one than this is a cycle or an attack.
_MOST_REFERENCES = 32


class UnreadReference(DescriptionError):  # noqa: N818  (what it is, not that it is an error)
    """What a reference leads to is not there to be read: in a document elsewhere, or cut away, as excerpts have it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a description and where it stands. `root` is the whole document, `uri` where it was read from.

    `read` reads the other documents that references lead into; without it none is.
    """

    root: Json
    uri: str
    pointer: str
    value: Json
    read: ReadOther | None = None

    @classmethod
    def whole(cls, document: Json, uri: str, read: ReadOther | None = None) -> Node:
        """Give the node of a whole document."""
        return cls(document, uri, "", document, read)

    def having(self, value: Json) -> Node:
        """Give a node at the same place with another value."""
        return replace(self, value=value)

    def error(self, rule: str, message: str, *, hint: str = "") -> DescriptionError:
        """Make the error that says what is wrong here."""
        return DescriptionError([self._finding(rule, message, hint)])

    def _finding(self, rule: str, message: str, hint: str = "") -> Diagnostic:
        at = f" (at {self.pointer})" if self.pointer else ""
        return Diagnostic(rule, message + at, Place(self.uri, self.pointer), hint=hint)

    def get(self, key: str) -> Node | None:
        """Give a member, its `$ref` followed, or None where there is none. Raises `DescriptionError`."""
        raw = self.raw(key)
        return None if raw is None else raw.followed()

    def raw(self, key: str) -> Node | None:
        """Give a member as it stands, a `$ref` not followed, or None. Raises `DescriptionError` on a non-object."""
        members = self.members()
        return self._below(key, members[key]) if key in members else None

    def members(self) -> Mapping[str, Json]:
        """Give the value as an object. Raises `DescriptionError`."""
        if not isinstance(self.value, dict):
            raise self.error("openapi-type", f"an object was expected here, not {_kind(self.value)}")
        return self.value

    def items(self) -> Iterator[tuple[str, Node]]:
        """Give the members of an object, `$ref`s not followed. Raises `DescriptionError`."""
        for key, value in self.members().items():
            # YAML keys such as 200 are numbers in a sloppy loader; OpenAPI means their text.
            yield str(key), self._below(str(key), value)

    def elements(self) -> Iterator[Node]:
        """Give the elements of a list, their `$ref`s not followed. Raises `DescriptionError`."""
        if not isinstance(self.value, list):
            raise self.error("openapi-type", f"a list was expected here, not {_kind(self.value)}")
        for index, value in enumerate(self.value):
            yield self._below(str(index), value)

    def text(self, key: str, default: str = "") -> str:
        """Give a member that must be a string where it is present. Raises `DescriptionError`."""
        value = self.members().get(key, default)
        if not isinstance(value, str):
            raise self._below(key, value).error("openapi-type", f"{key!r} must be a string, not {_kind(value)}")
        return value

    def flag(self, key: str) -> bool:
        """Give a member that must be a boolean where it is present. Raises `DescriptionError`."""
        value = self.members().get(key, False)
        if not isinstance(value, bool):
            raise self._below(key, value).error("openapi-type", f"{key!r} must be true or false, not {_kind(value)}")
        return value

    def followed(self) -> Node:
        """Give what a `$ref` leads to; the node itself where it is none. Raises `DescriptionError`."""
        node, seen = self, {(self.uri, self.pointer)}
        while isinstance(node.value, dict) and isinstance(reference := node.value.get("$ref"), str):
            target = node.locate(reference)
            if (target.uri, target.pointer) in seen or len(seen) > _MOST_REFERENCES:
                raise self.error("reference-cycle", f"the reference {reference!r} leads back to itself")
            seen.add((target.uri, target.pointer))
            node = target
        return node

    def locate(self, reference: str) -> Node:
        """Give what a reference names, its own `$ref` not followed. Raises `DescriptionError`."""
        other, fragment = urldefrag(reference)
        if fragment and not fragment.startswith("/"):
            raise self.error("reference-anchor", f"the reference {reference!r} is no JSON Pointer")
        node = self._other(reference, other) if other else Node.whole(self.root, self.uri, self.read)
        for token in split_pointer(unquote(fragment)):
            below = node.child(token)
            if below is None:
                finding = self._finding("reference-unknown", f"the reference {reference!r} leads nowhere")
                raise UnreadReference([finding])
            node = below
        return node

    def _other(self, reference: str, other: str) -> Node:
        """Give the whole document that a reference leads into. Raises `UnreadReference`."""
        why, hint = "and no other document is read", "bundle the description into one file"
        if self.read is not None:
            try:
                uri, document = self.read(other, self.uri)
            except DescriptionError as error:
                found = error.diagnostics[0]
                at = f" ({found.place})" if found.place and found.place.line else ""
                why, hint = f"which cannot be read: {found.message}{at}", found.hint
            else:
                return Node.whole(document, uri, self.read)
        message = f"the reference {reference!r} leads into another document, {why}"
        raise UnreadReference([self._finding("reference-external", message, hint)])

    def moved(self, key: str, to: Node) -> Json:
        """Give a member as the document of another node would write it: what it refers to stays what it is."""
        value = self.members()[key]
        return value if self.uri == to.uri else _absolute(value, self.uri)

    def beside(self, target: Node) -> Mapping[str, Json]:
        """Give the members beside a `$ref`, as the document of its target would write them."""
        return {key: self.moved(key, target) for key in self.members() if key != "$ref"}

    def child(self, token: str) -> Node | None:
        """Give a member or element as it stands, or None. Raises nothing."""
        if isinstance(self.value, dict) and token in self.value:
            return self._below(token, self.value[token])
        if isinstance(self.value, list) and token.isascii() and token.isdigit() and int(token) < len(self.value):
            return self._below(token, self.value[int(token)])
        return None

    def _below(self, token: str, value: Json) -> Node:
        escaped = token.replace("~", "~0").replace("/", "~1")
        return replace(self, pointer=f"{self.pointer}/{escaped}", value=value)


def split_pointer(pointer: str) -> Sequence[str]:
    """Give the reference tokens of a JSON Pointer (RFC 6901, section 3), unescaped."""
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _absolute(value: Json, base: str) -> Json:
    if isinstance(value, list):
        return [_absolute(each, base) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: urljoin(base, each) if key == "$ref" and isinstance(each, str) else _absolute(each, base)
        for key, each in value.items()
    }


def _kind(value: Json) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
