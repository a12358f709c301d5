"""Criteria: which conditions pass, why, and what is said about those that cannot be judged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec
import pytest

from treadle.arazzo.criteria import Criterion, Verdict, compile_criterion
from treadle.arazzo.expressions import Context, Scope
from treadle.arazzo.rules import dialect
from treadle.seams import MISSING, Answer, Json

BODY: dict[str, Json] = {
    "Name": "Available",
    "nested": {"deep": {"v": 7}},
    "items": [1, 2, 3],
    "numstr": "42",
    "zero": 0,
    "nul": None,
    "flag": False,
    "ok": True,
    "empty": [],
    "data": [{"id": "x", "n": 1}, {"id": "y", "n": 20}],
    "access-token": "t",
}
CONTEXT = Context(
    inputs={
        "x": "available",
        "n": 3,
        "quote": 'it\'s "q" \\',
        "pattern": "2..",
        "obj": {"a": 1},
        "id": "y",
        "f": "Name",
    },
    steps={"prev": {"items": [1, 2, 3], "name": "AVAILABLE"}},
    response=Answer(200, (("Content-Type", "application/json"),), BODY),
)
BROKEN_BODY = "declared application/json, but it is HTML"


def scope(**changes: object) -> Scope:
    known = Scope("1.0.1", frozenset({*CONTEXT.inputs, "opt"}), {"prev": frozenset({"items", "name"})})
    return replace(known, notes=[], **changes)  # type: ignore[arg-type]


def judge(condition: str, kind: str = "simple", context: str | None = "$response.body", **changes: object) -> Verdict:
    known = scope(**changes)
    criterion = compile_criterion(condition, known, type=kind, context=None if kind == "simple" else context)
    assert isinstance(criterion, Criterion)
    assert [note.message for note in known.notes if note.severity == "error"] == []
    verdict = criterion.judge(CONTEXT)
    assert verdict.condition == condition
    assert not (verdict.problem and verdict.passed)
    assert verdict.reasons or verdict.problem
    return verdict


@dataclass(frozen=True)
class Case:
    condition: str
    passes: bool
    rules: set[str] = field(default_factory=set)


DOUBLE, WORD, BRACED = {"double-quoted-string"}, {"bare-word"}, {"braced-operand"}
FOREIGN = {"foreign-constant"}
SIMPLE = [
    # The reference's table, §2 (f), column "Spec"
    Case("$response.body#/Name == 'available'", passes=True),
    Case("$response.body.Name == 'Available'", passes=True),
    Case('$response.body#/Name == "Available"', passes=True, rules=DOUBLE),
    Case("$response.body#/Name == Available", passes=True, rules=WORD),
    Case("$response.body#/flag == False", passes=True, rules=FOREIGN),
    Case("$response.body#/nul == None", passes=True, rules=FOREIGN),
    Case("$response.body#/missing != undefined", passes=False, rules=FOREIGN),
    Case("$response.body#/Name != nil && TRUE", passes=True, rules=FOREIGN),
    Case("$response.body.items[0] == 1", passes=True),
    Case("$response.body#/items/0 == 1", passes=True),
    Case("$response.body#/numstr == 42", passes=True),
    Case("$statusCode == '200'", passes=True),
    Case("($statusCode == 200 || $statusCode == 1) && $response.body#/ok", passes=True),
    Case("!($statusCode == 404)", passes=True),
    Case("!$response.body#/flag", passes=True),
    Case("$response.body#/nul == null", passes=True),
    Case("$response.body#/missing == null", passes=True),
    Case("$response.body#/nul != null", passes=False),
    Case("$response.body#/missing != null", passes=False),
    Case("$response.body#/Name != null", passes=True),
    Case("$response.body#/zero", passes=False),
    Case("$response.body#/empty", passes=True),
    Case("$response.body#/missing", passes=False),
    Case("$response.body#/flag == false", passes=True),
    Case("'it''s' == 'it''s'", passes=True),
    Case("{$statusCode} == 200", passes=True, rules=BRACED),
    Case("$response.header.content-type == 'application/json'", passes=True),
    Case("$statusCode==200", passes=True),
    Case("$response.body#/Name == $inputs.x", passes=True),
    # comparisons
    Case("200 <= $statusCode && $statusCode < 300", passes=True),
    Case("$response.body#/missing < 1", passes=False),
    Case("$response.body#/missing >= 0", passes=False),
    Case("$response.body#/nul <= null", passes=False),
    Case("$response.body#/numstr > 5", passes=True),
    Case("'b' > 'A'", passes=True),
    Case("$response.body#/zero < .5 && -.5e1 < $response.body#/zero", passes=True, rules=FOREIGN),
    Case(".5 == 0.5", passes=True, rules=FOREIGN),
    Case("$response.body#/Name == .5.1", passes=False, rules=WORD),
    Case("'a' < 1", passes=False),
    Case("$response.body#/ok == 'true'", passes=False),
    Case("$response.body#/ok == 1", passes=False),
    Case("$response.body#/zero == false", passes=False),
    Case("$response.body#/items == $steps.prev.outputs.items", passes=True),
    Case("$response.body#/nested.deep == null", passes=True),
    Case("$response.body.nested.deep.v == 7", passes=True),
    Case("$response.body.items.length == 3", passes=True),
    Case("$response.body && $response.body#/items/length > 0", passes=True),
    Case("$steps.prev.outputs.name == 'available'", passes=True),
    Case("$response.body#/zero == -0 && -1.5e1 == -15", passes=True),
    Case("'1_0' == 10", passes=False),
    Case("'v{$inputs.n}' == 'v3'", passes=True, rules=BRACED),
    Case("true", passes=True),
    Case("false || null", passes=False),
    # precedence
    Case("true || false && false", passes=True),
    Case("(true || false) && false", passes=False),
    Case("!false && true", passes=True),
    Case("!!true", passes=True),
    Case("!(true && false) || false", passes=True),
    Case("$response.body#/Name != 'x' && $response.body#/Name != 'y'", passes=True),
]


@pytest.mark.parametrize("case", SIMPLE, ids=lambda case: case.condition)
def test_a_simple_condition_has_its_verdict(case: Case) -> None:
    """The specification's verdicts; what bends it is listed with its rule."""
    verdict = judge(case.condition)
    assert verdict.passed is case.passes
    assert set(verdict.rules) == case.rules
    assert verdict.problem == ""


