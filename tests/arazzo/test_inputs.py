"""Inputs: defaults filled in, values validated, texts of the command line read as the schema wants them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treadle.arazzo.inputs import Inputs
from treadle.arazzo.load import load
from treadle.arazzo.location import Document
from treadle.errors import Diagnostic
from treadle.seams import MISSING, Json

SHARED = {
    "user": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "default": "me"}}},
    "page": {"$anchor": "page", "type": "integer", "minimum": 1, "default": 1},
    "loop": {"$ref": "#/components/inputs/loop"},
}


def inputs(schema: Json, *, strict: bool = False) -> Inputs:
    """Make the inputs of the only workflow of a document that has some schemas to share."""
    value = {"workflows": [{"inputs": schema}], "components": {"inputs": SHARED}}
    document = load(json.dumps(value, indent=1).encode(), "test.json")
    return Inputs(document.find("/workflows/0/inputs"), document, "/workflows/0/inputs", strict=strict)


def described(found: list[Diagnostic]) -> list[str]:
    return [f"{each.severity}: {each.message}" for each in found]


@dataclass
class Case:
    """A schema, what is given, what comes of it, and what is said."""

    id: str
    schema: Json
    given: dict[str, Json]
    want: dict[str, Json] | None
    said: list[str] = field(default_factory=list)
    hint: str = ""


def an(properties: dict[str, Json], **more: Json) -> Json:
    return {"type": "object", "properties": properties, **more}


MODE = {"type": "string", "default": "File"}
CLOSED = an({"a": {"default": 1}}, allOf=[an({"b": {"default": 2}})], additionalProperties=False)
CASES = [
    # defaults
    Case("default", an({"mode": MODE}), {}, {"mode": "File"}),
    Case("given", an({"mode": MODE}), {"mode": "Pipe"}, {"mode": "Pipe"}),
    Case("null-is-given", an({"mode": {"type": ["string", "null"], "default": "x"}}), {"mode": None}, {"mode": None}),
    Case("optional", an({"mode": {"type": "string"}}), {}, {}),
    Case("nested", an({"o": an({"a": {"default": 1}, "b": {}})}), {"o": {"b": 2}}, {"o": {"a": 1, "b": 2}}),
    Case("nested-absent", an({"o": an({"a": {"default": 1}})}), {}, {}),
    Case("nested-in-default", an({"o": {**an({"a": {"default": 1}}), "default": {}}}), {}, {"o": {"a": 1}}),
    Case("items", an({"l": {"items": an({"a": {"default": 1}})}}), {"l": [{}, {"a": 2}]}, {"l": [{"a": 1}, {"a": 2}]}),
    Case("prefix-items", an({"l": {"prefixItems": [an({"a": {"default": 1}})], "items": an({"b": {"default": 2}})}}), {"l": [{}, {}]}, {"l": [{"a": 1}, {"b": 2}]}),
    Case("additional", an({}, additionalProperties=an({"a": {"default": 1}})), {"x": {}}, {"x": {"a": 1}}),
    Case("reference", an({"user": {"$ref": "#/components/inputs/user"}}), {"user": {}}, {"user": {"name": "me"}}),
    Case("anchor", an({"page": {"$ref": "#page"}}), {}, {"page": 1}),
    Case("whole-reference", {"$ref": "#/components/inputs/user"}, {}, {"name": "me"}),
    Case("all-of-closed", CLOSED, {}, {"a": 1}),
    Case("all-of-closed-within", an({"o": {**CLOSED, "default": {}}}), {}, {"o": {"a": 1}}),
    Case("all-of-closed-to-what-is-given", CLOSED, {"b": 3}, None, ["error: the workflow has no input `b`"], "write `unevaluatedProperties: false`"),
    Case("all-of-evaluated", {**{name: each for name, each in CLOSED.items() if name != "additionalProperties"}, "unevaluatedProperties": False}, {}, {"a": 1, "b": 2}),
    Case("all-of", {"allOf": [an({"a": {"default": 1}}), an({"b": {"default": 2}})]}, {}, {"a": 1, "b": 2}),
    Case("no-end", an({"a": {"$ref": "#/workflows/0/inputs", "default": {}}}), {}, None, ["error: the defaults of this schema contain each other without end"]),
    Case("loop", {"$ref": "#/components/inputs/loop"}, {}, {}),
    Case("default-does-not-fit", an({"a": {"type": "integer", "default": "x"}}), {}, None, ['error: the default of the input `a` must be a whole number, not the text "x"']),
    # what is missing or unknown
    Case("missing", an({"a": {"type": "string", "description": "The name.\n"}}, required=["a"]), {}, None, ["error: the input `a` is missing; it must be a text"], "give it with -i a=… (The name.)"),
    Case("missing-undeclared", {"type": "object", "required": ["a"]}, {}, None, ["error: the input `a` is missing"]),
    Case("missing-inside", an({"o": {"required": ["z"]}}), {"o": {}}, None, ["error: the input `o.z` is missing"]),
    Case("unknown", an({"name": {}}), {"nmae": 1}, {"nmae": 1}, ["warning: the workflow has no input `nmae`"], "did you mean `name`?"),
    Case("unknown-refused", an({"name": {}}, additionalProperties=False), {"nmae": 1}, None, ["error: the workflow has no input `nmae`"], "did you mean `name`?"),
    Case("unknown-unevaluated", an({"name": {}}, unevaluatedProperties=False), {"other": 1}, None, ["error: the workflow has no input `other`"], "it has name"),
    Case("unknown-allowed", an({}, additionalProperties=True), {"a": 1}, {"a": 1}),
    Case("unknown-by-pattern", an({}, patternProperties={"^a": {}}), {"a": 1}, {"a": 1}),
    Case("no-schema", {}, {"a": 1}, {"a": 1}, ["warning: the workflow has no input `a`"]),
    # what is wrong
    Case("type", an({"n": {"type": "integer"}}), {"n": "two"}, None, ['error: the input `n` must be a whole number, not the text "two"']),
    Case("types", an({"n": {"type": ["integer", "null"]}}), {"n": True}, None, ["error: the input `n` must be a whole number or null, not the truth value true"]),
    Case("list", an({"l": {"type": "array"}}), {"l": "a,b"}, None, ['error: the input `l` must be a list, not the text "a,b"'], "give it as JSON: -i l='[…]'"),
    Case("object", an({"o": {"type": "object"}}), {"o": "{a"}, None, ['error: the input `o` must be an object, not the text "{a"'], "-i o='{…}'"),
    Case("deep", an({"l": {"items": an({"n": {"type": "integer"}})}}), {"l": [{}, {"n": "x"}]}, None, ['error: the input `l[1].n` must be a whole number, not the text "x"']),
    Case("minimum", an({"page": {"$ref": "#page"}}), {"page": 0}, None, ["error: the input `page` is wrong: the number 0: it is less than the minimum of 1"]),
    Case("enum", an({"m": {"enum": ["File", "Pipe", 1]}}), {"m": "file"}, None, ['error: the input `m` is wrong: the text "file": it must be one of "File", "Pipe", 1']),
    Case("const", an({"m": {"const": 5}}), {"m": 6}, None, ["error: the input `m` is wrong: the number 6: it must be 5"]),
    Case("any-of", an({"m": {"anyOf": [{"type": "integer"}, {"enum": ["auto"]}]}}), {"m": "x"}, None, ['error: the input `m` is wrong: the text "x": it must be a whole number, or it must be one of "auto"']),
    Case("pattern", an({"m": {"pattern": "^[a-z]+$"}}), {"m": "A"}, None, ['error: the input `m` is wrong: the text "A": it does not match "^[a-z]+$"']),
    Case("format-is-a-note", an({"m": {"format": "date"}}), {"m": "tomorrow"}, {"m": "tomorrow"}),
    Case("float-as-integer", an({"n": {"type": "integer"}}), {"n": 3.0}, {"n": 3.0}),
    Case("whole-schema", {"minProperties": 1}, {}, None, ["error: the inputs are not as the workflow wants them: it has less than 1 property"]),
    Case("all-at-once", an({"a": {"type": "string"}, "b": {"type": "integer"}}, required=["a", "c"]), {"b": "x", "d": 1}, None, ["error: the input `a` is missing; it must be a text", "error: the input `c` is missing", 'error: the input `b` must be a whole number, not the text "x"', "warning: the workflow has no input `d`"]),
    # secrets
    Case("secret-type", an({"p": {"type": "integer", "format": "password"}}), {"p": "hunter2"}, None, ["error: the input `p` must be a whole number"]),
    Case("secret-length", an({"p": {"minLength": 10, "writeOnly": True}}), {"p": "hunter2"}, None, ["error: the input `p` is wrong: it is shorter than 10 characters"]),
    Case("secret-inside", an({"o": an({"p": {"format": "password", "pattern": "^x"}})}), {"o": {"p": "hunter2"}}, None, ['error: the input `o.p` is wrong: it does not match "^x"']),
    # what JSON cannot carry
    Case("half-a-character", an({"a": {"type": "string"}}), {"a": ["\ud800"]}, None, ["error: the input `a` is no Unicode text"]),
    Case("infinity", an({"a": {"type": "number"}}), {"a": math.inf}, None, ["error: the input `a` is no JSON value: JSON has no infinity, for one"]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_inputs_are_prepared(case: Case) -> None:
    """Values with defaults when all is well, else everything that is wrong, none of it twice."""
    before = json.dumps(case.given)
    values, found = inputs(case.schema).prepare(case.given)
    assert sorted(described(found)) == sorted(case.said)
    assert all(case.hint in each.hint for each in found if each.severity == "error" or len(found) == 1)
    assert all(each.place is not None and each.place.line for each in found)
    assert "hunter2" not in "".join(each.render() for each in found)
    assert json.dumps(case.given) == before
    if case.want is not None:
        assert values == case.want


def test_a_finding_points_at_the_declaration() -> None:
    """Through references, to where the input is declared."""
    schema = an({"l": {"items": {"$ref": "#/components/inputs/user"}}, "n": {"type": "integer"}})
    _, found = inputs(schema).prepare({"l": [{"name": 1}], "n": "x"})
    pointers = sorted(each.place.pointer for each in found if each.place)
    assert pointers == ["/components/inputs/user/properties/name", "/workflows/0/inputs/properties/n"]


def test_strict_refuses_what_is_not_declared() -> None:
    """A warning otherwise."""
    _, (found,) = inputs(an({}), strict=True).prepare({"a": 1})
    assert found.severity == "error"


@dataclass
class Fault:
    """A schema that cannot be used, and what is said about it."""

    id: str
    schema: Json
    pointer: str
    message: str
    hint: str = ""


HERE = "/workflows/0/inputs"


@pytest.mark.parametrize("required", [True, False])
def test_required_may_be_a_truth_value(required: bool) -> None:
    """Dialect: drafts of JSON Schema before the fourth said so; true means the name, false nothing."""
    made = inputs(an({"a": {"type": "string", "required": required}, "b": {"properties": {"c": {"required": True}}}}))
    assert made.problems == ()
    assert made.declared["a"].required is required
    _, found = made.prepare({"b": {}})
    told = {each.message.partition(";")[0] for each in found}
    assert told == {"the input `b.c` is missing", *(["the input `a` is missing"] if required else [])}


FAULTS = [
    Fault("type", an({"a": {"type": "strng"}}), f"{HERE}/properties/a/type", "did you mean `string`?"),
    Fault("keyword", an({"a": {"minimum": "1"}}), f"{HERE}/properties/a/minimum", "`minimum`"),
    Fault("required", an({"a": {"required": "a"}}), f"{HERE}/properties/a/required", "`required`"),
    Fault("look-around", an({"a": {"pattern": "(?=a)b"}}), f"{HERE}/properties/a/pattern", "look-around"),
    Fault("no-pattern", an({"a": {"pattern": "(a"}}), f"{HERE}/properties/a/pattern", "no regular expression"),
    Fault("file", an({"a": {"$ref": "file:///etc/passwd"}}), f"{HERE}/properties/a/$ref", "another document", "copy"),
    Fault("network", an({"a": {"$ref": "http://127.0.0.1:9/x"}}), f"{HERE}/properties/a/$ref", "another document", "copy"),
    Fault("relative", an({"a": {"$ref": "x.yaml#/a"}}), f"{HERE}/properties/a/$ref", "another document", "copy"),
    Fault("nothing", an({"a": {"$ref": "#/components/inputs/User"}}), f"{HERE}/properties/a/$ref", "leads to nothing", "inputs/user`"),
    Fault("no-anchor", an({"a": {"items": {"$ref": "#pages"}}}), f"{HERE}/properties/a/items/$ref", "leads to nothing"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.id for fault in FAULTS])
def test_a_faulty_schema_is_a_fault_of_the_document(fault: Fault) -> None:
    """Found without any input, at its place; and nothing is read."""
    made = inputs(fault.schema)
    (found,) = made.problems
    assert (found.severity, found.place and found.place.pointer) == ("error", fault.pointer)
    assert fault.message in found.message
    assert fault.hint in found.hint
    assert found in made.prepare({})[1]


def test_a_pattern_takes_linear_time() -> None:
    """A pattern that keeps backtracking engines busy for years."""
    _, (found,) = inputs(an({"a": {"pattern": "^(a+)+$"}})).prepare({"a": "a" * 50_000 + "b"})
    assert "does not match" in found.message


COERCIONS: list[tuple[Json, str, Json]] = [
    ({"type": "string"}, "5", "5"),
    ({"type": "string"}, "true", "true"),
    ({"type": "string"}, "[1]", "[1]"),
    ({"type": "integer"}, "5", 5),
    ({"type": "integer"}, "-5", -5),
    ({"type": "integer"}, "3.0", 3),
    ({"type": "integer"}, "3.5", "3.5"),
    ({"type": "integer"}, "two", "two"),
    ({"type": "integer"}, "5 ", "5 "),
    ({"type": "integer"}, "", ""),
    ({"type": "number"}, "5", 5),
    ({"type": "number"}, ".5", 0.5),
    ({"type": "number"}, "1e3", 1000.0),
    ({"type": "number"}, "1e999", "1e999"),
    ({"type": "number"}, "nan", "nan"),
    ({"type": "boolean"}, "true", True),
    ({"type": "boolean"}, "False", False),
    ({"type": "boolean"}, "yes", "yes"),
    ({"type": "boolean"}, "1", "1"),
    ({"type": "array"}, '[1, "a"]', [1, "a"]),
    ({"type": "array"}, "a,b", "a,b"),
    ({"type": "array"}, "[1", "[1"),
    ({"type": "object"}, '{"a": 1}', {"a": 1}),
    ({"type": "object"}, "[1]", "[1]"),
    ({"type": "null"}, "null", None),
    ({"type": ["string", "null"]}, "null", None),
    ({"type": ["string", "integer"]}, "5", 5),
    ({"type": ["string", "integer"]}, "five", "five"),
    ({"type": ["boolean", "string"]}, "true", True),
    ({"anyOf": [{"type": "integer"}, {"enum": ["auto"]}]}, "auto", "auto"),
    ({"anyOf": [{"type": "integer"}, {"enum": ["auto"]}]}, "7", 7),
    ({"enum": [1, 2]}, "2", 2),
    ({"const": True}, "true", True),
    ({"$ref": "#page"}, "3", 3),
    ({"allOf": [{"$ref": "#/components/inputs/page"}]}, "3", 3),
    ({}, "5", "5"),
    (True, "5", "5"),
]


@pytest.mark.parametrize(("schema", "text", "want"), COERCIONS, ids=[f"{json.dumps(s)}-{t}" for s, t, _ in COERCIONS])
def test_a_text_becomes_what_the_schema_wants(schema: Json, text: str, want: Json) -> None:
    """What cannot be read so stays a text, and validation says what it must be."""
    value = inputs(an({"a": schema})).coerce("a", text)
    assert value == want
    assert type(value) is type(want)


def test_an_undeclared_text_stays_text() -> None:
    """There is nothing to read it by."""
    assert inputs(an({})).coerce("b", "5") == "5"


def test_inputs_are_listed_for_help() -> None:
    """Names, types in words, defaults, descriptions, secrets, in the order of the document."""
    schema = {
        "allOf": [{"$ref": "#/components/inputs/user"}],
        "required": ["key"],
        "properties": {
            "key": {"type": "string", "format": "password", "description": "The\n key."},
            "o": an({"deep": {"items": {"writeOnly": True}}}),
            "n": {"type": ["integer", "null"]},
            "format": {"type": "string"},
        },
    }
    made = inputs(schema)
    listed = [(each.name, each.type, each.required, each.default, each.secret) for each in made.declared.values()]
    assert listed == [
        ("key", "a text", True, MISSING, True),
        ("o", "an object", False, MISSING, True),
        ("n", "a whole number or null", False, MISSING, False),
        ("format", "a text", False, MISSING, False),
        ("name", "a text", True, "me", False),
    ]
    assert made.declared["key"].description == "The key."
    assert made.names == {"key", "o", "n", "format", "name"}
    assert made.secrets == {"key", "o"}
    assert made.problems == ()


@pytest.mark.parametrize("schema", [True, {}, None, 5])
def test_no_schema_takes_everything(schema: Json) -> None:
    """A schema that is none at all is the builder's business, not a crash."""
    made = Inputs(schema, Document("x", {}))
    assert made.names == frozenset()
    assert made.secrets == frozenset()
    values, _ = made.prepare({"a": math.pi})
    assert values == {"a": math.pi}


