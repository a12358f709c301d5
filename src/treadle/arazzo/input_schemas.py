"""The schemas of inputs (JSON Schema 2020-12): what `$ref` means in them, what they default to, what is odd about them.

A schema may use the schemas of its own document, by `$ref: '#/components/inputs/x'` or by `$anchor` (§1.2).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final
from urllib.parse import unquote

from treadle.arazzo.location import Document, find, join, tokens
from treadle.arazzo.slips import close_to
from treadle.seams import MISSING, Json, Missing

__all__ = [
    "NOT_SCHEMAS",
    "Defaults",
    "Resolver",
    "boolean_required",
    "fits_no_object",
    "kind_of",
    "members",
    "required_in",
    "shared_input",
    "with_names",
]


def members(schema: Json, word: str) -> Mapping[str, Json]:
    """Give the object that stands at a word of a schema, or an empty one."""
    found = schema.get(word) if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def _names(value: Json) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _schemas(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


NOT_SCHEMAS: Final = frozenset({"default", "const", "enum", "examples", "example"})
"""The words of a schema whose values are data: there a `$ref` refers to nothing."""


class Resolver:
    """Finds what `$ref` means within one document."""

    def __init__(self, document: Json) -> None:
        self._document = document

    @cached_property
    def _roots(self) -> dict[str, Json]:
        """The schemas of the document, by pointer."""
        roots: dict[str, Json] = {}
        for name, schema in members(members(self._document, "components"), "inputs").items():
            roots[join("/components/inputs", name)] = schema
        workflows = self._document.get("workflows") if isinstance(self._document, dict) else None
        for index, workflow in enumerate(_schemas(workflows)):
            if isinstance(workflow, dict) and "inputs" in workflow:
                roots[f"/workflows/{index}/inputs"] = workflow["inputs"]
        return roots

    @cached_property
    def _anchors(self) -> dict[str, str]:
        """The pointers of all anchors."""
        return {
            schema["$anchor"]: pointer
            for root, value in self._roots.items()
            for schema, pointer in _walk(value, root)
            if isinstance(schema.get("$anchor"), str)
        }

    def target(self, reference: Json) -> tuple[Json, str] | None:
        """Give what a `$ref` leads to and where it stands, or None."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        pointer = unquote(reference[1:])
        if pointer and not pointer.startswith("/"):
            pointer = self._anchors.get(pointer, "/\0")
        found = find(self._document, pointer)
        return None if found is MISSING else (found, pointer)

    def parts(self, schema: Json, pointer: str) -> list[tuple[dict[str, Json], str]]:
        """Give the schema and all that hold with it: what `$ref` and `allOf` lead to, each once."""
        parts: list[tuple[dict[str, Json], str]] = []
        seen: set[int] = set()
        waiting = [(schema, pointer)]
        while waiting:
            each, where = waiting.pop(0)
            if not isinstance(each, dict) or id(each) in seen:
                continue
            seen.add(id(each))
            parts.append((each, where))
            target = self.target(each.get("$ref"))
            waiting += [target] if target else []
            waiting += ((inner, f"{where}/allOf/{index}") for index, inner in enumerate(_schemas(each.get("allOf"))))
        return parts

    def kinds(self, schema: Json) -> list[str]:
        """Give the types that a value may have, in no order that matters; none when anything goes."""
        kinds: list[str] = []
        seen: set[int] = set()
        waiting = [schema]
        while waiting:
            each = waiting.pop()
            for part, _ in self.parts(each, ""):
                if id(part) in seen:
                    continue
                seen.add(id(part))
                kind = part.get("type")
                kinds += [kind] if isinstance(kind, str) else _names(kind)
                if kind is None:
                    values = [part["const"]] if "const" in part else _schemas(part.get("enum"))
                    kinds += (kind_of(value) for value in values)
                waiting += [*_schemas(part.get("anyOf")), *_schemas(part.get("oneOf"))]
        return list(dict.fromkeys(kinds))

    def is_secret(self, schema: Json) -> bool:
        """Tell whether a value is, or may contain, something that must not be shown."""
        seen: set[int] = set()
        waiting = [schema]
        while waiting:
            for part, pointer in _walk(waiting.pop(), ""):
                if id(part) in seen:
                    continue
                seen.add(id(part))
                # A property may itself be called "format": then its schema is no text and no truth value.
                if part.get("format") == "password" or part.get("writeOnly") is True:
                    return True
                target = self.target(part.get("$ref")) if not pointer.endswith("/properties") else None
                waiting += [target[0]] if target else []
        return False

    def dangling(self, schema: Json, pointer: str) -> Iterator[tuple[str, str, str]]:
        """Give every reference that leads to nothing here: what is wrong, where, and a hint."""
        seen: set[str] = set()
        waiting = [(schema, pointer)]
        while waiting:
            for part, where in _walk(*waiting.pop()):
                if where in seen or not isinstance(part.get("$ref"), str):
                    continue
                seen.add(where)
                reference: str = part["$ref"]
                target = self.target(reference)
                if target is not None:
                    waiting += [target] if target[1] not in seen else []
                    seen.add(target[1])
                elif reference.startswith("#"):
                    alike = close_to(reference, (f"#{root}" for root in self._roots))
                    hint = f"did you mean `{alike}`?" if alike else ""
                    yield f"`{reference}` leads to nothing in this document", f"{where}/$ref", hint
                elif not reference.startswith(_METASCHEMAS):
                    hint = "copy the schema into components/inputs: '#/components/inputs/<name>'"
                    yield f"`{reference}` is in another document, which is not read for inputs", f"{where}/$ref", hint

    def bundle(self, schema: Json, pointer: str) -> tuple[dict[str, Json], dict[str, str]]:
        """Give one schema with all that it may refer to, and the places of what is under its `$defs`.

        The schemas of the document stand there twice: where pointers look for them, and in `$defs`, because anchors are
        looked for in known places only.
        """
        roots = {root: each for root, each in self._roots.items() if root != pointer}
        names = {"inputs": pointer, **{f"schema-{index}": root for index, root in enumerate(roots)}}
        bundle: dict[str, Json] = {
            "$ref": "#/$defs/inputs",
            "$defs": {"inputs": schema, **{name: roots[root] for name, root in names.items() if root in roots}},
        }
        for first in {tokens(pointer)[0] for pointer in self._referred() if pointer} - bundle.keys():
            bundle[first] = self._document[first]
        return bundle, names

    def _referred(self) -> Iterator[str]:
        for root, value in self._roots.items():
            for part, _ in _walk(value, root):
                target = self.target(part.get("$ref"))
                if target is not None and not self._is_anchor(part["$ref"]):
                    yield target[1]

    def _is_anchor(self, reference: str) -> bool:
        return not reference.startswith("#/")