def test_a_step_with_spaces_in_its_name_can_be_an_operand() -> None:
    """1.0.x allows any name; only the declarations tell where it ends."""
    known = Scope("1.0.1", steps={"Get Article_0": frozenset({"Article Count"})})
    criterion = compile_criterion("$steps.Get Article_0.outputs.Article Count == 3", known)
    assert criterion.judge(Context(steps={"Get Article_0": {"Article Count": 3}})).passed
    assert known.notes == []


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("", "ends where an operand should stand"),
        ("==", "'==' cannot stand here"),
        ("$statusCode ==", "ends where an operand should stand"),
        ("$statusCode = 200", "write '==' to compare"),
        ("$statusCode=200", "write '==' to compare"),
        ("$statusCode === 200", "write '=='"),
        ("$statusCode == 200 and $statusCode == 201", "write '&&'"),
        ("$statusCode == 200 & true", "write '&&'"),
        ("1 == 1 == 1", "do not chain"),
        ("!$statusCode == 200", "binds tighter"),
        ("(true && true) == true", "cannot be compared"),
        ("status == 'x'", "neither an expression nor a value"),
        ("(true", "not closed"),
        ("true)", "no partner"),
        ("length($response.body#/items) > 1", "write .length behind the value"),
        ("exists($response.body#/id)", "write '!= null' behind the value"),
        ("starts_with($response.body#/id, 'a')", "needs a criterion of type regex"),
        ("$response.body.items.length() > 1", "a length is .length"),
        ("$response.body#/id exists", "or '!= null'"),
        ("$statusCode == [200, 201]", "joined with '||'"),
        ("$response.body#/items != []", "the number of elements is .length"),
        ("$response.body#/n > $inputs.n * 2", "conditions do not calculate"),
        ("$response.body#/message == Order not found", "write 'Order not found'"),
        ("$response.body#/at < now()", "no functions"),
        ("'open", "not closed"),
        ("$nope.x == 1", "there is no '$nope'"),
        ("$response.boddy == 1", "there is no part 'boddy'"),
        ("{$statusCode == 200", "is no runtime expression"),
        ("(" * 200 + "true" + ")" * 200, "nested more than"),
        ("!" * 200 + "true", "nested more than"),
        ("true || " * 5000 + "true", "longer than"),
    ],
)
def test_a_simple_condition_that_can_never_work_is_an_error(condition: str, says: str) -> None:
    """It is noted while compiling, and in a run it fails with the same problem: it is never silent."""
    known = scope()
    criterion = compile_criterion(condition, known)
    errors = [note for note in known.notes if note.severity == "error"]
    assert [note.rule for note in errors] == ["bad-condition"]
    assert says in f"{errors[0].message} {errors[0].hint}"
    verdict = criterion.judge(CONTEXT)
    assert not verdict.passed
    assert verdict.problem


