"""What a schema says about the value at a path: its JSON types, its only values, whether it may be missing.

Schemas of real APIs are incomplete and combine each other in every way, so there are three answers: a `Shape`, a
`Nowhere` (the schema knows its names, and this is none of them), and None: it does not say. A rule that reports
something must be right, so whatever is not plainly understood (`if`, `$dynamicRef`, a reference into another document,
more alternatives than are worth the time) is None.

A schema with `allOf`, `anyOf` and `oneOf` is taken apart into alternatives, each a list of parts that hold together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from treadle.arazzo.criteria.outline import ANY
from treadle.seams import Json, Schema

__all__ = [
    "ARRAY",
    "BOOLEAN",
    "KINDS",
    "NULL",
    "NUMBER",
    "OBJECT",
    "STRING",
    "Nowhere",
    "Shape",
    "kind_of",
    "look",
    "required",
]

NULL, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT = "null", "boolean", "number", "string", "array", "object"
KINDS: Final = frozenset({NULL, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT})
"""JSON Schema's types, `integer` taken as number."""

_MOST_ALTERNATIVES: Final = 32
_MOST_SCHEMAS: Final = 200
"""Schemas that are looked at for one value: alternatives of alternatives grow without end."""
_TOO_MUCH: Final = ("if", "then", "else", "$dynamicRef", "$recursiveRef", "dependentSchemas")


class Shape(NamedTuple):
    """What is known about a value. `values` are the only ones that it can have, None where any of its kinds can be."""

    kinds: frozenset[str]
    values: tuple[Json, ...] | None
    optional: bool


class Nowhere(NamedTuple):
    """The way ends at `token`: `holder` is what it would be in ("object", "string"), `names` what that has.

    `closed` when the schema forbids other names, or the holder has no members at all.
    """

    token: str
    holder: str
    names: tuple[str, ...]
    closed: bool


Parts: TypeAlias = "tuple[Schema, ...]"


def kind_of(value: Json) -> str:
    """Give the JSON type of a value."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, (int, float)):
        return NUMBER
    return STRING if isinstance(value, str) else ARRAY if isinstance(value, list) else OBJECT


def look(schema: Schema | None, path: Sequence[object]) -> Shape | Nowhere | None:
    """Give what a schema says about the value at a path of names, indices and `ANY`."""
    budget = _Budget()
    found = _alternatives(schema, budget)
    if found is None:
        return None
    optional = False
    for token in path:
        further: list[Parts] = []
        absent: list[Nowhere] = []
        for parts in found:
            below = _below(parts, token, budget)
            if below is None:
                return None
            if isinstance(below, Nowhere):
                absent.append(below)
                continue
            further += below
            optional = optional or not _required(parts, token)
        if not further or len(further) > _MOST_ALTERNATIVES:
            return absent[0] if absent and not further else None
        optional = optional or bool(absent)
        found = further
    shapes = [_shape(parts) for parts in found]
    values = [shape.values for shape in shapes]
    known = None if None in values else tuple(each for some in values for each in some or ())
    return Shape(frozenset().union(*(shape.kinds for shape in shapes)), known, optional)


def required(schema: Schema) -> list[str]:
    """Give the names that an object of this schema must have and a client sends; none where there are alternatives."""
    found = _alternatives(schema, _Budget())
    if found is None or len(found) > 1 or OBJECT not in _kinds(found[0]):
        return []
    stated = [each for part in found[0] if isinstance(each := part.keywords.get("required"), list)]
    names = dict.fromkeys(str(name) for each in stated for name in each)
    return [name for name in names if _sent(found[0], name)]


def _sent(parts: Parts, name: str) -> bool:
    """Tell whether a client sends it: not what the server fills in, and not what is not described at all."""
    below = [each for part in parts if (each := part.below("properties", name)) is not None]
    return bool(below) and not any(each.keywords.get("readOnly") or "default" in each.keywords for each in below)


# ---------------------------------------------------------------------------------------------------------------------
# Alternatives
# ---------------------------------------------------------------------------------------------------------------------


class _Budget:
    """How many more schemas may be looked at."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _MOST_SCHEMAS

    def spent(self) -> bool:
        self.left -= 1
        return self.left < 0


def _alternatives(schema: Schema | None, budget: _Budget) -> list[Parts] | None:
    """Take a schema apart; None where it says nothing that is understood here."""
    if schema is None or budget.spent() or any(word in schema.keywords for word in _TOO_MUCH):
        return None
    found: list[Parts] = [(schema,)]
    for word in ("allOf", "anyOf", "oneOf"):
        listed = schema.keywords.get(word)
        if not isinstance(listed, list) or not listed:
            continue
        some = _every_of(schema, word, len(listed), budget)
        if some is None:
            return None
        found = _both(found, some)
        if len(found) > _MOST_ALTERNATIVES:
            return None
    return found


