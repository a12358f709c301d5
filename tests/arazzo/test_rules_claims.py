"""What is called impossible never happens: the reasoning over outlines against the criteria themselves."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from treadle.arazzo.criteria import compile_criterion
from treadle.arazzo.criteria.outline import outline
from treadle.arazzo.expressions import Context, Scope
from treadle.arazzo.rules.planned.claims import STATUS, constants, judge, statuses, trials, variables
from treadle.seams import MISSING, Answer

LITERALS = st.sampled_from(["'a'", "'B'", "'10'", "''", "0", "1", "10", "-2.5", "200", "404", "true", "false", "null"])
OPERANDS = st.sampled_from(["$statusCode", "$response.body#/x", "$response.body#/y/0"])
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
COMPARISONS = st.one_of(
    st.builds(lambda left, sign, right: f"{left} {sign} {right}", OPERANDS, SIGNS, LITERALS),
    st.builds(lambda left, sign, right: f"{right} {sign} {left}", OPERANDS, SIGNS, LITERALS),
    OPERANDS,
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds(lambda one, sign, other: f"({one} {sign} {other})", inner, st.sampled_from(["&&", "||"]), inner),
        st.builds(lambda each: f"!({each})", inner),
    ),
    max_leaves=5,
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-20, 500),
    st.floats(-5, 5, allow_nan=False).map(lambda each: round(each, 1)),
    st.sampled_from(["a", "A", "b", "B", "10", "9", "11", "", "zz", "-2.5", "200"]),
    st.sampled_from([[], {}, [1], {"a": 1}, MISSING]),
)


@given(condition=CONDITIONS, status=st.integers(100, 599), x=VALUES, y=VALUES)
@settings(max_examples=400, deadline=None)
def test_what_can_never_hold_does_not(condition: str, status: int, x: Any, y: Any) -> None:
    """And what always holds does, for whatever answer; tried by the criterion itself."""
    criterion = compile_criterion(condition, Scope())
    claims = [(outline(criterion, Context()), False)]
    body: dict[str, Any] = {} if x is MISSING else {"x": x}
    body |= {} if y is MISSING else {"y": [y]}
    held = criterion.judge(Context(response=Answer(status, (), body))).passed
    for variable in variables(claims):
        if variable == STATUS:
            verdicts = {judge(claims, {STATUS: each}, exact=True) for each in range(100, 600)}
            if not statuses(claims, ()):
                assert not held
        else:
            verdicts = {judge(claims, {variable: each}) for each in trials(variable, None, constants(claims, variable))}
        assert not (held and verdicts == {False}), variable
        assert held or verdicts != {True}, variable