def test_reasons_show_operands_and_what_was_left_out() -> None:
    """A reader sees the values, what made the comparison true, and what was not looked at."""
    assert judge("$response.body#/Name == 'AVAILABLE' || $statusCode == 500").reasons == (
        '$response.body#/Name == \'AVAILABLE\': "Available" == "AVAILABLE" is true (only because case is ignored)',
        "$statusCode == 500: not looked at, since what stands before '||' is true",
    )
    assert judge("$statusCode > 200 && true").reasons == (
        "$statusCode > 200: 200 > 200 is false",
        "true: not looked at, since what stands before '&&' is false",
    )
    assert judge("$response.body#/missing == 1").reasons == (
        "$response.body#/missing == 1: missing == 1 is false (what is missing equals only null)",
    )
    assert "a numeric string is a number" in judge("$response.body#/numstr == 42").reasons[0]
    assert judge("$response.body#/items == 1").reasons[0].endswith("an array of 3 == 1 is false")


# ---------------------------------------------------------------------------------------------------------------------
# regex
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "context", "passes"),
    [
        ("^200$", "$statusCode", True),
        ("^0$", "$response.body#/zero", True),
        ("vail", "$response.body#/Name", True),
        ("VAIL", "$response.body#/Name", False),
        ("(?i)VAIL", "$response.body#/Name", True),
        ("^false$", "$response.body#/flag", True),
        (r"\[1,2,3\]", "$response.body#/items", True),
        (".*", "$response.body#/nul", False),
        (".*", "$response.body#/missing", False),
        ("^({$inputs.pattern})$", "$statusCode", True),
        (r"a{2}", "$response.body#/Name", False),
    ],
)
def test_a_pattern_is_searched(pattern: str, context: str, passes: bool) -> None:
    """Search semantics; numbers are text; missing and null fail; values are parts of the pattern."""
    verdict = judge(pattern, "regex", context)
    assert verdict.passed is passes
    assert not verdict.problem