def test_the_validator_is_loaded_when_it_is_needed() -> None:
    """`treadle --help` does not wait for it."""
    code = "import sys, treadle.arazzo.inputs; print('jsonschema_rs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "object", "array", "nothing", ["string", "null"], 5]),
            "default": st.sampled_from([1, "x", {}, [], None]),
            "$ref": st.sampled_from(
                ["#page", "#/components/inputs/user", "#/workflows/0/inputs", "#/x", "http://x", 5]
            ),
            "format": st.just("password"),
            "required": st.sampled_from([["a"], ["b"], "a"]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "items": inner,
            "allOf": st.lists(inner, max_size=2),
            "anyOf": st.lists(inner, max_size=2),
            "additionalProperties": inner,
        },
    ),
    max_leaves=6,
)


@given(SCHEMAS, st.dictionaries(st.sampled_from("abcd"), st.sampled_from([1, "x", {}, {"a": {}}, [{}], None])))
@settings(max_examples=150, deadline=2000)
def test_any_schema_prepares_or_says_why(schema: Any, given_values: dict[str, Json]) -> None:
    """No schema makes it fail or run for ever."""
    made = inputs(schema)
    values, found = made.prepare(given_values)
    assert set(given_values) <= set(values)
    assert all(each.render() for each in found)
    assert made.secrets <= made.names
    made.coerce("a", "[1]")


class _Text(str):
    __slots__ = ()


class _Whole(int):
    pass


class _Size(IntEnum):
    BIG = 3


def test_values_of_other_classes_become_json_s() -> None:
    """A program gives what it has; what is stored with a run is JSON's, however deep."""
    known = inputs(an({"x": {}}))
    given: dict[str, Any] = {"x": {"t": _Text("a"), 1: (_Whole(2), _Size.BIG, [1.5])}}
    values, found = known.prepare(given)
    assert (values, described(found)) == ({"x": {"t": "a", "1": [2, 3, [1.5]]}}, [])
    assert msgspec.json.decode(msgspec.json.encode(values)) == values
    assert type(given["x"]["t"]) is _Text
