"""A criterion can hold (§1.9): its comparisons do not exclude each other, nor all that the described answer can be.

Two things are found: a list of criteria that contradict each other, such as two statuses that must both be there; and a
comparison with a value that the schema of the answer rules out, by its type or its `enum`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from treadle.arazzo.model import Criterion
from treadle.arazzo.rules.planned.claims import (
    STATUS,
    Claim,
    Variable,
    constants,
    is_body,
    judge,
    statuses,
    trials,
    variables,
)
from treadle.arazzo.rules.planned.context import CheckedPlans, CheckedStep
from treadle.arazzo.rules.planned.shapes import Nowhere, Shape, look
from treadle.errors import Diagnostic, Severity
from treadle.seams import Json, Schema

RULE: Final = "criterion-never-true"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Criterion Object"


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report criteria that can never hold, and lists of criteria that can never hold together."""
    for step in checked.steps:
        yield from _listed(step, step.written.success_criteria, step.success, step.on_answer)
        for action in step.on_success:
            yield from _listed(step, action.written.criteria, action.claims, step.on_answer)
        for action in step.on_failure:
            # A failure may be anything: only contradictions are certain.
            yield from _listed(step, action.written.criteria, action.claims, ())


def _listed(
    step: CheckedStep, criteria: Sequence[Criterion], claims: Sequence[Claim], schemas: Sequence[Schema]
) -> Iterator[Diagnostic]:
    alone = [_why_never([claim], schemas) for claim in claims]
    for criterion, why in zip(criteria, alone, strict=False):
        if why is not None:
            message = f"this criterion can never hold: {why}"
            yield step.checked.finding(RULE, message, f"{criterion.pointer}/condition", severity=SEVERITY)
    if len(claims) > 1 and not any(alone):
        why = _why_never(claims, schemas)
        if why is not None:
            message = f"these criteria can never hold together: {why}"
            hint = "all criteria of a list must hold; for one of several write `||` in one condition"
            pointer = f"{criteria[-1].pointer}/condition"
            yield step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint=hint)


def _why_never(claims: Sequence[Claim], schemas: Sequence[Schema]) -> str | None:
    """Say why the claims cannot hold all at once, or give None: they can, or nobody knows."""
    if judge(claims, {}) is False:
        return "it compares constants"
    for variable in variables(claims):
        if variable == STATUS:
            if not statuses(claims, ()):
                return "no status fits"
            continue
        compared = constants(claims, variable)
        shapes: list[Shape | None] = [_shape(schema, variable) for schema in schemas] or [None]
        if all(_excluded(claims, variable, shape, compared) for shape in shapes):
            return _in_words(variable, shapes, compared)
    return None


def _excluded(claims: Sequence[Claim], variable: Variable, shape: Shape | None, compared: Sequence[Json]) -> bool:
    exact = shape is not None and shape.values is not None
    values = trials(variable, shape, compared)
    return all(judge(claims, {variable: value}, exact=exact) is False for value in values)


def _shape(schema: Schema, variable: Variable) -> Shape | None:
    """Give what the schema says about a variable; a name that it does not know is another rule's."""
    found = look(schema, variable[1:]) if is_body(variable) else None
    return None if isinstance(found, Nowhere) else found


def _in_words(variable: Variable, shapes: Sequence[Shape | None], compared: Sequence[Json]) -> str:
    name = "/".join(str(each) for each in variable[1:]) or "the body"
    known = [each for each in shapes if each is not None]
    if len(known) < len(shapes):
        return f"no value of `{name}` fits" if is_body(variable) else "no value fits"
    if all(each.values is not None for each in known):
        values = dict.fromkeys(json.dumps(value, ensure_ascii=False) for each in known for value in each.values or ())
        return f"`{name}` is one of {', '.join(list(values)[:12])}"
    kinds = sorted({kind for each in known for kind in each.kinds})
    shown = ", ".join(json.dumps(each, ensure_ascii=False) for each in compared)
    return f"`{name}` is of type {' or '.join(kinds)}" + (f", and never {shown}" if shown else "")