def test_a_pattern_in_slashes_is_unwrapped() -> None:
    """By the letter it could never match, so the dialect rule cannot change a condition that means something."""
    verdict = judge("/^AVAILABLE$/i", "regex", "$response.body#/Name")
    assert verdict.passed
    assert verdict.rules == ("slashed-pattern",)
    known = scope(strict=True)
    criterion = compile_criterion("/^2/", known, type="regex", context="$statusCode")
    assert [(note.rule, note.severity) for note in known.notes] == [("slashed-pattern", "error")]
    assert not criterion.judge(CONTEXT).passed


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(?=a)b", "look-around, '(?='"),
        ("(?<!a)b", "look-around, '(?<!'"),
        (r"(a)\1", r"back references, '\1'"),
        ("(?>a)", "atomic groups"),
        ("a++", "possessive"),
        ("a{5000}", "repetitions beyond 1000"),
        ("(", "the pattern is wrong"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_pattern_that_re2_lacks_is_refused_by_name(pattern: str, says: str) -> None:
    """The engine has linear time; what that costs is said before the run."""
    known = scope()
    criterion = compile_criterion(pattern, known, type="regex", context="$statusCode")
    assert [note.rule for note in known.notes] == ["bad-condition"]
    assert says in known.notes[0].message
    assert criterion.judge(CONTEXT).problem


def test_a_hostile_pattern_takes_no_time() -> None:
    """`(a+)+$` would hang an engine that backtracks."""
    context = Context(response=Answer(200, (), "a" * 50_000 + "!"))
    known = scope()
    assert not compile_criterion("^(a+)+$", known, type="regex", context="$response.body").judge(context).passed


# ---------------------------------------------------------------------------------------------------------------------
# jsonpath
# ---------------------------------------------------------------------------------------------------------------------

COMPARED = {"jsonpath-comparison"}
JSONPATH = [
    # RFC 9535: a node list that is not empty passes, whatever the values are
    Case("$.Name", passes=True),
    Case("$.flag", passes=True),
    Case("$.nul", passes=True),
    Case("$.zero", passes=True),
    Case("$.missing", passes=False),
    Case("$.empty[*]", passes=False),
    Case("$.data[?@.n > 10]", passes=True),
    Case("$.data[?(@.id == 'y')]", passes=True),
    Case("$.data[?@.id == 'Y']", passes=False),
    Case("$..v", passes=True),
    Case("$.data[?match(@.id, '[xz]')]", passes=True),
    Case("$.length", passes=False),
    # the families of the 310 real ones, §2 (a)
    Case("$.ok == true", passes=True, rules=COMPARED),
    Case("$.flag == false", passes=True, rules=COMPARED),
    Case("$.ok != true", passes=False, rules=COMPARED),
    Case("$.items.length > 2", passes=True, rules=COMPARED),
    Case("$.items.length == 3", passes=True, rules=COMPARED),
    Case("$.empty.length == 0", passes=True, rules=COMPARED),
    Case("$.missing.length == 0", passes=True, rules=COMPARED),
    Case("$.missing.length > 0", passes=False, rules=COMPARED),
    Case('$.Name == "Available"', passes=True, rules=COMPARED),
    Case("$.Name == 'Available'", passes=True, rules=COMPARED),
    Case('$.Name == "available"', passes=False, rules=COMPARED),
    Case('$.Name != "Creating"', passes=True, rules=COMPARED),
    Case('$.Name == "a" || $.Name == "b" || $.Name == "Available"', passes=True, rules=COMPARED),
    Case('$.Name != "Completed" && $.Name != "InProgress"', passes=True, rules=COMPARED),
    Case("$.nul == null", passes=True, rules=COMPARED),
    Case("$.missing == null", passes=True, rules=COMPARED),
    Case("$.Name != null", passes=True, rules=COMPARED),
    Case("$.missing != null", passes=False, rules=COMPARED),
    Case("$.Name == $inputs.x", passes=False, rules=COMPARED),
    Case("$.items.length == $inputs.n", passes=True, rules=COMPARED),
    Case("$.data[?(@.id == '$inputs.id')].length == 1", passes=True, rules=COMPARED | {"unbraced-interpolation"}),
    Case("$.data[?(@.id == '$inputs.f')].length == 0", passes=True, rules=COMPARED | {"unbraced-interpolation"}),
    # the rest of the rule
    Case("$.numstr == 42", passes=False, rules=COMPARED),
    Case("$.items.length >= 3 && !($.flag == true)", passes=True, rules=COMPARED),
    Case("$.ok && $.missing", passes=False, rules=COMPARED),
    Case("!$.missing", passes=True, rules=COMPARED),
    Case("$.flag && $.zero", passes=True, rules=COMPARED),
    Case("$.Name.length == 9", passes=True, rules=COMPARED),
    Case("$.nested.length == 1", passes=True, rules=COMPARED),
    Case("$.zero.length == 0", passes=False, rules=COMPARED),
    Case("$.nul.length == 0", passes=True, rules=COMPARED),
    Case("$.items.length() == 3", passes=True, rules=COMPARED),
    Case("length($.items) == 3 && count($.data) == 2", passes=True, rules=COMPARED),
    Case("count($.data[*]) == 2", passes=True, rules=COMPARED),
    Case("$.data[0].id == 'x'", passes=True, rules=COMPARED),
    Case("$['Name'] == \"Available\"", passes=True, rules=COMPARED),
    Case("$.access-token == 't'", passes=True, rules=COMPARED),
    Case("$.data[-1:].id == 'y'", passes=True, rules=COMPARED),
    Case("$.data[0].n < $.data[1].n", passes=True, rules=COMPARED),
    Case("$.missing < 1", passes=False, rules=COMPARED),
    Case("$.items == $steps.prev.outputs.items", passes=True, rules=COMPARED),
    Case("$statusCode == 200 && $.ok == true", passes=True, rules=COMPARED),
    Case("$.Name == $response.body#/Name", passes=True, rules=COMPARED),
    Case("$.Name == Available", passes=True, rules=COMPARED | {"bare-word"}),
    Case("$.flag == False", passes=True, rules=COMPARED | FOREIGN),
    Case("'a\\u0062\\'' == 'ab\\''", passes=True, rules=COMPARED),
    # substitution comes first
    Case("$.data[?@.id == '{$inputs.id}']", passes=True),
    Case('$.data[?@.id == "{$inputs.id}"]', passes=True),
    Case("$.data[?@.id == {$inputs.id}]", passes=True),
    Case("$.data[?@.id == $inputs.id]", passes=True, rules={"unbraced-interpolation"}),
    Case("$.items[?@ == {$inputs.n}]", passes=True),
    Case("$.{$inputs.f}", passes=True),
    Case("$['{$inputs.f}']", passes=True),
    Case("$.items.length == {$inputs.n}", passes=True, rules=COMPARED),
    Case("$.Name == '{$inputs.x}'", passes=False, rules=COMPARED),
    Case("$.data[?@.id == '{$inputs.quote}']", passes=False),
    # the specification's own example
    Case("$[?count(@.data) > 0]", passes=True, rules={"root-filter-on-object"}),
    Case("$[?count(@.data) == 2]", passes=True, rules={"root-filter-on-object"}),
    Case("$[?@.Name == 'Available']", passes=True, rules={"root-filter-on-object"}),
    Case("$[?@.Name == 'x']", passes=False),
    Case("$[?@.n == 1]", passes=False),
]


@pytest.mark.parametrize("case", JSONPATH, ids=lambda case: case.condition)
def test_a_jsonpath_condition_has_its_verdict(case: Case) -> None:
    """Substitution, then RFC 9535, then the dialect; each verdict lists the rules that it took."""
    verdict = judge(case.condition, "jsonpath")
    assert verdict.problem == ""
    assert verdict.passed is case.passes
    assert set(verdict.rules) == case.rules


def test_the_poll_of_the_seed_is_judged_as_meant() -> None:
    """Exactly one of the two guards holds, whatever the status."""
    known = scope()
    still, terminal = (
        compile_criterion(f'$.TrainingJobStatus {sign} "InProgress"', known, type="jsonpath", context="$response.body")
        for sign in ("==", "!=")
    )
    for status in ("InProgress", "Completed", "Failed", "Stopped"):
        context = Context(response=Answer(200, (), {"TrainingJobStatus": status}))
        assert still.judge(context).passed is (status == "InProgress")
        assert terminal.judge(context).passed is (status != "InProgress")
    assert {(note.rule, note.severity) for note in known.notes} == {("jsonpath-comparison", "warning")}
    assert known.notes[0].hint.endswith("$response.body#/TrainingJobStatus == 'InProgress'")


def test_strict_refuses_comparisons_before_the_run() -> None:
    """The notes are errors; nothing is sent."""
    known = scope(strict=True)
    compile_criterion('$.a == "b"', known, type="jsonpath", context="$response.body")
    assert [(note.rule, note.severity) for note in known.notes] == [("jsonpath-comparison", "error")]


def test_strict_leaves_the_root_filter_to_the_rfc() -> None:
    """The rule shows only in a run; switched off, it is not applied."""
    assert not judge("$[?count(@.data) > 0]", "jsonpath", off=frozenset({"root-filter-on-object"})).passed


def test_quotes_in_values_stay_in_their_literal() -> None:
    """A value is data: it cannot end the string that it stands in."""
    body = {"a": [{"id": CONTEXT.inputs["quote"]}], "b": "x"}
    context = msgspec.structs.replace(
        CONTEXT, inputs={**CONTEXT.inputs, "evil": "x' || true || 'x"}, response=Answer(200, (), body)
    )
    known = scope(inputs=frozenset({"quote", "evil"}))
    for quote in "'\"":
        condition = f"$.a[?@.id == {quote}{{$inputs.quote}}{quote}]"
        assert compile_criterion(condition, known, type="jsonpath", context="$response.body").judge(context).passed
        condition = f"$.b == {quote}{{$inputs.evil}}{quote}"
        assert not compile_criterion(condition, known, type="jsonpath", context="$response.body").judge(context).passed


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("data.name", "did you mean $.data.name?"),
        ("state == 'x'", "did you mean $.state?"),
        ("@.state == 'x'", "did you mean $.state?"),
        ("$.state exists", "a query alone passes"),
        ("not($.state)", "write '!' before the query"),
        ("$.state in ['a', 'b']", "compare with each"),
        ("$[?(@.a =~ /b/)]", "$[?search(@.name, 'a')]"),
        ("$.items[(@.length-1)]", "the last element is [-1]"),
        ("$[?(@.a === 1)]", "write '=='"),
        ("$.items.size() > 0", "length(@.items)"),
    ],
)
def test_what_other_languages_have_is_answered_with_what_jsonpath_has(condition: str, says: str) -> None:
    """An error all the same."""
    known = scope()
    compile_criterion(condition, known, type="jsonpath", context="$response.body")
    assert [note.severity for note in known.notes] == ["error"]
    assert says in known.notes[0].hint


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("$.items[*] == 1", "selects 3 nodes"),
        ("$.Name == '{$inputs.opt}'", "the input 'opt' is missing"),
        ("$.Name == {$inputs.obj}", "no literal"),
        ("$.{$inputs.quote}", "no name or index"),
    ],
)
def test_what_cannot_be_judged_is_a_problem(condition: str, says: str) -> None:
    """Not a silent false."""
    verdict = judge(condition, "jsonpath")
    assert not verdict.passed
    assert says in verdict.problem