_SHARED: Final = "#/components/inputs/"


def shared_input(schema: Json, document: Document) -> str:
    """Give the one input that `inputs: {$ref: '#/components/inputs/x'}` means where x is no object, or "" (dialect)."""
    reference = schema.get("$ref") if isinstance(schema, dict) else None
    if not isinstance(reference, str) or not reference.startswith(_SHARED):
        return ""
    name = reference.removeprefix(_SHARED)
    return name if fits_no_object(document.find(join("/components/inputs", name))) else ""


def fits_no_object(schema: Json | Missing) -> bool:
    """Tell whether a schema says that it is one of a text, a number or another value that has no members."""
    kinds = schema.get("type") if isinstance(schema, dict) and "properties" not in schema else None
    return bool(kinds) and "object" not in (kinds if isinstance(kinds, list) else [kinds])


def boolean_required(schema: Json, pointer: str = "") -> Iterator[str]:
    """Give the places where `required` is true or false (dialect): before its fourth draft JSON Schema had that."""
    for part, where in _walk(schema, pointer):
        if isinstance(part.get("required"), bool) and not where.endswith(_NAMING):
            yield join(where, "required")


def required_in(schema: dict[str, Json]) -> list[str]:
    """Give the names of the members that a schema requires, as 2020-12 says it or as earlier drafts did."""
    return [*_names(schema.get("required")), *_called_required(schema)]


