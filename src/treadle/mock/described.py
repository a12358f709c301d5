"""What a description says of an operation's answers, read with patience: what is broken there says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from treadle.errors import DescriptionError
from treadle.seams import MISSING, Json, Missing, Operation
from treadle.sources.walk import Node

__all__ = ["Described", "Response", "described"]


@dataclass(frozen=True, slots=True)
class Content:
    """A body in one media type: its schema, and an example of the whole."""

    media_type: str
    schema: Node | None = None
    example: Json | Missing = MISSING


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is described: `key` is a status, a range such as `2XX`, or `default`."""

    key: str
    contents: tuple[Content, ...] = ()
    headers: Mapping[str, Node | None] = field(default_factory=dict)
    required_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """The answers of an operation, and its request body's media types with their schemas."""

    responses: tuple[Response, ...] = ()

    @property
    def successes(self) -> list[int]:
        """The statuses of success that the description names, in its order."""
        stated = [int(each.key) for each in self.responses if each.key.isdigit() and each.key.startswith("2")]
        ranged = [200 for each in self.responses if each.key == "2XX"]
        return [*stated, *ranged]

    @property
    def failures(self) -> list[int]:
        """The statuses of failure that the description names."""
        return [int(each.key) for each in self.responses if each.key.isdigit() and each.key[0] in "45"]

    def response(self, status: int) -> Response | None:
        """Give what is said of a status: itself, its range, `default`; for a success at last any other success."""
        by_key = {each.key: each for each in self.responses}
        found = by_key.get(str(status)) or by_key.get(f"{status // 100}XX")
        if found is None and 200 <= status < 300:
            found = next((each for each in self.responses if each.key.startswith("2") and each.contents), None)
            found = found or next((each for each in self.responses if each.key.startswith("2")), None)
        return found or by_key.get("default")


def described(operation: Operation) -> Described:
    """Read what is said of the answers of an operation."""
    try:
        node = getattr(operation, "described", None)
        responses = node.get("responses") if isinstance(node, Node) else None
    except DescriptionError:
        return Described()
    if responses is None or not isinstance(responses.value, dict):
        return Described()
    return Described(tuple(_responses(responses)))


def _responses(responses: Node) -> Iterator[Response]:
    for key, raw in responses.items():
        node = _followed(raw)
        if node is None or key.startswith("x-"):
            continue
        headers = {name: _schema(each) for name, each in _members(node, "headers")}
        required = tuple(name for name, each in _members(node, "headers") if each.value.get("required") is True)
        contents = tuple(_content(media_type, each) for media_type, each in _members(node, "content"))
        yield Response(key.upper() if key != "default" else key, contents, headers, required)


def _followed(node: Node | None) -> Node | None:
    try:
        found = node.followed() if node is not None else None
    except DescriptionError:
        return None
    return found if found is not None and isinstance(found.value, dict) else None


def _members(node: Node, key: str) -> Iterator[tuple[str, Node]]:
    holder = _followed(node.raw(key))
    for name, raw in holder.items() if holder is not None else ():
        found = _followed(raw)
        if found is not None:
            yield name, found


def _schema(node: Node) -> Node | None:
    raw = node.raw("schema")
    return raw if raw is not None and isinstance(raw.value, (dict, bool)) else None


def _content(media_type: str, node: Node) -> Content:
    return Content(media_type, _schema(node), _example(node))


def _example(node: Node) -> Json | Missing:
    """OpenAPI, Media Type Object: `example`, else the first of `examples` that has a value."""
    if "example" in node.value:
        return node.value["example"]
    for _, each in _members(node, "examples"):
        members: Mapping[str, Any] = each.value
        for name in ("value", "dataValue"):
            if name in members:
                return members[name]
    return MISSING
