"""Anything may stand in a document: only our errors come out, quickly, and what parses prints back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from treadle.arazzo.criteria import compile_criterion
from treadle.arazzo.expressions import (
    Context,
    EvaluationError,
    ExpressionError,
    Scope,
    compile_value,
    parse,
)
from treadle.arazzo.jsonpath import JsonPathError, compile_query, keys_of
from treadle.seams import Answer

QUICK = settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.too_slow])

ROOTS = [
    "$url",
    "$method",
    "$statusCode",
    "$self",
    "$inputs",
    "$outputs",
    "$steps",
    "$workflows",
    "$response",
    "$request",
]
PIECES = [
    *ROOTS, "$sourceDescriptions", "$components", "$message", ".body", ".header.", ".query.", ".path.", ".outputs", ".inputs",
    ".payload", ".a", ".b.c", ".0", ".length", "[0]", "[*]", "['x y']", '["q\\"q"]', "#/a/0", "#/~0~1", "#", "/", "~2", " ", "{", "}",
    "{$", "$.", "$..", "$[?", "@.", "@", "(", ")", "==", "!=", "<", ">=", "&&", "||", "!", "'", '"', "''", "\\", "true", "null", "1", "-2.5e3",
    "word", "ä", "\U0001f600", "\ud800", "count(", "length(", "]", ",", ":", "*", "to", "//a", "\x00", "\n",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=30)
# Of texts that are put together by chance few are expressions.
HEADS = [
    "$inputs.a", "$inputs.b.c", "$outputs.a", "$steps.a.outputs.b", "$workflows.a.inputs.b", "$workflows.a.outputs.b", "$response.body",
    "$request.body", "$message.payload", "$response.header.X-Y", "$request.query.q", "$request.path.p", "$sourceDescriptions.a.url",
    "$sourceDescriptions.a.get /x.y", "$components.parameters.a", "$self", "$url",
]  # fmt: skip
TAILS = [
    "#/a/0",
    "#/~0~1",
    "#/a b/ä/",
    "#/",
    "#",
    ".a",
    ".0",
    ".length",
    "[0]",
    "[*]",
    "['x y']",
    "['it''s']",
    '["q\\"q"]',
]
EXPRESSIONS = st.builds(
    lambda head, tails: head + "".join(tails), st.sampled_from(HEADS), st.lists(st.sampled_from(TAILS), max_size=3)
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
NAMES = st.frozensets(st.sampled_from(["a", "b.c", "x y", "a.b", "0", "ä"]), max_size=4)


@st.composite
def scopes(draw: st.DrawFn) -> Scope:
    return Scope(
        draw(st.sampled_from(["1.0.1", "1.1.0"])),
        draw(NAMES),
        {name: draw(NAMES) for name in draw(NAMES)},
        {name: (draw(NAMES), draw(NAMES)) for name in draw(NAMES)},
        draw(NAMES),
        strict=draw(st.booleans()),
    )


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    body = draw(JSON)
    return Context(
        inputs=draw(st.dictionaries(st.sampled_from(["a", "b.c", "x y"]), JSON)),
        steps={"a": {"b": body}},
        outputs={"a": body},
        response=Answer(200, (("A", "b"),), body),
        message={"header": {"A": 1}, "payload": body},
    )


@QUICK
@given(EXPRESSIONS | TEXTS, scopes())
def test_what_parses_prints_back(text: str, scope: Scope) -> None:
    """parse ∘ print is the identity on everything that parses."""
    for known in (None, scope):
        try:
            expression = parse(text, known)
        except ExpressionError:
            continue
        assert parse(str(expression), known) == expression


@QUICK
@given(JSON, scopes(), contexts(), st.sampled_from(["value", "expression", "payload", "text"]), st.data())
def test_any_value_compiles_and_evaluates(
    value: Any, scope: Scope, context: Context, kind: Any, data: st.DataObject
) -> None:
    """Compiling raises nothing; evaluating raises `EvaluationError` and nothing else."""
    media_type = data.draw(
        st.sampled_from([None, "application/json", "text/xml", "application/x-www-form-urlencoded", "text/plain", "/;"])
    )
    template = compile_value(value, scope, kind=kind, media_type=media_type)
    with suppress(EvaluationError):
        template.evaluate(context, [])


@QUICK
@given(
    TEXTS,
    TEXTS | st.sampled_from(["$response.body", "$statusCode", "$inputs.a", None]),
    scopes(),
    contexts(),
    st.data(),
)
@example("$[?" * 3000, "$response.body", Scope(), Context(response=Answer(200, (), [])), None)
@example("!(" * 4000, "$response.body", Scope(), Context(response=Answer(200, (), [])), None)
@example("$..[?@..[?@..[?@..x]]]", "$response.body", Scope(), Context(response=Answer(200, (), [[[{"x": 1}]]])), None)
def test_any_condition_compiles_and_judges(
    condition: str, subject: str | None, scope: Scope, context: Context, data: st.DataObject | None
) -> None:
    """Neither compiling nor judging raises; what cannot be judged has a problem and has not passed."""
    for kind in ("simple", "regex", "jsonpath", "nonsense"):
        version = data.draw(st.sampled_from([None, "rfc9535", "draft-goessner-dispatch-jsonpath-00"])) if data else None
        known = Scope(scope.version, scope.inputs, scope.steps, scope.workflows, scope.sources, strict=scope.strict)
        criterion = compile_criterion(condition, known, type=kind, version=version, context=subject)
        verdict = criterion.judge(context)
        assert not (verdict.passed and verdict.problem)
        assert verdict.condition == condition
        broken = any(note.rule == "bad-condition" for note in known.notes)
        assert not broken or verdict.problem


@settings(QUICK, max_examples=40)
@given(TEXTS, st.sampled_from(["xpath-10", "xpath-20", "xpath-30", "xpath-31"]), JSON)
def test_any_xpath_compiles_and_judges(condition: str, version: str, body: Any) -> None:
    """The same for XPath, over anything that an answer may hold."""
    for document in (body, "<a b='1'>x<c/></a>"):
        known = Scope()
        criterion = compile_criterion(condition, known, type="xpath", version=version, context="$response.body")
        verdict = criterion.judge(Context(response=Answer(200, (), document)))
        assert not (verdict.passed and verdict.problem)


KEYS = st.lists(st.sampled_from([".a", "['a']", '["b c"]', "[0]", "[-1]", ".ä", "[ 1 ]", " .a", ".a_1"]), max_size=4)


@QUICK
@given(KEYS.map(lambda keys: "$" + "".join(keys)), JSON)
def test_the_fast_path_agrees_with_the_library(text: str, value: Any) -> None:
    """Plain singular queries do not go to the library; they must select what it selects."""
    import jsonpath_rfc9535  # here, as the engine itself only imports it when it must

    assert keys_of(text) is not None
    expected = jsonpath_rfc9535.find(text, value).values()
    assert repr(compile_query(text).find(value)) == repr(expected)


@QUICK
@given(TEXTS)
def test_any_query_compiles_or_is_refused(text: str) -> None:
    """Nothing but `JsonPathError` comes out."""
    with suppress(JsonPathError):
        compile_query(text).find([{"a": [1, {"b": None}]}])
