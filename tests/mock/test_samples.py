"""JSON Schema → a small, sensible instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treadle.mock.samples import EACH, Path, Sampler
from treadle.seams import Json
from treadle.sources.walk import Node

SCHEMAS: dict[str, Any] = {
    "Tree": {
        "type": "object",
        "required": ["name", "children", "parent"],
        "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
            "parent": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Tree"}]},
        },
    },
    "Cat": {"type": "object", "required": ["kind", "lives"], "properties": {"kind": {}, "lives": {"type": "integer"}}},
    "Dog": {"type": "object", "required": ["kind", "bark"], "properties": {"kind": {}, "bark": {"type": "string"}}},
    "Pet": {
        "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
        "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/components/schemas/Cat"}},
    },
}


def schema(value: Json) -> Node:
    from dataclasses import replace

    return replace(Node.whole({"components": {"schemas": SCHEMAS}}, "api.yaml"), pointer="/x", value=value)


@dataclass(frozen=True)
class Case:
    name: str
    schema: Json
    want: Json


CASES = [
    Case("const", {"const": "x"}, "x"),
    Case("example first", {"type": "string", "example": "Rex", "default": "Max"}, "Rex"),
    Case("examples", {"type": "string", "examples": ["Rex"]}, "Rex"),
    Case("an example of another type is passed over", {"type": "integer", "example": "7", "default": 3}, 3),
    Case("an example beyond the enum is passed over", {"enum": ["a", "b"], "example": "c"}, "a"),
    Case(
        "an example that lacks something is passed over",
        {"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}, "example": {"b": 2}},
        {"a": 1},
    ),
    Case("enum", {"type": "string", "enum": [None, "Running"]}, "Running"),
    Case("format", {"type": "string", "format": "uuid"}, "3fa85f64-5717-4562-b3fc-2c963f66afa6"),
    Case("pattern", {"type": "string", "pattern": "^[A-Z]{3}$"}, "AAA"),
    Case("lengths", {"type": "string", "minLength": 9, "maxLength": 9}, "textxxxxx"),
    Case("limits", {"type": "integer", "minimum": 5, "maximum": 9}, 5),
    Case("exclusive", {"type": "integer", "exclusiveMinimum": 5}, 6),
    Case("exclusive of 3.0", {"type": "integer", "minimum": 5, "exclusiveMinimum": True}, 6),
    Case("between", {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    Case("multiple", {"type": "integer", "minimum": 11, "multipleOf": 5}, 15),
    Case("negative", {"type": "integer", "maximum": -3}, -3),
    Case(
        "what is required and no name is passed over",
        {"type": "object", "required": [["a"], 3, "b"], "properties": {"b": {"type": "boolean"}}},
        {"b": True},
    ),
    Case(
        "only what is required",
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "boolean"}, "b": {}}},
        {"a": True},
    ),
    Case("an element", {"type": "array", "items": {"type": "integer"}}, [1]),
    Case("elements", {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}, [1, 2, 3]),
    Case("no elements", {"type": "array", "maxItems": 0}, []),
    Case(
        "all of",
        {
            "allOf": [
                {"required": ["a"], "properties": {"a": {"const": 1}}},
                {"required": ["b"], "properties": {"b": {"const": 2}}},
            ]
        },
        {"a": 1, "b": 2},
    ),
    Case("any of, not null", {"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
    Case("nullable", {"type": ["null", "string"], "enum": [None, "x"]}, "x"),
    Case("discriminator", {"$ref": "#/components/schemas/Pet"}, {"kind": "cat", "lives": 1}),
    Case(
        "a schema that contains itself ends",
        {"$ref": "#/components/schemas/Tree"},
        {"name": "name-1", "children": [], "parent": None},
    ),
    Case(
        "a reference to nothing",
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/no"}}},
        {"a": "a-1"},
    ),
    Case("nothing known", {}, "text"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_sample_is_what_the_schema_offers_or_its_smallest_instance(case: Case) -> None:
    """Examples and defaults first, then the smallest value of the type."""
    assert Sampler().sample(schema(case.schema), "") == case.want


@dataclass(frozen=True)
class Ensured:
    name: str
    schema: Json
    value: Json
    path: Path
    want: Json


LIST = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}, "email": {}}}}
    },
}
ENSURED = [
    Ensured("a member of the schema", LIST, {}, ("items", 0, "id"), {"items": [{"id": 1}]}),
    Ensured("what is there stays", LIST, {"items": [{"id": 9}]}, ("items", 0, "id"), {"items": [{"id": 9}]}),
    Ensured("null is nothing", LIST, {"items": None}, ("items", "0", "id"), {"items": [{"id": 1}]}),
    Ensured("a further element", LIST, {"items": [{"id": 9}]}, ("items", 1, "id"), {"items": [{"id": 9}, {"id": 1}]}),
    Ensured("every element", LIST, {"items": [{"id": 9}, {}]}, ("items", EACH, "id"), {"items": [{"id": 9}, {"id": 1}]}),
    Ensured("a name that says something", LIST, {}, ("items", 0, "email"), {"items": [{"email": "somebody@example.com"}]}),
    Ensured("what no schema knows", None, {}, ("a", "b", 0), {"a": {"b": ["b-1"]}}),
    Ensured("the branch that knows the member", {"oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}]}, {}, ("bark",), {"bark": "bark-1"}),
    Ensured("an object in place of a text", None, {"a": "x"}, ("a", "b"), {"a": {"b": "b-1"}}),
]  # fmt: skip


@pytest.mark.parametrize("case", ENSURED, ids=lambda case: case.name)
def test_a_path_can_be_made_sure_of(case: Ensured) -> None:
    """What is missing on the way is sampled from the schema, or guessed by its name."""
    known = None if case.schema is None else schema(case.schema)
    assert Sampler().ensure(case.value, known, case.path) == case.want


SIMPLE = st.one_of(
    st.builds(lambda low: {"type": "integer", "minimum": low, "maximum": low + 5}, st.integers(-9, 9)),
    st.builds(lambda least: {"type": "string", "minLength": least}, st.integers(0, 9)),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers() | st.text(max_size=3), min_size=1, max_size=3)),
    st.sampled_from(
        [{"type": "boolean"}, {"type": "null"}, {"const": 1}, {"type": "number"}, {"type": ["string", "null"]}]
    ),
)
ANY = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(lambda item, least: {"type": "array", "items": item, "minItems": least}, inner, st.integers(0, 3)),
        st.builds(
            lambda members: {"type": "object", "properties": members, "required": list(members)},
            st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
        ),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(ANY)
def test_a_sample_is_an_instance(value: Json) -> None:
    """What is made of a schema is valid by it."""
    jsonschema_rs.validator_for(value).validate(Sampler().sample(schema(value)))


@pytest.mark.parametrize("word", ["enum", "oneOf", "anyOf", "required", "type"])
def test_what_should_be_a_list_and_is_none_says_nothing(word: str) -> None:
    """Descriptions are read with patience."""
    odd = schema({word: 1})
    assert Sampler().choices(odd) == []
    assert Sampler().sample(odd) is not None