def _every_of(schema: Schema, word: str, count: int, budget: _Budget) -> list[Parts] | None:
    """Give what `allOf` means (all of them at once), or `anyOf` and `oneOf` (one of them); None as above."""
    found: list[Parts] = [()] if word == "allOf" else []
    for index in range(count):
        some = _alternatives(schema.below(word, index), budget)
        if some is None:
            return None
        found = _both(found, some) if word == "allOf" else found + some
        if len(found) > _MOST_ALTERNATIVES:
            return None
    return found


def _both(first: list[Parts], second: list[Parts]) -> list[Parts]:
    return [(*one, *other) for one in first for other in second][: _MOST_ALTERNATIVES + 1]


# ---------------------------------------------------------------------------------------------------------------------
# One alternative
# ---------------------------------------------------------------------------------------------------------------------


def _kinds(parts: Parts) -> frozenset[str]:
    """Give the types that all parts allow."""
    kinds = KINDS
    for part in parts:
        stated = part.keywords.get("type")
        names = (
            {stated}
            if isinstance(stated, str)
            else {each for each in stated if isinstance(each, str)}
            if isinstance(stated, list)
            else None
        )
        if names is not None:
            kinds &= {NUMBER if each == "integer" else each for each in names}
    return kinds | {NULL} if any(part.keywords.get("nullable") is True for part in parts) else kinds


def _shape(parts: Parts) -> Shape:
    kinds = _kinds(parts)
    listed = [values for part in parts if (values := _values(part.keywords)) is not None]
    if not listed:
        return Shape(kinds, None, optional=False)
    values = [each for each in listed[0] if all(each in others for others in listed[1:])]
    if any(part.keywords.get("nullable") is True for part in parts) and None not in values:
        values.append(None)
    return Shape(kinds & {kind_of(each) for each in values}, tuple(values), optional=False)


def _values(keywords: Mapping[str, Json]) -> list[Json] | None:
    if "const" in keywords:
        return [keywords["const"]]
    stated = keywords.get("enum")
    return stated if isinstance(stated, list) and stated else None


def _required(parts: Parts, token: object) -> bool:
    return any(token in stated for part in parts if isinstance(stated := part.keywords.get("required"), list))


def _below(parts: Parts, token: object, budget: _Budget) -> list[Parts] | Nowhere | None:
    """Give the alternatives of a member or element, `Nowhere`, or None where that is not known."""
    kinds = _kinds(parts) - {NULL}
    if kinds == KINDS - {NULL}:  # no type: a schema with members is meant for what has members
        kinds = frozenset(_meant(parts))
    if not kinds & {OBJECT, ARRAY}:
        return Nowhere(str(token), min(kinds), (), closed=True) if kinds else None
    ways = []
    if OBJECT in kinds:
        ways.append(_member(parts, token, budget))
    if ARRAY in kinds:
        ways.append(_element(parts, token, budget))
    if None in ways:
        return None
    found = [each for way in ways if not isinstance(way, Nowhere) for each in way or ()]
    return found or next(way for way in ways if isinstance(way, Nowhere))


def _meant(parts: Parts) -> Iterator[str]:
    words = {word for part in parts for word in part.keywords}
    if words & {"properties", "additionalProperties", "required"}:
        yield OBJECT
    if words & {"items", "prefixItems"}:
        yield ARRAY


def _member(parts: Parts, token: object, budget: _Budget) -> list[Parts] | Nowhere | None:
    if token is ANY or any("patternProperties" in part.keywords for part in parts):
        return None
    declared = [(part, named) for part in parts if isinstance(named := part.keywords.get("properties"), dict)]
    if isinstance(token, str):
        holding = [part for part, named in declared if token in named]
        if holding:
            return _together([part.below("properties", token) for part in holding], budget)
    others = [part.keywords[word] for part in parts for word in _OTHERS if word in part.keywords]
    if True in others or (not declared and False not in others):
        return None
    schemas = [part for part in parts if isinstance(part.keywords.get("additionalProperties"), dict)]
    if schemas and isinstance(token, str):
        return _together([part.below("additionalProperties") for part in schemas], budget)
    names = tuple(dict.fromkeys(str(name) for _, named in declared for name in named))
    return Nowhere(str(token), OBJECT, names, closed=False in others or not isinstance(token, str))


_OTHERS: Final = ("additionalProperties", "unevaluatedProperties")


def _element(parts: Parts, name: object, budget: _Budget) -> list[Parts] | Nowhere | None:
    index = name is ANY or isinstance(name, int) or (isinstance(name, str) and name.isdecimal())
    if not index:
        return None if name == "length" else Nowhere(str(name), ARRAY, (), closed=True)
    if any("prefixItems" in part.keywords for part in parts):
        return None
    holding = [part for part in parts if isinstance(part.keywords.get("items"), dict)]
    return _together([part.below("items") for part in holding], budget) if holding else None


def _together(schemas: Sequence[Schema | None], budget: _Budget) -> list[Parts] | None:
    """Give the alternatives of schemas that hold together."""
    found: list[Parts] = [()]
    for schema in schemas:
        some = _alternatives(schema, budget)
        if some is None:
            return None
        found = _both(found, some)
    return found if len(found) <= _MOST_ALTERNATIVES else None