@pytest.mark.parametrize("kind", ["simple", "regex", "jsonpath", "xpath"])
def test_a_body_that_is_not_what_it_says_is_a_problem(kind: str) -> None:
    """HTML where JSON was promised: `!=` must not pass on it, nor may the poll fall through."""
    conditions = {"simple": "$response.body#/a != 1", "regex": "a", "jsonpath": '$.a != "x"', "xpath": "//a"}
    context = Context(response=Answer(200, (), MISSING, problem=BROKEN_BODY))
    criterion = compile_criterion(conditions[kind], scope(), type=kind, context="$response.body")
    verdict = criterion.judge(context)
    assert not verdict.passed
    assert BROKEN_BODY in verdict.problem


@pytest.mark.parametrize("kind", ["regex", "jsonpath", "xpath"])
@pytest.mark.parametrize("body", [MISSING, None])
def test_a_missing_or_null_context_fails(kind: str, body: Json) -> None:
    """§1.9: it MUST evaluate to fail; `$.x == null` is no exception."""
    condition = {"regex": ".*", "jsonpath": "$.x == null", "xpath": "true()"}[kind]
    criterion = compile_criterion(condition, scope(), type=kind, context="$response.body")
    verdict = criterion.judge(Context(response=Answer(204, (), body)))
    assert not verdict.passed
    assert verdict.problem == ""


