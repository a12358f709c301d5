"""An object as XML, by the names that its schema gives (OpenAPI, XML Object).

The root element is called as the schema says, or else as the component that the schema is; without a schema an object
with a single member is that element. What the schema does not say goes the plain way: a member is an element of its
name, a list repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from treadle.errors import CallError
from treadle.seams import Json, Schema
from treadle.sources.parameters import scalar

__all__ = ["written"]

_NAME: Final = re.compile(r"[^\W\d][\w.\-]*(:[^\W\d][\w.\-]*)?\Z")


def written(payload: Mapping[str, Json], schema: Schema | None, media_type: str) -> str:
    """Give the document. Raises `CallError` where nothing says what its root is called, or a name is none of XML's."""
    name = _root_name(schema)
    if not name:
        if len(payload) != 1 or isinstance(next(iter(payload.values())), list):
            raise CallError(
                f"an object cannot be sent as {media_type}: nothing says what its root element is called",
                hint="give the payload as text, or with the root element as its only member",
            )
        name, inner = next(iter(payload.items()))
        return "".join(_element(name, inner, None))
    return "".join(_element(name, dict(payload), schema))


def _root_name(schema: Schema | None) -> str:
    if schema is None:
        return ""
    own = _xml(schema).get("name")
    if isinstance(own, str) and own:
        return own
    node = getattr(schema, "node", None)
    pointer = str(getattr(node, "pointer", ""))
    section, _, name = pointer.rpartition("/")
    return name if section.endswith(("/schemas", "/definitions")) else ""


def _xml(schema: Schema | None) -> Mapping[str, Json]:
    found = schema.keywords.get("xml") if schema is not None else None
    return found if isinstance(found, dict) else {}


def _member(schema: Schema | None, name: str) -> Schema | None:
    """Give the schema of a member; inheritance is written with `allOf`."""
    if schema is None:
        return None
    found = schema.below("properties", name)
    parts = schema.keywords.get("allOf")
    for index in range(len(parts) if isinstance(parts, list) and found is None else 0):
        found = found or _member(schema.below("allOf", index), name)
    return found


def _called(name: str, schema: Schema | None) -> str:
    stated = _xml(schema)
    own = stated.get("name")
    prefix = stated.get("prefix")
    called = own if isinstance(own, str) and own else name
    called = f"{prefix}:{called}" if isinstance(prefix, str) and prefix else called
    if not _NAME.match(called):
        raise CallError(f"{called!r} cannot be the name of an XML element")
    return called


def _element(name: str, value: Json, schema: Schema | None) -> Iterator[str]:
    from xml.sax.saxutils import escape, quoteattr  # it imports the HTTP client of the standard library, for 15 ms

    called = _called(name, schema)
    yield f"<{called}{_namespace(schema)}"
    if isinstance(value, dict):
        for key, each in value.items():
            member = _member(schema, key)
            if _xml(member).get("attribute") is True and each is not None:
                yield f" {_called(key, member)}={quoteattr(scalar(each))}"
        yield ">"
        for key, each in value.items():
            member = _member(schema, key)
            if _xml(member).get("attribute") is not True:
                yield from _below(key, each, member)
    else:
        yield ">"
        if value is not None:
            yield escape(scalar(value))
    yield f"</{called}>"


def _below(name: str, value: Json, schema: Schema | None) -> Iterator[str]:
    """Write a member: a list is its elements, called as their schema says; `wrapped` puts the list's name around."""
    if not isinstance(value, list):
        yield from _element(name, value, schema)
        return
    items = schema.below("items") if schema is not None else None
    wrapped = _xml(schema).get("wrapped") is True
    own = _called(name, schema)
    if wrapped:
        yield f"<{own}{_namespace(schema)}>"
    for each in value:
        # Of a list that is not wrapped the name of the list counts for nothing (OpenAPI, XML Object, examples).
        yield from _element(name, each, items)
    if wrapped:
        yield f"</{own}>"


def _namespace(schema: Schema | None) -> str:
    from xml.sax.saxutils import quoteattr  # as above

    stated = _xml(schema)
    namespace, prefix = stated.get("namespace"), stated.get("prefix")
    if not isinstance(namespace, str) or not namespace:
        return ""
    attribute = f"xmlns:{prefix}" if isinstance(prefix, str) and prefix else "xmlns"
    return f" {attribute}={quoteattr(namespace)}"