def _called_required(schema: Json) -> list[str]:
    every = members(schema, "properties").items()
    return [name for name, each in every if isinstance(each, dict) and each.get("required") is True]


def with_names(schema: Any, *, names: bool = False) -> Any:
    """Write a schema with the names of what is required, where it has truth values."""
    if isinstance(schema, list):
        return [with_names(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if names:
        return {name: with_names(each) for name, each in schema.items()}
    found = {
        word: each if word in NOT_SCHEMAS else with_names(each, names=f"/{word}" in _NAMING)
        for word, each in schema.items()
        if word != "required" or not isinstance(each, bool)
    }
    called = _called_required(schema)
    return {**found, "required": list(dict.fromkeys([*_names(found.get("required")), *called]))} if called else found


_METASCHEMAS = ("https://json-schema.org/", "http://json-schema.org/")


_NAMING: Final = ("/properties", "/$defs", "/patternProperties")


def _walk(schema: Json, pointer: str) -> Iterator[tuple[dict[str, Json], str]]:
    """Give every object in a schema, itself first, with its pointer."""
    waiting = [(schema, pointer)]
    while waiting:
        each, where = waiting.pop()
        if isinstance(each, dict):
            yield each, where
            in_names = where.endswith(_NAMING)
            waiting += [
                (member, join(where, key))
                for key, member in reversed(each.items())
                if in_names or key not in NOT_SCHEMAS
            ]
        elif isinstance(each, list):
            waiting += [(member, f"{where}/{index}") for index, member in enumerate(each)]


def kind_of(value: Json) -> str:
    """Give the JSON Schema type of a value."""
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _closed_to(name: str, schema: dict[str, Json]) -> bool:
    """Tell whether `additionalProperties: false` forbids a member; it knows only the names that stand beside it."""
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    return closed and name not in members(schema, "properties")


# A schema that contains itself can have defaults that do, too.
_MOST_DEFAULTS = 10_000


class Defaults:
    """Fills in defaults: at the top, in objects that are there, in the items of lists."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._added = 0

    def fill(self, schema: Json, value: Json) -> bool:
        """Add to a value, in place, what its schema has defaults for. False when there is no end to it."""
        waiting = [(schema, value)]
        while waiting:
            each, content = waiting.pop()
            if self._added > _MOST_DEFAULTS:
                return False
            parts = [part for part, _ in self._resolver.parts(each, "")]
            for part in parts:
                if isinstance(content, dict):
                    waiting += self._object(part, content, parts)
                elif isinstance(content, list):
                    waiting += self._list(part, content)
        return True

    def _object(
        self, schema: dict[str, Json], content: dict[str, Json], beside: Sequence[dict[str, Json]]
    ) -> Iterator[tuple[Json, Json]]:
        """Fill an object by one part of its schema; what a part beside it forbids has no default."""
        properties = members(schema, "properties")
        for name, inner in properties.items():
            if name not in content:
                default = self._default(inner)
                if default is MISSING or any(_closed_to(name, each) for each in beside):
                    continue
                content[name] = copy.deepcopy(default)
                self._added += 1
            yield inner, content[name]
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            yield from ((others, member) for name, member in content.items() if name not in properties)

    def _list(self, schema: dict[str, Json], content: list[Json]) -> Iterator[tuple[Json, Json]]:
        first = _schemas(schema.get("prefixItems"))
        yield from zip(first, content, strict=False)
        if isinstance(schema.get("items"), dict):
            yield from ((schema["items"], item) for item in content[len(first) :])

    def _default(self, schema: Json) -> Json | Missing:
        parts = (part for part, _ in self._resolver.parts(schema, ""))
        return next((part["default"] for part in parts if "default" in part), MISSING)
