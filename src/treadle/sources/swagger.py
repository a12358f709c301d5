"""Swagger 2.0 in OpenAPI 3's words: a path item or an operation is rewritten when it is looked at, nothing else is.

What a later version says with `schema`, `content` and `style`, version 2.0 says with `type`, `consumes`, `produces` and
`collectionFormat`, and its body is a parameter. References are followed here, so the rewritten value holds none that
matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from treadle.seams import Json
from treadle.sources.walk import Node

__all__ = ["upgraded"]

# Swagger 2.0, Parameter Object, collectionFormat → style and explode for a query; a path or header has `simple` only.
_FORMATS: Final[Mapping[str, tuple[str, bool]]] = {
    "csv": ("form", False),
    "ssv": ("spaceDelimited", False),
    "pipes": ("pipeDelimited", False),
    "multi": ("form", True),
}
_FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_SCHEMA_WORDS: Final = ("type", "format", "enum", "items", "default", "minimum", "maximum", "pattern")


def upgraded(node: Node, whole: Node) -> Node:
    """Give a path item or operation of version 2.0 as version 3 would write it. `whole` is its description.

    Raises `DescriptionError`.
    """
    listed = node.get("parameters")
    parameters = [each.followed() for each in listed.elements()] if listed else []
    value: dict[str, Any] = {
        **node.members(),
        "parameters": [_parameter(each) for each in parameters if each.text("in") not in {"body", "formData"}],
    }
    value.pop("servers", None)
    content = _content(node, parameters, whole)
    if content:
        value["requestBody"] = {"content": content}
    responses = node.get("responses")
    if responses:
        types = _types(node, "produces", whole)
        value["responses"] = {key: _response(each.followed(), types, node) for key, each in responses.items()}
    return node.having(value)


def _parameter(node: Node) -> Json:
    members = node.members()
    parameter = {key: members[key] for key in ("name", "in", "required", "allowReserved") if key in members}
    parameter["schema"] = {key: members[key] for key in _SCHEMA_WORDS if key in members}
    if members.get("type") == "array" and node.text("in") == "query":
        style = _FORMATS.get(node.text("collectionFormat", "csv"))
        if style is None:
            raise node.error(
                "parameter-style", f"the collectionFormat {members['collectionFormat']!r} is not supported"
            )
        parameter["style"], parameter["explode"] = style
    return parameter


def _content(node: Node, parameters: list[Node], whole: Node) -> Json:
    """Give the body parameter, or the form that the formData parameters make together."""
    body = next((each for each in parameters if each.text("in") == "body"), None)
    if body is not None:
        schema = body.moved("schema", node) if "schema" in body.members() else {}
        types = _types(node, "consumes", whole)
        return {media_type: {"schema": schema} for media_type in types or ["application/json"]}
    fields = [each for each in parameters if each.text("in") == "formData"]
    if not fields:
        return {}
    files = any(each.text("type") == "file" for each in fields)
    stated = [each for each in _types(node, "consumes", whole) if each in _FORM_TYPES]
    encoding = {each.text("name"): _field(each) for each in fields if each.text("type") in {"array", "file"}}
    return {media_type: {"encoding": encoding} for media_type in stated or [_FORM_TYPES[files]]}


def _field(node: Node) -> Json:
    if node.text("type") == "file":
        return {"contentType": "application/octet-stream"}
    style, explode = _FORMATS.get(node.text("collectionFormat", "csv"), ("form", False))
    return {"style": style, "explode": explode}


def _response(node: Node, types: list[str], to: Node) -> Json:
    if "schema" not in node.members():
        return {}
    schema = node.moved("schema", to)
    return {"content": {media_type: {"schema": schema} for media_type in types}}


def _types(node: Node, member: str, whole: Node) -> list[str]:
    """`consumes` or `produces` of the operation, else of the whole description."""
    own = node.members().get(member)
    stated = own if own is not None else whole.members().get(member)
    return [each for each in stated if isinstance(each, str)] if isinstance(stated, list) else []