def test_a_context_without_members_is_a_problem() -> None:
    """`$.status != "InProgress"` on a text answer would end a poll as if it were done."""
    context = Context(response=Answer(200, (), "Service Unavailable"))
    verdict = compile_criterion('$.status != "x"', scope(), type="jsonpath", context="$response.body").judge(context)
    assert not verdict.passed
    assert "not an object or an array" in verdict.problem


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ('$.status != "x"', True),
        ("!($.status == 'x')", True),
        ("$['status'] != 'x'", True),
        ("$.length == 0", False),
        ("$[0].status != 'x'", False),
        ("$.status", False),
    ],
)
def test_an_array_has_no_members_with_names(condition: str, problem: bool) -> None:
    """The same poll on `[]`. Elements, the length, and queries as RFC 9535 knows them, are as ever."""
    context = Context(response=Answer(200, (), []))
    verdict = compile_criterion(condition, scope(), type="jsonpath", context="$response.body").judge(context)
    assert ("is an array" in verdict.problem) is problem
    assert verdict.passed is (condition in {"$.length == 0", "$[0].status != 'x'"})


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("", "no JSONPath query"),
        ("hello", "no JSONPath query"),
        ("$.items[", "no JSONPath query"),
        ("$.x ==", "ends where an operand should stand"),
        ("$.x == 1 == 2", "a second comparison"),
        ("$.x = 1", "no JSONPath query"),
        ("$.a[?@.x ==] == 1", "is no JSONPath query"),
        ("$.a[ == 1", "not closed"),
        ("$" + "[?(" * 3000, "no JSONPath query"),
        ("$.a" * 5000, "longer than"),
    ],
)
def test_a_jsonpath_condition_that_can_never_work_is_an_error(condition: str, says: str) -> None:
    """It is found while compiling."""
    known = scope()
    criterion = compile_criterion(condition, known, type="jsonpath", context="$response.body")
    assert [note.rule for note in known.notes if note.severity == "error"] == ["bad-condition"]
    assert says in criterion.judge(CONTEXT).problem


def test_goessners_draft_differs_where_that_is_safe() -> None:
    """`[(@.length-1)]` is an index from the end; other scripts are code and are refused."""
    version = "draft-goessner-dispatch-jsonpath-00"
    known = scope()
    criterion = compile_criterion(
        "$.data[(@.length-1)].id", known, type="jsonpath", version=version, context="$response.body"
    )
    assert criterion.judge(CONTEXT).passed
    assert known.notes == []
    compile_criterion("$.data[(@.x)]", known, type="jsonpath", version=version, context="$response.body")
    assert "are code" in known.notes[0].message


