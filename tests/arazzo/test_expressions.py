"""Runtime expressions: what parses, what prints back, what a context makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from treadle.arazzo.expressions import Context, ExpressionError, Scope, compile_expression, parse
from treadle.seams import MISSING, Answer, Json, Request

CONTEXT = Context(
    inputs={
        "plain": 7,
        "a.b": "dotted name",
        "o": {"k": [1, {"z": "deep"}], "length": "own", "0": "zero"},
        "list": [{"id": 1}, {"id": 2}, {}],
        "null": None,
        "artistId[]": "brackets",
        "text": "äbc",
    },
    steps={
        "s": {"x": 5, "y.z": "dotted output", "items": [10, 20]},
        "Get Article_0": {"Get ArticleResponse": "spaces"},
        "a.b": {"c": 1},
    },
    workflows={"w": {"inputs": {"token": "in"}, "outputs": {"token": "out"}}},
    outputs={"r": {"deep": True}},
    sources={"api": {"url": "https://api.test/openapi.yml", "type": "openapi"}},
    components={"parameters": {"page": {"name": "page", "value": 1}}},
    self_uri="https://docs.test/flow",
    request=Request("post", "https://api.test/pets?q=a%20b&q=c&e=", (("X-Trace", "t1"),)),
    request_body={"name": "Ada"},
    path_parameters={"id": 42},
    response=Answer(
        201,
        (("Content-Type", "application/json"), ("X-Many", "1"), ("x-many", "2")),
        {"a": {"b/c": [0, 1], "m~n": "tilde", "": "empty"}, "items": [{"n": 1}, {"n": 2}], "nul": None},
        url="https://api.test/pets/42",
    ),
    message={"header": {"Correlation-Id": "c1"}, "payload": {"order": {"id": 9}}},
)
SCOPE = Scope(
    version="1.0.1",
    inputs=frozenset(CONTEXT.inputs),
    steps={name: frozenset(outputs) for name, outputs in CONTEXT.steps.items()},
    workflows={"w": (frozenset({"token"}), frozenset({"token"}))},
    sources=frozenset({"api"}),
    components=CONTEXT.components,
)


@dataclass(frozen=True)
class Case:
    text: str
    want: Json
    rules: set[str] = field(default_factory=set)


NAVIGATED = {"dotted-navigation"}
CASES = [
    Case("$url", "https://api.test/pets/42"),
    Case("$method", "POST"),
    Case("$statusCode", 201),
    Case("$self", "https://docs.test/flow"),
    Case("$inputs.plain", 7),
    Case("$inputs.a.b", "dotted name"),
    Case("$inputs.null", None),
    Case("$inputs.artistId[]", "brackets"),
    Case("$inputs.o#/k/1/z", "deep"),
    Case("$inputs.o.k[1].z", "deep", NAVIGATED),
    Case("$inputs.o.k.0", 1, NAVIGATED),
    Case("$inputs.o['k'][0]", 1, NAVIGATED),
    Case("$inputs.o.k[1]#/z", "deep", NAVIGATED),
    Case("$inputs.o.0", "zero", NAVIGATED),
    Case("$inputs.o.length", "own", NAVIGATED),
    Case("$inputs.list.length", 3, NAVIGATED),
    Case("$inputs.list#/length", 3),
    Case("$inputs.text.length", 3, NAVIGATED),
    Case("$inputs.list[*].id", [1, 2], NAVIGATED),
    Case("$inputs.list[5]", MISSING, NAVIGATED),
    Case("$inputs.plain.x", MISSING, NAVIGATED),
    Case("$inputs.nope", MISSING, {"undeclared-input"}),
    Case("$inputs", CONTEXT.inputs, {"whole-object"}),
    Case("$inputs#/plain", 7, {"whole-object"}),
    Case("$outputs.r.deep", True, NAVIGATED),
    Case("$steps.s.outputs.x", 5),
    Case("$steps.s.outputs.y.z", "dotted output"),
    Case("$steps.s.outputs.items[1]", 20, NAVIGATED),
    Case("$steps.s.outputs#/x", 5, {"whole-object"}),
    Case("$steps.s.x", 5, {"implied-outputs"}),
    Case("$steps.a.b.outputs.c", 1),
    Case("$steps.Get Article_0.outputs.Get ArticleResponse", "spaces"),
    Case("$steps.s.outputs.other", MISSING, {"unknown-output"}),
    Case("$steps.t.outputs.x", MISSING, {"unknown-step"}),
    Case("$workflows.w.inputs.token", "in"),
    Case("$workflows.w.outputs.token", "out"),
    Case("$workflows.v.outputs.token", MISSING, {"unknown-workflow"}),
    Case("$sourceDescriptions.api.url", "https://api.test/openapi.yml"),
    Case("$sourceDescriptions.apo.url", MISSING, {"unknown-source"}),
    Case("$components.parameters.page", {"name": "page", "value": 1}),
    Case("$components.parameters.page.value", MISSING, {"unknown-component"}),
    Case("$components.parameters.size", MISSING, {"unknown-component"}),
    Case("$components.inputs.page", MISSING, {"unknown-component"}),
    Case("$request.header.x-trace", "t1"),
    Case("$request.query.q", "a b"),
    Case("$request.query.e", ""),
    Case("$request.query.none", MISSING),
    Case("$request.path.id", 42),
    Case("$request.body#/name", "Ada"),
    Case("$response.header.content-type", "application/json"),
    Case("$response.header.X-MANY", "1, 2"),
    Case("$response.header.None", MISSING),
    Case("$response.headers.Content-Type", "application/json", {"plural-headers"}),
    Case("$response.body#/a/b~1c/1", 1),
    Case("$response.body#/a/m~0n", "tilde"),
    Case("$response.body#/a/", "empty"),
    Case("$response.body#/nul", None),
    Case("$response.body#/items/01", MISSING),
    Case("$response.body#/items/-", MISSING),
    Case("$response.body#", CONTEXT.response.body if CONTEXT.response else None),
    Case("$response.body.items[0].n", 1, NAVIGATED),
    Case("$message.header.correlation-id", "c1"),
    Case("$message.payload#/order/id", 9),
    Case("$message.payload.order.id", 9, NAVIGATED),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text)
def test_an_expression_has_its_value(case: Case) -> None:
    """Each form of §1.13.1, and each dialect form with its rule, gives the value that it names."""
    scope = SCOPE.quiet()
    expression = compile_expression(case.text, scope)
    assert expression.evaluate(CONTEXT) == case.want
    assert {note.rule for note in scope.notes} == case.rules
    assert parse(str(expression), SCOPE) == expression


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("$components.parameters.page.value", "'$components.parameters.page' is the whole component; no expression leads into it"),
        ("$components.parameters.pgae", "did you mean 'page'?"),
        ("$components.parameters.other", "known: 'page'"),
        ("$components.successActions.page", ""),
    ],
)  # fmt: skip
def test_a_component_that_is_not_there(text: str, hint: str) -> None:
    """The finding says what there is."""
    scope = SCOPE.quiet()
    compile_expression(text, scope)
    assert [(note.rule, note.severity, note.hint) for note in scope.notes] == [("unknown-component", "warning", hint)]


def test_true_and_one_are_told_apart() -> None:
    """The table above compares with ==; this one value must really be a boolean."""
    assert parse("$outputs.r.deep").evaluate(CONTEXT) is True


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not begin with '$'"),
        ("inputs.x", "does not begin with '$'"),
        ("$", "there is no '$'"),
        ("$input.x", "did you mean 'inputs'?"),
        ("$inputs.", "a name must follow"),
        ("$response", "must follow"),
        ("$response.boddy", "there is no part 'boddy'"),
        ("$response.query.x", "there is no part 'query'"),
        ("$response.header.", "a name must follow"),
        ("$response.header.a b", "a header's name must follow"),
        ("$response.body#x", "begins with '/'"),
        ("$response.body#/a~2", "'~0'"),
        ("$response.body x", "cannot follow"),
        ("$response.body[", "cannot follow"),
        ("$steps.a", "$steps.<stepId>.outputs.<name>"),
        ("$steps.outputs.x", "$steps.<stepId>.outputs.<name>"),
        ("$workflows.w.steps.s", "$workflows.<workflowId>"),
        ("$sourceDescriptions.a", "$sourceDescriptions.<name>.<reference>"),
        ("$components.x", "$components.<part>.<key>"),
        ("$statusCodes", "did you mean 'statusCode'?"),
        ("$inputs." + "x" * 20_000, "longer than"),
    ],
)
def test_what_is_no_expression_is_refused(text: str, says: str) -> None:
    """The refusal says what is wrong and where, or what was probably meant."""
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert says in f"{caught.value.message} {caught.value.hint}"
    assert 0 <= caught.value.position <= len(text)


def test_undeclared_names_with_dots_are_found_in_the_run() -> None:
    """`$inputs.c.d` is the input "c.d" where nobody declared anything, but somebody gave it."""
    assert parse("$inputs.c.d").evaluate(Context(inputs={"c.d": 1})) == 1
    assert parse("$inputs.c.d").evaluate(Context(inputs={"c": {"d": 2}})) == 2


def test_a_declared_name_with_dots_is_not_navigated() -> None:
    """The longest declared name wins, even when the run has no value for it."""
    scope = Scope(inputs=frozenset({"a", "a.b"}))
    assert parse("$inputs.a.b", scope).evaluate(Context(inputs={"a": {"b": 1}})) is MISSING
    assert parse("$inputs.a.c", scope).evaluate(Context(inputs={"a": {"c": 1}})) == 1


def test_a_note_suggests_the_likely_name() -> None:
    """Case and spelling are the usual mistakes."""
    scope = Scope(inputs=frozenset({"petStore"}), steps={"pollJob": frozenset({"status"})})
    compile_expression("$inputs.petstore", scope)
    compile_expression("$steps.pollJobs.outputs.status", scope)
    assert [(note.severity, note.hint) for note in scope.notes] == [
        ("warning", "did you mean 'petStore'?"),
        ("error", "did you mean 'pollJob'?"),
    ]


def test_strict_makes_dialect_rules_errors() -> None:
    """`strict` turns every rule off, `off` one of them; the message stays the same."""
    for scope in (Scope(strict=True), Scope(off=frozenset({"dotted-navigation"}))):
        compile_expression("$response.body.a", scope)
        assert [(note.rule, note.severity) for note in scope.notes] == [("dotted-navigation", "error")]


def test_nothing_is_known_before_the_first_answer() -> None:
    """Without request and response their expressions are missing, not errors."""
    for text in ("$url", "$method", "$statusCode", "$self", "$response.body", "$response.header.a", "$request.query.a"):
        assert parse(text).evaluate(Context()) is MISSING
