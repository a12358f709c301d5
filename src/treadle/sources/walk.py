"""Walking a description that may be broken: every value keeps its JSON Pointer, every mistake becomes a diagnostic.

A description of a megabyte is never walked whole. A `Node` is made only for what an operation needs, and following a
`$ref` costs one lookup. References are local (`#/…`), as bundled descriptions have them; no other document is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote, urldefrag

from treadle.errors import DescriptionError, Diagnostic, Place
from treadle.seams import Json

__all__ = ["Node", "UnreadReference", "split_pointer"]

# A chain of references in a real description has one or two links; a longer one than this is a cycle or an attack.
_MOST_REFERENCES = 32


class UnreadReference(DescriptionError):  # noqa: N818  (what it is, not that it is an error)
    """What a reference leads to is not there to be read: in a document elsewhere, or cut away, as excerpts have it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a description and where it stands. `root` is the whole document, `uri` where it was read from."""

    root: Json
    uri: str
    pointer: str
    value: Json

    @classmethod
    def whole(cls, document: Json, uri: str) -> Node:
        """Give the node of a whole document."""
        return cls(document, uri, "", document)

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
        node, seen = self, {self.pointer}
        while isinstance(node.value, dict) and isinstance(reference := node.value.get("$ref"), str):
            target = node.locate(reference)
            if target.pointer in seen or len(seen) > _MOST_REFERENCES:
                raise self.error("reference-cycle", f"the reference {reference!r} leads back to itself")
            seen.add(target.pointer)
            node = target
        return node

    def locate(self, reference: str) -> Node:
        """Give what a reference names, its own `$ref` not followed. Raises `DescriptionError`."""
        other, fragment = urldefrag(reference)
        if fragment and not fragment.startswith("/"):
            raise self.error("reference-anchor", f"the reference {reference!r} is no JSON Pointer")
        if other:
            message = f"the reference {reference!r} leads into another document, and no other document is read"
            hint = "bundle the description into one file, for example with `redocly bundle`"
            raise UnreadReference([self._finding("reference-external", message, hint)])
        node = Node.whole(self.root, self.uri)
        for token in split_pointer(unquote(fragment)):
            below = node.child(token)
            if below is None:
                finding = self._finding("reference-unknown", f"the reference {reference!r} leads nowhere")
                raise UnreadReference([finding])
            node = below
        return node

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


def _kind(value: Json) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