def test_a_query_that_explodes_is_stopped() -> None:
    """Nested descents multiply; the nodes of one evaluation are limited."""
    value: Json = 1
    for _ in range(16):
        value = [value, value]
    criterion = compile_criterion("$..[?count(@..*) == -1]..x", scope(), type="jsonpath", context="$response.body")
    verdict = criterion.judge(Context(response=Answer(200, (), value)))
    assert not verdict.passed
    assert "visits more than" in verdict.problem


# ---------------------------------------------------------------------------------------------------------------------
# xpath
# ---------------------------------------------------------------------------------------------------------------------

XML = '<r xmlns:p="urn:p"><status>Done</status><n>3</n><p:x/><empty/></r>'


@pytest.mark.parametrize(
    ("condition", "version", "passes"),
    [
        ("/r/status = 'Done'", None, True),
        ("/r/status = '{$inputs.x}'", None, False),
        ("/r/n > 2", None, True),
        ("//empty", None, True),
        ("//none", None, False),
        ("count(//*) = 5", "xpath-10", True),
        ("string(//none)", "xpath-10", False),
        ("0", "xpath-20", False),
        ("exists(//n)", "xpath-20", True),
        ("let $n := //n return $n = '3'", "xpath-30", True),
        ("(//n ! string()) = '3'", "xpath-31", True),
        ("//*:x", None, True),
        ("//n = {$inputs.n}", None, True),
    ],
)
def test_an_xpath_has_its_effective_boolean_value(condition: str, version: str | None, passes: bool) -> None:
    """By the rules of the version."""
    known = scope()
    criterion = compile_criterion(condition, known, type="xpath", version=version, context="$response.body")
    verdict = criterion.judge(msgspec.structs.replace(CONTEXT, response=Answer(200, (), XML)))
    assert (verdict.problem, known.notes) == ("", [])
    assert verdict.passed is passes


def test_a_default_namespace_may_be_left_out() -> None:
    """A-39: authors write `//b` for a document with a default namespace; the rule is visible and can be switched off."""
    context = Context(response=Answer(200, (), '<a xmlns="urn:x"><b/></a>'))
    verdict = compile_criterion("/a/b", scope(), type="xpath", context="$response.body").judge(context)
    assert verdict.passed
    assert verdict.rules == ("xpath-default-namespace",)
    assert (
        not compile_criterion("/a/b", scope(strict=True), type="xpath", context="$response.body").judge(context).passed
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('<!DOCTYPE r [<!ENTITY a "aaaa">]><r>&a;</r>', "DTD"),
        ("<r>", "no XML"),
        ("<r>&a;</r>", "no XML"),
        ({"a": 1}, "no XML text"),
        ("<a>" * 1000 + "</a>" * 1000, "levels deep"),
        ("\ud800", "no XML"),
    ],
)
def test_a_document_that_is_no_safe_xml_is_a_problem(body: Json, says: str) -> None:
    """No DTD, so no entities; bounded depth."""
    criterion = compile_criterion("//r", scope(), type="xpath", context="$response.body")
    verdict = criterion.judge(Context(response=Answer(200, (), body)))
    assert not verdict.passed
    assert says in verdict.problem


@pytest.mark.parametrize(
    "condition",
    [
        "bad(",
        "matches(//r, '(a+)+')",
        "replace(//r, 'a', 'b')",
        "doc('file:///etc/passwd')",
        "unparsed-text('/etc/passwd')",
        "environment-variable('HOME')",
        "function-lookup(xs:QName('fn:matches'), 2)",
        "count(1 to 1000000000)",
        "for $i in (1)to 5 return $i",
    ],
)
def test_an_xpath_that_reaches_out_or_has_no_bound_is_refused(condition: str) -> None:
    """Neither files nor the environment, no patterns on Python's re, no sequences out of nothing."""
    known = scope()
    compile_criterion(condition, known, type="xpath", context="$response.body")
    assert [note.rule for note in known.notes] == ["bad-condition"]


def test_an_xpath_that_makes_too_much_is_stopped() -> None:
    """A text that doubles at each step."""
    steps = ", ".join(f"${chr(98 + i)} := concat(${chr(97 + i)}, ${chr(97 + i)})" for i in range(24))
    known = scope()
    criterion = compile_criterion(
        f"let $a := string(/r/status), {steps} return $y", known, type="xpath", context="$response.body"
    )
    verdict = criterion.judge(Context(response=Answer(200, (), XML)))
    assert "too large" in verdict.problem or "too large" in known.notes[0].message


