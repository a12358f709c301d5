"""A criterion that holds whatever the answer is decides nothing (§1.9), though somebody meant it to.

Only what needs no description to see is found: `$statusCode >= 100`, `$x == 'a' || $x != 'a'`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from treadle.arazzo.model import Criterion
from treadle.arazzo.rules.planned.claims import STATUS, Claim, constants, judge, trials, variables
from treadle.arazzo.rules.planned.context import CheckedPlans, CheckedStep
from treadle.errors import Diagnostic, Severity

RULE: Final = "criterion-always-true"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Criterion Object"


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report criteria that can never fail."""
    for step in checked.steps:
        yield from _listed(step, step.written.success_criteria, step.success)
        for action in (*step.on_success, *step.on_failure):
            yield from _listed(step, action.written.criteria, action.claims)


def _listed(step: CheckedStep, criteria: Sequence[Criterion], claims: Sequence[Claim]) -> Iterator[Diagnostic]:
    for criterion, claim in zip(criteria, claims, strict=False):
        if _always([claim]):
            message = "this criterion holds whatever the answer is"
            hint = _hint(criterion)
            severity: Severity = "note" if criterion.condition.strip() == "true" else SEVERITY
            pointer = f"{criterion.pointer}/condition"
            yield step.checked.finding(RULE, message, pointer, severity=severity, hint=hint)


_OPERAND: Final = re.compile(r"(\$\S+)\s*==")
_NUMBER_ALONE: Final = re.compile(r"(?P<before>.*\|\|)?\s*(?P<number>\d+)\s*", re.DOTALL)


def _hint(criterion: Criterion) -> str:
    """Say what was forgotten: a number alone is compared with nothing."""
    found = _NUMBER_ALONE.fullmatch(criterion.condition)
    if found is None:
        return "take it out, or say what must be different"
    before = found["before"] + " " if found["before"] else ""
    operand = next(iter(_OPERAND.findall(before)[-1:]), criterion.context or "$statusCode")
    return f"compare it: {before}{operand} == {found['number']}"


def _always(claims: Sequence[Claim]) -> bool:
    if judge(claims, {}) is True:
        return True
    for variable in variables(claims):
        whole = variable == STATUS
        values = range(100, 600) if whole else trials(variable, None, constants(claims, variable))
        if all(judge(claims, {variable: value}, exact=whole) is True for value in values):
            return True
    return False
