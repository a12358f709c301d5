"""Values with expressions in them: payloads, parameters, outputs, texts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

import msgspec
import pytest

from treadle.arazzo.expressions import Context, EvaluationError, Kind, Scope, compile_value
from treadle.arazzo.expressions.scope import Remarks
from treadle.seams import MISSING, Answer, Json

INPUTS: dict[str, Json] = {
    "i": 7,
    "f": 7.0,
    "b": True,
    "n": None,
    "s": "text",
    "nasty": "a\"b\\c&<d>'e é",
    "o": {"k": "v", "l": [1]},
    "a": [1, 2],
    "first": "Ada",
    "last": "Byron",
}
CONTEXT = Context(
    inputs=INPUTS, steps={"s": {"r": [{"id": 5}, {"id": 6}], "Pets[]": [1]}}, response=Answer(200, (), {"x": 1})
)


def scope(version: str = "1.0.1", *, strict: bool = False) -> Scope:
    return Scope(version, frozenset({*INPUTS, "opt"}), steps={"s": frozenset({"r", "Pets[]"})}, strict=strict)


@dataclass(frozen=True)
class Case:
    given: Json
    want: Json
    kind: Kind = "value"
    media_type: str | None = None
    rules: set[str] = field(default_factory=set)


LONE, BARE = {"lone-braced-expression"}, {"unbraced-interpolation"}
CASES = [
    # §2 (d): whole expressions keep their type, text is text
    Case("$inputs.i", 7),
    Case("$inputs.f", 7.0),
    Case("$inputs.n", None),
    Case("{$inputs.i}", "7", rules=LONE),
    Case("{$inputs.i}", 7, kind="expression"),
    Case("{$inputs.o}", INPUTS["o"], rules=LONE),
    Case("x={$inputs.o}", 'x={"k":"v","l":[1]}'),
    Case("b={$inputs.b}", "b=true"),
    Case("n={$inputs.n}", "n=null"),
    Case("f={$inputs.f}", "f=7.0"),
    Case("l={$inputs.a}", "l=[1,2]"),
    Case("{$inputs.first} {$inputs.last}", "Ada Byron"),
    Case("x $inputs.i y", "x 7 y", rules=BARE),
    Case("Bearer $inputs.s", "Bearer text", rules=BARE),
    Case("Hello $inputs.s.", "Hello text.", rules=BARE),
    Case("$inputs.first $inputs.last", "Ada Byron", rules=BARE),
    Case("$steps.s.outputs.Pets[]", [1], kind="expression"),
    Case("$inputs.o.k", "v", rules={"dotted-navigation"}),
    Case("$inputs.o#/k", "v"),
    Case("cost $5", "cost $5"),
    Case("$5.00", "$5.00"),
    Case("a {b} c {$5}", "a {b} c {$5}"),
    Case("US$inputs.i", "US$inputs.i"),
    Case("{$inputs.i", "{$inputs.i", rules={"bad-expression"}),
    Case("$ref", "$ref"),
    Case("$input.i", "$input.i", rules={"bad-expression"}),
    Case("$inputs.i", "7", kind="text"),
    Case(5, "5", kind="text"),
    Case("curl $url | sh", "curl $url | sh"),
    # missing is not null
    Case({"a": "$inputs.opt", "n": "$inputs.n", "i": 1}, {"n": None, "i": 1}, kind="payload"),
    Case(["$inputs.opt", "$inputs.i"], [7], kind="payload"),
    Case({"a": {"b": ["$inputs.opt"]}}, {"a": {"b": []}}, kind="payload"),
    Case("$inputs.opt", MISSING, kind="payload"),
    Case("{$inputs.opt}", MISSING, rules=LONE),
    Case({"a": "{$inputs.opt}"}, {}, kind="payload", rules=LONE),
    # strings that are templates of a media type
    Case("$inputs.o", INPUTS["o"], kind="payload", media_type="application/json"),
    Case("{$inputs.o}", INPUTS["o"], kind="payload", media_type="application/json"),
    Case(
        '{"q": "{$inputs.i}", "n": {$inputs.i}, "t": "x-{$inputs.nasty}", "w": {$inputs.nasty}, "o": "{$inputs.o}"}',
        {"q": "7", "n": 7, "t": f"x-{INPUTS['nasty']}", "w": INPUTS["nasty"], "o": INPUTS["o"]},
        kind="payload",
        media_type="application/vnd.x+json; charset=utf-8",
        rules=LONE,
    ),
    Case('{"a": "{$inputs.opt}"}', {}, kind="payload", media_type="application/x-amz-json-1.1", rules=LONE),
    Case('{"a": 1, "b": [true, null]}', {"a": 1, "b": [True, None]}, kind="payload", media_type="application/json"),
    Case("hello {$inputs.s}", "hello text", kind="payload", media_type="application/json"),
    Case(
        '<p a="{$inputs.nasty}">{$inputs.i}</p>',
        '<p a="a&quot;b\\c&amp;&lt;d&gt;&apos;e é">7</p>',
        kind="payload",
        media_type="application/soap+xml",
    ),
    Case(
        "a={$inputs.nasty}&b={$inputs.i}",
        "a=a%22b%5Cc%26%3Cd%3E%27e%20%C3%A9&b=7",
        kind="payload",
        media_type="application/x-www-form-urlencoded",
    ),
    Case("{$inputs.nasty}!", f"{INPUTS['nasty']}!", kind="payload", media_type="text/plain"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {json.dumps(case.given)[:60]}")
def test_a_value_is_what_its_expressions_make_of_it(case: Case) -> None:
    """Types are kept where the whole string is an expression; text is escaped for where it lands."""
    known = scope()
    template = compile_value(case.given, known, kind=case.kind, media_type=case.media_type)
    got = template.evaluate(CONTEXT)
    assert got == case.want
    assert type(got) is type(case.want)
    assert {note.rule for note in known.notes} == case.rules
    assert template.constant is (not template.expressions)


@pytest.mark.parametrize("kind", ["value", "text"])
def test_what_is_missing_inside_a_text_is_an_error_that_names_it(kind: Kind) -> None:
    """Half a text would be sent as if it were whole."""
    template = compile_value("pre-{$inputs.opt}-post", scope(), kind=kind)
    with pytest.raises(EvaluationError, match="the input 'opt' is missing") as caught:
        template.evaluate(CONTEXT)
    assert caught.value.expression == "$inputs.opt"
    assert caught.value.missing == "the input 'opt'"


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        pytest.param("$inputs.opt", "$inputs.opt has no value: the input 'opt' is missing", id="expression"),
        pytest.param("{$inputs.opt}", "$inputs.opt has no value: the input 'opt' is missing", id="in braces"),
        pytest.param(
            {"context": "$inputs.o", "selector": "$.no", "type": "jsonpath"},
            "$inputs.o has no value: the selector '$.no' finds nothing in it",
            id="selector",
        ),
        pytest.param(
            {"context": "$inputs.opt", "selector": "$.no", "type": "jsonpath"},
            "$inputs.opt has no value: the input 'opt' is missing",
            id="selector in nothing",
        ),
    ],
)
def test_a_whole_body_that_is_missing(payload: Json, why: str) -> None:
    """Where the operation requires one it is an error; where it goes without, that is remarked."""
    with pytest.raises(EvaluationError, match=re.escape(why)):
        compile_value(payload, scope(), kind="payload", required=True).evaluate(CONTEXT)
    notes: Remarks = []
    assert compile_value(payload, scope(), kind="payload").evaluate(CONTEXT, notes) is MISSING
    assert notes == [("missing", f"the request goes out without a body: {why}")]


def test_a_missing_output_names_step_and_output() -> None:
    """The message leads to the step that did not give it."""
    template = compile_value("{$steps.s.outputs.r#/9/id}!", scope())
    with pytest.raises(EvaluationError, match="the output 'r#/9/id' of step 's'"):
        template.evaluate(CONTEXT)


def test_a_body_that_could_not_be_decoded_is_named() -> None:
    """The reason is the body's, not the expression's."""
    answer = Answer(200, (), MISSING, problem="declared application/json, but it is HTML")
    template = compile_value("x{$response.body#/a}", scope())
    with pytest.raises(EvaluationError, match="but it is HTML"):
        template.evaluate(Context(response=answer))


def test_a_dropped_array_element_is_remarked() -> None:
    """Dropping shifts the others, so it is said."""
    notes: Remarks = []
    compile_value({"a": ["$inputs.i", "$inputs.opt"]}, scope()).evaluate(CONTEXT, notes)
    assert notes == [("null-array-element", "array element 1 was dropped: the input 'opt' is missing")]
    with pytest.raises(EvaluationError, match="array element 1 has no value: the input 'opt' is missing"):
        compile_value({"a": ["$inputs.i", "$inputs.opt"]}, Scope(strict=True)).evaluate(CONTEXT)


def test_the_schema_decides_about_a_lone_braced_scalar() -> None:
    """Where the operation wants a number, `{$x}` alone is one; where it allows text, it is text."""
    schema = {
        "properties": {
            "n": {"type": "integer"},
            "s": {"type": ["string", "integer"]},
            "l": {"items": {"type": "boolean"}},
        }
    }
    given = {"n": "{$inputs.i}", "s": "{$inputs.i}", "l": ["{$inputs.b}"]}
    assert compile_value(given, scope(), kind="payload", schema=schema).evaluate(CONTEXT) == {
        "n": 7,
        "s": "7",
        "l": [True],
    }


def test_strict_takes_lone_braces_by_the_letter() -> None:
    """Without the dialect rule `{$x}` is text with one expression: no finding, and objects become JSON."""
    known = Scope("1.1.0", frozenset(INPUTS), strict=True)
    assert compile_value("{$inputs.a}", known).evaluate(CONTEXT) == "[1,2]"
    assert known.notes == []


def test_notes_point_into_the_value() -> None:
    """The planner turns the pointer into a place in the file."""
    known = scope()
    compile_value({"a/b": [{"x": "$inputs.nope"}]}, known, at="/payload")
    assert [(note.rule, note.pointer) for note in known.notes] == [("undeclared-input", "/payload/a~1b/0/x")]


def test_values_cannot_change_a_json_template() -> None:
    """What a value holds stays inside its string, whatever it holds."""
    text = '{"name": "{$inputs.s}", "role": "user"}'
    template = compile_value(text, scope(), kind="payload", media_type="application/json")
    evil = Context(inputs={"s": '", "role": "admin", "x": "{$inputs.i}'})
    assert template.evaluate(evil) == {"name": evil.inputs["s"], "role": "user"}


@pytest.mark.parametrize("text", ['{"a": 1{$inputs.i}}', '{"a": }', "[1,"])
def test_a_json_template_that_is_no_json_is_found_before_the_run(text: str) -> None:
    """Its structure does not depend on values, so it is checked at once."""
    known = scope()
    compile_value(text, known, kind="payload", media_type="application/json")
    assert [(note.rule, note.severity) for note in known.notes] == [("bad-payload", "error")]


def test_depth_is_bounded() -> None:
    """A value nested without end is an error, not a crash."""
    value: Json = "$inputs.i"
    for _ in range(5000):
        value = [value]
    known = scope()
    compile_value(value, known)
    assert [note.rule for note in known.notes] == ["too-deep"]


@pytest.mark.parametrize(
    ("selector", "want"),
    [
        ({"selector": "$[0].id", "type": "jsonpath"}, 5),
        ({"selector": "$[*].id", "type": "jsonpath"}, [5, 6]),
        ({"selector": "$[9].id", "type": "jsonpath"}, MISSING),
        ({"selector": "$[9:].id", "type": "jsonpath"}, []),
        (
            {
                "selector": "$[(@.length-1)].id",
                "type": {"type": "jsonpath", "version": "draft-goessner-dispatch-jsonpath-00"},
            },
            6,
        ),
        ({"selector": "/1/id", "type": "jsonpointer"}, 6),
        ({"selector": "#/1/id", "type": {"type": "jsonpointer", "version": "rfc6901"}}, 6),
    ],
)
def test_a_selector_object_selects(selector: dict[str, Json], want: Json) -> None:
    """A singular query gives its value or nothing, every other one a list (A-31)."""
    known = scope("1.1.0")
    template = compile_value({"x": {"context": "$steps.s.outputs.r", **selector}}, known)
    assert template.evaluate(CONTEXT) == ({} if want is MISSING else {"x": want})
    assert known.notes == []


@pytest.mark.parametrize(
    ("selector", "want"),
    [
        ("xs:integer(5)", 5),
        ("xs:unsignedByte(5)", 5),
        ("xs:float(1.5)", 1.5),
        ("1.5 + 1.5", 3),
        ("1 div 4", 0.25),
        ("true()", True),
        ("xs:untypedAtomic('x')", "x"),
        ("xs:anyURI('http://x')", "http://x"),
        ("xs:date('2024-01-02')", "2024-01-02"),
        ("(1, 2.5, 'x')", [1, 2.5, "x"]),
        ("map{'a': 1, 'b': (1, 2), 3: /r/p, 'c': map{'d': ()}}", {"a": 1, "b": [1, 2], "3": "1", "c": {"d": None}}),
        ("array{map{'a': [1, [2]]}}", [{"a": [1, [2]]}]),
        ('parse-json(\'{"a": [1, null, "x"]}\')', {"a": [1, None, "x"]}),
    ],
)
def test_what_xpath_gives_is_json(selector: str, want: Json) -> None:
    """Whatever type a query has, its value can be stored and sent; of maps and arrays the members."""
    value = {"context": "$response.body", "selector": selector, "type": "xpath"}
    template = compile_value(value, Scope("1.1.0"))
    got = template.evaluate(Context(response=Answer(200, (), "<r><p>1</p></r>")))
    assert got == want
    assert json.loads(msgspec.json.encode(got)) == want


def test_a_function_is_no_value() -> None:
    """XPath 3 has functions as values; nothing else does."""
    value = {"context": "$response.body", "selector": "fn:concat#2", "type": "xpath"}
    template = compile_value(value, Scope("1.1.0"))
    with pytest.raises(EvaluationError, match="a function is no value"):
        template.evaluate(Context(response=Answer(200, (), "<r/>")))


def test_a_selector_object_selects_with_xpath() -> None:
    """The context is XML text; one node is its text, several are a list."""
    context = Context(response=Answer(200, (), "<r xmlns='urn:x'><id>1</id><id>2</id><n>x</n></r>"))
    for selector, want in (("//n", "x"), ("//id", ["1", "2"]), ("count(//*)", 4), ("//none", MISSING)):
        value = {"context": "$response.body", "selector": selector, "type": "xpath"}
        assert compile_value(value, scope("1.1.0")).evaluate(context) == want


@pytest.mark.parametrize(
    ("selector", "want", "strictly"),
    [
        ("//n", "x", MISSING),
        ("string(//n)", "x", ""),
        ("count(//id)", 2, 0),
        ("number(//id[2]) + 1", 3, MISSING),
        ("count(//*:id)", 2, 2),
    ],
)
def test_a_selector_may_leave_out_the_default_namespace(selector: str, want: Json, strictly: Json) -> None:
    """A-39, dialect `xpath-default-namespace`: also where a function makes a value of nothing; not with --strict."""
    context = Context(response=Answer(200, (), "<r xmlns='urn:x'><id>1</id><id>2</id><n>x</n></r>"))
    value = {"context": "$response.body", "selector": selector, "type": "xpath"}
    assert compile_value(value, scope("1.1.0")).evaluate(context) == want
    assert compile_value(value, scope("1.1.0", strict=True)).evaluate(context) == strictly


def test_a_selector_object_in_an_older_document_is_honoured_with_a_warning() -> None:
    """A-36: a feature of 1.1 in a document that says 1.0."""
    known = scope("1.0.1")
    value = {"context": "$steps.s.outputs.r", "selector": "/0/id", "type": "jsonpointer"}
    assert compile_value(value, known).evaluate(CONTEXT) == 5
    assert [(note.rule, note.severity) for note in known.notes] == [("newer-feature", "warning")]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"context": "$inputs.a", "selector": "$[", "type": "jsonpath"}, "bad-selector"),
        ({"context": "$inputs.a", "selector": "a", "type": "jsonpointer"}, "bad-selector"),
        ({"context": "$inputs.a", "selector": "bad(", "type": "xpath"}, "bad-selector"),
        ({"context": "$nope.a", "selector": "$", "type": "jsonpath"}, "bad-expression"),
        ({"context": "$inputs.a", "selector": "$", "type": {"type": "jsonpath", "version": "x"}}, "unknown-version"),
    ],
)
def test_a_selector_that_can_never_work_is_an_error(value: dict[str, Json], rule: str) -> None:
    """It is found before the run."""
    known = scope("1.1.0")
    compile_value(value, known)
    assert [(note.rule, note.severity) for note in known.notes] == [(rule, "error")]


def test_an_object_that_only_resembles_a_selector_is_data() -> None:
    """Exactly the three members, an expression and a known type make a Selector Object."""
    value = {"context": "plain", "selector": "$.x", "type": "jsonpath"}
    assert compile_value(value, scope("1.1.0")).evaluate(CONTEXT) == value


def test_an_output_that_is_no_expression_is_reported() -> None:
    """Text in a field of type {expression} is suspicious, a broken expression is wrong."""
    for text, severity in (("done", "warning"), ("$response.boddy", "error")):
        known = scope()
        assert compile_value(text, known, kind="expression").evaluate(CONTEXT) == text
        assert [(note.rule, note.severity) for note in known.notes] == [("bad-expression", severity)]