# ---------------------------------------------------------------------------------------------------------------------
# All types
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "version", "context", "says"),
    [
        ("jsonpaths", None, "$response.body", "no criterion of type 'jsonpaths'"),
        ("jsonpath", "rfc1", "$response.body", "no version 'rfc1'"),
        ("regex", None, None, "needs a context"),
        ("jsonpath", None, "response.body", "'response.body' is no runtime expression"),
    ],
)
def test_a_wrong_type_version_or_context_is_an_error(
    kind: str, version: str | None, context: str | None, says: str
) -> None:
    """It is found while compiling, and never passes."""
    known = scope()
    criterion = compile_criterion("$.a", known, type=kind, version=version, context=context)
    assert says in known.notes[0].message
    assert criterion.judge(CONTEXT).problem


def test_a_query_without_context_looks_at_the_answer() -> None:
    """The schema wants a context; a query without one can only mean the body."""
    known = scope()
    assert compile_criterion("$.Name", known, type="jsonpath").judge(CONTEXT).passed
    assert [note.rule for note in known.notes] == ["implied-context"]


def test_what_is_refused_is_not_said_to_be_evaluated() -> None:
    """A comparison as a query: with `--strict` its message promises nothing."""
    for strict, said in ((False, "as its author means it"), (True, "(RFC 9535)")):
        known = replace(scope(), strict=strict)
        compile_criterion('$.Name == "x"', known, type="jsonpath", context="$response.body")
        assert known.notes[0].message.endswith(said)


@pytest.mark.parametrize(
    ("condition", "context", "passes"),
    [
        pytest.param("$.Name == 'Available'", None, True, id="a comparison"),
        pytest.param("$.data[?@.id == 'z']", "$response.body", False, id="a query"),
        pytest.param("!$.gone && ($.zero == 0)", "$response.body", True, id="a chain"),
        pytest.param("^2\\d\\d$", "$statusCode", True, id="a pattern"),
        pytest.param("#/nested/deep/v == 7", "$response.body", True, id="a pointer"),
    ],
)
def test_a_condition_in_another_language_has_its_type(condition: str, context: str | None, passes: bool) -> None:
    """No simple condition begins like this; by the letter it is none."""
    known = scope()
    criterion = compile_criterion(condition, known, context=context)
    assert "forgotten-type" in {note.rule for note in known.notes}
    assert criterion.judge(CONTEXT).passed is passes
    refused = scope(strict=True)
    compile_criterion(condition, refused, context=context)
    assert {note.severity for note in refused.notes if note.rule == "forgotten-type"} == {"error"}


def test_a_pointer_in_a_comparison_finds_elements_and_names() -> None:
    """As one other engine has it; what it reaches into must be there."""
    assert judge("#/data/1/n > $.data[0].n", "jsonpath").passed
    assert judge("#/items/0 == 1 && #/access-token == 't'", "jsonpath").passed
    assert not judge("#/data/7/n == 1", "jsonpath").passed
    assert judge("#/Name != 'x'", "jsonpath", context="$statusCode").problem


def test_a_braced_context_is_the_expression() -> None:
    """A context's type is {expression}, so `{$x}` is `$x`."""
    assert judge("$[0] == 1", "jsonpath", "{$response.body#/items}").passed


def test_the_expressions_of_a_criterion_can_be_seen() -> None:
    """The planner finds implicit dependencies in them."""
    known = scope()
    for condition, kind, context, want in (
        ("$steps.prev.outputs.name == $inputs.x", "simple", None, ["$steps.prev.outputs.name", "$inputs.x"]),
        (
            "$.a == $steps.prev.outputs.name",
            "jsonpath",
            "$response.body",
            ["$response.body", "$steps.prev.outputs.name"],
        ),
        ("$.a[?@ == '{$inputs.x}']", "jsonpath", "$inputs.obj", ["$inputs.obj", "$inputs.x"]),
        ("{$inputs.pattern}", "regex", "$statusCode", ["$statusCode", "$inputs.pattern"]),
    ):
        criterion = compile_criterion(condition, known, type=kind, context=context)
        assert [str(each) for each in criterion.expressions] == want


def test_every_rule_that_verdicts_name_is_listed() -> None:
    """The list of dialect rules is complete for the tables above."""
    for case in [*SIMPLE, *JSONPATH]:
        assert case.rules <= dialect.RULES.keys()
